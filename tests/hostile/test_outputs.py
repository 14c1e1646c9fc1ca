"""Every option that writes a file, sent onto every place where a file must not be, or may oddly be."""

import os
import shutil
import stat

import pytest

from tests.cli.process import MINILM
from tests.hostile.law import accepted, refused, refused_as_json, unharmed
from tests.hostile.surroundings import BENCH, BOUND_BY_PERMISSIONS, DIFF, EXPLAIN, LAYER, MEASURED_BENCH
from tests.hostile.warm import warm

# An option, the name that its file has, and a command line that has it.
OPTIONS = {
    "run --save": (("run", *LAYER), "--save", "out.safetensors"),
    "run --html": (("run", *LAYER), "--html", "out.html"),
    "run --svg": (("run", *LAYER), "--svg", "out.svg"),
    "run --png": (("run", *LAYER), "--png", "out.png"),
    "run --pdf": (("run", *LAYER), "--pdf", "out.pdf"),
    "run --screenshot": (("run", *LAYER), "--screenshot", "out.svg"),
    "demo --save": (("demo",), "--save", "out.safetensors"),
    "demo --html": (("demo",), "--html", "out.html"),
    "check --screenshot": (("check", *LAYER), "--screenshot", "out.svg"),
    "check --html": (("check", *LAYER), "--html", "out.html"),
    "diff --screenshot": (DIFF, "--screenshot", "out.svg"),
    "diff --html": (DIFF, "--html", "out.html"),
    "explain --screenshot": (EXPLAIN, "--screenshot", "out.svg"),
    "bench --save": (BENCH, "--save", "out.json"),
    "bench --html": (BENCH, "--html", "out.html"),
    "bench --svg": (BENCH, "--svg", "out.svg"),
    "bench --screenshot": (BENCH, "--screenshot", "out.svg"),
    "record -o": (("record",), "-o", "out.safetensors"),
    "record --stats -o": (("record", "--stats"), "-o", "out.jsonl"),
}
each_option = pytest.mark.parametrize("name", OPTIONS)


def written(name, path, *more, cwd=None, **how):
    """Run the option's command with this path; record's has a program behind it, which would leave a trace."""
    command, option, _ = OPTIONS[name]
    line = [*command, option, str(path), *more]
    if command[0] == "record":
        line += ["program.py"]
    return warm(*line, before=MEASURED_BENCH + how.pop("before", ""), **({"cwd": cwd} if cwd else {}), **how)


@pytest.fixture
def place(tmp_path):
    """A folder for the outputs, with a program in it that ``record`` would run."""
    (tmp_path / "program.py").write_text("open('ran', 'w')")
    return tmp_path


@each_option
def test_the_next_option_is_no_name_of_an_output(place, name):
    """As in ``--html --json``, where the name was forgotten; where it needs a suffix, that alone says it."""
    path = f"--head{os.path.splitext(OPTIONS[name][2])[1]}"
    with unharmed(place):
        refused(written(name, path, cwd=place), names=f"{path}: ", says="expected the name of a file")


def test_a_name_with_a_line_break_forges_no_line(place):
    with unharmed(place):
        refused(written("run --html", "-\n-json", cwd=place), names="-\\n-json: ", says="or ./-\\n-json")


def special(folder, suffix):
    """Places that are no regular file, by what is to be said of them; all end as the option expects."""
    (folder / f"folder{suffix}").mkdir()
    os.mkfifo(folder / f"fifo{suffix}")
    (folder / f"null{suffix}").symlink_to("/dev/null")
    (folder / f"loop{suffix}").symlink_to(folder / f"loop{suffix}")
    (folder / f"lost{suffix}").symlink_to(folder / "nowhere" / "x")
    (folder / "file").write_text("")
    return {
        f"folder{suffix}": "is no regular file",
        f"fifo{suffix}": "is no regular file",
        f"null{suffix}": "is no regular file",
        f"loop{suffix}": "Too many levels of symbolic links",
        f"lost{suffix}": "no such folder",
        f"nowhere/out{suffix}": "no such folder",
        f"file/out{suffix}": "Not a directory",
        "x" * 256 + suffix: "File name too long",
        "/".join(["y" * 200] * 30) + suffix: "File name too long",
    }


@each_option
def test_what_is_no_place_for_a_file_is_refused_before_anything_is_computed(name, place):
    suffix = os.path.splitext(OPTIONS[name][2])[1]
    places = special(place, suffix)
    chosen = places if name in ("run --save", "run --html") else dict(list(places.items())[::3])
    with unharmed(place):
        for path, says in chosen.items():
            line = refused(written(name, path, cwd=place), 3, names=path[:100], says=says)
            assert "cannot be written" in line


@each_option
def test_a_name_that_is_that_of_a_folder_makes_no_file(name, place):
    new = f"new{os.path.splitext(OPTIONS[name][2])[1]}"
    goes_by_suffix = OPTIONS[name][1] in ("--svg", "--png", "--pdf", "--screenshot")
    with unharmed(place):
        for path in (f"{new}/", f"{new}/."):
            ended = written(name, path, cwd=place)
            if goes_by_suffix:
                refused(ended, names=OPTIONS[name][1], says="expected a name")
            else:
                refused(ended, 3, names=path, says="cannot be written: it is the name of a folder")


def test_the_refusal_speaks_json_too(tmp_path):
    for command in ("run", "demo", "check"):
        option, path = ("--html", "no/x.html")
        file = () if command == "demo" else LAYER
        refused_as_json(warm(command, *file, option, path, "--json", cwd=tmp_path), command, 3, names=path)


@pytest.mark.parametrize("kind", ["itself", "symlink", "hardlink", "dotted"])
def test_the_input_is_recognised_under_every_name(kind, tmp_path):
    path = tmp_path / "in.svg.html.safetensors"
    shutil.copy(MINILM, path)
    makes = {"symlink": lambda other: other.symlink_to(path), "hardlink": lambda other: other.hardlink_to(path)}
    for number, (option, suffix) in enumerate(
        [("--save", ".safetensors"), ("--html", ".html"), ("--screenshot", ".svg")]
    ):
        other = tmp_path / f"other{number}{suffix}"
        if kind in makes:
            makes[kind](other)
        elif option == "--save":
            other = path if kind == "itself" else tmp_path / "x" / ".." / path.name
            (tmp_path / "x").mkdir(exist_ok=True)
        else:
            continue
        with unharmed(tmp_path):
            ended = warm("run", str(path), "--layer", "3", option, str(other))
            refused(ended, names=f"{option} {other}", says="would replace the input")


def test_all_that_is_read_besides_is_input_too(tmp_path):
    for name in ("tokens.json", "tokenizer.json", "weights.safetensors", "shard-1.safetensors", "base.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "w.safetensors.index.json").write_text('{"weight_map": {"a": "shard-1.safetensors"}}')
    (tmp_path / "link.svg").symlink_to("shard-1.safetensors")
    (tmp_path / "link.html").symlink_to("tokens.json")
    index = ("--weights-file", "w.safetensors.index.json")
    for arguments, says in [
        (("run", *LAYER, *index, "--save", "shard-1.safetensors"), "would replace the input"),
        (("run", *LAYER, *index, "--screenshot", "link.svg"), "would replace the input"),
        (("run", *LAYER, "--weights-file", "weights.safetensors", "--save", "weights.safetensors"), "the input"),
        (("check", *LAYER, "--tokens", "tokens.json", "--html", "link.html"), "would replace the input"),
        ((*BENCH, "--baseline", "base.json", "--save", "base.json"), "would replace the input"),
    ]:
        with unharmed(tmp_path):
            refused(warm(*arguments, cwd=tmp_path), names=f"{arguments[-2]} {arguments[-1]}", says=says)


def test_the_files_behind_the_standard_streams_are_recognised(tmp_path):
    path = tmp_path / "in.safetensors"
    shutil.copy(MINILM, path)
    with open(path, "rb") as file, unharmed(tmp_path):
        refused(warm("run", "-", "--save", str(path), stdin=file.fileno()), names=path, says="standard input")
    for option in ("--save", "--html"):
        out = tmp_path / "printed"
        with open(out, "wb") as file:
            ended = warm("demo", option, str(out), stdout=file.fileno())
            refused(ended, names=out, says="would replace standard output")
            refused(
                warm("demo", option, "/dev/stdout", stdout=file.fileno()), names="/dev/stdout", says="standard output"
            )
        assert out.read_bytes() == b""
    with open(tmp_path / "errors", "w+b") as file:
        ended = warm("demo", "--save", str(tmp_path / "errors"), stderr=file.fileno())
        file.seek(0)
        assert (ended.returncode, b"would replace standard error" in file.read()) == (2, True)


def test_a_file_that_has_no_name_any_more_is_recognised(tmp_path):
    """What is said of such a file, ``x (deleted)``, is no name to write to."""
    path = tmp_path / "gone"
    path.touch()
    with path.open("r+b") as file:
        path.unlink()
        number = file.fileno()
        with unharmed(tmp_path):
            ended = warm("demo", "--save", "/dev/stdin", stdin=number)
            refused(ended, names="/dev/stdin", says="would replace standard input")
            for option, path in (("--html", "/proc/self/fd/1"), ("--save", "/dev/stdout")):
                refused(warm("demo", option, path, stdout=number), names=path, says="would replace standard output")
            path = f"/proc/{os.getpid()}/fd/{number}"
            refused(
                warm("demo", "--save", path), 3, names=path, says="cannot be written: the file behind it was removed"
            )


PAIRS = [
    ("--save a", "--html a"), ("--html a", "--save ./a"), ("--html a", "--svg link.svg"),
    ("--svg b.svg", "--screenshot b.svg"), ("--html old", "--save old"), ("--html a", "--save new-link"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_two_outputs_with_one_place(first, second, tmp_path):
    (tmp_path / "link.svg").symlink_to("a")
    (tmp_path / "new-link").symlink_to("a")
    (tmp_path / "old").write_text("old")
    with unharmed(tmp_path):
        ended = warm("demo", *first.split(), *second.split(), cwd=tmp_path)
        refused(ended, names="--", says="would replace the other output")


@pytest.mark.parametrize("name", ["run --save", "run --html", "demo --save", "check --screenshot", "bench --save"])
def test_a_link_stays_and_what_is_behind_it_is_replaced(name, tmp_path):
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "file", tmp_path / f"link{os.path.splitext(OPTIONS[name][2])[1]}"
    link.symlink_to("real/file")  # to a file that is not there yet
    for _ in range(2):
        accepted(written(name, link))
        assert link.is_symlink()
        assert stat.S_ISREG(real.lstat().st_mode)
        assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(["file", link.name, "real"])


def test_another_name_of_a_replaced_file_keeps_what_it_had(tmp_path):
    (tmp_path / "a").write_text("before")
    os.link(tmp_path / "a", tmp_path / "b")
    accepted(warm("demo", "--save", str(tmp_path / "a")))
    assert (tmp_path / "b").read_text() == "before"
    assert (tmp_path / "a").stat().st_nlink == 1


@pytest.mark.parametrize("name", ["x" * 243, "ж" * 121, "\udcff\udc80", " .\n[red]"])
def test_odd_names_that_the_disk_takes(name, tmp_path):
    for arguments, suffix in ((("demo", "--save"), ".safetensors"), (("run", *LAYER, "--html"), "")):
        path = tmp_path / f"{name}{suffix}"
        accepted(warm(*arguments, str(path)))
        assert path.stat().st_size > 1000
    assert len(list(tmp_path.iterdir())) == 2


MODES = [(None, 0o022, 0o644), (None, 0o077, 0o600), (0o600, 0o022, 0o600), (0o664, 0o077, 0o664), (0o4755, 0, 0o755)]


@pytest.mark.parametrize(("before", "umask", "after"), MODES)
def test_permissions_are_those_of_the_file_that_was_there(before, umask, after, tmp_path):
    for option, name in (("--save", "a"), ("--html", "b")):
        path = tmp_path / name
        if before is not None:
            path.write_text("")
            path.chmod(before)
        accepted(warm("demo", option, str(path), before=f"import os; os.umask({umask})"))
        assert stat.S_IMODE(path.stat().st_mode) == after


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may give files away")
def test_root_leaves_a_file_to_its_owner(tmp_path):
    path = tmp_path / "a"
    path.write_text("")
    os.chown(path, 12345, 54321)
    accepted(warm("demo", "--save", str(path)))
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize(
    ("owner", "is_member", "before", "after"),
    [(12345, True, 0o660, 0o660), (0, False, 0o660, 0o600), (0, False, 0o675, 0o655)],
)
def test_a_group_keeps_its_rights_and_no_other_gets_them(owner, is_member, before, after, tmp_path):
    """Whoever may not give a file to its owner may give it to a group of theirs."""
    path = tmp_path / "a"
    path.write_text("")
    path.chmod(before)
    os.chown(path, owner, 54321)
    groups = f"import os; os.setgroups({[54321] if is_member else []})\n"
    accepted(warm("demo", "--save", str(path), before=groups + BOUND_BY_PERMISSIONS))
    status = path.stat()
    assert (status.st_uid, status.st_gid) == (0, 54321 if is_member else os.getegid())
    assert stat.S_IMODE(status.st_mode) == after


HALF_SECRET = """
import os, attn_cli.reporters.saved as saved
save_file = saved.save_file
def looked_at(tensors, path, metadata):
    os.write(2, b"%o" % (os.stat(path).st_mode & 0o777))
    save_file(tensors, path, metadata)
saved.save_file = looked_at
"""


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_a_private_file_is_private_while_it_is_written(mode, tmp_path):
    """Its group is given to it with the rest."""
    path = tmp_path / "a"
    path.write_text("")
    path.chmod(mode)
    assert warm("demo", "--save", str(path), before=HALF_SECRET).err == "600"


ORDER = """
import os
fsync, chown, replace = os.fsync, os.chown, os.replace
def told(*what):
    os.write(2, (" ".join(map(str, what)) + "\\n").encode())
os.fsync = lambda file: told("on disk", os.fstat(file).st_ino)
os.chown = lambda path, *owner: told("owner", os.stat(path).st_ino, *owner)
os.replace = lambda path, target: (told("named", os.stat(path).st_ino), replace(path, target))
"""


def test_a_file_has_its_owner_and_is_on_the_disk_before_it_gets_its_name(tmp_path):
    """Seen by what is asked of the system: only root may give files away, and no test survives a crash."""
    path = tmp_path / "a"
    path.write_text("")
    owner = path.stat()
    ended = warm("demo", "--save", str(path), before=ORDER)
    number = path.stat().st_ino
    assert ended.err.splitlines() == [
        f"owner {number} {owner.st_uid} {owner.st_gid}", f"on disk {number}", f"named {number}"
    ]  # fmt: skip


@pytest.mark.parametrize("option", ["--save", "--pdf"])
def test_what_another_file_refuses_while_one_is_written_is_told_as_its_own(option, tmp_path):
    """Such as a font that a figure needs."""
    other = tmp_path / "other"
    before = f"""
import attn_cli.reporters.saved as saved
from matplotlib.figure import Figure
saved.save_file = Figure.savefig = lambda *_, **__: open({str(other)!r}, "rb")
"""
    ended = warm("demo", option, str(tmp_path / f"x{'' if option == '--save' else '.pdf'}"), before=before)
    refused(ended, 3, names=f"{other}: No such file or directory")
    assert os.listdir(tmp_path) == []


SEED_ONE = """
import os, sys
if not os.fork():
    sys.argv[sys.argv.index("--seed") + 1] = "1"
"""


@pytest.mark.parametrize("option", ["--save", "--html"])
def test_two_runs_that_save_to_one_path_leave_the_whole_file_of_one(option, tmp_path):
    path, seen, drawn = tmp_path / "x", set(), set()
    for seed in ("0", "1"):
        accepted(warm("demo", "--seed", seed, "--save", str(path)))
        drawn.add(path.read_bytes())
    path.unlink()
    for _ in range(3):
        read, write = os.pipe()

        def look(_child, end=read, other=write):
            os.close(other)
            while os.read(end, 2**16):  # to the end of both
                if path.exists():
                    seen.add(path.read_bytes())

        warm("demo", "--seed", "0", option, str(path), before=SEED_ONE, stdout=write, meanwhile=look)
        os.close(read)
        seen.add(path.read_bytes())
    assert {one[:9].lower() for one in seen} == {b"<!doctype"} if option == "--html" else seen <= drawn
    assert all(one.endswith(b"</html>\n") for one in seen if option == "--html")
    assert os.listdir(tmp_path) == ["x"]


def test_a_file_left_by_a_run_that_was_killed_is_no_hindrance(tmp_path):
    killed = """
import os, signal, attn_cli.reporters.atomic as atomic
atomic._flush_to_disk = lambda path: os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "x.safetensors"
    assert warm("demo", "--save", str(path), before=killed).returncode == -9
    left = list(tmp_path.iterdir())
    assert len(left) == 1
    assert left[0].name.startswith(".x.safetensors.")
    accepted(warm("demo", "--save", str(path), before=f"import os; os.getpid = lambda: {left[0].name.split('.')[-3]}"))
    accepted(warm("run", str(path)))
    assert left[0].exists()
