"""The progress bar: late, only on a terminal, and gone in the end."""

from __future__ import annotations

import io
import re
import sys
import time

import pytest

from attn_cli.reporters import progress
from attn_cli.reporters.progress import progress_bar


class FakeTerminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def _standard_error(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, patience: float, **variables: str) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "100", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", patience)
    monkeypatch.setattr(sys, "stderr", stream)


def _run(steps: int = 5) -> None:
    with progress_bar() as update:
        for done in range(1, steps + 1):
            update(done, steps)


def _wait_for(stream: io.StringIO, text: str) -> None:
    """Until the bar's own thread has shown it."""
    deadline = time.monotonic() + 60
    while text not in stream.getvalue():
        assert time.monotonic() < deadline, stream.getvalue()
        time.sleep(0.01)


def test_what_is_quick_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = FakeTerminal()
    _standard_error(monkeypatch, stream, patience=60)
    _run()
    assert stream.getvalue() == ""


def test_what_takes_long_shows_a_bar_and_takes_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = FakeTerminal()
    _standard_error(monkeypatch, stream, patience=0.05)
    with progress_bar() as update:
        update(1, 5)
        _wait_for(stream, "inspecting")
        update(2, 5)
        _wait_for(stream, "40%")
    shown = stream.getvalue()
    assert re.search(r"\d:\d\d:\d\d", shown)
    assert shown.rstrip().endswith("\x1b[2K")


def test_what_tells_nothing_on_its_way_is_said_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = FakeTerminal()
    _standard_error(monkeypatch, stream, patience=0.05)
    with progress_bar():
        _wait_for(stream, "running the kernel")
    assert stream.getvalue().rstrip().endswith("\x1b[2K")


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1"}])
def test_what_is_no_terminal_stays_clean(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    stream = io.StringIO()
    _standard_error(monkeypatch, stream, patience=0, **variables)
    _run()
    assert stream.getvalue() == ""


def test_a_dumb_terminal_stays_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = FakeTerminal()
    _standard_error(monkeypatch, stream, patience=0, TERM="dumb")
    _run()
    assert stream.getvalue() == ""


def test_the_bar_is_gone_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = FakeTerminal()
    _standard_error(monkeypatch, stream, patience=0.05)

    def interrupted() -> None:
        with progress_bar() as update:
            update(1, 3)
            _wait_for(stream, "33%")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert stream.getvalue().rstrip().endswith("\x1b[2K")


def test_what_is_going_on_is_told_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = FakeTerminal()
    _standard_error(monkeypatch, stream, patience=0.05)
    with progress_bar("preparing") as update:
        update(0.5, 3, "sdpa [red]1 × 2[/red]")
        _wait_for(stream, "sdpa [red]1 × 2[/red]")
