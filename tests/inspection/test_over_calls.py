"""What is said of a head over the calls of its module, against NumPy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.attention.types import CallIndex
from attn_cli.inspection.metric_names import METRIC_NAMES
from attn_cli.inspection.metrics import METRICS
from attn_cli.inspection.over_calls import summarize
from attn_cli.inspection.ranking import ranked
from attn_cli.inspection.types import Inspection, Pictures, TopPairs

NOTHING = torch.zeros(0)


def inspection(labels, heads=None, **metrics):
    """An inspection with these labels, ``labels[b][h]``, and metrics of ``(B, Hq)``."""
    batch, number = len(labels), len(labels[0])
    index = CallIndex(tuple(range(batch)), heads or tuple(range(number)), torch.arange(1), batch, 99, 1)
    broken = torch.tensor([[float(label == "broken") for label in item] for item in labels], dtype=torch.float64)
    values = {name: torch.tensor(table, dtype=torch.float64) for name, table in metrics.items()}
    return Inspection(
        index=index,
        metrics={"nonfinite": broken, **values},
        labels=tuple(tuple(item) for item in labels),
        pictures=Pictures(NOTHING, NOTHING, None, 1, 1),
        top=TopPairs(NOTHING, NOTHING, NOTHING),
        output=None, lse=None, weights=None, sink_weights=None, similarity=None, findings=(),
    )  # fmt: skip


numbers = st.one_of(st.floats(-100, 100), st.just(math.nan))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=3), min_size=1, max_size=4))
def test_a_mean_is_over_every_batch_item_that_has_a_value(tables):
    calls = [inspection([["mixed"] * 2] * len(table), entropy=table) for table in tables]
    every = np.array([row for table in tables for row in table])
    for head in summarize(calls):
        known = every[:, head.head][np.isfinite(every[:, head.head])]
        expected = known.mean() if len(known) else math.nan
        assert head.values["entropy"] == pytest.approx(expected, nan_ok=True)


def test_a_broken_item_leaves_no_mean():
    calls = [
        inspection([["mixed", "sink"]], entropy=[[1.0, 2.0]]),
        inspection([["broken", "sink"]], entropy=[[math.nan, 4.0]]),
    ]
    first, second = summarize(calls)
    assert math.isnan(first.values["entropy"])
    assert second.values["entropy"] == 3


def test_the_label_is_that_of_most_items_and_broken_wins():
    calls = [inspection([["sink", "broken", "self"]]), inspection([["sink", "sink", "self"], ["self", "sink", "self"]])]
    heads = summarize(calls)
    assert [head.label for head in heads] == ["sink", "broken", "self"]
    assert [head.is_unanimous for head in heads] == [False, False, True]
    assert heads[0].counts == {"sink": 2, "self": 1}
    assert heads[1].first_broken == (0, 0)


def test_calls_with_other_heads_are_joined_by_number():
    calls = [
        inspection([["sink", "self"]], heads=(0, 5), entropy=[[1.0, 2.0]]),
        inspection([["self"]], heads=(5,), entropy=[[4.0]]),
    ]
    heads = summarize(calls)
    assert [(head.head, head.label, head.values["entropy"]) for head in heads] == [(0, "sink", 1.0), (5, "self", 3.0)]


def test_a_metric_that_only_some_calls_have_is_a_mean_over_those():
    calls = [inspection([["mixed"]], induction_score=[[0.5]]), inspection([["mixed"]])]
    assert summarize(calls)[0].values["induction_score"] == 0.5


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(numbers, min_size=1, max_size=4), min_size=1, max_size=4), st.sampled_from(["high", "low"]))
def test_a_ranking_holds_every_known_value_in_order(tables, order):
    modules = [summarize([inspection([["mixed"] * len(row)], entropy=[row])]) for row in tables]
    found = [head.values["entropy"] for _, head in ranked(modules, "entropy", order)]
    known = [value for row in tables for value in row if not math.isnan(value)]
    assert found == sorted(known, reverse=order == "high")


def test_the_names_known_without_torch_are_those_of_the_metrics():
    assert tuple(metric.name for metric in METRICS) == METRIC_NAMES
