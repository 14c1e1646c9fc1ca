"""Files of many calls, a late one of which the header already shows to be wrong: refused before anything is read."""

import pytest
import torch
from safetensors.torch import save_file

from tests.hostile.law import accepted, refused, refused_as_json
from tests.hostile.test_values import heads, module, ones, zeros
from tests.hostile.warm import warm

READ = "numbers were read"
TELLING = f"""
import sys
from attn_cli.inputs.readers.safetensors_file import SafetensorsFile
plain = SafetensorsFile.read
def read(self, name):
    sys.stderr.write("{READ}\\n")
    return plain(self, name)
SafetensorsFile.read = read
"""  # nothing is computed of what is not read
FAULTS = {
    "head dimension": (heads() | {"k": zeros(1, 2, 4, 7)}, "head dimension 7; expected 8"),
    "groups": (heads(heads=3, kv_heads=2), "3 query heads for 2 key/value heads"),
    "rank": (heads() | {"q": zeros(8)}, "expected (B, H, S, D)"),
    "whole numbers": (heads() | {"q": zeros(1, 2, 3, 8, dtype=torch.int64)}, "expected float64"),
    "mask": (heads(mask=ones(3, 5)), "to broadcast to (B, Hq, Sq, Sk) = (1, 2, 3, 4)"),
    "complex mask": (heads(mask=ones(3, 4, dtype=torch.complex64)), "expected booleans, or whole numbers 0 and 1"),
    "float mask": (heads(mask=ones(3, 4, dtype=torch.float32)), "a float mask is added to the logits: call it bias"),
    "bias": (heads(bias=zeros(2, 3, 5)), "to broadcast to (B, Hq, Sq, Sk) = (1, 2, 3, 4)"),
    "boolean bias": (heads(bias=ones(3, 4)), "a boolean mask is called mask"),
    "lengths": (heads(valid_lens=zeros(2, dtype=torch.int64)), "expected (1,), one a batch item"),
    "complex lengths": (heads(valid_lens=zeros(1, dtype=torch.complex64)), "expected whole numbers"),
    "sinks": (heads(sinks=zeros(3)), "expected (2,), one logit a query head"),
    "token ids": (heads(token_ids=zeros(1, 5, dtype=torch.int64)), "expected (1, 4), a token id a key"),
    "fractions as ids": (heads(token_ids=zeros(1, 4)), "expected whole numbers, a token id a key"),
    "W_q": (module(q_proj__weight=zeros(8, 7)), "7 input features; expected 8"),
    "W_k": (module(k_proj__weight=zeros(7, 8), k_proj__bias=zeros(7)), "head dimension 7; expected 4"),
    "W_o": (module(o_proj__weight=zeros(8, 9)), "9 input features; expected 8, 2 heads of 4"),
    "bias of W_v": (module(v_proj__bias=zeros(9)), "with a bias of shape (9,); expected (8,)"),
}


def written(path, late, **metadata):
    """A file of three calls, the last of which is ``late``."""
    first = module() if "hidden_states" in late else heads()
    calls = {0: first, 1: first, 2: late}
    tensors = {f"layers.{layer}.{name}": x.clone() for layer, call in calls.items() for name, x in call.items()}
    save_file(tensors, path, {"num_heads": "2", **metadata})
    return str(path)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_header_shows_is_refused_before_anything_is_read(tmp_path, fault):
    late, says = FAULTS[fault]
    path = written(tmp_path / "x.safetensors", late)
    line = refused(warm("run", path, before=TELLING), names=path, says=("layers.2.", says))
    assert refused(warm("run", path, "--layer", "2", before=TELLING)) == line


@pytest.mark.parametrize("fault", ["head dimension", "mask", "W_o"])
def test_so_it_is_by_every_command_that_computes_several(tmp_path, fault):
    late, says = FAULTS[fault]
    path, fine = written(tmp_path / "x.safetensors", late), tmp_path / "fine.safetensors"
    written(fine, module() if "hidden_states" in late else heads())
    for command, *rest in (("check",), ("diff",), ("diff", "--dtype", "float64"), ("run", "--weights")):
        files = [path] * (command == "diff") if rest else [str(fine)] * (command == "diff")
        ended = warm(command, *files, path, "--json", *rest, before=TELLING)
        refused_as_json(ended, command, names=path, says=("layers.2.", says))


def test_a_call_that_is_not_selected_is_no_reason_to_refuse(tmp_path):
    path = written(tmp_path / "x.safetensors", FAULTS["head dimension"][0])
    for command, *more in (("run",), ("check",), ("diff", path), ("explain", "--head", "0", "--query", "0")):
        ended = warm(command, path, *more, "--layer", "1", before=TELLING)
        assert READ in ended.err
        accepted(ended)


@pytest.mark.parametrize("flag", ["--valid-lens", "--query", "--tokens"])
def test_an_option_that_does_not_fit_a_late_call_is_refused_as_soon(tmp_path, flag):
    path, tokens = written(tmp_path / "x.safetensors", heads(queries=2, keys=3)), tmp_path / "tokens.json"
    tokens.write_text('["a", "b", "c", "d"]')
    value, says = {
        "--valid-lens": ("4", "found 4 at [0]; expected whole numbers from 0 to 3"),
        "--query": ("2", "expected 0 to 1, of 2 query rows"),
        "--tokens": (str(tokens), "has 1 list of 4 texts; expected 1 list of 3"),
    }[flag]
    refused(warm("run", path, flag, value, before=TELLING), says=says)
    accepted(warm("run", path, flag, value, "--layer", "0"))


def test_what_only_numbers_show_is_told_when_they_are_read(tmp_path):
    path = written(tmp_path / "x.safetensors", heads(mask=zeros(3, 4, dtype=torch.int64) + 2))
    ended = warm("run", path, before=TELLING)
    assert ended.err.startswith(READ)
    assert ended.returncode == 2
    assert "layers.2.mask is (3, 4) int64: found 2; expected booleans" in ended.err
