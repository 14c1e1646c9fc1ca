"""What a library's function was given, by name, whatever the release's order of arguments is."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Collection
from typing import Any

from torch import Tensor

from attn_cli.recording.libraries.base import Args, Kwargs, PassedOver


def arguments(module: str, name: str, args: Args, kwargs: Kwargs, understood: Collection[str]) -> dict[str, Any]:
    """The arguments of a call by name, tensors detached; what was not given has the function's own default.

    Args:
        module: the module that holds the function.
        name: its name there.
        args: what it was given by place.
        kwargs: what it was given by name.
        understood: the parameters whose meaning is known, or that change nothing in the attention.

    Raises:
        PassedOver: the function cannot be asked for its parameters, or one that is not understood was given a value
            other than its default.
    """
    signature = _signature(getattr(sys.modules.get(module), name, None))
    if signature is None:
        raise PassedOver(f"a {name} of unknown signature")
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        raise PassedOver(f"a {name} of another signature") from None
    for parameter, value in bound.arguments.items():
        if parameter not in understood and not _is_default(value, signature.parameters[parameter].default):
            raise PassedOver(f"{name} with {parameter}")
    bound.apply_defaults()
    return {parameter: detached(value) for parameter, value in bound.arguments.items()}


def detached(value: Any) -> Any:
    """A tensor without its gradients' graph; anything else as it is, also what a library dresses up as a tensor."""
    is_plain = isinstance(value, Tensor) and type(value).__torch_dispatch__ is Tensor.__torch_dispatch__
    return value.detach() if is_plain else value


def output_of(result: Any) -> Tensor:
    """The output, of a function that may give the log-sum-exp and more beside it."""
    output = detached(result[0] if isinstance(result, tuple) else result)
    if not isinstance(output, Tensor):
        raise PassedOver("a result that is no tensor")
    return output


@functools.lru_cache(maxsize=64)
def _signature(function: Callable[..., Any] | None) -> inspect.Signature | None:
    try:
        return None if function is None else inspect.signature(function)
    except (TypeError, ValueError):
        return None


def _is_default(value: Any, default: Any) -> bool:
    if value is None or value is default:
        return True
    return isinstance(value, (bool, int, float, str, tuple)) and value == default
