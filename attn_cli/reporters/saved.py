"""``--save``: the numbers of a run as a safetensors file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import count

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from attn_cli import __version__
from attn_cli.errors import ResourceError
from attn_cli.reporters.atomic import atomic_write, check_output
from attn_cli.results import CallResult, RunResult

SCHEMA = "attn.saved/1"
OTHER_FORMATS = (".npz", ".npy", ".pt", ".pth", ".json", ".html", ".csv")


def save_outputs(result: RunResult, path: str) -> None:
    """Write what a run computed; the file appears whole or not at all.

    Each call has ``output`` ``(B, Hq, Sq, Dv)`` in the kernel's dtype and ``lse`` ``(B, Hq, Sq)``; ``weights``
    ``(B, Hq, Sq, Sk)`` and ``sink_weights`` ``(B, Hq, Sq)`` where they were asked for; ``projected`` ``(B, Sq, E)``
    where there is an output projection. With several calls each name stands behind its call's prefix. The metadata
    say under ``calls`` which batch items, heads and queries these are.

    Args:
        result: what ran.
        path: the file to write or to replace.

    Raises:
        ResourceError: where the file cannot be written.
    """
    prefixes = _prefixes(result)
    tensors: dict[str, Tensor] = {}
    for prefix, call in zip(prefixes, result.calls, strict=True):
        for name, tensor in _tensors(call):
            tensors[f"{prefix}.{name}" if prefix else name] = tensor
    calls = {prefix: _describe(call) for prefix, call in zip(prefixes, result.calls, strict=True)}
    metadata = {"schema": SCHEMA, "attn_version": __version__, "calls": json.dumps(calls)}
    write_tensors(tensors, path, metadata)


def check_save(path: str | None, onto: Iterable[str | None] = ()) -> None:
    """Refuse a place that a file cannot be saved to, before there is anything to save.

    Args:
        path: where to, or None.
        onto: files that are read and must not be replaced.

    Raises:
        UsageError: where the suffix promises another format, or the file is one that is read.
        ResourceError: where the folder is missing or may not be written to.
    """
    if path is None:
        return
    check_output(
        "--save", path, OTHER_FORMATS, "it is written as safetensors; expected a name such as out.safetensors", onto
    )


def write_tensors(tensors: dict[str, Tensor], path: str, metadata: dict[str, str]) -> None:
    """Write tensors as a safetensors file, whole or not at all.

    Raises:
        ResourceError: where the file cannot be written.
    """
    owned: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        owned[name] = _own(tensor, owned)
    with atomic_write(path) as temporary:
        try:
            save_file(owned, temporary, metadata)
        except SafetensorError as error:
            raise ResourceError(f"{path}: cannot be written: {error}; expected room for the tensors") from error


def _prefixes(result: RunResult) -> list[str]:
    """What stands before each call's names: nothing for a single one, else its prefix, or one that no other has."""
    if len(result.calls) == 1:
        return [""]
    taken, prefixes = {one.call.prefix for one in result.calls}, []
    for number, one in enumerate(result.calls):
        free = (name for place in count(number) if (name := f"calls.{place}") not in taken)
        prefixes.append(one.call.prefix or next(free))
        taken.add(prefixes[-1])
    return prefixes


def _tensors(call: CallResult) -> Iterator[tuple[str, Tensor]]:
    inspection, outputs = call.inspection, call.outputs
    assert outputs is not None  # what is to be saved was to be kept
    named = {
        "output": outputs.output,
        "lse": outputs.lse,
        "weights": inspection.weights,
        "sink_weights": inspection.sink_weights,
        "projected": outputs.projected,
    }
    for name, tensor in named.items():
        if tensor is not None:
            yield name, tensor


def _own(tensor: Tensor, others: dict[str, Tensor]) -> Tensor:
    """``tensor`` contiguous, in memory that no other tensor of the file shares: the format knows no sharing."""
    tensor = tensor.detach().cpu().contiguous()
    start = tensor.untyped_storage().data_ptr()
    is_shared = any(other.untyped_storage().data_ptr() == start for other in others.values())
    return tensor.clone() if is_shared else tensor


def _describe(call: CallResult) -> dict[str, object]:
    """Where the tensors of a call come from, and which part of it they are: ``queries`` is None where it is all."""
    index = call.inspection.index
    queries = None if len(index.queries) == index.total_queries else index.queries.tolist()
    return {
        "source": call.call.source,
        "prefix": call.call.prefix,
        "layer": call.call.layer,
        "kernel": call.backend_ran,
        "batch": list(index.batch),
        "heads": list(index.heads),
        "queries": queries,
    }
