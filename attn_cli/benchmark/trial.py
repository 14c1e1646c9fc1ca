"""One contender alone: its first run, its error, its kernel and its memory; and what is made of its failures."""

from __future__ import annotations

import torch
from torch import Tensor

from attn_cli.benchmark.clock import Clock
from attn_cli.benchmark.contenders.base import Contender, Run
from attn_cli.benchmark.inputs import Drawn
from attn_cli.benchmark.memory import peak_bytes
from attn_cli.benchmark.reference import Difference, Reference, compare
from attn_cli.benchmark.types import BenchResult, Status
from attn_cli.errors import AttnError, BackendError

LONGEST_REASON = 300


def try_out(
    contender: Contender, drawn: Drawn, reference: Reference | None, clock: Clock, device: torch.device
) -> BenchResult:
    """Everything about a contender on a case but its samples; whatever it raises goes through.

    Args:
        contender: what is tried; neither what it makes nor what it gives is held afterwards.
        drawn: the case.
        reference: the case in float64, or None where it is not compared.
        clock: times the first run.
        device: that ``drawn`` is on.
    """
    first_ms, kernel, difference = _first(contender, drawn, reference, clock)
    laid_out = contender.laid_out(drawn)
    memory = peak_bytes(lambda: contender.prepare(laid_out)(), device)
    status: Status = "ok" if difference is None or difference.is_within else "wrong"
    return BenchResult(
        backend=contender.name,
        case=drawn.case,
        status=status,
        reason=_wrong(difference) if difference is not None and status == "wrong" else None,
        kernel=kernel,
        first_ms=first_ms,
        peak_memory_bytes=memory,
        max_abs_error=None if difference is None else difference.max_abs_error,
        tolerance=None if difference is None else difference.tolerance,
        checked_rows=None if reference is None else reference.checked_rows,
        share_of_tolerance=None if difference is None else difference.share,
    )


def _first(
    contender: Contender, drawn: Drawn, reference: Reference | None, clock: Clock
) -> tuple[float, str | None, Difference | None]:
    """Milliseconds of the first run with its preparation, the kernel, and how far it lies from the reference."""
    made: list[tuple[Run, tuple[Tensor, ...]]] = []

    def run_first() -> None:
        run = contender.prepare(drawn)
        made.append((run, run()))

    first_ms = clock.measure(run_first)
    run, results = made[-1]
    difference = None if reference is None else compare(results, reference, drawn)
    return first_ms, contender.kernel(drawn, run), difference


def _wrong(difference: Difference) -> str:
    return (
        f"it differs from float64 by {difference.worst_error:.3g} in a row of which its dtype explains "
        f"{difference.worst_tolerance:.3g}"
    )


def judged(error: Exception, name: str, device: torch.device) -> tuple[Status, str]:
    """What a contender's error means: that it cannot run the case, or that it failed; with the reason in one line."""
    if is_out_of_memory(error):
        return "failed", f"{device}: out of memory"
    if isinstance(error, BackendError):
        return "refused", _one_line(error.message.removeprefix(f"--backend {name} cannot run this case: "))
    if isinstance(error, NotImplementedError):
        return "refused", _one_line(str(error) or type(error).__name__)
    text = error.message if isinstance(error, AttnError) else str(error)
    return "failed", _one_line(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory has run out; the CPU's allocator has no error of its own, and one may stand behind another."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):
        return True
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…"
