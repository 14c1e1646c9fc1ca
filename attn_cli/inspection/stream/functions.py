"""The functions that do the work on numbers, as they are or without the interpreter lock.

Threads that call PyTorch from Python wait for each other between any two calls. Compiled by TorchScript, a function
holds no lock from its first call to its last, and threads share the work evenly.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from attn_cli.attention.torch_compat import compile_function
from attn_cli.inspection.stream.dots import near_scores
from attn_cli.inspection.stream.loop import Carry, Settings, Tiles, add_tiles

AddTiles = Callable[[Tensor, Tiles, Carry, Settings], None]
NearScores = Callable[[Tensor, Tensor, int, int, Tensor, Tensor], None]


class Functions(NamedTuple):
    """What a thread calls for its blocks."""

    add_tiles: AddTiles = add_tiles
    near_scores: NearScores = near_scores


@functools.cache
def compiled() -> Functions:
    """All of them compiled, where this PyTorch can; else as they are."""
    return Functions(compile_function(add_tiles), compile_function(near_scores))
