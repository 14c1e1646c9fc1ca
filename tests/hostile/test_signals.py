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
from tests.cli.process import MINILM, ROOT, environment, python
from tests.hostile.law import accepted
from tests.hostile.surroundings import BENCH, DIFF, EXPLAIN, LAYER, held, held_until_sent, sending
from tests.hostile.warm import warm

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
SAID = {signal.SIGINT: "interrupted", signal.SIGTERM: "ended by SIGTERM", signal.SIGHUP: "ended by SIGHUP"}
COMMANDS = {
    "run": (
        ("run", *LAYER),
        ("--save", "--html", "--screenshot"),
        ("choose.py:open_tensor_file", "loading.py:load", "inspector.py:inspect", "fitting.py:fitting_page"),
    ),
    "demo": (
        ("demo", "--steps"),
        ("--save", "--html", "--screenshot"),
        ("draws.py:draw_call", "inspector.py:inspect", "screenshot.py:_framed"),
    ),
    "check": (("check", *LAYER), ("--html", "--screenshot"), ("loading.py:load", "fitting.py:fitting_page")),
    "diff": (DIFF, ("--html", "--screenshot"), ("choose.py:open_tensor_file", "measure.py:add")),
    "explain": (EXPLAIN, ("--screenshot",), ("loading.py:load", "steps.py:row_steps")),
    "bench": (BENCH, ("--save", "--html"), ("case_run.py:_reference", "sampling.py:_run_once")),
}
WRITING = ("atomic.py:_set_owner", "atomic.py:_flush_to_disk", "atomic.py:replace")
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
def test_a_signal_while_attn_reads_computes_draws_writes_and_replaces(command, tmp_path):
    """Of the benchmark's moments those are left out in which it measures the device's peaks."""
    arguments, options, stages = COMMANDS[command]
    out = tmp_path / "out"
    out.mkdir()
    outputs, ended_by = {option: out / f"out{SUFFIX[option]}" for option in options}, set()
    if command == "bench":
        outputs["--save"] = out / "out.json"
    line = (*arguments, *(str(part) for pair in outputs.items() for part in pair))
    for turn, stage in enumerate((*stages, *WRITING)):
        number, mark = SIGNALS[turn % 3], tmp_path / str(turn)
        named = command != "bench" and len(outputs) > 1 and stage == WRITING[-1]  # no signal comes between
        holding = held_until_sent(stage, mark) if named else held(stage, mark)
        ended = warm(*line, before=NO_PEAKS + holding, meanwhile=sending(mark, number))
        assert (ended.returncode, ended.err) == (128 + number, f"attn: {SAID[number]}\n"), stage
        ended_by.add(number)
        written = set(whole_or_absent(out))
        # Only a benchmark that is interrupted reports what it has by then.
        may_have_all = (command, number) == ("bench", signal.SIGINT)
        assert len(written) == len(outputs) if named else len(written) < len(outputs) or may_have_all, stage
    assert ended_by == set(SIGNALS)
    accepted(warm(*line, before=NO_PEAKS))
    assert set(whole_or_absent(out)) == {path.name for path in outputs.values()}


def test_a_signal_while_a_figure_is_drawn(tmp_path):
    out, mark = tmp_path / "out", tmp_path / "mark"
    out.mkdir()
    line = ("run", *LAYER, "--pdf", str(out / "x.pdf"), "--svg", str(out / "x.svg"))
    ended = warm(*line, before=held("text.py:draw", mark), meanwhile=sending(mark, signal.SIGTERM))
    assert (ended.returncode, ended.err, os.listdir(out)) == (143, "attn: ended by SIGTERM\n", [])


@pytest.mark.parametrize("numbers", [(15, 2), (2, 15, 1), (1, 1, 1)], ids=str)
def test_several_signals_at_once_are_answered_once(numbers, tmp_path):
    """Any thread may take them, so that the one that sleeps would sleep on."""
    out, mark = tmp_path / "out", tmp_path / "mark"
    out.mkdir()
    patient = "import attn_cli.interruption as i; i.LOOKS, i.PATIENCE_SECONDS = 4000, 200.0\n"
    line = ("demo", "--save", str(out / "x"))
    ended = warm(*line, before=patient + held("atomic.py:replace", mark), meanwhile=sending(mark, *numbers))
    assert ended.returncode - 128 in numbers
    assert (ended.err, os.listdir(out)) == (f"attn: {SAID[ended.returncode - 128]}\n", [])


@pytest.mark.parametrize("last", [(), (15,)], ids=["goes on", "ends"])
def test_what_is_stopped_goes_on_where_it_was(last, tmp_path):
    """Ctrl-Z and ``fg``; a signal that came in between is obeyed then."""
    out, mark = tmp_path / "x", tmp_path / "mark"
    stops = sending(mark, signal.SIGSTOP, *last, signal.SIGCONT)
    ended = warm("demo", "--save", str(out), before=held_until_sent("atomic.py:replace", mark), meanwhile=stops)
    assert (ended.returncode, out.exists()) == ((143, False) if last else (0, True)), ended.err


def test_a_signal_at_any_line_of_what_writes_and_removes_and_a_second_one_in_between(tmp_path):
    lines, codes = random.Random(8), []
    for round in range(12):
        first = lines.randrange(1, LINES)
        moments = {first: int(lines.choice(SIGNALS))}
        if round % 2:
            moments[first + lines.randrange(1, 15)] = int(lines.choice(SIGNALS))
        ended = warm("demo", "--save", str(tmp_path / "out.safetensors"), before=AT_LINES.format(moments=moments))
        list(whole_or_absent(tmp_path))
        assert ended.returncode in (0, *(128 + number for number in moments.values())), (moments, ended.err)
        assert ended.err in ("", *(f"attn: {said}\n" for said in SAID.values())), moments
        codes.append(ended.returncode)
    assert sum(map(bool, codes)) > 6, codes


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


SAVING = """
import os, tempfile, attn_cli.interruption as interruption, attn_cli.main as main, attn_cli.reporters.saved as saved
save_file, mkstemp, tell, remove = saved.save_file, tempfile.mkstemp, main.tell_interrupted, interruption._remove
"""
# A library that makes an error of its own of whatever is raised in it.
TURNED = """
def turned(*_):
    try:
        os.kill(os.getpid(), {number})
        for _ in range(100): pass
    except BaseException:
        raise RuntimeError("a library's own")
saved.save_file = turned
"""
# Others that come while the first is answered, and while what is unfinished is removed.
ANOTHER = """
def another(*given):
    os.kill(os.getpid(), 15), os.kill(os.getpid(), 1)
    return (remove if len(given) == 1 else tell)(*given)
saved.save_file = lambda *_: os.kill(os.getpid(), 2)
interruption._remove, main.tell_interrupted = another, another
"""
SPOOLED = """
tempfile.mkstemp = lambda *given, **more: (mkstemp(*given, **more), os.kill(os.getpid(), 15))[0]
"""


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_what_a_library_makes_of_a_signal_is_the_signal(number, tmp_path):
    ended = warm("demo", "--save", str(tmp_path / "x"), before=SAVING + TURNED.format(number=int(number)))
    assert (ended.returncode, ended.err) == (128 + number, f"attn: {SAID[number]}\n")


def test_further_signals_change_nothing_about_the_answer(tmp_path):
    ended = warm("demo", "--save", str(tmp_path / "x"), before=SAVING + ANOTHER)
    assert ended.returncode in (130, 143, 129)
    assert (ended.err, os.listdir(tmp_path)) == (f"attn: {SAID[ended.returncode - 128]}\n", [])


def test_a_signal_between_a_temporary_file_and_what_would_remove_it(tmp_path):
    with open(MINILM, "rb") as file:
        ended = warm("run", "-", stdin=file.read(), before=SAVING + SPOOLED, TMPDIR=str(tmp_path))
    assert (ended.returncode, ended.err, os.listdir(tmp_path)) == (143, "attn: ended by SIGTERM\n", [])


FORKED = """
def forked(*given):
    save_file(*given)
    if not os.fork():
        raise KeyboardInterrupt
    os.wait()
saved.save_file = forked
"""


def test_a_child_that_ends_leaves_alone_what_is_its_parents(tmp_path):
    ended = warm("demo", "--save", str(tmp_path / "x"), before=SAVING + FORKED)
    assert (ended.returncode, ended.err) == (0, "attn: interrupted\n")  # what the child says
    assert os.listdir(tmp_path) == ["x"]


# A program that calls attn, and a Ctrl-C before and after each time that attn sets a handler.
CALLING = """
import os, signal
from attn_cli import interruption
ENDING = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
USUAL = {number: signal.getsignal(number) for number in ENDING}
real, state = signal.signal, interruption._State

def interrupting(moment):
    def sent(*given):
        moments = (moment - 2 * len(calls), moment - 2 * len(calls) - 1)
        calls.append(given)
        0 in moments[:1] and os.kill(os.getpid(), signal.SIGINT)
        there = real(*given)
        0 in moments[1:] and os.kill(os.getpid(), signal.SIGINT)
        return there
    calls = []
    return sent

for block, times in ((interruption.held_back, 2), (interruption.obeyed, 9)):
    for moment in range(2 * times):
        signal.signal, outcome = interrupting(moment), "went on"
        try:
            with block():
                pass
        except KeyboardInterrupt:
            outcome = "interrupted"
        signal.signal = real
        left = [number.name for number in ENDING if signal.getsignal(number) != USUAL[number]]
        print(block.__name__, moment, outcome, left, state.held, state.arrived)
"""


def test_a_ctrl_c_beside_what_sets_handlers_leaves_none_in_a_program_that_calls_attn():
    ended = python(CALLING)
    told = ended.stdout.decode().splitlines()
    assert len(told) == 2 * (2 + 9), ended.err
    assert [line for line in told if not line.endswith("[] 0 None")] == []
    # What comes while attn ends, and ignores signals, is lost.
    assert [line for line in told if line.startswith("held_back") and "interrupted" not in line] == []


WITHOUT_THREADS = """
import os, threading
from attn_cli import interruption

def start(_):
    raise RuntimeError("can't start new thread")

threading.Thread.start, before = start, os.listdir("/proc/self/fd")
with interruption.obeyed(print):
    pass
print(len(os.listdir("/proc/self/fd")) - len(before))
"""


@pytest.mark.skipif("linux" not in sys.platform, reason="descriptors are counted as on Linux")
def test_where_no_thread_can_watch_nothing_stays_open():
    assert python(WITHOUT_THREADS).stdout == b"0\n"


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
            os.kill(child, 0)
            time.sleep(0.01)
        os.kill(child, signal.SIGTERM)

    ended = warm("run", "-", stdin=read, meanwhile=interrupt, TMPDIR=str(tmp_path))
    os.close(read), os.close(write)
    assert (ended.returncode, ended.err) == (143, "attn: ended by SIGTERM\n")
    assert list(tmp_path.iterdir()) == []


# Holds an import, and runs attn as its console script does.
IMPORTING = """
import os, runpy, sys, time
class Holding:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            open({mark!r}, "w").close()
            time.sleep(60)
sys.meta_path.insert(0, Holding())
runpy.run_module("attn_cli", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("number", "module"),
    [(signal.SIGINT, "typer"), (signal.SIGINT, "torch.nn"), (signal.SIGTERM, "numpy.linalg")],
    ids=lambda one: getattr(one, "name", one),
)
def test_a_signal_while_everything_is_imported(number, module, tmp_path):
    """Python starts anew, with torch to import, of which a half would fail with errors of its own."""
    mark = tmp_path / "mark"
    process = subprocess.Popen(
        [sys.executable, "-c", IMPORTING.format(module=module, mark=str(mark)), "demo", "--repeat", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environment(),
    )  # fmt: skip
    while not mark.exists() and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err.decode(), out) == (128 + number, f"attn: {SAID[number]}\n", b"")
