"""Pipes, and when a file is opened, read and let go."""

import os
import sys
import tempfile
import threading
from dataclasses import dataclass
from typing import BinaryIO

import pytest
import torch

from attn_cli.errors import ResourceError
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.source import open_calls
from tests.inputs.files import heads, load, refusal, write


@dataclass
class Stdin:
    """Standard input as a pipe."""

    buffer: BinaryIO
    is_terminal: bool = False
    closed: bool = False

    def isatty(self):
        return self.is_terminal


@pytest.fixture
def pipe(monkeypatch):
    """Feeds bytes to standard input through a real pipe."""
    threads = []

    def feed(content):
        reading, writing = os.pipe()
        file = os.fdopen(writing, "wb")

        def pump():
            with file:
                file.write(content)

        threads.append(threading.Thread(target=pump))
        threads[-1].start()
        monkeypatch.setattr(sys, "stdin", Stdin(os.fdopen(reading, "rb")))

    yield feed
    for thread in threads:
        thread.join()
    sys.stdin.buffer.close()


@pytest.fixture(autouse=True)
def spool_folder(tmp_path, monkeypatch):
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
def test_standard_input_is_spooled_and_removed(tmp_path, pipe, spool_folder, suffix):
    tensors = heads()
    with open(write(tmp_path / f"x{suffix}", tensors), "rb") as file:
        pipe(file.read())
    with open_calls(ReadOptions(file="-")) as source:
        assert len(os.listdir(spool_folder)) == 1
        call = source.plans[0].load()
    assert os.listdir(spool_folder) == []
    assert call.source == "-"
    assert torch.equal(call.inputs.v, tensors["v"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "-: standard input is empty; expected safetensors, .npz or .pt bytes"),
        (b"hello, this is text", "-: is in no format that attn knows; expected safetensors, .npz or .pt bytes"),
        (b"PK\x03\x04 broken", "-: does not end as a zip does"),
        (b"\x93NUMPY\x01\x00", "-: a .npy file holds one array"),
    ],
)
def test_other_bytes_on_standard_input_are_refused_and_removed(pipe, spool_folder, content, message):
    pipe(content)
    assert message in refusal("-")
    assert os.listdir(spool_folder) == []


def test_a_terminal_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(sys, "stdin", Stdin(None, is_terminal=True))
    assert "-: standard input is a terminal" in refusal("-")
    monkeypatch.setattr(sys, "stdin", None)
    assert "-: standard input is closed" in refusal("-")


def test_a_full_disk_is_a_resource_error_and_leaves_nothing(pipe, monkeypatch, spool_folder):
    def full(*_):
        raise OSError(28, "No space left on device")

    pipe(b"x")
    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(ResourceError, match=r"-: cannot be copied to .* \(No space left on device\)"):
        open_calls(ReadOptions(file="-"))
    assert os.listdir(spool_folder) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_read_like_standard_input(tmp_path, spool_folder):
    tensors = heads()
    with open(write(tmp_path / "x.safetensors", tensors), "rb") as file:
        content = file.read()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    thread = threading.Thread(target=fifo.write_bytes, args=(content,))
    thread.start()
    call = load(str(fifo))
    thread.join()
    assert torch.equal(call.inputs.q, tensors["q"])
    assert os.listdir(spool_folder) == []


def test_standard_input_cannot_be_two_files():
    assert "- and --weights-file -: standard input can be read once" in refusal("-", weights_file="-")


def test_a_missing_weights_file_is_named(tmp_path):
    path = write(tmp_path / "x.safetensors", heads())
    assert f"{tmp_path / 'w.npz'}: no such file" in refusal(path, weights_file=str(tmp_path / "w.npz"))


def test_a_plan_knows_its_place_before_anything_is_read(tmp_path):
    tensors = heads(prefix="layers.4.")
    with open_calls(ReadOptions(file=write(tmp_path / "x.safetensors", tensors))) as source:
        (plan,) = source.plans
        assert (plan.prefix, plan.layer) == ("layers.4", 4)
        first, second = plan.load(), plan.load()
    assert torch.equal(first.inputs.q, second.inputs.q)
    assert first.inputs.index.total_heads == 4
