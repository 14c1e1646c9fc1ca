"""Key/value heads that were copied for groups of query heads."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.attention.textbook import share_key_value_heads
from attn_cli.recording.groups import shared_heads


def drawn(heads, dtype=torch.float32, features=5):
    return torch.randn(2, heads, 7, features, generator=torch.Generator().manual_seed(heads)).to(dtype)


@settings(max_examples=60)
@given(
    st.integers(1, 4), st.integers(1, 4), st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16])
)
def test_copies_go_back_to_the_heads_they_were_made_of(kv_heads, groups, dtype):
    k, v = drawn(kv_heads, dtype), drawn(kv_heads, dtype, features=3)
    copied = share_key_value_heads(k, kv_heads * groups), share_key_value_heads(v, kv_heads * groups)
    small_k, small_v = shared_heads(*copied)
    assert torch.equal(small_k, k)
    assert torch.equal(small_v, v)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 1), min_size=1, max_size=12))
def test_repeating_what_is_left_gives_all_of_it_again(numbers):
    k = torch.tensor(numbers, dtype=torch.float32)[None, :, None, None] + torch.arange(4)
    k = k.expand(2, -1, 3, -1).contiguous()
    small, _ = shared_heads(k, k)
    assert torch.equal(share_key_value_heads(small, len(numbers)), k)
    fewest = next(n for n in range(1, len(numbers) + 1) if _repeats(numbers, n))
    assert small.shape[1] == fewest


def _repeats(numbers, heads):
    size, rest = divmod(len(numbers), heads)
    return not rest and numbers == [number for number in numbers[::size] for _ in range(size)]


@pytest.mark.parametrize("copied", ["k", "v"])
def test_both_have_to_be_copies(copied):
    x, y = share_key_value_heads(drawn(2), 4), drawn(4)
    k, v = shared_heads(*((x, y) if copied == "k" else (y, x)))
    assert k.shape[1] == v.shape[1] == 4


def test_copies_of_a_nan_are_copies_and_zeros_of_two_signs_are_not():
    k = share_key_value_heads(drawn(2).index_fill(2, torch.tensor([1]), torch.nan), 4)
    assert shared_heads(k, k)[0].shape[1] == 2
    v = torch.zeros(2, 4, 7, 5)
    v[:, 1] = -0.0
    assert shared_heads(k, v)[1].shape[1] == 4


def test_one_number_that_differs_at_the_end_tells_heads_apart():
    k = share_key_value_heads(drawn(2), 4).clone()
    k[1, 3, 6, 4] += 1
    assert shared_heads(k, k)[0].shape[1] == 4


def test_heads_that_were_never_contiguous():
    k = share_key_value_heads(drawn(2), 4).transpose(1, 2).contiguous().transpose(1, 2)
    small, _ = shared_heads(k, k)
    assert torch.equal(small, drawn(2))


@pytest.mark.parametrize("number", [0.0, 1.5, torch.nan])
def test_heads_that_hold_one_number_are_no_copies(number):
    x = torch.full((2, 4, 7, 5), number)
    assert [one.shape[1] for one in shared_heads(x, x)] == [4, 4]
    k = drawn(1).expand(-1, 4, -1, -1)
    assert [one.shape[1] for one in shared_heads(k, x)] == [1, 1]
    assert [one.shape[1] for one in shared_heads(x, k)] == [1, 1]


def test_a_single_head_is_left_as_it_is():
    k, v = shared_heads(torch.zeros(2, 1, 3, 4), torch.zeros(2, 1, 3, 4))
    assert (k.shape[1], v.shape[1]) == (1, 1)
