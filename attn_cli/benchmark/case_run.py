"""All contenders on one case: who may run, whether they are right, and how long they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from attn_cli.benchmark.clock import Clock
from attn_cli.benchmark.contenders.base import Contender, Run
from attn_cli.benchmark.growth import predicted_bytes
from attn_cli.benchmark.inputs import Drawn, draw
from attn_cli.benchmark.memory import available_bytes, inputs_bytes, least_bytes, release
from attn_cli.benchmark.reference import Reference, make_reference
from attn_cli.benchmark.sampling import Bounds, Sampled, interleave, warm_up
from attn_cli.benchmark.statistics import summarize
from attn_cli.benchmark.trial import judged, try_out
from attn_cli.benchmark.types import BenchCase, BenchResult, Warned
from attn_cli.benchmark.yardstick import Yardstick
from attn_cli.inputs.text import bytes_text

USABLE = 0.9  # of the memory that is free: what is foreseen is not exact, and others run here too
CHECKING = 0.4  # of a case's time, about
STOPPED = "stopped before it was timed"

Tell = Callable[[float, str], None]


class CaseRun:
    """One case from its refusals to its samples.

    Args:
        case: what is computed.
        contenders: by name, in the order of the results.
        device: that it runs on.
        clock: takes the time.
        bounds: of the samples of each contender.
        earlier: results of other cases, from which memory is foreseen.
        tell: told what share of this case is done, 0 to 1, and what goes on.
        yardstick: timed once a round beside the contenders; None where there is none.

    Attributes:
        results: by the contenders' names, as far as they are known.
        warnings: doubts about how they were checked.
        was_interrupted: True where the user stopped it.
    """

    def __init__(
        self,
        case: BenchCase,
        contenders: Mapping[str, Contender],
        device: torch.device,
        clock: Clock,
        bounds: Bounds,
        earlier: Sequence[BenchResult],
        tell: Tell,
        yardstick: Yardstick | None = None,
    ) -> None:
        self._case, self._contenders, self._device = case, contenders, device
        self._clock, self._bounds, self._earlier, self._tell = clock, bounds, earlier, tell
        self._yardstick = yardstick
        self.results: dict[str, BenchResult] = {}
        self.warnings: list[Warned] = []
        self.was_interrupted = False

    def run(self) -> tuple[BenchResult, ...]:
        """The result of every contender; Ctrl-C leaves those that were not timed ``interrupted``."""
        try:
            self._run()
        except KeyboardInterrupt:
            self.was_interrupted = True
        release(self._device)
        return tuple(self._final(name) for name in self._contenders)

    def _run(self) -> None:
        names = [name for name in self._contenders if self._is_admitted(name)]
        if not names:
            return
        self._tell(0.0, "drawing")
        try:
            drawn = draw(self._case, self._device)
        except Exception as error:  # memory alone should be able to fail here, and then for all
            for name in names:
                self._fail(name, error)
            return
        reference = self._reference(drawn)
        for i, name in enumerate(names):
            self._tell(CHECKING * i / len(names), f"{name}: checking")
            self._try(name, drawn, reference)
        del reference
        groups = self._groups([name for name in names if self.results[name].status in ("ok", "wrong")])
        for i, group in enumerate(groups):
            self._sample(group, drawn, i, len(groups))
            if self.was_interrupted:
                return

    def _is_admitted(self, name: str) -> bool:
        """False, with the result, where it cannot run; a device that an earlier failure broke says so here."""
        try:
            return self._may_run(name)
        except Exception as error:
            self._fail(name, error)
            return False

    def _may_run(self, name: str) -> bool:
        """False, with the result, where it refuses or where memory will not do."""
        contender = self._contenders[name]
        reason = contender.refusal(self._case, self._device)
        if reason is not None:
            self.results[name] = BenchResult(name, self._case, "refused", reason)
            return False
        shorter = [result for result in self._earlier if result.backend == name]
        least = least_bytes(contender, self._case, self._device)
        foreseen = predicted_bytes(shorter, self._case, lambda case: least_bytes(contender, case, self._device))
        needed = inputs_bytes(self._case, self._device) + max(least, foreseen or 0)
        there = available_bytes(self._device)
        if there is None or needed <= USABLE * there:
            return True
        reason = f"needs about {bytes_text(needed)} of memory; {bytes_text(there)} are free on {self._device}"
        self.results[name] = BenchResult(name, self._case, "skipped", reason)
        return False

    def _reference(self, drawn: Drawn) -> Reference | None:
        """The case in float64, or None with a warning."""
        self._tell(0.0, "float64 reference")
        reference: Reference | None = None
        try:
            reference = make_reference(drawn)
            left_out = reference.left_out
        except Exception as error:  # then the times stand without a check, and say so
            left_out = f"the float64 reference failed: {judged(error, '', self._device)[1]}"
        if left_out is not None:
            self.warnings.append(_unchecked(self._case, left_out))
        release(self._device)
        return reference

    def _try(self, name: str, drawn: Drawn, reference: Reference | None) -> None:
        try:
            self.results[name] = try_out(self._contenders[name], drawn, reference, self._clock, self._device)
        except Exception as error:  # whatever one backend raises, the others go on
            self._fail(name, error)
        release(self._device)

    def _fail(self, name: str, error: Exception) -> None:
        known = self.results.get(name, BenchResult(name, self._case, "failed"))
        status, reason = judged(error, name, self._device)
        self.results[name] = replace(known, status=status, reason=reason)

    def _groups(self, names: Sequence[str]) -> list[list[str]]:
        """Who is timed in turn with whom: all, but for backward passes whose graphs do not fit into memory together."""
        if self._case.mode == "forward":
            return [list(names)] if names else []
        there = available_bytes(self._device)
        groups: list[list[str]] = []
        held = 0
        for name in names:
            least = least_bytes(self._contenders[name], self._case, self._device)
            needed = max(self.results[name].peak_memory_bytes or 0, least)
            if groups and (there is None or held + needed <= USABLE * there):
                groups[-1].append(name)
                held += needed
            else:
                groups.append([name])
                held = needed
        return groups

    def _sample(self, names: Sequence[str], drawn: Drawn, group: int, groups: int) -> None:
        """Warm up and time these in turn."""
        start, share = CHECKING + (1 - CHECKING) * group / groups, (1 - CHECKING) / groups
        runs: dict[str, Run] = {}
        for name in names:
            self._tell(start, f"{name}: warming up")
            try:
                run = self._contenders[name].prepare(drawn)
                warm_up(run, self._clock)
            except Exception as error:  # as above
                self._fail(name, error)
            else:
                runs[name] = run

        def tick(name: str, done: float) -> None:
            self._tell(start + share * done, f"{name}: timing")

        if runs:
            self._take(interleave(runs, self._clock, self._bounds, tick, self._warm_yardstick()))
        runs.clear()
        release(self._device)

    def _warm_yardstick(self) -> Callable[[], float] | None:
        if self._yardstick is None:
            return None
        self._yardstick.warm_up()
        return self._yardstick.measure

    def _take(self, sampled: Sampled) -> None:
        """Samples and failures into the results."""
        self.was_interrupted = sampled.was_interrupted
        for name, samples in sampled.milliseconds.items():
            summary, yardstick = summarize(samples) if samples else None, sampled.yardsticks.get(name)
            result = replace(self.results[name], ms=summary, yardstick_ms=yardstick or None)
            is_whole = self._bounds.share(len(samples), sum(samples) / 1e3) >= 1
            if sampled.was_interrupted and samples and not is_whole and result.status == "ok":
                result = replace(result, status="interrupted", reason=f"stopped after {len(samples)} timed runs")
            self.results[name] = result
        for name, error in sampled.failures.items():
            self._fail(name, error)

    def _final(self, name: str) -> BenchResult:
        result = self.results.get(name)
        if result is None:
            return BenchResult(name, self._case, "interrupted", STOPPED)
        if result.ms is None and result.status == "ok":
            return replace(result, status="interrupted", reason=STOPPED)
        return result


def _unchecked(case: BenchCase, what: str) -> Warned:
    message = f"{case.queries} queries × {case.keys} keys, {case.dtype}, {case.mode}: {what}"
    return Warned(message, "Run a shorter length with --seq, or fewer heads with --heads, to have everything compared.")
