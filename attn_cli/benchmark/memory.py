"""How much memory there is, how much a pass takes, and how much it takes at least."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from attn_cli.attention.devices import memory_bytes, synchronize
from attn_cli.benchmark.allocator import giving_back_freed_memory, trim
from attn_cli.benchmark.contenders.base import Contender
from attn_cli.benchmark.inputs import input_bytes, output_bytes
from attn_cli.benchmark.types import BenchCase

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")
RESET_PEAK = "5"  # what the kernel's manual has for "the peak of the resident set becomes what it is now"


def available_bytes(device: torch.device) -> int | None:
    """Bytes that can still be taken on ``device``, or None where it does not tell."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    known = [there for there in (_free_of_machine(), _free_of_group(), _free_of_process()) if there is not None]
    return min(known) if known else memory_bytes()


def peak_bytes(run: Callable[[], object], device: torch.device) -> int | None:
    """The most memory that one run holds beyond what is held before it, or None where it cannot be told.

    On CUDA it is the allocator's, on the CPU the growth of the resident set, which Linux alone tells: what malloc had
    kept for later is given back before, so that it does not hide what the run takes, and nothing is kept meanwhile.
    """
    release(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        synchronize(device)
        return max(0, int(torch.cuda.max_memory_allocated(device)) - before)
    if device.type == "cpu" and _reset_peak():
        with giving_back_freed_memory():
            start = _status_bytes("VmRSS:")
            run()
            peak = _status_bytes("VmHWM:")
        return None if start is None or peak is None else max(0, peak - start)
    return None


def least_bytes(contender: Contender, case: BenchCase, device: torch.device) -> int:
    """What a pass needs at the least beyond its inputs: what it gives, and what the backend is known to hold."""
    return output_bytes(case) + contender.working_bytes(case, device)


def inputs_bytes(case: BenchCase, device: torch.device) -> int:
    """What the inputs take; while they are drawn on the CPU for it, in float32 at first, a second copy of one."""
    return 2 * input_bytes(case) if device.type == "cpu" else input_bytes(case)


def release(device: torch.device) -> None:
    """Give back memory that is held for nothing."""
    gc.collect()
    if device.type == "cuda":
        with suppress(RuntimeError):  # of a device that a failed kernel has broken
            torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    else:
        trim()


def _reset_peak() -> bool:
    try:
        (PROC / "self" / "clear_refs").write_text(RESET_PEAK)
    except OSError:
        return False
    return True


def _status_bytes(field: str) -> int | None:
    return _field_bytes(PROC / "self" / "status", field)


def _free_of_machine() -> int | None:
    return _field_bytes(PROC / "meminfo", "MemAvailable:")


def _free_of_group() -> int | None:
    """What the control group leaves, as in a container with a limit: version 2, then version 1.

    Files that were read and are used no more count as in use there, but the kernel gives them up for others.
    """
    for folder, limit, used, unused in (
        (CGROUP, "memory.max", "memory.current", "inactive_file"),
        (CGROUP / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most, taken = int((folder / limit).read_text()), int((folder / used).read_text())
        except (OSError, ValueError):  # "max" is no limit
            continue
        return max(0, most - max(0, taken - (_number_behind(folder / "memory.stat", unused) or 0)))
    return None


def _free_of_process() -> int | None:
    """What ``ulimit -v`` leaves, or None where there is no such limit."""
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    taken = None if most == resource.RLIM_INFINITY else _status_bytes("VmSize:")
    return None if taken is None else max(0, most - taken)


def _field_bytes(path: Path, field: str) -> int | None:
    """The number of kB behind ``field`` in one of the kernel's files, as bytes."""
    number = _number_behind(path, field)
    return None if number is None else number * 1024


def _number_behind(path: Path, field: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [field]), None)
