"""What a report tells about one call and about several."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from attn_cli.attention.selection import Selection
from attn_cli.inspection.labels import LABELS
from attn_cli.inspection.types import Finding, Place, Verification
from attn_cli.reporters.terminal import render_run
from attn_cli.reporters.terminal.overview_labels import SHORT_LABELS
from attn_cli.reporters.terminal.palette import LABEL_STYLES
from attn_cli.results import RunResult
from tests.reporters.consoles import printed
from tests.reporters.results_for_tests import Case, make_call, make_result


def _text(result: RunResult, width: int = 100) -> str:
    return printed(lambda console: render_run(result, console), width)


def _section(text: str, name: str) -> str:
    start = re.search(rf"^{name}\b", text, re.MULTILINE)
    assert start is not None, f"no section {name}"
    rest = text[start.start() :]
    following = re.search(r"\n\n(?=\S)", rest)
    return rest if following is None else rest[: following.start()]


def test_the_kernel_that_ran_is_named_with_the_reason() -> None:
    text = _text(make_result(Case(backend_note="scaled_dot_product_attention has no softcap")))
    assert "auto → flash" in text
    assert "_scaled_dot_product_flash_attention_for_cpu" in text
    assert "scaled_dot_product_attention has no softcap" in text


def test_a_selection_says_what_it_is_a_part_of() -> None:
    case = Case(batch=1, heads=2, selection=Selection(batch=(3,), heads=(5, 6)))
    text = _text(make_result(case))
    assert "batch 3 of 4" in text
    assert "head 5-6 of 7" in text
    assert "head 5 · previous-token" in text


def test_a_number_that_cannot_be_formed_is_a_dash_and_a_broken_one_is_nan() -> None:
    rows = _section(_text(make_result(Case(heads=2, broken_head=1)), 160), "Metrics").splitlines()
    sound, broken = rows[2].split(), rows[3].split()
    assert sound[:2] == ["0", "previous-token"]
    assert "–" in sound
    assert "NaN" not in sound
    assert broken[1] == "broken"
    assert broken.count("NaN") == 6
    assert "–" not in broken


def test_more_than_32_heads_are_told_as_plain_means_over_the_batch() -> None:
    case = Case(batch=3, heads=12)
    call = make_call(case)
    text = _text(RunResult("run", (call,)), 160)
    assert "pictures of batch 0-1 alone; --batch 2 shows the others" in text
    assert "batch 2\n" not in text
    table = _section(text, "Metrics")
    assert "plain means over batch 0-2" in table
    entropies = call.inspection.metrics["entropy"].numpy().mean(axis=0)
    column = table.splitlines()[1].index("entropy")
    shown = [float(line[column : column + len("entropy")]) for line in table.splitlines()[2:14]]
    assert shown == pytest.approx(list(entropies), abs=0.0051)


def test_up_to_32_heads_have_a_row_each() -> None:
    text = _text(make_result(Case(batch=2, heads=12)))
    assert "plain means" not in text
    assert "shows the others" not in text


def test_a_column_that_no_head_has_is_left_out() -> None:
    without = _section(_text(make_result(Case()), 200), "Metrics")
    with_sinks = _section(_text(make_result(Case(has_sinks=True)), 200), "Metrics")
    assert "learned sink" not in without
    assert "learned sink" in with_sinks
    assert "nonfinite" not in without


def test_the_legend_gives_the_units() -> None:
    table = _section(_text(make_result(Case()), 200), "Metrics")
    assert "entropy: nats" in table
    assert "span, dist.: keys" in table


def test_pairs_are_named_by_tokens_where_queries_are_keys() -> None:
    tokens = (("it", "sat", "cat", "."),)
    square = make_result(Case(heads=1, queries=4, keys=4, tokens=tokens))
    cross = make_result(Case(heads=1, queries=3, keys=4, tokens=tokens))
    assert re.search(r"cat → it \.\d\d", _section(_text(square), "Strongest pairs"))
    assert re.search(r"\d → it \.\d\d", _section(_text(cross), "Strongest pairs"))


def test_a_head_without_visible_keys_has_no_pairs() -> None:
    case = Case(batch=2, valid_lens=(0, 2))
    assert "no visible key" in _section(_text(make_result(case)), "Strongest pairs")


def test_findings_stand_worst_first_with_place_count_and_hint() -> None:
    findings = (
        Finding("ATTN004", "info", "the third"),
        Finding("ATTN003", "warning", "the second", Place(batch=1, query=17), 4),
        Finding("ATTN001", "error", "the first", Place("q", 0, 3, 5), 1, "what to do", layer=2),
    )
    section = _section(_text(make_result(Case(findings=findings))), "Findings")
    assert section.index("the first") < section.index("the second") < section.index("the third")
    assert "layer 2, tensor q, batch 0, head 3, query 5\n" in section
    assert "batch 1, query 17 (the first of 4 places)" in section
    assert "hint: what to do" in section
    assert "1 error, 1 warning, 1 note" in section


def test_no_findings_are_said() -> None:
    assert "No findings" in _text(make_result(Case()))


@pytest.mark.parametrize(
    ("verification", "expected"),
    [
        (
            Verification(2.4e-7, "flash", 0, Place(), 1e-5),
            "✓ weights shown × V equal the output of flash within 2.4e-07",
        ),
        (Verification(0.0, "math", 0, Place(), 1e-5), "✓ weights shown × V equal the output of math within 0"),
        (
            Verification(0.5, "flash", 0, Place(None, 0, 3, 17), 1e-5),
            "✗ weights shown × V differ from the output of flash by 5.0e-01 at batch 0, head 3, query 17",
        ),
        (
            Verification(1e-7, "flash", 12, Place(None, 0, 3, 17), 1e-5),
            "12 values finite in one of the two only, first at batch 0, head 3, query 17",
        ),
        (Verification(float("nan"), "flash", 0, Place(), 0.0), "hold a finite value"),
    ],
)
def test_the_weights_shown_are_checked_against_the_kernel(verification: Verification, expected: str) -> None:
    assert expected in _text(make_result(Case(verification=verification)), 200)


def test_time_gives_median_spread_and_runs() -> None:
    assert "attention 0.50 ms (IQR 0.25 ms, 3 runs)" in _section(_text(make_result(Case())), "Time")
    call = make_call(Case())
    single = replace(call, timing=replace(call.timing, attention=(0.5,)))
    assert "attention 0.50 ms (1 run)" in _section(_text(RunResult("run", (single,))), "Time")


def test_similarity_is_shown_where_it_was_asked_for() -> None:
    assert "Similarity" not in _text(make_result(Case()))
    assert "0  .25" in _section(_text(make_result(Case(with_similarity=True))), "Similarity of heads")


def test_unused_tensors_are_one_line() -> None:
    call = make_call(Case())
    infos = tuple(replace(call.call.tensors[0], name=f"norm.{number}", role=None) for number in range(5))
    text = _text(RunResult("run", (replace(call, call=replace(call.call, unused=infos)),)))
    assert "not used: norm.0, norm.1, norm.2 and 2 tensors more\n" in text


def _layers(count: int, **options: object) -> RunResult:
    return make_result(*(Case(layer=layer, prefix=f"layers.{layer}", **options) for layer in range(count)))  # type: ignore[arg-type]


def test_several_layers_open_with_an_overview_and_no_pictures() -> None:
    text = _text(_layers(4, heads=3))
    assert "head 0 ·" not in text
    assert _section(text, "Heads").splitlines()[2].split() == ["0", "prev", "sink", "mix"]
    assert _section(text, "Layers").splitlines()[2].split()[:6] == ["0", "1,", "3,", "3,", "4", "flash"]
    assert "--layer 0" in text


def test_twelve_heads_fit_into_80_columns() -> None:
    heads = _section(_text(_layers(3, heads=12, batch=2), 80), "Heads")
    assert heads.splitlines()[1].split() == ["layer", *(f"h{number}" for number in range(12))]


def test_a_label_that_not_every_batch_item_has_bears_a_star() -> None:
    heads = _section(_text(_layers(2, heads=3, batch=2)), "Heads")
    assert "sink*" in heads
    assert "prev*" not in heads
    assert "* most batch items" in heads


def test_the_layer_with_findings_is_the_one_to_open() -> None:
    finding = Finding("ATTN002", "error", "a broken row", Place(head=1))
    cases = [Case(layer=layer, findings=(finding,) if layer == 2 else ()) for layer in range(4)]
    text = _text(make_result(*cases))
    assert "--layer 2" in text
    assert "layer 2, head 1" in text


def test_calls_without_a_number_are_known_by_their_prefix() -> None:
    finding = Finding("ATTN002", "error", "a broken row")
    text = _text(make_result(Case(prefix="encoder"), Case(prefix="decoder", findings=(finding,))))
    assert "--prefix decoder" in text
    assert "a broken row (in decoder)" in text


def test_the_same_finding_in_many_layers_is_told_once() -> None:
    finding = Finding("ATTN003", "warning", "an empty row")
    text = _text(_layers(5, findings=(finding,)))
    assert text.count("an empty row") == 1
    assert "an empty row (in layers 0-4)" in text


def test_a_flood_of_findings_is_cut_and_counted() -> None:
    findings = tuple(Finding("ATTN003", "warning", f"the {number}th") for number in range(20))
    text = _text(make_result(Case(layer=0, findings=findings), Case(layer=1)))
    assert text.count("ATTN003") == 12
    assert "and 8 more" in text


def test_every_label_has_a_short_form_and_a_style() -> None:
    names = {label.name for label in LABELS}
    assert names <= set(SHORT_LABELS)
    assert names <= set(LABEL_STYLES)
    assert len(set(SHORT_LABELS.values())) == len(SHORT_LABELS)
