"""Whether a function really computed something, whether its tensors can be read, and how to look at them unnoticed."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterable, Iterator
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor

TRACERS = {"FakeTensorMode", "FunctionalTensorMode", "ProxyTorchDispatchMode", "PreDispatchTorchFunctionMode"}
TRACED = {"FakeTensor", "FunctionalTensor"}


class _Thread(threading.local):
    """What this thread is at.

    Attributes:
        is_inside: True within a function that is heard, and within the recorder: what these call is not heard.
    """

    is_inside = False


THREAD = _Thread()


@contextlib.contextmanager
def inside() -> Iterator[None]:
    """Hear nothing of what this thread calls."""
    before, THREAD.is_inside = THREAD.is_inside, True
    try:
        yield
    finally:
        THREAD.is_inside = before


def tensors_of(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among values, and those in tuples and lists among them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from (one for one in value if isinstance(one, Tensor))


def is_a_run(given: Iterable[Tensor], result: Any) -> bool:
    """False while a function is only traced or compiled, with tensors that stand for others, or proxies."""
    results = [*tensors_of((result,))]
    if not results or _is_traced_by_jit() or _is_traced_for_compiler() or _has_tracing_modes():
        return False
    return not any(_stands_for_another(tensor) for tensor in (*given, *results))


def why_unreadable(tensors: Iterable[Tensor]) -> str | None:
    """Why tensors of a real run cannot be read, in a few words, or None where they can."""
    if _is_in_functorch():
        return "torch.func transforms"
    for tensor in tensors:
        if tensor.device.type == "meta":
            return "tensors without data"
        if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
            return "jagged nested tensors" if tensor.is_nested else f"{type(tensor).__name__} tensors"
        if tensor.is_cuda and torch.cuda.is_current_stream_capturing():
            return "CUDA graph capture"
    return None


@contextlib.contextmanager
def unseen() -> Iterator[None]:
    """Look at tensors and compute without that the program's modes and its own classes of tensors see it."""
    with _without_function_modes(), _guard("DisableTorchFunctionSubclass"), _guard("_DisableTorchDispatch"):
        yield


@contextlib.contextmanager
def untraced() -> Iterator[None]:
    """Run without that the program's own ``sys.settrace`` and ``sys.setprofile`` functions of this thread see it.

    Those that are not written in Python, such as cProfile's, cannot be put back from Python and stay; so do those that
    are running, as a debugger at its prompt is, for Python asks them nothing meanwhile.
    """
    tracer, profiler = sys.gettrace(), sys.getprofile()
    is_traced, is_profiled = _can_be_put_aside(tracer), _can_be_put_aside(profiler)
    if is_traced:
        sys.settrace(None)
    if is_profiled:
        sys.setprofile(None)
    try:
        yield
    finally:
        if is_traced:
            sys.settrace(tracer)
        if is_profiled:
            sys.setprofile(profiler)


def _can_be_put_aside(function: Any) -> bool:
    if not isinstance(function, (FunctionType, MethodType)):
        return False
    code, frame = function.__code__, sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is code:
            return False
    return True


@contextlib.contextmanager
def _without_function_modes() -> Iterator[None]:
    """The program's own ``TorchFunctionMode`` put aside, such as that of ``torch.set_default_device``."""
    names = ("_len_torch_function_stack", "_pop_torch_function_stack", "_push_on_torch_function_stack")
    length, pop, push = (_private(name) for name in names)
    if length is None or pop is None or push is None:
        yield
        return
    modes = []
    try:
        while length() > 0:
            modes.append(pop())
        yield
    finally:
        for mode in reversed(modes):
            push(mode)


def _private(name: str) -> Any:
    """A part of PyTorch that is not public; None in a release that lacks it."""
    return getattr(torch._C, name, None)


def _guard(name: str) -> contextlib.AbstractContextManager[Any]:
    guard = _private(name)
    return contextlib.nullcontext() if guard is None else guard()


def _is_traced_by_jit() -> bool:
    ask = _private("_get_tracing_state")
    return ask is not None and ask() is not None


def _is_traced_for_compiler() -> bool:
    guards = sys.modules.get("torch._guards")
    ask = getattr(getattr(guards, "TracingContext", None), "try_get", None)
    return ask is not None and ask() is not None


def _stands_for_another(tensor: Tensor) -> bool:
    return any(kind.__name__ in TRACED for kind in type(tensor).__mro__) or _is_functional(tensor)


def _is_functional(tensor: Tensor) -> bool:
    ask = getattr(torch, "_is_functional_tensor", None)
    return ask is not None and bool(ask(tensor))


def _has_tracing_modes() -> bool:
    python_dispatch = sys.modules.get("torch.utils._python_dispatch")
    stack: list[Any] = getattr(python_dispatch, "_get_current_dispatch_mode_stack", list)()
    return any(kind.__name__ in TRACERS for mode in stack for kind in type(mode).__mro__)


def _is_in_functorch() -> bool:
    ask = getattr(_private("_functorch"), "maybe_current_level", None)
    return ask is not None and ask() is not None
