"""``--zoom`` as a shell sees it."""

import json
import math
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.cli.process import MINILM, attn


def document(*arguments):
    done = attn(*arguments, "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    return json.loads(done.stdout, parse_constant=pytest.fail)["data"]


def pictures(*arguments, **env):
    done = attn(*arguments, **env)
    assert (done.returncode, done.stderr) == (0, b"")
    return re.split(r"(?m)^Metrics", re.split(r"(?m)^Heads", done.stdout.decode())[1])[0]


def test_the_window_in_json_is_a_part_of_all_weights():
    data = document("run", MINILM, "--layer", "3", "--weights", "--zoom", "4:9, 2:")
    window = torch.tensor(data["weights"])[:, :, 4:9, 2:]
    torch.testing.assert_close(torch.tensor(data["zoom"]["weights"]), window, atol=1e-6, rtol=1e-5)
    assert data["zoom"]["queries"] == list(range(4, 9))
    plain = document("run", MINILM, "--layer", "3", "--weights")
    assert data["heads"] == plain["heads"]
    assert "zoom" not in plain


def test_every_layer_has_its_window():
    zooms = document("run", MINILM, "--zoom", ":2,:3", "--head", "1")["zoom"]
    assert [zoom["layer"] for zoom in zooms] == [0, 1, 2, 3, 4, 5]
    assert all(torch.tensor(zoom["values"]["weights"]).shape[1:] == (1, 2, 3) for zoom in zooms)


def test_the_window_holds_the_selected_rows_in_it():
    zoom = document("run", MINILM, "--layer", "3", "--query", "9,3,1", "--zoom", "2:10,:")["zoom"]
    assert zoom["queries"] == [9, 3]


@pytest.mark.parametrize("width", [80, 30])
def test_the_terminal_shows_the_window(width):
    text = pictures(
        "run", MINILM, "--layer", "3", "--head", "5", "--batch", "1", "--zoom", "2:8,:12", COLUMNS=str(width)
    )
    assert max(len(line) for line in text.splitlines()) <= width
    said = " ".join(text.split())
    assert "zoom: queries 2-7 of 18, keys 0-11 of 18; each cell is one weight" in said


def test_a_long_causal_call_is_shown_to_the_cell():
    arguments = ("demo", "--batch", "1", "--queries", "1200", "--keys", "1200", "--causal", "--heads", "2")
    text = pictures(*arguments, "--num-hiddens", "8", "--zoom", "1100:1104,1098:1104", COLUMNS="80")
    rows = [line for line in text.splitlines() if re.match(r"110\d ", line)]
    assert [row.split()[0] for row in rows] == ["1100", "1101", "1102", "1103"]
    assert [row.count("·") for row in rows] == [6, 4, 2, 0]  # two heads beside each other, a key more a row


def test_grouped_queries_and_cross_attention(tmp_path):
    generator = torch.Generator().manual_seed(0)
    heads = {"q": (1, 4, 70, 8), "k": (1, 2, 90, 8), "v": (1, 2, 90, 8)}
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in heads.items()}
    save_file(tensors, tmp_path / "x.safetensors")
    data = document("run", str(tmp_path / "x.safetensors"), "--zoom", "60:70,20:40")
    q, k = (load_file(tmp_path / "x.safetensors")[name].double() for name in "qk")
    exact = torch.softmax(q @ k.repeat_interleave(2, dim=1).mT / math.sqrt(8), -1)[:, :, 60:70, 20:40]
    torch.testing.assert_close(torch.tensor(data["zoom"]["weights"]).double(), exact, atol=1e-6, rtol=1e-5)
    assert (data["zoom"]["query_pool"], data["zoom"]["key_pool"]) == (1, 1)


def test_the_lesson_is_followed_by_the_window():
    text = attn("demo", "--steps", "--zoom", "0:1,5:6").stdout.decode()
    assert "step by step" in text
    assert "zoom: query 0 of 4, key 5 of 6" in text
    assert "every key in it is masked" in " ".join(text.split())


def test_a_window_beyond_the_call_is_refused_before_anything_is_computed():
    """The call would take hours."""
    done = attn("demo", "--queries", "300000", "--keys", "300000", "--num-hiddens", "5", "--zoom", "0:300001,:")
    assert done.returncode == 2
    assert done.stderr.decode().startswith("attn: error: --zoom '0:300001,0:': found query rows 0:300001; expected")


def test_a_refused_window_speaks_json_too():
    done = attn("demo", "--zoom", "0:9,:", "--json")
    failure = json.loads(done.stdout)
    assert done.returncode == failure["exit_code"] == 2
    assert (failure["error"]["code"], failure["data"]) == ("usage", None)
