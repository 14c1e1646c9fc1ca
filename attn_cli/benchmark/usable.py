"""What can be used on this machine, found out by trying."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from attn_cli.attention.devices import memory_bytes, unusable
from attn_cli.benchmark.contenders import CONTENDERS
from attn_cli.benchmark.contenders.base import Contender
from attn_cli.benchmark.environment import describe
from attn_cli.benchmark.inputs import DTYPES, draw
from attn_cli.benchmark.types import BenchCase

_COMPILED = ("flex",)  # takes many seconds where it is compiled, on CUDA


@dataclass(frozen=True)
class Ability:
    """One dtype or one backend.

    Attributes:
        name: as the command line has it.
        usable: whether a tiny case ran.
        reason: why not, or None.
    """

    name: str
    usable: bool
    reason: str | None = None


@dataclass(frozen=True)
class UsableDevice:
    """One device.

    Attributes:
        name: what ``--device`` calls it.
        usable: whether PyTorch can use it.
        reason: why not, or None.
        model: the maker's name of it, or None where it is unknown.
        memory_bytes: in all, or None where it is unknown.
        dtypes, backends: empty where the device itself is not usable.
    """

    name: str
    usable: bool
    reason: str | None
    model: str | None = None
    memory_bytes: int | None = None
    dtypes: tuple[Ability, ...] = ()
    backends: tuple[Ability, ...] = ()


@dataclass(frozen=True)
class Usable:
    """PyTorch's version, and every kind of device, those that cannot be used too."""

    torch: str
    devices: tuple[UsableDevice, ...]


def find_usable() -> Usable:
    """Try every device, dtype and backend on a tiny case."""
    return Usable(torch.__version__, tuple(_device(name) for name in _names()))


def _names() -> Iterator[str]:
    yield "cpu"
    if torch.cuda.is_available():
        yield from (f"cuda:{index}" for index in range(torch.cuda.device_count()))
    else:
        yield "cuda"
    yield "mps"


def _device(name: str) -> UsableDevice:
    device = torch.device(name)
    reason = unusable(device)
    if reason is not None:
        return UsableDevice(name, False, reason)
    dtypes = tuple(_dtype(dtype, device) for dtype in DTYPES)
    dtype = "float32" if device.type == "cpu" else "bfloat16"
    backends = tuple(_backend(contender, _case(dtype), device) for contender in CONTENDERS.values())
    return UsableDevice(name, True, None, _model(device), _memory(device), dtypes, backends)


def _case(dtype: str) -> BenchCase:
    return BenchCase(1, 2, 2, 16, 16, 64, dtype, False, "forward")


def _dtype(name: str, device: torch.device) -> Ability:
    """Whether numbers can be made and multiplied in it."""
    try:
        numbers = torch.ones(8, 8, device=device, dtype=DTYPES[name])
        (numbers @ numbers).sum().item()
    except (RuntimeError, TypeError, NotImplementedError) as error:
        return Ability(name, False, _first_line(error))
    return Ability(name, True)


def _backend(contender: Contender, case: BenchCase, device: torch.device) -> Ability:
    reason = contender.refusal(case, device)
    if reason is None and not (contender.name in _COMPILED and device.type == "cuda"):
        reason = _failure(contender, case, device)
    return Ability(contender.name, reason is None, reason)


def _failure(contender: Contender, case: BenchCase, device: torch.device) -> str | None:
    """Why a tiny case does not run, or None."""
    try:
        contender.prepare(draw(case, device))()
    except Exception as error:  # a package's or a compiler's own errors too: each is a reason
        return _first_line(error)
    return None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _model(device: torch.device) -> str | None:
    name = describe(device)["device_name"]
    return None if name is None else str(name)


def _memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return memory_bytes()
