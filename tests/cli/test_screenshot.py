"""--screenshot: what the terminal shows as a picture."""

import re
from html import unescape
from xml.etree import ElementTree

import pytest
from safetensors.numpy import save_file

from tests.cli.process import MINILM, attn
from tests.hostile.warm import warm


def words(path):
    """The text of the picture, with plain blanks."""
    text = " ".join(ElementTree.parse(path).getroot().itertext())
    return " ".join(unescape(text).replace("\xa0", " ").split())


def test_the_picture_holds_what_the_terminal_shows_in_colour(tmp_path):
    out = tmp_path / "out.svg"
    done = attn("run", MINILM, "--layer", "3", "--head", "5", "--batch", "0", "--screenshot", str(out))
    assert (done.returncode, done.stderr) == (0, b"")
    shown = words(out)
    for line in ("layer 3", "Heads", "Strongest pairs", "No findings", "head 5 · sink"):
        assert line in " ".join(done.stdout.decode().split())
        assert line in shown
    assert "attn run" in shown
    assert "--screenshot" not in shown
    colours = set(re.findall(r"#[0-9a-f]{6}", out.read_text()))
    assert len(colours) > 10  # the cells are coloured, though standard output is no terminal


def test_it_asks_nothing_of_a_network(tmp_path):
    out = tmp_path / "out.svg"
    assert attn("demo", "--screenshot", str(out)).returncode == 0
    svg = out.read_text()
    assert set(re.findall(r"url\((.)", svg)) == {"#"}  # parts of its own
    assert not re.search("@font-face|@import", svg)
    attributes = {name for element in ElementTree.parse(out).getroot().iter() for name in element.attrib}
    assert not any(name.endswith(("href", "src")) for name in attributes)


def test_a_lesson_is_in_the_picture(tmp_path):
    out = tmp_path / "out.svg"
    assert attn("demo", "--steps", "--screenshot", str(out)).returncode == 0
    assert "scores = Q · Kᵀ" in words(out)


def test_hostile_text_stays_text(tmp_path):
    import json

    import numpy as np

    q = np.ones((1, 1, 2, 4), np.float32)
    tokens = json.dumps([["</text><script>alert(1)</script>", "@font-face {}"]])
    save_file({"q": q, "k": q, "v": q}, tmp_path / "in.safetensors", {"tokens": tokens})
    out = tmp_path / "out.svg"
    assert attn("run", str(tmp_path / "in.safetensors"), "--screenshot", str(out)).returncode == 0
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(out).getroot().iter()}
    assert "script" not in tags


def test_a_title_holds_whatever_a_path_does_and_fits_into_the_bar(tmp_path):
    out, save = tmp_path / "out.svg", tmp_path / ("a\x1b[31m" + "b" * 80 + ".safetensors")
    assert warm("demo", "--save", str(save), "--screenshot", str(out)).returncode == 0
    title = next(text for text in ElementTree.parse(out).getroot().iter() if text.get("class") == "attn-title")
    assert len(title.text) < 85
    assert "\x1b" not in title.text


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """A file that attn check finds an error in."""
    import numpy as np

    path = tmp_path_factory.mktemp("bad") / "bad.safetensors"
    good = np.ones((1, 1, 2, 4), np.float32)
    q = good.copy()
    q[0, 0, 1, 2] = np.nan
    save_file({"q": good, "k": good, "v": good}, path.with_name("good.safetensors"))
    save_file({"q": q, "k": good, "v": good}, path)
    return path


@pytest.mark.parametrize(
    ("arguments", "code", "heading"),
    [
        (["check", MINILM], 0, "no findings"),
        (["check", "bad.safetensors", MINILM], 1, "ATTN001"),
        (["check", "--rule", "ATTN003"], 0, "ATTN003"),
        (["diff", MINILM, "--layer", "0", "--against", "math"], 0, "within"),
        (["diff", "bad.safetensors", "good.safetensors"], 1, "good.safetensors"),
        (["explain", MINILM, "--layer", "3", "--head", "5", "--query", "2", "--key", "0"], 0, "No findings"),
        (
            ["bench", "--seq", "16", "--backend", "math,textbook", "--min-time", "0.01", "--device", "cpu"],
            0,
            "textbook",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_every_report_becomes_a_picture_and_the_exit_code_stays(arguments, code, heading, bad, tmp_path):
    out = tmp_path / "out.svg"
    done = warm(*arguments, "--screenshot", str(out), cwd=bad.parent, FORCE_COLOR="3")
    assert (done.returncode, done.stderr) == (code, b"")
    printed = re.sub(r"\x1b\[[\d;]*m", "", done.stdout.decode())
    assert heading in printed
    assert "".join(printed.split()) in "".join(words(out).split())  # the whole of it, file by file


def test_a_check_that_ends_in_an_error_leaves_an_older_picture_alone(bad, tmp_path):
    out, broken = tmp_path / "out.svg", tmp_path / "broken.safetensors"
    out.write_text("older")
    broken.write_bytes(b"no file of tensors")
    done = warm("check", str(bad), str(broken), "--screenshot", str(out))
    assert done.returncode == 2
    assert b"ATTN001" in done.stdout
    assert out.read_text() == "older"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", MINILM, "--json"], "with --json the terminal shows no report"),
        (["check", "--rule", "all", "--json"], "with --json the terminal shows no report"),
        (["check", MINILM, "in.svg"], "would replace the input in.svg"),
        (["diff", MINILM, MINILM, "--json"], "with --json the terminal shows no report"),
        (["diff", MINILM, "in.svg"], "would replace the input in.svg"),
        (["explain", MINILM, "--head", "0", "--query", "0", "--json"], "with --json the terminal shows no report"),
        (["bench", "--json"], "with --json the terminal shows no report"),
        (["bench", "--markdown"], "with --markdown the terminal shows no report"),
        (["bench", "--baseline", "in.svg"], "would replace the input in.svg"),
        (["bench", "--save", "out.json", "--screenshot", "out.json"], "expected a name such as out.svg"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_every_command_refuses_as_run_does(arguments, said, tmp_path):
    (tmp_path / "in.svg").write_text("a file")
    given = arguments if "--screenshot" in arguments else [*arguments, "--screenshot", "in.svg"]
    done = warm(*given, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr.decode()
    assert [path.name for path in tmp_path.iterdir()] == ["in.svg"]
    assert (tmp_path / "in.svg").read_text() == "a file"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--screenshot", "out.png"], "expected a name such as out.svg"),
        (["--screenshot", "out.svg", "--json"], "with --json the terminal shows no report"),
        (["--screenshot", "nowhere/out.svg"], "no such folder"),
        (["--screenshot", "out.svg", "--svg", "out.svg"], "would replace the other output"),
    ],
)
def test_what_cannot_be_written_is_refused_beforehand(tmp_path, arguments, said):
    done = attn("run", MINILM, *arguments, cwd=tmp_path)
    assert done.returncode in (2, 3)
    assert said in done.stderr.decode()
    assert list(tmp_path.iterdir()) == []
