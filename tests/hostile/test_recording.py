"""``attn record`` where the disk, the folder, the program or a signal is against it."""

import os
import random
import signal
import sys
import time

import pytest
import torch

from attn_cli.reporters.captures.index import rest_of
from attn_cli.reporters.captures.journal import CaptureJournal
from tests.cli.test_record import ATTENDS
from tests.hostile.law import accepted, refused
from tests.hostile.surroundings import can_mount, closed, held_until_sent, sending, small_disk
from tests.hostile.test_signals import AT_LINES, SAID, SIGNALS
from tests.hostile.warm import warm
from tests.reporters.test_capture_journal import caught

mounting = pytest.mark.skipif("linux" not in sys.platform or not can_mount(), reason="this user may not mount a disk")

NOTHING = "attn: warning: nothing was recorded: the program never imported torch\n"

# A double of a program that attends: it leaves what one of three calls leaves, without importing torch.
LEAVES = """
import glob, shutil, sys
for folder in glob.glob({beside!r}):
    shutil.copytree({given!r}, folder, dirs_exist_ok=True)
"""


@pytest.fixture
def program(tmp_path):
    """A program of no more than 20 ms that seems to have made three calls; its output goes into the folder ``out``."""
    given = tmp_path / "given"
    given.mkdir()
    torch.manual_seed(0)
    journal = CaptureJournal(given / "data", given / "index")
    assert all(journal.take(caught(f"layers.{number}")) for number in range(3))
    assert rest_of(given / "data").exists()
    out = tmp_path / "out"
    out.mkdir()
    script = tmp_path / "program.py"
    script.write_text(LEAVES.format(beside=str(out / ".*.recording"), given=str(given)))
    return script, out


def test_the_double_of_a_program_is_recorded(program):
    script, out = program
    ended = accepted(warm("record", "-o", str(out / "x.safetensors"), str(script)))
    assert "3 attention calls" in ended.err
    accepted(warm("run", str(out / "x.safetensors")))
    assert os.listdir(out) == ["x.safetensors"]


def test_a_signal_at_any_moment_of_a_recording(program):
    """At lines before the program, in the midst of it, and while the file gets its name."""
    script, out = program
    path = str(out / "x.safetensors")
    lines, seen = random.Random("record 8"), []
    marked = AT_LINES.replace('"save_call"', '"working_folder"').replace(
        '"atomic.py",', '"atomic.py", "folder.py", "finish.py", "child.py",'
    )
    for turn in range(8):
        # The program starts at about the 150th line; what comes once it is over keeps no file from getting its name.
        moments = {lines.randrange(*((1, 130), (160, 1130))[turn % 2]): int(lines.choice(SIGNALS))}
        ended = warm("record", "-o", path, str(script), before=marked.format(moments=moments))
        number = next(iter(moments.values()), None)
        codes = (0, *(128 + one for one in SIGNALS)) if number is None else (0, 128 + number)
        assert ended.returncode in codes, (moments, ended.err)
        assert "Traceback" not in ended.err
        assert os.listdir(out) in ([], ["x.safetensors"]), moments
        seen.append(ended.returncode)
        if os.listdir(out):
            accepted(warm("run", path, "--json"))
            os.unlink(path)
    assert all(seen[::2]), seen


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_to_the_whole_group_while_the_program_runs(number, program):
    """As a terminal sends it: the program dies of it, and what it had done by then is in the file."""
    script, out = program
    script.write_text(script.read_text() + f"open({str(out.parent / 'ready')!r}, 'w')\nimport time\ntime.sleep(60)\n")

    def send(child):
        while not (out.parent / "ready").exists():
            time.sleep(0.005)
        os.killpg(child, number)

    ended = warm("record", "-o", str(out / "x.safetensors"), str(script), meanwhile=send)
    assert (ended.returncode, ended.timed_out) == (128 + number, False)
    assert "3 attention calls" in ended.err
    assert os.listdir(out) == ["x.safetensors"]


BEFORE = [("child.py:start", number) for number in SIGNALS]
BEFORE += [("folder.py:working_folder", SIGNALS[0]), ("subprocess.py:_execute_child", SIGNALS[0])]


@pytest.mark.parametrize(("place", "number"), BEFORE)
def test_a_signal_before_there_is_a_program_is_not_lost(place, number, program):
    """Ctrl-C goes to the whole group, of which there is but attn by then: the program gets it as soon as it is."""
    script, out = program
    script.write_text("import time\ntime.sleep(9)\nprint('the end')\n")
    line, mark = ("record", "-o", str(out / "x.safetensors"), str(script)), out.parent / "mark"
    ended = warm(*line, before=held_until_sent(place, mark), meanwhile=sending(mark, number))
    assert (ended.stdout, os.listdir(out)) == (b"", []), ended.err
    if number == signal.SIGINT and "KeyboardInterrupt" in ended.err:  # it struck Python while that was starting
        assert ended.returncode in (1, 128 + number)
        return
    assert (ended.returncode, ended.err in (f"attn: {SAID[number]}\n", NOTHING)) == (128 + number, True), ended.err


def test_a_recording_that_is_killed_leaves_a_hidden_folder_that_hinders_nobody(program):
    script, out = program
    script.write_text(script.read_text() + "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n")
    assert warm("record", "-o", str(out / "x.safetensors"), str(script)).returncode == -9
    (left,) = os.listdir(out)
    assert left.startswith(".x.safetensors.")
    script.write_text("\n".join(script.read_text().splitlines()[:-2]))
    accepted(warm("record", "-o", str(out / "x.safetensors"), str(script)))
    assert sorted(os.listdir(out)) == [left, "x.safetensors"]


@pytest.mark.parametrize("stats", [(), ("--stats",)], ids=["capture", "stats"])
def test_the_folder_vanishes_while_the_program_attends(stats, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    script = tmp_path / "p.py"
    script.write_text(f"{ATTENDS}import shutil\nattend(0)\nshutil.rmtree({str(out)!r})\nattend(1)\nprint('the end')\n")
    ended = warm("record", *stats, "-o", str(out / f"x.{'jsonl' if stats else 'safetensors'}"), str(script), seconds=60)
    assert ended.stdout == b"the end\n"
    assert (ended.returncode, "Traceback" in ended.err) in ((3, False), (0, False)), ended.err
    assert "attn: " in ended.err
    assert not out.exists()


def test_what_was_written_meanwhile_is_gone_and_the_programs_exit_code_counts(program):
    script, out = program
    rest_of(out.parent / "given" / "data").unlink()
    script.write_text(f"{script.read_text()}sys.exit(7)\n")
    path = out / "x.safetensors"
    ended = warm("record", "-o", str(path), str(script))
    assert ended.returncode == 7
    assert ended.err.startswith(f"attn: error: {path}: cannot be written: No such file or directory; expected")
    assert os.listdir(out) == []


@mounting
def test_the_disk_gets_full_while_the_program_attends(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    script = tmp_path / "p.py"
    script.write_text(f"{ATTENDS}for number in range(900):\n    attend(number)\nprint('the end')\n")
    before = small_disk(out, 2**20 + 2**17)  # the header's room, and a hundred calls
    ended = warm("record", "-o", str(out / "x.safetensors"), str(script), before=before, seconds=60)
    assert (ended.returncode, ended.stdout) == (0, b"the end\n"), ended.err
    assert "No space left on device" in ended.err
    assert ended.err.endswith("left: before x.safetensors\n")


@mounting
def test_a_disk_without_room_for_a_recording_at_all(tmp_path):
    script = tmp_path / "p.py"
    script.write_text("print('the end')")
    out = tmp_path / "out"
    out.mkdir()
    before = (
        small_disk(out, 4096)
        + "import os\nwith open(os.path.join(folder, b'before'), 'wb') as f: f.write(bytes(4096))\n"
    )
    ended = warm("record", "-o", str(out / "x.safetensors"), str(script), before=before)
    assert (ended.returncode in (0, 3), ended.timed_out, "Traceback" in ended.err) == (True, False, False), ended.err
    assert ended.err.endswith("left: before\n")


FORKS = """
import os
attend(0)
read, write = os.pipe()
if os.fork():
    attend(1)
    os._exit(7)
os.close(write)
os.read(read, 1)  # until the other is gone
attend(2)
print("went on", flush=True)
"""


def test_a_program_that_becomes_two_and_whose_first_half_ends(tmp_path):
    """The file is the first half's; the other goes on without a trace of attn, also when the folder is gone."""
    script = tmp_path / "p.py"
    script.write_text(ATTENDS + FORKS)
    read, write = os.pipe()

    def wait(_child):
        os.close(write)

    ended = warm("record", "-o", str(tmp_path / "x.safetensors"), str(script), stdout=write, meanwhile=wait, seconds=60)
    assert ended.returncode == 7, ended.err
    with os.fdopen(read) as printed:
        assert printed.read() == "went on\n"
    assert "2 attention calls" in ended.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.py", "x.safetensors"]


def test_closed_streams_are_the_programs_too(program):
    script, out = program
    accepted(warm("record", "-o", str(out / "x.safetensors"), str(script), before=closed("stdin", "stdout", "stderr")))
    assert os.listdir(out) == ["x.safetensors"]


def test_an_output_that_is_the_program_or_what_it_is_given(program):
    script, out = program
    for kind in (os.link, os.symlink):
        other = out / f"{kind.__name__}.safetensors"
        kind(script, other)
        refused(warm("record", "-o", str(other), str(script)), names=f"--output {other}", says="would replace")
    assert sorted(os.listdir(out)) == ["link.safetensors", "symlink.safetensors"]
