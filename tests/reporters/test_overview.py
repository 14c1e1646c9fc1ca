"""The overview of many layers and steps: a line a module, any metric as a table, rankings, and what to open."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from attn_cli.inspection.types import Finding, Verification
from attn_cli.reporters.json_report import run_document
from attn_cli.reporters.terminal import render_run
from attn_cli.results import CallResult, RunResult
from tests.reporters.consoles import ANSI, plain, printed
from tests.reporters.results_for_tests import Case, make_call, make_result
from tests.reporters.step_captures import prefix_of


def _call(layer: int, step: int, **options: object) -> CallResult:
    case = Case(layer=layer, prefix=prefix_of(layer, step), **options)  # type: ignore[arg-type]
    return make_call(case)


def _steps(layers: int, steps: int, heads: int = 3) -> RunResult:
    """A prefill of four queries, then one query a step."""
    sizes = [(4 if step == 0 else 1, 4 + step) for step in range(steps)]
    calls = (
        _call(layer, step, heads=heads, queries=queries, keys=keys)
        for layer in range(layers)
        for step, (queries, keys) in enumerate(sizes)
    )
    return RunResult("run", tuple(calls))


def _with_labels(call: CallResult, *labels: str) -> CallResult:
    return replace(call, inspection=replace(call.inspection, labels=(labels,)))


def _text(result: RunResult, width: int = 100, colours: str | None = None) -> str:
    return printed(lambda console: render_run(result, console), width, colours)


def _section(text: str, name: str) -> list[str]:
    lines = text[re.search(rf"^{name}\b", text, re.MULTILINE).start() :].splitlines()  # type: ignore[union-attr]
    end = next((i for i, line in enumerate(lines[1:], 1) if line and not line.startswith(" ")), len(lines))
    return lines[:end]


def test_a_thousand_steps_are_a_line_a_module() -> None:
    lines = _section(_text(_steps(3, 1000)), "Layers")
    assert [line.split()[:2] for line in lines[2:5]] == [[str(layer), "1000"] for layer in range(3)]
    assert "1, 3, 1–4, 4–1003" in lines[2]


def test_the_line_of_a_module_sums_up_its_steps() -> None:
    wrong = Verification(0.5, "math", 0, replace(make_call(Case()).verification.place), 1e-5)
    second = replace(_call(0, 1), verification=wrong, backend_ran="math")
    finding = Finding("ATTN003", "warning", "empty")
    third = replace(_call(0, 2, findings=(finding, finding)))
    line = _section(_text(RunResult("run", (_call(0, 0), second, third, _call(1, 0)))), "Layers")[2]
    assert "flash, math" in line
    assert "1.50 ms" in line  # three medians of half a millisecond
    assert "5.0e-01 ✗" in line
    assert line.split()[-1] == "2"


def test_a_label_that_not_every_step_has_bears_a_star_and_a_broken_step_is_not_hidden() -> None:
    labels = (("sink", "self"), ("sink", "self"), ("self", "broken"))
    calls = tuple(_with_labels(_call(0, step), *labels[step]) for step in range(3))
    table = _section(_text(RunResult("run", (*calls, _call(1, 0)))), "Heads")
    assert table[2].split() == ["0", "sink*", "BAD*"]
    assert "* most steps, not all" in " ".join(table)
    assert "BAD* broken in some" in " ".join(table)


def test_the_few_steps_of_one_module_are_a_line_each() -> None:
    lines = _section(_text(_steps(1, 4)), "Heads")
    assert lines[0].startswith("Heads of layer 0  ")
    assert lines[1].split() == ["step", "h0", "h1", "h2"]
    assert [line.split()[0] for line in lines[2:6]] == ["0", "1", "2", "3"]
    assert "--layer 0 --step 0" in _text(_steps(1, 4))


def test_many_steps_of_one_module_are_one_line() -> None:
    assert len([line for line in _section(_text(_steps(1, 200)), "Layers") if "flash" in line]) == 1


def test_the_table_of_the_layers_has_heads_that_no_layer_is_taken_for() -> None:
    result = replace(_steps(3, 1, heads=2), metric="entropy")
    heads, metric = _section(_text(result), "Heads"), _section(_text(result), "entropy")
    assert heads[0].startswith("Heads  ")
    assert heads[1].split() == metric[1].split() == ["layer", "h0", "h1"]


def test_where_one_layer_is_shown_its_metric_names_it() -> None:
    text = _text(replace(_steps(1, 3), metric="entropy"))
    assert "\nentropy of layer 0" in text


@pytest.mark.parametrize(("steps", "said"), [(5, "--layer 0 shows its steps, a line each."), (1, ""), (200, "")])
def test_the_last_line_says_how_to_see_the_steps(steps: int, said: str) -> None:
    text = " ".join(_text(_steps(2, steps)).split())
    assert ("a line each" in text) == (steps > 1)
    said = "--layer 0 --step 0-31 shows its first 32 steps, a line each." if steps == 200 else said
    assert text.endswith(said)


def test_the_steps_to_see_are_those_that_are_there() -> None:
    result = _steps(1, 80)
    text = " ".join(_text(replace(result, calls=result.calls[40:])).split())
    assert text.endswith("--layer 0 --step 40-71 shows its first 32 steps, a line each.")


def test_a_star_is_explained_where_there_is_one() -> None:
    agreeing = tuple(_with_labels(_call(layer, step), "sink", "self") for layer in range(2) for step in range(2))
    assert "not all" not in _text(RunResult("run", agreeing))


def test_steps_are_in_their_order_whatever_the_file_has() -> None:
    result = _steps(1, 12)
    shuffled = replace(result, calls=result.calls[::-1])
    names = [line.split()[0] for line in _section(_text(shuffled), "Heads")[2:14]]
    assert names == [str(step) for step in range(12)]


def test_modules_with_one_number_are_called_by_their_path() -> None:
    calls = [make_call(Case(layer=0, prefix=f"{name}.0.attn")) for name in ("enc", "dec")]
    later = make_call(Case(layer=0, prefix="steps.3.dec.0.attn", findings=(Finding("ATTN003", "warning", "empty"),)))
    text = _text(RunResult("run", (*calls, later)))
    assert _section(text, "Heads")[3].split()[0] == "dec.0.attn"
    assert "--prefix steps.3.dec.0.attn shows every head of dec.0.attn at step 3" in text


def test_a_finding_of_many_steps_and_layers_is_told_once() -> None:
    calls = [
        _call(layer, step, findings=(Finding("ATTN003", "warning", f"{step + 2} rows are empty", count=step + 2),))
        for layer in range(3)
        for step in range(5)
    ]
    text = " ".join(_text(RunResult("run", tuple(calls))).split())
    assert text.count("ATTN003") == 1
    assert "2 rows are empty (in 15 of 15 calls, layers 0-2, first in layer 0 at step 0)" in text


def test_a_metric_is_a_table_of_its_means() -> None:
    result = make_result(*(Case(batch=2, heads=4, layer=layer) for layer in range(3)))
    table = _section(_text(replace(result, metric="confidence")), "confidence")
    assert "plain means over batch items" in table[0]
    shown = [[float(number) for number in line.split()[1:]] for line in table[2:5]]
    expected = [call.inspection.metrics["confidence"].mean(dim=0).tolist() for call in result.calls]
    assert np.allclose(shown, expected, atol=0.0051)
    caption = " ".join(" ".join(table[5:]).split())
    lowest, highest = np.min(expected), np.max(expected)
    assert f"lowest {lowest:.2f} · highest {highest:.2f} · from 0 to 1" in caption
    assert "Mean of maxⱼ Aᵢⱼ over the query rows" in caption


def test_the_lowest_value_is_darkest_and_the_highest_brightest() -> None:
    result = replace(make_result(*(Case(heads=4, layer=layer) for layer in range(2))), metric="confidence")
    text = _text(result, colours="truecolor")
    assert plain(text) == _text(result)
    start = text.index("plain means") if "plain means" in text else text.index("confidence")
    cells = re.findall(r"\x1b\[38;2;\d+;\d+;\d+;48;2;(\d+);(\d+);(\d+)m *(\d\.\d\d)", text[start:])[:8]
    brightness = {float(value): sum(map(int, colour)) for *colour, value in cells}
    assert len(cells) == 8
    assert brightness[min(brightness)] == min(brightness.values())
    assert brightness[max(brightness)] == max(brightness.values())


def test_a_metric_that_reads_the_same_everywhere_has_no_colours() -> None:
    calls = tuple(make_call(Case(layer=layer)) for layer in range(2))
    for call in calls:
        call.inspection.metrics["confidence"].fill_(0.5).add_(torch.tensor([0.0, 1e-9], dtype=torch.float64))
    text = _text(RunResult("run", calls, "confidence"), colours="truecolor")
    table = text[text.index("confidence") : text.index("Worth")]
    assert "48;2" not in table


def test_a_metric_that_no_head_has_says_what_it_needs() -> None:
    result = replace(make_result(Case(layer=0), Case(layer=1)), metric="induction_score")
    assert "no head has a value: it needs token ids" in _text(result)


def test_a_broken_head_is_nan_in_the_metric_and_one_without_a_value_a_dash() -> None:
    result = replace(make_result(Case(layer=0, broken_head=1), Case(layer=1)), metric="entropy")
    assert _section(_text(result), "entropy")[2].split()[2] == "NaN"
    assert "–" in _section(_text(replace(result, metric="self_score")), "Heads")[-1] or "no head has a value" in _text(
        replace(result, metric="self_score")
    )


@pytest.mark.parametrize("order", ["high", "low"])
def test_a_ranking_begins_with_the_extreme_and_counts_the_rest(order: str) -> None:
    result = make_result(*(Case(heads=12, layer=layer) for layer in range(4)))
    text = _text(replace(result, metric="confidence", order=order))
    lines = _section(text, "Highest|Lowest" if order == "high" else "Lowest")
    values = [float(line.split()[-1]) for line in lines[2:22]]
    every = sorted(v for c in result.calls for v in c.inspection.metrics["confidence"].flatten().tolist())
    expected = every[::-1][:20] if order == "high" else every[:20]
    assert values == pytest.approx(expected, abs=0.0051)
    assert "and 28 heads more" in lines[22]


def test_eighty_layers_of_sixty_four_heads_fit_any_width() -> None:
    result = make_result(*(Case(heads=64, queries=2, keys=2, layer=layer) for layer in range(80)))
    text = _text(replace(result, metric="entropy"), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert sum(line.strip().startswith("79 ") for line in text.splitlines()) >= 10


def test_a_single_call_has_the_metric_first_and_sorted() -> None:
    result = RunResult("run", (make_call(Case(heads=6)),), "attention_distance", "high")
    lines = _section(_text(result, 200), "Metrics")
    assert lines[1].split()[:3] == ["head", "label", "dist."]
    values = [float(line.split()[2]) for line in lines[2:8]]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) > 2
    assert "attention_distance: Mean of Σⱼ" in " ".join(lines)


def test_a_metric_that_has_no_column_of_its_own_gets_one_where_asked_for() -> None:
    call = make_call(Case(heads=2))
    metrics = {**call.inspection.metrics, "distance_ratio": torch.tensor([[0.5, 1.5]], dtype=torch.float64)}
    call = replace(call, inspection=replace(call.inspection, metrics=metrics))
    assert "distance ratio" not in _text(RunResult("run", (call,)), 200)
    assert "distance ratio" in _text(RunResult("run", (call,), "distance_ratio"), 200)


def test_a_single_call_without_the_metric_says_what_it_needs() -> None:
    text = " ".join(_text(RunResult("run", (make_call(Case()),), "learned_sink_mass", "low")).split())
    assert "learned_sink_mass: no head has a value: it needs learned sinks" in text


def _changing() -> RunResult:
    labels = ("sink", "sink", "self", "self", "self")
    calls = tuple(_with_labels(_call(2, step), "broad", labels[step]) for step in range(5))
    return RunResult("run", (_with_labels(_call(0, 0), "broad", "broad"), *calls))


def test_what_is_worth_looking_at_says_why_and_how_to_open_it() -> None:
    text = " ".join(" ".join(_section(_text(_changing(), 200), "Worth looking at")).split())
    assert "changing --layer 2 --head 1 its label changes over 5 calls: self in 3, sink in 2" in text


def test_a_broken_head_is_opened_where_it_is_broken() -> None:
    calls = (_call(0, 0, batch=2), _call(1, 0, batch=2), _call(1, 1, batch=2, broken_head=1))
    lines = _section(_text(RunResult("run", calls), 200), "Worth looking at")
    assert "--layer 1 --step 1 --head 1 --batch 0" in lines[1]


def test_nothing_is_worth_looking_at_where_all_is_broad() -> None:
    calls = tuple(_with_labels(make_call(Case(layer=layer)), "broad", "broad") for layer in range(2))
    assert "no head stands out" in _text(RunResult("run", calls))
    assert run_document(RunResult("run", calls))["data"]["worth_looking_at"] == []


def test_the_json_has_the_same_with_module_and_step() -> None:
    data = run_document(_changing())["data"]
    one = next(one for one in data["worth_looking_at"] if one["kind"] == "changing")
    assert (one["layer"], one["module"], one["step"], one["head"]) == (2, "enc.layer.2.attn", None, 1)
    assert one["value"] == pytest.approx(0.4)
    assert [(head["module"], head["step"]) for head in data["heads"][-2:]] == [("enc.layer.2.attn", 4)] * 2
    assert data["layers"][-1]["step"] == 4


def test_no_colour_is_needed() -> None:
    assert ANSI.search(_text(replace(_steps(2, 3), metric="entropy", order="low"))) is None
