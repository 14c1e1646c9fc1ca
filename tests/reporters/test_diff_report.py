"""What a comparison says, at any width, and its document."""

from __future__ import annotations

import copy
import math
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from rich.cells import cell_len

from attn_cli.differences.rules import apart_texts, rounded_up
from attn_cli.reporters.json_report import diff_document
from attn_cli.reporters.schema import schema_for
from attn_cli.reporters.terminal.diff import render_diff
from attn_cli.reporters.terminal.diff_pictures import map_limits
from tests.reporters.consoles import plain, printed
from tests.reporters.diff_results import RESULTS, call, compared, result, tensor

VALIDATOR = Draft202012Validator(schema_for("diff"))
PASSING = ("within", "equal", "nan")
SEVERAL = RESULTS["layers"].calls


def text_of(name: str, width: int = 80) -> str:
    return printed(lambda console: render_diff(RESULTS[name], console), width)


@pytest.mark.parametrize("name", RESULTS)
def test_documents_validate(name: str) -> None:
    document = diff_document(RESULTS[name])
    VALIDATOR.validate(document)
    assert (document["status"], document["exit_code"]) == (("ok", 0) if name in PASSING else ("findings", 1))
    assert document["data"]["within"] == (name in PASSING)


@pytest.mark.parametrize("change", [{"exit_code": 0}, {"status": "ok"}, {"findings": []}])
def test_a_document_that_contradicts_itself_does_not_validate(change: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid({**diff_document(RESULTS["beyond"]), **change})


@pytest.mark.parametrize(
    "key",
    [
        "batch",
        "head",
        "max_abs_error",
        "max_rel_error",
        "max_ulps",
        "cosine",
        "js_divergence",
        "worst",
        "first_row",
        "nonfinite_both",
        "within",
    ],
)
def test_every_promised_key_of_a_head_is_required(key: str) -> None:
    document = copy.deepcopy(diff_document(RESULTS["beyond"]))
    del document["data"]["calls"][0]["heads"][0][key]
    assert not VALIDATOR.is_valid(document)


@pytest.mark.parametrize("key", ["left", "right", "tolerance", "tensors", "calls", "only_left", "only_right", "within"])
def test_every_promised_key_of_the_data_is_required(key: str) -> None:
    document = copy.deepcopy(diff_document(RESULTS["files"]))
    del document["data"][key]
    assert not VALIDATOR.is_valid(document)


def test_the_worst_weight_is_in_table_finding_and_verdict() -> None:
    text = text_of("beyond")
    assert "tensor weights, batch 1, head 2, query 3, key 4" in text
    assert "left 0.166667, right 0.25" in " ".join(text.split())
    assert text.splitlines()[-1] == "✗ 1 attention call: 1 differs"


def test_a_comparison_that_passes_has_no_picture_and_no_findings() -> None:
    text = text_of("within")
    assert "where the" not in text
    assert "Findings" not in text
    assert text.splitlines()[-1] == "✓ 1 attention call: equal within the tolerance"
    assert "6 heads: output equal, value for value" in text_of("equal")


def test_the_head_with_the_worst_value_is_among_those_that_are_shown() -> None:
    text = text_of("many")
    table, _, pictures = text.partition("where the output differs")
    assert re.search(r"^ +39 +✗ +5\.0e\+00", table, re.MULTILINE)
    assert "32 of 40 heads: those that differ most" in table
    assert "head 39" in pictures


def test_an_output_that_is_compared_by_name_is_shown_as_an_output() -> None:
    text = text_of("prefixes")
    assert "of each head the worst output value" in text
    assert "worst weight" not in text
    assert "JS" not in text
    assert "a.output / b.context" in text


def test_prefixes_that_are_not_the_same_are_told() -> None:
    assert "left layers.0 · right h.0" in text_of("prefixes")
    assert "left layers" not in text_of("layers")
    calls = tuple(replace(one, right=replace(one.right, prefix=f"h.{one.left.layer}")) for one in SEVERAL)
    text = printed(lambda console: render_diff(result(calls), console), 140)
    assert re.search(r"^ +layer 1 .* layers\.1 +h\.1", text, re.MULTILINE)


def test_calls_that_cannot_be_compared_say_why_under_their_heading() -> None:
    text = text_of("reason")
    assert "cannot be compared: the output is (1, 2), of the right (1, 3)" in text.split("Findings")[0]


def test_the_legend_tells_of_what_differs_in_what_is_finite() -> None:
    assert "! differs in what is finite" in text_of("odd")


def test_which_values_of_the_heads_are_listed_is_said() -> None:
    said = "of each head the worst weight: the first that differs in what is finite, else the farthest apart"
    assert said in " ".join(text_of("beyond").split())


def test_values_that_are_finite_on_neither_side_are_in_the_document() -> None:
    head = diff_document(RESULTS["nan"])["data"]["calls"][0]["heads"][0]
    assert (head["nonfinite_both"], head["within"]) == (1, True)


def test_no_tolerance_is_advised_where_none_is_finite() -> None:
    huge = compared("output", {(0, 0, 0, 0): -1.7e308, (0, 0, 0, 1): 1.7e308})
    other = replace(huge, total=replace(huge.total, needed_atol=math.inf))
    ((_, finding),) = result((call(other),)).findings
    assert finding.hint is None
    ((_, finding),) = result((call(huge),)).findings
    assert finding.hint is not None
    assert finding.hint.startswith("--atol 1.7e+308 lets")


def test_whole_numbers_are_written_out() -> None:
    assert apart_texts(2**62 + 1, 2**62) == ("4611686018427387905", "4611686018427387904")
    assert apart_texts(1.0, 2.0) == ("1", "2")


def test_the_caption_says_the_pooling() -> None:
    assert "max-pooled 13×2: each cell is the largest |left − right| of 26 values" in " ".join(text_of("long").split())
    assert "each cell is one |left − right|" in " ".join(text_of("beyond").split())


def test_what_differs_in_the_reading_is_told() -> None:
    assert "alignment · left bottom-right · right top-left" in text_of("odd")
    assert "scale" not in text_of("odd").split("Attention")[0]
    assert "auto took textbook: there is a softcap" in text_of("odd")


def test_of_many_tensors_those_that_differ_are_shown() -> None:
    tensors = tuple(tensor(f"x{number}", other="float16" if number == 7 else None) for number in range(30))
    shown = printed(lambda console: render_diff(result(tensors=tensors, is_one_input=False), console), 80)
    assert "x7 " in shown
    assert "x8" not in shown
    assert "29 tensors within the tolerance" in shown


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(sorted(RESULTS)),
    width=st.integers(20, 200),
    look=st.sampled_from(
        [(None, "utf-8"), ("truecolor", "utf-8"), ("256", "utf-8"), ("standard", "utf-8"), (None, "ascii")]
    ),
    source=st.sampled_from(["\x1b[31mx", "a\nb", "猫" * 40, "[red]x[/red]", "x" * 300]),
)
def test_no_line_is_wider_than_the_console_and_nothing_steers_it(
    name: str, width: int, look: tuple[str | None, str], source: str
) -> None:
    colours, encoding = look
    shown = replace(RESULTS[name], left=replace(RESULTS[name].left, file=source))
    text = plain(printed(lambda console: render_diff(shown, console), width, colours, encoding))
    assert all(cell_len(line) <= width for line in text.split("\n"))
    assert "\x1b" not in text


@given(st.floats(0, exclude_min=True, allow_infinity=False))
def test_a_tolerance_is_rounded_up(value: float) -> None:
    assert value <= float(rounded_up(value)) <= max(value * 1.11, value + 1e-322)
    assert float(rounded_up(value)) < math.inf


@given(st.integers(1, 500))
def test_a_map_is_small(width: int) -> None:
    rows, columns = map_limits(width)
    assert rows == 16
    assert 1 <= columns <= 32
    assert columns + 6 <= max(width, 20)
