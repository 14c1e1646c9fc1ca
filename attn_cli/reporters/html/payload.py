"""What a page of ``attn run`` and ``attn demo`` is told, as JSON: the format ``attn.page/1``."""

from __future__ import annotations

from typing import Any

from attn_cli import __version__
from attn_cli.inputs.types import CallRecord
from attn_cli.inspection.labels import LABELS
from attn_cli.inspection.metrics import METRICS
from attn_cli.inspection.types import Pictures
from attn_cli.inspection.worth import WorthLooking
from attn_cli.reporters.call_data import convention_entries
from attn_cli.reporters.html.blobs import MASKED, NAN, SCALE
from attn_cli.reporters.html.budget import Level
from attn_cli.reporters.html.payload_heads import exact_kind, heads_of, picture_of
from attn_cli.reporters.html.texts import TokenLists, made_harmless
from attn_cli.reporters.terminal.findings import worst_first
from attn_cli.reporters.terminal.header import selected, source_name
from attn_cli.reporters.terminal.labels import call_name
from attn_cli.reporters.terminal.timing import timing_texts, verification_text
from attn_cli.results import CallResult, RunResult

FORMAT = "attn.page/1"
MOST_FINDINGS = 300
Entry = dict[str, Any]


def page_title(result: RunResult) -> str:
    """What the page is called; still to be made harmless."""
    return f"{source_name(result.calls[0].call.source)} · attn {result.command}"


def page_payload(result: RunResult, level: Level, budget: Entry) -> Entry:
    """All that the page knows; only what JSON has, and every text is harmless.

    Args:
        result: at least one call.
        level: how much of it to tell.
        budget: what is said of the page's size: ``bytes``, ``kept`` and ``note``.
    """
    lists, pictures = TokenLists(), [picture_of(call.inspection, level) for call in result.calls]
    kinds = [exact_kind(call.inspection, level) for call in result.calls]
    calls = zip(result.calls, pictures, kinds, strict=True)
    told = [_call(result, call, picture, kind, level, lists) for call, picture, kind in calls]
    findings = _findings(result)
    payload: Entry = {
        "format": FORMAT,
        "command": result.command,
        "version": __version__,
        "title": page_title(result),
        "note": " ".join([*_notes(pictures, kinds), *filter(None, [budget["note"]])]),
        "budget": {"bytes": budget["bytes"], "kept": budget["kept"]},
        "codes": {"masked": MASKED, "nan": NAN, "scale": SCALE},
        "metrics": [
            {"name": one.name, "unit": one.unit, "definition": one.definition, "source": one.source} for one in METRICS
        ],
        "labels": {label.name: label.sentence for label in LABELS},
        "findings": findings[:MOST_FINDINGS],
        "findings_left_out": max(0, len(findings) - MOST_FINDINGS),
        "worth": [_worth(result, one) for one in result.worth_looking_at],
        "metric": result.metric,
        "order": result.order,
        "calls": told,
    }
    cleaned: Entry = made_harmless(payload)
    return cleaned | {"tokens": lists.shown()}


def _notes(pictures: list[Pictures], kinds: list[str]) -> list[str]:
    """What is exact and what is pooled, in sentences."""
    pools = [(one.query_pool, one.key_pool) for one in pictures]
    whole = kinds.count("all")
    if whole == len(kinds):
        exact = "Every weight is exact (32-bit floats)."
    elif whole:
        exact = f"Every weight is exact (32-bit floats) in {whole} of {len(kinds)} calls; in the others "
        exact += "windows around the strongest pairs are." if "windows" in kinds else "none is."
    elif "windows" in kinds:
        exact = "Exact (32-bit floats) are the windows around the strongest pairs and those that are outlined beside."
    else:
        exact = "No weight is exact: each is shown in 8 bits."
    largest = max(pools, key=lambda pool: pool[0] * pool[1])
    if largest == (1, 1):
        return [exact, "In the pictures each cell is one weight, in 8 bits on a square-root scale."]
    size = f"{largest[0]} × {largest[1]}" if len(set(pools)) == 1 else f"up to {largest[0]} × {largest[1]}"
    cells = (
        f"In the pictures each cell is the largest of {size} weights (max-pooled), in 8 bits on a square-root scale."
    )
    return [exact, cells]


def _call(result: RunResult, call: CallResult, picture: Pictures, kind: str, level: Level, lists: TokenLists) -> Entry:
    inspection, record, note = call.inspection, call.call, call.backend_note
    rows, columns = picture.weights.shape[2:]
    return {
        **_header(call, [one.call for one in result.calls]),
        **_axes(call),
        "tokens": _tokens(call, lists),
        "has_sinks": picture.sink is not None,
        "exact_kind": kind,
        "picture": {
            "rows": rows,
            "columns": columns,
            "query_pool": picture.query_pool,
            "key_pool": picture.key_pool,
        },
        "selected": "; ".join(selected(call)),
        "notes": [] if note is None else [f"{call.backend_requested} took {call.backend_ran}: {note}"],
        "unused": [info.name for info in record.unused],
        "heads": list(heads_of(inspection, picture, level)),
    }


def _header(call: CallResult, calls: list[CallRecord]) -> Entry:
    """What was run, how it was read, and how long it took."""
    record = call.call
    return {
        "name": call_name(record, calls) if record.prefix or record.layer is not None else source_name(record.source),
        "layer": record.layer,
        "module": record.module,
        "step": record.step,
        "source": source_name(record.source),
        "device": call.device,
        "dtype": call.dtype,
        "backend": {"requested": call.backend_requested, "ran": call.backend_ran, "kernel": call.kernel},
        "conventions": convention_entries(record),
        "shapes": [{"step": one.step, "shape": list(one.shape)} for one in call.shapes],
        "timing": [{"name": name, "text": text} for name, text in timing_texts(call.timing)],
        "verification": {"text": verification_text(call.verification), "holds": call.verification.holds},
    }


def _axes(call: CallResult) -> Entry:
    """Which batch items, heads, query rows and keys there are."""
    index = call.inspection.index
    queries, places = index.queries, call.places
    is_whole = queries.tolist() == list(range(len(queries)))
    follows = bool((places.diff() == 1).all())
    return {
        "batch": list(index.batch),
        "head_numbers": list(index.heads),
        "queries": len(queries),
        "keys": call.num_keys,
        "query_numbers": None if is_whole else queries.tolist(),
        "places": int(places[0]) if follows else places[queries].tolist(),
        "queries_are_keys": call.ties_queries_to_keys,
    }


def _tokens(call: CallResult, lists: TokenLists) -> list[int] | None:
    tokens = call.call.tokens
    if tokens is None or max(call.inspection.index.batch) >= len(tokens):
        return None
    return [lists.number(tokens[b]) for b in call.inspection.index.batch]


def _findings(result: RunResult) -> list[Entry]:
    """The findings of all calls, worst first, each with the place of its call."""
    call_of = {id(finding): number for number, call in enumerate(result.calls) for finding in call.inspection.findings}
    names = ("batch", "head", "query", "key")
    return [
        {
            "code": one.code,
            "severity": one.severity,
            "message": one.message,
            "hint": one.hint,
            "call": call_of[id(one)],
            "layer": one.layer if one.layer is not None else result.calls[call_of[id(one)]].call.layer,
            "tensor": one.place.tensor,
            **{name: getattr(one.place, name) for name in names},
            "count": one.count,
        }
        for one in worst_first(result.findings)
    ]


def _worth(result: RunResult, one: WorthLooking) -> Entry:
    """A head worth looking at, by its positions; of several calls the first where none is named."""
    call = result.modules[one.module].calls[one.call or 0]
    index = call.inspection.index
    return {
        "kind": one.kind,
        "why": one.why,
        "call": next(number for number, other in enumerate(result.calls) if other is call),
        "batch": index.batch.index(one.batch) if one.batch in index.batch else None,
        "head": index.heads.index(one.head) if one.head in index.heads else None,
    }
