"""flash-attn's functions: what is recorded gives their output again."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.recording.libraries.base import PassedOver
from attn_cli.recording.libraries.flash_attention import POINTS, SECOND, THIRD
from tests.recording import flash3_fakes, flash_fakes
from tests.recording.libraries_fakes import assert_reproduces, drawn, heard, installed

__all__ = ["installed"]
SLOPES = torch.tensor([0.5, 0.25, 0.125, 0.0625], dtype=torch.float64)
RULES = [
    {},
    {"causal": True},
    {"softmax_scale": 0.3, "softcap": 1.5},
    {"window_size": (2, 1)},
    {"window_size": (1, -1)},
    {"window_size": (-1, 2)},
    {"window_size": (2, 2), "causal": True},
    {"alibi_slopes": SLOPES, "causal": True},
    {"alibi_slopes": torch.stack((SLOPES, 2 * SLOPES, 3 * SLOPES)), "softcap": 2.0},
]


@pytest.fixture
def flash(installed):
    return installed(SECOND, flash_fakes.SECOND, "2.7.4.post1")


@pytest.fixture
def flash3(installed):
    return installed(THIRD, flash3_fakes.THIRD)


def bounds(*lens):
    return torch.tensor([0, *itertools.accumulate(lens)], dtype=torch.int32)


def call(name, *args, **options):
    return heard(POINTS, SECOND, name, *args, **options)[0]


@pytest.mark.usefixtures("flash")
class TestDense:
    @pytest.mark.parametrize("rules", RULES, ids=str)
    @pytest.mark.parametrize("sizes", [(5, 5), (3, 6), (6, 3)], ids=str)
    def test_every_option_gives_the_output_again(self, rules, sizes):
        queries, keys = sizes
        q, k, v = drawn(3, queries, 4, 8), drawn(3, keys, 2, 8, seed=1), drawn(3, keys, 2, 8, seed=2)
        raw = call("flash_attn_func", q, k, v, **rules)
        assert raw.q.shape == (3, 4, queries, 8)
        assert_reproduces(raw)

    def test_packed_tensors_are_taken_apart(self):
        assert_reproduces(call("flash_attn_qkvpacked_func", drawn(2, 5, 3, 4, 8), causal=True))
        raw = call("flash_attn_kvpacked_func", drawn(2, 3, 4, 8), drawn(2, 6, 2, 2, 8, seed=1), causal=True)
        assert raw.k.shape == (2, 2, 6, 8)
        assert_reproduces(raw)

    def test_rules_stay_rules(self):
        raw = call("flash_attn_func", *(drawn(1, 6, 4, 8, seed=n) for n in range(3)), 0.0, None, True, (3, 0))
        assert (raw.causal, raw.window) == ("bottom-right", (3, 0))
        assert (raw.mask, raw.valid_lens, raw.bias) == (None, None, None)

    def test_what_dropout_changed_is_no_output(self):
        raw = call("flash_attn_func", *(drawn(1, 4, 4, 8, seed=n) for n in range(3)), 0.25)
        assert raw.dropout == 0.25
        assert raw.output is None

    def test_output_is_told_from_what_comes_with_it(self):
        raw = call("flash_attn_func", *(drawn(1, 4, 4, 8, seed=n) for n in range(3)), return_attn_probs=True)
        assert_reproduces(raw)

    def test_gradients_are_left_out(self):
        q, k, v = (drawn(1, 4, 2, 8, seed=n) for n in range(3))
        raw = POINTS[0].translate((q.requires_grad_(), k, v), {}, q * 1.0)
        assert not raw.q.requires_grad
        assert raw.output is not None
        assert not raw.output.requires_grad

    def test_before_2_1_causal_order_began_at_the_first_key(self, installed):
        def flash_attn_func(q, k, v, dropout_p=0.0, softmax_scale=None, causal=False, return_attn_probs=False):
            assert not dropout_p
            assert not return_attn_probs
            items = zip(q, k, v, strict=True)
            return torch.stack([flash_fakes.one(*x, softmax_scale, causal, (-1, -1), is_old=True) for x in items])

        installed(SECOND, [flash_attn_func], "2.0.9")
        raw = call("flash_attn_func", drawn(1, 3, 2, 8), drawn(1, 5, 2, 8), drawn(1, 5, 2, 8, seed=1), 0.0, None, True)
        assert raw.causal == "top-left"
        assert_reproduces(raw)

    def test_arguments_are_told_by_the_releases_own_order(self, installed):
        def flash_attn_func(q, k, v, softcap, causal=False, softmax_scale=None):
            return flash_fakes.flash_attn_func(q, k, v, softcap=softcap, causal=causal, softmax_scale=softmax_scale)

        installed(SECOND, [flash_attn_func], "2.9.0")
        q, k, v = (drawn(1, 4, 2, 8, seed=n) for n in range(3))
        assert_reproduces(call("flash_attn_func", q, k, v, 1.5, True, 0.4))

    def test_an_option_that_is_not_understood_is_passed_over(self, installed):
        def flash_attn_func(q, k, v, softmax_scale=None, causal=False, new_thing=None):  # noqa: ARG001
            return q  # and nothing else

        installed(SECOND, [flash_attn_func], "3.0.0")
        q = drawn(1, 4, 2, 8)
        assert call("flash_attn_func", q, q, q, new_thing=None).softcap is None
        with pytest.raises(PassedOver, match="flash_attn_func with new_thing"):
            call("flash_attn_func", q, q, q, new_thing=1)


@pytest.mark.usefixtures("flash")
class TestRagged:
    @pytest.mark.parametrize("rules", RULES, ids=str)
    @pytest.mark.parametrize("lens", [((3, 1, 5), (3, 1, 5)), ((1, 2, 4), (6, 2, 3)), ((2, 0, 2), (4, 3, 4))], ids=str)
    def test_every_option_gives_the_output_again(self, rules, lens):
        of_q, of_k = lens
        q, k, v = drawn(sum(of_q), 4, 8), drawn(sum(of_k), 2, 8, seed=1), drawn(sum(of_k), 2, 8, seed=2)
        raw = call("flash_attn_varlen_func", q, k, v, bounds(*of_q), bounds(*of_k), max(of_q), max(of_k), **rules)
        assert raw.q.shape == (3, 4, max(of_q), 8)
        assert raw.k.shape == (3, 2, max(of_k), 8)
        assert_reproduces(raw)
        assert not raw.output[0, :, of_q[0] :].any()

    @settings(deadline=None, max_examples=30)
    @given(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=4),
        st.sampled_from([(-1, -1), (1, -1), (0, 2), (-1, 1)]),
        st.booleans(),
    )
    def test_any_lengths_give_the_output_again(self, lens, window, causal):
        of_q, of_k = zip(*lens, strict=True)
        if not max(of_q) or not max(of_k):
            return
        q, k, v = drawn(sum(of_q), 2, 4), drawn(sum(of_k), 2, 4, seed=1), drawn(sum(of_k), 2, 4, seed=2)
        args = (q, k, v, bounds(*of_q), bounds(*of_k), max(of_q), max(of_k))
        assert_reproduces(call("flash_attn_varlen_func", *args, causal=causal, window_size=window))

    def test_equal_differences_keep_causal_order_and_window_as_rules(self):
        args = (*(drawn(9, 2, 8, seed=n) for n in range(3)), bounds(3, 6), bounds(3, 6), 6, 6)
        raw = call("flash_attn_varlen_func", *args, causal=True, window_size=(2, 0))
        assert (raw.causal, raw.window, raw.mask) == ("bottom-right", (2, 0), None)
        assert raw.valid_lens.tolist() == [[3, 3, 3, 0, 0, 0], [6] * 6]

    def test_packed_tensors_are_taken_apart(self):
        assert_reproduces(call("flash_attn_varlen_qkvpacked_func", drawn(8, 3, 2, 4), bounds(3, 5), 5, causal=True))
        kv = drawn(9, 2, 2, 4, seed=1)
        args = (drawn(8, 4, 4), kv, bounds(3, 5), bounds(2, 7), 5, 7)
        assert_reproduces(call("flash_attn_varlen_kvpacked_func", *args, causal=True))

    def test_keys_in_pages_are_put_in_order(self):
        k, v = drawn(6, 4, 2, 8, seed=1), drawn(6, 4, 2, 8, seed=2)
        table = torch.tensor([[5, 1, 0], [2, 3, 4]], dtype=torch.int32)
        args = (drawn(5, 4, 8), k, v, bounds(2, 3), bounds(6, 11), 3, 11)
        assert_reproduces(call("flash_attn_varlen_func", *args, causal=True, block_table=table))

    def test_a_window_over_too_many_cells_is_passed_over(self, monkeypatch):
        monkeypatch.setattr("attn_cli.recording.libraries.small_axes.LARGEST_MASK", 10)
        args = (drawn(3, 2, 8), drawn(8, 2, 8), drawn(8, 2, 8), bounds(1, 2), bounds(6, 2), 2, 6)
        with pytest.raises(PassedOver, match="a window's mask of more than"):
            call("flash_attn_varlen_func", *args, window_size=(1, 0))


@pytest.mark.usefixtures("flash")
class TestCache:
    def caches(self, *shape):
        k, v = drawn(*shape, seed=1), drawn(*shape, seed=2)
        k[:, -1:] = v[:, -1:] = torch.nan  # memory that nobody wrote to
        return k, v

    @pytest.mark.parametrize("rules", RULES, ids=str)
    @pytest.mark.parametrize("lens", [torch.tensor([4, 2, 7]), 5], ids=str)
    @pytest.mark.parametrize("added", [0, 2])
    def test_every_option_gives_the_output_again(self, rules, lens, added):
        k_cache, v_cache = self.caches(3, 12, 2, 8)
        new = () if not added else (drawn(3, added, 2, 8, seed=3), drawn(3, added, 2, 8, seed=4))
        args = (drawn(3, 2, 4, 8), k_cache, v_cache, *new)
        assert_reproduces(call("flash_attn_with_kvcache", *args, cache_seqlens=lens, **rules))

    def test_without_lengths_the_whole_cache_is_meant(self):
        raw = call("flash_attn_with_kvcache", drawn(1, 1, 4, 8), drawn(1, 5, 2, 8), drawn(1, 5, 2, 8, seed=1))
        assert (raw.k.shape, raw.valid_lens) == ((1, 2, 5, 8), None)
        assert_reproduces(raw)

    def test_rows_of_the_cache_are_found(self):
        k_cache, v_cache = self.caches(5, 9, 2, 8)
        lens, items = torch.tensor([4, 6]), torch.tensor([3, 0])
        options = {"cache_seqlens": lens, "cache_batch_idx": items, "cache_leftpad": torch.tensor([1, 3])}
        assert_reproduces(call("flash_attn_with_kvcache", drawn(2, 2, 4, 8), k_cache, v_cache, causal=True, **options))

    def test_pages_of_the_cache_are_put_in_order(self):
        k_cache, v_cache = drawn(6, 4, 2, 8, seed=1), drawn(6, 4, 2, 8, seed=2)
        table, lens = torch.tensor([[5, 1, 0], [2, 3, 4]]), torch.tensor([3, 8])
        new = (drawn(2, 2, 2, 8, seed=3), drawn(2, 2, 2, 8, seed=4))
        options = {"cache_seqlens": lens, "block_table": table, "causal": True}
        assert_reproduces(call("flash_attn_with_kvcache", drawn(2, 2, 4, 8), k_cache, v_cache, *new, **options))

    @pytest.mark.parametrize("interleaved", [True, False])
    @pytest.mark.parametrize("rules", [{}, {"causal": True}, {"window_size": (2, 0)}], ids=str)
    def test_queries_are_recorded_as_the_kernel_turned_them(self, interleaved, rules):
        angles = torch.outer(torch.arange(12.0), torch.tensor([1.0, 0.1])).double()
        k_cache, v_cache = self.caches(2, 9, 2, 8)
        new = (drawn(2, 3, 2, 8, seed=3), drawn(2, 3, 2, 8, seed=4))
        options = {"rotary_cos": angles.cos(), "rotary_sin": angles.sin(), "rotary_interleaved": interleaved}
        lens = torch.tensor([4, 2])
        args = (drawn(2, 3, 4, 8), k_cache, v_cache, *new)
        assert_reproduces(call("flash_attn_with_kvcache", *args, cache_seqlens=lens, **options, **rules))


@pytest.mark.usefixtures("flash3")
class TestThird:
    def call(self, name, *args, **options):
        return heard(POINTS, THIRD, name, *args, **options)[0]

    def test_second_queries_meet_the_values(self):
        q, k, v, qv = drawn(2, 3, 4, 8), drawn(2, 5, 1, 8, seed=1), drawn(2, 5, 1, 6, seed=2), drawn(2, 3, 4, 6, seed=3)
        raw = self.call("flash_attn_func", q, k, v, causal=True, qv=qv, softcap=1.5, return_attn_probs=True)
        assert_reproduces(raw)

    def test_packed_heads_are_taken_apart(self):
        assert_reproduces(self.call("flash_attn_qkvpacked_func", drawn(2, 4, 3, 2, 8), causal=True))
        raw = self.call("flash_attn_qkvpacked_func", drawn(2, 4, 8, 8), num_heads_q=4, window_size=(2, 1))
        assert raw.k.shape == (2, 2, 4, 8)
        assert_reproduces(raw)

    def test_only_the_used_rows_count(self):
        q, k, v = drawn(8, 4, 8), drawn(10, 2, 8, seed=1), drawn(10, 2, 6, seed=2)
        used = {"seqused_q": torch.tensor([2, 5]), "seqused_k": torch.tensor([4, 3])}
        raw = self.call("flash_attn_varlen_func", q, k, v, bounds(3, 5), bounds(6, 4), 5, 6, **used, causal=True)
        assert_reproduces(raw)

    def test_packed_queries_meet_a_cache_in_pages(self):
        k_cache, v_cache = drawn(6, 4, 2, 8, seed=1), drawn(6, 4, 2, 8, seed=2)
        raw = self.call(
            "flash_attn_with_kvcache",
            drawn(5, 4, 8), k_cache, v_cache, drawn(3, 2, 8, seed=3), drawn(3, 2, 8, seed=4),
            qv=drawn(5, 4, 8, seed=5), cache_seqlens=torch.tensor([3, 6]), cu_seqlens_q=bounds(2, 3), max_seqlen_q=3,
            page_table=torch.tensor([[5, 1, 0], [2, 3, 4]]), cu_seqlens_k_new=bounds(1, 2), causal=True,
        )  # fmt: skip
        assert_reproduces(raw)

    @pytest.mark.parametrize("option", [{"attention_chunk": 2}, {"q_descale": torch.ones(1)}], ids=str)
    def test_options_that_attn_does_not_have_are_passed_over(self, option):
        q = drawn(1, 4, 2, 8)
        with pytest.raises(PassedOver, match=f"flash_attn_func with {next(iter(option))}"):
            self.call("flash_attn_func", q, q, q, **option)
