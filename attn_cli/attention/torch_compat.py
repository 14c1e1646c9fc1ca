"""The calls into PyTorch that change between its releases, kept in this one file."""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar, cast

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
MATH_FUNCTIONS = (torch.exp, torch.log, torch.log10, torch.sqrt, torch.tanh)
MOST_SHAPES = 256


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


Result = TypeVar("Result")


def observe_operators(call: Callable[[], Result]) -> tuple[Result, list[str]]:
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


def held_to_kernel(name: str, attention: Callable[[], Tensor]) -> Tensor:
    """Run SDPA with this kernel alone, and collect nothing: as little as possible stands around the kernel."""
    with sdpa_kernel(SDPA_KERNELS[name]):
        return attention()


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


def causal_flex(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool, compiled: bool) -> Callable[[], Tensor]:
    """``flex_attention`` without other rules than causal order aligned at the last key, made ready to run.

    Causal order goes in as a block mask, so that the compiled kernel leaves out blocks that no query sees.
    """
    from torch.nn.attention import flex_attention as flex

    offset = k.shape[2] - q.shape[2]

    def is_visible(_b: Tensor, _h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return j <= i + offset

    mask = flex.create_block_mask(is_visible, None, None, q.shape[2], k.shape[2], str(q.device)) if causal else None
    options: dict[str, Any] = {"scale": scale, "enable_gqa": q.shape[1] != k.shape[1], "block_mask": mask}
    function: Any = _compiled_flex() if compiled else flex.flex_attention

    def run() -> Tensor:
        if compiled:
            return cast(Tensor, function(q, k, v, **options))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*flex_attention called without torch.compile.*")
            return cast(Tensor, function(q, k, v, **options))

    return run


@functools.cache
def _compiled_flex() -> Any:
    """``flex_attention`` compiled anew for every shape, however many there are.

    PyTorch gives up after eight and would run the unfused reference in its place without a word. Its backward pass may
    run again and again: it must not reuse the memory of what the forward pass has left for it.
    """
    from torch import _dynamo
    from torch._functorch import config as functorch_config
    from torch.nn.attention.flex_attention import flex_attention

    for limit in ("recompile_limit", "cache_size_limit"):  # the same one by its new and its old name
        if hasattr(_dynamo.config, limit):
            setattr(_dynamo.config, limit, MOST_SHAPES)
            break
    if hasattr(functorch_config, "donated_buffer"):
        functorch_config.donated_buffer = False
    return torch.compile(flex_attention, dynamic=False, fullgraph=True)


def float32_matmul_eps(device: torch.device) -> float:
    """The rounding of a float32 matrix product in the mode that this process is in."""
    precision = torch.get_float32_matmul_precision()
    if precision == "highest":
        return torch.finfo(torch.float32).eps
    if device.type == "cuda":
        return 2.0**-10  # TensorFloat-32
    return torch.finfo(torch.bfloat16).eps if precision == "medium" else torch.finfo(torch.float32).eps


def allows_tf32(where: Literal["matmul", "cudnn"]) -> bool | None:
    """Whether float32 products on CUDA may round to TensorFloat-32; None where PyTorch will not tell.

    It refuses where the older and the newer way to set it were both used in one process.
    """
    try:
        return bool(torch.backends.cuda.matmul.allow_tf32 if where == "matmul" else torch.backends.cudnn.allow_tf32)
    except RuntimeError:
        return None


def cudnn_version() -> int | None:
    """cuDNN's version as one number, or None where there is none."""
    return cast("int | None", torch.backends.cudnn.version())


def cuda_clock_mhz(device: torch.device) -> int | None:
    """The clock of a CUDA device's multiprocessors now, or None where nothing on this machine tells it."""
    try:
        return int(torch.cuda.clock_rate(device))
    except Exception:  # whatever the optional library behind it raises
        return None


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


@functools.cache
def settle_math_functions() -> None:
    """Call each mathematical function that attn uses once on the CPU, in one thread, before many threads call it.

    PyTorch's builds for x86 hand them to Intel's MKL, which chooses a function's kernel at its first call. Where
    several threads make that call together, one of them may run a kernel of less precision, with errors of 2^-15;
    every later call is right (https://github.com/pytorch/pytorch/issues/188792). ``attn diff`` saw it in one process
    of 10 to 240.
    """
    for dtype in (torch.float32, torch.float64):
        for function in MATH_FUNCTIONS:
            function(torch.ones(1, dtype=dtype))
