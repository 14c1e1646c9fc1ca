"""PyTorch's flex_attention: what is recorded gives its output again, in the smallest form."""

# ruff: noqa: ARG001, ARG005 - flex_attention gives its functions more than most of them read

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import BlockMask, and_masks, create_block_mask, flex_attention

from attn_cli.recording.libraries import flex_rules, small_axes
from attn_cli.recording.libraries.base import PassedOver
from attn_cli.recording.libraries.torch_flex import MODULE, NAME, POINTS, translate, translate_compiled
from attn_cli.recording.masks import cells as mask_cells
from attn_cli.recording.masks.small import small_mask
from tests.recording.libraries_fakes import assert_reproduces, drawn, heard, recomputed

pytestmark = pytest.mark.filterwarnings("ignore:.*without torch.compile", "ignore:return_lse is deprecated")
LENS = torch.tensor([5, 2])
DOCUMENTS = torch.tensor([[0, 0, 1, 1, 1, 2], [0, 0, 0, 0, 1, 1]])
SLOPES = torch.tensor([0.5, 0.25, 0.125, 0.0625], dtype=torch.float64)
TABLE = drawn(4, 16, seed=7)


def causal(b, h, i, j):
    return i >= j


def shifted(b, h, i, j):
    return i + 2 >= j


def padding(b, h, i, j):
    return j < LENS[b]


def window(b, h, i, j):
    return (i >= j) & (i - j <= 2)


def documents(b, h, i, j):
    return DOCUMENTS[b][i] == DOCUMENTS[b, j]


def per_head(b, h, i, j):
    return (i + j + h) % 2 == 0


def alibi(score, b, h, i, j):
    return score + SLOPES[h] * (j - i)


def relative(score, b, h, i, j):
    return score + TABLE[h, i - j + 8]


def softcap(score, b, h, i, j):
    return 1.5 * torch.tanh(score / 1.5)


def capped_alibi(score, b, h, i, j):
    return torch.where(i >= j, alibi(softcap(score, b, h, i, j), b, h, i, j), -float("inf"))


def squared(score, b, h, i, j):
    return score * score.abs() + 0.5 * j


def cut_off(score, b, h, i, j):
    return torch.where(score > -0.5, score * 2, -float("inf"))


def block_mask(rule, batch=2, heads=4, queries=6, keys=6, size=128):
    return create_block_mask(rule, batch, heads, queries, keys, device="cpu", BLOCK_SIZE=size)


def qkv(queries=6, keys=6, heads=4, batch=2):
    shapes = ((batch, 4, queries, 8), (batch, heads, keys, 8), (batch, heads, keys, 6))
    return [drawn(*shape, seed=n) for n, shape in enumerate(shapes)]


def call(*args, **options):
    return heard(POINTS, MODULE, NAME, *args, **options)[0]


def said(raw):
    """What the small form of a call's mask says, of tensors that are no lengths the shape."""
    given = {name: value for name, value in vars(small_mask(raw)).items() if value is not None and value is not False}
    for name in given.keys() & {"keep", "bias"}:
        given[name] = tuple(given[name].shape)
    return {name: value.tolist() if isinstance(value, torch.Tensor) else value for name, value in given.items()}


@pytest.fixture(params=[2**22, 96])
def blocks_of(request, monkeypatch):
    """All rows at a time, and two where there are 48 cells in a row."""
    monkeypatch.setattr(mask_cells, "BLOCK", request.param)


@pytest.mark.usefixtures("blocks_of")
class TestOutput:
    @pytest.mark.parametrize("rule", [causal, shifted, padding, window, documents, per_head])
    def test_every_mask_gives_the_output_again(self, rule):
        assert_reproduces(call(*qkv(), None, block_mask(rule), 0.4))

    @pytest.mark.parametrize("rule", [None, causal, documents])
    @pytest.mark.parametrize("mod", [alibi, relative, softcap, capped_alibi, squared, cut_off])
    def test_every_score_mod_gives_the_output_again(self, rule, mod):
        assert_reproduces(call(*qkv(), mod, None if rule is None else block_mask(rule)))

    @pytest.mark.parametrize("rule", [causal, shifted, window])
    @pytest.mark.parametrize("sizes", [(3, 6), (6, 3), (4, 6)], ids=str)
    def test_more_keys_than_queries_and_the_other_way(self, rule, sizes):
        raw = call(*qkv(*sizes), alibi, block_mask(rule, queries=sizes[0], keys=sizes[1]))
        assert_reproduces(raw)

    def test_grouped_heads(self):
        raw = call(*qkv(heads=2), capped_alibi, block_mask(per_head), enable_gqa=True)
        assert raw.k.shape[1] == 2
        assert_reproduces(raw)

    def test_keys_of_one_batch_item_for_all_queries(self):
        q, (_, k, v) = qkv()[0], qkv(batch=1)
        assert_reproduces(call(q, k, v, None, block_mask(documents)))

    @pytest.mark.parametrize("how", ["return_lse", "return_aux"])
    def test_what_comes_beside_the_output_is_left_out(self, how):
        from torch.nn.attention import flex_attention as flex

        if how == "return_aux" and not hasattr(flex, "AuxRequest"):
            pytest.skip("this PyTorch has no AuxRequest")
        option = True if how == "return_lse" else flex.AuxRequest(lse=True)
        assert_reproduces(call(*qkv(), squared, **{how: option}))

    @settings(deadline=None, max_examples=15)
    @given(st.data())
    def test_any_mask_gives_the_output_again(self, data):
        queries, keys = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
        heads = data.draw(st.sampled_from([1, 4]))
        cells = data.draw(
            st.lists(st.booleans(), min_size=2 * heads * queries * keys, max_size=2 * heads * queries * keys)
        )
        table = torch.tensor(cells).reshape(2, heads, queries, keys)
        mask = block_mask(lambda b, h, i, j: table[b, h % heads, i, j], queries=queries, keys=keys)
        assert_reproduces(call(*qkv(queries, keys), None, mask))


class TestForm:
    @pytest.fixture(autouse=True)
    def two_rows_at_a_time(self, monkeypatch):
        monkeypatch.setattr(mask_cells, "BLOCK", 96)

    def test_causal_order_is_a_rule(self):
        assert said(call(*qkv(), None, block_mask(causal))) == {"causal": True, "align": "bottom-right"}
        assert said(call(*qkv(4, 6), None, block_mask(shifted, queries=4))) == {"causal": True, "align": "bottom-right"}
        assert said(call(*qkv(4, 6), None, block_mask(causal, queries=4))) == {"causal": True, "align": "top-left"}
        assert said(call(*qkv(3, 6), None, block_mask(shifted, queries=3))) == {"causal": True, "align": 2}

    def test_a_window_is_a_rule(self):
        raw = call(*qkv(), None, block_mask(window))
        assert said(raw) == {"causal": True, "window": (2, -1), "align": "bottom-right"}
        raw = call(*qkv(), None, block_mask(lambda b, h, i, j: (i - j).abs() <= 1))
        assert said(raw) == {"window": (1, 1), "align": "bottom-right"}

    def test_padding_is_valid_lengths(self):
        assert said(call(*qkv(), None, block_mask(padding))) == {"valid_lens": [5, 2], "align": "bottom-right"}
        raw = call(*qkv(), None, block_mask(and_masks(causal, padding)))
        assert said(raw) == {"valid_lens": [5, 2], "causal": True, "align": "bottom-right"}

    def test_padding_on_the_left_is_a_key_mask(self):
        raw = call(*qkv(), None, block_mask(and_masks(causal, lambda b, h, i, j: j >= 6 - LENS[b])))
        assert said(raw) == {"keep": (2, 1, 1, 6), "causal": True, "align": "bottom-right"}
        assert_reproduces(raw)

    def test_a_mask_is_held_once_for_what_agrees(self):
        assert call(*qkv(), None, block_mask(documents)).mask.shape == (2, 1, 6, 6)
        assert call(*qkv(), None, block_mask(per_head)).mask.shape == (1, 4, 6, 6)
        raw = call(*qkv(), None, block_mask(lambda b, h, i, j: j % 2 == 1))
        assert said(raw) == {"keep": (1, 1, 1, 6), "align": "bottom-right"}

    def test_a_bias_is_held_once_for_what_agrees(self):
        raw = call(*qkv(), alibi)
        assert (raw.bias.shape, raw.softcap, raw.mask) == ((1, 4, 6, 6), None, None)
        assert call(*qkv(), lambda s, b, h, i, j: s - 0.1 * (i - j).abs()).bias.shape == (1, 1, 6, 6)
        assert call(*qkv(), lambda s, b, h, i, j: s + 0.5 * j).bias.shape == (1, 1, 1, 6)

    def test_a_bias_has_the_very_numbers_of_the_score_mod(self):
        expected = SLOPES[:, None, None] * (torch.arange(6) - torch.arange(6)[:, None])
        assert torch.equal(call(*qkv(), alibi).bias[0], expected)

    def test_a_softcap_is_a_rule(self):
        raw = call(*qkv(), softcap)
        assert (raw.softcap, raw.bias, raw.mask) == (1.5, None, None)
        raw = call(*qkv(), capped_alibi)
        assert (raw.softcap, raw.bias.shape) == (1.5, (1, 4, 6, 6))
        assert said(raw) == {"causal": True, "align": "bottom-right", "bias": (1, 4, 6, 6)}

    def test_a_score_mod_that_only_hides_leaves_no_bias(self):
        raw = call(*qkv(), lambda s, b, h, i, j: torch.where(i >= j, s, -float("inf")))
        assert said(raw) == {"causal": True, "align": "bottom-right"}

    def test_what_looks_like_a_softcap_and_is_none_is_a_bias(self):
        raw = call(*qkv(), lambda s, b, h, i, j: torch.clamp(s, -1.0, 1.0))
        assert raw.softcap is None
        assert_reproduces(raw)

    def test_nothing_is_recorded_for_what_does_nothing(self):
        raw = call(*qkv(), lambda s, b, h, i, j: s, block_mask(lambda b, h, i, j: j >= 0))
        assert (said(raw), raw.softcap) == ({"align": "bottom-right"}, None)


class TestKernel:
    def test_half_types_are_compared_in_float32(self):
        q, k, v = (x.bfloat16() for x in qkv())
        raw = call(q, k, v, squared, block_mask(causal))
        assert raw.bias.dtype == torch.float32
        torch.testing.assert_close(recomputed(raw), raw.output.double(), rtol=0.02, atol=0.02)

    def test_autocast_does_not_round_the_logits(self):
        args = (*qkv(), relative)
        result = flex_attention(*args)
        with torch.autocast("cpu", torch.bfloat16):
            raw = translate(args, {}, result)
        assert raw.bias.shape == (1, 4, 6, 6)

    def test_logits_that_are_no_numbers_stay_so(self):
        q, k, v = qkv()
        q[0, 0, 0, 0] = torch.inf
        raw = call(q, k, v, alibi)
        assert raw.bias.shape == (1, 4, 6, 6)
        assert not raw.bias.isnan().any()
        assert recomputed(raw)[0, 0, 0].isnan().all()
        assert not call(q, k, v, squared).bias.isnan().any()

    @pytest.mark.parametrize("mod", [capped_alibi, lambda s, b, h, i, j: torch.where(i >= j, 2 * s, -float("inf"))])
    def test_a_hidden_key_that_is_no_number_stays_hidden(self, mod):
        q, k, v = qkv()
        k[0, 0, 5] = torch.nan
        raw = call(q, k, v, mod)
        assert small_mask(raw).causal
        assert recomputed(raw)[0, 0, 5].isnan().all()
        assert recomputed(raw)[0, 0, :5].isfinite().all()

    def test_only_a_compiled_kernel_leaves_out_blocks(self):
        counts, indices = (
            torch.tensor([[[1, 1]]], dtype=torch.int32),
            torch.tensor([[[[0, 1], [1, 0]]]], dtype=torch.int32),
        )
        mask = BlockMask.from_kv_blocks(counts, indices, BLOCK_SIZE=3, seq_lengths=(6, 6))
        args = (*qkv(), None, mask)
        result = flex_attention(*args)
        assert translate(args, {}, result).mask is None
        expected = torch.block_diag(torch.ones(3, 3), torch.ones(3, 3)).bool()
        assert torch.equal(translate_compiled(args, {}, result).mask[0, 0], expected)

    @pytest.mark.parametrize("rule", [causal, documents, per_head, window])
    @pytest.mark.parametrize("size", [2, 4, 128])
    def test_blocks_change_nothing_where_they_were_made_from_the_mask(self, rule, size):
        args = (*qkv(), None, block_mask(rule, size=size))
        assert_reproduces(translate_compiled(args, {}, flex_attention(*args)))

    def test_the_program_is_left_alone(self):
        args, table = qkv(), drawn(4, 6).requires_grad_()
        state, before = torch.get_rng_state(), [x.clone() for x in args]
        with torch.no_grad():
            raw = call(*args, lambda s, b, h, i, j: s + table[h, j], block_mask(documents))
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(x, y) for x, y in zip(args, before, strict=True))
        assert not raw.bias.requires_grad


class TestPassedOver:
    def test_a_function_that_draws_or_raises(self):
        q, k, v = qkv()
        for mod in (lambda s, b, h, i, j: s + torch.rand_like(s), lambda s, b, h, i, j: s if s > 0 else -s):
            with pytest.raises(PassedOver, match="a score_mod that cannot be evaluated"):
                translate((q, k, v, mod), {}, q)
        mask = block_mask(causal)
        mask.mask_mod = lambda b, h, i, j: DOCUMENTS.nothing
        with pytest.raises(PassedOver, match=r"a mask_mod that cannot be evaluated \(AttributeError\)"):
            translate((q, k, v, None, mask), {}, q)

    def test_a_bias_or_mask_of_too_many_cells(self, monkeypatch):
        q, k, v = qkv()
        monkeypatch.setattr(small_axes, "LARGEST_MASK", 600)
        translate((q, k, v, lambda s, b, h, i, j: s - (i - j)), {}, q)
        translate((q, k, v, None, block_mask(causal)), {}, q)
        for mod in (alibi, squared):
            with pytest.raises(PassedOver, match="a score_mod's bias of more than"):
                translate((q, k, v, mod), {}, q)
        monkeypatch.setattr(small_axes, "LARGEST_MASK", 20)
        translate((q, k, v, None, block_mask(causal)), {}, q)
        with pytest.raises(PassedOver, match="a flex_attention mask of more than"):
            translate((q, k, v, None, block_mask(documents)), {}, q)

    def test_too_many_cells_are_not_evaluated(self, monkeypatch):
        q, k, v = qkv()
        monkeypatch.setattr(small_axes, "MOST_CELLS", 20)
        monkeypatch.setattr(flex_rules, "_blocks", lambda _: pytest.fail("evaluated"))
        with pytest.raises(PassedOver, match="a score_mod of more than 20 cells"):
            translate((q, k, v, alibi), {}, q)
        with pytest.raises(PassedOver, match="a mask_mod of more than 20 cells"):
            translate((q, k, v, None, block_mask(causal)), {}, q)

    def test_an_option_that_is_not_understood(self, monkeypatch):
        import torch.nn.attention.flex_attention as module

        monkeypatch.setattr(module, "flex_attention", lambda query, key, value, new_thing=0: query)
        q, k, v = qkv()
        with pytest.raises(PassedOver, match="flex_attention with new_thing"):
            translate((q, k, v), {"new_thing": 1}, q)
        with pytest.raises(PassedOver, match="of another signature"):
            translate((q, k, v), {"other": 1}, q)
