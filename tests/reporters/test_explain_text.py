"""A reader with a calculator: every printed line follows from the printed ones above it."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from attn_cli.explanation import Explanation
from attn_cli.reporters.terminal import render_explanation
from attn_cli.reporters.terminal.explain_digits import Shown, formed, power_above, power_below, significant
from attn_cli.reporters.terminal.explain_digits import given as setting
from tests.attention.calls import make_call
from tests.explanation.told import full, tell
from tests.reporters.consoles import plain, printed
from tests.reporters.explain_results import EXPLANATIONS, TOKENS

NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
FORMULA = re.compile(rf"(?:{NUMBER}|exp|tanh|ln|sqrt|\*\*2|[-+*/() ])+")
LAST_DIGITS = 2.5  # "within the last digit or two" of a product or a quotient
OF_A_SUM = 6.5  # of a column of rounded numbers


def page(told: Explanation, width: int = 240) -> list[str]:
    return plain(printed(lambda console: render_explanation(told, console), width)).splitlines()


def python(text: str) -> str:
    for ours, theirs in (("·", "*"), ("−", "-"), ("²", "**2")):
        text = text.replace(ours, theirs)
    return re.sub(r"√(\d+)", r"sqrt(\1)", text)


def value(text: str) -> float | None:
    """What a formula of printed numbers gives; None for anything else, such as a name or a NaN."""
    formula = python(text)
    if not re.search(r"\d", formula) or not FORMULA.fullmatch(formula):
        return None
    names: dict[str, Any] = {"exp": math.exp, "tanh": math.tanh, "ln": math.log, "sqrt": math.sqrt}
    return float(eval(formula, {"__builtins__": {}}, names))


def unit(text: str) -> float:
    """What one step of the last digit is worth."""
    mantissa, _, exponent = text.partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def assert_follows(found: float, printed_number: str, steps: float = LAST_DIGITS) -> None:
    if printed_number == "0":  # so little that float64 has no number for it, or nothing at all
        assert found == pytest.approx(0, abs=1e-300) or found < 1e-300
        return
    assert abs(found - float(printed_number)) <= steps * unit(printed_number), (found, printed_number)


def equations(lines: list[str]) -> int:
    """Check every line of the form "name = formula = number"; how many there were."""
    checked = 0
    for line in lines:
        parts = [part.strip() for part in line.split(",")[0].rstrip(":").split(" = ")]
        for formula, result in pairwise(parts):
            found = value(formula)
            if found is not None and re.fullmatch(NUMBER, result):
                assert_follows(found, result)
                checked += 1
    return checked


def tables(lines: list[str], head: str) -> list[list[list[str]]]:
    """The rows of every table whose first column is called ``head``, as words."""
    found = []
    for start, line in enumerate(lines):
        if line.split()[:1] == [head]:
            rows: list[list[str]] = []
            for row in lines[start + 1 :]:
                words = row.split()
                if not re.match(rf" +(\d+ |sink|sum|score|{NUMBER})", row):
                    break
                rows.append(words)
            found.append(rows)
    return found


def check_dots(lines: list[str], weight: str) -> int:
    """The products and sums of the tables of features."""
    found = tables(lines, "feature")
    for number, rows in enumerate(found):
        terms = [row for row in rows if len(row) in (4, 5) and row[1] not in ("others", "other")]
        for row in terms:
            factors = row[1:3] if number == 0 else row[2:4]
            assert_follows(float(factors[0]) * float(factors[1]), row[-1])
            if number:
                assert_follows(float(weight) * float(row[1]), row[2])
        others = [row[-1] for row in rows if row[1] in ("others", "other")]
        total = rows[-1][-1]
        summed = sum(float(row[-1]) for row in terms) + sum(map(float, others))
        assert_follows(summed, total, OF_A_SUM)
    return len(found)


def check_cell(told: Explanation) -> int:
    lines = page(told)
    weights = [line.split(" = ")[-1] for line in lines if line.strip().startswith("weight = ")]
    assert len(weights) == 1
    dots = check_dots(lines, weights[0])
    assert dots == (3 if told.cell is not None and told.cell.part.norm else 1)
    # The score of the table is the one that the scale takes, and so on down to the weight.
    score = tables(lines, "feature")[0][-1][-1]
    scaled = next(line for line in lines if re.match(rf" +scaled = {NUMBER} ", line))
    assert scaled.split(" = ")[1].startswith(score)
    return equations(lines)


def check_row(told: Explanation) -> int:
    lines = page(told)
    logits, shares = tables(lines, "key")
    formula = next(line for line in lines if line.strip().startswith("weight = exp(logit"))
    top, bottom = re.findall(rf"exp\(logit − \(?({NUMBER})\)?\) / ({NUMBER})", formula)[0]
    running = 0.0
    for row in logits:
        weight, sofar = row[-2:]
        if row[0] != "sink" and row[1] not in ("others", "other"):
            assert_follows(math.exp(float(row[-3]) - float(top)) / float(bottom), weight)
        running += float(weight)
        assert_follows(running, sofar, OF_A_SUM)
    norm = next(line for line in lines if line.strip().startswith("‖output‖")).split(" = ")[1]
    for row in shares:
        if row[1] not in ("others", "other"):
            weight, along, share = row[-3:]
            assert_follows(float(weight) * float(along) / float(norm) ** 2, share)
    assert float(logits[-1][-1]) == pytest.approx(1, abs=1e-5)
    assert sum(float(row[-1]) for row in shares) == pytest.approx(1, abs=1e-3)
    return equations(lines)


SCALES = st.sampled_from([1e-3, 0.1, 1.0, 3.0, 10.0])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(0, 1), st.integers(0, 3), st.integers(0, 4), st.integers(1, 9), SCALES)
def test_a_cell_multiplies_out(seed: int, batch: int, head: int, query: int, top: int, size: float) -> None:
    inputs = full(seed, dtype=torch.float32)
    inputs.q.mul_(size)
    told = tell(inputs, batch, head, query, seed % 7, top)
    assert check_cell(told) >= 9 if told.cell is not None and told.cell.weight else 4


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from([None, 0.01, 1.0, 40.0, -1.0]), SCALES)
def test_a_cell_without_a_softcap_multiplies_out(seed: int, scale: float | None, size: float) -> None:
    inputs = full(seed, softcap=None, sinks=None, bias=None, scale=scale, window=None, keep=None)
    inputs.k.mul_(size)
    inputs.v.mul_(1 / size)
    assert check_cell(tell(inputs, 1, 1, 4, seed % 7)) >= 4


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 9), SCALES, st.booleans())
def test_a_row_multiplies_out(seed: int, top: int, size: float, has_value: bool) -> None:
    inputs = full(seed, keep=None, **({"value": -3.0} if has_value else {}))
    inputs.q.mul_(size)
    assert check_row(tell(inputs, 1, seed % 4, 2 + seed % 3, top=top)) >= 8


def test_what_does_not_multiply_out_is_noticed() -> None:
    lines = page(EXPLANATIONS["cell"])
    assert equations(lines) >= 9
    wrong = [
        re.sub(r"^( *weight = .* = 0\.\d\d)(\d)", lambda m: f"{m[1]}{(int(m[2]) + 1) % 10}", line) for line in lines
    ]
    assert wrong != lines
    with pytest.raises(AssertionError):
        equations(wrong)


@pytest.mark.parametrize("width", [20, 40, 80])
@pytest.mark.parametrize("name", EXPLANATIONS)
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    lines = page(EXPLANATIONS[name], width)
    assert max(cell_len(line) for line in lines) <= width


@pytest.mark.parametrize("name", ["cell", "row", "hidden-cell"])
def test_tokens_are_shown_as_text(name: str) -> None:
    text = "\n".join(page(EXPLANATIONS[name]))
    assert "\x1b" not in text
    assert r"\x1b[31mred" in text or name != "row"
    assert "[bold]x[/bold]" in text or name == "hidden-cell"


def test_tokens_are_those_of_the_batch_item() -> None:
    told = tell(full(1), 1, 0, 4, 2, tokens=(TOKENS[0], tuple("abcdefg")))
    assert (told.token(2), told.query_token) == ("c", "g")
    assert "key 2 of 7 “c”" in "\n".join(page(told))


def test_the_page_says_what_it_is() -> None:
    text = " ".join(" ".join(page(EXPLANATIONS["plain-cell"])).split())
    assert "Computed in float64 from the file's bfloat16 numbers" in text
    assert "flash in float32 on cpu gives this row's output within 1.2e-08" in text


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (Shown(0.000123456, 1e-6), "0.000123"),
        (Shown(1.5, 1e-3), "1.500"),
        (Shown(-math.inf, 1e-3), "−∞"),
        (Shown(math.nan, 1e-3), "NaN"),
        (Shown(0.0, 1e-3), "0"),
        (Shown(1.23456e-12, 1e-16), "1.2346e-12"),
        (Shown(1.23456e12, 1e7), "1.23456e+12"),
        (setting(-1e6), "-1000000"),
        (setting(0.1), "0.1"),
        (formed(0.123456789, 3e-5), "0.1235"),
        (formed(0.123456789, 0.0), "0.123457"),
    ],
)
def test_a_number_is_printed_as_fine_as_it_is_known(shown: Shown, text: str) -> None:
    assert shown.text == text


def test_units_are_powers_of_ten() -> None:
    assert power_above(3e-5) == pytest.approx(1e-4)
    assert power_above(1e-5) == pytest.approx(1e-5)
    assert significant([0.0123, -4.5]) == pytest.approx(1e-5)
    assert Shown(-2.0, 0.1).operand == "(-2.0)"


@given(st.floats(0, exclude_min=True))
def test_units_lie_within_float64(value):
    below, above, unit = power_below(value), power_above(value), significant([value])
    assert 0 < below < math.inf
    assert below <= max(value, 1e-323) <= 10.001 * below or value == math.inf
    assert value == math.inf or min(value, 1e308) <= above * (1 + 1e-9) < math.inf
    assert 0 < unit < math.inf
    if value < 1e15:  # from there on six digits are told
        assert float(setting(value).text) == pytest.approx(value)
        assert float(Shown(value, unit).text) == pytest.approx(value, rel=1e-5, abs=1e-323)


MAGNITUDES = (0.0, 5e-324, 1e-320, 1e-310, 1e-160, 1e-30, 1.0, 1e30, 1e154, 1e300, 1.7e308)


@settings(deadline=None, max_examples=80)
@given(st.data(), st.sampled_from([None, 1]))
def test_numbers_from_one_end_of_float64_to_the_other_are_explained(data, key):
    """Of q, k, v, the scale, the softcap and the bias, whatever overflows or underflows on the way."""
    drawn = [data.draw(st.sampled_from(MAGNITUDES), name) for name in ("q", "k", "v", "scale", "softcap", "bias")]
    inputs = make_call(dtype=torch.float64)
    small = [getattr(inputs, name).clamp(-1, 1) * size for name, size in zip("qkv", drawn, strict=False)]
    scale, softcap, bias = drawn[3:]
    rules = replace(
        inputs.rules, scale=scale, softcap=softcap or None, bias=torch.full((1, 1, 1, 7), bias, dtype=torch.float64)
    )
    told = tell(replace(inputs, q=small[0], k=small[1], v=small[2], rules=rules), 0, 1, 2, key)
    assert "query 2" in printed(lambda console: render_explanation(told, console), width=100)


@pytest.mark.parametrize("shown", [Shown(-3.4028234663852886e38), Shown(-3.4028234663852886e38, 1e-6)])
def test_a_mask_constant_is_printed_in_six_digits(shown):
    assert shown.text == "-3.40282e+38"
    assert shown.error == pytest.approx(abs(-3.40282e38 - shown.value))
