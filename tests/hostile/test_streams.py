"""Standard streams that are closed, full, or not read any more."""

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.cli.process import MINILM, attn_from_scratch
from tests.hostile.law import accepted, refused
from tests.hostile.surroundings import LAYER, MEASURED_BENCH, PRINTING, closed
from tests.hostile.test_outputs import OPTIONS
from tests.hostile.warm import warm

UNBUFFERED = pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
NAMES = [" ".join(arguments).replace(MINILM, "FILE") for arguments in PRINTING]
SHORT = ("demo", "--json"), ("demo",)


@pytest.fixture
def broken_pipe():
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


@pytest.fixture
def full():
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    handle = os.open("/dev/full", os.O_WRONLY)
    yield handle
    os.close(handle)


@pytest.mark.parametrize("arguments", PRINTING, ids=NAMES)
def test_a_pipe_that_nobody_reads_ends_every_command_quietly(arguments, broken_pipe):
    ended = warm(*arguments, stdout=broken_pipe, before=MEASURED_BENCH)
    assert (ended.returncode, ended.err, ended.timed_out) == (0, "", False)


@pytest.mark.parametrize("arguments", PRINTING[::2], ids=NAMES[::2])
def test_a_full_disk_behind_stdout_is_one_line_and_exit_code_3(arguments, full):
    ended = warm(*arguments, stdout=full, before=MEASURED_BENCH)
    refused(ended, 3, names="standard output: cannot be written", says="No space left on device")
    assert ended.err.count("\n") == 1


@UNBUFFERED
@pytest.mark.parametrize("limit", [1000, 10000])
def test_a_disk_that_gets_full_in_the_middle_holds_no_second_document(tmp_path, limit, unbuffered):
    """Nor half a one that passes for whole: without a buffer Python takes no notice of what was not written."""
    limits = {"RLIMIT_FSIZE": limit}
    with open(tmp_path / "out", "wb") as out:
        ended = warm("demo", "--json", stdout=out.fileno(), limits=limits, PYTHONUNBUFFERED=unbuffered)
    refused(ended, 3, names="standard output: cannot be written", says="File too large")
    written = (tmp_path / "out").read_bytes()
    assert written.count(b'"schema"') <= 1
    assert accepted(warm("demo", "--json")).stdout[:40].startswith(written[:40])


@pytest.mark.parametrize("arguments", [*SHORT, ("run", *LAYER)], ids=" ".join)
@pytest.mark.parametrize("names", [("stdout",), ("stdin", "stdout"), ("stdin", "stdout", "stderr")], ids=" ".join)
def test_what_is_written_to_closed_streams_goes_nowhere(arguments, names, tmp_path):
    out = tmp_path / "out.safetensors"
    ended = warm(*arguments, "--save", str(out), before=closed(*names))
    assert (ended.returncode, ended.stdout, ended.err) == (0, b"", "")
    assert out.stat().st_size > 1000


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path):
    """A library that warns on standard error would write into what is saved."""
    chatty = """
import os, attn_cli.reporters.saved as saved
save_file = saved.save_file
def warned(tensors, path, metadata):
    with open(path, "ab"):
        os.write(2, b"a library's warning")
    save_file(tensors, path, metadata)
saved.save_file = warned
"""
    out = tmp_path / "out.safetensors"
    accepted(warm("demo", "--save", str(out), before=closed("stdin", "stdout", "stderr") + chatty))
    accepted(warm("run", str(out)))


@pytest.mark.parametrize("fault", ["full", "broken_pipe"])
@pytest.mark.parametrize(("arguments", "code"), [(("demo",), 0), (("run", "missing"), 2), (("fly", "--json"), 2)])
def test_a_stderr_that_takes_nothing_changes_no_answer(request, fault, arguments, code):
    ended = warm(*arguments, stderr=request.getfixturevalue(fault))
    assert ended.returncode == code
    assert len(ended.stdout) > 100 or arguments == ("run", "missing")


@pytest.mark.parametrize("fault", ["full", "broken_pipe"])
def test_a_warning_that_nobody_takes_changes_no_answer(request, fault, tmp_path):
    page = tmp_path / "page.html"
    asked = "demo", "--html", str(page), "--html-budget", "1000"
    assert "attn: warning: " in warm(*asked).err
    ended = warm(*asked, stderr=request.getfixturevalue(fault))
    assert (ended.returncode, len(ended.stdout) > 100) == (0, True)


@UNBUFFERED
def test_a_full_disk_behind_stdout_is_told_as_that_also_in_the_middle_of_a_report(full, unbuffered):
    ended = warm("run", MINILM, stdout=full, PYTHONUNBUFFERED=unbuffered)
    refused(ended, 3, names="standard output: cannot be written", says="No space left on device")


FOUND_EARLY = """
import attn_cli.commands.checking as checking
checking.render_checked = lambda found, console: console.print("found")
"""
MORE_OUTPUTS = {
    "demo --steps --save": (("demo", "--steps"), "--save", "out.safetensors"),
    "demo --steps --screenshot": (("demo", "--steps"), "--screenshot", "out.svg"),
    "check two --html": (("check", MINILM, *LAYER), "--html", "out.html"),
    "check two --screenshot": (("check", MINILM, *LAYER), "--screenshot", "out.svg"),
}


@pytest.mark.parametrize(("fault", "code"), [("full", 3), ("broken_pipe", 0)])
@pytest.mark.parametrize("name", [name for name in OPTIONS if name.split()[0] != "record"] + list(MORE_OUTPUTS))
def test_outputs_are_there_when_standard_output_refuses_the_report(request, name, fault, code, tmp_path):
    """They get their names before it is printed, and are no worse for it."""
    command, option, output = {**OPTIONS, **MORE_OUTPUTS}[name]
    path = tmp_path / output
    path.write_text("before")
    before = MEASURED_BENCH + FOUND_EARLY
    ended = warm(*command, option, str(path), stdout=request.getfixturevalue(fault), before=before)
    if code:
        refused(ended, code, names="standard output: cannot be written", says="No space left on device")
    assert (ended.returncode, ended.err.count("\n")) == (code, min(code, 1))
    assert path.stat().st_size > 500
    assert os.listdir(tmp_path) == [output]


@pytest.mark.parametrize("fault", ["full", "broken_pipe"])
def test_a_broken_file_is_named_when_standard_output_refuses_what_was_found_in_others(request, fault, tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"PK")
    page = tmp_path / "x.html"
    line = ("check", str(tmp_path / "bad.npz"), MINILM, "--layer", "0", "--html", str(page))
    ended = warm(*line, stdout=request.getfixturevalue(fault), before=FOUND_EARLY)
    told = [text for text in ended.err.splitlines() if text.startswith("attn: error: ")]
    assert (ended.returncode, len(told)) == (2, 2 if fault == "full" else 1), ended.err
    assert "bad.npz: " in told[0]
    assert page.exists()


NO_PICTURE = """
import attn_cli.reporters.screenshot as own
def save(*_, **__):
    raise MemoryError
own.save_screenshot = save
"""


def test_what_bench_measured_is_told_whatever_becomes_of_its_picture(tmp_path):
    command, option, output = OPTIONS["bench --screenshot"]
    ended = warm(*command, option, str(tmp_path / output), before=MEASURED_BENCH + NO_PICTURE)
    assert (ended.returncode, ended.err) == (3, "attn: error: out of memory; expected room for what was asked for\n")
    assert b"sdpa" in ended.stdout


@pytest.mark.parametrize("arguments", [("run", "-"), ("run", "-", "--json")], ids=" ".join)
def test_a_closed_stdin_is_no_input(arguments):
    ended = warm(*arguments, before=closed("stdin"))
    assert (ended.returncode, ended.timed_out) == (2, False)
    assert ended.err == "attn: error: -: standard input is closed; expected safetensors, .npz or .pt bytes\n"
    assert accepted(warm("demo", before=closed("stdin"))).stdout


def test_python_itself_started_with_nothing_open(tmp_path):
    """The numbers 0, 1 and 2 are free when Python starts, so that whatever it opens first could take them."""
    out = tmp_path / "out.safetensors"
    line = f'exec "{sys.executable}" -m attn_cli demo --save "{out}" <&- >&- 2>&-'
    assert subprocess.run(["bash", "-c", line], check=False).returncode == 0
    accepted(warm("run", str(out)))


def test_a_reader_that_stops_reading_does_not_keep_attn_from_ending():
    """A full pipe, as behind a pager that waits: what was not written by then is let go."""
    read, write = os.pipe()

    def interrupt(child):
        _wait_for_a_full_pipe(child, write)
        os.kill(child, signal.SIGTERM)

    ended = warm("run", MINILM, "--json", stdout=write, meanwhile=interrupt)
    os.close(write)
    os.close(read)
    assert (ended.returncode, ended.err, ended.timed_out) == (143, "attn: ended by SIGTERM\n", False)


@pytest.fixture
def impatient():
    """A pipe whose writers are not to wait for its reader: whoever shares a pipe shares that too."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    yield read, write
    os.close(read)


def _wait_for_a_full_pipe(child, write):
    """Until a process sleeps behind a pipe that takes no more, and not by chance, or has ended."""
    looks = 0
    while looks < 5 and (state := _state(child)) not in ("Z", ""):
        time.sleep(0.01)
        is_full = not select.select([], [write], [], 0)[1]
        looks = looks + 1 if is_full and state == "S" else 0


@UNBUFFERED
def test_a_pipe_whose_writers_are_not_to_wait_gets_the_whole_report_all_the_same(impatient, unbuffered):
    read, write = impatient
    got = []

    def take(child):
        _wait_for_a_full_pipe(child, write)
        assert not os.get_blocking(write)
        os.close(write)
        with open(os.dup(read), "rb") as pipe:
            got.append(pipe.read())

    ended = warm("run", MINILM, "--json", stdout=write, meanwhile=take, PYTHONUNBUFFERED=unbuffered)
    assert (ended.returncode, ended.err) == (0, "")
    assert json.loads(got[0])["schema"] == "attn.run/1"
    assert len(got[0]) > 100_000  # more than a pipe holds


@UNBUFFERED
@pytest.mark.parametrize("end", ["Ctrl-C", "nobody reads"])
def test_waiting_for_a_pipe_whose_writers_are_not_to_wait_ends_as_for_any_other(impatient, end, unbuffered):
    read, write = impatient

    def stop(child):
        _wait_for_a_full_pipe(child, write)
        if end == "Ctrl-C":
            os.kill(child, signal.SIGINT)
        else:
            os.dup2(nothing, read)

    with open(os.devnull, "rb") as devnull:
        nothing = devnull.fileno()
        ended = warm("run", MINILM, "--json", stdout=write, meanwhile=stop, PYTHONUNBUFFERED=unbuffered)
    os.close(write)
    expected = (130, "attn: interrupted\n") if end == "Ctrl-C" else (0, "")
    assert (ended.returncode, ended.err, ended.timed_out) == (*expected, False)


@pytest.mark.parametrize("may_wait", [True, False], ids=["waits", "is not to wait"])
@pytest.mark.parametrize("stuck", ["stderr", "both"])
def test_a_signal_ends_attn_though_nobody_takes_its_last_words(impatient, stuck, may_wait):
    _, write = impatient
    with contextlib.suppress(BlockingIOError):
        while stuck == "stderr":
            os.write(write, bytes(4096))
    os.set_blocking(write, may_wait)

    def stop(child):
        _wait_for_a_full_pipe(child, write)
        os.kill(child, signal.SIGTERM)

    if stuck == "stderr":
        ended = warm("run", "nothere", stderr=write, meanwhile=stop)
    else:
        ended = warm("run", MINILM, "--json", stdout=write, stderr=write, meanwhile=stop)
    os.close(write)
    assert (ended.returncode, ended.timed_out) == (143, False)


SOON = "import attn_cli.inputs.waiting as waiting; waiting.SILENCE_SECONDS = 0.05\n"


@pytest.mark.parametrize("name", ["-", "a pipe"])
@pytest.mark.parametrize("end", ["the rest", "nothing", "Ctrl-C"])
def test_a_pipe_that_falls_silent_is_waited_for_and_attn_says_so(name, end, tmp_path):
    """From a slow program it may take as long as it takes; the line comes once, and Ctrl-C works."""
    spool = tmp_path / "spool"
    spool.mkdir()
    path = str(tmp_path / name) if name != "-" else name
    if name != "-":
        os.mkfifo(path)
    content = Path(MINILM).read_bytes()
    read, write = os.pipe() if name == "-" else (None, os.open(path, os.O_RDWR))
    os.write(write, content[:1])

    def feed(child):
        while b"waiting" not in said.read_bytes():
            os.kill(child, 0)
            time.sleep(0.005)
        if end == "Ctrl-C":
            os.kill(child, signal.SIGINT)
            return
        if end == "the rest":
            with open(os.dup(write), "wb") as pipe:
                pipe.write(content[1:])
        os.close(write)

    said = tmp_path / "said"
    with said.open("wb") as err:
        ended = warm("run", path, "--layer", "3", stdin=read, stderr=err.fileno(), before=SOON, meanwhile=feed,
                     TMPDIR=str(spool))  # fmt: skip
    lines = said.read_text().splitlines()
    assert lines[0] == f"attn: waiting for {'standard input' if name == '-' else path}: 1 byte so far"
    assert (ended.returncode, len(lines)) == {"the rest": (0, 1), "nothing": (2, 2), "Ctrl-C": (130, 2)}[end]
    assert not ended.timed_out
    assert not list(spool.iterdir())
    if end == "Ctrl-C":
        os.close(write)
    if read is not None:
        os.close(read)


def test_a_pipe_that_was_made_not_to_wait_is_waited_for_all_the_same(tmp_path):
    """By another program that has it: whoever shares a pipe shares that too."""
    content, said = Path(MINILM).read_bytes(), tmp_path / "said"
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.write(write, content[:50])

    def feed(child):
        while b"waiting" not in said.read_bytes():
            os.kill(child, 0)
            time.sleep(0.005)
        os.write(write, content[50:100])
        while fcntl.ioctl(read, termios.FIONREAD, bytes(4)) != bytes(4):
            os.kill(child, 0)
            time.sleep(0.005)
        time.sleep(0.15)  # in which it would be told again
        with open(write, "wb") as pipe:
            pipe.write(content[100:])

    with said.open("wb") as err:
        ended = warm("run", "-", "--layer", "3", stdin=read, stderr=err.fileno(), before=SOON, meanwhile=feed)
    os.close(read)
    assert (ended.returncode, said.read_text()) == (0, "attn: waiting for standard input: 50 bytes so far\n")


def _state(child):
    """``"S"`` where it sleeps: the letter behind the name, which stands in brackets; nothing where it is gone."""
    try:
        return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252:strict", "utf-16"])
def test_every_encoding_of_stdout_will_do(encoding):
    for arguments in (("demo", "--steps"), ("run", "--help")):
        ended = accepted(warm(*arguments, PYTHONIOENCODING=encoding))
        assert len(ended.stdout.decode(encoding.partition(":")[0])) > 100
    json.loads(accepted(warm("demo", "--json", PYTHONIOENCODING=encoding)).stdout.decode(encoding.partition(":")[0]))


@pytest.mark.parametrize("locale", [{"LANG": "C", "LC_ALL": "C"}, {"LC_ALL": "tr_TR.UTF-8"}, {"LC_ALL": "no-such"}])
def test_python_itself_started_in_another_locale(locale):
    done = attn_from_scratch("run", *LAYER, PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", **locale)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"layers.3" in done.stdout
