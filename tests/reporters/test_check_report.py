"""What the report of a check says, and its laws: nothing wider than the console, nothing that steers the terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from attn_cli.checks.types import CheckResult
from attn_cli.inputs.types import Convention
from attn_cli.inspection.types import Finding, Place
from attn_cli.reporters.terminal import render_checked, render_verdict
from tests.reporters.check_results import (
    ALIGNMENT,
    CLEAN,
    EMPTY,
    MANY,
    NAN,
    NOTED,
    RULES,
    STRICT,
    make_checked,
    make_layers,
)
from tests.reporters.consoles import plain, printed
from tests.reporters.test_width import TEXT

# Rich keeps a style's codes for the first colour system it meets: the golden files need "truecolor".
LOOKS = st.sampled_from([(None, "utf-8"), ("truecolor", "utf-8"), (None, "ascii")])
LAYERS = st.one_of(st.none(), st.integers(0, 2))


def verdict(result: CheckResult, width: int = 200) -> list[str]:
    return printed(lambda console: render_verdict(result, console), width).splitlines()


def checked(*calls: object, width: int = 200) -> str:
    return printed(lambda console: render_checked(calls, console), width)  # type: ignore[arg-type]


def test_a_clean_file_says_nothing_of_its_own() -> None:
    assert checked(make_checked(), make_checked()) == ""
    assert verdict(CLEAN)[0] == "✓ 1 call in 1 file: no findings"


def test_the_worst_comes_first() -> None:
    text = checked(make_checked(ALIGNMENT, EMPTY, NAN))
    assert text.index("ATTN001") < text.index("ATTN003") < text.index("ATTN004")
    assert text.splitlines()[0] == "layers.safetensors  1 error, 1 warning, 1 note"


def test_what_several_layers_share_is_told_once_and_counted_for_each() -> None:
    text = checked(*make_layers())
    assert text.count("ATTN003") == 1
    assert "(in layers 0-3)" in text
    assert "layer 2, tensor k, batch 1, head 3, key 4, feature 5" in text
    assert text.splitlines()[0] == "layers.safetensors  1 error, 4 warnings"


def test_calls_without_numbers_are_told_apart_by_their_prefix() -> None:
    text = checked(make_checked(EMPTY, prefix="encoder.self"), make_checked(EMPTY, prefix="decoder.cross"))
    assert "(in all 2 modules)" in text
    text = checked(*(make_checked(*[EMPTY] * (name != "c"), prefix=f"{name}.self") for name in "abc"))
    assert "(in a.self, b.self)" in text
    assert "encoder" not in checked(make_checked(EMPTY, prefix="encoder.self"))


def counted(number: int) -> Finding:
    many = number > 1
    rows = f"{number} rows have {number / 7:.3g} of the weight" if many else "1 row has 1e-05 of the weight"
    return replace(EMPTY, message=rows, place=Place(batch=0, query=number), count=number)


def test_what_differs_in_numbers_alone_is_told_once_for_all_steps_and_layers() -> None:
    calls = [
        make_checked(counted(layer + step + 1), layer=layer, prefix=f"steps.{step}.h.{layer}" if step else f"h.{layer}")
        for layer in range(1, 4)
        for step in range(8)
    ]
    text = checked(*calls)
    assert text.count("ATTN003") == 1
    assert "ATTN003  batch 0, query 2 (the first of 156 places)" in text
    assert "2 rows have 0.286 of the weight (in 24 of 24 calls, layers 1-3, first in layer 1 at step 0)" in text
    assert text.splitlines()[0] == "layers.safetensors  24 warnings"


def test_the_steps_of_one_module_keep_its_layer() -> None:
    prefixes = ["h.3", "steps.1.h.3", "steps.2.h.3"]
    calls = [make_checked(*([counted(n)] if n else []), layer=3, prefix=prefixes[n]) for n in range(3)]
    text = checked(*calls)
    assert "layer 3, batch 0, query 1 (the first of 3 places)" in text
    assert "1 row has 1e-05 of the weight (in 2 of 3 steps, first in step 1)" in text
    assert "(in step 2)" in checked(*calls[:1], make_checked(layer=3, prefix=prefixes[1]), calls[2])


def test_layers_whose_numbers_differ_are_named_with_whose_numbers_are_shown() -> None:
    calls = [make_checked(*([counted(n)] if n % 2 else []), layer=n, prefix=f"h.{n}") for n in range(6)]
    text = checked(*calls)
    assert "ATTN003  batch 0, query 1 (the first of 9 places)" in text
    assert "(in layers 1,3,5; place and numbers are those of layer 1)" in text


def test_two_findings_of_one_call_are_two() -> None:
    text = checked(make_checked(counted(2), counted(5), layer=1), make_checked(layer=2))
    assert text.count("ATTN003") == 2
    assert "layer 1, batch 0, query 5" in text


def test_the_summary_counts_calls_files_and_severities() -> None:
    assert verdict(MANY)[0] == "✗ 6 calls in 3 files: 1 error, 4 warnings, 1 note; 1 call is clean"
    assert verdict(NOTED)[0] == "1 call in 1 file: 1 note"


def test_a_strict_check_says_why_it_fails() -> None:
    assert verdict(STRICT)[0] == "✗ 1 call in 1 file: 1 warning; strict: a warning fails the check"
    assert verdict(replace(STRICT, is_strict=False))[0] == "1 call in 1 file: 1 warning"
    assert verdict(replace(NOTED, is_strict=True))[0] == "1 call in 1 file: 1 note"


def test_it_names_what_ran_how_it_was_read_and_what_was_left_out() -> None:
    lines = "\n".join(verdict(MANY))
    assert "cpu · float32 · auto → textbook · attn_cli.attention.textbook (1 call)" in lines
    assert "_scaled_dot_product_flash_attention_for_cpu (5 calls)" in lines
    assert "  read as scale 0.3536 = 1/√8 (default)\n" in lines
    assert "  differing by call, --json has each: valid lengths\n" in lines
    assert " rules" not in lines
    lines = "\n".join(verdict(STRICT))
    assert "checked batch 1, head 0,2-3 alone" in lines
    assert "1 of 5 rules, without ATTN001, ATTN002, ATTN004, ATTN005" in lines


def test_a_long_list_of_rules_names_those_that_were_looked_at() -> None:
    others = tuple(replace(RULES[0], code=f"ATTN{number:03d}") for number in range(6, 12))
    assert "  1 of 7 rules: ATTN003" in verdict(replace(STRICT, left_out=others))


@pytest.mark.parametrize("result", [CLEAN, MANY])
def test_the_worst_code_is_the_one_to_ask_about(result: CheckResult) -> None:
    asked = [line for line in verdict(result) if "--rule" in line]
    assert asked == ([] if result is CLEAN else ["  attn check --rule ATTN001 explains this code"])


@st.composite
def checks(draw: st.DrawFn) -> CheckResult:
    """Results with any text in every place that holds text from a file."""
    place = Place(draw(TEXT), 0, 1, 2, 3, 4)
    finding = Finding("ATTN001", draw(st.sampled_from(["error", "warning"])), draw(TEXT), place, 3, draw(TEXT))
    source, convention = draw(TEXT), Convention(draw(TEXT), draw(TEXT), draw(TEXT))
    calls = tuple(
        make_checked(finding, source=source, prefix=draw(TEXT), conventions=(convention,), layer=draw(LAYERS))
        for _ in range(draw(st.integers(1, 3)))
    )
    return CheckResult(calls, RULES[:2], RULES[2:], draw(st.booleans()))


@settings(deadline=None, max_examples=60)
@given(checks(), st.integers(20, 120), LOOKS)
def test_no_line_is_wider_than_the_console_nor_steers_it(
    result: CheckResult, width: int, look: tuple[str | None, str]
) -> None:
    def render(console: Console) -> None:
        render_checked(result.calls, console)
        render_verdict(result, console)

    text = plain(printed(render, width, *look))
    assert all(cell_len(line) <= width for line in text.split("\n"))
    assert all(character == "\n" or character.isprintable() for character in text)
