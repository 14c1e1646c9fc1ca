"""Two files, or one file under two settings: what is compared with what, and where differences are said to be."""

import tracemalloc
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from attn_cli.attention.types import dtype_name
from attn_cli.differences.maps import MapSize
from attn_cli.differences.runner import DiffOptions, diff
from attn_cli.differences.sides import Side
from attn_cli.errors import BackendError, InputError, UsageError
from attn_cli.inputs.options import ReadOptions
from tests.cli.process import MINILM
from tests.inputs.files import heads, write


def files(left, right, **options):
    read = ReadOptions(file=str(left), **options)
    return diff(DiffOptions(Side(read), Side(replace(read, file=str(right))), False, size=MapSize(4, 4)))


def settings_of(file, left=None, right=None, tolerance=None, **options):
    read = ReadOptions(file=str(file), **options)
    right = dict(right or {})
    other = replace(read, causal_align=right.pop("causal_align", read.causal_align))
    atol, rtol = tolerance or (None, None)
    return diff(DiffOptions(Side(read, **(left or {})), Side(other, **right), True, atol, rtol))


def messages(result):
    return [finding.message for _, finding in result.findings]


def place_of(finding):
    place = finding.place
    return {name: value for name, value in vars(place).items() if value is not None}


def test_a_file_equals_itself():
    result = files(MINILM, MINILM)
    assert result.within
    assert len(result.tensors) == 22
    assert len(result.calls) == 6
    assert all(tensor.measured.max_abs_error == 0 for tensor in result.tensors)
    assert all(call.weights.total.worst is None for call in result.calls)


@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_one_perturbed_value_is_named_wherever_it_is(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("diff")
    shapes = {
        "weights": (2, 3, 5, 7),
        "output": (2, 3, 5, 4),
        "q": (2, 3, 5, 4),
        "lse": (2, 3, 5),
        "mask": (2, 1, 5, 7),
    }
    axes = {"weights": ("batch", "head", "query", "key"), "mask": ("batch", None, "query", "key")}
    tensors = {name: torch.rand(shape) for name, shape in shapes.items()}
    tensors["mask"] = tensors["mask"] > 0.5
    name = data.draw(st.sampled_from(sorted(shapes)))
    index = tuple(data.draw(st.integers(0, size - 1)) for size in shapes[name])
    left = write(folder / "left.safetensors", tensors)
    changed = tensors[name].clone()
    changed[index] = ~changed[index] if name == "mask" else changed[index] + 0.01
    right = write(folder / "right.safetensors", {**tensors, name: changed})
    result = files(left, right)
    assert not result.within
    ((_, finding),) = result.findings
    named = axes.get(name, ("batch", "head", "query", "feature"))
    wanted = {axis: number for axis, number in zip(named, index, strict=False) if axis}
    assert place_of(finding) == {"tensor": name, **wanted}
    assert finding.code == "ATTN090"
    assert finding.count == 1
    differing = [tensor for tensor in result.tensors if not tensor.within]
    assert [tensor.name for tensor in differing] == [name]
    assert differing[0].worst_index == index


def test_places_of_a_saved_part_are_those_of_the_whole_call(tmp_path):
    metadata = {
        "schema": "attn.saved/1",
        "calls": '{"": {"batch": [1], "heads": [4, 9], "queries": [5, 7, 8]}}',
    }
    x = torch.rand(1, 2, 3, 6)
    y = x.clone()
    y[0, 1, 2, 3] += 0.1
    left = write(tmp_path / "a.safetensors", {"weights": x}, metadata)
    right = write(tmp_path / "b.safetensors", {"weights": y}, metadata)
    result = files(left, right)
    assert place_of(result.findings[0][1]) == {"tensor": "weights", "batch": 1, "head": 9, "query": 8, "key": 3}
    assert result.tensors[0].worst_index == (0, 1, 2, 3)
    assert files(left, right, heads=(4,)).within
    assert not files(left, right, heads=(9,), queries=(8,)).within
    with pytest.raises(InputError, match="no head 0; expected one of 4, 9"):
        files(left, right, heads=(0,))


@pytest.mark.parametrize("calls", ["[", "[]", '{"": 3}', '{"": {"batch": [-1], "heads": "x", "queries": [0.5]}}'])
def test_broken_metadata_of_a_saved_file_names_nothing(tmp_path, calls):
    metadata = {"schema": "attn.saved/1", "calls": calls}
    paths = [
        write(tmp_path / f"{n}.safetensors", {"weights": torch.full((1, 1, 2, 2), n)}, metadata) for n in (0.0, 1.0)
    ]
    assert place_of(files(*paths).findings[0][1])["query"] == 0


def test_saved_parts_that_are_not_the_same_are_noted(tmp_path):
    paths = []
    for head in (3, 4):
        metadata = {"schema": "attn.saved/1", "calls": f'{{"": {{"batch": [0], "heads": [{head}], "queries": null}}}}'}
        paths.append(write(tmp_path / f"{head}.safetensors", {"output": torch.ones(1, 1, 2, 2)}, metadata))
    assert files(*paths).notes == ("the files hold other numbers of head; places are those of the left file",)


def test_what_is_in_one_file_alone_and_what_is_of_another_kind_differs(tmp_path):
    same = {"x": torch.ones(3), "shape": torch.ones(2, 2), "kind": torch.ones(2)}
    left = write(tmp_path / "a.safetensors", {**same, "here": torch.ones(1)})
    right = write(
        tmp_path / "b.safetensors",
        {**same, "shape": torch.ones(2, 3), "kind": torch.ones(2).half(), "there": torch.ones(1)},
    )
    result = files(left, right)
    assert [info.name for info in result.only_left] == ["here"]
    assert [info.name for info in result.only_right] == ["there"]
    assert messages(result) == [
        "1 tensor in the left file alone: here",
        "1 tensor in the right file alone: there",
        "dtype float32 on the left, float16 on the right",
        "shape (2, 2) on the left, (2, 3) on the right",
    ]
    by_name = {tensor.name: tensor for tensor in result.tensors}
    assert by_name["kind"].measured.within
    assert not by_name["kind"].within
    assert by_name["shape"].measured is None


def test_tensors_of_any_rank_and_dtype_are_compared(tmp_path):
    tensors = {
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, 4),
        "flags": torch.tensor([True, False]),
        "bytes": torch.tensor([1, 255], dtype=torch.uint8),
        "ids": torch.tensor([[2**60 + 1]]),
        "half": torch.tensor([1.0, torch.nan]).bfloat16(),
        "eighth": torch.tensor([0.5, 448.0]).to(torch.float8_e4m3fn),
        "deep": torch.rand(2, 2, 2, 2, 2),
    }
    left = write(tmp_path / "a.safetensors", tensors)
    assert files(left, left).within
    changed = {"scalar": 3.5, "flags": True, "bytes": 0, "ids": 2**60, "half": 0.0, "eighth": 1.0, "deep": 9.0}
    for name, value in changed.items():
        x = tensors[name].clone()
        x.view(-1)[-1] = value
        right = write(tmp_path / "b.safetensors", {**tensors, name: x})
        assert [tensor.name for tensor in files(left, right).tensors if not tensor.within] == [name]
    result = files(left, right)
    assert result.tensors[[tensor.name for tensor in result.tensors].index("deep")].worst_index == (1, 1, 1, 1, 1)
    assert "at index [1, 1, 1, 1, 1]" in messages(result)[0]


def test_complex_numbers_are_compared(tmp_path):
    x = torch.tensor([[1 + 2j, 3j]])
    y = x.clone()
    y[0, 1] = 3j + 1
    left, right = (write(tmp_path / name, {"z": value}) for name, value in (("a.pt", x), ("b.pt", y)))
    assert files(left, left).within
    assert files(left, right).tensors[0].worst_index == (0, 1)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float16", "float32", "float64", "int64", "uint64", "bool"])
def test_complex_numbers_are_compared_with_real_ones(tmp_path, dtype):
    real = torch.ones(2, 3).to(getattr(torch, dtype))
    same = torch.ones(2, 3, dtype=torch.complex64)
    other = same.clone()
    other[1, 2] += 1j
    paths = [write(tmp_path / f"{name}.pt", {"z": x}) for name, x in zip("rso", (real, same, other), strict=True)]
    assert files(paths[0], paths[1]).tensors[0].measured.worst is None
    for pair in ((paths[0], paths[2]), (paths[2], paths[0])):
        assert files(*pair).tensors[0].worst_index == (1, 2)


def test_other_layouts_are_named_by_their_axes(tmp_path):
    x = torch.rand(1, 5, 3, 4)
    y = x.clone()
    y[0, 4, 2, 1] += 1
    left = write(tmp_path / "a.safetensors", {"output": x}, {"layout": "bshd"})
    right = write(tmp_path / "b.safetensors", {"output": y}, {"layout": "bshd"})
    result = files(left, right)
    wanted = {"tensor": "output", "batch": 0, "head": 2, "query": 4, "feature": 1}
    assert place_of(result.findings[0][1]) == wanted
    assert result.tensors[0].worst_index == (0, 4, 2, 1)


def test_a_change_of_k_reaches_the_weights_and_the_output_of_its_call(tmp_path):
    tensors = heads(dtype=torch.float32, prefix="layers.0.") | heads(dtype=torch.float32, prefix="layers.1.", seed=1)
    changed = {name: x.clone() for name, x in tensors.items()}
    changed["layers.1.k"][1, 2, 3, 4] += 1
    left, right = (write(tmp_path / f"{n}.safetensors", x) for n, x in enumerate((tensors, changed)))
    result = files(left, right)
    assert [call.within for call in result.calls] == [True, False]
    differing = [(one.batch, one.head) for one in result.calls[1].weights.heads if not one.measured.within]
    assert differing == [(1, 2)]
    steps = [torch.softmax(x["layers.1.q"] @ x["layers.1.k"].mT / 8**0.5, -1) for x in (tensors, changed)]
    head = result.calls[1].weights.heads[1 * 4 + 2].measured
    assert head.max_abs_error == pytest.approx(float((steps[0] - steps[1]).abs().max()), rel=1e-4)
    places = [place_of(finding) for _, finding in result.findings]
    assert [place["tensor"] for place in places] == ["layers.1.k", "output", "weights"]
    assert places[0] == {"tensor": "layers.1.k", "batch": 1, "head": 2, "key": 3, "feature": 4}
    assert all((place["batch"], place["head"]) == (1, 2) for place in places)
    assert files(left, right, layer=0).within
    assert not files(left, right, prefix="layers.1").within
    assert files(left, right, layer=1, heads=(0, 1)).calls[0].within


def test_calls_are_matched_by_prefix_then_by_layer(tmp_path):
    same = heads(dtype=torch.float32)
    left = write(
        tmp_path / "a.safetensors", {f"model.layers.{n}.attn.{name}": x for n in (0, 1) for name, x in same.items()}
    )
    right = write(tmp_path / "b.safetensors", {f"h.{n}.{name}": x for n in (1, 0, 2) for name, x in same.items()})
    result = files(left, right)
    assert [(call.left.prefix, call.right.prefix) for call in result.calls] == [
        ("model.layers.0.attn", "h.0"),
        ("model.layers.1.attn", "h.1"),
    ]
    assert all(call.within for call in result.calls)
    assert result.calls_only_right == ("h.2",)
    assert not result.within


def two_layers(*names, folder="layers", leaves=("q", "k", "v")):
    tensors = {}
    for number, name in enumerate(names):
        own = heads(dtype=torch.float32, seed=number)
        tensors |= {f"{folder}.{name}.{leaf}": own[role] for leaf, role in zip(leaves, "qkv", strict=True)}
    return tensors


@pytest.mark.parametrize("chosen", [{"layer": 99}, {"prefix": "nope"}])
def test_a_selection_that_nothing_is_behind_is_refused(tmp_path, chosen):
    path = write(tmp_path / "a.safetensors", two_layers(0, 1))
    with pytest.raises(InputError, match=r"no call in --layer 99|nothing under --prefix nope"):
        files(path, path, **chosen)
    other = write(tmp_path / "b.safetensors", two_layers(99, folder="nope"))
    with pytest.raises(InputError, match=r"a\.safetensors: no"):
        files(other, path, **chosen)


def test_a_layer_of_tensors_that_are_no_call_can_be_selected(tmp_path):
    tensors = {f"layers.{n}.output": torch.full((1, 1, 2, 2), float(n)) for n in (0, 1)}
    left = write(tmp_path / "a.safetensors", tensors)
    right = write(tmp_path / "b.safetensors", {**tensors, "layers.0.output": torch.zeros(1, 1, 2, 2) + 5})
    assert files(left, right, layer=1).within
    assert not files(left, right, layer=0).within


@pytest.mark.parametrize(("left", "right"), [({}, {}), ({"x": torch.ones(2)}, {"y": torch.ones(2)})])
def test_files_with_nothing_in_common_are_refused(tmp_path, left, right):
    paths = [write(tmp_path / f"{name}.safetensors", x) for name, x in (("a", left), ("b", right))]
    with pytest.raises(InputError, match="nothing in common to compare"):
        files(*paths)


@pytest.mark.parametrize(("chosen", "lacks"), [("heads", "query heads"), ("batch", "batch axis"), ("queries", "query")])
def test_a_selection_of_an_axis_that_no_tensor_has_is_refused(tmp_path, chosen, lacks):
    path = write(tmp_path / "a.safetensors", {"x1": torch.ones(3, 3)})
    with pytest.raises(InputError, match=lacks):
        files(path, path, **{chosen: (0,)})
    both = write(tmp_path / "b.safetensors", {"x1": torch.ones(3), "output": torch.ones(1, 1, 1, 2)})
    assert files(both, both, **{chosen: (0,)}).within


def test_other_layers_are_not_taken_for_each_other(tmp_path):
    left = write(tmp_path / "a.safetensors", two_layers(0, 1))
    right = write(tmp_path / "b.safetensors", two_layers(2, 1))
    result = files(left, right)
    assert [(call.left.prefix, call.right.prefix) for call in result.calls] == [("layers.1", "layers.1")]
    assert (result.calls_only_left, result.calls_only_right) == (("layers.0",), ("layers.2",))
    assert not result.within


def test_the_only_calls_of_two_files_are_compared_whatever_their_layers(tmp_path):
    left = write(tmp_path / "a.safetensors", two_layers(0))
    right = write(tmp_path / "b.safetensors", two_layers(7))
    assert files(left, right).within


def test_calls_without_layers_that_are_left_over_belong_together(tmp_path):
    same = {f"first.{name}": x for name, x in heads().items()}
    left = write(tmp_path / "a.safetensors", same | {f"one.{name}": x for name, x in heads(seed=1).items()})
    right = write(tmp_path / "b.safetensors", same | {f"two.{name}": x for name, x in heads(seed=1).items()})
    result = files(left, right)
    assert [call.right.prefix for call in result.calls] == ["first", "two"]
    assert result.within


def test_tensors_of_matched_calls_are_compared_under_other_names(tmp_path):
    left, right = two_layers(0, 1), two_layers(0, 1, folder="h", leaves=("query", "key", "value"))
    left["layers.1.mask"] = right["h.1.attn_mask"] = torch.ones(1, 1, 5, 7, dtype=torch.bool)
    left["layers.1.attn_output"], right["h.1.output"] = torch.ones(2, 4, 5, 8), torch.ones(2, 4, 5, 8)
    one, other = write(tmp_path / "a.safetensors", left), write(tmp_path / "b.safetensors", right)
    result = files(one, other)
    assert result.within
    pairs = {(tensor.name, tensor.right.name) for tensor in result.tensors}
    assert pairs == {
        (f"layers.{n}.{name}", f"h.{n}.{own}")
        for n in (0, 1)
        for name, own in zip("qkv", ("query", "key", "value"), strict=True)
    } | {("layers.1.mask", "h.1.attn_mask"), ("layers.1.attn_output", "h.1.output")}
    assert files(one, other, layer=1).within
    right["h.1.value"] = right["h.1.value"].clone()
    right["h.1.value"][1, 2, 3, 4] += 1
    result = files(one, write(tmp_path / "c.safetensors", right))
    assert [tensor.right.name for tensor in result.tensors if not tensor.within] == ["h.1.value"]
    right["h.1.sinks"] = torch.ones(4)
    result = files(one, write(tmp_path / "d.safetensors", right))
    assert [info.name for info in result.only_right] == ["h.1.sinks"]


def test_other_forms_of_the_same_call_are_compared_as_calls_alone(tmp_path):
    tensors = two_layers(0)
    other = {name.replace("layers", "h"): x.transpose(1, 2).contiguous() for name, x in tensors.items()}
    left = write(tmp_path / "a.safetensors", tensors)
    result = files(left, write(tmp_path / "b.safetensors", other, {"layout": "bshd"}))
    assert result.within
    assert (result.tensors, result.only_left, result.only_right) == ((), (), ())
    assert len(result.calls) == 1


def test_what_is_not_finite_on_both_sides_is_noted(tmp_path):
    x = torch.ones(1, 1, 2, 3)
    x[0, 0, 0, 1], x[0, 0, 1, 2] = torch.nan, -torch.inf
    path = write(tmp_path / "a.safetensors", {"output": x, "additive_mask": x, "y": torch.ones(2)})
    result = files(path, path)
    assert result.within
    assert [tensor.measured.nonfinite_both for tensor in result.tensors] == [2, 2, 0]
    note = "2 values are NaN or infinite on both sides alike, which counts as equal: output"
    assert result.notes == (note,)


def test_an_output_of_nan_on_both_sides_is_noted(tmp_path):
    tensors = heads(dtype=torch.float32)
    tensors["v"][1, 2, 3, 4] = torch.nan
    path = write(tmp_path / "a.safetensors", tensors)
    call = settings_of(path, {"backend": "math"}, {"backend": "textbook"}).calls[0]
    assert call.within
    assert call.output.heads[6].measured.nonfinite_both == 5
    assert call.notes == ("5 output values are NaN or infinite on both sides alike, which counts as equal",)


def test_text_in_one_file_alone_is_noted(tmp_path):
    left, right = (write(tmp_path / f"{n}.safetensors", {"x": torch.ones(2)}, n and {"s": "a"}) for n in (None, "b"))
    assert files(left, right).notes == ("text is not compared; in the right file alone: s",)


def test_saved_weights_of_a_call_with_sinks_tell_of_them(tmp_path):
    weights = torch.softmax(torch.randn(1, 2, 3, 4), -1)
    tensors = {"weights": weights, "sink_weights": torch.full((1, 2, 3), 0.5)}
    pairs = []
    for factor in (0.5, 0.25):
        pairs.append(write(tmp_path / f"{factor}.safetensors", {**tensors, "weights": weights * factor}))
    heads_of = files(*pairs).tensors[-1].compared.heads
    assert all(head.divergence.mean > 0.01 for head in heads_of)
    pairs = []
    for factor in (0.5, 0.25):
        pairs.append(write(tmp_path / f"{factor}.safetensors", {"weights": weights * factor}))
    assert all(head.divergence.mean < 1e-12 for head in files(*pairs).tensors[0].compared.heads)


def test_memory_of_a_long_axis_is_that_of_its_values(tmp_path, monkeypatch):
    monkeypatch.setattr("attn_cli.inputs.readers.opened.COPIED", 0)  # the files' own bytes are not counted either
    x = torch.zeros(2_000_000)
    left = write(tmp_path / "a.safetensors", {"flat": x, "wide": x.view(2, -1)})
    x[1_999_999] = 1
    right = write(tmp_path / "b.safetensors", {"flat": x, "wide": x.view(2, -1)})
    files(left, left)  # what is imported and kept is not counted
    tracemalloc.start()
    try:
        result = files(left, right)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [tensor.worst_index for tensor in result.tensors] == [(1_999_999,), (1, 999_999)]
    assert peak < 2_000_000  # Python's own objects: not one a value


def test_key_value_heads_are_not_selected_by_query_heads(tmp_path):
    tensors = heads(heads=8, kv_heads=2, dtype=torch.float32)
    changed = {**tensors, "k": tensors["k"].clone()}
    changed["k"][0, 1, 2, 3] += 1
    left, right = (write(tmp_path / f"{n}.safetensors", x) for n, x in enumerate((tensors, changed)))
    result = files(left, right, heads=(7,))
    k = next(tensor for tensor in result.tensors if tensor.name == "k")
    assert dict(k.worst_place) == {"batch": 0, "head": 1, "key": 2, "feature": 3}
    assert [head.head for head in result.calls[0].weights.heads] == [7, 7]
    assert not result.calls[0].within
    result = files(left, right, heads=(0,))
    assert result.calls[0].within  # the other group
    assert not result.within


def test_calls_of_other_shapes_cannot_be_compared(tmp_path):
    left = write(tmp_path / "a.safetensors", heads(queries=5))
    right = write(tmp_path / "b.safetensors", heads(queries=6))
    result = files(left, right)
    assert result.calls[0].reason == "the weights of the left call are (2, 4, 5, 7), of the right (2, 4, 6, 7)"
    assert not result.calls[0].within


def test_a_file_without_a_whole_call_is_compared_by_name_alone(tmp_path):
    left = write(tmp_path / "a.safetensors", {"q": torch.ones(1, 1, 2, 2)})
    result = files(left, left)
    assert result.within
    assert "no attention is run" in result.notes[0]
    with pytest.raises(InputError):
        files(left, left, q="q")
    with pytest.raises(InputError):
        files(MINILM, MINILM, layer=9, q="nothing")


def test_backends_agree_on_the_sample():
    result = settings_of(MINILM, {"backend": "sdpa"}, {"backend": "textbook"})
    assert result.within
    assert {call.right_ran.ran for call in result.calls} == {"textbook"}
    assert all(call.weights is None for call in result.calls)


@pytest.mark.parametrize(("left", "right"), [("float32", "float64"), ("bfloat16", "float32"), ("float16", "bfloat16")])
def test_dtypes_are_compared_by_the_coarser(tmp_path, left, right):
    path = write(tmp_path / "a.safetensors", heads(queries=9, keys=9))
    call = settings_of(path, {"dtype": left}, {"dtype": right}).calls[0]
    assert dtype_name(getattr(torch, call.output.tolerance.dtype)) in (left, right)
    assert torch.finfo(getattr(torch, call.output.tolerance.dtype)).eps == max(
        torch.finfo(getattr(torch, name)).eps for name in (left, right)
    )
    outputs = []
    tensors = heads(queries=9, keys=9)
    for name in (left, right):
        q, k, v = (tensors[x].to(getattr(torch, name)) for x in "qkv")
        outputs.append(F.scaled_dot_product_attention(q, k, v).double())
    assert call.output.total.max_abs_error == pytest.approx(float((outputs[0] - outputs[1]).abs().max()))
    assert call.weights.total.max_abs_error > 0
    assert all(head.divergence.mean > 0 for head in call.weights.heads)


def test_the_alignment_is_compared_with_what_pytorch_gives(tmp_path):
    tensors = heads(queries=3, keys=6, dtype=torch.float32)
    path = write(tmp_path / "a.safetensors", tensors)
    result = settings_of(path, right={"causal_align": "top-left"}, causal=True)
    top_left = F.scaled_dot_product_attention(*(tensors[x] for x in "qkv"), is_causal=True)
    keep = torch.ones(3, 6, dtype=torch.bool).tril(3)
    bottom_right = F.scaled_dot_product_attention(*(tensors[x] for x in "qkv"), attn_mask=keep)
    total = result.calls[0].output.total
    assert total.max_abs_error == pytest.approx(float((top_left - bottom_right).abs().max()), rel=1e-5)
    assert [head.measured.first_row for head in result.calls[0].weights.heads] == [0] * 8
    assert not result.within


def test_an_alignment_without_effect_is_noted(tmp_path):
    path = write(tmp_path / "a.safetensors", heads(queries=3, keys=6))
    notes = settings_of(path, right={"causal_align": "top-left"}).calls[0].notes
    assert notes == ("neither causal order nor a window is on: the alignment changes no weight",)
    square = write(tmp_path / "b.safetensors", heads(queries=6, keys=6))
    assert "Sq is Sk" in settings_of(square, right={"causal_align": "top-left"}, causal=True).calls[0].notes[0]


def test_a_recorded_output_is_compared_with_what_a_backend_gives(tmp_path):
    tensors = heads(dtype=torch.float32)
    tensors["output"] = F.scaled_dot_product_attention(*(tensors[x] for x in "qkv"))
    tensors["weights"] = torch.softmax(tensors["q"] @ tensors["k"].mT / 8**0.5, -1)
    path = write(tmp_path / "a.safetensors", tensors)
    assert settings_of(path, right={"backend": "recorded"}).within
    tensors["weights"][1, 3, 4, 5] += 0.01
    path = write(tmp_path / "b.safetensors", tensors)
    result = settings_of(path, right={"backend": "recorded"})
    place = {"tensor": "weights", "batch": 1, "head": 3, "query": 4, "key": 5}
    assert [place_of(finding) for _, finding in result.findings] == [place]
    assert settings_of(path, right={"backend": "recorded"}, heads=(0, 1)).within
    del tensors["output"]
    path = write(tmp_path / "c.safetensors", tensors)
    call = settings_of(path, right={"backend": "recorded"}).calls[0]
    assert call.output is None
    assert not call.within


def test_a_file_that_records_nothing_is_refused():
    with pytest.raises(InputError, match="no recorded output or weights"):
        settings_of(MINILM, right={"backend": "recorded"})


def test_a_backend_that_cannot_is_an_error():
    with pytest.raises(BackendError, match="softcap"):
        settings_of(MINILM, {"backend": "textbook"}, {"backend": "math"}, softcap=5.0)


def test_errors_name_the_options_that_were_given():
    math = {"backend": "math", "backend_flag": "--against"}
    with pytest.raises(BackendError, match=r"^--against math cannot run") as caught:
        settings_of(MINILM, {"backend": "textbook"}, math, softcap=5.0)
    assert caught.value.hint.startswith("--against auto")
    with pytest.raises(UsageError, match=r"^--against-device foo: no such device"):
        settings_of(MINILM, {}, {"device": "foo", "device_flag": "--against-device"})
    with pytest.raises(UsageError, match=r"^--device foo: no such device"):
        settings_of(MINILM, {"device": "foo"}, {"device": "cpu", "device_flag": "--against-device"})


def test_a_recording_that_does_not_fit_is_named(tmp_path):
    path = write(tmp_path / "a.safetensors", heads() | {"output": torch.ones(2, 4, 5, 9)})
    with pytest.raises(InputError, match=r"output is \(2, 4, 5, 9\) float32"):
        settings_of(path, right={"backend": "recorded"})


def test_tolerances_that_were_asked_for_decide(tmp_path):
    path = write(tmp_path / "a.safetensors", heads())
    sides = ({"dtype": "bfloat16"}, {"dtype": "float64"})
    assert not settings_of(path, *sides).within
    assert settings_of(path, *sides, tolerance=(0.1, 0.0)).within
    assert not settings_of(path, *sides, tolerance=(0.0, 0.0)).within


def test_grouped_queries_masks_and_sinks_are_run_on_both_sides(tmp_path):
    tensors = heads(heads=4, kv_heads=2) | {"sinks": torch.rand(4), "valid_lens": torch.tensor([3, 7])}
    path = write(tmp_path / "a.safetensors", tensors)
    result = settings_of(path, {"dtype": "float32"}, {"dtype": "float64"}, tolerance=(1e-5, 1e-5))
    assert result.within
    assert len(result.calls[0].weights.heads) == 8
