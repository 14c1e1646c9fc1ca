"""Another file in the place of the one that was looked at: nothing is told of what was not checked."""

import json
import os
import sys

import pytest
import torch

from tests.hostile.changing import OTHER, change_at
from tests.hostile.law import accepted, refused
from tests.hostile.making import NUMBERS, npy, npz, safetensors
from tests.hostile.torch_saved import saved
from tests.hostile.warm import warm

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="an open file is not replaced on Windows")
READERS = "attn_cli.inputs.readers"
OPENED = f"{READERS}.opened:OpenFile.__init__"
ONE_WEIGHT = ("--head", "0", "--query", "3", "--key", "1")
OTHERS = NUMBERS[[1, 2, 0]]


def torches(numbers, **options):
    return saved({name: torch.from_numpy(x.copy()) for name, x in zip("qkv", numbers, strict=True)}, **options)


def index(shard):
    return json.dumps({"weight_map": dict.fromkeys("qkv", shard)}).encode()


FILES = {
    "x.safetensors": (safetensors(), safetensors(data=OTHERS.tobytes())),
    "x.npz": (npz(), npz(**{name: npy(x) for name, x in zip("qkv", OTHERS, strict=True)})),
    "x.pt": (torches(NUMBERS), torches(OTHERS)),
    "old.pt": tuple(torches(numbers, _use_new_zipfile_serialization=False) for numbers in (NUMBERS, OTHERS)),
    "x.bin": (safetensors(), npz()),
    "y.bin": (torches(NUMBERS), npz()),
    "x.safetensors.index.json": (index("shard"), index(f"shard{OTHER}")),
}


def told(ended):
    """What was said of one weight, but for the name of the file."""
    return accepted(ended).stdout.decode().partition("\nbatch ")[2]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """What is said of the first file, whatever its format."""
    path = tmp_path_factory.mktemp("first") / "x.safetensors"
    path.write_bytes(safetensors())
    return told(warm("explain", str(path), *ONE_WEIGHT))


@pytest.mark.parametrize("name", FILES)
def test_what_is_read_is_the_file_that_was_opened(tmp_path, first, name):
    path = tmp_path / name
    for place, content in zip((path, tmp_path / f"{name}{OTHER}"), FILES[name], strict=True):
        place.write_bytes(content)
    for shard, content in zip(("shard", f"shard{OTHER}"), FILES["x.safetensors"], strict=True):
        (tmp_path / shard).write_bytes(content)
    ended = warm("explain", str(path), *ONE_WEIGHT, before=change_at(OPENED, path, "replaced"))
    assert told(ended) == first
    assert not (tmp_path / f"{name}{OTHER}").exists()


@pytest.mark.parametrize("moment", ["attn_cli.inputs.source:is_regular", "os:stat"])
def test_what_becomes_a_pipe_is_not_waited_for(tmp_path, moment):
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors())
    refused(
        warm("run", str(path), before=change_at(moment, path, "a pipe")), names=path, says="is no longer the file that"
    )


def test_a_list_of_tokens_that_becomes_a_pipe_is_not_waited_for(tmp_path):
    path, tokens = tmp_path / "x.safetensors", tmp_path / "tokens.json"
    path.write_bytes(safetensors())
    tokens.write_text("[1, 2, 3, 4]")
    change = change_at("attn_cli.inputs.paths:is_regular", tokens, "a pipe")
    refused(warm("run", str(path), "--tokens", str(tokens), before=change), names=tokens, says="is no longer the file")


def test_a_file_that_is_written_over_between_the_check_and_the_load_is_refused(tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(torches(NUMBERS))
    (tmp_path / f"x.pt{OTHER}").write_bytes(torches(NUMBERS[:, :, :, :3]))
    change = change_at(f"{READERS}.torch_pickle:_Archive._storages", path, "written over")
    refused(warm("run", str(path), before=change), names=path, says="while it was read")


@pytest.mark.parametrize("change", ["cut", "touched"])
@pytest.mark.parametrize("name", ["x.safetensors", "x.npz", "x.pt", "x.safetensors.index.json"])
def test_every_reader_asks_whether_the_file_is_as_it_was(tmp_path, name, change):
    (tmp_path / name).write_bytes(FILES[name][0])
    path = tmp_path / (name if name != "x.safetensors.index.json" else "shard")
    if path.name == "shard":
        path.write_bytes(safetensors())
    reader = {".npz": "npz:NpzFile", ".pt": "torch_file:TorchFile"}.get(path.suffix, "safetensors_file:SafetensorsFile")
    before = change_at(f"{READERS}.{reader}.info", path, change)
    refused(warm("run", str(tmp_path / name), before=before), names=path, says="while it was read")
    assert os.path.getsize(path) > 0
