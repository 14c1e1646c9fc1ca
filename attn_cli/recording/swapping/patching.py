"""Swaps attention functions for wrappers that call them, return what they gave, and tell the recorder."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, ClassVar

import torch

from attn_cli.recording.libraries import FILES, compiled_point, points_of, with_arguments
from attn_cli.recording.libraries.base import Args, Kwargs, Point
from attn_cli.recording.masks.small import forget
from attn_cli.recording.recorder import Recorder
from attn_cli.recording.swapping.arrivals import wait_no_more, when_imported
from attn_cli.recording.swapping.dynamo import RULES, keep_rules
from attn_cli.recording.swapping.real_runs import THREAD, inside

Function = Callable[..., Any]


@dataclass(frozen=True)
class Swapped:
    """A function, and its wrapper, which stays the same as long as the process lives.

    That way ``torch.compile``, which remembers the functions it met, has nothing to compile anew when a recording
    begins for the second time.

    Attributes:
        module, name: where the function is defined.
        original: it.
        wrapper: what stands in its place.
        point: how it is heard; None for ``torch.compile``.
    """

    module: str
    name: str
    original: Function
    wrapper: Function
    point: Point | None = None


class _State:
    """What is swapped in this process."""

    recorder: ClassVar[Recorder | None] = None
    by_original: ClassVar[dict[int, Swapped]] = {}
    by_wrapper: ClassVar[dict[int, Swapped]] = {}
    lock: ClassVar[threading.Lock] = threading.Lock()


@contextmanager
def listening(recorder: Recorder) -> Iterator[None]:
    """Tell ``recorder`` of all attention calls of this process until the block ends.

    Raises:
        RuntimeError: another recording is going on.
    """
    listen_for_good(recorder)
    try:
        yield
    finally:
        _stop()


def listen_for_good(recorder: Recorder) -> None:
    """Tell ``recorder`` of all attention calls from here on, also of libraries that are yet to be imported.

    Raises:
        RuntimeError: another recording is going on.
    """
    with _State.lock:
        if _State.recorder is not None:
            raise RuntimeError("attention calls are being recorded already; one recording at a time")
        _State.recorder = recorder
    when_imported(RULES, functools.partial(keep_rules, _original_of))
    for module in FILES:
        when_imported(module, functools.partial(_arrived, recorder, module))


def _stop() -> None:
    wait_no_more()
    _State.recorder = None
    forget()
    for swapped in _State.by_original.values():
        holder = _holder(swapped.module)
        if getattr(holder, swapped.name, None) is swapped.wrapper:
            setattr(holder, swapped.name, swapped.original)
    _replace_everywhere({key: swapped.original for key, swapped in _State.by_wrapper.items()})


def _arrived(recorder: Recorder, module: str) -> None:
    try:
        _swap_in(module)
    except Exception as fault:
        recorder.end(fault)


def _swap_in(module: str) -> None:
    """Swap the functions that came with ``module``, wherever a loaded module has them under a name."""
    swapped = [_swap(point.module, point.name, functools.partial(_heard, point), point) for point in points_of(module)]
    if module == "torch":
        swapped.append(_swap(module, "compile", _compile_heard))
    _replace_everywhere({id(one.original): one.wrapper for one in swapped if one is not None})


def _swap(module: str, name: str, wrap: Callable[[Function], Function], point: Point | None = None) -> Swapped | None:
    """Swap one function where it is defined; None where this release lacks it."""
    holder = _holder(module)
    found = getattr(holder, name, None)
    if found is None or id(found) in _State.by_wrapper:
        return None
    swapped = _State.by_original.get(id(found))
    if swapped is None:
        swapped = Swapped(module, name, found, wrap(found), point)
        _State.by_original[id(found)] = _State.by_wrapper[id(swapped.wrapper)] = swapped
    try:
        setattr(holder, name, swapped.wrapper)
    except (AttributeError, TypeError):
        return None
    return swapped


def _original_of(function: Any) -> Any:
    swapped = _State.by_wrapper.get(id(function))
    return function if swapped is None else swapped.original


def _holder(module: str) -> Any:
    """The module of that name, or the operator: ``"torch.ops.aten.….default"``; None where it is not there."""
    if not module.startswith("torch.ops."):
        return sys.modules.get(module)
    holder: Any = torch
    for name in module.split(".")[1:]:
        try:
            holder = getattr(holder, name)
        except (AttributeError, RuntimeError):
            return None
    return holder


def _replace_everywhere(replacements: dict[int, Function]) -> None:
    """Replace objects, given by their ids, in all loaded modules; modules that load lazily stay unloaded."""
    for module in list(sys.modules.values()):
        if not isinstance(module, ModuleType):
            continue
        names = object.__getattribute__(module, "__dict__")
        for name, value in list(names.items()):
            if id(value) in replacements:
                names[name] = replacements[id(value)]


def _heard(point: Point, original: Function) -> Function:
    """What stands in the place of ``original``. Compilers look through it, and the graphs they make are the same."""
    if point.name == "_op":
        kernel = HeardKernel(point, original)
        _show_to_torchscript(kernel, original)
        return kernel

    @functools.wraps(original, updated=())
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return original(*args, **kwargs)
        return _call(point, original, args, kwargs)

    _show_to_torchscript(wrapper, original)
    return wrapper


class HeardKernel:
    """Stands in the place of an operator's function; the operator takes its hash from it."""

    def __init__(self, point: Point, original: Function) -> None:
        self._point = point
        self._original = original

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        return _call(self._point, self._original, args, kwargs)

    def __hash__(self) -> int:
        return hash(self._original)

    def __eq__(self, other: object) -> bool:
        return other is self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def _call(point: Point, original: Function, args: Args, kwargs: Kwargs) -> Any:
    recorder = _State.recorder
    if recorder is None or THREAD.is_inside or not recorder.is_listening or not recorder.hears(point, args, kwargs):
        return original(*args, **kwargs)
    with inside():
        result = original(*args, **kwargs)
    recorder.hear(point, args, kwargs, result)
    return result


def _show_to_torchscript(wrapper: Any, original: Function) -> None:
    """Let ``torch.jit.script`` compile the original in the wrapper's place, as for its own wrappers."""
    if isinstance(original, BuiltinFunctionType):
        builtins = sys.modules.get("torch.jit._builtins")
        find, register = (getattr(builtins, name, None) for name in ("_find_builtin", "_register_builtin"))
        operator = find(original) if find is not None else None
        if operator is not None and register is not None:
            register(wrapper, operator)
    elif isinstance(original, FunctionType):
        wrapper.__original_fn = original
        setattr(wrapper, "__script_if_tracing_wrapper", True)


def _compile_heard(original: Function) -> Function:
    """``torch.compile``, that of a function that is heard gives a compiled one that is heard as well."""

    @functools.wraps(original, updated=())
    def wrapper(model: Any = None, *args: Any, **kwargs: Any) -> Any:
        recorder = _State.recorder
        if recorder is not None and not THREAD.is_inside:
            recorder.note_compile()
        is_partial = isinstance(model, functools.partial)
        heard = _State.by_wrapper.get(id(model.func if is_partial else model))
        if heard is None or heard.point is None:
            return original(model, *args, **kwargs)
        point, function = compiled_point(heard.point), heard.original
        if is_partial:
            point = with_arguments(point, model.args, model.keywords)
            function = functools.partial(function, *model.args, **model.keywords)
        return _heard(point, original(function, *args, **kwargs))

    return wrapper
