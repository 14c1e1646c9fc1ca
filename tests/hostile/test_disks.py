"""Disks that are full, read-only or not allowed, for every output; what was there stays, and nothing is left over."""

import os
import shutil
import sys

import pytest
from safetensors import safe_open

from tests.cli.process import MINILM
from tests.hostile.law import accepted, refused, refused_as_json, unharmed
from tests.hostile.making import safetensors, three
from tests.hostile.surroundings import BOUND_BY_PERMISSIONS, LAYER, can_mount, mounted_onto, read_only_disk, small_disk
from tests.hostile.test_outputs import OPTIONS, written
from tests.hostile.warm import Ended, warm

mounting = pytest.mark.skipif("linux" not in sys.platform or not can_mount(), reason="this user may not mount a disk")
posix = pytest.mark.skipif(os.name != "posix", reason="a system without such permissions")
# The report of a check alone has 4 KB as a picture, and a recording is a program's.
FILLING = [
    "run --save",
    "run --html",
    "run --svg",
    "demo --save",
    "diff --html",
    "explain --screenshot",
    "bench --save",
]
filling = pytest.mark.parametrize("name", FILLING)
FEW = pytest.mark.parametrize("name", ["run --save", "run --html", "run --png", "explain --screenshot", "bench --save"])


def told(ended: Ended) -> Ended:
    """The same without the line that a small disk adds, which must not name anything new."""
    *lines, left = ended.err.splitlines(keepends=True)
    assert left == "left: before\n"
    return Ended(ended.returncode, b"", "".join(lines).encode(), ended.max_rss, ended.timed_out)


@mounting
@filling
def test_a_full_disk_is_told_and_holds_nothing_of_the_file(name, tmp_path):
    path = tmp_path / OPTIONS[name][2]
    ended = told(written(name, path, before=small_disk(tmp_path, 4096)))
    refused(ended, 3, names=path, says=("cannot be written", "No space left on device"))


@FEW
def test_a_file_that_may_not_grow_so_large_leaves_what_was_there(name, tmp_path):
    path = tmp_path / OPTIONS[name][2]
    path.write_text("before")
    with unharmed(tmp_path), open(os.devnull, "wb") as nothing:
        ended = written(name, path, stdout=nothing.fileno(), limits={"RLIMIT_FSIZE": 1000})
    assert (ended.returncode, ended.timed_out, "Traceback" in ended.err) == (3, False, False)
    assert ended.err.splitlines()[0].startswith(f"attn: error: {path}: cannot be written: ")


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("command", ["run", "demo"])
def test_of_several_outputs_all_are_written_or_none(command, is_there, tmp_path):
    """The page is too large for the disk, and what is saved is not."""
    given, small, page = tmp_path / "x.safetensors", tmp_path / "o.safetensors", tmp_path / "o.html"
    given.write_bytes(safetensors(three()))
    for path in (small, page) if is_there else ():
        path.write_text("before")
    what = [str(given)] if command == "run" else ["--num-hiddens", "8", "--heads", "2"]
    asked = [*what, "--save", str(small), "--html", str(page)]
    with unharmed(tmp_path):
        ended = warm(command, *asked, limits={"RLIMIT_FSIZE": 40_000})
        refused(ended, 3, names=page, says="cannot be written")
    accepted(warm(command, *asked))
    assert small.stat().st_size < 40_000 < page.stat().st_size


@mounting
@pytest.mark.parametrize("name", OPTIONS)
def test_a_file_that_something_is_mounted_onto_is_refused_before_anything_is_computed(name, tmp_path):
    (tmp_path / "program.py").write_text("open('ran', 'w')")
    path, source = tmp_path / OPTIONS[name][2], tmp_path / "source"
    path.write_text("before")
    source.write_text("mounted")
    with unharmed(tmp_path):
        ended = written(name, path, before=mounted_onto(path, source), cwd=tmp_path)
        refused(ended, 3, names=path, says="cannot be written: a disk or file is mounted onto it")


@mounting
def test_a_name_that_another_output_cannot_get_is_not_taken_by_the_first(tmp_path):
    paths = [tmp_path / name for name in ("o.safetensors", "o.html", "source")]
    for path in paths:
        path.write_text("before")
    asked = "--save", str(paths[0]), "--html", str(paths[1])
    with unharmed(tmp_path):
        refused(warm("demo", *asked, before=mounted_onto(paths[1], paths[2])), 3, names=paths[1])


LAST_NAME_REFUSED = """
import errno, os
rename = os.replace
def replace(old, new):
    if str(new).endswith(".png"):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), new)
    rename(old, new)
os.replace = replace
"""
NO_LINKS = """
import errno, os
def link(old, new):
    os.stat(old)
    raise OSError(errno.EPERM, os.strerror(errno.EPERM), old, None, new)
os.link = link
"""


@pytest.mark.parametrize("there", [(), ("o.html",), ("o.safetensors", "o.html", "o.png")], ids=len)
def test_outputs_that_have_their_names_give_them_back_where_another_is_refused_its_own(there, tmp_path):
    """Which a file system may do for reasons of its own, when all are whole."""
    for name in there:
        (tmp_path / name).write_text("before")
    asked = [part for option, name in (("--html", "o.html"), ("--save", "o.safetensors"), ("--png", "o.png"))
             for part in (option, str(tmp_path / name))]  # fmt: skip
    with unharmed(tmp_path):
        ended = warm("run", *LAYER, *asked, before=LAST_NAME_REFUSED)
        refused(ended, 3, names=f"{tmp_path / 'o.png'}: cannot be written: Device or resource busy")
    accepted(warm("run", *LAYER, *asked))
    assert sorted(os.listdir(tmp_path)) == ["o.html", "o.png", "o.safetensors"]


def test_on_a_disk_without_hard_links_outputs_are_whole_and_none_is_lost(tmp_path):
    """What was replaced by then stays so; what was not there is not there."""
    older, new, last = (tmp_path / name for name in ("o.safetensors", "o.html", "o.png"))
    older.write_text("before")
    asked = "--save", str(older), "--html", str(new), "--png", str(last)
    ended = warm("run", *LAYER, *asked, before=LAST_NAME_REFUSED + NO_LINKS)
    refused(ended, 3, names=f"{last}: cannot be written: Device or resource busy")
    with safe_open(older, "pt") as saved:
        assert set(saved.keys()) == {"output", "lse"}
    assert os.listdir(tmp_path) == [older.name]


ENDED_BETWEEN = """
import os, signal
rename, named = os.replace, []
def replace(*names):
    rename(*names)
    if not named:
        os.kill(os.getpid(), signal.SIGTERM)
    named.append(names)
os.replace = replace
"""


@posix
def test_a_signal_comes_before_all_outputs_or_behind_them(tmp_path):
    paths = [tmp_path / "o.safetensors", tmp_path / "o.html"]
    for path in paths:
        path.write_text("before")
    ended = warm("demo", "--save", str(paths[0]), "--html", str(paths[1]), before=ENDED_BETWEEN)
    assert (ended.returncode, ended.err) == (143, "attn: ended by SIGTERM\n")
    assert len({path.read_bytes() == b"before" for path in paths}) == 1
    assert sorted(os.listdir(tmp_path)) == ["o.html", "o.safetensors"]


def test_a_full_disk_speaks_json(tmp_path):
    path = tmp_path / "x.safetensors"
    with open(tmp_path / "printed", "wb") as out:
        ended = warm("demo", "--json", "--save", str(path), stdout=out.fileno(), limits={"RLIMIT_FSIZE": 1000})
    ended = Ended(ended.returncode, (tmp_path / "printed").read_bytes(), ended.stderr, ended.max_rss, ended.timed_out)
    refused_as_json(ended, "demo", 3, names=path, says="cannot be written")
    assert os.listdir(tmp_path) == ["printed"]


READ_ONLY = [(name, "bit") for name in OPTIONS]
READ_ONLY += [(name, how) for how in ("mount", "immutable") for name in ("run --save", "bench --html", "record -o")]


@pytest.mark.parametrize(("name", "how"), READ_ONLY)
def test_a_read_only_folder_is_refused_before_anything_is_computed(name, how, tmp_path):
    (tmp_path / "program.py").write_text("open('ran', 'w')")
    folder, path = tmp_path / "folder", tmp_path / "folder" / OPTIONS[name][2]
    folder.mkdir()
    before = _made_read_only(folder, how)
    try:
        with unharmed(tmp_path):
            ended = written(name, path, before=before, cwd=tmp_path)
            refused(ended, 3, names=path, says="cannot be written: its folder is read-only")
    finally:
        folder.chmod(0o755) if how == "bit" else how == "immutable" and os.system(f"chattr -i '{folder}'")


def _made_read_only(folder, how):
    if how == "bit":
        folder.chmod(0o555)
        return BOUND_BY_PERMISSIONS
    if how == "mount":
        if not can_mount():
            pytest.skip("this user may not mount a disk")
        return read_only_disk(folder)
    if not shutil.which("chattr") or os.system(f"chattr +i '{folder}' 2>/dev/null"):
        pytest.skip("no file can be made immutable here")
    return ""


@posix
@FEW
def test_a_write_protected_file_is_not_replaced(name, tmp_path):
    path = tmp_path / OPTIONS[name][2]
    path.write_text("before")
    path.chmod(0o444)
    with unharmed(tmp_path):
        ended = written(name, path, before=BOUND_BY_PERMISSIONS)
        refused(ended, 3, names=path, says="cannot be written: it is write-protected")


@posix
def test_folders_that_may_not_be_entered_or_listed(tmp_path):
    closed, blind = tmp_path / "closed", tmp_path / "blind"
    for folder, mode in ((closed, 0o666), (blind, 0o333)):
        folder.mkdir()
        shutil.copy(MINILM, folder / "x.safetensors")
        folder.chmod(mode)
    refused(
        warm("run", str(closed / "x.safetensors"), before=BOUND_BY_PERMISSIONS), names=closed, says="ermission denied"
    )
    ended = warm("demo", "--save", str(closed / "y.safetensors"), before=BOUND_BY_PERMISSIONS)
    refused(ended, 3, names=closed, says="cannot be written: Permission denied")
    accepted(warm("demo", "--save", str(blind / "y.safetensors"), before=BOUND_BY_PERMISSIONS))
    accepted(warm("run", str(blind / "x.safetensors"), "--layer", "3", before=BOUND_BY_PERMISSIONS))
    for folder in (closed, blind):
        folder.chmod(0o755)


@mounting
@pytest.mark.parametrize("json", [(), ("--json",)])
def test_a_temporary_folder_without_room_for_what_is_piped_in(tmp_path, json):
    with open(MINILM, "rb") as file:
        content = file.read()
    ended = told(warm("run", "-", *json, stdin=content, before=small_disk(tmp_path, 8192), TMPDIR=str(tmp_path)))
    refused(ended, 3, names="-: ", says=("expected at most", "TMPDIR"))


@pytest.mark.parametrize("kind", ["missing", "a file", "not to be written to"])
def test_a_temporary_folder_that_is_none(kind, tmp_path):
    """Without pipes attn needs none; with one Python looks for another folder, and attn says where none is found."""
    (tmp_path / "a file").write_text("")
    nowhere = "import tempfile; tempfile._candidate_tempdir_list = lambda: [__import__('os').environ['TMPDIR']]\n"
    folder = tmp_path / kind
    if kind == "not to be written to":
        folder.mkdir(mode=0o555)
        nowhere += BOUND_BY_PERMISSIONS
    with open(MINILM, "rb") as file:
        content = file.read()
    accepted(warm("run", *LAYER, before=nowhere, TMPDIR=str(folder)))
    accepted(warm("run", "-", "--layer", "3", stdin=content, TMPDIR=str(folder)))
    ended = warm("run", "-", stdin=content, before=nowhere, TMPDIR=str(folder))
    refused(ended, 3, names="-: cannot be copied", says="TMPDIR")


def test_a_folder_that_vanishes_while_attn_runs(tmp_path):
    gone = "import os, shutil, attn_cli.commands.drawing as drawing\ndraw_call = drawing.draw_call\n" + (
        f"drawing.draw_call = lambda drawing: (shutil.rmtree({str(tmp_path / 'x')!r}), draw_call(drawing))[1]"
    )
    for option, name in (("--save", "a.safetensors"), ("--html", "a.html"), ("--screenshot", "a.svg")):
        (tmp_path / "x").mkdir()
        ended = warm("demo", option, str(tmp_path / "x" / name), before=gone)
        refused(ended if option != "--screenshot" else Ended(ended.returncode, b"", ended.stderr, 0, ended.timed_out),
                3, names=tmp_path, says="No such file or directory")  # fmt: skip
    assert os.listdir(tmp_path) == []
