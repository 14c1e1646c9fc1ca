"""Files that change, shrink or vanish while they are read: what is told is told of one file, or nothing is."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from attn_cli import load
from attn_cli.errors import InputError
from attn_cli.inputs.limits import COPIED
from tests.cli.process import ROOT, environment
from tests.hostile.law import accepted, refused, refused_as_json
from tests.hostile.warm import warm

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks Linux what is mapped")
FEATURES = 64
KEYS = COPIED // (4 * FEATURES) + 2**12  # so many that K and V are mapped


def large(path):
    """A file whose keys and values are mapped; most of it is a hole."""
    tensors = {"q": (1, 1, 64, FEATURES), "k": (1, 1, KEYS, FEATURES), "v": (1, 1, KEYS, FEATURES)}
    if path.suffix == ".npy":
        np.save(path, np.zeros(tensors["k"], "f4"))
    elif path.suffix == ".safetensors":
        save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, path)
    else:
        torch.save({name: torch.zeros(shape) for name, shape in tensors.items()}, path)
    return path


def when_mapped(path, change):
    """Change the file as soon as the process has its keys and its values in memory."""

    def meanwhile(process):
        maps = Path(f"/proc/{process}/maps")
        until = time.monotonic() + 8
        while maps.read_text().count(str(path)) < 2 and time.monotonic() < until:
            time.sleep(0.001)
        change(path)

    return meanwhile


def cut(path):
    os.truncate(path, 4096)


def write(path):
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"\0\0\x80\x3f" * 2)


def touch(path):
    os.utime(path, ns=(1, 1))


COMMANDS = {
    "run": lambda path: ("run", path),
    "check": lambda path: ("check", path, "--select", "ATTN001"),
    "diff": lambda path: ("diff", path, path),
    "explain": lambda path: ("explain", path, "--head", "0", "--query", "0"),
}
CUT, WRITTEN = "was cut short while it was read, from", "was written to while it was read; expected a file that stays"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_is_cut_short_while_it_is_read_is_refused(tmp_path, command):
    path = large(tmp_path / "x.safetensors")
    ended = warm(*COMMANDS[command](str(path)), "--json", meanwhile=when_mapped(path, cut))
    refused_as_json(ended, command, names=path, says=CUT)


@pytest.mark.parametrize("change", [write, touch])
def test_a_file_that_is_written_to_while_it_is_read_is_refused(tmp_path, change):
    path, out = large(tmp_path / "x.safetensors"), tmp_path / "out.safetensors"
    ended = warm("run", str(path), "--save", str(out), meanwhile=when_mapped(path, change))
    refused(ended, names=path, says=WRITTEN)
    assert not out.exists()


@pytest.mark.parametrize("suffix", [".pt", ".npy"])
def test_other_formats_outlive_a_cut_too(tmp_path, suffix):
    path = large(tmp_path / f"x{suffix}")
    np.save(tmp_path / "q.npy", np.zeros((1, 1, 4, FEATURES), "f4"))
    flags = ["--q", str(tmp_path / "q.npy"), "--k", str(path), "--v", str(path)]
    arguments = [str(path)] if suffix == ".pt" else flags
    refused(warm("run", *arguments, meanwhile=when_mapped(path, cut)), names=path, says=CUT)


def test_weights_that_are_cut_short_are_named(tmp_path):
    states, weights = tmp_path / "x.safetensors", tmp_path / "w.safetensors"
    save_file({"hidden_states": torch.zeros(1, 4, 2048), "num": torch.zeros(1)}, states)
    save_file({f"{name}_proj.weight": torch.zeros(KEYS // 16, 2048) for name in "qkv"}, weights)
    ended = warm(
        "run", str(states), "--weights-file", str(weights), "--num-heads", "1", meanwhile=when_mapped(weights, cut)
    )
    refused(ended, names=weights, says=CUT)


@pytest.mark.parametrize("how", ["replaced", "removed"])
def test_a_file_that_is_replaced_or_removed_is_read_to_its_end_as_it_was(tmp_path, how):
    path, other = large(tmp_path / "x.safetensors"), tmp_path / "other"
    other.write_bytes(b"something else")
    change = path.unlink if how == "removed" else lambda: other.rename(path)
    accepted(warm("run", str(path), "--top", "0", meanwhile=when_mapped(path, lambda _: change())))


READING = """
import mmap, os, signal, sys
from attn_cli.inputs.readers.opened import OpenFile
from attn_cli.errors import InputError
path = sys.argv[1]
file = OpenFile(path, path)
first, second = file.bytes_at(100, 2**25), file.bytes_at(2**25 + 7, 2**25)
assert bytes(first[:5]) == b"aaaaa"
os.truncate(path, 10_000)
assert bytes(first[:5]) == b"aaaaa" and first[-1] == 0 and sum(second[:: 4096]) == 0
os.truncate(path, 0)
assert first[8191] == 0 and first[100_000] == 0
try:
    file.check_unchanged()
except InputError as error:
    print(error.message)
"""
FOREIGN = """
import mmap, os
with open(path + "2", "w+b") as other:
    other.truncate(2**20)
    theirs = mmap.mmap(other.fileno(), 2**20)
    other.truncate(0)
    theirs[5]
"""


def in_python(program, *arguments):
    """Run a program without attn's command line."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    env = environment(PYTHONPATH=str(ROOT))
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)


def test_what_is_lost_of_a_mapped_file_reads_as_zeros(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"a" * (2**26 + 2**20))
    ended = in_python(READING, path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"{path}: {CUT} {2**26 + 2**20} bytes to 0; expected a file that stays as it is\n"


def test_a_lost_page_of_somebody_else_ends_the_process_as_before(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"a" * (2**26 + 2**20))
    assert in_python(READING + FOREIGN, path).returncode == -7


def test_python_is_told_too(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({name: torch.zeros(1, 1, 4, 8) for name in "qkv"}, path)
    call = load(path)[0]
    touch(path)
    with pytest.raises(InputError, match=WRITTEN):
        call.inspect()
