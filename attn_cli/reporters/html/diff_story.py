"""What the page of ``attn diff`` opens with: the verdict, what counts as equal, and what differs, head by head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from attn_cli.differences.rules import apart_texts, tolerance_text
from attn_cli.differences.types import (
    CallDifference,
    Compared,
    DifferenceMap,
    DiffResult,
    Measured,
    Ran,
    TensorDifference,
    badness,
)
from attn_cli.inspection.types import Finding
from attn_cli.reporters.html.blobs import blob, codes
from attn_cli.reporters.html.entries import MOST_FINDINGS, finding_entry, rounded
from attn_cli.reporters.html.story import CallWords, Entry, Story, file_names, own_name
from attn_cli.reporters.terminal.diff import diff_notes, settings_that_differ, uncompared_text, verdict_text
from attn_cli.reporters.terminal.diff_tables import tensor_name
from attn_cli.reporters.terminal.findings import worst_first
from attn_cli.reporters.terminal.timing import timing_texts
from attn_cli.results import CallResult, RunResult

SIDES = ("A", "B")
MOST_TENSORS = 200
MOST_HEADS, MOST_MAPS, LEAST = 2000, 600, 16  # of all calls together; of each at least
NUMBERS = ("max_abs_error", "max_rel_error", "max_ulps", "cosine", "values", "beyond", "finite_in_one", "unlike")


def diff_page(result: DiffResult) -> tuple[RunResult, Story]:
    """The calls of both sides with their pictures, and how far they are apart.

    Args:
        result: of calls that were compared so that they can be shown.
    """
    calls: list[CallResult] = []
    words: list[CallWords] = []
    pairs = [_pair(call, result, calls, words) for call in result.calls]  # appends to both
    findings = _findings(result, pairs)
    told = {
        "diff": _told(result, pairs),
        "findings": findings[:MOST_FINDINGS],
        "findings_left_out": max(0, len(findings) - MOST_FINDINGS),
    }
    return RunResult("diff", tuple(calls)), Story(_title(result), tuple(words), told, is_one_run=False)


def _title(result: DiffResult) -> str:
    names = file_names([result.left.file, result.right.file])
    left, right = names[result.left.file], names[result.right.file]
    return f"{left} · attn diff" if left == right else f"{left} against {right} · attn diff"


def _told(result: DiffResult, pairs: Sequence[Entry]) -> Entry:
    first = result.calls[0] if result.calls else None
    ran = (None, None) if first is None else (first.left_ran, first.right_ran)
    names = file_names([result.left.file, result.right.file])
    sides = zip(SIDES, (names[result.left.file], names[result.right.file]), ran, strict=True)
    tensors = sorted(result.tensors, key=lambda tensor: tensor.within)  # those that differ first
    return {
        "within": result.within,
        "verdict": verdict_text(result),
        "tolerances": _tolerances(result),
        "sides": [_side(*one) for one in sides],
        "is_one_input": result.is_one_input,
        "settings": [] if first is None else [list(one) for one in settings_that_differ(first)],
        "notes": diff_notes(result),
        "numbers": list(NUMBERS),
        "pairs": list(pairs),
        "tensors": [_tensor(tensor) for tensor in tensors[:MOST_TENSORS]],
        "tensors_left_out": max(0, len(tensors) - MOST_TENSORS),
        "alone": [
            {"side": name, "tensors": [info.name for info in infos[:MOST_TENSORS]], "calls": list(prefixes)}
            for name, infos, prefixes in (
                ("A", result.only_left, result.calls_only_left),
                ("B", result.only_right, result.calls_only_right),
            )
            if infos or prefixes
        ],
    }


def _tolerances(result: DiffResult) -> list[str]:
    """``output within 1e-05 + 1.3e-06·|right| (float32)``, each once."""
    parts = [part for call in result.calls for part in call.parts]
    said = [f"{part.quantity} within {tolerance_text(part.tolerance)} ({part.tolerance.dtype})" for part in parts]
    if not said:
        of_tensors = [tensor.tolerance for tensor in result.tensors if tensor.tolerance is not None]
        said = [f"{tolerance_text(one)} ({one.dtype})" for one in of_tensors]
    return list(dict.fromkeys(said))


def _side(name: str, file: str, ran: Ran | None) -> Entry:
    told: Entry = {"name": name, "file": file}
    if ran is None:
        return told | dict.fromkeys(("device", "dtype", "ran", "note"))
    chosen = ran.ran if ran.requested in (ran.ran, "recorded") else f"{ran.requested} → {ran.ran}"
    note = None if ran.note is None else f"{ran.requested} took {ran.ran}: {ran.note}"
    kernel = "" if ran.kernel == ran.ran else f" ({ran.kernel})"
    return told | {"device": ran.device, "dtype": ran.dtype, "ran": f"{chosen}{kernel}", "note": note}


def _pair(call: CallDifference, result: DiffResult, calls: list[CallResult], words: list[CallWords]) -> Entry:
    """One call on both sides; its pictures are appended to ``calls``, and what they are called to ``words``."""
    name, mark = own_name(call.left, [one.left for one in result.calls])
    parts = sum(len(one.parts) for one in result.calls)
    places: list[int | None] = []
    shown = (None, None) if call.shown is None else (call.shown.left, call.shown.right)
    for side, one in zip(SIDES, shown, strict=True):
        places.append(None if one is None else len(calls))
        if one is not None:
            calls.append(replace(one, inspection=replace(one.inspection, findings=())))
            words.append(_words(side, name, mark, call, one))
    return {
        "name": name,
        "right_name": None if call.left.prefix.lower() == call.right.prefix.lower() else call.right.prefix,
        "left": places[0],
        "right": places[1],
        "within": call.within,
        "reason": call.reason,
        "uncompared": uncompared_text(call),
        "output": None if call.output is None else _compared(call.output, parts),
        "weights": None if call.weights is None else _compared(call.weights, parts),
    }


def _words(side: str, name: str, mark: str, call: CallDifference, shown: CallResult) -> CallWords:
    """The side, then the call; both sides at once where they have the same weights."""
    is_recorded = call.right_ran is not None and call.right_ran.requested == "recorded"
    told: Entry = {"timing": [{"name": one, "text": text} for one, text in timing_texts(shown.timing)[1:]]}
    if is_recorded and side == "B":
        told = {"timing": [], "verification": None}
    if call.shown is not None and call.shown.right is None and not is_recorded:
        return CallWords(f"A and B · {name}" if name else "A and B", mark, None, told)
    return CallWords(f"{side} · {name}" if name else side, f"{side}·{mark}" if mark else side, side, told)


def _compared(part: Compared, parts: int) -> Entry:
    """A quantity head by head, those first that differ most; of very many heads the rest is left out.

    Args:
        part: the quantity in one call.
        parts: how many there are in the page.
    """
    order = sorted(range(len(part.heads)), key=lambda at: badness(part.heads[at].measured), reverse=True)
    kept, drawn = max(LEAST, MOST_HEADS // parts), max(LEAST, MOST_MAPS // parts)
    largest = None if part.map is None else _largest(part.map)
    return {
        "columns": part.columns,
        "tolerance": f"{tolerance_text(part.tolerance)} ({part.tolerance.dtype})",
        "total": _numbers(part.total),
        "heads": [_head(part, at, largest if place < drawn else None) for place, at in enumerate(order[:kept])],
        "left_out": max(0, len(order) - kept),
        "map": None if part.map is None or largest is None else _map(part.map, largest),
    }


def _head(part: Compared, at: int, largest: float | None) -> Entry:
    """A head's numbers, and its cells where the largest of all is given."""
    head = part.heads[at]
    spread = head.divergence
    return {
        "batch": head.batch,
        "head": head.head,
        **_numbers(head.measured),
        "js": None if spread is None else rounded(spread.mean),
        "cells": None if part.map is None or largest is None else _cells(part.map.cells[at], largest),
    }


def _numbers(measured: Measured) -> Entry:
    worst = measured.worst
    texts = ("", "") if worst is None else apart_texts(worst.left, worst.right)
    return {
        "within": measured.within,
        "numbers": [rounded(getattr(measured, name)) for name in NUMBERS],
        "differing": measured.differing,
        "first_row": measured.first_row,
        "worst": None if worst is None else [worst.row, worst.column, *texts],
    }


def _largest(found: DifferenceMap) -> float:
    """The largest finite difference in any cell, which has the strongest colour; 1 where there is none."""
    finite = found.cells[found.cells.isfinite()]
    return float(finite.max()) or 1.0 if len(finite) else 1.0


def _map(found: DifferenceMap, largest: float) -> Entry:
    rows, columns = found.cells.shape[1:]
    starts = list(found.rows)
    return {
        "rows": rows,
        "columns": columns,
        "row_pool": found.row_pool,
        "column_pool": found.column_pool,
        "first_rows": None if starts == list(range(0, rows * found.row_pool, found.row_pool)) else starts,
        "largest": rounded(largest),
    }


def _cells(cells: Tensor, largest: float) -> Entry:
    """|A − B| in the codes of weights, as shares of the largest; what differs in what is finite is shown as NaN is."""
    share = cells / largest
    marked = torch.where(share.isfinite(), share, torch.nan)
    return blob(codes(marked, torch.tensor(True)).contiguous().numpy().tobytes())


def _tensor(tensor: TensorDifference) -> Entry:
    left, right, measured = tensor.left, tensor.right, tensor.measured
    numbers = None if measured is None else _numbers(measured)
    if numbers is not None and numbers["worst"] is not None:
        numbers["worst"] = [list(tensor.worst_index or ()), None, *numbers["worst"][2:]]
    return {
        "name": tensor_name(tensor),
        "within": tensor.within,
        "left": f"{left.shape} {left.dtype}",
        "right": None if tensor.same_kind else f"{right.shape} {right.dtype}",
        "measured": numbers,
    }


def _findings(result: DiffResult, pairs: Sequence[Entry]) -> list[Entry]:
    """What differs, worst first; a finding of a call leads to its left side."""
    of_call = {id(call.left): number for number, call in enumerate(result.calls)}
    number_of = {id(finding): of_call[id(call)] for call, finding in result.findings if call is not None}
    prefixes = [call.left.prefix for call in result.calls]
    found = worst_first([finding for _, finding in result.findings])
    places = [number_of.get(id(one), _call_of(one.place.tensor, prefixes)) for one in found]
    return [
        _finding(one, None if number is None else pairs[number], is_of_call=id(one) in number_of)
        for one, number in zip(found, places, strict=True)
    ]


def _call_of(tensor: str | None, prefixes: Sequence[str]) -> int | None:
    """The call that a tensor belongs to by its name, where that is one."""
    prefix = "" if tensor is None else tensor.rpartition(".")[0]
    return prefixes.index(prefix) if tensor is not None and prefixes.count(prefix) == 1 else None


def _finding(finding: Finding, pair: Entry | None, *, is_of_call: bool) -> Entry:
    name = "" if pair is None or not is_of_call else pair["name"]
    message = f"{name}: {finding.message}" if name else finding.message
    told = finding_entry(finding, None if pair is None else pair["left"], None, message)
    return told | {"count": None}  # the message counts
