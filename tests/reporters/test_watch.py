"""What is shown while a program is watched: the table, and when it comes."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from attn_cli.reporters.terminal import watch
from attn_cli.reporters.terminal.watch import LineTail, live_view
from attn_cli.reporters.terminal.watch_table import render_watch, split_names
from attn_cli.reporters.terminal.watch_totals import WatchTotals
from tests.cli.process import ROOT, environment
from tests.reporters.consoles import plain, printed
from tests.reporters.goldens import LOOKS, check_golden
from tests.reporters.watched_lines import BAD, SHOWN, line, totals


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", SHOWN)
def test_the_table_is_the_golden_one(name: str, look: str) -> None:
    check_golden(name, look, lambda console: render_watch(SHOWN[name], console))


@pytest.mark.parametrize("width", [20, 33, 57, 80, 200])
@pytest.mark.parametrize("name", SHOWN)
def test_no_line_is_too_wide_and_nothing_reaches_the_terminal(name: str, width: int) -> None:
    text = plain(printed(lambda console: render_watch(SHOWN[name], console), width, "truecolor"))
    assert max(len(one) for one in text.splitlines()) <= width
    assert "\x1b" not in text


def test_colours_add_nothing_but_colours() -> None:
    def render(console: Console) -> None:
        render_watch(BAD, console)

    coloured = plain(printed(render, 80, "truecolor"))
    assert [one.rstrip() for one in coloured.splitlines()] == printed(render, 80).splitlines()


def test_many_modules_have_one_page_of_the_columns_that_matter() -> None:
    added = totals(*(line(f"model.layers.{layer}.self_attn", step) for layer in range(32) for step in range(3)))
    text = printed(lambda console: render_watch(added, console), 80)
    rows = [one.split() for one in text.splitlines() if re.match(r"  \d+ ", one)]
    assert [row[0] for row in rows] == [str(layer) for layer in range(32)]
    header = next(one for one in text.splitlines() if one.lstrip().startswith("module"))
    assert header.split()[0] == "module"
    assert header.split()[-2:] == ["findings", "heads"]
    assert "left out at this width, the file has them: step, time" in text
    wide = printed(lambda console: render_watch(added, console), 200)
    assert "time: of inspecting" in wide
    assert "time: of inspecting" not in text
    assert "left out" not in wide
    assert "dist." in wide


def test_what_the_columns_mean_is_said_under_the_last_table_alone() -> None:
    assert "entropy: nats" in printed(lambda console: render_watch(BAD, console), 80)
    assert "entropy: nats" not in printed(lambda console: render_watch(BAD, console, is_last=False), 80)


def test_means_are_over_all_heads_of_all_calls_that_have_a_value() -> None:
    added = totals(
        line("a", value=1.0, labels=("sink",) * 3),
        line("a", 1, value=3.0, labels=("sink",)),
        line("a", labels=("broken",)),
    )
    assert added.modules["a"].mean("entropy") == 1.5
    assert totals(line("a", labels=("broken",))).modules["a"].mean("entropy") is None


def test_memory_does_not_grow_with_the_calls() -> None:
    added = WatchTotals()
    for step in range(300):
        added.add(
            line(f"layers.{step % 3}", step, findings=[{"code": "ATTN003", "severity": "info", "message": str(step)}])
        )
    assert list(added.modules) == ["layers.0", "layers.1", "layers.2"]
    assert [one.calls for one in added.findings.values()] == [300]
    assert added.findings["ATTN003"].message == "0"
    assert all(len(one.labels) == 2 and len(one.findings) == 1 for one in added.modules.values())


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b'{"schema": "attn.run/1"}', b"\xff\xfe", b"NaN"])
def test_what_is_no_line_of_ours_is_passed_over(text: bytes) -> None:
    added = WatchTotals()
    added.add_text(text)
    assert added.calls == 0


NAMES = st.lists(st.lists(st.sampled_from(["a", "b", "0", "1"]), min_size=1, max_size=4).map(".".join), min_size=1)


@settings(deadline=None, max_examples=60)
@given(NAMES)
def test_names_are_cut_so_that_they_can_be_put_together_again(names: list[str]) -> None:
    prefix, rests, suffix = split_names(names)
    assert [prefix + rest + suffix for rest in rests] == names
    assert all(rests)


class TestTail:
    def test_a_line_is_waited_for_until_it_ends(self, tmp_path: Path) -> None:
        path = tmp_path / "lines"
        tail = LineTail(path)
        assert list(tail.lines()) == []
        for text, expected in ((b"one", []), (b"", []), (b"\ntw", [b"one"]), (b"o\nthree\nfo", [b"two", b"three"])):
            with path.open("ab") as file:
                file.write(text)
            assert list(tail.lines()) == expected

    @settings(deadline=None, max_examples=30)
    @given(st.binary(max_size=200), st.integers(1, 9))
    def test_lines_do_not_depend_on_how_they_come(self, text: bytes, size: int) -> None:
        path = Path(self.folder) / "lines"
        path.write_bytes(b"")
        tail, found = LineTail(path), []
        for start in range(0, len(text), size):
            with path.open("ab") as file:
                file.write(text[start : start + size])
            found += list(tail.lines())
        assert found == text.split(b"\n")[:-1]

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        type(self).folder = str(tmp_path)

    folder: str


class Terminal(io.StringIO):
    """A stream that says whether it is a terminal."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


class Program:
    """Writes a line at every look, for some looks; its clock goes on by 0.9 seconds with each."""

    def __init__(self, path: Path, looks: int) -> None:
        self.path, self.looks, self.time = path, looks, 0.0

    def finished(self) -> bool:
        if self.looks:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line("layers.0", int(self.time))) + "\n")
            self.looks -= 1
        return not self.looks

    def pause(self, _seconds: float) -> None:
        self.time += 0.9


@pytest.fixture
def view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[WatchTotals, str]]:
    """Watches a program of so many looks with these streams as terminals."""

    def run(looks: int, *, stdout: bool, stderr: bool, **variables: str) -> tuple[WatchTotals, str]:
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "CI"):
            monkeypatch.delenv(name, raising=False)
        for name, value in ({"COLUMNS": "80", "TERM": "xterm"} | variables).items():
            monkeypatch.setenv(name, value)
        error = Terminal(stderr)
        monkeypatch.setattr(sys, "stdout", Terminal(stdout))
        monkeypatch.setattr(sys, "stderr", error)
        program = Program(tmp_path / "lines.jsonl", looks)
        added = live_view(program.path, program.finished, lambda: program.time, program.pause)
        return added, error.getvalue()

    return run


View = Callable[..., tuple[WatchTotals, str]]


def tables(text: str) -> int:
    return text.count("Attention")


@pytest.mark.parametrize("stdout", [True, False])
def test_where_nobody_looks_only_the_end_is_told(view: View, stdout: bool) -> None:
    added, text = view(60, stdout=stdout, stderr=False)
    assert added.calls == 60
    assert tables(text) == 1
    assert "60 calls in 1 module" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("stdout", [True, False])
def test_on_a_terminal_tables_come_at_intervals_and_no_line_is_gone_back_over(view: View, stdout: bool) -> None:
    _, text = view(210, stdout=stdout, stderr=True)  # 189 seconds
    assert tables(text) == 9  # after 2, 4, 8, 16, 32, 64, 124 and 184 seconds, and at the end
    assert not any(code in text for code in ("\x1b[1A", "\x1b[2K", "\x1b[H", "\r"))


def test_a_dumb_terminal_gets_the_end_alone(view: View) -> None:
    _, text = view(6, stdout=False, stderr=True, TERM="dumb")
    assert tables(text) == 1
    assert "\x1b" not in text


def test_a_program_that_calls_no_attention_is_told_as_such(view: View) -> None:
    added, text = view(0, stdout=False, stderr=False)
    assert added.calls == 0
    assert text == "No attention call yet\n"


def test_the_view_ends_with_the_program_and_reads_what_came_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pauses = tmp_path / "lines", []

    def finished() -> bool:
        path.write_text(json.dumps(line("a")) + "\n" + json.dumps(line("b"))[:30])
        return True

    monkeypatch.setattr(sys, "stderr", Terminal(False))
    assert live_view(path, finished, pause=pauses.append).calls == 1
    assert pauses == []


def test_it_needs_no_torch() -> None:
    names: Any = [watch.__name__, "attn_cli.reporters.terminal.watch_table"]
    script = f"import sys, {', '.join(names)}; assert not {{'torch', 'numpy', 'safetensors'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment(), check=True)
