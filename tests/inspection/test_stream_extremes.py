"""Numbers that are hard to carry: large, equal, nearly one-hot and broken ones, and a maximum that follows or stays."""

from dataclasses import replace

import pytest
import torch

from attn_cli.attention import textbook
from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.options import InspectOptions, Zoom
from attn_cli.inspection.stream import online
from attn_cli.inspection.stream.exact import ExactPass
from attn_cli.inspection.stream.online import OnlinePass
from tests.attention.calls import make_call
from tests.inspection.stream_cases import CPU, assert_metrics, assert_narrow, calls_of_every_kind
from tests.inspection.test_tiles import assert_like_the_textbook

TILES = InspectOptions(block_rows=5, block_keys=8, picture_rows=9, picture_columns=11)
ONE_HEAD_EACH = InspectOptions(block_rows=300, block_keys=512)  # more scores than items of several heads have


@pytest.fixture
def modes(monkeypatch):
    """For every item that is streamed: whether m follows."""
    seen, sums = [], OnlinePass.sums

    def watched(self, item, follow=False):
        found = sums(self, item, follow)
        seen.append(found.follows)
        return found

    monkeypatch.setattr(OnlinePass, "sums", watched)
    return seen


@pytest.fixture
def exact_heads(monkeypatch):
    """The first key/value head of every item that goes through the textbook's steps."""
    seen, rows = [], ExactPass.rows

    def watched(self, item, values):
        seen.append(item.kv_heads.start)
        return rows(self, item, values)

    monkeypatch.setattr(ExactPass, "rows", watched)
    return seen


def with_logits(line, values=None, dtype=torch.float32, queries=6, **options):
    """A call of one head whose every row has the logits ``line``, exactly."""
    call = make_call(1, 1, queries=queries, keys=len(line), features=4, dtype=dtype, scale=1.0, **options)
    q, k = torch.zeros_like(call.q), torch.zeros_like(call.k)
    q[..., 0], k[..., 0] = 1, line.to(dtype)
    return replace(call, q=q, k=k, v=call.v if values is None else values)


@pytest.mark.parametrize("name", ["causal bottom-right", "window both sides", "sinks", "valid lens of rows, causal"])
def test_a_maximum_that_follows_gives_what_one_that_stays_gives(name, modes, monkeypatch):
    call = calls_of_every_kind()[name]
    call = replace(call, rules=replace(call.rules, sinks=None if call.rules.sinks is None else torch.zeros(4).double()))
    stays = inspect(call, TILES)
    assert modes[0] is False
    modes.clear()
    monkeypatch.setattr(online, "BOUNDED", -1.0)
    follows = inspect(call, TILES)
    assert all(modes)
    assert_metrics(follows.metrics, stays.metrics, 1e-12, 1e-12)
    for x, y in ((follows.output, stays.output), (follows.lse, stays.lse), (follows.top.weight, stays.top.weight)):
        torch.testing.assert_close(x, y, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(follows.pictures.weights, stays.pictures.weights)


@pytest.mark.parametrize("order", ["rising", "falling", "shuffled"])
@pytest.mark.parametrize("size", [1.0, 41.0, 300.0, 1e4])
def test_logits_of_any_size_in_any_order_in_float32(size, order, exact_heads):
    line = torch.linspace(-size, size, 64)
    line = {
        "rising": line,
        "falling": line.flip(0),
        "shuffled": line[torch.randperm(64, generator=torch.Generator().manual_seed(1))],
    }[order]
    call = with_logits(line, causal=True)
    found = inspect(call, InspectOptions(block_rows=4, block_keys=5))
    expected = inspect(call.to(CPU, torch.float64))
    assert exact_heads == []
    assert_metrics(found.metrics, expected.metrics, 1e-5, 3e-8)
    torch.testing.assert_close(found.output.double(), expected.output, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.lse.double(), expected.lse, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("value", [-1e3, -1e4, -1e9, -1e20, float(torch.finfo(torch.float32).min)])
def test_keys_that_a_number_hides_take_no_digits_from_the_keys_behind_them(value, exact_heads):
    """In float32 a logit next to −10⁹ has no digits: m has to leave it behind before a difference is formed."""
    bias = torch.zeros(1, 1, 1, 64)
    bias[..., :20] = value
    call = make_call(1, 2, queries=8, keys=64, bias=bias)
    assert_narrow(call, torch.float32, InspectOptions(block_keys=8))
    assert exact_heads == []


def test_rows_that_a_number_hides_wholly_are_uniform():
    least = torch.finfo(torch.float32).min
    call = make_call(1, 2, queries=8, keys=64, bias=torch.full((1, 1, 1, 64), least), dtype=torch.float32)
    found = inspect(call, InspectOptions(block_keys=8))
    torch.testing.assert_close(found.output, textbook.attend(call).output)
    torch.testing.assert_close(found.metrics["confidence"], torch.full((1, 2), 1 / 64).double())


@pytest.mark.parametrize("causal", [False, True])
def test_large_norms_behind_hidden_tiles(causal):
    call = make_call(2, 4, 2, 23, 41, features=4, causal=causal, window=(6, 2), scale=60.0)
    keep = torch.ones(2, 1, 23, 41, dtype=torch.bool)
    keep[:, :, ::3, :19] = False
    call = replace(call, rules=replace(call.rules, mask=replace(call.rules.mask, keep=keep)))
    assert_like_the_textbook(call, inspect(call, TILES))


@pytest.mark.parametrize("sink", [-1e30, 0.0, 60.0, 89.0, 1e3, 1e24, 1e30])
def test_a_sink_of_any_size_stays_a_weight(sink):
    """exp(sink − m) overflows in float32 above 88."""
    call = make_call(1, 2, queries=9, keys=40, sinks=torch.tensor([sink, 0.5]), valid_lens=torch.tensor([30]))
    found = inspect(call.to(CPU, torch.float32), InspectOptions(block_keys=8, similarity=True))
    steps = textbook.attend(call.to(CPU, torch.float64))
    mass = steps.sink.mean(dim=-1)
    torch.testing.assert_close(found.metrics["learned_sink_mass"], mass, rtol=1e-5, atol=1e-12)
    torch.testing.assert_close(found.output.double(), steps.output, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.pictures.sink.double().amax(-1), steps.sink.amax(-1), rtol=1e-5, atol=1e-12)
    assert bool(found.similarity.isfinite().all())


@pytest.mark.parametrize("gap", [9.0, 11.0, 12.5, 14.0])
def test_a_nearly_one_hot_head_keeps_its_entropy_beside_broad_heads(gap):
    """Small norms, so that m could stay 0: too few digits for this head, though the heads' mean entropy is large."""
    call = make_call(2, 4, queries=64, keys=64, features=16, scale=0.25)
    q, k = call.q.clone(), call.k.clone()
    q[:, 1], k[:, 1] = gap / 4, 0.0
    k[:, 1, 5] = 1.0
    q[:, 1] += torch.linspace(0, 0.05, 64).double()[:, None]
    call = replace(call, q=q, k=k)
    assert float(inspect(call).metrics["entropy"][0, 1]) < 0.5
    assert_narrow(call, torch.float32, InspectOptions())
    narrow, wide = (inspect(call.to(CPU, dtype)).metrics["entropy"] for dtype in (torch.float32, torch.float64))
    torch.testing.assert_close(narrow, wide, rtol=1e-5, atol=6e-8)  # half a step of Z ≈ 1


def test_logits_whose_exponential_underflows():
    line = torch.full((64,), -2e3)
    line[:10], line[40] = -1500.0, 0.0
    call = with_logits(line, causal=True)
    found, expected = inspect(call, TILES), textbook.attend(call)
    torch.testing.assert_close(found.output, expected.output)
    last = found.pictures.weights[0, 0, -1]
    assert float(last.max()) == 1.0
    assert int((last > 1e-30).sum()) == 1


@pytest.mark.parametrize("level", [0.0, -39.0, 39.0, 5e3, -1e20])
def test_equal_logits_are_uniform(level):
    call = with_logits(torch.full((41,), level), queries=7)
    found = inspect(call, TILES)
    expected = {"entropy_normalized": 1.0, "effective_span": 41.0, "confidence": 1 / 41, "first4_mass": 4 / 41}
    assert_metrics(found.metrics, {name: [[value]] for name, value in expected.items()}, 1e-5, 0)
    torch.testing.assert_close(found.output[0, 0], call.v[0].mean(dim=-2).expand(7, -1), rtol=1e-5, atol=1e-6)
    assert found.top.key.tolist() == [[[0, 1, 2]]]


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf, 1e30])
@pytest.mark.parametrize("role", ["q", "k", "v"])
def test_a_broken_head_leaves_the_others_as_they_are(role, number, exact_heads):
    whole = make_call(1, 3, queries=300, keys=600, features=8, dtype=torch.float32, causal=True)
    x = getattr(whole, role).clone()
    x[0, 1, 7, 2] = number
    broken = replace(whole, **{role: x})
    expected, found = inspect(whole, ONE_HEAD_EACH), inspect(broken, ONE_HEAD_EACH)
    assert set(exact_heads) == {1}
    for head in (0, 2):
        assert torch.equal(found.output[:, head], expected.output[:, head])
        assert torch.equal(found.pictures.weights[:, head], expected.pictures.weights[:, head])
        assert torch.equal(found.metrics["entropy"][:, head], expected.metrics["entropy"][:, head])
    steps = textbook.attend(broken)
    torch.testing.assert_close(found.output, steps.output, rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("size", [3e19, 1e38])
def test_bfloat16_inputs_whose_products_overflow(size, exact_heads):
    call = make_call(1, 3, queries=20, keys=30, features=4, dtype=torch.bfloat16, causal=True)
    q, k = call.q.clone(), call.k.clone()
    q[0, 1, 4], k[0, 1, 3] = size, size
    call = replace(call, q=q, k=k)
    found, steps = inspect(call, TILES), textbook.attend(call.to(CPU, torch.float32))
    torch.testing.assert_close(found.output, steps.output, rtol=1e-4, atol=1e-5, equal_nan=True)
    assert bool(steps.output.isnan().any())
    assert found.metrics["nonfinite"].tolist() == [[0.0, float(steps.output[0, 1].isnan().any(-1).sum()), 0.0]]
    assert exact_heads


@pytest.mark.parametrize("size", [30.0, 1e3, 1e5, 1e7])
def test_weights_formed_twice_agree_however_large_the_logits(size):
    """A head whose queries are its keys: pairs, window, picture and scores come from dot products formed apart."""
    call = make_call(1, 2, queries=150, keys=150, features=16, dtype=torch.float32)
    call = replace(call, q=call.q * size, k=call.q.clone())
    found = inspect(call, InspectOptions(zoom=Zoom(0, 40, 0, 40)))
    wide = textbook.attend(call.to(CPU, torch.float64)).weights
    for weights in (found.top.weight, found.pictures.weights):
        assert float(weights.amax()) <= 1.0
    strongest = wide.flatten(2).sort(descending=True).values[..., :3]
    torch.testing.assert_close(found.top.weight, strongest, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found.pictures.weights.double(), wide[..., :40, :40], rtol=1e-5, atol=1e-7)
    own = wide.diagonal(dim1=-2, dim2=-1).mean(dim=-1)
    torch.testing.assert_close(found.metrics["self_score"], own, rtol=1e-5, atol=1e-7)
    assert found.output.dtype == found.lse.dtype == torch.float32
