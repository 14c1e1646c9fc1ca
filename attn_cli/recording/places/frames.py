"""The interpreter's frames around a call, from the innermost to the outermost."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from attn_cli.recording.token_ids import given_ids

Kind = Literal["torch", "own", "generated", "program"]

TORCH = os.path.dirname(torch.__file__) + os.sep
OWN = str(Path(__file__).parents[2]) + os.sep
PACKAGES = ("site-packages", "dist-packages")
HAS_SNAPSHOTS = sys.version_info < (3, 13)
SHOWS_SNAPSHOT = ("locals", "vars", "eval", "exec", "f_locals", "_getframe", "currentframe")
HOLDERS = 3  # of the dict of a frame's variables: the frame, whoever has just asked, and who counts
CALLS = "_call_impl"  # nn.Module's function that is given what a module is called with


@dataclass(frozen=True)
class Running:
    """A module that is running.

    Attributes:
        module: it.
        line: file and line where it is, in its own code; None within PyTorch's.
        is_generated: True where its code was generated for a graph.
    """

    module: nn.Module
    line: tuple[str, int] | None
    is_generated: bool = False


@dataclass(frozen=True)
class ModuleCall:
    """What a module was called with; the program's own tensors."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass
class Frames:
    """What the frames around a call say.

    Attributes:
        modules: those that are running, the innermost first, each once.
        generated: file and line of generated code that made the call, or None.
        compiled: name of the function that this code was generated for.
        caller_file, caller_line: the innermost line outside of PyTorch and of this package; empty where there is none.
        caller: the same for people.
        given: see :class:`~attn_cli.recording.places.place.Place`.
    """

    modules: list[Running] = field(default_factory=list)
    generated: tuple[str, int] | None = None
    compiled: str = ""
    caller_file: str = ""
    caller_line: int = 0
    caller: str = ""
    given: ModuleCall | None = None


def walk() -> Frames:
    """What the frames of this thread say, from the caller's outwards. Takes some microseconds a frame."""
    found, inner = Frames(), sys._getframe()
    frame = inner.f_back
    while frame is not None:
        kind = _kind_of(frame)
        if kind != "own":
            _look_at(frame, kind, found, {} if _is_stopped(frame, inner) else _variables(frame))
        inner = frame
        frame = frame.f_back
    modules = [one for one in found.modules if not one.is_generated]
    found.modules = modules or found.modules
    return found


def _look_at(frame: FrameType, kind: Kind, found: Frames, own: Mapping[str, Any]) -> None:
    if kind == "generated" and not found.caller:
        found.generated = found.generated or (frame.f_code.co_filename, frame.f_lineno)
    elif kind == "program" and not found.caller:
        file, line, name = frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
        found.caller_file, found.caller_line = file, line
        found.caller = f"{_short(file)}:{line} in {name}"
        found.compiled = name
    module = own.get("self")
    if isinstance(module, nn.Module):
        _note_module(frame, kind, module, found)
        if frame.f_code.co_name == CALLS and found.given is None:
            found.given = _given(module, own)


def _note_module(frame: FrameType, kind: Kind, module: nn.Module, found: Frames) -> None:
    if any(module is one.module for one in found.modules):
        return
    line = (frame.f_code.co_filename, frame.f_lineno) if kind == "program" else None
    found.modules.append(Running(module, line, kind == "generated"))


def _given(module: nn.Module, own: Mapping[str, Any]) -> ModuleCall | None:
    args, kwargs = own.get("args"), own.get("kwargs")
    if not isinstance(args, tuple) or not isinstance(kwargs, dict):
        return None
    if not any(map(_may_hold_ids, (kwargs, *args, *kwargs.values()))) and not any(map(_may_be_ids, args)):
        return None
    return None if given_ids(module, args, kwargs) is None else ModuleCall(module, args, dict(kwargs))


def _may_hold_ids(value: Any) -> bool:
    return isinstance(value, Mapping) and "input_ids" in value


def _may_be_ids(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() in (1, 2) and _is_whole(value.dtype)


def _is_whole(dtype: torch.dtype) -> bool:
    return not (dtype.is_floating_point or dtype.is_complex or dtype == torch.bool)


def _variables(frame: FrameType) -> dict[str, Any]:
    """``self``, and what ``nn.Module`` was called with, of a method's frame; empty for all others.

    Up to Python 3.12 asking for a frame's variables makes a dict that holds them for as long as the function runs: a
    tensor that the function deletes would stay in memory, and ``generate`` deletes its outputs for good reason. So the
    dict is emptied again; its variables do not change by that, but while a tracer is at the frame. A dict that somebody
    holds is left as it is, and a function that looks at it itself is not asked, for asking brings it up to date.
    """
    code = frame.f_code
    if not code.co_flags & inspect.CO_OPTIMIZED or not code.co_argcount or code.co_varnames[0] != "self":
        return {}
    if HAS_SNAPSHOTS and any(name in code.co_names for name in SHOWS_SNAPSHOT):
        return {}
    variables = frame.f_locals
    wanted = ("self", "args", "kwargs") if code.co_name == CALLS else ("self",)
    own = {name: variables[name] for name in wanted if name in variables}
    if HAS_SNAPSHOTS and sys.gettrace() is None and sys.getrefcount(variables) <= HOLDERS:
        variables.clear()
    return own


def _is_stopped(frame: FrameType, inner: FrameType) -> bool:
    """Whether a debugger is at this frame: its function is what the frame seems to call.

    Up to Python 3.12 the variables are then in the dict, where the debugger changes them, and go back from it.
    """
    if not HAS_SNAPSHOTS or (sys.gettrace() is None and sys.getprofile() is None):
        return False
    return any(inner.f_code is _code_of(one) for one in (frame.f_trace, sys.gettrace(), sys.getprofile()))


def _code_of(function: Any) -> Any:
    return getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)


def _kind_of(frame: FrameType) -> Kind:
    module = frame.f_globals.get("__name__")
    if isinstance(module, str) and module.startswith("torch._inductor.") and not _is_in_torch(frame):
        return "generated"
    return _kind_of_file(frame.f_code.co_filename)


def _is_in_torch(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(TORCH)


@lru_cache(maxsize=4096)
def _kind_of_file(file: str) -> Kind:
    if file.startswith("<eval_with_key>"):
        return "generated"
    if file.startswith((TORCH, f"<{TORCH}")):
        return "torch"
    return "own" if file.startswith(OWN) else "program"


@lru_cache(maxsize=4096)
def _short(file: str) -> str:
    """The path behind ``site-packages``, or relative to the working directory where it is in it."""
    parts = Path(file).parts
    for number, part in enumerate(parts):
        if part in PACKAGES:
            return "/".join(parts[number + 1 :])
    here = os.getcwd() + os.sep
    return file.removeprefix(here)
