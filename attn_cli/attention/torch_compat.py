"""The calls into PyTorch that change between its releases, kept in this one file."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

ScoreRule = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]

SDPA_KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}


class _Operators(TorchDispatchMode):
    """Notes the name of every operator that is dispatched while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep PyTorch from guarding this mode against its compiler, which it would import: a second and a half."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def observe_operators(call: Callable[[], Tensor]) -> tuple[Tensor, list[str]]:
    """Run ``call`` and name the operators that really ran, in order."""
    with _Operators() as operators:
        result = call()
    return result, operators.names


def fused_kernel(operators: list[str]) -> tuple[str, str]:
    """Which of SDPA's kernels ran, from the operators seen: its short name and the operator's own."""
    for operator in operators:
        for name in ("flash", "efficient", "cudnn"):
            if "scaled_dot_product" in operator and name in operator:
                return name, operator
    return "math", "_scaled_dot_product_attention_math"


@contextmanager
def only_kernel(name: str) -> Iterator[list[str]]:
    """Allow SDPA this kernel alone, and collect what PyTorch says against it.

    Yields:
        a list that holds PyTorch's reasons once the block has ended.
    """
    reasons: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with sdpa_kernel([SDPA_KERNELS[name]]):
                yield reasons
        finally:
            texts = (str(warning.message).split(" (Triggered internally")[0].strip() for warning in caught)
            reasons.extend(text for text in texts if not text.endswith("because:"))


def bottom_right_causal(num_queries: int, num_keys: int) -> Any:
    """The mask object by which SDPA's fused kernels know causal order aligned at the last key."""
    from torch.nn.attention.bias import causal_lower_right

    return causal_lower_right(num_queries, num_keys)


def flex_attention(
    q: Tensor, k: Tensor, v: Tensor, score_mod: ScoreRule, scale: float, compiled: bool
) -> tuple[Tensor, Tensor]:
    """``flex_attention`` with its log-sum-exp: output ``(B, Hq, Sq, Dv)`` and lse ``(B, Hq, Sq)``."""
    from torch.nn.attention import flex_attention as flex

    function: Any = torch.compile(flex.flex_attention, dynamic=False) if compiled else flex.flex_attention
    options: dict[str, Any] = {"scale": scale, "enable_gqa": q.shape[1] != k.shape[1], "score_mod": score_mod}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*flex_attention called without torch.compile.*")
        if hasattr(flex, "AuxRequest"):
            output, aux = function(q, k, v, return_aux=flex.AuxRequest(lse=True), **options)
            return output, aux.lse
        output, lse = function(q, k, v, return_lse=True, **options)
        return output, lse


Function = TypeVar("Function", bound=Callable[..., Any])


def compile_function(function: Function) -> Function:
    """``function`` compiled by TorchScript, which holds no interpreter lock while it runs.

    TorchScript is deprecated and absent on Python 3.14; where it does not compile, the function itself is given back.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return cast(Function, torch.jit.script(function))
        except Exception:
            return function


def has_triton() -> bool:
    """Whether Triton, which PyTorch's CUDA builds bring, is installed; it is not imported to find out."""
    return importlib.util.find_spec("triton") is not None


def triton_interprets() -> bool:
    """Whether Triton's kernels are to run in its interpreter, on the CPU, as its environment variable asks."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on", "y")


def is_triton_failure(error: Exception) -> bool:
    """Whether Triton could not make a kernel for this device: its own errors, and the want of a C compiler."""
    from triton.errors import TritonError

    if isinstance(error, (TritonError, subprocess.CalledProcessError)):
        return True
    return type(error) is RuntimeError and "compiler" in str(error)


def shared_bytes_of_program(device: torch.device) -> int:
    """Shared memory that a program of a Triton kernel may have on a CUDA device, in bytes."""
    from triton.runtime import driver

    index = torch.cuda.current_device() if device.index is None else device.index
    return int(driver.active.utils.get_device_properties(index)["max_shared_mem"])
