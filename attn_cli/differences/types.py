"""What a comparison found: frozen records, free of formatting. Left is compared with right."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from attn_cli.inputs.types import CallRecord, TensorInfo
from attn_cli.inspection.types import Finding
from attn_cli.results import CallResult


@dataclass(frozen=True)
class Tolerance:
    """What still counts as equal: ``|left − right| ≤ atol + rtol·|right|``.

    Attributes:
        atol, rtol: absolute and relative part.
        dtype: the coarser of the two dtypes, whose spacing a ULP is.
    """

    atol: float
    rtol: float
    dtype: str


@dataclass(frozen=True)
class Worst:
    """The value that differs most.

    That is the first that differs in what is finite, else the largest difference beyond the tolerance, else the
    largest difference.

    Attributes:
        row, column: where, in numbers of what was compared.
        left, right: both values; whole numbers of whole-number dtypes, so that no digit is lost.
    """

    row: int
    column: int
    left: float
    right: float


@dataclass(frozen=True)
class Measured:
    """How far two tensors of one shape, or one head of them, are apart.

    Attributes:
        max_abs_error: largest |left − right| where both are finite; NaN where nothing is.
        max_rel_error: largest |left − right| / |right| where both are finite and right is not 0; NaN where there is
            no such value.
        max_ulps: largest |left − right| in spacings of the coarser dtype at the larger of the two values; NaN where
            that dtype has no spacing (whole numbers) or nothing is finite.
        cosine: cosine similarity of all values that are finite on both sides, 1 where both are equal, value for value;
            NaN where one side is 0 throughout.
        needed_atol: the absolute tolerance that would let every finite value pass, the relative one kept.
        values: how many were compared.
        beyond: finite values beyond the tolerance.
        finite_in_one: values that are finite on one side only.
        unlike: values that are finite on neither side and differ, such as a NaN and an infinity.
        worst: None where both are equal, value for value.
        first_row: the first row with a value that differs beyond the tolerance or in what is finite, or None.
        nonfinite_both: values that are not finite on either side and the same, which counts as equal.
    """

    max_abs_error: float
    max_rel_error: float
    max_ulps: float
    cosine: float
    needed_atol: float
    values: int
    beyond: int
    finite_in_one: int
    unlike: int
    worst: Worst | None
    first_row: int | None
    nonfinite_both: int = 0

    @property
    def differing(self) -> int:
        """How many values do not pass."""
        return self.beyond + self.finite_in_one + self.unlike

    @property
    def within(self) -> bool:
        """True where every value passes."""
        return self.differing == 0


@dataclass(frozen=True)
class Divergence:
    """The Jensen–Shannon divergence of the rows of two heads' weights, in nats.

    Attributes:
        mean: over the rows where both sides give weights and one is not empty; NaN where there is no such row.
        largest: of one row.
        row: which row that is, or None.
    """

    mean: float
    largest: float
    row: int | None


@dataclass(frozen=True)
class HeadDifference:
    """One head of one batch item; ``batch`` and ``head`` are numbers of the whole call."""

    batch: int
    head: int
    measured: Measured
    divergence: Divergence | None = None


@dataclass(frozen=True)
class DifferenceMap:
    """Where differences sit, head by head, max-pooled.

    Attributes:
        cells: ``(heads, R, C)`` float32 on the CPU: the largest |left − right| of each cell; infinite where a value
            differs in what is finite.
        row_pool, column_pool: rows and columns that a cell stands for; the last cell may hold fewer.
        rows: the number in the whole call of the first row of each row of cells.
    """

    cells: Tensor
    row_pool: int
    column_pool: int
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Compared:
    """One quantity of a call or of two files, head by head.

    Attributes:
        quantity: ``"output"`` or ``"weights"``.
        columns: what a column is: ``"feature"`` or ``"key"``.
        tolerance: what counts as equal.
        heads: batch item by batch item.
        total: all heads taken together; its rows count heads first, so only its numbers and counts mean something.
        map: where differences sit; None where it was not asked for.
    """

    quantity: str
    columns: str
    tolerance: Tolerance
    heads: tuple[HeadDifference, ...]
    total: Measured
    map: DifferenceMap | None

    @property
    def within(self) -> bool:
        """True where every head passes."""
        return self.total.within

    @property
    def worst_head(self) -> HeadDifference:
        """The head that differs most: by what is finite, then by what is beyond the tolerance, then by size."""
        return max(self.heads, key=lambda head: badness(head.measured))


def badness(measured: Measured) -> tuple[int, bool, float]:
    """What is larger differs more: by what is finite, then by what is beyond the tolerance, then by size."""
    odd = measured.finite_in_one + measured.unlike
    error = -1.0 if measured.max_abs_error != measured.max_abs_error else measured.max_abs_error
    worst = measured.worst
    gap = error if worst is None or odd else abs(worst.left - worst.right)
    return odd, measured.beyond > 0, gap


@dataclass(frozen=True)
class TensorDifference:
    """Two tensors of one name.

    Attributes:
        left, right: as the files have them.
        role: what its name says it is, or None.
        axes: the name of each axis (``"batch"``, ``"head"``, ``"query"``, ``"key"``, ``"feature"`` …), None where
            unknown.
        tolerance: what counts as equal; None where nothing was compared.
        measured: how far apart they are; None where their shapes differ.
        worst_index: where the worst value is, one number an axis, in the file's own numbers.
        worst_place: the same by axis, in numbers of the whole call, as far as axes are known.
        compared: head by head, for outputs and weights.
    """

    left: TensorInfo
    right: TensorInfo
    role: str | None
    axes: tuple[str | None, ...]
    tolerance: Tolerance | None = None
    measured: Measured | None = None
    worst_index: tuple[int, ...] | None = None
    worst_place: tuple[tuple[str, int], ...] = ()
    compared: Compared | None = None

    @property
    def name(self) -> str:
        """Its full name in both files."""
        return self.left.name

    @property
    def same_kind(self) -> bool:
        """True where shape and dtype are the same."""
        return self.left.shape == self.right.shape and self.left.dtype == self.right.dtype

    @property
    def within(self) -> bool:
        """True where shape and dtype are the same and every value passes."""
        return self.same_kind and self.measured is not None and self.measured.within


@dataclass(frozen=True)
class Ran:
    """What gave one side's output.

    Attributes:
        device, dtype: where and in what.
        requested: the backend asked for, or ``"recorded"``.
        ran: the kernel's short name.
        kernel: PyTorch's own name of it.
        note: why ``auto`` took it, or None.
    """

    device: str
    dtype: str
    requested: str
    ran: str
    kernel: str
    note: str | None = None


@dataclass(frozen=True)
class ShownPair:
    """The heads of a call, to be looked at.

    Attributes:
        left: the left side.
        right: the right side; None where its weights are those of the left by the definition, or are not known.
    """

    left: CallResult
    right: CallResult | None


@dataclass(frozen=True)
class CallDifference:
    """One attention call on both sides.

    Attributes:
        left, right: how each was read.
        left_ran, right_ran: what gave each output; None where the calls cannot be compared.
        output: head by head; None where there is none to compare.
        weights: head by head; None where both sides have the same Q, K and rules, so that the definition gives one
            set of weights.
        reason: why the calls cannot be compared, or None.
        notes: what else is to be known.
        shown: every head's picture and metrics, of both sides, where they were asked for.
    """

    left: CallRecord
    right: CallRecord
    left_ran: Ran | None = None
    right_ran: Ran | None = None
    output: Compared | None = None
    weights: Compared | None = None
    reason: str | None = None
    notes: tuple[str, ...] = ()
    shown: ShownPair | None = None

    @property
    def parts(self) -> tuple[Compared, ...]:
        """What was compared."""
        return tuple(part for part in (self.output, self.weights) if part is not None)

    @property
    def within(self) -> bool:
        """True where all that was compared passes."""
        return self.reason is None and all(part.within for part in self.parts)


@dataclass(frozen=True)
class SideRecord:
    """How one side was asked for.

    Attributes:
        file: a path, or ``"-"``.
        device, dtype, backend: as asked for; a dtype of None is the file's.
    """

    file: str
    device: str
    dtype: str | None
    backend: str


@dataclass(frozen=True)
class DiffResult:
    """Everything that one ``attn diff`` found.

    Attributes:
        left, right: how each side was asked for.
        is_one_input: True where both sides are the same file.
        atol, rtol: as asked for; None is that of the dtype.
        tensors: those that both files have, in the order of the left file.
        only_left, only_right: tensors of one file alone.
        calls: those that both sides have.
        calls_only_left, calls_only_right: attention calls of one file alone.
        findings: what differs, worst first within each tensor and call; each with the call it belongs to, if any.
        notes: what else is to be known.
    """

    left: SideRecord
    right: SideRecord
    is_one_input: bool
    atol: float | None
    rtol: float | None
    tensors: tuple[TensorDifference, ...]
    only_left: tuple[TensorInfo, ...]
    only_right: tuple[TensorInfo, ...]
    calls: tuple[CallDifference, ...]
    calls_only_left: tuple[str, ...]
    calls_only_right: tuple[str, ...]
    findings: tuple[tuple[CallRecord | None, Finding], ...]
    notes: tuple[str, ...]

    @property
    def within(self) -> bool:
        """True where nothing differs."""
        return not self.findings
