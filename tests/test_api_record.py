"""``attn_cli.record``: a block of a program records its own attention."""

import gc
import glob
import json
import os
import sys
import tempfile
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import nn

import attn_cli
from attn_cli.errors import AttnError, UsageError
from attn_cli.reporters.terminal.recorded import HEARD
from tests.cli.process import python


def model(layers=2, seed=0):
    torch.manual_seed(seed)
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


def attend(*tensors, times=1, then=None):
    """So many calls; afterwards an exception where one is to be raised."""
    for _ in range(times):
        F.scaled_dot_product_attention(*(tensors or heads()))
    if then is not None:
        raise then


def heads(seed=0, shape=(1, 2, 5, 8)):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=generator) for _ in range(3))


def names(path):
    with safe_open(path, framework="pt") as file:
        return set(file.keys())


def test_a_training_step_is_the_same_and_its_calls_are_on_file(tmp_path):
    path, x = tmp_path / "c.safetensors", torch.randn(2, 5, 16)
    plain, heard = model(), model()
    expected = plain(x)
    expected.sum().backward()
    with attn_cli.record(path) as recording:
        found = heard(x)
        found.sum().backward()
    assert torch.equal(found, expected)
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(plain.parameters(), heard.parameters(), strict=True))
    assert recording.heard.kept == 2
    assert recording.path == str(path)
    calls = attn_cli.load(path)
    assert [call.layer for call in calls] == [0, 1]
    for call in calls:
        output = F.scaled_dot_product_attention(call.q, call.k, call.v)
        torch.testing.assert_close(call.inspect(device="cpu").output, output)


def test_the_calls_of_a_block_can_be_had_without_a_file():
    q, k, v = heads()
    with attn_cli.record() as recording:
        expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        F.scaled_dot_product_attention(q, k, v)
    assert recording.path is None
    assert len(recording.calls) == 2
    seen = recording.calls[0].inspect(weights=True, device="cpu")
    torch.testing.assert_close(seen.output, expected)
    assert torch.equal(seen.weights[0, 0] > 0, torch.ones(5, 5).tril() > 0)


def test_what_is_kept_without_a_file_goes_with_its_last_user(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with attn_cli.record() as recording:
        F.scaled_dot_product_attention(*heads())
    call = recording.calls[0]
    del recording
    gc.collect()
    assert call.inspect().verification.holds
    del call
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_after_the_block_the_functions_are_the_programs_own():
    before = (F.scaled_dot_product_attention, F.multi_head_attention_forward)
    with attn_cli.record() as recording:
        F.scaled_dot_product_attention(*heads())
    F.scaled_dot_product_attention(*heads())
    assert (F.scaled_dot_product_attention, F.multi_head_attention_forward) == before
    assert recording.heard.calls == 1


class OwnError(Exception):
    pass


def test_the_programs_exception_passes_through_and_the_calls_so_far_are_there(tmp_path):
    path, error = tmp_path / "c.safetensors", OwnError("mine")
    with pytest.raises(OwnError) as raised, attn_cli.record(path) as recording:
        attend(then=error)
    assert raised.value is error
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    assert len(recording.calls) == len(attn_cli.load(path)) == 1
    assert os.listdir(tmp_path) == ["c.safetensors"]


def test_sys_exit_within_the_block_is_no_reason_to_lose_calls(tmp_path):
    program = (
        "import sys, torch, attn_cli\n"
        "with attn_cli.record('c.safetensors'):\n"
        "    torch.nn.functional.scaled_dot_product_attention(*torch.randn(3, 1, 2, 5, 8))\n"
        "    sys.exit(3)\n"
    )
    assert python(program, cwd=tmp_path).returncode == 3
    assert len(attn_cli.load(tmp_path / "c.safetensors")) == 1


def test_where_nothing_is_recorded_a_warning_says_so_and_nothing_is_replaced(tmp_path):
    path = tmp_path / "c.safetensors"
    path.write_text("older")
    with (
        pytest.warns(RuntimeWarning, match="no attention call was heard") as told,
        attn_cli.record(path),
    ):
        pass
    assert [warning.filename for warning in told] == [__file__]
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == ["c.safetensors"]


def test_where_no_function_of_attention_is_heard_the_warning_names_them():
    x = torch.randn(1, 2, 5, 8)
    with pytest.warns(RuntimeWarning, match="no attention call was heard") as told, attn_cli.record():
        torch.softmax(x @ x.mT, dim=-1) @ x
    (warning,) = told
    assert HEARD in str(warning.message)
    assert "scaled_dot_product_attention" in HEARD


def test_a_function_kept_from_before_is_not_heard_and_the_warning_names_the_remedy():
    table = {"sdpa": F.scaled_dot_product_attention}
    with pytest.warns(RuntimeWarning, match="look it up when it is called") as told, attn_cli.record() as recording:
        table["sdpa"](*heads())
    assert recording.heard.calls == 0
    assert "attn record" in str(told[0].message)


def test_calls_that_were_heard_and_not_kept_are_counted():
    with (
        pytest.warns(RuntimeWarning, match="no attention call was kept, of 2 that were heard") as told,
        attn_cli.record(layers="other.*"),
    ):
        attend(times=2)
    assert HEARD not in str(told[0].message)


def test_a_warning_that_is_an_error_does_not_hide_the_programs_own():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(OwnError), attn_cli.record():
            raise OwnError


def test_the_file_is_not_there_before_the_block_ends(tmp_path):
    path = tmp_path / "c.safetensors"
    with attn_cli.record(path) as recording:
        F.scaled_dot_product_attention(*heads())
        assert not path.exists()
        assert recording.heard.kept == 1
        with pytest.raises(RuntimeError, match="once the block has ended"):
            _ = recording.calls
    assert path.exists()


def test_a_second_recording_inside_one_is_refused_and_the_first_goes_on(tmp_path):
    with attn_cli.record(tmp_path / "a.safetensors") as recording:
        F.scaled_dot_product_attention(*heads())
        with pytest.raises(RuntimeError, match="one recording at a time"), attn_cli.record(tmp_path / "b.safetensors"):
            pytest.fail("not reached")
        F.scaled_dot_product_attention(*heads())
    assert recording.heard.kept == 2
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_a_recording_is_used_once():
    recording = attn_cli.record()
    with recording:
        F.scaled_dot_product_attention(*heads())
    with pytest.raises(RuntimeError, match="call record again"), recording:
        pytest.fail("not reached")


def test_recordings_one_after_the_other_each_hear_their_own():
    recordings = []
    for count in (1, 2):
        with attn_cli.record() as recording:
            for _ in range(count):
                F.scaled_dot_product_attention(*heads())
        recordings.append(recording)
    assert [len(recording.calls) for recording in recordings] == [1, 2]


def test_an_inspection_within_a_recording_is_not_heard():
    with attn_cli.record() as recording:
        F.scaled_dot_product_attention(*heads())
        for backend in ("auto", "math", "flex"):
            assert attn_cli.inspect(*heads(), backend=backend).verification.holds
    assert recording.heard.calls == 1


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"layers": "layers.1.*"}, [1]),
        ({"layers": ["layers.0.*", "layers.2.*"]}, [0, 2]),
        ({"calls": range(1, 3)}, [1, 2]),
        ({"calls": (2, None)}, [2]),
        ({"calls": (np.int64(1), torch.tensor(2))}, [1]),
    ],
)
def test_only_the_calls_that_are_asked_for_are_kept(options, kept):
    with attn_cli.record(**options) as recording:
        model(3)(torch.randn(1, 4, 16))
    assert [call.layer for call in recording.calls] == kept
    assert recording.heard.calls == 3


def test_only_some_heads_in_another_dtype(tmp_path):
    q, k, v = heads(shape=(1, 4, 5, 8))
    with attn_cli.record(tmp_path / "c.safetensors", heads=[3, 1], dtype=torch.bfloat16) as recording:
        F.scaled_dot_product_attention(q, k, v)
    (call,) = recording.calls
    assert call.q.dtype == torch.bfloat16
    torch.testing.assert_close(call.q, q[:, [1, 3]].bfloat16())
    assert call.inspect().index.heads == (1, 3)


def test_a_full_recording_keeps_what_fits_and_says_so(tmp_path):
    size = 4 * 2 * 5 * 8 * 4  # q, k, v and output
    recording = attn_cli.record(tmp_path / "c.safetensors", max_bytes=size + 1)
    with pytest.warns(RuntimeWarning, match="full after 1 call, of 3 that were heard"), recording:
        attend(times=3)
    assert recording.heard.is_full
    assert len(recording.calls) == 1


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_what_cannot_be_recorded_is_counted_in_one_warning():
    nested = torch.nested.nested_tensor([torch.randn(3, 2, 8), torch.randn(4, 2, 8)], layout=torch.jagged)
    q, recording = nested.transpose(1, 2), attn_cli.record()
    with pytest.warns(RuntimeWarning, match=r"could not be recorded: .*nested.*\(2\)") as told, recording:
        attend(q, q, q, times=2)
    assert [warning.category for warning in told].count(RuntimeWarning) == 1


def test_stats_are_lines_of_json_and_no_tensors(tmp_path):
    path = tmp_path / "c.jsonl"
    with attn_cli.record(path, stats=True) as recording:
        model()(torch.randn(1, 4, 16))
        assert not path.exists()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["layer"] for line in lines] == [0, 1]
    assert all(line["schema"] == "attn.record/1" for line in lines)
    assert recording.heard.kept == 2
    with pytest.raises(UsageError, match="stats keep none"):
        _ = recording.calls


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of a file's size")
def test_a_line_that_the_disk_took_in_part_is_not_in_the_file(tmp_path):
    program = (
        "import glob, os, resource, torch, attn_cli\n"
        "with attn_cli.record('c.jsonl', stats=True) as recording:\n"
        "    torch.nn.functional.scaled_dot_product_attention(*torch.randn(3, 1, 2, 5, 8))\n"
        "    size = os.path.getsize(glob.glob('.c.jsonl.*/lines')[0])\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 500, resource.RLIM_INFINITY))\n"
        "    torch.nn.functional.scaled_dot_product_attention(*torch.randn(3, 1, 2, 5, 8))\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "assert 'OSError' in recording.heard.fault\n"
    )
    done = python(program, cwd=tmp_path)
    assert done.returncode == 0, done.err
    assert [json.loads(line)["number"] for line in (tmp_path / "c.jsonl").read_text().splitlines()] == [0]


def test_stats_without_a_call_replace_nothing(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text("older")
    with pytest.warns(RuntimeWarning, match="no attention call was heard"), attn_cli.record(path, stats=True):
        pass
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == ["c.jsonl"]


def test_a_tokenizer_is_found_wherever_the_program_goes(tmp_path, monkeypatch):
    model = {"type": "WordLevel", "vocab": {"a": 0, "b": 1}, "unk_token": "a"}
    (tmp_path / "words.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)

    class Attends(nn.Module):
        def forward(self, input_ids):
            x = input_ids[:, None, :, None] + torch.zeros(1, 2, 1, 8)
            return F.scaled_dot_product_attention(x, x, x)

    with attn_cli.record(tokenizer="words.json") as recording:
        os.chdir("elsewhere")
        Attends()(torch.tensor([[1, 0, 1]]))
    assert recording.calls[0].inspect().call.tokens == (("b", "a", "b"),)


def test_a_forked_child_has_no_part_in_the_recording(tmp_path):
    program = (
        "import os, torch, attn_cli\n"
        "with attn_cli.record('c.safetensors'):\n"
        "    torch.nn.functional.scaled_dot_product_attention(*torch.randn(3, 1, 2, 5, 8))\n"
        "    child = os.fork()\n"
        "if not child:\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
    )
    done = python(program, cwd=tmp_path)
    assert done.returncode == 0, done.err
    assert len(attn_cli.load(tmp_path / "c.safetensors")) == 1
    assert os.listdir(tmp_path) == ["c.safetensors"]


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("c.pt", {}, "is not written as .pt; expected .safetensors"),
        ("c.jsonl", {}, "expected .safetensors"),
        ("c.safetensors", {"stats": True}, "expected .jsonl"),
        (None, {"stats": True}, "expected a path"),
        ("nowhere/c.safetensors", {}, "no such folder"),
        ("c.safetensors", {"calls": (5, 5)}, "expected a first call from 0, and a stop above it"),
        ("c.safetensors", {"calls": range(0, 9, 2)}, "expected a first call from 0"),
        ("c.safetensors", {"dtype": "int8"}, "dtype 'int8': expected one of float64"),
        ("c.safetensors", {"heads": []}, "heads: expected whole numbers from 0"),
        ("c.safetensors", {"max_bytes": -1}, "max_bytes -1: expected a whole number from 0"),
        ("c.jsonl", {"max_bytes": 9, "stats": True}, "expected none with stats"),
        ("c.safetensors", {"tokenizer": "tokenizer.json"}, "tokenizer"),
        ("c.safetensors", {"tokenizer": __file__}, "it is not valid JSON .*expected a tokenizer.json"),
        ("c.safetensors", {"heads": 1.0}, "heads 1.0: expected a whole number"),
        ("c.safetensors", {"heads": [True]}, "heads True: expected a whole number"),
        ("c.safetensors", {"calls": 5}, "calls 5: expected"),
        ("c.safetensors", {"calls": (0.5, None)}, "calls .0.5, None.: expected"),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_the_block(tmp_path, monkeypatch, path, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AttnError, match=message):
        attn_cli.record(path, **options)
    assert glob.glob(str(tmp_path / "**"), recursive=True) == [f"{tmp_path}/"]
