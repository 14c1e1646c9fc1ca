"""Ctrl-C, SIGTERM and SIGHUP at any moment: the right exit code, no half file, nothing left over, no traceback."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from attn_cli.reporters.schema import schema_for
from tests.cli.process import MINILM, ROOT, environment
from tests.hostile.law import accepted
from tests.hostile.surroundings import BENCH, DIFF, EXPLAIN, LAYER
from tests.hostile.warm import warm

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
SAID = {signal.SIGINT: "interrupted", signal.SIGTERM: "ended by SIGTERM", signal.SIGHUP: "ended by SIGHUP"}
COMMANDS = {
    "run": (("run", *LAYER), ("--save", "--html", "--screenshot")),
    "demo": (("demo", "--steps"), ("--save", "--html", "--screenshot")),
    "check": (("check", *LAYER), ("--html", "--screenshot")),
    "diff": (DIFF, ("--html", "--screenshot")),
    "explain": (EXPLAIN, ("--screenshot",)),
    "bench": (BENCH, ("--save", "--html")),
}
SUFFIX = {"--save": ".safetensors", "--html": ".html", "--screenshot": ".svg"}
WHOLE = {".safetensors": (b"", b""), ".html": (b"<!", b"</html>"), ".svg": (b"<", b"</svg>"), ".json": (b"{", b"}")}
NO_PEAKS = "import attn_cli.benchmark.runner as runner; runner.measure = lambda *_: runner.UNKNOWN_PEAKS"

# Sends signals when attn has come to these lines of what writes files and of what removes them, counted from the first.
AT_LINES = """
import os, sys
moments, count, begun = {moments!r}, 0, False
FILES = "atomic.py", "interruption.py", "saved.py", "saved_call.py", "contextlib.py", "attn_cli/main.py", "failures.py"
def trace(frame, event, arg):
    global count, begun
    if frame.f_code.co_filename.endswith(FILES):
        begun = begun or frame.f_code.co_name == "save_call"
        count += begun
        if begun and count in moments:
            os.kill(os.getpid(), moments.pop(count))
    return trace
sys.settrace(trace)
"""
LINES = 600


def whole_or_absent(folder: Path) -> set[str]:
    """The names in the folder, each of a file that is whole."""
    for path in folder.iterdir():
        begin, end = WHOLE[path.suffix]
        content = path.read_bytes()
        assert content.startswith(begin), path
        assert content.rstrip().endswith(end), path
        if path.suffix == ".safetensors":
            length = int.from_bytes(content[:8], "little")
            ends = [
                one["data_offsets"][1] for name, one in json.loads(content[8 : 8 + length]).items() if name[0] != "_"
            ]
            assert len(content) == 8 + length + max(ends)
        path.unlink()
        yield path.name


@pytest.mark.parametrize("command", COMMANDS)
def test_a_signal_at_any_moment(command, tmp_path):
    """Of the benchmark's many moments those are left out in which it measures the device's peaks."""
    arguments, options = COMMANDS[command]
    outputs = {option: tmp_path / f"out{SUFFIX[option]}" for option in options}
    if command == "bench":
        outputs["--save"] = tmp_path / "out.json"
    line = (*arguments, *(str(part) for pair in outputs.items() for part in pair))
    begin = time.monotonic()
    accepted(warm(*line, before=NO_PEAKS))
    lasts = time.monotonic() - begin
    assert set(whole_or_absent(tmp_path)) == {path.name for path in outputs.values()}
    moments = random.Random(f"{command} 8")
    for number in (*SIGNALS, moments.choice(SIGNALS)):
        delay = moments.uniform(0, lasts)

        def send(child, number=number, delay=delay):
            time.sleep(delay)
            if Path(f"/proc/{child}").exists():
                os.kill(child, number)

        ended = warm(*line, meanwhile=send, before=NO_PEAKS)
        list(whole_or_absent(tmp_path))
        # Before attn has begun the system itself ends the process; afterwards a signal changes nothing any more.
        assert ended.returncode in (128 + number, 0, -number), (delay, ended.err)
        assert not ended.timed_out
        if ended.returncode == 128 + number:
            assert ended.err == f"attn: {SAID[number]}\n", delay
        else:
            assert ended.err == ""


def test_a_signal_at_any_line_of_what_writes_and_removes_and_a_second_one_in_between(tmp_path):
    lines = random.Random(8)
    for round in range(12):
        first = lines.randrange(1, LINES)
        moments = {first: int(lines.choice(SIGNALS))}
        if round % 2:
            moments[first + lines.randrange(1, 15)] = int(lines.choice(SIGNALS))
        ended = warm("demo", "--save", str(tmp_path / "out.safetensors"), before=AT_LINES.format(moments=moments))
        list(whole_or_absent(tmp_path))
        assert ended.returncode in (0, *(128 + number for number in moments.values())), (moments, ended.err)
        assert ended.err in ("", *(f"attn: {said}\n" for said in SAID.values())), moments


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_an_older_file_is_there_afterwards_and_json_says_what_happened(number, tmp_path):
    (tmp_path / "x").write_text("before")
    at_writing = f"""
import os, attn_cli.reporters.saved as saved
saved.save_file = lambda *_: os.kill(os.getpid(), {int(number)})
"""
    ended = warm("demo", "--json", "--save", str(tmp_path / "x"), before=at_writing)
    assert (ended.returncode, ended.err) == (128 + number, f"attn: {SAID[number]}\n")
    Draft202012Validator(schema_for("demo")).validate(ended.json)
    assert ended.json["error"] == {"code": "interrupted", "message": SAID[number], "hint": None}
    assert ended.json["exit_code"] == 128 + number
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x", "before")]


IN_A_KERNEL = """
import ctypes, os, signal, threading, attn_cli.interruption as interruption, attn_cli.reporters.saved as saved
interruption.PATIENCE_SECONDS = 0.2
def locked(tensors, path, metadata):
    libc, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    threading.Timer(0.1, os.kill, (os.getpid(), {number})).start()
    libc.pthread_mutex_lock(lock), libc.pthread_mutex_lock(lock)  # never comes back, as a kernel of an hour
saved.save_file = locked
"""


@pytest.mark.skipif("linux" not in sys.platform, reason="the double of a kernel is Linux's")
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_kernel_that_does_not_come_back_does_not_keep_attn_from_ending(number, tmp_path):
    ended = warm("demo", "--save", str(tmp_path / "x"), before=IN_A_KERNEL.format(number=int(number)))
    assert (ended.returncode, ended.err, ended.timed_out) == (128 + number, f"attn: {SAID[number]}\n", False)
    assert list(tmp_path.iterdir()) == []


SWALLOWED = """
import os, signal, time, attn_cli.reporters.saved as saved
class Last:
    def __del__(self):
        os.kill(os.getpid(), {number})
        for _ in range(100): pass
def save_file(*_):
    Last()
    time.sleep(9)
saved.save_file = save_file
"""


def test_a_signal_in_a_place_that_swallows_exceptions_is_not_lost(tmp_path):
    ended = warm("demo", "--save", str(tmp_path / "x"), before=SWALLOWED.format(number=int(signal.SIGTERM)))
    assert (ended.returncode, ended.err, ended.timed_out) == (143, "attn: ended by SIGTERM\n", False)
    assert list(tmp_path.iterdir()) == []


IGNORED = """
import os, signal, attn_cli.reporters.saved as saved
save_file = saved.save_file
for number in (1, 2, 15):
    signal.signal(number, signal.SIG_IGN)
saved.save_file = lambda *given: (os.kill(os.getpid(), 1), os.kill(os.getpid(), 2), save_file(*given))
"""


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    """As under nohup, and in the background of a script."""
    accepted(warm("demo", "--save", str(tmp_path / "x"), before=IGNORED))
    accepted(warm("run", str(tmp_path / "x")))


def test_a_benchmark_that_is_interrupted_reports_and_saves_what_it_measured(tmp_path):
    path = tmp_path / "x.json"
    interrupting = (
        "import attn_cli.benchmark.runner as r, os\ndef measure(*_):\n    os.kill(os.getpid(), 2)\nr.measure = measure"
    )
    ended = warm(*BENCH, "--json", "--save", str(path), before=interrupting)
    assert (ended.returncode, ended.err) == (130, "attn: interrupted\n")
    assert (ended.json["status"], ended.json["exit_code"]) == ("ok", 130)
    assert json.loads(path.read_text()) == ended.json
    terminated = warm(*BENCH, "--json", "--save", str(path), before=interrupting.replace(", 2)", ", 15)"))
    assert (terminated.returncode, terminated.json["error"]["code"]) == (143, "interrupted")
    assert json.loads(path.read_text()) == ended.json


def test_what_is_piped_in_is_removed_from_the_temporary_folder(tmp_path):
    """Also where it never ends."""
    read, write = os.pipe()
    with open(MINILM, "rb") as file:
        os.write(write, file.read(40000))

    def interrupt(child):
        while not list(tmp_path.iterdir()):
            time.sleep(0.01)
        os.kill(child, signal.SIGTERM)

    ended = warm("run", "-", stdin=read, meanwhile=interrupt, TMPDIR=str(tmp_path))
    os.close(read), os.close(write)
    assert (ended.returncode, ended.err) == (143, "attn: ended by SIGTERM\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif("linux" not in sys.platform, reason="only Linux tells which signals a process handles")
@pytest.mark.parametrize(("number", "delay"), [(signal.SIGINT, 0.01), (signal.SIGINT, 0.4), (signal.SIGTERM, 0.4)])
def test_a_signal_while_everything_is_imported(number, delay):
    """Python starts anew, with torch to import, of which a half would fail with errors of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "attn_cli", "demo", "--repeat", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environment(),
    )  # fmt: skip
    while not _handles(process.pid, signal.SIGTERM) and process.poll() is None:
        time.sleep(0.002)
    time.sleep(delay)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err.decode(), out) == (128 + number, f"attn: {SAID[number]}\n", b"")


def _handles(process: int, number: int) -> bool:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)
