"""A dense mask and the small form that is to say exactly the same."""

import ctypes
import gc
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from attn_cli.attention.masks import MaskRule, aligned_places
from attn_cli.recording.masks import cells as mask_cells
from attn_cli.recording.masks import remembered
from attn_cli.recording.masks.small import forget, small_mask
from attn_cli.recording.options import RecordOptions
from attn_cli.recording.recorder import Recorder
from attn_cli.recording.swapping.patching import listening
from tests.recording.kept import Kept
from tests.recording.left_over import no_tensor_left
from tests.recording.raw_calls import cells, raw_call, sdpa_output, textbook_output

FLOAT_MIN = torch.finfo(torch.float32).min
QUERY, KEY = torch.arange(6)[:, None], torch.arange(6)
CAUSAL = KEY <= QUERY
STARTS, ENDS = torch.tensor([2, 0]), torch.tensor([4, 6])
LEFT_PADDED = (STARTS[:, None] <= KEY)[:, None, None]  # (B, 1, 1, Sk)
RIGHT_PADDED = (ENDS[:, None] > KEY)[:, None, None]


def as_float(mask, constant):
    return torch.where(mask, 0.0, constant)


def size_of(small):
    """Numbers that the small form holds."""
    return sum(x.numel() for x in (small.valid_lens, small.keep, small.bias) if x is not None)


@st.composite
def rules(draw):
    batch, queries, keys = draw(st.integers(1, 3)), draw(st.integers(1, 7)), draw(st.integers(1, 7))
    lens = {"none": None, "batch": (batch,), "query": (batch, queries)}[
        draw(st.sampled_from(["none", "batch", "query"]))
    ]
    seed = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    kept = draw(st.sampled_from([None, None, (1, 1, 1, keys), (batch, 1, 1, keys), (batch, 2, queries, keys)]))
    side = st.integers(-1, 7)
    rule = MaskRule(
        keys,
        aligned_places(queries, keys, draw(st.sampled_from(["bottom-right", "top-left", -2, 1, 3]))),
        valid_lens=None if lens is None else torch.randint(0, keys + 1, lens, generator=seed),
        keep=None if kept is None else torch.rand(kept, generator=seed) < 0.7,
        causal=draw(st.booleans()),
        window=draw(st.none() | st.tuples(side, side)),
    )
    shape = (batch, 2, queries, keys)
    tile = rule.tile()
    return rule, torch.ones(shape, dtype=torch.bool) if tile is None else tile.expand(shape).clone()


def of_shape(mask, dense):
    return raw_call(mask, batch=dense.shape[0], heads=2, queries=dense.shape[2], keys=dense.shape[3])


@settings(max_examples=300)
@given(rules(), st.sampled_from(["bool", "float", "half"]))
def test_a_dense_mask_is_said_cell_for_cell(drawn, kind):
    _, dense = drawn
    mask = dense if kind == "bool" else as_float(dense, -torch.inf)
    raw = of_shape(mask.to(torch.float16) if kind == "half" else mask, dense)
    small = small_mask(raw)
    assert small.bias is None
    assert torch.equal(cells(small, raw), dense)


@settings(max_examples=300)
@given(rules())
def test_what_one_rule_says_is_found_to_be_a_rule(drawn):
    rule, dense = drawn
    small = small_mask(of_shape(dense, dense))
    batch, _, queries, keys = dense.shape
    lens = 0 if rule.valid_lens is None else rule.valid_lens.dim()
    moves = rule.causal or rule.window is not None
    if rule.keep is None and lens < 2:
        assert size_of(small) <= (batch if queries > 1 else batch * keys)
    elif rule.keep is None and not moves:
        assert size_of(small) <= batch * queries
    elif rule.keep is not None and rule.keep.shape[1:3] == (1, 1) and lens < 2:
        assert size_of(small) <= batch * max(keys, queries)


@settings(max_examples=100)
@given(rules(), st.sampled_from([FLOAT_MIN, -1e9, -65504.0]))
def test_a_finite_constant_is_a_mask_where_each_row_sees_a_key_and_else_a_bias(drawn, constant):
    _, dense = drawn
    raw = of_shape(as_float(dense, constant), dense)
    small = small_mask(raw)
    if bool(dense.any(dim=-1).all()):
        assert small.bias is None
        assert torch.equal(cells(small, raw), dense)
    else:
        assert torch.equal(small.bias.expand_as(dense), raw.mask)
        assert cells(small, raw).all()


@settings(max_examples=60)
@given(rules(), rules(), st.booleans())
def test_the_mask_and_the_rules_beside_it_both_hide(drawn, other, is_causal):
    _, dense = drawn
    batch, _, queries, keys = dense.shape
    raw = of_shape(dense, dense)
    window = other[0].window
    lens = torch.randint(0, keys + 1, (batch,), generator=torch.Generator().manual_seed(queries))
    raw = replace(raw, causal="top-left" if is_causal else None, window=window, valid_lens=lens)
    places = aligned_places(queries, keys, "top-left" if is_causal else "bottom-right")
    beside = MaskRule(keys, places, valid_lens=lens, causal=is_causal, window=window).tile()
    expected = dense if beside is None else dense & beside
    assert torch.equal(cells(small_mask(raw), raw), expected)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (CAUSAL, {"causal": True}),
        (CAUSAL & (KEY > QUERY - 3), {"causal": True, "window": (2, -1)}),
        ((KEY - QUERY).abs() <= 2, {"window": (2, 2)}),
        (KEY <= QUERY + 2, {"causal": True, "align": 2}),
        (LEFT_PADDED & CAUSAL, {"causal": True, "keep": LEFT_PADDED}),
        (LEFT_PADDED & CAUSAL & (KEY > QUERY - 3), {"causal": True, "window": (2, -1), "keep": LEFT_PADDED}),
        (LEFT_PADDED.expand(2, 4, 6, 6), {"keep": LEFT_PADDED}),
        (RIGHT_PADDED.expand(2, 4, 6, 6), {"valid_lens": torch.tensor([4, 6])}),
        (RIGHT_PADDED & CAUSAL, {"causal": True, "valid_lens": torch.tensor([4, 6])}),
        ((QUERY // 2 == KEY // 2).expand(2, 1, 6, 6).clone(), {"keep": (QUERY // 2 == KEY // 2)[None, None]}),
        (torch.zeros(6, 6), {}),
        (torch.ones(2, 4, 6, 6, dtype=torch.bool), {}),
        (torch.zeros(6, 6, dtype=torch.bool), {"valid_lens": torch.tensor([0, 0])}),
    ],
)
def test_forms_have_their_usual_names(mask, said):
    small = small_mask(raw_call(mask))
    names = ("valid_lens", "keep", "causal", "align", "window", "bias")
    plain = {"causal": False, "align": "bottom-right", **said}
    for name in names:
        found, expected = getattr(small, name), plain.get(name)
        is_tensor = isinstance(expected, torch.Tensor)
        assert torch.equal(found, expected) if is_tensor else found == expected, name


def test_causal_order_has_the_usual_places_where_queries_and_keys_differ():
    keys, queries = torch.arange(9), torch.arange(4)[:, None]
    found = [small_mask(raw_call(keys <= queries + offset, queries=4, keys=9)).align for offset in (5, 0, 3)]
    assert found == ["bottom-right", "top-left", 3]


def test_a_bias_of_numbers_stays_one_without_the_axes_that_repeat():
    alibi = -torch.arange(1.0, 5.0)[:, None, None] * (QUERY - KEY).abs()  # (Hq, Sq, Sk)
    small = small_mask(raw_call(alibi.expand(2, 4, 6, 6).clone()))
    assert torch.equal(small.bias, alibi[None])
    assert small.keep is None
    with_causal = alibi.masked_fill(~CAUSAL, -torch.inf)
    assert torch.equal(small_mask(raw_call(with_causal)).bias, with_causal[None])


@pytest.mark.parametrize("number", [torch.nan, 3.0, -2.5])
def test_one_number_that_hides_nothing_makes_a_mask_a_bias(number):
    mask = as_float(CAUSAL, -torch.inf).expand(2, 1, 6, 6).clone()
    mask[1, 0, 5, 5] = number
    found = small_mask(raw_call(mask)).bias
    assert torch.equal(found.view(torch.int32), mask.view(torch.int32))


def test_a_constant_that_logits_can_outdo_stays_a_bias():
    raw = raw_call(as_float(CAUSAL, -1e4))
    assert small_mask(raw).causal
    loud = replace(raw, q=raw.q * 1e4)
    assert not small_mask(loud).causal
    assert small_mask(loud).bias is not None
    assert small_mask(replace(loud, softcap=30.0)).causal
    nothing_known = replace(raw, k=raw.k.index_fill(2, torch.tensor([3]), torch.nan))
    assert small_mask(nothing_known).bias is not None


def test_a_mask_in_constants_that_is_no_mask_joins_the_bias():
    padded, bias = as_float(LEFT_PADDED & CAUSAL, -1e9), torch.randn(4, 6, 6)
    small = small_mask(raw_call(padded, bias=bias))
    assert torch.equal(small.bias, padded + bias)
    small = small_mask(raw_call(as_float(RIGHT_PADDED, -1e9), bias=bias))
    assert torch.equal(small.bias, bias[None])
    assert small.valid_lens.tolist() == [4, 6]


def test_a_row_that_other_rules_leave_without_a_key_keeps_the_constants():
    mask = as_float(KEY >= 2, -1e9)[
        None, None, None
    ]  # each row sees the keys from 2, and by the rule those up to its own
    raw = raw_call(mask, causal="top-left")
    small = small_mask(raw)
    assert small.bias is not None
    assert small.causal


def test_valid_lengths_are_said_as_shortly_as_they_can_be():
    lens = torch.tensor([[3, 3, 3, 3, 3, 3], [5, 5, 5, 5, 5, 5]])
    assert small_mask(raw_call(valid_lens=lens)).valid_lens.tolist() == [3, 5]
    assert small_mask(raw_call(valid_lens=torch.tensor([6, 6]))).valid_lens is None
    with_mask = small_mask(raw_call(RIGHT_PADDED, valid_lens=torch.tensor([5, 5])))
    assert with_mask.valid_lens.tolist() == [4, 5]


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_blocks_of_a_mask_come_to_the_same_as_the_whole(monkeypatch, dtype):
    monkeypatch.setattr(mask_cells, "BLOCK", 7)
    mask = LEFT_PADDED & CAUSAL if dtype == torch.bool else as_float(LEFT_PADDED & CAUSAL, -torch.inf)
    raw = raw_call(mask)
    small = small_mask(raw)
    assert torch.equal(small.keep, LEFT_PADDED)
    assert torch.equal(cells(small, raw), (LEFT_PADDED & CAUSAL).expand(2, 4, 6, 6))


class Counting(TorchDispatchMode):
    """Counts the operations that it sees."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen += 1
        return func(*args, **(kwargs or {}))


def looked_at(mask):
    """The small form, and how many operations it took to find."""
    raw = raw_call(mask)
    with Counting() as counting:
        small = small_mask(raw)
    return small, counting.seen


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
@pytest.mark.parametrize("is_inference", [False, True])
def test_the_layers_of_a_model_share_one_look_at_the_mask(dtype, is_inference):
    with torch.inference_mode(is_inference):
        mask = CAUSAL.clone() if dtype == torch.bool else as_float(CAUSAL, -torch.inf)
        forget()
        first, whole = looked_at(mask)
        for _ in range(3):
            again, seen = looked_at(mask[None, None].expand(2, 4, -1, -1).detach())
            assert (again.causal, first.causal) == (True, True)
            assert seen < whole
        mask[0, 3] = True if dtype == torch.bool else 0.0
        assert not looked_at(mask)[0].causal


def write_with_numpy(mask):
    mask.numpy()[0, 3] = mask.numpy()[0, 0]


def write_to_data(mask):
    mask.data[0, 3] = mask.data[0, 0]


def write_by_address(mask):
    """As a kernel of the program's own does."""
    size = mask.element_size()
    ctypes.memmove(mask.data_ptr() + 3 * size, mask.data_ptr(), size)


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
@pytest.mark.parametrize("write", [write_with_numpy, write_to_data, write_by_address])
def test_a_mask_that_was_written_to_unseen_is_another_one(dtype, write):
    mask = CAUSAL.clone() if dtype == torch.bool else as_float(CAUSAL, -torch.inf)
    assert small_mask(raw_call(mask)).causal
    write(mask)
    raw = raw_call(mask)
    small = small_mask(raw)
    assert not small.causal
    assert torch.equal(cells(small, raw), (CAUSAL | ((QUERY == 0) & (KEY == 3))).expand(2, 4, 6, 6))


def test_two_masks_that_take_turns_are_both_remembered():
    one, other = CAUSAL.clone(), CAUSAL & (KEY > QUERY - 3)
    whole = looked_at(one)[1], looked_at(other)[1]
    for _ in range(2):
        assert looked_at(one)[1] < whole[0]
        small, seen = looked_at(other)
        assert (small.window, seen < whole[1]) == ((2, -1), True)


def test_a_zero_of_another_sign_is_another_mask():
    bias = torch.randn(6, 6)
    bias[0, 0] = 0.0
    assert torch.equal(small_mask(raw_call(bias)).bias[0, 0], bias)
    bias[0, 0] = -0.0
    assert small_mask(raw_call(bias)).bias[0, 0, 0, 0].signbit()


def test_masks_that_are_too_large_together_are_not_remembered(monkeypatch):
    monkeypatch.setattr(remembered, "MOST_BYTES", 50)
    one, other = CAUSAL.clone(), (QUERY // 2 == KEY // 2).clone()
    whole = [looked_at(mask)[1] for mask in (one, other)]
    assert looked_at(other)[1] < whole[1]
    assert looked_at(one)[1] >= whole[0]
    large = as_float(CAUSAL, -torch.inf)
    assert looked_at(large)[1] == looked_at(large)[1]


def test_nothing_is_remembered_once_a_recording_is_over():
    x = torch.randn(1, 2, 6, 8)
    forget()
    with no_tensor_left(), listening(Recorder(RecordOptions(), Kept(room=0))):
        F.scaled_dot_product_attention(x, x, x, attn_mask=QUERY // 2 == KEY // 2)


def test_what_is_remembered_keeps_no_mask_alive():
    from torch.multiprocessing.reductions import StorageWeakRef

    for mask in ((QUERY // 2 == KEY // 2).clone(), as_float(QUERY // 2 == KEY // 2, -torch.inf), torch.randn(6, 6)):
        memory = StorageWeakRef(mask.untyped_storage())
        small_mask(raw_call(mask))
    del mask
    gc.collect()
    assert memory.expired()


@settings(max_examples=60)
@given(rules(), st.sampled_from(["bool", -torch.inf, -1e9, "bias"]), st.sampled_from([1, 2]))
def test_attention_with_the_small_form_is_that_of_pytorch_with_the_mask(drawn, kind, kv_heads):
    _, dense = drawn
    dense[..., 0] |= ~dense.any(dim=-1)  # what a row that sees nothing gives differs from kernel to kernel
    mask = dense if kind == "bool" else torch.where(dense, 0.0, -1.5 if kind == "bias" else kind).double()
    batch, _, queries, keys = dense.shape
    raw = raw_call(mask, batch=batch, heads=2, kv_heads=kv_heads, queries=queries, keys=keys)
    torch.testing.assert_close(textbook_output(raw), sdpa_output(raw), rtol=1e-12, atol=1e-12)


def test_a_constant_that_hides_all_keys_of_a_row_gives_what_pytorch_gives():
    raw = raw_call(as_float(LEFT_PADDED & CAUSAL, -1e6).double())
    torch.testing.assert_close(textbook_output(raw), sdpa_output(raw), rtol=1e-8, atol=1e-8)
    assert bool(((LEFT_PADDED & CAUSAL).sum(-1) == 0).any())


@pytest.mark.parametrize("fault", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("role", ["q", "k"])
@pytest.mark.parametrize("mask", [LEFT_PADDED & CAUSAL, CAUSAL[None, None], RIGHT_PADDED])
def test_minus_infinity_hides_no_key_that_is_not_finite(fault, role, mask):
    raw = raw_call(as_float(mask, -torch.inf).double())
    broken = getattr(raw, role).clone()
    broken[0, 1, 5, 3] = fault
    raw = replace(raw, **{role: broken})
    with sdpa_kernel(SDPBackend.MATH):
        expected = sdpa_output(raw)
    sees = mask.any(-1)[..., None].expand_as(expected)  # what a row that sees nothing gives differs
    torch.testing.assert_close(textbook_output(raw)[sees], expected[sees], equal_nan=True)
    assert torch.equal(small_mask(raw).bias, raw.mask)


def transformers_mask(make, implementation, padded_on):
    """A mask as transformers makes it for a batch of two, whose first item has two tokens of padding."""
    transformers = pytest.importorskip("transformers")
    masking = pytest.importorskip("transformers.masking_utils")
    config = transformers.MistralConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        sliding_window=3, attn_implementation=implementation,
    )  # fmt: skip
    present = {"left": LEFT_PADDED, "right": RIGHT_PADDED}[padded_on][:, 0, 0]
    return getattr(masking, make)(
        config=config, inputs_embeds=torch.zeros(2, 6, 8), attention_mask=present.long(), past_key_values=None
    )


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize(
    ("make", "window"), [("create_causal_mask", None), ("create_sliding_window_causal_mask", (2, -1))]
)
def test_masks_that_transformers_makes_are_causal_order_and_padding(make, window, implementation):
    small = small_mask(raw_call(transformers_mask(make, implementation, "right")))
    assert (small.causal, small.window, small.bias) == (True, window, None)
    if window is None:
        assert torch.equal(small.valid_lens, torch.tensor([4, 6]))
    left = transformers_mask(make, implementation, "left")
    small = small_mask(raw_call(left))
    if left.dtype == torch.bool:
        assert (small.causal, small.window) == (True, window)
        assert torch.equal(small.keep, LEFT_PADDED)
    else:
        assert torch.equal(small.bias, left)  # its rows of padding see no key and are hidden by a finite constant
