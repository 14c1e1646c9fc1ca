"""From two sides to everything that differs between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from attn_cli.differences.axes import known_role, saved_parts
from attn_cli.differences.calls import CallComparison, Matched, Pair, match_calls
from attn_cli.differences.maps import MapSize
from attn_cli.differences.named import NamedTensors
from attn_cli.differences.pairing import Pairing, chooses_calls, is_meant, pair_tensors, shared_notes
from attn_cli.differences.rules import call_findings, lonely_calls_finding, lonely_finding, tensor_finding
from attn_cli.differences.shown import Inspect
from attn_cli.differences.sides import Side
from attn_cli.differences.types import CallDifference, DiffResult, SideRecord, TensorDifference
from attn_cli.errors import InputError
from attn_cli.inputs.loading import CallPlan, judge_all
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.plans import plan_calls
from attn_cli.inputs.readers.base import TensorFile
from attn_cli.inputs.source import open_tensors
from attn_cli.inputs.text import few
from attn_cli.inputs.types import CallRecord, TensorInfo
from attn_cli.inspection.types import Finding

Progress = Callable[[float, float], None]
Files = tuple[TensorFile, TensorFile | None]


@dataclass(frozen=True)
class DiffOptions:
    """What to compare and how.

    Attributes:
        left, right: both sides.
        is_one_input: True where both sides are the same file, which is then opened once.
        atol, rtol: None is that of the dtype.
        size: of a head's picture; None makes none.
        show: told the calls that are compared, says how finely each is to be inspected; None shows none.
    """

    left: Side
    right: Side
    is_one_input: bool
    atol: float | None = None
    rtol: float | None = None
    size: MapSize | None = None
    show: Callable[[Sequence[Pair]], Inspect] | None = None


def diff(options: DiffOptions, progress: Progress | None = None) -> DiffResult:
    """Compare two files, or one file under two settings.

    Args:
        options: what to compare and how.
        progress: told how much is done, of how much.

    Raises:
        UsageError, InputError, BackendError, ResourceError: as in reading and running the calls.
    """
    with ExitStack() as stack:
        left = open_tensors(options.left.read, stack)
        right = left if options.is_one_input else open_tensors(options.right.read, stack)
        result = _Diff(options, left, right, progress).result()
        for file in (*left, *right):
            if file is not None:
                file.check_unchanged()
        return result


@dataclass(frozen=True)
class _Diff:
    options: DiffOptions
    left: Files
    right: Files
    progress: Progress | None

    def result(self) -> DiffResult:
        options, notes = self.options, [*self._saved_notes(), *self._text_notes()]
        matched = self._matched(notes)
        judge_all(plan for pair in matched.pairs for plan in pair)
        parts = len(matched.pairs) + (not options.is_one_input)
        tensors: tuple[TensorDifference, ...] = ()
        pairing = Pairing((), (), ())
        if not options.is_one_input:
            files = self.left[0], self.right[0]
            named = NamedTensors(*files, options.left.read, options.atol, options.rtol, options.size)
            pairing = pair_tensors(named, matched)
            tensors = named.compare(pairing.pairs, self._part(0, parts))
            notes += shared_notes(tensors)
        calls = self._calls(matched, parts)
        only_left, only_right = pairing.only_left, pairing.only_right
        lonely = [tuple(plan.prefix for plan in plans) for plans in (matched.only_left, matched.only_right)]
        findings = [*self._lonely_findings(only_left, only_right, *lonely), *_findings(tensors, calls)]
        return DiffResult(
            left=_side_record(options.left, self.left[0]),
            right=_side_record(options.right, self.right[0]),
            is_one_input=options.is_one_input,
            atol=options.atol,
            rtol=options.rtol,
            tensors=tensors,
            only_left=only_left,
            only_right=only_right,
            calls=calls,
            calls_only_left=lonely[0],
            calls_only_right=lonely[1],
            findings=tuple(findings),
            notes=tuple(notes),
        )

    def _matched(self, notes: list[str]) -> Matched:
        left = self._plans(self.options.left.read, self.left, notes)
        if self.options.is_one_input:
            right = left
            if self.options.right.read != self.options.left.read:
                right = plan_calls(self.options.right.read, *self.left)
            return Matched(tuple(zip(left, right, strict=True)), (), ())
        right = self._plans(self.options.right.read, self.right, notes)
        return match_calls(left, right) if left and right else Matched((), (), ())

    def _plans(self, read: ReadOptions, files: Files, notes: list[str]) -> tuple[CallPlan, ...]:
        """The calls of a file. Two files need hold none, unless something was said that only a call can mean."""
        try:
            return plan_calls(read, *files)
        except InputError as error:
            meant = (read.q, read.k, read.v, read.weights_file, read.tokens, read.tokenizer)
            if self.options.is_one_input or any(flag is not None for flag in meant):
                raise
            if chooses_calls(read) and not any(is_meant(name, read) for name in files[0].names):
                raise
            if any(known_role(name) in ("q", "k", "v", "queries", "keys", "values") for name in files[0].names):
                notes.append(f"no attention is run: {error.message}")
            return ()

    def _calls(self, matched: Matched, parts: int) -> tuple[CallDifference, ...]:
        options = self.options
        inspect = None if options.show is None else options.show(matched.pairs)
        comparison = CallComparison(options.left, options.right, options.atol, options.rtol, options.size, inspect)
        first = parts - len(matched.pairs)
        return tuple(
            comparison.compare(pair, self._part(first + number, parts)) for number, pair in enumerate(matched.pairs)
        )

    def _lonely_findings(
        self,
        only_left: Sequence[TensorInfo],
        only_right: Sequence[TensorInfo],
        calls_left: Sequence[str],
        calls_right: Sequence[str],
    ) -> Iterator[tuple[CallRecord | None, Finding]]:
        for finding in (
            lonely_finding("left", only_left),
            lonely_finding("right", only_right),
            lonely_calls_finding("left", calls_left),
            lonely_calls_finding("right", calls_right),
        ):
            if finding is not None:
                yield None, finding

    def _saved_notes(self) -> Iterator[str]:
        """Said where two saved outputs are not the same part of their calls: places are then the left file's."""
        if self.options.is_one_input:
            return
        left, right = (saved_parts(files[0].metadata) for files in (self.left, self.right))
        for prefix in left.keys() & right.keys():
            for axis in ("batch", "head", "query"):
                if getattr(left[prefix], axis) != getattr(right[prefix], axis):
                    yield f"the files hold other numbers of {axis}; places are those of the left file"

    def _text_notes(self) -> Iterator[str]:
        """Said where text stands in one file alone: text is not compared."""
        if self.options.is_one_input:
            return
        left, right = (files[0].metadata for files in (self.left, self.right))
        for side, own, other in (("left", left, right), ("right", right, left)):
            names = [name for name in own if name not in other]
            if names:
                yield f"text is not compared; in the {side} file alone: {few(names)}"

    def _part(self, number: int, parts: int) -> Callable[[int, int], None]:
        """Progress of one part out of several, told as progress of all."""

        def tell(done: int, total: int) -> None:
            if self.progress is not None:
                self.progress(number + done / max(1, total), parts)

        return tell


def _findings(
    tensors: Sequence[TensorDifference], calls: Sequence[CallDifference]
) -> Iterator[tuple[CallRecord | None, Finding]]:
    for tensor in tensors:
        finding = tensor_finding(tensor)
        if finding is not None:
            yield None, finding
    for call in calls:
        for finding in call_findings(call):
            yield call.left, finding


def _side_record(side: Side, file: TensorFile) -> SideRecord:
    return SideRecord(file.path, side.device, side.dtype, side.backend)
