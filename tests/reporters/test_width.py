"""Laws of every report: no line wider than the console, nothing in it that steers the terminal."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from attn_cli.attention.selection import Selection
from attn_cli.inputs.types import Convention, TensorInfo
from attn_cli.inspection.options import Zoom
from attn_cli.inspection.types import Finding, Place
from attn_cli.reporters.terminal import render_lesson, render_run
from attn_cli.results import Lesson, RunResult
from tests.reporters.consoles import plain, printed
from tests.reporters.results_for_tests import Case, make_lesson, make_result

HOSTILE = (
    "[red]x[/red]",
    "[/INST]",
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\u202eevil",
    "猫はね",
    "👍🏽",
    "👨\u200d👩",
    "a\nb",
    "\t",
)
TEXT = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=()), max_size=12))
LOOKS = st.sampled_from(
    [(None, "utf-8"), ("truecolor", "utf-8"), ("256", "utf-8"), ("standard", "utf-8"), (None, "ascii")]
)


@st.composite
def results(draw: st.DrawFn) -> RunResult:
    """Runs of every shape and size, with any text in every place that holds text."""
    pool = draw(st.sampled_from([(1, 1), (1, 1), (4, 8)]))
    batch, heads = draw(st.integers(1, 3)), draw(st.integers(1, 12))
    queries, keys = draw(st.integers(2, 5)) * pool[0], draw(st.integers(1, 12)) * pool[1]
    tokens = tuple(tuple(draw(TEXT) for _ in range(keys)) for _ in range(batch)) if draw(st.booleans()) else None
    finding = Finding("ATTN001", "error", draw(TEXT), Place(draw(TEXT), 0, heads, keys), 3, draw(TEXT))
    case = Case(
        batch=batch,
        heads=heads,
        queries=queries,
        keys=keys,
        causal=draw(st.booleans()),
        tokens=tokens,
        source=draw(TEXT),
        prefix=draw(TEXT),
        pool=pool,
        has_sinks=draw(st.booleans()),
        broken_head=draw(st.sampled_from([None, 0])),
        with_similarity=draw(st.booleans()),
        findings=(finding,),
        conventions=(Convention(draw(TEXT), draw(TEXT), draw(TEXT)),),
        unused=(TensorInfo(draw(TEXT), (2, 3), "float32"),),
        zoom=draw(st.sampled_from([None, Zoom(pool[0], None, 0, pool[1])])),
        selection=draw(st.sampled_from([Selection(), Selection(heads=tuple(range(7, 7 + heads)))])),
    )
    prefixes = draw(st.sampled_from([("",), ("",), ("",), ("", "steps.1.", "x."), ("a.", "b.", "c.")]))
    result = make_result(*(replace(case, prefix=prefix + case.prefix) for prefix in prefixes))
    metric = draw(st.sampled_from([None, "confidence", "entropy", "nonfinite", "induction_score"]))
    return replace(result, metric=metric, order=draw(st.sampled_from([None, "high", "low"])) if metric else None)


def _check(text: str, width: int, raw: str) -> None:
    for line in text.splitlines():
        assert cell_len(line) <= width
        assert line == line.rstrip(" ") or "\x1b" in raw
    assert all(character == "\n" or character.isprintable() for character in text)


@settings(deadline=None, max_examples=120)
@given(results(), st.integers(20, 200), LOOKS)
def test_a_run_keeps_to_the_width(result: RunResult, width: int, look: tuple[str | None, str]) -> None:
    raw = printed(lambda console: render_run(result, console), width, *look)
    _check(plain(raw), width, raw)


@settings(deadline=None, max_examples=30)
@given(st.integers(20, 200), LOOKS)
def test_the_lesson_keeps_to_the_width(width: int, look: tuple[str | None, str]) -> None:
    raw = printed(lambda console: render_lesson(make_lesson(), console), width, *look)
    _check(plain(raw), width, raw)


def test_only_colours_are_sent_to_the_terminal() -> None:
    tokens = ((HOSTILE * 2)[:6],)
    result = make_result(Case(heads=2, queries=6, keys=6, tokens=tokens, source="\x1b[2Jgone", prefix="\u202ex"))
    raw = printed(lambda console: render_run(result, console), 80, "truecolor")
    assert "\x1b" in raw
    assert "\x1b" not in plain(raw)
    assert r"\x1b[2Jgone" in plain(raw)
    assert r"\u202ex" in plain(raw)


def test_what_looks_like_markup_is_shown() -> None:
    tokens = (("[/INST]", "[red]", ":cat:"),)
    result = make_result(Case(heads=1, queries=3, keys=3, tokens=tokens))
    raw = printed(lambda console: render_run(result, console), 120)
    assert all(token in raw for token in tokens[0])


def test_a_lesson_without_steps_is_a_heading() -> None:
    def render(console: Console) -> None:
        render_lesson(Lesson(()), console)

    assert "step by step" in printed(render, 80)
