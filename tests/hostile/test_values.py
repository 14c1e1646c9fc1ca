"""Tensors that no attention call has: no numbers, too many numbers, wrong kinds of numbers, shapes that do not fit."""

import json
import math

import pytest
import torch
from jsonschema import Draft202012Validator
from safetensors.torch import save_file

from attn_cli.inputs.selecting import MOST_HEADS, MOST_IN_ALL
from attn_cli.reporters.schema import schema_for
from tests.hostile.law import accepted, refused, refused_as_json, told_of_each
from tests.hostile.warm import warm

NAN, INF = math.nan, math.inf


def heads(batch=1, heads=2, queries=3, keys=4, features=8, kv_heads=None, value_features=None, **others):
    """q, k and v, and what else a file holds."""
    generator = torch.Generator().manual_seed(0)
    sizes = {
        "q": (batch, heads, queries, features),
        "k": (batch, kv_heads or heads, keys, features),
        "v": (batch, kv_heads or heads, keys, features if value_features is None else value_features),
    }
    return {name: torch.randn(size, generator=generator) for name, size in sizes.items()} | others


def module(**others):
    """Hidden states and the projections of two heads."""
    generator = torch.Generator().manual_seed(0)
    tensors = {"hidden_states": torch.randn(1, 4, 8, generator=generator)}
    for name in "qkvo":
        tensors[f"{name}_proj.weight"] = torch.randn(8, 8, generator=generator)
        tensors[f"{name}_proj.bias"] = torch.randn(8, generator=generator)
    return tensors | {name.replace("__", "."): x for name, x in others.items()}


def zeros(*shape, dtype=torch.float32):
    return torch.zeros(shape).to(dtype)


def ones(*shape, dtype=torch.bool):
    return torch.ones(shape).to(dtype)


def empty(name, axis):
    """A call in which an axis of one tensor has size 0."""
    tensors = heads()
    shape = list(tensors[name].shape)
    shape[axis] = 0
    return tensors | {name: zeros(*shape)}


def cast(dtype, names="q"):
    return {name: x.to(dtype) if name in names else x for name, x in heads().items()}


def changed(name, change):
    tensors = heads(batch=2)
    return tensors | {name: change(tensors[name])}


def lens(values, dtype=None):
    return heads(valid_lens=torch.tensor(values, dtype=dtype))


NUMBERS = "expected float64, float32, bfloat16, float16 or float8 numbers"
KINDS = (torch.int8, torch.uint8, torch.uint16, torch.int32, torch.int64, torch.bool, torch.complex64)
WHOLE = "expected whole numbers from 0 to 4, the keys"
UNFIT = "expected rank 2 to 4, to broadcast to (B, Hq, Sq, Sk) = (1, 2, 3, 4)"

BAD = {
    **{f"{name}-axis-{axis}": (empty(name, axis), "no axis of size 0") for name in "qkv" for axis in range(4)},
    **{f"rank-{n}": ({name: zeros(*(2,) * n) for name in "qkv"}, "expected (B, H, S, D)") for n in (0, 1, 5)},
    "rank-differs": (changed("q", lambda x: x[0]), "rank 4; expected 3"),
    "batch-differs": (changed("k", lambda x: x[:1]), "batch 1; expected 2, as q is"),
    "features-differ": (changed("k", lambda x: x[..., :7]), "head dimension 7; expected 8"),
    "keys-differ": (changed("v", lambda x: x[:, :, :3]), "keys 3; expected 4, as k is"),
    "kv-heads-differ": (changed("v", lambda x: x[:, :1]), "key/value heads 1; expected 2"),
    "groups": (heads(heads=5, kv_heads=2), "5 query heads for 2 key/value heads; expected a multiple"),
    "more-kv-heads": (heads(heads=2, kv_heads=4), "2 query heads for 4 key/value heads"),
    **{f"q-{str(kind)[6:]}": (cast(kind), NUMBERS) for kind in KINDS},
    "v-complex": (cast(torch.complex64, "v"), NUMBERS),
    "all-int": (cast(torch.int32, "qkv"), NUMBERS),
    "lens-negative": (lens([-1]), f"found -1 at [0]; {WHOLE}"),
    "lens-long": (lens([5]), f"found 5 at [0]; {WHOLE}"),
    "lens-huge": (lens([2**62]), WHOLE),
    "lens-fraction": (lens([1.5]), f"found 1.5 at [0]; {WHOLE}"),
    "lens-nan": (lens([NAN]), f"found nan at [0]; {WHOLE}"),
    "lens-inf": (lens([INF]), f"found inf at [0]; {WHOLE}"),
    "lens-nan-row": (lens([[1.0, NAN, 2.0]]), f"found nan at [0, 1]; {WHOLE}"),
    "lens-bool": (lens([True]), "expected whole numbers"),
    "lens-complex": (lens([1.0], torch.complex64), "expected whole numbers"),
    **{f"lens-{len(s)}-{sum(s)}": (heads(valid_lens=ones(*s, dtype=torch.int64)), "expected (1,), one a batch item")
       for s in ((), (2,), (0,), (1, 1), (1, 4), (1, 3, 1))},
    **{f"mask-{'x'.join(map(str, s))}": (heads(mask=ones(*s)), UNFIT)
       for s in ((), (4,), (2, 4), (0, 4), (3, 0), (3, 3, 4), (1, 1, 1, 5), (2, 1, 3, 4), (1, 2, 4, 3), (1, 1, 3, 4, 1))
       },
    **{f"bias-{'x'.join(map(str, s))}": (heads(bias=zeros(*s)), UNFIT)
       for s in ((4,), (2, 4), (3, 3, 4), (2, 1, 3, 4))},
    "mask-2": (heads(mask=torch.tensor([[0, 1, 2, 1]] * 3)), "found 2; expected booleans, or whole numbers 0 and 1"),
    "mask-float": (heads(mask=ones(3, 4, dtype=torch.float32)), "call it bias"),
    "mask-float-nan": (heads(mask=torch.full((3, 4), NAN)), "call it bias"),
    "mask-complex": (heads(mask=ones(3, 4, dtype=torch.complex64)), "expected booleans"),
    "bias-bool": (heads(bias=ones(3, 4)), "a boolean mask is called mask"),
    "bias-int": (heads(bias=ones(3, 4, dtype=torch.int64)), "expected float numbers"),
    "bias-complex": (heads(bias=ones(3, 4, dtype=torch.complex64)), "expected float numbers"),
    **{f"sinks-{'x'.join(map(str, s))}": (heads(sinks=zeros(*s)), "expected (2,), one logit a query head")
       for s in ((), (0,), (1,), (3,), (2, 1))},
    "sinks-int": (heads(sinks=zeros(2, dtype=torch.int64)), NUMBERS),
    **{f"ids-{'x'.join(map(str, s))}": (heads(token_ids=zeros(*s, dtype=torch.int64)), "expected (1, 4), a token id")
       for s in ((0,), (5,), (2, 4))},
    "ids-float": (heads(token_ids=zeros(1, 4)), "expected whole numbers, a token id a key"),
    "ids-above": (heads(token_ids=torch.full((1, 4), 2**63, dtype=torch.uint64)), f"a number above {2**63 - 1}"),
    "heads": ({name: zeros(1, MOST_HEADS + 1, 1, 1) for name in "qkv"}, f"expected at most {MOST_HEADS} to inspect"),
    "batch": ({name: zeros(MOST_IN_ALL + 1, 1, 1, 1) for name in "qkv"}, f"at most {MOST_IN_ALL} heads in all"),
}  # fmt: skip

BAD_MODULES = {
    "W-rows": (module(q_proj__weight=zeros(0, 8)), "no axis of size 0"),
    "W-columns": (module(q_proj__weight=zeros(8, 0)), "no axis of size 0"),
    "W-rank": (module(q_proj__weight=zeros(8)), "expected (out_features, in_features)"),
    "W-int": (module(q_proj__weight=zeros(8, 8, dtype=torch.int32)), NUMBERS),
    "W-complex": (module(k_proj__weight=zeros(8, 8, dtype=torch.complex64)), NUMBERS),
    "W-features": (module(q_proj__weight=zeros(8, 7)), "7 input features; expected 8"),
    "W-heads": (module(k_proj__weight=zeros(6, 8)), "head dimension"),
    "W-cut": (module(q_proj__weight=zeros(7, 8)), "7 output features; expected a multiple of 2"),
    "bias-size": (module(q_proj__bias=zeros(7)), "a bias of shape (7,); expected (8,)"),
    "bias-rank": (module(q_proj__bias=zeros(8, 1)), "expected (out_features,)"),
    "bias-kind": (module(q_proj__bias=zeros(8, dtype=torch.int64)), NUMBERS),
    "o-features": (module(o_proj__weight=zeros(8, 7)), "7 input features; expected 8"),
    "hidden-queries": (module(hidden_states=zeros(1, 0, 8)), "no axis of size 0"),
    "hidden-batch": (module(hidden_states=zeros(0, 4, 8)), "no axis of size 0"),
    "hidden-rank": (module(hidden_states=zeros(1, 1, 4, 8)), "expected (B, S, features)"),
    "hidden-int": (module(hidden_states=zeros(1, 4, 8, dtype=torch.int64)), NUMBERS),
}


def written(folder, cases):
    """The path of each case's file."""
    paths = {name: folder / f"{name}.safetensors" for name in cases}
    for name, path in paths.items():
        save_file({key: x.contiguous() for key, x in cases[name][0].items()}, path)
    return paths


@pytest.mark.parametrize(
    ("cases", "options"), [(BAD, ()), (BAD_MODULES, ("--num-heads", "2"))], ids=["heads", "module"]
)
def test_what_is_wrong_with_a_tensor_is_one_line(tmp_path, cases, options):
    paths = written(tmp_path, cases)
    told = told_of_each(warm("check", *options, *map(str, paths.values())), list(paths.values()))
    for name, path in paths.items():
        assert cases[name][1] in told[path], (name, told[path])


@pytest.mark.parametrize("name", ["q-axis-1", "q-complex64", "lens-nan", "heads"])
def test_every_command_refuses_it_alike(tmp_path, name):
    path = written(tmp_path, {name: BAD[name]})[name]
    row = () if name == "heads" else ("--head", "0", "--query", "0")
    for command, rest in (("run", ()), ("diff", (str(path),)), ("diff", ("--against", "textbook")), ("explain", row)):
        if command == "explain" and not row:
            continue  # of one head there may be any number beside it
        refused(warm(command, str(path), *rest), names=f"{path}: ", says=BAD[name][1])
        refused_as_json(warm(command, str(path), *rest, "--json"), command, names=f"{path}: ", says=BAD[name][1])


def test_one_of_many_heads_can_be_inspected(tmp_path):
    paths = written(tmp_path, {name: BAD[name] for name in ("heads", "batch")})
    for path in paths.values():
        accepted(warm("run", str(path), "--head", "0", "--batch", "0"))


def document(ended):
    """The JSON of a run that went well; there is no NaN in it."""

    def never(constant):
        raise AssertionError(constant)

    found = json.loads(accepted(ended).stdout, parse_constant=never)
    Draft202012Validator(schema_for(found["schema"].split("/")[0].removeprefix("attn."))).validate(found)
    return found


def marked(name, value):
    """A call with one number that is not finite."""
    extra = {"bias": zeros(1, 2, 3, 4), "sinks": zeros(2)}.get(name)
    tensors = (heads() if extra is None else heads(**{name: extra})) if "." not in name else module()
    tensors = module() if name == "hidden_states" else tensors
    tensors[name].view(-1)[0] = value
    return tensors


BROKEN = {
    "q": ("q", {"batch": 0, "head": 0, "query": 0}), "k": ("k", {"batch": 0, "head": 0, "key": 0}),
    "v": ("v", {"batch": 0, "head": 0, "key": 0}), "bias": ("bias", {"batch": 0, "head": 0, "query": 0, "key": 0}),
    "sinks": ("sinks", {"head": 0}), "hidden_states": ("queries", {"batch": 0, "query": 0, "feature": 0}),
    "q_proj.weight": ("W_q.weight", {}), "k_proj.bias": ("W_k.bias", {}), "v_proj.weight": ("W_v.weight", {}),
    "o_proj.weight": ("W_o.weight", {}), "o_proj.bias": ("W_o.bias", {}),
}  # fmt: skip


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_number_that_is_not_finite_is_reported_where_it_arose(tmp_path, value):
    is_meant = {"bias": value == -INF, "sinks": value == -INF}  # it hides a key, it switches a sink off
    paths = written(tmp_path, {name: (marked(name, value),) for name in BROKEN})
    found = document(warm("check", "--json", "--num-heads", "2", *map(str, paths.values())))
    for name, (tensor, place) in BROKEN.items():
        own = [one for one in found["findings"] if one["file"] == str(paths[name]) and one["code"] == "ATTN001"]
        if is_meant.get(name):
            assert not own
        else:
            assert (own[0]["tensor"], own[0]["severity"]) == (tensor, "error")
            assert {key: own[0].get(key) for key in place} == place
            assert sum(one["tensor"] == tensor for one in own) == 1


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_file_of_nothing_else_is_told_of_by_every_command(tmp_path, value):
    path = written(tmp_path, {"x": ({name: torch.full_like(x, value) for name, x in heads().items()},)})["x"]
    row = ("--head", "0", "--query", "0")
    page = ("--html", str(tmp_path / "x.html"), "--similarity")
    for command, *rest in (("run", *page), ("check",), ("explain", *row), ("explain", *row, "--key", "1"),
                           ("diff", "--against", "textbook"), ("diff", str(path))):  # fmt: skip
        accepted(warm(command, str(path), *rest))
    found = document(warm("run", str(path), "--json", "--similarity", "--weights"))
    assert {head["label"] for head in found["data"]["heads"]} == {"broken"}


MASK = {
    "(Sq, Sk)": (heads(batch=3, mask=ones(3, 4)), {}), "(Hq, Sq, Sk)": (heads(batch=2, mask=ones(2, 3, 4)), {}),
    "(B·H, Sq, Sk)": (heads(batch=2, mask=ones(4, 3, 4)), {}),
}  # fmt: skip


def test_a_mask_that_could_be_read_in_two_ways_says_in_which_it_was(tmp_path):
    paths = written(tmp_path, {name.replace("/", ""): case for name, case in MASK.items()})
    calls = document(warm("check", "--json", *map(str, paths.values())))["data"]["calls"]
    for name, path in paths.items():
        (said,) = [one["value"] for call in calls if call["file"] == str(path) for one in call["conventions"]
                   if one["name"] == "mask"]  # fmt: skip
        assert said == f"mask: True = may attend, {name}"


GOOD = {
    "mixed": {name: x.to(dtype) for (name, x), dtype in zip(
        heads().items(), (torch.float64, torch.float16, torch.bfloat16), strict=True)},
    "float8": cast(torch.float8_e4m3fn, "qkv"), "float8-mixed": cast(torch.float8_e5m2),
    "values": heads(value_features=3), "groups": heads(heads=4, kv_heads=2), "lens-0": lens([0]),
    "lens-float": lens([2.0]), "lens-uint64": lens([2], torch.uint64),
    "lens-float8": heads(valid_lens=ones(1, dtype=torch.float8_e4m3fn)),
    "sinks-64": heads(sinks=zeros(2, dtype=torch.float64), bias=zeros(1, 1, 1, 4, dtype=torch.float16)),
    "huge": {name: x * 1e38 for name, x in heads().items()}, "tiny": {name: x * 1e-45 for name, x in heads().items()},
}  # fmt: skip


def test_what_is_unusual_but_meant_is_accepted(tmp_path):
    paths = written(tmp_path, {name: (tensors,) for name, tensors in GOOD.items()})
    found = document(warm("check", "--json", *map(str, paths.values())))
    assert len(found["data"]["calls"]) == len(GOOD)
    torch.save({name: x.transpose(1, 2).contiguous().transpose(1, 2) for name, x in heads().items()}, tmp_path / "x.pt")
    accepted(warm("run", str(tmp_path / "x.pt")))


@pytest.mark.parametrize("of", ["q", "k", "v"])
def test_numbers_at_the_ends_of_float64_are_told(tmp_path, of):
    for size in (5e-324, 1e-160, 1.7e308):
        wide = {name: x.double().clamp(-1, 1) for name, x in heads().items()}
        save_file(wide | {of: wide[of] * size}, tmp_path / "x.safetensors")
        for rest in (("--key", "2"), ("--scale", "1e10"), ("--key", "1", "--scale=1e-320")):
            accepted(warm("explain", "x.safetensors", "--head", "0", "--query", "2", *rest, cwd=tmp_path))


@pytest.mark.parametrize("sizes", [(0.0, 5e-324), (0.0, 1.79769e308), (1e-320, -1e-320), (1.7e308, -1.7e308)])
def test_differences_at_the_ends_of_float64_are_told(tmp_path, sizes):
    for name, size in zip("ab", sizes, strict=True):
        save_file({"x": torch.full((2,), size, dtype=torch.float64)}, tmp_path / f"{name}.safetensors")
    both = ("a.safetensors", "b.safetensors")
    assert accepted(warm("diff", *both, "--atol=0", "--rtol=0", "--json", cwd=tmp_path)).returncode == 1
