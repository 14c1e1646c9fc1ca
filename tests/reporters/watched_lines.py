"""Lines as ``attn record --stats`` writes them, for tables that show them."""

from __future__ import annotations

from typing import Any

from attn_cli.reporters.terminal.watch_totals import WatchTotals

Line = dict[str, Any]
EMPTY_ROW = {"code": "ATTN003", "severity": "warning", "message": "3 query rows have no visible key: weights are 0"}
BROKEN = {"code": "ATTN001", "severity": "error", "message": "k holds 1 NaN at 1 key, in feature 3"}


def line(module: str, step: int = 0, **changed: Any) -> Line:
    """A line with what the table shows; ``labels`` and ``value`` are those of its heads."""
    labels, value = changed.pop("labels", ("sink", "mixed")), changed.pop("value", 0.5)
    metrics = {
        "entropy": value,
        "sink_score": value / 2,
        "confidence": 1 / (1 + value),
        "attention_distance": 100 * value,
    }
    told = {
        "schema": "attn.record/1",
        "module": module,
        "step": step,
        "shape": {"batch": 1, "heads": len(labels), "queries": 1 if step else 37, "keys": 37 + step},
        "ms": 4.0 + step,
        "findings": [],
        "heads": [{"label": label, **(metrics if label != "broken" else dict.fromkeys(metrics))} for label in labels],
    }
    return told | changed


def totals(*lines: Line) -> WatchTotals:
    """What the lines add up to."""
    added = WatchTotals()
    for one in lines:
        added.add(one)
    return added


DECODING = totals(
    *(
        line(
            f"model.layers.{layer}.self_attn",
            step,
            value=0.1 * layer + 0.01 * step,
            labels=("sink",) * 6 + ("mixed",) * 2,
        )
        for step in range(12)
        for layer in range(4)
    )
)
BAD = totals(
    line("encoder.layer.0.attention", findings=[EMPTY_ROW]),
    line("encoder.layer.1.attention", findings=[BROKEN, EMPTY_ROW], labels=("broken", "broken")),
    line("encoder.layer.0.attention", 1, labels=("sink", "local", "broad", "focused", "self")),
    line("pooler.cross", findings=[EMPTY_ROW], value=2.5),
)
HOSTILE = totals(line("\x1b[31mtrain.py:31\n" + "x" * 150, findings=[BROKEN | {"message": "a\x1b[0m [bold]猫"}]))
SHOWN = {"watch-decoding": DECODING, "watch-bad": BAD, "watch-hostile": HOSTILE, "watch-empty": totals()}
