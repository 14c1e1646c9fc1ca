"""Numbers as programs have them: Python's, NumPy's and torch's whole numbers are taken, all else is refused."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import attn_cli
from attn_cli.errors import UsageError


@pytest.fixture
def file(tmp_path):
    """Q, K and V of two batch items with three keys."""
    path = tmp_path / "x.safetensors"
    generator = torch.Generator().manual_seed(0)
    save_file({name: torch.randn(2, 4, 3, 8, generator=generator) for name in "qkv"}, path)
    return path


def heads(shape=(2, 4, 3, 8)):
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(shape, generator=generator) for _ in range(3))


def seen_keys(inspection):
    """How many keys each query of the first head has a weight on, by batch item."""
    return inspection.weights[:, 0].gt(0).sum(dim=-1).tolist()


WAYS = [lambda rows: rows, np.array, torch.tensor, lambda rows: [*np.array(rows)], lambda rows: (*torch.tensor(rows),)]
NAMES = ["list", "array", "tensor", "list of NumPy's", "tuple of tensors"]


@pytest.mark.parametrize("way", WAYS, ids=NAMES)
@pytest.mark.parametrize(
    ("lens", "seen"),
    [([3, 1], [[3, 3, 3], [1, 1, 1]]), ([[1, 2, 3], [3, 3, 2]], [[1, 2, 3], [3, 3, 2]])],
)
def test_lengths_may_be_anybodys_whole_numbers(file, way, lens, seen):
    (call,) = attn_cli.load(file, valid_lens=way(lens))
    assert seen_keys(call.inspect(weights=True)) == seen


@pytest.mark.parametrize(
    ("lens", "message"),
    [
        ([3.0, 2.0], "valid_lens 3.0: expected a whole number"),
        (torch.tensor([3.0, 2.0]), "valid_lens 3.0: expected a whole number"),
        (np.array([True, False]), "valid_lens True: expected a whole number"),
        ([3, [1, 2, 3]], r"valid_lens \[1, 2, 3\]: expected a whole number"),
        ([[1, 2, 3], 3], "valid_lens 3: expected a row of lengths"),
        ([[1, 2, 3], [1, 2]], "found rows of 3, 2 lengths; expected"),
        ([], r"valid_lens \[\]: expected a length a batch item"),
        (3, "valid_lens 3: expected a length a batch item"),
        (True, "valid_lens True: expected a length a batch item"),
        ("32", "valid_lens '32': expected a length a batch item"),
        (torch.ones(1, 2, 3, dtype=torch.int64), r"valid_lens \[1, 1, 1\]: expected a whole number"),
    ],
)
def test_what_is_no_lengths_is_refused(file, lens, message):
    with pytest.raises(UsageError, match=message):
        attn_cli.load(file, valid_lens=lens)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (2, (2,)),
        (np.int64(2), (2,)),
        (torch.tensor(2), (2,)),
        (torch.tensor([2]), (2,)),
        ([np.int32(3), 1, 3], (3, 1)),
        (np.array([3, 1]), (3, 1)),
        (torch.tensor([3, 1]), (3, 1)),
        (range(1, 3), (1, 2)),
        ({2}, (2,)),
    ],
    ids=repr,
)
def test_heads_may_be_anybodys_whole_numbers(file, chosen, expected):
    seen = attn_cli.inspect(*heads(), head=chosen)
    assert seen.index.heads == expected
    assert json.dumps(seen.to_dict())
    (call,) = attn_cli.load(file, head=chosen)
    assert call.inspect().index.heads == expected


@pytest.mark.parametrize(
    ("chosen", "found"),
    [(True, "True"), (1.0, "1.0"), ([True, False, True, True], "True"), (torch.tensor([True, False]), "True"),
     (torch.tensor([1.5]), "1.5"), ("12", "'12'"), ([[1, 2]], r"\[1, 2\]"), (object, "<class 'object'>")],
    ids=repr,
)  # fmt: skip
def test_what_is_no_head_is_refused(chosen, found):
    with pytest.raises(UsageError, match=f"head {found}: expected a whole number"):
        attn_cli.inspect(*heads(), head=chosen)


@pytest.mark.parametrize("window", [1, np.int64(1), torch.tensor(1), (1, 1), np.array([1, 1]), torch.tensor([1, 1])])
def test_a_window_may_be_anybodys_whole_numbers(file, window):
    seen = attn_cli.inspect(*heads(), window=window, weights=True)
    assert seen_keys(seen) == [[2, 3, 2], [2, 3, 2]]
    (call,) = attn_cli.load(file, window=window)
    assert seen_keys(call.inspect(weights=True)) == [[2, 3, 2], [2, 3, 2]]


@pytest.mark.parametrize("window", [(1, 2, 3), (), 1.5, ("1", "2"), True])
def test_what_is_no_window_is_refused(window):
    with pytest.raises(UsageError, match=r"window .*: expected"):
        attn_cli.inspect(*heads(), window=window)


def test_sizes_and_layers_may_be_numpys():
    flat = (x.transpose(1, 2).flatten(2) for x in heads())
    seen = attn_cli.inspect(*flat, num_heads=np.int64(4), num_kv_heads=torch.tensor(4), causal_align=np.int64(0))
    assert seen.metrics["entropy"].shape == (2, 4)
    assert json.dumps(seen.to_dict())
    with pytest.raises(UsageError, match=r"num_heads 4\.0: expected a whole number"):
        attn_cli.inspect(*heads(), num_heads=4.0)
