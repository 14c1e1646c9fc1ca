"""What a page of ``attn run`` and ``attn demo`` is told, as JSON: the format ``attn.page/1``."""

from __future__ import annotations

from typing import Any

from attn_cli import __version__
from attn_cli.inputs.types import CallRecord
from attn_cli.inspection.labels import LABELS
from attn_cli.inspection.metrics import METRICS
from attn_cli.inspection.worth import WorthLooking
from attn_cli.reporters.call_data import convention_entries
from attn_cli.reporters.html.blobs import MASKED, NAN, SCALE
from attn_cli.reporters.html.budget import Level
from attn_cli.reporters.html.entries import MOST_FINDINGS, finding_entry
from attn_cli.reporters.html.exactness import Told, exactness
from attn_cli.reporters.html.payload_heads import apart_scale, heads_of, picture_of, thumb_of, window_kinds
from attn_cli.reporters.html.story import Story, with_story
from attn_cli.reporters.html.texts import TokenLists, file_name, made_harmless
from attn_cli.reporters.terminal.findings import worst_first
from attn_cli.reporters.terminal.header import selected
from attn_cli.reporters.terminal.labels import call_name
from attn_cli.reporters.terminal.timing import timing_texts, verification_text
from attn_cli.results import CallResult, RunResult

FORMAT = "attn.page/1"
Entry = dict[str, Any]


def page_title(result: RunResult) -> str:
    """What the page is called; still to be made harmless."""
    return f"{file_name(result.calls[0].call.source)} · attn {result.command}"


def page_payload(result: RunResult, level: Level, budget: Entry, story: Story | None = None) -> Entry:
    """All that the page knows; only what JSON has, and every text is harmless.

    Args:
        result: at least one call, or a story.
        level: how much of it to tell.
        budget: what is said of the page's size: ``bytes``, ``kept`` and ``note``.
        story: what a command has to tell beside its calls, or None.
    """
    lists, pictures = TokenLists(), [picture_of(call.inspection, level) for call in result.calls]
    kinds = [window_kinds(call.inspection, level) for call in result.calls]
    exact = [Told(picture, windows) for picture, windows in zip(pictures, kinds, strict=True)]
    told = [_call(result, call, of_call, level, lists) for call, of_call in zip(result.calls, exact, strict=True)]
    findings = _findings(result)
    worth = result.worth_looking_at if story is None or story.is_one_run else ()
    payload: Entry = {
        "format": FORMAT,
        "command": result.command,
        "version": __version__,
        "title": page_title(result) if story is None else story.title,
        "note": " ".join([*exactness(exact), *filter(None, [budget["note"]])]),
        "budget": {"bytes": budget["bytes"], "kept": budget["kept"]},
        "codes": {"masked": MASKED, "nan": NAN, "scale": SCALE},
        "metrics": [
            {"name": one.name, "unit": one.unit, "definition": one.definition, "source": one.source} for one in METRICS
        ],
        "labels": {label.name: label.sentence for label in LABELS},
        "findings": findings[:MOST_FINDINGS],
        "findings_left_out": max(0, len(findings) - MOST_FINDINGS),
        "worth": [_worth(result, one) for one in worth],
        "metric": result.metric,
        "order": result.order,
        "calls": told,
    }
    if story is not None:
        payload = with_story(payload, story)
    cleaned: Entry = made_harmless(payload)
    return cleaned | {"tokens": lists.shown()}


def _call(result: RunResult, call: CallResult, exact: Told, level: Level, lists: TokenLists) -> Entry:
    inspection, record, note = call.inspection, call.call, call.backend_note
    picture, thumb = exact.picture, thumb_of(exact.picture)
    rows, columns = picture.weights.shape[2:]
    return {
        **_header(call, [one.call for one in result.calls]),
        **_axes(call),
        "tokens": _tokens(call, lists),
        "has_sinks": picture.sink is not None,
        "exact_kind": exact.kind,
        "apart_scale": None if picture.apart is None else apart_scale(picture),
        "picture": {
            "rows": rows,
            "columns": columns,
            "query_pool": picture.query_pool,
            "key_pool": picture.key_pool,
        },
        "thumb": None if thumb is None else dict(zip(("rows", "columns"), thumb.weights.shape[2:], strict=True)),
        "selected": "; ".join(selected(call)),
        "notes": [] if note is None else [f"{call.backend_requested} took {call.backend_ran}: {note}"],
        "unused": [info.name for info in record.unused],
        "heads": list(heads_of(inspection, picture, thumb, level)),
    }


def _header(call: CallResult, calls: list[CallRecord]) -> Entry:
    """What was run, how it was read, and how long it took."""
    record = call.call
    return {
        "name": call_name(record, calls) if record.prefix or record.layer is not None else file_name(record.source),
        "layer": record.layer,
        "module": record.module,
        "step": record.step,
        "source": file_name(record.source),
        "device": call.device,
        "dtype": call.dtype,
        "backend": {"requested": call.backend_requested, "ran": call.backend_ran, "kernel": call.kernel},
        "conventions": convention_entries(record),
        "shapes": [{"step": one.step, "shape": list(one.shape)} for one in call.shapes],
        "timing": [{"name": name, "text": text} for name, text in timing_texts(call.timing)],
        "verification": {
            "text": verification_text(call.verification),
            "holds": call.verification.holds,
            "against": call.verification.against,
        },
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
    found = [(one, call_of[id(one)]) for one in worst_first(result.findings)]
    layers = [call.call.layer for call in result.calls]
    return [finding_entry(one, call, layers[call] if one.layer is None else one.layer) for one, call in found]


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
