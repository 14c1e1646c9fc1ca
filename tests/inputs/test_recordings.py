"""Captures of ``attn record``: steps, and where a call was made."""

import json

import pytest
import torch

from attn_cli.checks import CHECKS
from attn_cli.checks.runner import check_call
from attn_cli.errors import InputError
from attn_cli.inputs import plans as planning
from attn_cli.inputs.names import with_step
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.source import open_calls
from attn_cli.main import main
from attn_cli.pipeline import RunOptions, run_call
from tests.inputs.captures import MODULE, SITE, call, capture, compared, generation
from tests.inputs.files import heads, load, load_all, refusal, said, write


def read(path, **options):
    with open_calls(ReadOptions(file=path, **options)) as source:
        return [(plan.layer, plan.prefix) for plan in source.plans]


def test_the_steps_of_a_module_stand_together_in_the_order_of_their_numbers(tmp_path):
    path = generation(tmp_path / "c.safetensors")
    steps = (0, 1, 2, 9, 10, 11)
    third = [(3, with_step(MODULE, step)) for step in steps]
    tenth = [(10, with_step("model.layers.10.self_attn", step)) for step in steps]
    assert read(path) == third + tenth
    found = load_all(path)
    assert [one.step for one in found] == [*steps, *steps]
    assert {one.module for one in found} == {MODULE, "model.layers.10.self_attn"}


def test_layer_and_prefix_mean_every_step_and_step_some_of_them(tmp_path):
    path = generation(tmp_path / "c.safetensors")
    third = [(3, with_step(MODULE, step)) for step in (0, 1, 2, 9, 10, 11)]
    assert read(path, layer=3) == read(path, prefix=MODULE) == read(path, prefix="model.layers.3") == third
    assert read(path, layer=3, steps=(9, 0)) == [third[0], third[3]]
    assert [layer for layer, _ in read(path, steps=(11,))] == [3, 10]
    assert read(path, prefix="steps.9") == [third[3], (10, with_step("model.layers.10.self_attn", 9))]
    assert read(path, prefix=third[4][1]) == [third[4]]


def test_a_step_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    path = generation(tmp_path / "c.safetensors")
    assert "c.safetensors: no call in --step 3; expected one of the steps 0-2, 9-11" in refusal(path, steps=(1, 3))
    plain = write(tmp_path / "x.safetensors", heads(prefix="layers.0."))
    assert read(plain, steps=(0,)) == [(0, "layers.0")]
    assert "no call in --step 1; expected one of the steps 0" in refusal(plain, steps=(1,))


def test_a_module_that_was_called_less_often_has_none_of_the_later_steps(tmp_path):
    path = capture(tmp_path / "c.safetensors", call(), call(step=1), call("model.encoder"))
    assert read(path, steps=(1,)) == [(3, with_step(MODULE, 1))]


def numbered(module, number, step=0):
    return call(module, step, {"call": json.dumps(SITE | {"number": number, "step": step, "module": module})})


def test_modules_come_in_the_order_in_which_the_program_ran_them(tmp_path):
    order = ["enc.0.attn", "enc.1.attn", "dec.0.self", "dec.0.cross", "dec.1.self", "dec.1.cross"]
    calls = [numbered(module, number) for number, module in enumerate(order)]
    later = [numbered(module, 6 + number, step=1) for number, module in enumerate(order[2:])]
    path = capture(tmp_path / "c.safetensors", *later, *calls[::-1])
    steps = {module: 1 if module.startswith("enc") else 2 for module in order}
    expected = [with_step(module, step) for module in order for step in range(steps[module])]
    assert [prefix for _, prefix in read(path)] == expected
    unknown = capture(tmp_path / "u.safetensors", *later, *calls[:0:-1], call(order[0], metadata={"call": "{}"}))
    assert [prefix for _, prefix in read(unknown)][:2] == ["dec.0.cross", "steps.1.dec.0.cross"]


def test_a_layer_of_two_modules_is_both_and_explain_asks_for_one(tmp_path, capsys):
    path = generation(tmp_path / "c.safetensors", modules=("dec.3.self_attn", "dec.3.cross_attn"))
    assert len(read(path, layer=3)) == 12
    assert main(["run", path, "--layer", "3"]) == 0
    assert "dec.3.cross_attn" in capsys.readouterr().out
    assert main(["explain", path, "--layer", "3", "--head", "0", "--query", "0"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "found 12 attention calls; expected --prefix, one of dec.3.cross_attn, dec.3.self_attn" in said
    assert len(read(path, layer=3, prefix="dec.3.cross_attn")) == 6


def test_a_file_with_the_weights_gives_every_step_its_own_layers(tmp_path):
    weights = {}
    for layer in (3, 10):
        weights[f"model.layers.{layer}.self_attn.o_proj.weight"] = torch.full((6, 32), layer, dtype=torch.float64)
    path = generation(tmp_path / "c.safetensors")
    found = load_all(path, weights_file=write(tmp_path / "w.safetensors", weights))
    for one in found:
        assert one.inputs.output_projection.weight.unique().tolist() == [one.layer]


def test_weights_are_looked_for_once_a_module_not_once_a_call(tmp_path, monkeypatch):
    looked, real = [], planning.nearest_projections
    monkeypatch.setattr(planning, "nearest_projections", lambda *a, **k: looked.append(a) or real(*a, **k))
    path = generation(tmp_path / "c.safetensors", steps=range(40))
    assert len(read(path)) == 80
    assert len(looked) <= 4


def test_explain_asks_for_the_step_and_lists_those_that_there_are(tmp_path, capsys):
    path = generation(tmp_path / "c.safetensors")
    assert main(["explain", path, "--layer", "3", "--head", "1", "--query", "0"]) == 2
    message = capsys.readouterr().err
    assert "found 6 steps of layer 3; expected --step, one of 0-2, 9-11" in message
    assert "add --step 0, or another" in message
    assert main(["explain", path, "--head", "1", "--query", "0"]) == 2
    assert "found 2 layers; expected --layer, one of 3, 10" in capsys.readouterr().err
    assert main(["explain", path, "--layer", "3", "--step", "9", "--head", "1", "--query", "0"]) == 0
    assert "steps.9.model.layers.3.self_attn" in capsys.readouterr().out


def test_explain_names_a_module_without_a_layer_by_its_path(tmp_path, capsys):
    path = generation(tmp_path / "c.safetensors", modules=("attn",))
    assert main(["explain", path, "--head", "1", "--query", "0"]) == 2
    assert "found 6 steps of attn; expected --step" in capsys.readouterr().err


def test_run_and_check_take_every_step(tmp_path, capsys):
    path = generation(tmp_path / "c.safetensors")
    assert main(["run", path, "--layer", "3", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert len({head["prefix"] for head in data["heads"]}) == 6
    assert main(["check", path, "--step", "0,9-11", "--json"]) in (0, 1)
    assert len(json.loads(capsys.readouterr().out)["data"]["calls"]) == 8


def test_diff_pairs_calls_by_module_and_step(tmp_path):
    left = generation(tmp_path / "a.safetensors")
    right = generation(tmp_path / "b.safetensors", steps=(0, 1, 2, 3, 9))
    result = compared(left, right)
    assert all(one.left.prefix == one.right.prefix for one in result.calls)
    assert len(result.calls) == 8
    modules = (MODULE, "model.layers.10.self_attn")
    assert set(result.calls_only_left) == {with_step(module, step) for step in (10, 11) for module in modules}
    assert len(result.calls_only_right) == 2


def test_diff_pairs_renamed_modules_by_layer_and_step(tmp_path):
    left = generation(tmp_path / "a.safetensors", steps=(0, 1, 2))
    right = generation(tmp_path / "b.safetensors", steps=(0, 1, 2), modules=("h.3.attn", "h.10.attn"))
    result = compared(left, right)
    assert [(one.left.layer, one.left.step) for one in result.calls] == [
        (one.right.layer, one.right.step) for one in result.calls
    ]
    assert len(result.calls) == 6
    assert result.within


def test_diff_compares_the_tensors_of_the_asked_steps_alone(tmp_path):
    left, right = generation(tmp_path / "a.safetensors"), generation(tmp_path / "b.safetensors")
    result = compared(left, right, layer=3, steps=(9,))
    assert {one.left.name.rpartition(".")[0] for one in result.tensors} == {with_step(MODULE, 9)}
    assert [one.left.prefix for one in result.calls] == [with_step(MODULE, 9)]
    with pytest.raises(InputError, match="no call in --step 5"):
        compared(left, right, steps=(5,))


def test_no_call_has_the_lengths_or_the_mask_of_another(tmp_path):
    first, texts = call(metadata={"causal": "true", "causal_align": "top-left", "window": "2,0", "softcap": "3"})
    first[f"{MODULE}.valid_lens"] = torch.tensor([2, 3])
    first[f"{MODULE}.mask"] = torch.ones(5, 7, dtype=torch.bool)
    first[f"{MODULE}.sinks"] = torch.zeros(4)
    first[f"{MODULE}.token_ids"] = torch.zeros(2, 7, dtype=torch.int64)
    other = "model.layers.3.cross_attn"
    path = capture(tmp_path / "c.safetensors", (first, texts), call(step=1), call(other), call(other, step=1))
    for one in load_all(path):
        mask = one.inputs.rules.mask
        is_first = one.prefix == MODULE
        assert (mask.valid_lens is not None, mask.keep is not None) == (is_first, is_first)
        assert (mask.causal, mask.window) == ((True, (2, 0)) if is_first else (False, None))
        assert (one.inputs.rules.sinks is not None, one.inputs.token_ids is not None) == (is_first, is_first)
        assert one.inputs.rules.softcap == (3 if is_first else None)


@pytest.mark.parametrize("align", ["top-left", "bottom-right", "0"])
@pytest.mark.parametrize("rule", [{"causal": "true"}, {"causal": "false", "window": "3,0"}])
def test_a_capture_says_how_order_is_aligned_so_that_nothing_was_chosen_for_it(tmp_path, align, rule):
    path = capture(tmp_path / "c.safetensors", call(metadata=rule | {"causal_align": align}))
    one = load(path)
    assert one.align_chosen
    result = run_call(one, RunOptions("cpu"), 0.0)
    assert all("align" not in finding.message for finding in result.inspection.findings)


def test_a_decoding_step_without_order_has_no_finding_about_alignment(tmp_path):
    path = generation(tmp_path / "c.safetensors")
    for one in load_all(path):
        checked = check_call(one, CHECKS, RunOptions("cpu"))
        assert all("align" not in finding.message for finding in checked.findings)


def test_where_a_call_was_made_is_told(tmp_path):
    one = load(capture(tmp_path / "c.safetensors", call()))
    expected = "call 12 by transformers/integrations/sdpa_attention.py:92 in forward · scaled_dot_product_attention"
    assert said(one, "recorded") == [(expected, "metadata")]
    assert said(one, "dropout") == []


def site_of(tmp_path, text):
    return load(capture(tmp_path / "c.safetensors", call(metadata={"call": text})))


def test_dropout_in_the_program_is_told(tmp_path):
    one = site_of(tmp_path, json.dumps(SITE | {"dropout": 0.1}))
    assert said(one, "dropout") == [("weights were dropped with p 0.1 in the program; shown before", "metadata")]


@pytest.mark.parametrize("text", ["", "{", "[1]", "12", '"x"', "[" * 100_000, json.dumps({"a": "b" * 70_000})])
def test_a_broken_call_site_is_no_fault_and_it_is_said(tmp_path, text):
    ((told, _),) = said(site_of(tmp_path, text), "recorded")
    assert told == f"not told: {MODULE}.call is no JSON object"


def test_a_hostile_call_site_is_shown_harmlessly(tmp_path, capsys):
    hostile = {"number": -3, "caller": "\x1b[31m[bold]x\n\u202ey" + "z" * 500, "function": ["f"], "dropout": "NaN"}
    path = capture(tmp_path / "c.safetensors", call(metadata={"call": json.dumps(hostile)}))
    ((told, _),) = said(load(path), "recorded")
    assert told.startswith("by \\x1b[31m[bold]x\\n\\u202ey")
    assert len(told) < 200
    assert main(["run", path]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "[bold]x" in "".join(printed.split())


@pytest.mark.parametrize("site", [{}, {"number": 3}, {"number": True, "caller": 7}, {"dropout": float("nan")}])
def test_what_a_call_site_does_not_say_is_left_out(tmp_path, site):
    found = said(site_of(tmp_path, json.dumps(site)), "recorded")
    assert found == ([("call 3", "metadata")] if "number" in site and site["number"] == 3 else [])


def test_the_site_of_one_call_is_not_that_of_what_stands_in_it(tmp_path):
    path = write(tmp_path / "x.safetensors", heads(prefix="layers.0."), {"call": json.dumps(SITE)})
    assert said(load(path), "recorded") == []
