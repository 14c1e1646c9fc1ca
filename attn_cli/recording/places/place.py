"""Where a call was made: the module that was running, the step, and the line of the program.

The interpreter's frames say it. Hooks on modules would say it too, but they lead PyTorch's modules off their fast paths
and are compiled into ``torch.compile``'s graphs.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from attn_cli.recording.places.frames import Frames, ModuleCall, walk
from attn_cli.recording.places.module_paths import ModulePaths
from attn_cli.recording.types import CallSite


@dataclass(frozen=True)
class Place:
    """Where a call was made, and what the model around it was given; it holds tensors and is not to be kept.

    Attributes:
        site: module path, step and caller.
        module: the innermost one that was running, or None.
        given: the innermost module around the call that was given token ids, with its arguments, or None.
    """

    site: CallSite
    module: nn.Module | None
    given: ModuleCall | None


class Places:
    """Names the places of a program's calls and counts their steps. Several threads may ask at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths = ModulePaths()
        self._steps: Counter[str] = Counter()
        self._lines: dict[str, list[tuple[str, int]]] = {}
        self._graphs: dict[str, list[tuple[str, int]]] = {}
        self._graph_lines: dict[tuple[str, str], list[int]] = {}

    def place_of_call(self, function: str, below: str = "") -> Place:
        """The place of the call that is being made in this thread, counted as one step of its module.

        Args:
            function: what was called.
            below: where in the innermost module the attention is, e.g. ``"self_attn"``.
        """
        frames = walk()
        with self._lock:
            path, root = self._paths.path_of(frames.modules)
            name = ".".join(part for part in (self._name(path, frames) or function, below) if part)
            step = self._steps[name]
            self._steps[name] += 1
        module = frames.modules[0].module if frames.modules else None
        return Place(CallSite(name, root, step, function, frames.caller), module, frames.given)

    def _name(self, path: str, frames: Frames) -> str:
        path = path or _outside(frames)
        if frames.generated is not None:
            return f"{path}.compiled.{self._number_in_graph(path, frames, *frames.generated)}"
        if frames.modules and frames.modules[0].line is not None:
            return self._told_apart(path, frames.modules[0].line)
        return path

    def _told_apart(self, path: str, line: tuple[str, int]) -> str:
        """A module that attends on several lines: the first one seen has its path, each other one a name of its own."""
        lines = self._lines.setdefault(path, [])
        if line not in lines:
            lines.append(line)
        return path if line == lines[0] else f"{path}.line_{line[1]}"

    def _number_in_graph(self, path: str, frames: Frames, graph: str, line: int) -> int:
        """One compiled graph makes the calls of several layers, each on a line of its own, in the layers' order.

        Where a function is compiled once more, for other shapes, its n-th line means the same layer. After a graph
        break the rest of the function is another function with another name.
        """
        lines = self._graph_lines.setdefault((path, graph), [])
        if line not in lines:
            lines.append(line)
        numbers = self._graphs.setdefault(path, [])
        key = (frames.compiled, lines.index(line))
        if key not in numbers:
            numbers.append(key)
        return numbers.index(key)


def _outside(frames: Frames) -> str:
    """``"train_31"``: the file and the line that called; empty where no program's line did."""
    if not frames.caller_file:
        return ""
    file = Path(frames.caller_file.strip("<>"))
    stem = file.parent.name or file.stem if file.stem in ("__main__", "__init__") else file.stem
    return f"{''.join(sign if sign.isalnum() else '_' for sign in stem)}_{frames.caller_line}"
