"""ATTN090: what differs, as findings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import ROUND_CEILING, Context, Decimal

from attn_cli.differences.types import CallDifference, Compared, Measured, TensorDifference, Tolerance
from attn_cli.inputs.text import few, shown
from attn_cli.inputs.types import TensorInfo
from attn_cli.inspection.findings.rules import Rule, counted
from attn_cli.inspection.types import Finding, Place

DIFFERS = Rule(
    code="ATTN090",
    name="outputs differ",
    severity="error",
    sentence="attn diff: a tensor, an output or weights of the two sides differ by more than the tolerance, in what is "
    "finite, in shape or dtype, or are on one side alone.",
    why="Two ways to compute the same attention should agree to within what the coarser of their dtypes explains.",
    example="One cell of the saved weights is 0.01 larger in one of two files.",
    source="torch.testing.assert_close, whose tolerances these are",
)
NOT_FINITE_HINT = "attn check names where a value that is not finite comes from."
WHOLE_HINT = "Whole numbers and booleans have to be equal; no tolerance applies to them."
PLACES = ("batch", "head", "query", "key", "feature")


def tensor_finding(tensor: TensorDifference) -> Finding | None:
    """What differs in a tensor of both files, or None."""
    if tensor.within:
        return None
    left, right, measured = tensor.left, tensor.right, tensor.measured
    parts = []
    if left.shape != right.shape:
        parts.append(f"shape {left.shape} on the left, {right.shape} on the right")
    if left.dtype != right.dtype:
        parts.append(f"dtype {shown(left.dtype)} on the left, {shown(right.dtype)} on the right")
    place, hint, count = Place(tensor=shown(tensor.name)), None, None
    if measured is not None and tensor.tolerance is not None and not measured.within:
        place, count = _place(tensor), measured.differing
        where = "" if tensor.worst_place or not tensor.worst_index else f" at index {list(tensor.worst_index)}"
        parts.append(_apart(measured, tensor.tolerance, where))
        hint = _hint(measured, tensor.tolerance)
    return _finding("; ".join(parts), place, count, hint)


def _place(tensor: TensorDifference) -> Place:
    numbers = {name: number for name, number in tensor.worst_place if name in PLACES}
    if "head" not in numbers:
        numbers.pop("feature", None)  # a feature counts within a head
    return Place(tensor=shown(tensor.name), **numbers)


def lonely_finding(side: str, tensors: Sequence[TensorInfo]) -> Finding | None:
    """The tensors of one file alone."""
    if not tensors:
        return None
    names = few([info.name for info in tensors])
    message = f"{counted(len(tensors), 'tensor')} in the {side} file alone: {names}"
    return _finding(message, Place(tensor=shown(tensors[0].name)), len(tensors), None)


def lonely_calls_finding(side: str, calls: Sequence[str]) -> Finding | None:
    """The attention calls of one file alone."""
    if not calls:
        return None
    names = few([prefix or "(no prefix)" for prefix in calls])
    message = f"{counted(len(calls), 'attention call')} in the {side} file alone: {names}"
    return _finding(message, Place(), len(calls), "--prefix or --layer selects the calls that both have.")


def call_findings(call: CallDifference) -> Iterator[Finding]:
    """What differs in a call: its output, its weights, or that it cannot be compared."""
    if call.reason is not None:
        yield _finding(f"the calls cannot be compared: {call.reason}", Place(), None, None)
    for part in call.parts:
        if not part.within:
            yield _part_finding(part)


def _part_finding(part: Compared) -> Finding:
    worst, total = part.worst_head, part.total
    heads = sum(not head.measured.within for head in part.heads)
    place = Place(tensor=part.quantity, batch=worst.batch, head=worst.head)
    if total.worst is not None:
        columns = {part.columns: total.worst.column}
        place = Place(part.quantity, worst.batch, worst.head, total.worst.row, **columns)
    message = _apart(total, part.tolerance)
    if len(part.heads) > 1:
        message += f"; {heads} of {len(part.heads)} heads differ{'s' if heads == 1 else ''}"
    return _finding(message, place, total.differing, _hint(total, part.tolerance))


def _apart(measured: Measured, tolerance: Tolerance, where: str = "") -> str:
    """How many values differ and how, and the worst of them."""
    kinds = (
        (measured.finite_in_one, "finite in one only"),
        (measured.unlike, "not finite in different ways"),
        (measured.beyond, f"beyond {tolerance_text(tolerance)}" if tolerance.atol or tolerance.rtol else "not equal"),
    )
    (number, how), *others = [(number, how) for number, how in kinds if number]
    said = ", ".join([f"{counted(number, 'value')} {how}", *(f"{number} {how}" for number, how in others)])
    worst = measured.worst
    assert worst is not None  # what differs has a worst value
    left, right = apart_texts(worst.left, worst.right)
    gap = abs(worst.left - worst.right)
    far = f", {gap if isinstance(gap, int) else format(gap, '.3g')} apart" if math.isfinite(gap) else ""
    return f"{said} (of {measured.values}); worst{where}: left {left}, right {right}{far}"


def tolerance_text(tolerance: Tolerance) -> str:
    """``1e-05 + 1.3e-06·|right|``."""
    return f"{tolerance.atol:g} + {tolerance.rtol:g}·|right|"


def apart_texts(left: float, right: float) -> tuple[str, str]:
    """Two different numbers with as many digits as it takes to see that they differ, six at least.

    Whole numbers are written out.
    """
    if isinstance(left, int) and isinstance(right, int):
        return str(left), str(right)
    for digits in range(6, 18):
        texts = _number(left, digits), _number(right, digits)
        if texts[0] != texts[1]:
            break
    return texts


def _number(value: float, digits: int) -> str:
    if math.isfinite(value):
        return f"{value:.{digits}g}"
    return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"


def _hint(measured: Measured, tolerance: Tolerance) -> str | None:
    if measured.finite_in_one or measured.unlike:
        return NOT_FINITE_HINT
    if tolerance.dtype == "bool" or "int" in tolerance.dtype:
        return WHOLE_HINT
    if not math.isfinite(measured.needed_atol):
        return None
    return f"--atol {rounded_up(measured.needed_atol)} lets every value pass, where such a difference is expected."


def rounded_up(value: float) -> str:
    """A number with two digits that is no smaller."""
    if not math.isfinite(value) or value <= 0:
        return f"{value:g}"
    digits = float(Context(prec=2, rounding=ROUND_CEILING).create_decimal(Decimal(value)))
    return f"{digits:.2g}" if math.isfinite(digits) else repr(value)


def _finding(message: str, place: Place, count: int | None, hint: str | None) -> Finding:
    return Finding(DIFFERS.code, DIFFERS.severity, message, place, count, hint)
