"""--screenshot: what the terminal shows as a picture."""

import re
from html import unescape
from xml.etree import ElementTree

import pytest
from safetensors.numpy import save_file

from tests.cli.process import MINILM, attn


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
    assert "url(http" not in svg.replace('"', "")
    assert "@font-face" not in svg


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
