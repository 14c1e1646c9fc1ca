"""Runs longer than a second, seen from outside: their progress, and what Ctrl-C leaves of them."""

import os
import re
import signal
import subprocess
import sys

import pytest
import torch

from tests.cli.process import BAR_AT_ONCE, ROOT, attn, environment
from tests.inputs.files import write

pty = pytest.importorskip("pty", reason="pseudo-terminals are Unix")
LENGTHS = (24_000, 48_000, 96_000)  # the first will do, but on a machine that inspects it within a second
INTERRUPTED = 130


def demo(length):
    sizes = ["--queries", str(length), "--keys", str(length)]
    return ["demo", *sizes, "--batch", "1", "--heads", "4", "--num-hiddens", "16", "--causal", "--repeat", "1"]


def start(*arguments, stderr):
    """``attn ARGUMENTS``, with a pipe for stdout."""
    return subprocess.Popen(
        [sys.executable, "-m", "attn_cli", *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, cwd=ROOT,
        env=environment(TERM="xterm-256color", COLUMNS="100"),
    )  # fmt: skip


def read_until(terminal, pattern):
    """What the terminal shows until ``pattern`` appears in it, or until its other end is closed."""
    shown = b""
    while not re.search(pattern, shown):
        try:
            more = os.read(terminal, 4096)
        except OSError:  # Linux's way to say that nobody writes any more
            break
        if not more:
            break
        shown += more
    return shown


def interrupt_in_terminal(*arguments):
    """Interrupt a run once its terminal shows that it inspects. Returns what it showed, its exit code and stdout."""
    ours, theirs = pty.openpty()
    process = start(*arguments, stderr=theirs)
    try:
        os.close(theirs)
        shown = read_until(ours, rb"inspecting[^\r\n]*\d%")
        process.send_signal(signal.SIGINT)
        shown += read_until(ours, rb"$never")
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        os.close(ours)
    return shown.decode(), process.returncode, out


@pytest.fixture(scope="module", params=["run", "demo"])
def interrupted(request, tmp_path_factory):
    """A run that was interrupted while it inspected, with ``--save``: its terminal, exit code, stdout and folder."""
    folder = tmp_path_factory.mktemp("saved")
    for length in LENGTHS:
        command = demo(length)
        if request.param == "run":
            tensors = {x: torch.randn(1, 4, length, 4) for x in "qkv"}
            path = write(tmp_path_factory.mktemp("read") / "qkv.safetensors", tensors)
            command = ["run", path, "--causal", "--repeat", "1"]
        saved = ("--save", str(folder / "out.safetensors"))
        shown, code, out = interrupt_in_terminal(*command, *saved)
        if code == INTERRUPTED:
            break
    return shown, code, out, folder


def test_a_terminal_shows_a_bar_with_an_estimate(interrupted):
    shown = interrupted[0]
    bar = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(r"inspecting .*\d+% \d+:\d\d:\d\d (\d+:\d\d:\d\d|-:--:--)", bar), bar


def test_an_interrupt_while_inspecting_ends_cleanly(interrupted):
    shown, code, out, folder = interrupted
    assert code == INTERRUPTED
    assert out == b""
    assert "Traceback" not in shown
    behind = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.split("\x1b[2K")[-1]).strip()
    assert behind == "attn: interrupted"
    assert list(folder.iterdir()) == []


def test_no_bar_where_standard_error_is_no_terminal():
    done = attn("demo", "--json", before=BAR_AT_ONCE)
    assert done.returncode == 0
    assert done.stderr == b""
