"""What is measured on two tensors, compared with NumPy, SciPy's definitions written out, and torch.testing."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.attention.masks import MaskRule
from attn_cli.attention.types import AttentionInputs, CallIndex, Rules
from attn_cli.differences import heads as heads_module
from attn_cli.differences.divergence import row_divergence
from attn_cli.differences.heads import Numbers, compare_heads
from attn_cli.differences.maps import MapSize
from attn_cli.differences.sources import Computed, Stored
from attn_cli.differences.tolerance import TOLERANCES, coarser, spacing, tolerance_of

FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def compared(left, right, quantity="values", atol=None, rtol=None, size=None):
    tolerance = tolerance_of(left.dtype, right.dtype, atol, rtol)
    numbers = Numbers.plain(*left.shape[:3])
    return compare_heads(Stored(left), Stored(right), quantity, tolerance, numbers, size)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_tolerances_are_those_of_torch_testing(dtype):
    from torch.testing._comparison import default_tolerances

    assert TOLERANCES[dtype] == default_tolerances(dtype)


@pytest.mark.parametrize("left", FLOATS, ids=str)
@pytest.mark.parametrize("right", FLOATS, ids=str)
def test_the_coarser_dtype_decides(left, right):
    from torch.testing._comparison import default_tolerances

    tolerance = tolerance_of(left, right, None, None)
    assert tolerance.dtype == str(coarser(left, right)).removeprefix("torch.")
    assert torch.finfo(coarser(left, right)).eps == max(torch.finfo(left).eps, torch.finfo(right).eps)
    assert (tolerance.rtol, tolerance.atol) == default_tolerances(coarser(left, right))


def test_a_tolerance_that_was_asked_for_counts_for_numbers_with_fractions_alone():
    assert tolerance_of(torch.float32, torch.float32, 0.5, None).atol == 0.5
    assert tolerance_of(torch.float32, torch.float32, None, 0.25).rtol == 0.25
    assert tolerance_of(torch.float32, torch.float32, 0.5, None).rtol == TOLERANCES[torch.float32][0]
    assert tolerance_of(torch.int64, torch.int64, 0.5, 0.5).atol == 0
    assert tolerance_of(torch.float8_e4m3fn, torch.float8_e4m3fn, None, None).rtol == 0


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_a_spacing_is_numpys(dtype):
    largest = float(np.finfo(dtype).max)
    values = [0.0, float(np.finfo(dtype).tiny) / 4, float(np.finfo(dtype).tiny), 0.1, 1.0, 1.5, 2.0, 1000.0, largest]
    numbers = np.array(values, dtype=dtype)
    ours = spacing(torch.from_numpy(numbers).double(), torch.from_numpy(numbers).dtype)
    assert ours[:-1].tolist() == np.spacing(numbers[:-1]).astype(np.float64).tolist()
    assert float(ours[-1]) == largest - float(np.nextafter(numbers[-1], dtype(0)))


PAIRS = st.tuples(
    st.sampled_from([(1, 1, 1, 1), (1, 2, 5, 3), (2, 3, 4, 7), (1, 1, 33, 2)]),
    st.integers(0, 2**16),
    st.sampled_from([0.0, 1e-9, 1e-6, 1e-3, 1.0]),
    st.sampled_from(FLOATS),
    st.sampled_from(FLOATS),
    st.floats(0, 0.1),
)


@settings(deadline=None, max_examples=50)
@given(PAIRS)
def test_numbers_are_numpys(case):
    shape, seed, size, left_dtype, right_dtype, broken = case
    rng = np.random.default_rng(seed)
    left, right = rng.normal(size=shape), rng.normal(size=shape)
    right = left + size * right
    for x in (left, right):
        x[rng.random(shape) < broken] = rng.choice([np.nan, np.inf, -np.inf, 0.0])
    left, right = torch.from_numpy(left).to(left_dtype), torch.from_numpy(right).to(right_dtype)
    found = compared(left, right)
    for head, (one, other) in zip(
        found.heads, zip(left.double().flatten(0, 1).numpy(), right.double().flatten(0, 1).numpy(), strict=True),
        strict=True,
    ):  # fmt: skip
        check_against_numpy(head.measured, one, other, found.tolerance)


def check_against_numpy(measured, left, right, tolerance):
    both = np.isfinite(left) & np.isfinite(right)
    with np.errstate(all="ignore"):
        gap = np.where(both, np.abs(left - right), 0)
        same = (left == right) | (np.isnan(left) & np.isnan(right))
    beyond = both & (gap > tolerance.atol + tolerance.rtol * np.abs(right))
    assert measured.values == left.size
    assert measured.beyond == beyond.sum()
    assert measured.finite_in_one == (np.isfinite(left) ^ np.isfinite(right)).sum()
    assert measured.unlike == (~same & ~np.isfinite(left) & ~np.isfinite(right)).sum()
    assert measured.nonfinite_both == (same & ~np.isfinite(left)).sum()
    assert measured.within == (measured.differing == 0)
    if both.any():
        assert measured.max_abs_error == gap[both].max()
        size = np.maximum(np.abs(left), np.abs(right))[both]
        eps = torch.finfo(getattr(torch, tolerance.dtype)).eps
        normal = torch.finfo(getattr(torch, tolerance.dtype)).smallest_normal
        ulp = eps * 2.0 ** np.floor(np.log2(np.maximum(size, normal)))
        assert measured.max_ulps == pytest.approx((gap[both] / ulp).max(), rel=1e-12)
        check_cosine(measured, left[both], right[both], same.all())
        nonzero = both & (right != 0)
        if nonzero.any():
            assert measured.max_rel_error == pytest.approx((gap[nonzero] / np.abs(right[nonzero])).max(), rel=1e-12)
    else:
        assert math.isnan(measured.max_abs_error)
    rows = (beyond | (~same & ~both)).any(axis=1)
    assert measured.first_row == (int(rows.argmax()) if rows.any() else None)
    check_worst(measured, left, right, both, beyond, same, gap)


def check_cosine(measured, left, right, is_same):
    length = np.linalg.norm(left) * np.linalg.norm(right)
    if is_same:
        assert measured.cosine == 1
    elif length == 0:
        assert math.isnan(measured.cosine)
    else:
        assert measured.cosine == pytest.approx(left @ right / length, abs=1e-12)


def check_worst(measured, left, right, both, beyond, same, gap):
    odd = ~same & ~both
    if same.all():
        assert measured.worst is None
        return
    worst = measured.worst
    flat = worst.row * left.shape[1] + worst.column
    np.testing.assert_equal((worst.left, worst.right), (left.flat[flat], right.flat[flat]))
    if odd.any():
        assert flat == odd.argmax()
    else:
        candidates = np.where(beyond, gap, -1) if beyond.any() else gap
        assert flat == candidates.argmax()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**16), st.sampled_from([1e-8, 1e-6, 1e-5, 1e-2]), st.sampled_from(FLOATS))
def test_the_verdict_is_that_of_torch_testing(seed, size, dtype):
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(1, 2, 4, 5, generator=generator, dtype=torch.float64)
    right = (left + size * torch.randn(left.shape, generator=generator, dtype=torch.float64)).to(dtype)
    left = left.to(dtype)
    try:
        # In float64, so that its own rounding of the tolerance decides nothing.
        rtol, atol = TOLERANCES[dtype]
        torch.testing.assert_close(left.double(), right.double(), rtol=rtol, atol=atol)
        passes = True
    except AssertionError:
        passes = False
    assert compared(left, right).within == passes


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**16), st.sampled_from([0.0, 1e-3, 1.0]))
def test_the_named_atol_lets_every_value_pass_and_less_does_not(seed, rtol):
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(1, 1, 4, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    needed = compared(left, right, rtol=rtol, atol=0.0).total.needed_atol
    assert compared(left, right, rtol=rtol, atol=needed * (1 + 1e-12)).within
    assert needed == 0 or not compared(left, right, rtol=rtol, atol=needed * (1 - 1e-9)).within


def test_the_same_tensor_has_no_worst_value():
    x = torch.tensor([[[[1.0, torch.nan, torch.inf, -torch.inf]]]])
    found = compared(x, x.clone())
    assert found.within
    assert found.total.worst is None
    assert found.total.cosine == 1
    assert found.total.max_abs_error == 0


@pytest.mark.parametrize(
    ("left", "right", "lonely", "unlike"),
    [(torch.nan, 1.0, 1, 0), (1.0, torch.inf, 1, 0), (torch.nan, torch.inf, 0, 1), (torch.inf, -torch.inf, 0, 1)],
)
def test_what_is_not_finite_is_a_kind_of_its_own(left, right, lonely, unlike):
    pair = [torch.tensor([[[[0.0, x]]]]) for x in (left, right)]
    measured = compared(*pair, atol=1e30).heads[0].measured
    assert (measured.finite_in_one, measured.unlike, measured.beyond) == (lonely, unlike, 0)
    assert not measured.within
    assert measured.worst.column == 1


def test_whole_numbers_beyond_what_a_float64_holds_are_told_apart():
    x = torch.tensor([[[[2**60 + 1, 5]]]])
    assert not compared(x, x - torch.tensor([[[[1, 0]]]])).within
    assert compared(x, x.clone()).within
    assert not compared(x.to(torch.uint64), (x - torch.tensor([[[[1, 0]]]])).to(torch.uint64)).within


@pytest.mark.parametrize(
    ("dtype", "left", "right"),
    [
        (torch.int64, 2**62 + 1, 2**62),
        (torch.int64, 2**63 - 1, -(2**63)),
        (torch.int64, -(2**53) - 1, -(2**53)),
        (torch.uint64, 2**64 - 1, 0),
        (torch.uint64, 2**64 - 1, 2**64 - 2),
        (torch.uint64, 2**32, 2**32 - 1),
        (torch.int32, -(2**31), 2**31 - 1),
        (torch.uint32, 2**32 - 1, 1),
    ],
)
def test_whole_numbers_lose_no_digit(dtype, left, right):
    pair = [torch.tensor([[[[5], [x]]]], dtype=dtype) for x in (left, right)]
    measured = compared(*pair).total
    assert (measured.worst.left, measured.worst.right) == (left, right)
    assert isinstance(measured.worst.left, int)
    assert measured.max_abs_error == float(abs(left - right))
    assert (measured.beyond, measured.worst.row) == (1, 1)


def test_whole_numbers_without_a_sign_against_floats():
    left = torch.tensor([[[[2**64 - 2**11]]]], dtype=torch.uint64)
    assert compared(left, torch.full((1, 1, 1, 1), float(2**64 - 2**11), dtype=torch.float64)).within


@pytest.mark.parametrize("size", [1e200, 1.5e308, 1e-200, 5e-324])
def test_the_cosine_of_huge_and_tiny_vectors(size):
    left = torch.full((1, 2, 3, 4), size, dtype=torch.float64)
    found = compared(left, -left)
    assert [one.cosine for one in (found.total, *(head.measured for head in found.heads))] == pytest.approx([-1] * 3)
    right = left.clone()
    right[..., ::2] = 0
    assert compared(left, right).total.cosine == pytest.approx(math.sqrt(0.5))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from([0.0, 1e-300, 1e-130, 1.0, 1e130, 1e250]), min_size=6, max_size=6), st.integers(0, 99))
def test_the_cosine_of_rows_of_all_sizes_is_that_of_exact_numbers(sizes, seed):
    generator = np.random.default_rng(seed)
    left, right = (generator.normal(size=(1, 2, 3, 4)) * np.reshape(sizes, (1, 2, 3, 1)) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heads_module, "COMPARED_AT_ONCE", 4)
        found = compared(torch.from_numpy(left), torch.from_numpy(right))
    exact = [[Fraction(float(x)) for x in side.flat] for side in (left, right)]
    dot, one, other = (sum(a * b for a, b in zip(x, y, strict=True)) for x, y in (exact, exact[:1] * 2, exact[1:] * 2))
    if one and other:
        assert found.total.cosine == pytest.approx(
            math.copysign(math.sqrt(dot * dot / (one * other)), 1 if dot > 0 else -1), abs=1e-12
        )


def test_cosine_and_relative_error_by_hand():
    left, right = torch.tensor([[[[3.0, 4.0, 1.0]]]]), torch.tensor([[[[4.0, 3.0, 0.0]]]])
    measured = compared(left, right).total
    assert measured.cosine == pytest.approx(24 / (math.sqrt(26) * 5))
    assert measured.max_rel_error == pytest.approx(1 / 3)
    assert math.isnan(compared(left, torch.zeros_like(right)).total.cosine)


def rows_of_weights(seed, rows=6, keys=9, temperature=3.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(temperature * torch.randn(1, rows, keys, generator=generator, dtype=torch.float64), -1)


def divergence_by_entropies(p, q):
    def entropy(x):
        x = x[x > 0]
        return -(x * np.log(x)).sum()

    return entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**16), st.integers(0, 2**16))
def test_the_divergence_is_that_of_the_entropies(one, other):
    left, right = rows_of_weights(one), rows_of_weights(other)
    right[0, 1, :4] = 0
    right[0, 1] /= right[0, 1].sum()
    wanted = [divergence_by_entropies(p, q) for p, q in zip(left[0].numpy(), right[0].numpy(), strict=True)]
    assert row_divergence(left, right)[0].tolist() == pytest.approx(wanted, abs=1e-12)


def test_the_divergence_of_nearly_equal_rows_keeps_its_digits():
    left = rows_of_weights(3, temperature=1.0)
    shift = 1e-6 * torch.tensor([1.0, -1.0] + [0.0] * 7, dtype=torch.float64)
    wanted = (shift**2 / left / 8).sum(dim=-1)  # Σ d²/(8p), the first term of its series
    assert row_divergence(left, left + shift).flatten().tolist() == pytest.approx(wanted.flatten().tolist(), rel=1e-3)
    halved = row_divergence(left.float(), left.float())
    assert halved.abs().max() == 0


def test_the_divergence_of_rows_without_weights():
    empty, full = torch.zeros(1, 1, 4), torch.tensor([[[0.25, 0.25, 0.25, 0.25]]])
    assert row_divergence(empty, empty).isnan().all()
    for share in (1, 0.25, 1e-3):
        assert float(row_divergence(empty, full * share)) == pytest.approx(math.log(2))
        assert float(row_divergence(full * share, empty)) == pytest.approx(math.log(2))
    assert row_divergence(full, full * torch.nan).isnan().all()
    assert row_divergence(full, -full).isnan().all()
    assert float(row_divergence(full / 2, full)) == 0
    # What is missing to 1 is the weight of a sink: half of it moved is as far as half a key's.
    assert float(row_divergence(full / 2, full, has_sink=True)) == pytest.approx(
        divergence_by_entropies(np.array([0.125] * 4 + [0.5]), np.array([0.25] * 4 + [0.0]))
    )


def test_rounded_weights_in_a_wider_container_have_no_sink():
    left = torch.softmax(torch.randn(1, 8, 256, generator=torch.Generator().manual_seed(0)), -1)
    right = left.bfloat16().float()
    p, q = ((x.double() / x.double().sum(-1, keepdim=True))[0].numpy() for x in (left, right))
    wanted = [divergence_by_entropies(*rows) for rows in zip(p, q, strict=True)]
    assert row_divergence(left, right)[0].tolist() == pytest.approx(wanted, rel=1e-4)
    assert row_divergence(left, right, has_sink=True).mean() > 10 * np.mean(wanted)


def test_sums_that_have_nothing_in_common_give_no_more_than_ln_2():
    left, right = torch.rand(1, 50, 9) * 1e-6, torch.rand(1, 50, 9) * 1e3
    found = row_divergence(left, right)
    assert found.isfinite().all()
    assert 0 <= float(found.min()) <= float(found.max()) <= math.log(2)


def test_mean_largest_and_row_of_the_divergence():
    left, right = rows_of_weights(1)[None], rows_of_weights(2)[None]
    right[0, 0, :2] = left[0, 0, :2]
    head = compared(left, right, "weights").heads[0]
    wanted = [divergence_by_entropies(p, q) for p, q in zip(left[0, 0].numpy(), right[0, 0].numpy(), strict=True)]
    assert head.divergence.mean == pytest.approx(np.mean(wanted))
    assert head.divergence.largest == pytest.approx(max(wanted))
    assert head.divergence.row == int(np.argmax(wanted))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**16), st.sampled_from([7, 20, 64, 1000]), st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_blocks_change_nothing(seed, at_once, size):
    generator = torch.Generator().manual_seed(seed)
    left = torch.softmax(torch.randn(2, 3, 11, 7, generator=generator), -1)
    right = (left + 1e-3 * torch.randn(left.shape, generator=generator)).clamp(min=0)
    right[0, 1] = left[0, 1] * (1 + 1e-6 * torch.randn(11, 7, generator=generator))  # beside cells that are far apart
    right[0, 0, 5, 2], right[0, 2, 0, 0] = 0, 1
    left[1, 2, 4, 3] = torch.nan
    with pytest.MonkeyPatch.context() as patch:
        whole = compared(left, right, "weights", size=MapSize(*size))
        patch.setattr(heads_module, "VALUES_AT_ONCE", at_once)
        patch.setattr(heads_module, "COMPARED_AT_ONCE", max(1, at_once // 3))
        pieces = compared(left, right, "weights", size=MapSize(*size))
    torch.testing.assert_close(pieces.map.cells, whole.map.cells, rtol=0, atol=0)
    for one, other in zip(pieces.heads, whole.heads, strict=True):
        assert one.measured.cosine == pytest.approx(other.measured.cosine, rel=1e-12)
        assert (one.measured.worst.row, one.measured.first_row) == (other.measured.worst.row, other.measured.first_row)
        assert one.measured.max_abs_error == other.measured.max_abs_error
        assert one.divergence.mean == pytest.approx(other.divergence.mean, rel=1e-9)
        assert one.divergence.largest == pytest.approx(other.divergence.largest, rel=1e-12)
        assert one.divergence.row == other.divergence.row


def test_many_small_heads_are_compared_together(monkeypatch):
    blocks = []
    block = Stored.block
    monkeypatch.setattr(Stored, "block", lambda self, *place: blocks.append(place) or block(self, *place))
    left = torch.rand(4096, 8, 1, 4)
    right = left.clone()
    right[4095, 7, 0, 3] += 1
    found = compared(left, right)
    assert len(blocks) < 10
    assert (found.worst_head.batch, found.worst_head.head) == (4095, 7)
    assert found.total.worst.column == 3


def test_weights_are_computed_head_by_head(monkeypatch):
    """However few numbers may be held at once, each head has its own weights."""
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(2, heads, rows, 8, generator=generator) for heads, rows in ((4, 5), (2, 7)))
    call = AttentionInputs(q, k, k, Rules(MaskRule(7, torch.arange(5))), CallIndex.whole(2, 4, 5))
    weights = torch.softmax(q @ k.repeat_interleave(2, dim=1).mT / math.sqrt(8), -1)
    for at_once in (1, 7, 20, 40, 75, 10**6):
        monkeypatch.setattr(heads_module, "VALUES_AT_ONCE", at_once)
        monkeypatch.setattr(heads_module, "COMPARED_AT_ONCE", max(1, at_once // 2))
        tolerance = tolerance_of(torch.float32, torch.float32, None, None)
        found = compare_heads(Computed(call), Stored(weights), "weights", tolerance, Numbers.plain(2, 4, 5))
        assert found.within


def test_the_map_holds_the_largest_difference_of_every_cell():
    left, right = torch.zeros(1, 1, 5, 7), torch.zeros(1, 1, 5, 7)
    right[0, 0, 4, 6], right[0, 0, 1, 0], right[0, 0, 0, 1], right[0, 0, 2, 3] = 2.0, -3.0, 1.0, torch.nan
    found = compared(left, right, size=MapSize(3, 3)).map
    assert (found.row_pool, found.column_pool, found.rows) == (2, 3, (0, 2, 4))
    assert found.cells.tolist() == [[[3.0, 0.0, 0.0], [0.0, math.inf, 0.0], [0.0, 0.0, 2.0]]]
