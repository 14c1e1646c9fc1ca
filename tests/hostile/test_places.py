"""What is no regular file: folders, pipes, devices, sockets, links; and standard input that is none, or has no end."""

import contextlib
import os
import pty
import socket
import subprocess
import sys
import threading
import time

import pytest

from attn_cli.errors import InputError
from attn_cli.inputs import paths
from tests.cli.process import MINILM
from tests.hostile.law import accepted, refused, refused_as_json, start_rss, unharmed
from tests.hostile.making import DATA, npy, npz, safetensors
from tests.hostile.warm import warm

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such files on Windows")
QKV = ("--q", "--k", "--v")


def commands(place):
    """Every way to have a file read; what it has to be refused as."""
    given = str(place)
    return [
        ("run", given), ("check", given), ("diff", given, MINILM), ("diff", MINILM, given),
        ("explain", given, "--head", "0", "--query", "0"), ("run", MINILM, "--weights-file", given),
        ("run", MINILM, "--tokenizer", given), ("bench", "--baseline", given),
        ("run", *(part for flag in QKV for part in (flag, given))),
    ]  # fmt: skip


def folder(path):
    path.mkdir()
    return "is a folder"


def nothing(_path):
    return "no such file"


def loop(path):
    path.symlink_to(path.name)
    return "Too many levels of symbolic links"


def dangling(path):
    path.symlink_to("nowhere")
    return "no such file"


def bound(path):
    with socket.socket(socket.AF_UNIX) as one, contextlib.chdir(path.parent):
        one.bind(path.name)
    return "is a socket"


def zeros(path):
    path.symlink_to("/dev/zero")
    return "is a device"


def void(path):
    path.symlink_to("/dev/null")
    return "is a device"


@pytest.mark.parametrize("make", [folder, nothing, loop, dangling, bound, zeros, void])
def test_what_is_no_file_is_refused_wherever_it_is_named(tmp_path, make):
    path = tmp_path / "x.safetensors"
    says = make(path)
    with unharmed(tmp_path):
        for arguments in commands(path) if make in (folder, zeros) else commands(path)[:1]:
            refused(warm(*arguments), says=(str(path), says))
        refused_as_json(warm("run", str(path), "--json"), "run", names=path, says=says)


@pytest.mark.parametrize("name", ["x.json", "x.safetensors.index.json"])
@pytest.mark.parametrize("make", [folder, zeros])
def test_the_same_for_tokens_and_for_an_index(tmp_path, name, make):
    path = tmp_path / name
    says = make(path)
    refused(
        warm(*(("run", MINILM, "--tokens", str(path)) if name == "x.json" else ("run", str(path)))),
        names=path,
        says=says,
    )


def test_a_file_without_permission_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors())
    path.chmod(0)
    nobody = "import os; os.geteuid() or os.setuid(65534)"  # root may read everything
    refused(warm("run", str(path), before=nobody), names=path, says="cannot be opened (Permission denied)")
    refused_as_json(warm("check", str(path), "--json", before=nobody), "check", names=path, says="Permission denied")


def test_a_file_that_cannot_be_opened_for_want_of_room_is_a_resource_that_failed(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(npz())
    refused(warm("run", str(path), limits={"RLIMIT_NOFILE": 6}), 3, says="Too many open files")


def test_no_file_that_was_refused_is_kept_open(tmp_path):
    contents = {
        ".safetensors": safetensors()[:-9],
        ".npz": npz(q=npy()[:-9]),
        ".pt": b"\x80\x02cos\nmkdir\n.",
        ".bin": b"a",
        ".safetensors.index.json": b'{"weight_map": {"q": "0.safetensors", "k": "0.npz", "v": "0.npz"}}',
    }
    files = [tmp_path / f"{number}{suffix}" for number in range(20) for suffix in contents]
    for path in files:
        path.write_bytes(contents["".join(path.suffixes)])
    ended = warm("check", *map(str, files), limits={"RLIMIT_NOFILE": 64})
    assert ended.returncode == 2
    assert (ended.err.count("attn: error: "), ended.err.count("Too many")) == (len(files), 0)


def test_a_missing_file_in_a_folder_of_many_is_told_soon(tmp_path):
    """Of names that are compared with it each takes a millisecond."""
    folder, missing = tmp_path / "many", f"{'y' * 100}{'x' * 130}.pt"
    folder.mkdir()
    for number in range(12_000):
        (folder / f"{number:0230}.pt").touch()
    (folder / missing.replace("y", "z", 1)).touch()
    ended = warm("run", str(folder / missing))
    refused(ended, names=folder / missing, says=("no such file", "there is "))


@pytest.mark.skipif(sys.platform != "linux", reason="there is no such file elsewhere")
def test_a_resource_that_fails_hides_nothing_of_what_was_refused_before(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors()[:-9])
    broken = tmp_path / "nan.safetensors"
    broken.write_bytes(safetensors(data=b"\xff" * len(DATA)))
    ended = warm("check", str(broken), str(path), "/proc/self/mem", "--json")
    first, second = ended.err.splitlines()
    assert first.startswith("attn: error: /proc/self/mem: cannot be read (Input/output error)")
    assert second.startswith(f"attn: error: {path}: holds 759 bytes")
    assert (ended.returncode, ended.json["error"]["code"]) == (3, "resource")
    assert ended.json["findings"][0]["code"] == "ATTN001"


def test_a_pipe_that_nobody_writes_to_is_refused_in_time(tmp_path):
    pipe = tmp_path / "x.safetensors"
    os.mkfifo(pipe)
    started = time.monotonic()
    refused(warm("run", str(pipe)), names=pipe, says="is a pipe that nobody wrote to for 5 s")
    assert time.monotonic() - started > 1


@pytest.mark.parametrize("before", [("run",), ("run", MINILM, "--tokens")])
def test_a_pipe_that_somebody_holds_open_in_silence_is_refused_too(tmp_path, before):
    pipe = tmp_path / "x.json"
    os.mkfifo(pipe)
    holder = os.open(pipe, os.O_RDWR)
    shorter = "import attn_cli.inputs.paths as paths; paths.WRITER_SECONDS = 1.0"
    try:
        refused(warm(*before, str(pipe), before=shorter), names=pipe, says="is a pipe that nobody wrote to for 1 s")
    finally:
        os.close(holder)


@pytest.mark.skipif(sys.platform != "linux", reason="open files are not listed elsewhere")
@pytest.mark.parametrize("is_held", [True, False])
def test_a_pipe_that_was_given_up_is_closed(tmp_path, monkeypatch, is_held):
    pipe = tmp_path / "x"
    os.mkfifo(pipe)
    monkeypatch.setattr(paths, "WRITER_SECONDS", 0.05)
    with open(os.open(pipe, os.O_RDWR), "rb") if is_held else contextlib.nullcontext():
        before = os.listdir("/proc/self/fd")
        with pytest.raises(InputError, match="is a pipe that nobody wrote to"):
            paths.opened(str(pipe))
        assert os.listdir("/proc/self/fd") == before


@pytest.mark.skipif(sys.platform != "linux", reason="there is no such file elsewhere")
def test_a_file_whose_bytes_cannot_be_read_is_named():
    refused(warm("run", "/proc/self/mem"), 3, names="/proc/self/mem: cannot be read (Input/output error)")


@pytest.mark.parametrize("arguments", [("run", MINILM, "--tokenizer"), ("run", MINILM, "--q")])
def test_a_pipe_is_refused_where_it_would_have_to_be_sought_in(tmp_path, arguments):
    pipe = tmp_path / "x.json"
    os.mkfifo(pipe)
    if arguments[-1] == "--q":
        arguments = ("run", *(part for flag in QKV for part in (flag, str(pipe))))
        refused(warm(*arguments), names=pipe, says="is a pipe")
    else:
        refused(warm(*arguments, str(pipe)), names=pipe, says="is a pipe")


MANY_OPEN = """
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (2048, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
for _ in range(1100): os.dup(0)
"""


@pytest.mark.parametrize(("content", "before"), [(safetensors(), ""), (npz(), MANY_OPEN)])
def test_a_pipe_that_is_written_to_slowly_is_read(tmp_path, content, before):
    pipe = tmp_path / "x.bin"
    os.mkfifo(pipe)

    def write():
        time.sleep(0.2)
        with pipe.open("wb", buffering=0) as stream:
            for start in range(0, len(content), 300):
                stream.write(content[start : start + 300])
                time.sleep(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    accepted(warm("run", str(pipe), before=before))
    writer.join()


STDIN = {
    "empty": (b"", "standard input is empty"),
    "one byte": (b"a", "is in no format that attn knows"),
    "text": (b"hello\n" * 1000, "is in no format that attn knows"),
    "zeros": (bytes(10**5), "is in no format"),
    "an .npy": (npy(), "a .npy file holds one array without a name"),
    "a header cut short": (safetensors()[:100], "ends in its header, 100 bytes from its beginning"),
    "data cut short": (safetensors()[:-9], "holds 759 bytes of tensors where its header says 768"),
    "bytes behind it": (safetensors() + b"a", "holds more than the"),
    "a header of 2**40 bytes": (safetensors(length=2**40), "is in no format"),
    "a petabyte": (safetensors({"q": {"dtype": "U8", "shape": [2**50], "data_offsets": [0, 2**50]}}), "the room in"),
    "a zip cut short": (npz()[:-50], "does not end as a zip does"),
}


@pytest.mark.parametrize("case", STDIN)
def test_standard_input_is_refused_and_nothing_of_it_is_left(tmp_path, case):
    content, says = STDIN[case]
    with unharmed(tmp_path):
        ended = warm("run", "-", stdin=content, TMPDIR=str(tmp_path))
    refused(ended, 3 if case == "a petabyte" else 2, names="-: ", says=says)


@pytest.mark.parametrize("command", ["run", "check", "diff", "explain"])
def test_every_command_refuses_it_in_json_too(command):
    rest = {"diff": [MINILM], "explain": ["--head", "0", "--query", "0"]}.get(command, [])
    refused_as_json(warm(command, "-", *rest, "--json", stdin=b"hello"), command, names="-: ", says="no format")


def endless(*begin):
    """What never stops writing."""
    return subprocess.Popen(["sh", "-c", " ".join(begin)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("how", ["cat /dev/zero", "yes", "yes '\\200\\2'"])
def test_an_input_without_end_is_refused_by_its_beginning(tmp_path, how):
    with endless(how) as source:
        with unharmed(tmp_path):
            ended = warm("run", "-", stdin=source.stdout.fileno(), TMPDIR=str(tmp_path))
        source.kill()
    refused(ended, names="-: ", says="is in no format")


def test_an_input_that_is_longer_than_it_says_is_refused_as_soon_as_it_is(tmp_path):
    begin = tmp_path / "begin"
    begin.write_bytes(safetensors())
    spool = tmp_path / "spool"
    spool.mkdir()
    with endless(f"cat {begin} /dev/zero") as source:
        ended = warm("run", "-", stdin=source.stdout.fileno(), TMPDIR=str(spool))
        source.kill()
    refused(ended, names="-: ", says="bytes that its header tells of")
    assert not list(spool.iterdir())
    assert ended.max_rss < start_rss() + 2**28


def test_an_input_that_does_not_say_how_long_it_is_has_a_limit(tmp_path):
    begin = tmp_path / "begin"
    begin.write_bytes(npz())
    spool = tmp_path / "spool"
    spool.mkdir()
    shorter = "import attn_cli.inputs.spool as spool; spool.MOST_PIPED = 2**24"
    with endless(f"cat {begin} /dev/zero") as source:
        ended = warm("run", "-", stdin=source.stdout.fileno(), TMPDIR=str(spool), before=shorter)
        source.kill()
    refused(ended, names="-: ", says=("is longer than", "hint: name a file"))
    assert not list(spool.iterdir())


def test_an_input_that_fills_the_disk_is_a_resource_that_failed(tmp_path):
    ended = warm("run", "-", stdin=npz(), TMPDIR=str(tmp_path), limits={"RLIMIT_FSIZE": 500})
    refused(ended, 3, names="-: cannot be copied to", says="hint: point TMPDIR to a folder with more room")
    assert not list(tmp_path.iterdir())


def test_a_terminal_as_standard_input_is_refused_at_once():
    ours, theirs = pty.openpty()
    try:
        refused(warm("run", "-", stdin=theirs), names="-: ", says=("is a terminal", "hint: cat FILE | attn run -"))
        refused(warm("run", "/dev/stdin", stdin=theirs), names="/dev/stdin: is a device")
    finally:
        os.close(ours)
        os.close(theirs)


def test_standard_input_that_is_a_file_or_a_device_is_read_as_such(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors())
    with path.open("rb") as stream:
        accepted(warm("run", "-", stdin=stream.fileno()))
    with path.open("rb") as stream:
        accepted(warm("run", "/dev/stdin", stdin=stream.fileno()))
    with open("/dev/null", "rb") as stream:
        refused(warm("run", "-", stdin=stream.fileno()), names="-: standard input is empty")
    with open("/dev/zero", "rb") as stream:
        refused(warm("run", "-", stdin=stream.fileno()), names="-: is in no format")


def test_standard_input_that_cannot_be_read_is_no_fault_of_the_folder_for_copies(tmp_path):
    with open(tmp_path / "x", "wb") as only_written, open("/proc/self/mem", "rb") as faulty, unharmed(tmp_path):
        for stream, code, reason in ((only_written, 2, "Bad file descriptor"), (faulty, 3, "Input/output error")):
            ended = warm("run", "-", stdin=stream.fileno(), TMPDIR=str(tmp_path))
            refused(ended, code, names=f"-: cannot be read ({reason}); expected ")
            assert "hint" not in ended.err


def test_standard_input_that_is_closed_is_refused():
    closed = "import os, sys; os.close(0); sys.stdin = None"
    refused(warm("run", "-", before=closed), names="-: standard input is closed")


ONCE = """
import os
read, given = os.preadv, []
def once(number, into, offset):
    if given:
        raise BlockingIOError(11, "Resource temporarily unavailable")
    given.append(number)
    return read(number, into, offset)
os.preadv = once
"""


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="files are read otherwise there")
def test_a_file_that_gives_something_once_is_told_as_one_that_cannot_be_read(tmp_path):
    """As the kernel's messages, where there is one at the moment."""
    path = tmp_path / "messages"
    path.write_bytes(b"<6>[1.0] a word of the kernel's\n")
    refused(warm("run", str(path), before=ONCE), names=f"{path}: ", says="Resource temporarily unavailable")


@pytest.mark.skipif(not os.access("/proc/kmsg", os.R_OK), reason="root alone may read what the kernel says")
def test_a_file_that_has_nothing_to_give_yet_is_not_waited_for():
    """It counts as a regular one; where the kernel has something to say, that is no such file."""
    place = "/proc/kmsg"
    for given in (("run", place), ("run", "--q", place, "--k", place, "--v", place), ("bench", "--baseline", place),
                  ("diff", MINILM, place), ("run", MINILM, "--weights-file", place)):  # fmt: skip
        refused(warm(*given), names=f"{place}: ")
