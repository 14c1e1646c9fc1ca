import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from attn_cli.errors import InputError
from attn_cli.inputs.readers.choose import open_tensor_file, sniff
from attn_cli.inputs.readers.npy_files import NpyFiles
from attn_cli.inputs.readers.opened import OpenFile
from tests.inputs.files import attend, heads, load, load_all, refusal, said, write

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
FLOAT8 = [torch.float8_e4m3fn, torch.float8_e5m2]


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt", ".pth"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_every_format_gives_back_what_was_written(tmp_path, suffix, dtype):
    tensors = heads(dtype=dtype)
    call = load(write(tmp_path / f"x{suffix}", tensors))
    for name, x in tensors.items():
        assert torch.equal(getattr(call.inputs, name), x)
    assert [info.name for info in call.tensors] == ["q", "k", "v"]
    assert call.tensors[0].dtype == str(dtype).removeprefix("torch.")
    assert call.tensors[0].shape == (2, 4, 5, 8)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("dtype", [*FLOATS, *FLOAT8])
def test_every_float_dtype_is_read(tmp_path, suffix, dtype):
    tensors = heads(dtype=dtype)
    call = load(write(tmp_path / f"x{suffix}", tensors))
    wanted = torch.float32 if dtype in FLOAT8 else dtype
    assert call.inputs.dtype == wanted
    assert torch.equal(call.inputs.to(torch.device("cpu"), wanted).k, tensors["k"].to(wanted))
    name = str(dtype).removeprefix("torch.")
    assert said(call, "dtype") == ([(f"{name}, read as float32", "file")] if dtype in FLOAT8 else [])


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
def test_a_boolean_of_any_byte_is_read_as_0_or_1(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write(path, {"m": torch.tensor([True, False] * 40)})
    content = path.read_bytes()
    place = content.index(b"\1\0" * 40)
    odd = content[:place] + b"\2\0\xff\0" * 20 + content[place + 80 :]
    if suffix == ".npz":  # whose sum is checked
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("m.npy", odd[odd.index(b"\x93NUMPY") : place + 80])
    else:
        path.write_bytes(odd)
    x = open_tensor_file(str(path)).read("m")
    assert x.dtype == torch.bool
    assert x.view(torch.uint8).tolist() == [1, 0] * 40


def test_loaded_tensors_outlive_the_file_and_its_source(tmp_path):
    tensors = heads()
    path = write(tmp_path / "x.safetensors", tensors)
    call = load(path)
    os.unlink(path)
    assert torch.equal(call.inputs.v, tensors["v"])


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="asks Linux how much memory is in use")
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_large_file_is_mapped_and_not_read(tmp_path, suffix):
    count = 16 * 2**20
    zeros = torch.zeros(1, 1, count // 64, 64)
    path = write(tmp_path / f"x{suffix}", {"q": zeros[:, :, :1], "k": zeros, "v": zeros.clone()})
    before = _resident_bytes()
    call = load(path)
    assert call.inputs.k[0, 0, -1, -1] == 0
    assert _resident_bytes() - before < count  # bytes, an eighth of the file


def _resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_three_npy_files_are_one_call(tmp_path):
    tensors = heads()
    paths = {name: str(tmp_path / f"{name}.npy") for name in tensors}
    for name, x in tensors.items():
        np.save(paths[name], x.numpy())
    call = load(None, **paths)
    assert torch.equal(call.inputs.q, tensors["q"])
    assert torch.equal(call.inputs.v, tensors["v"])
    assert call.source == ", ".join(paths.values())


def test_npy_arrays_in_any_byte_and_index_order_are_read(tmp_path):
    x = heads()["q"].numpy()
    np.save(tmp_path / "big.npy", x.astype(">f8"))
    np.save(tmp_path / "fortran.npy", np.asfortranarray(x))
    call = load(None, q=str(tmp_path / "big.npy"), k=str(tmp_path / "fortran.npy"), v=str(tmp_path / "fortran.npy"))
    assert np.array_equal(call.inputs.q.numpy(), x)
    assert np.array_equal(call.inputs.k.numpy(), x)


def test_writing_to_a_mapped_npy_leaves_the_file_alone(tmp_path):
    np.save(tmp_path / "q.npy", np.zeros((2, 3)))
    x = NpyFiles({"q": str(tmp_path / "q.npy")}).read("q")
    x += 1
    assert not np.load(tmp_path / "q.npy").any()


def test_nested_dicts_are_joined_with_dots_and_plain_values_are_metadata(tmp_path):
    tensors = heads(keys=5)
    nested = {"layers": [tensors, {**heads(keys=5, seed=1), "scale": 0.25}], "valid_lens": [3, 5], "softcap": 20.0}
    nested["tokens"] = [["a", "b", "c", "d", "e"]] * 2
    nested["causal"] = True
    torch.save(nested, tmp_path / "x.pt")
    first, second = load_all(str(tmp_path / "x.pt"))
    assert (first.prefix, second.prefix) == ("layers.0", "layers.1")
    assert torch.equal(first.inputs.q, tensors["q"])
    assert first.inputs.rules.mask.valid_lens.tolist() == [3, 5]
    assert (first.inputs.scale, second.inputs.scale) == (8**-0.5, 0.25)
    assert first.inputs.rules.softcap == 20
    assert first.inputs.rules.mask.causal
    assert first.tokens == (("a", "b", "c", "d", "e"),) * 2


def test_a_module_s_own_parameters_are_cut_off_from_autograd(tmp_path):
    torch.save({name: torch.nn.Parameter(x) for name, x in heads().items()}, tmp_path / "x.pt")
    assert not attend(load(str(tmp_path / "x.pt"))).requires_grad


def test_pytorch_s_old_format_is_read(tmp_path):
    tensors = heads()
    torch.save(tensors, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(load(str(tmp_path / "x.pt")).inputs.k, tensors["k"])


def test_single_values_and_texts_of_an_npz_are_metadata(tmp_path):
    tensors = {name: x.numpy() for name, x in heads(batch=1, keys=2).items()}
    np.savez(tmp_path / "x.npz", **tensors, scale=0.5, causal=True, tokens=np.array([["a", "b"]]))
    call = load(str(tmp_path / "x.npz"))
    assert call.inputs.scale == 0.5
    assert call.inputs.rules.mask.causal
    assert call.tokens == (("a", "b"),)


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_pickle_with_code_is_refused_and_nothing_of_it_runs(tmp_path, is_zip):
    trace = tmp_path / "trace"
    torch.save({"q": Harmful(str(trace))}, tmp_path / "x.pt", _use_new_zipfile_serialization=is_zip)
    message = refusal(str(tmp_path / "x.pt"))
    assert "x.pt: is no pickle of plain tensors" in message
    assert "weights_only" not in message
    assert not trace.exists()


def test_an_array_of_objects_is_refused_and_never_unpickled(tmp_path):
    trace = tmp_path / "trace"
    objects = np.array([Harmful(str(trace))], dtype=object)
    np.savez(tmp_path / "x.npz", q=objects, k=np.zeros((1, 2, 3)), v=np.zeros((1, 2, 3)))
    assert "q is (1,) object; expected" in refusal(str(tmp_path / "x.npz"))
    np.save(tmp_path / "q.npy", objects)
    path = str(tmp_path / "q.npy")
    assert "q has dtype object; expected numbers" in refusal(None, q=path, k=path, v=path)
    assert not trace.exists()


def test_a_dict_that_holds_itself_is_refused(tmp_path):
    knot = {"q": torch.zeros(1)}
    knot["inner"] = knot
    torch.save(knot, tmp_path / "x.pt")
    assert "nested more than" in refusal(str(tmp_path / "x.pt"))


def test_a_dict_that_unfolds_without_end_is_refused(tmp_path):
    bomb = {}
    for _ in range(30):
        bomb = {"a": bomb, "b": bomb}
    torch.save(bomb, tmp_path / "x.pt")
    assert "holds more than" in refusal(str(tmp_path / "x.pt"))


def test_two_values_of_one_dotted_name_are_refused(tmp_path):
    torch.save({"a.q": torch.zeros(1, 2, 3), "a": {"q": torch.ones(1, 2, 3)}}, tmp_path / "x.pt")
    assert "two values are called a.q" in refusal(str(tmp_path / "x.pt"))


@pytest.mark.parametrize("value", [torch.zeros(3), [torch.zeros(3)], "text"])
def test_a_pt_file_without_names_is_refused(tmp_path, value):
    torch.save(value, tmp_path / "x.pt")
    assert "without names; expected a dict of tensors" in refusal(str(tmp_path / "x.pt"))


def test_a_sparse_tensor_is_refused(tmp_path):
    torch.save({**heads(), "q": torch.eye(3).to_sparse()}, tmp_path / "x.pt")
    assert "x.pt" in refusal(str(tmp_path / "x.pt"))


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt", ".npy", ".xyz", ".safetensors.index.json"])
@pytest.mark.parametrize(
    "content", [b"", b"\0" * 64, b"PK\x03\x04 not a zip", b"\x80\x02.", b"\x93NUMPY\x01\0\xff\xff{"]
)
def test_what_is_no_tensor_file_is_refused_in_one_line(tmp_path, suffix, content):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    assert refusal(str(path)).startswith(f"{path}: ")


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
def test_a_file_cut_short_is_refused(tmp_path, suffix):
    path = write(tmp_path / f"x{suffix}", heads())
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) - 700)
    assert refusal(path).startswith(f"{path}: ")


def test_a_header_that_promises_more_than_there_is_is_refused_before_memory_is_asked_for(tmp_path):
    member = io.BytesIO()
    np.save(member, np.zeros((1, 2, 3)))
    lying = _with_shape(member.getvalue(), "(1, 200000000000, 3)")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for name in "qkv":
            archive.writestr(f"{name}.npy", lying)
    assert "holds 48 bytes; expected 4800000000000" in refusal(str(tmp_path / "x.npz"))


def _with_shape(npy, shape):
    """An .npy whose header names another shape and is as long as before."""
    length = struct.unpack("<H", npy[8:10])[0]
    header = npy[10 : 10 + length].decode().replace("(1, 2, 3)", shape).rstrip()
    return npy[:10] + header.ljust(length - 1).encode() + b"\n" + npy[10 + length :]


def test_an_unknown_suffix_is_read_by_its_bytes(tmp_path):
    tensors = heads()
    for suffix in (".safetensors", ".npz", ".pt"):
        path = write(tmp_path / f"x{suffix}", tensors)
        assert sniff(OpenFile(path)) == suffix
        os.rename(path, tmp_path / "capture.bin")
        assert torch.equal(load(str(tmp_path / "capture.bin")).inputs.q, tensors["q"])


def test_suffixes_mean_the_same_in_any_case(tmp_path):
    path = write(tmp_path / "x.npz", heads())
    os.rename(path, tmp_path / "x.NPZ")
    assert load(str(tmp_path / "x.NPZ")).inputs.q.shape == (2, 4, 5, 8)


def test_one_npy_file_is_no_call_and_the_way_out_is_named(tmp_path):
    np.save(tmp_path / "q.npy", np.zeros((1, 2, 3)))
    assert "--q, --k and --v take one .npy file each" in refusal(str(tmp_path / "q.npy"))


def _sharded(folder, weight_map):
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return str(path)


def test_a_sharded_checkpoint_opens_only_the_shards_it_needs(tmp_path):
    x = torch.arange(6.0).reshape(2, 3)
    save_file({"a.weight": x}, tmp_path / "one.safetensors")
    path = _sharded(tmp_path, {"a.weight": "one.safetensors", "b.weight": "missing.safetensors"})
    file = open_tensor_file(path)
    assert torch.equal(file.read("a.weight"), x)
    assert file.info("a.weight").shape == (2, 3)
    with pytest.raises(InputError, match=r"missing\.safetensors: no such file"):
        file.info("b.weight")


def test_a_tensor_that_its_shard_lacks_is_named(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "one.safetensors")
    file = open_tensor_file(_sharded(tmp_path, {"c": "one.safetensors"}))
    with pytest.raises(
        InputError, match=r"one\.safetensors: holds no tensor c; expected it there, as .*index\.json says"
    ):
        file.read("c")


@pytest.mark.parametrize(
    "shard", ["../x.safetensors", "a/x.safetensors", "/etc/x", "..", "a\\x.safetensors", "", "a\0b"]
)
def test_a_shard_outside_the_index_s_folder_is_refused(tmp_path, shard):
    with pytest.raises(InputError, match="names the shard"):
        open_tensor_file(_sharded(tmp_path, {"a": shard}))


@pytest.mark.parametrize("text", ["[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 3}}', "{", "[" * 100_000])
def test_a_broken_index_is_refused(tmp_path, text):
    path = tmp_path / "x.safetensors.index.json"
    path.write_text(text)
    with pytest.raises(InputError, match="weight_map"):
        open_tensor_file(str(path))


def test_control_characters_of_a_name_never_reach_a_message(tmp_path):
    save_file({"\x1b[31mq\n": torch.zeros(1)}, tmp_path / "x.safetensors")
    message = refusal(str(tmp_path / "x.safetensors"))
    assert "\x1b" not in message
    assert "\\x1b[31mq\\n" in message


def test_a_pickle_protocol_is_all_that_is_looked_at_before_torch(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(pickle.dumps({"q": 1}))
    assert refusal(str(path)).startswith(f"{path}: ")
