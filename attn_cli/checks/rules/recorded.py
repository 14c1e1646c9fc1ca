"""ATTN006: the output or the weights in the file against what its q, k and v give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention.types import dtype_name
from attn_cli.checks.alternatives import Reading, first_that_fits, other_readings
from attn_cli.checks.evidence import SAMPLED_ROWS, Evidence
from attn_cli.checks.exact import file_inputs, pieces_of
from attn_cli.checks.given_results import Fault, GivenResult, Kind
from attn_cli.checks.readings import inverted_masks
from attn_cli.inputs.names import OUTPUT
from attn_cli.inputs.types import Recorded
from attn_cli.inspection.findings.rules import Rule, counted, place_in_call
from attn_cli.inspection.types import Finding, Place

MOST_CELLS = 2**27  # of weights, for a second pass in float64; beyond, only suspicious rows are computed again
SUSPICIOUS = 1e-3  # of a row's largest output, in the first look at a long call
WIDESPREAD = 4  # rows, and half of all, before a coarser dtype is taken for the cause
COARSER = {torch.float32: "float32", torch.bfloat16: "half precision"}
ALWAYS_TOLD = (Kind.HIDDEN_FAULT, Kind.BROKEN, Kind.EMPTY_BROKEN)
BY_SIZE = (Kind.OTHER, Kind.HIDDEN_KEYS)


@dataclass(frozen=True)
class _Found:
    """All faults of one kind: how many rows, and the first or the worst of them."""

    rows: int
    fault: Fault


class RecordedDisagrees:
    """Computes what the file's q, k and v give in float64, and looks for a reading that explains a difference."""

    rule = Rule(
        code="ATTN006",
        name="recorded output disagrees",
        severity="error",
        sentence="The output or the weights in the file are not what q, k and v in the file give, as they were read.",
        why="Then whatever wrote the file used another mask, scale or alignment, or hides a fault: the model went on "
        "with other numbers than those shown here.",
        example="NaN in a key, and an output of 0 in every row that sees it; or weights that are uniform where the "
        "valid length is 0.",
        source="TransformerLens issues 240 and 385; Zhang et al., Dive into Deep Learning, 11.3 (masked_softmax)",
    )

    def find(self, evidence: Evidence) -> Iterator[Finding]:
        """Findings on the recorded output, then on the recorded weights; one a kind."""
        for recording in _recordings(evidence):
            yield from self._of(evidence, recording)

    def _of(self, evidence: Evidence, recording: GivenResult) -> Iterator[Finding]:
        rows = _rows(evidence, recording)
        found = _faults(recording, evidence, rows)
        if found and _is_turned(evidence, recording):
            yield self._of_layout(evidence)
            return
        for kind in ALWAYS_TOLD:
            if kind in found:
                yield self._finding(evidence, recording, found.pop(kind))
        if not found:
            return
        compared = sorted({*evidence.sampled_rows, *(one.fault.place[2] for one in found.values())})
        as_read = recording.as_read(pieces_of(evidence, compared))
        reading = first_that_fits(
            other_readings(file_inputs(evidence), inverted_masks(evidence)),
            compared,
            lambda piece: recording.agrees(piece, as_read=as_read),
        )
        if reading is not None:
            yield self._of_reading(evidence, recording, found, reading)
            return
        coarse = _coarser(recording, evidence, compared) if _is_widespread(found, evidence, rows) else None
        if coarse is not None:
            yield self._of_precision(evidence, recording, found[Kind.OTHER], coarse)
            return
        for one in found.values():
            yield self._finding(evidence, recording, one)

    def _finding(self, evidence: Evidence, recording: GivenResult, found: _Found) -> Finding:
        said, hint = _told(recording, found)
        if found.fault.kind is Kind.OTHER and recording.name == OUTPUT and _is_flat(evidence):
            hint = "Record what goes into the output projection, not what it gives: the two may have one shape."
        return self.rule.finding(said, _place(evidence, recording, found.fault), found.rows, hint)

    def _of_reading(
        self, evidence: Evidence, recording: GivenResult, found: dict[Kind, _Found], reading: Reading
    ) -> Finding:
        worst = max(found.values(), key=lambda one: one.fault.excess)
        rows = sum(one.rows for one in found.values())
        message = (
            f"the recorded {recording.name} {_verb(recording)} what {reading.name} gives, not the call as it was read: "
            f"{_number(worst.fault.found)} is recorded where that gives {_number(worst.fault.exact)}; "
            f"{counted(rows, 'query row')} of all heads {_differ(rows)}"
        )
        return self.rule.finding(message, _place(evidence, recording, worst.fault), rows, reading.hint)

    def _of_layout(self, evidence: Evidence) -> Finding:
        total = evidence.within.total_heads
        message = (
            "the recorded output is what q, k and v give if its axes are (B, Sq, Hq, Dv), not (B, Hq, Sq, Dv): with "
            f"{counted(total, 'head')} and as many queries the shape does not tell"
        )
        hint = "Save it with the axes of q: output.transpose(1, 2)."
        return self.rule.finding(message, Place(tensor=OUTPUT), None, hint, severity="info")

    def _of_precision(self, evidence: Evidence, recording: GivenResult, found: _Found, coarse: str) -> Finding:
        fault, name = found.fault, coarse
        message = (
            f"the recorded {recording.name} {_verb(recording)} as far off as if computed in {name}: "
            f"{_number(fault.found)} where q, k and v in float64 give {_number(fault.exact)}; "
            f"{counted(found.rows, 'query row')} of all heads {_differ(found.rows)}"
        )
        hint = "See whether it ran under autocast, or with TF32 products."
        place = _place(evidence, recording, fault)
        return self.rule.finding(message, place, found.rows, hint, severity="warning")


def _is_turned(evidence: Evidence, recording: GivenResult) -> bool:
    """Whether an output that has as many queries as heads is right with these two axes the other way round."""
    output = evidence.call.recorded.output
    if recording.name != OUTPUT or output is None or output.shape[1] != output.shape[2]:
        return False
    call = replace(evidence.call, recorded=Recorded(output=output.transpose(1, 2)))
    (turned,) = _recordings(replace(evidence, call=call))
    verdicts = [turned.agrees(piece) for piece in pieces_of(evidence)]
    return True in verdicts and False not in verdicts


def _is_flat(evidence: Evidence) -> bool:
    """Whether the output was recorded with the heads side by side, ``(B, Sq, Hq·Dv)``, beside q of four axes."""
    return any(one.name == OUTPUT and "cut into" in one.value for one in evidence.call.conventions)


def _recordings(evidence: Evidence) -> Iterator[GivenResult]:
    own = evidence.call.inputs.dtype
    for name, values in (("output", evidence.recorded_output), ("weights", evidence.recorded_weights)):
        if values is None:
            continue
        stored = values.dtype if values.dtype.itemsize == 1 else None
        computed = values.dtype if stored is None else torch.bfloat16  # or in a finer one: it makes no difference
        coarsest = max(own, computed, key=lambda dtype: torch.finfo(dtype).eps)
        yield GivenResult(name, values if stored is None else values.to(torch.float32), coarsest, stored)


def _rows(evidence: Evidence, recording: GivenResult) -> tuple[int, ...] | None:
    """The rows to compute in float64: all, or of the output of a long call those that look wrong, 256 at most."""
    batch, heads, queries, keys = evidence.inputs.weights_shape
    if recording.name == "weights" or batch * heads * queries * keys <= MOST_CELLS:
        return None
    suspects: Tensor = _suspicious(evidence, recording).nonzero()[:, 0]
    if len(suspects) > SAMPLED_ROWS:
        suspects = suspects[torch.linspace(0, len(suspects) - 1, SAMPLED_ROWS).round().to(torch.int64)]
    return tuple(int(row) for row in suspects)


def _suspicious(evidence: Evidence, recording: GivenResult) -> Tensor:
    """Rows in which a recorded value is not the inspected one, ``(Sq,)`` bool."""
    inspected = evidence.inspection.output
    assert inspected is not None  # every inspection has it
    suspicious = torch.zeros(inspected.shape[2], dtype=torch.bool)
    for ours, theirs in zip(inspected.flatten(0, 1), recording.values.flatten(0, 1), strict=True):  # (Sq, Dv)
        far = (ours - theirs).abs() > SUSPICIOUS * ours.abs().amax(dim=-1, keepdim=True)
        suspicious |= (far | (ours.isfinite() != theirs.isfinite())).any(dim=-1)
    return suspicious


def _faults(recording: GivenResult, evidence: Evidence, rows: Sequence[int] | None) -> dict[Kind, _Found]:
    """Every kind of fault that there is, in the order of :class:`Kind`."""
    found: dict[Kind, _Found] = {}
    for piece in pieces_of(evidence, rows):
        for fault in recording.faults(piece):
            before = found.get(fault.kind)
            is_worse = before is None or (fault.kind in BY_SIZE and fault.excess > before.fault.excess)
            total = fault.rows + (0 if before is None else before.rows)
            found[fault.kind] = _Found(total, fault if before is None or is_worse else before.fault)
    return {kind: found[kind] for kind in Kind if kind in found}


def _is_widespread(found: dict[Kind, _Found], evidence: Evidence, rows: Sequence[int] | None) -> bool:
    """Whether most rows differ and nothing else is wrong, as when all was computed in a coarser dtype."""
    batch, heads, queries, _ = evidence.inputs.weights_shape
    compared = batch * heads * (queries if rows is None else len(rows))
    return set(found) == {Kind.OTHER} and found[Kind.OTHER].rows >= max(WIDESPREAD, compared / 2)


def _coarser(recording: GivenResult, evidence: Evidence, rows: Sequence[int]) -> str | None:
    """The coarser precision whose roundings explain every row, or None."""
    for dtype, name in COARSER.items():
        is_coarser = torch.finfo(dtype).eps > torch.finfo(recording.dtype).eps
        if is_coarser and all(recording.agrees(piece, dtype) is not False for piece in pieces_of(evidence, rows)):
            return name
    return None


def _place(evidence: Evidence, recording: GivenResult, fault: Fault) -> Place:
    batch, head, query, last = fault.place
    place = place_in_call(evidence.index, recording.name, batch, head, query)
    if fault.kind in (Kind.ROW_SUM, Kind.UNIFORM):
        return place
    return replace(place, feature=last) if recording.name == "output" else replace(place, key=last)


def _told(recording: GivenResult, found: _Found) -> tuple[str, str]:
    """The message and the hint on one kind of fault."""
    fault, rows = found.fault, counted(found.rows, "query row")
    start = f"the recorded {recording.name} {_verb(recording)}"
    number, exact = _number(fault.found), _number(fault.exact)
    match fault.kind:
        case Kind.HIDDEN_FAULT:
            said = f"{start} {number} where the definition gives {exact}, in {rows}: what wrote it hides a fault"
            return said, "Do not use these rows; the findings on the inputs and on the broken rows say where it began."
        case Kind.BROKEN:
            said = f"{start} {number} where the definition gives {exact}, in {rows}"
            return (
                said,
                "What these rows see of q, k and v is sound: look for an overflow in the kernel, masks added to each "
                "other, or a NaN in a hidden key, which adding −∞ does not hide.",
            )
        case Kind.EMPTY_BROKEN:
            said = f"{start} {number} in {rows} without a visible key: softmax over −∞ alone"
            return said, "Give the row a key to attend to, or set its output to 0."
        case Kind.UNIFORM:
            said = f"{start} uniform over all keys in {rows} that may see none, as with a finite mask constant"
            return said, "Do not read such a row's output; --mask-value -1e6 reads the call by that convention."
        case Kind.HIDDEN_KEYS:
            said = f"the recorded weights give {number} to key {fault.place[3]}, hidden from that query; {rows} so"
            return said, "See which mask reached the attention call, and whether it hides with −∞."
        case Kind.ROW_SUM:
            said = f"the recorded weights of a row sum to {number}, not to {exact}; {rows} so"
            return said, "See whether dropout was on, or the softmax went over another axis."
        case _:
            explains = f"{fault.excess:.3g} times what {dtype_name(recording.stored or recording.dtype)} explains"
            said = f"{start} {number} where q, k and v give {exact}, {explains}; {rows} so"
            return (
                said,
                "No other mask, alignment or scale gives it: compare what else the layer does, such as dropout.",
            )


def _verb(recording: GivenResult) -> str:
    return "are" if recording.name == "weights" else "is"


def _differ(rows: int) -> str:
    return "differs" if rows == 1 else "differ"


def _number(x: float) -> str:
    """Six digits; NaN and infinities as they are written elsewhere."""
    return {"nan": "NaN", "inf": "+∞", "-inf": "−∞"}.get(f"{x:.6g}", f"{x:.6g}")
