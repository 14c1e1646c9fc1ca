"""Which heads are worth looking at: the clearest of every kind, judged by the thresholds of the labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from attn_cli.inspection.labels import ENOUGH_ROWS, FOCUSED, INACTIVE, OFFSET, SINK
from attn_cli.inspection.over_calls import HeadSummary

UNIFORM_DISTANCE = 1.0
# A head of these labels follows no tokens and looks nowhere in particular, whatever its other numbers are.
_SHAPELESS = ("broken", "inactive", "broad")


@dataclass(frozen=True)
class WorthLooking:
    """One kind of head, and the head that shows it best.

    Attributes:
        kind: ``"broken"``, ``"changing"``, ``"induction"``, ``"duplicate"``, a label of
            :data:`attn_cli.inspection.labels.LABELS`, or ``"far"``.
        module: the place of the head's module among those that were given.
        head: its number in the whole call.
        call, batch: the call's place among its module's, and the batch item, where one is meant.
        metric: the name of what decided, or None where that is no metric.
        value: what this head has of it.
        threshold: what it had to reach; for ``"inactive"`` and ``"broken"`` see their labels.
        count: how many heads are of this kind.
        why: one sentence with the numbers.
    """

    kind: str
    module: int
    head: int
    call: int | None
    batch: int | None
    metric: str | None
    value: float
    threshold: float
    count: int
    why: str


@dataclass(frozen=True)
class _Head:
    module: int
    calls: int
    summary: HeadSummary

    def value(self, name: str) -> float:
        """The mean of a metric; NaN where it is not known."""
        return self.summary.values.get(name, math.nan)


@dataclass(frozen=True)
class _Kind:
    """Heads that reach a threshold, of which the one with the largest number is named.

    Attributes:
        name: of the kind.
        metrics: that decide; the larger counts where there are several.
        threshold: to be reached.
        belongs: whether a head may be of this kind at all.
        why: the numbers of a head, as a clause.
    """

    name: str
    metrics: tuple[str, ...]
    threshold: float
    belongs: Callable[[_Head], bool]
    why: Callable[[_Head], str]

    def rank(self, head: _Head) -> tuple[float, str]:
        """The number that decides, and its name; NaN where there is none."""
        known = [(head.value(name), name) for name in self.metrics if not math.isnan(head.value(name))]
        return max(known, default=(math.nan, self.metrics[0]))


def _bears(label: str) -> Callable[[_Head], bool]:
    return lambda head: head.summary.label == label


def _has_shape(head: _Head) -> bool:
    return head.summary.label not in _SHAPELESS


def _looks_far(head: _Head) -> bool:
    """A sink is far away from most rows, but is no place that the head looks for."""
    return _has_shape(head) and head.summary.label != "sink"


def _weight(metric: str, where: str) -> Callable[[_Head], str]:
    return lambda head: f"{head.value(metric):.2f} of its weight is on {where}"


def _sink(head: _Head) -> str:
    first, learned = head.value("sink_above_uniform"), head.value("learned_sink_above_uniform")
    is_learned = math.isnan(first) or learned > first
    return _weight(*(("learned_sink_mass", "the learned sink") if is_learned else ("sink_score", "key 0")))(head)


def _far(head: _Head) -> str:
    ratio, distance = head.value("distance_ratio"), head.value("attention_distance")
    return f"{distance:.1f} keys away in the mean, {ratio:.2f} times as far as uniform attention"


_KINDS = (
    _Kind(
        "induction",
        ("induction_score",),
        OFFSET,
        _has_shape,
        _weight("induction_score", "the key after an earlier same token"),
    ),
    _Kind("duplicate", ("duplicate_score",), OFFSET, _has_shape, _weight("duplicate_score", "earlier same tokens")),
    *(
        _Kind(
            label,
            (f"{name}_above_uniform",),
            OFFSET,
            _bears(label),
            _weight(f"{name}_score", where),
        )
        for label, name, where in (
            ("previous-token", "previous", "the previous key"),
            ("next-token", "next", "the next key"),
            ("self", "self", "the query's own key"),
        )
    ),
    _Kind("sink", ("sink_above_uniform", "learned_sink_above_uniform"), SINK, _bears("sink"), _sink),
    _Kind(
        "focused",
        ("confidence_above_uniform",),
        FOCUSED,
        _bears("focused"),
        _weight("confidence", "one key in each row"),
    ),
    _Kind("far", ("distance_ratio",), UNIFORM_DISTANCE, _looks_far, _far),
)


def worth_looking_at(modules: Sequence[Sequence[HeadSummary]], calls: Sequence[int]) -> tuple[WorthLooking, ...]:
    """The head that shows each kind best, one a kind, what is wrong first.

    Args:
        modules: the heads of every module.
        calls: how many calls each module has.

    Returns:
        Empty where every head is alike and unremarkable, as under uniform attention.
    """
    heads = [_Head(number, calls[number], summary) for number, summaries in enumerate(modules) for summary in summaries]
    found = (_broken(heads), _changing(heads), *_strongest(heads), _inactive(heads))
    return tuple(one for one in found if one is not None)


def _broken(heads: Sequence[_Head]) -> WorthLooking | None:
    broken = [head for head in heads if head.summary.first_broken is not None]
    if not broken:
        return None
    first, head = _found(broken), broken[0]
    assert head.summary.first_broken is not None  # these alone are among them
    call, item = head.summary.first_broken
    items, value = sum(head.summary.counts.values()), head.value("nonfinite")
    part = "" if items == 1 else f", in {head.summary.counts['broken']} of {_items(head)}"
    rows = round(value * items)
    why = f"{rows} query row{'' if rows == 1 else 's'} with NaN or infinite numbers{part}{first}"
    return WorthLooking("broken", head.module, head.summary.head, call, item, "nonfinite", value, 0, len(broken), why)


def _found(heads: Sequence[_Head]) -> str:
    """What is said of a head that is the first of several."""
    return f"; the first of {len(heads)} such heads" if len(heads) > 1 else ""


def _items(head: _Head) -> str:
    """``10 calls``, or ``20 batch items of 10 calls``."""
    items = sum(head.summary.counts.values())
    if items == head.calls:
        return f"{items} calls"
    return f"{items} batch items" if head.calls == 1 else f"{items} batch items of {head.calls} calls"


def _strongest(heads: Sequence[_Head]) -> Iterator[WorthLooking]:
    """The strongest head of every kind that has one above its threshold, the first of equals."""
    for kind in _KINDS:
        strong = [head for head in heads if kind.belongs(head) and kind.rank(head)[0] >= kind.threshold]
        if strong:
            head = max(strong, key=lambda head: kind.rank(head)[0])
            value, metric = kind.rank(head)
            why = kind.why(head) + (f"; the most of {len(strong)} such heads" if len(strong) > 1 else "")
            yield WorthLooking(
                kind.name, head.module, head.summary.head, None, None, metric, value, kind.threshold, len(strong), why
            )


def _changing(heads: Sequence[_Head]) -> WorthLooking | None:
    """The head whose label differs most over the calls of its module, beyond accidents."""
    changing = [head for head in heads if head.calls > 1 and head.summary.changes >= ENOUGH_ROWS]
    if not changing:
        return None
    head = max(changing, key=lambda head: head.summary.changes)
    counts = sorted(head.summary.counts.items(), key=lambda pair: -pair[1])
    labels = ", ".join(f"{label} in {count}" for label, count in counts)
    more = f"; the most of {len(changing)} such heads" if len(changing) > 1 else ""
    why = f"its label changes over {_items(head)}: {labels}{more}"
    value = head.summary.changes
    return WorthLooking(
        "changing", head.module, head.summary.head, None, None, None, value, ENOUGH_ROWS, len(changing), why
    )


def _inactive(heads: Sequence[_Head]) -> WorthLooking | None:
    """How many heads do next to nothing, and the least of them."""
    inactive = [head for head in heads if head.summary.label == "inactive"]
    if not inactive:
        return None
    names = ("projected_norm_relative", "output_norm_relative", "output_norm")

    def measured(head: _Head) -> tuple[float, str | None]:
        return next(((head.value(name), name) for name in names if not math.isnan(head.value(name))), (math.nan, None))

    head = min(inactive, key=lambda head: math.inf if math.isnan(measured(head)[0]) else measured(head)[0])
    value, metric = measured(head)
    count = f"{len(inactive)} of {len(heads)} heads" if len(inactive) > 1 else "one head"
    is_relative = metric is not None and metric.endswith("relative")
    norm = f"the norm of its output is {value:.2f} of its layer's mean" if is_relative else "its output is empty"
    least = "the least: " if len(inactive) > 1 else ""
    return WorthLooking(
        "inactive", head.module, head.summary.head, None, None, metric, value, INACTIVE, len(inactive),
        f"{count} next to idle; {least}{norm}",
    )  # fmt: skip
