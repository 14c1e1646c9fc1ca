"""The header is read as the safetensors library reads it, and where the two differ ours is the stricter."""

import io
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file

from attn_cli.errors import InputError
from attn_cli.inputs.readers.opened import OpenFile
from attn_cli.inputs.readers.safetensors_file import SafetensorsFile
from attn_cli.inputs.readers.safetensors_header import read_header

WHOLE = save({"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(0, 4), "c": torch.ones(5, dtype=torch.int8)})
LENGTH = int.from_bytes(WHOLE[:8], "little")
TEXT, DATA = WHOLE[8 : 8 + LENGTH].rstrip(), WHOLE[8 + LENGTH :]
FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
WHOLE_NUMBERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32]


def by_library(path):
    """Names with shapes, or None where the library refuses the file."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError:
        return None


def by_us(content):
    """The same by attn."""
    try:
        entries = read_header(io.BytesIO(content), len(content), "x").entries
    except InputError:
        return None
    return {name: entry.shape for name, entry in entries.items()}


def file_of(text):
    """A file of this header."""
    return len(text).to_bytes(8, "little") + text + DATA


CHANGES = st.sampled_from(
    [
        "0",
        "1",
        "24",
        "29",
        "-1",
        "9999999999999999999999",
        "[]",
        "{}",
        "null",
        '"a"',
        '"F32"',
        '"Q4"',
        "1.5",
        "[2,3]",
        "[24,24]",
    ]
)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_what_is_accepted_is_accepted_by_the_library_and_read_alike(tmp_path_factory, data):
    header = json.loads(TEXT)
    for _ in range(data.draw(st.integers(0, 2))):
        entry = header[data.draw(st.sampled_from(sorted(header)))]
        key = data.draw(st.sampled_from(["dtype", "shape", "data_offsets"]))
        entry[key] = json.loads(data.draw(CHANGES))
    content = file_of(json.dumps(header).encode())
    path = tmp_path_factory.getbasetemp() / "header.safetensors"
    path.write_bytes(content)
    ours, theirs = by_us(content), by_library(path)
    assert ours is None or ours == theirs
    if data.draw(st.booleans()):
        torn = content[: data.draw(st.integers(0, len(content) - 1))]
        path.write_bytes(torn)
        assert by_us(torn) is None or by_us(torn) == by_library(path)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_a_file_with_one_wrong_byte_is_refused_or_read_alike(tmp_path_factory, place, value):
    content = bytearray(WHOLE)
    content[place] = value
    path = tmp_path_factory.getbasetemp() / "byte.safetensors"
    path.write_bytes(content)
    ours = by_us(bytes(content))
    assert ours is None or ours == by_library(path)


@pytest.mark.parametrize("dtype", [*FLOATS, *WHOLE_NUMBERS, torch.bool, torch.complex64])
def test_tensors_are_what_the_library_reads(tmp_path, monkeypatch, dtype):
    tensors = {"x": torch.arange(24).reshape(2, 3, 4).to(dtype), "empty": torch.zeros(3, 0, dtype=dtype)}
    save_file(tensors, tmp_path / "x.safetensors")
    for copied in (2**20, 0):
        monkeypatch.setattr("attn_cli.inputs.readers.opened.COPIED", copied)
        file = SafetensorsFile(OpenFile(str(tmp_path / "x.safetensors")))
        for name, x in tensors.items():
            found = file.read(name)
            assert (found.dtype, found.shape) == (x.dtype, x.shape)
            assert torch.equal(found.view(torch.uint8), x.view(torch.uint8))


def test_tensors_that_do_not_begin_at_a_multiple_of_their_size_are_read(tmp_path, monkeypatch):
    x = torch.arange(5.0, dtype=torch.float64)
    entries = {"a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}}
    entries["x"] = {"dtype": "F64", "shape": [5], "data_offsets": [3, 43]}
    text = json.dumps(entries).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"abc" + x.numpy().tobytes())
    for copied in (2**20, 0):
        monkeypatch.setattr("attn_cli.inputs.readers.opened.COPIED", copied)
        assert torch.equal(SafetensorsFile(OpenFile(str(path))).read("x") * 2, x * 2)
