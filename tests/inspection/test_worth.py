"""Heads with planted behaviour are named, one a kind, and uniform attention has none."""

from dataclasses import replace

import pytest
import torch

from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.labels import ENOUGH_ROWS, FOCUSED, INACTIVE, OFFSET, SINK
from attn_cli.inspection.over_calls import summarize
from attn_cli.inspection.worth import worth_looking_at
from tests.attention.calls import make_call

SIZE = 16
TOKENS = torch.arange(SIZE) % 8  # each token twice


def looking_at(targets, strength=12.0):
    """A bias (Sq, Sk) that puts nearly all weight of row i on key targets[i]; out of range leaves the row uniform."""
    bias = torch.zeros(SIZE, SIZE, dtype=torch.float64)
    for row, key in enumerate(targets):
        if 0 <= key < SIZE:
            bias[row, key] = strength
    return bias


ROWS = range(SIZE)
UNIFORM = looking_at([-1] * SIZE)
PLANTED = {
    "previous-token": looking_at([i - 1 for i in ROWS]),
    "next-token": looking_at([i + 1 for i in ROWS]),
    "self": looking_at(ROWS),
    "sink": looking_at([0] * SIZE),
    "focused": looking_at([(5 * i + 3) % SIZE for i in ROWS]),
    "far": looking_at([SIZE - 1 if i < SIZE // 2 else 1 for i in ROWS]),
    "induction": looking_at([i - 7 if i >= 8 else -1 for i in ROWS]),
    "duplicate": looking_at([i - 8 if i >= 8 else -1 for i in ROWS]),
}
THRESHOLDS = {"sink": SINK, "focused": FOCUSED, "far": 1.0}


def call(*biases, values=None, **options):
    """A call whose heads have these biases and nothing else in their logits; every value is a unit vector."""
    made = make_call(
        batch=1, heads=len(biases), kv_heads=len(biases), queries=SIZE, keys=SIZE, scale=0.0,
        bias=torch.stack(biases)[None], **options,
    )  # fmt: skip
    v = torch.zeros_like(made.v)
    v[..., 0] = 1
    return replace(made, v=v if values is None else values, token_ids=TOKENS[None])


def worth(*modules):
    """What is named of these modules, each a list of calls."""
    summaries = [summarize([inspect(one) for one in calls]) for calls in modules]
    return {one.kind: one for one in worth_looking_at(summaries, [len(calls) for calls in modules])}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_head_is_named_with_its_place_and_its_numbers(kind):
    found = worth([call(UNIFORM, UNIFORM, UNIFORM)], [call(UNIFORM, UNIFORM, PLANTED[kind])])
    one = found[kind]
    assert (one.module, one.head, one.count) == (1, 2, 1)
    assert one.threshold == THRESHOLDS.get(kind, OFFSET)
    assert one.value >= one.threshold
    assert any(character.isdigit() for character in one.why)


def test_uniform_attention_has_none():
    assert worth([call(UNIFORM, UNIFORM)], [call(UNIFORM, UNIFORM), call(UNIFORM, UNIFORM)]) == {}


def test_uniform_causal_attention_has_none():
    causal = torch.zeros(SIZE, SIZE, dtype=torch.float64).masked_fill(torch.ones(SIZE, SIZE).triu(1).bool(), -torch.inf)
    assert worth([call(causal, causal)], [call(causal, causal)]) == {}


def test_the_strongest_of_several_is_named_and_all_are_counted():
    weak, strong = (looking_at([i - 1 for i in ROWS], strength) for strength in (5.0, 9.0))
    one = worth([call(weak, UNIFORM)], [call(UNIFORM, strong)], [call(weak, weak)])["previous-token"]
    assert (one.module, one.head, one.count) == (1, 1, 4)
    assert "the most of 4" in one.why


def test_the_weight_that_is_told_is_the_published_score():
    made = call(UNIFORM, PLANTED["sink"])
    one = worth([made])["sink"]
    score = float(inspect(made).metrics["sink_score"][0, 1])
    assert one.metric == "sink_above_uniform"
    assert one.why.startswith(f"{score:.2f} of its weight is on key 0")


def test_a_learned_sink_is_called_one():
    made = make_call(batch=1, heads=2, kv_heads=2, queries=SIZE, keys=SIZE, scale=0.0, sinks=torch.tensor([3.2, -8.0]))
    one = worth([made])["sink"]
    assert (one.head, one.metric) == (0, "learned_sink_above_uniform")
    assert "learned sink" in one.why


def test_a_broken_head_comes_first_and_is_nothing_else():
    broken = PLANTED["previous-token"].clone()
    broken[3, 4] = torch.nan
    calls = [call(PLANTED["sink"], PLANTED["previous-token"]), call(PLANTED["sink"], broken)]
    found = worth(calls)
    one = found["broken"]
    assert next(iter(found)) == "broken"
    assert (one.module, one.head, one.call, one.batch, one.count) == (0, 1, 1, 0, 1)
    assert "1 of 2 calls" in one.why
    assert "previous-token" not in found


def test_inactive_heads_are_counted_and_the_least_is_named():
    made = call(UNIFORM, UNIFORM, UNIFORM, UNIFORM)
    values = made.v * torch.tensor([1.0, 0.1, 0.01, 1.0], dtype=torch.float64)[:, None, None]
    one = worth([replace(made, v=values)])["inactive"]
    assert (one.head, one.count, one.threshold) == (2, 2, INACTIVE)
    assert "2 of 4 heads" in one.why


def test_a_head_that_changes_over_its_steps_is_named():
    steady = PLANTED["self"]
    calls = [call(steady, PLANTED["sink" if step < 2 else "previous-token"]) for step in range(5)]
    one = worth(calls)["changing"]
    assert (one.head, one.call, one.threshold) == (1, None, ENOUGH_ROWS)
    assert one.value == pytest.approx(2 / 5)
    assert "previous-token in 3" in one.why
    assert "sink in 2" in one.why


def test_batch_items_that_differ_are_no_change():
    made, names = call(PLANTED["sink"], UNIFORM), ("sink", "self")
    both = replace(
        made,
        q=made.q.expand(2, -1, -1, -1), k=made.k.expand(2, -1, -1, -1), v=made.v.expand(2, -1, -1, -1),
        token_ids=made.token_ids.expand(2, -1),
        rules=replace(made.rules, bias=torch.stack([torch.stack([PLANTED[name], UNIFORM]) for name in names])),
        index=replace(made.index, batch=(0, 1), total_batch=2),
    )  # fmt: skip
    assert "changing" not in worth([both, both])


def test_a_single_stray_call_is_no_change():
    calls = [call(PLANTED["sink" if step else "self"], UNIFORM) for step in range(8)]
    assert "changing" not in worth(calls)


def test_each_kind_is_named_once_though_every_one_is_there():
    found = worth([call(*PLANTED.values(), UNIFORM)])
    assert set(PLANTED) <= set(found)
    assert [found[kind].head for kind in PLANTED if kind in ("previous-token", "next-token", "self", "sink")] == [
        0,
        1,
        2,
        3,
    ]
