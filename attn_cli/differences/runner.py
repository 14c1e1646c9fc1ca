"""From two sides to everything that differs between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from attn_cli.differences.axes import known_role, saved_parts
from attn_cli.differences.calls import CallComparison, Matched, match_calls
from attn_cli.differences.maps import MapSize
from attn_cli.differences.named import NamedTensors
from attn_cli.differences.rules import call_findings, lonely_calls_finding, lonely_finding, tensor_finding
from attn_cli.differences.sides import Side
from attn_cli.differences.types import CallDifference, DiffResult, SideRecord, TensorDifference
from attn_cli.errors import InputError
from attn_cli.inputs.loading import CallPlan
from attn_cli.inputs.names import is_behind, layer_of, split_name
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.plans import plan_calls
from attn_cli.inputs.readers.base import TensorFile
from attn_cli.inputs.source import open_tensors
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
    """

    left: Side
    right: Side
    is_one_input: bool
    atol: float | None = None
    rtol: float | None = None
    size: MapSize | None = None


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
        return _Diff(options, left, right, progress).result()


@dataclass(frozen=True)
class _Diff:
    options: DiffOptions
    left: Files
    right: Files
    progress: Progress | None

    def result(self) -> DiffResult:
        options, notes = self.options, list(self._saved_notes())
        matched = self._matched(notes)
        parts = len(matched.pairs) + (not options.is_one_input)
        tensors = () if options.is_one_input else self._tensors(matched, self._part(0, parts))
        calls = self._calls(matched, parts)
        only_left, only_right = self._lonely(matched)
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
            meant = (read.q, read.k, read.v, read.weights_file)
            if self.options.is_one_input or any(flag is not None for flag in meant):
                raise
            if any(known_role(name) in ("q", "k", "v", "queries", "keys", "values") for name in files[0].names):
                notes.append(f"no attention is run: {error.message}")
            return ()

    def _tensors(self, matched: Matched, progress: Callable[[int, int], None]) -> tuple[TensorDifference, ...]:
        options = self.options
        files = self.left[0], self.right[0]
        named = NamedTensors(*files, options.left.read, options.atol, options.rtol, options.size)
        there = set(self.right[0].names)
        names = [name for name in self._names(self.left[0], matched, 0) if name in there]
        return named.compare(names, progress)

    def _calls(self, matched: Matched, parts: int) -> tuple[CallDifference, ...]:
        options = self.options
        comparison = CallComparison(options.left, options.right, options.atol, options.rtol, options.size)
        first = parts - len(matched.pairs)
        return tuple(
            comparison.compare(pair, self._part(first + number, parts)) for number, pair in enumerate(matched.pairs)
        )

    def _lonely(self, matched: Matched) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
        """The tensors of each file that the other does not have."""
        if self.options.is_one_input:
            return (), ()
        found = []
        for side, (file, other) in enumerate(((self.left[0], self.right[0]), (self.right[0], self.left[0]))):
            there = set(other.names)
            found.append(tuple(file.info(name) for name in self._names(file, matched, side) if name not in there))
        return found[0], found[1]

    def _names(self, file: TensorFile, matched: Matched, side: int) -> list[str]:
        """The tensors that are meant: all, or with ``--prefix`` or ``--layer`` theirs and what their calls use."""
        read = self.options.left.read
        if read.prefix is None and read.layer is None:
            return list(file.names)
        used = {name for pair in matched.pairs for name in pair[side].call.names}
        return [name for name in file.names if name in used or _is_meant(name, read)]

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

    def _part(self, number: int, parts: int) -> Callable[[int, int], None]:
        """Progress of one part out of several, told as progress of all."""

        def tell(done: int, total: int) -> None:
            if self.progress is not None:
                self.progress(number + done / max(1, total), parts)

        return tell


def _is_meant(name: str, read: ReadOptions) -> bool:
    prefix = split_name(name)[0]
    if read.prefix is not None and not is_behind(prefix, read.prefix):
        return False
    return read.layer is None or layer_of(prefix) == read.layer


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
