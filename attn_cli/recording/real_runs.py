"""Whether a function really computed something, whether its tensors can be read, and how to look at them unnoticed."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterable, Iterator
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
    with _without_function_modes(), torch._C.DisableTorchFunctionSubclass(), _without_dispatch_modes():
        yield


@contextlib.contextmanager
def _without_function_modes() -> Iterator[None]:
    """The program's own ``TorchFunctionMode`` put aside, such as that of ``torch.set_default_device``."""
    modes = []
    try:
        while torch._C._len_torch_function_stack() > 0:
            modes.append(torch._C._pop_torch_function_stack())
        yield
    finally:
        for mode in reversed(modes):
            torch._C._push_on_torch_function_stack(mode)


def _without_dispatch_modes() -> contextlib.AbstractContextManager[Any]:
    guard = getattr(torch._C, "_DisableTorchDispatch", None)
    return contextlib.nullcontext() if guard is None else guard()


def _is_traced_by_jit() -> bool:
    return torch._C._get_tracing_state() is not None


def _is_traced_for_compiler() -> bool:
    guards = sys.modules.get("torch._guards")
    context = getattr(guards, "TracingContext", None)
    return context is not None and context.try_get() is not None


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
    functorch = getattr(torch._C, "_functorch", None)
    level = getattr(functorch, "maybe_current_level", lambda: None)()
    return level is not None


def process() -> int:
    """The number of this process, which a forked child does not share."""
    return os.getpid()
