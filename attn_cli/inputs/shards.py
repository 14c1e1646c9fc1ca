"""The index of a sharded checkpoint: which tensor is in which file beside it. Free of torch."""

from __future__ import annotations

import codecs
import os
from pathlib import PurePosixPath, PureWindowsPath
from typing import BinaryIO

from attn_cli.errors import InputError, in_file
from attn_cli.inputs.json_text import parsed
from attn_cli.inputs.limits import LARGEST_HEADER, LONGEST_NAME, MIB, MOST_NAMES, MOST_SHARDS
from attn_cli.inputs.paths import STDIN, is_regular, opened
from attn_cli.inputs.text import shown

INDEX = ".index.json"
KIND = 'the index of a sharded checkpoint: {"weight_map": {tensor: file}}'


def shards_of(path: str | None) -> tuple[str, ...]:
    """The files beside an index that it names; none where it is no index, or a broken one, which its reader refuses.

    Args:
        path: of any file that is read.
    """
    if path is None or not path.lower().endswith(INDEX):
        return ()
    try:
        if not is_regular(path):
            return ()
        with opened(path) as stream:
            names = sorted(set(read_weight_map(stream, path).values()))
    except (OSError, ValueError, InputError):
        return ()
    return tuple(os.path.join(os.path.dirname(path), name) for name in names)


def read_weight_map(stream: BinaryIO, label: str) -> dict[str, str]:
    """By name of a tensor, the name of the file that it is in.

    Args:
        stream: the index.
        label: how messages name it.

    Raises:
        InputError: where it is no index, is too large, or names a file outside its own folder.
        OSError: where it cannot be read.
    """
    content = stream.read(LARGEST_HEADER + 1)
    if len(content) > LARGEST_HEADER:
        raise in_file(label, f"has more than {LARGEST_HEADER // MIB} MiB", f"expected {KIND}")
    return _checked(parsed(content.removeprefix(codecs.BOM_UTF8), label, f"expected {KIND}"), label)


def _checked(index: object, label: str) -> dict[str, str]:
    found = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(found, dict) or not all(isinstance(file, str) for file in found.values()):
        raise in_file(label, "has no weight_map of names to files", f"expected {KIND}")
    if len(found) > MOST_NAMES or any(len(name) > LONGEST_NAME for name in found):
        raise in_file(
            label, f"names {len(found)} tensors", f"expected {MOST_NAMES} at most, of {LONGEST_NAME} characters"
        )
    files = set(found.values())
    if len(files) > MOST_SHARDS:
        raise in_file(label, f"names {len(files)} shards", f"expected {MOST_SHARDS} at most")
    for file in sorted(files):
        is_plain = file not in ("", ".", "..", STDIN) and "\0" not in file
        if not is_plain or PurePosixPath(file).name != file or PureWindowsPath(file).name != file:
            raise in_file(label, f"names the shard '{shown(file)}'", "expected a file name in the index's own folder")
    return dict(found)
