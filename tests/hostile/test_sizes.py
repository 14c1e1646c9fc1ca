"""Sizes that no machine has: refused with their number before any memory is asked for."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.hostile.law import accepted, refused, refused_as_json, start_rss, unharmed
from tests.hostile.warm import warm

LIMIT = {"RLIMIT_AS": 8 * 2**30}  # whatever memory the machine has
HUGE = "1" + "0" * 30
FREE = "expected at most"


@pytest.mark.parametrize(
    "sizes",
    [
        ("--queries", "1000000000", "--keys", "1000000000"), ("--keys", HUGE), ("--keys", str(2**63)),
        ("--num-hiddens", "1000000000", "--heads", "1"), ("--num-hiddens", str(2**32), "--heads", "2"),
        ("--num-hiddens", "3037000500"), ("--batch", str(2**32), "--queries", str(2**32)), ("--batch", HUGE),
        ("--queries", "1000000000000", "--save", "x.safetensors", "--html", "x.html"),
    ],
)  # fmt: skip
def test_a_drawing_of_a_terabyte_is_refused_with_the_number(sizes, tmp_path):
    with unharmed(tmp_path):
        ended = warm("demo", *sizes, "--json", cwd=tmp_path)
        says = ("iB of memory for tensors of these sizes", FREE)
        refused_as_json(ended, "demo", 3, names="attn demo: at least ", says=says)


@pytest.mark.parametrize(
    "sizes",
    [
        ("--seq", "999999999999"), ("--heads", "1000000", "--seq", "1000000"), ("--head-dim", "999999999999"),
        ("--batch", "999999999999", "--heads", "999999999999"), ("--queries", "99999999999", "--seq", "16"),
    ],
)  # fmt: skip
def test_so_is_a_benchmark_of_which_no_case_fits(sizes, tmp_path):
    with unharmed(tmp_path):
        ended = warm("bench", *sizes, "--save", "x.json", "--json", cwd=tmp_path)
        refused_as_json(ended, "bench", 3, names="attn bench: at least ", says=FREE)


def test_a_small_drawing_fits_in_what_ulimit_leaves():
    refused(warm("demo", "--keys", "20000000", limits=LIMIT), 3, says=("44.7 GiB of memory", FREE))
    accepted(warm("demo", limits=LIMIT))


def spread(path, queries, keys, heads=1, layers=1, batch=1):
    """A file of few bytes whose weights are many."""
    size = {"q": (batch, heads, queries, 1), "k": (batch, heads, keys, 1), "v": (batch, heads, keys, 1)}
    prefixes = [""] if layers == 1 else [f"layers.{number}." for number in range(layers)]
    save_file({f"{prefix}{name}": torch.ones(shape) for prefix in prefixes for name, shape in size.items()}, path)
    return str(path)


def test_weights_as_json_are_refused_before_they_are_computed(tmp_path):
    path = spread(tmp_path / "x.safetensors", 100_000, 100_000)
    ended = warm("run", path, "--weights", "--json", limits=LIMIT)
    refused_as_json(
        ended, "run", 3, names="--weights: at least 969 GiB of memory for all weights (1, 1, 100000, 100000)", says=FREE
    )
    few = ("--query", "0-9", "--repeat", "1")
    found = accepted(warm("run", path, "--weights", "--json", *few, limits=LIMIT)).json
    assert np.array(found["data"]["weights"]).shape == (1, 1, 10, 100_000)


def test_weights_of_all_layers_count_together(tmp_path):
    path = spread(tmp_path / "x.safetensors", 1_000, 10_000, layers=10)
    ended = warm("run", path, "--weights", "--json", limits=LIMIT)
    refused_as_json(ended, "run", 3, says=("9.69 GiB of memory for all weights (1, 1, 1000, 10000), of 10 calls", FREE))


def test_a_comparison_of_all_heads_is_refused_before_it_is_made(tmp_path):
    path = spread(tmp_path / "x.safetensors", 1, 1, heads=1000, batch=16)
    ended = warm("run", path, "--similarity", "--json", limits={"RLIMIT_AS": 3 * 2**30})
    refused_as_json(ended, "run", 3, says=("--similarity: ", "every two heads (16, 1000, 1000)", FREE))


def test_many_heads_take_no_longer_than_their_number_asks_for(tmp_path):
    path = spread(tmp_path / "x.safetensors", 2, 2, heads=1000)
    for command in (("run",), ("check",), ("run", "--html", str(tmp_path / "x.html"))):
        accepted(warm(command[0], path, *command[1:]))
    found = accepted(warm("run", path, "--json"))
    assert len(json.loads(found.stdout)["data"]["heads"]) == 1000


def test_many_batch_items_take_no_longer_than_their_number_asks_for(tmp_path):
    """A page of them is larger than its budget, which is known before one is made of every level."""
    path, page = spread(tmp_path / "x.safetensors", 2, 2, batch=4096), str(tmp_path / "x.html")
    for command, *rest in (("check",), ("diff", path, "--html", page)):
        accepted(warm(command, path, *rest, seconds=20.0))  # 3 to 6.5 were seen, and of every level 4 times that


def test_a_figure_of_many_batch_items_is_no_higher_than_a_few_pages(tmp_path):
    """matplotlib holds a sheet of pixels for each picture: 48 of them, below one another, took 3 GiB."""
    path, figure = spread(tmp_path / "x.safetensors", 1, 1, batch=128), tmp_path / "x.svg"
    ended = accepted(warm("run", path, "--svg", str(figure)))
    assert ended.max_rss < start_rss() + 2**30
    assert "pictures of batch 0-4 alone" in figure.read_text(encoding="utf-8")


def test_a_figure_shows_the_first_of_many_heads_and_says_so(tmp_path):
    path, figure = spread(tmp_path / "x.safetensors", 2, 2, heads=300), tmp_path / "x.svg"
    accepted(warm("run", path, "--svg", str(figure)))
    text = figure.read_text(encoding="utf-8")
    assert "pictures of head 0-127 alone" in text
    assert "head 127" in text
    assert "head 128" not in text
