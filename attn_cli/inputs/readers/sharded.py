"""A checkpoint that lies in several safetensors files, listed by its ``*.safetensors.index.json``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from torch import Tensor

from attn_cli.errors import in_file
from attn_cli.inputs.limits import LARGEST_HEADER, MIB, MOST_NAMES
from attn_cli.inputs.paths import check_regular
from attn_cli.inputs.readers.base import parsing
from attn_cli.inputs.readers.opened import OpenFile
from attn_cli.inputs.readers.safetensors_file import SafetensorsFile
from attn_cli.inputs.shards import KIND, read_weight_map
from attn_cli.inputs.text import shown
from attn_cli.inputs.types import TensorInfo

SUFFIX = ".safetensors.index.json"
SHARD = "expected the shard of a checkpoint, a safetensors file"


class ShardedSafetensors:
    """A sharded checkpoint; a shard is opened when the first of its tensors is asked for.

    Args:
        file: the index.

    Raises:
        InputError: where the index is broken or names a file outside its own folder.
    """

    def __init__(self, file: OpenFile) -> None:
        self.path = file.label
        self._folder = os.path.dirname(file.path)
        self._shards: dict[str, SafetensorsFile] = {}
        with parsing(file, KIND), file.stream() as stream:
            self._shard_of = read_weight_map(stream, file.label)
        self.names: Sequence[str] = tuple(self._shard_of)
        self.metadata: Mapping[str, str] = {}

    def info(self, name: str) -> TensorInfo:
        """Shape and dtype of one tensor, out of its shard's header."""
        return self._shard(name).info(name)

    def read(self, name: str) -> Tensor:
        """One tensor as a view of its mapped shard."""
        return self._shard(name).read(name)

    def check_unchanged(self) -> None:
        """Refuse a shard that was written to since it was opened."""
        for shard in self._shards.values():
            shard.check_unchanged()

    def close(self) -> None:
        """Let go of the shards."""
        for shard in self._shards.values():
            shard.close()

    def _open(self, file_name: str) -> None:
        """Open one more shard, as long as all of them are no more to keep than one file may be."""
        path = os.path.join(self._folder, file_name)
        check_regular(path, SHARD)
        self._shards[file_name] = SafetensorsFile(OpenFile(path))
        together, at_most = f"with shard {shown(file_name)} has more than", "expected so many at most, of all shards"
        if sum(len(shard.names) for shard in self._shards.values()) > MOST_NAMES:
            raise in_file(self.path, f"{together} {MOST_NAMES} tensors", at_most)
        if sum(shard.header_size for shard in self._shards.values()) > LARGEST_HEADER:
            raise in_file(self.path, f"{together} {LARGEST_HEADER // MIB} MiB of headers", at_most)

    def _shard(self, name: str) -> SafetensorsFile:
        file_name = self._shard_of[name]
        if file_name not in self._shards:
            self._open(file_name)
        shard = self._shards[file_name]
        if not shard.has(name):
            raise in_file(shard.path, f"holds no tensor {shown(name)}", f"expected it there, as {self.path} says")
        return shard
