"""Files that change, shrink or vanish while they are read: what is told is told of one file, or nothing is."""

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from attn_cli import load
from attn_cli.errors import InputError
from attn_cli.inputs.limits import COPIED
from attn_cli.inputs.readers.safetensors_file import SafetensorsFile
from tests.cli.process import ROOT, environment
from tests.hostile.changing import OTHER, change_at, cut, touch
from tests.hostile.law import accepted, refused, refused_as_json
from tests.hostile.warm import warm

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks Linux what is mapped")
READERS = "attn_cli.inputs.readers"
FEATURES = 64
KEYS = COPIED // (4 * FEATURES) + 2**12  # so many that K and V are mapped


def large(path, ones=False):
    """A file whose keys and values are mapped."""
    make = torch.ones if ones else torch.zeros
    tensors = {"q": (1, 1, 64, FEATURES), "k": (1, 1, KEYS, FEATURES), "v": (1, 1, KEYS, FEATURES)}
    if path.suffix == ".npy":
        np.save(path, np.zeros(tensors["k"], "f4"))
    elif path.suffix == ".safetensors":
        save_file({name: make(shape) for name, shape in tensors.items()}, path)
    else:
        torch.save({name: make(shape) for name, shape in tensors.items()}, path)
    return path


def when_mapped(path, change, number=2):
    """Change the file as soon as the process has its keys and its values in memory."""
    return change_at(f"{READERS}.opened:OpenFile._mapped", path, change, number)


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
    ended = warm(*COMMANDS[command](str(path)), "--json", before=when_mapped(path, "cut"))
    refused_as_json(ended, command, names=path, says=CUT)


@pytest.mark.parametrize("change", ["written to", "touched"])
def test_a_file_that_is_written_to_while_it_is_read_is_refused(tmp_path, change):
    path, out = large(tmp_path / "x.safetensors"), tmp_path / "out.safetensors"
    ended = warm("run", str(path), "--save", str(out), before=when_mapped(path, change))
    refused(ended, names=path, says=WRITTEN)
    assert not out.exists()


@pytest.mark.parametrize("suffix", [".pt", ".npy"])
def test_other_formats_outlive_a_cut_too(tmp_path, suffix):
    path = large(tmp_path / f"x{suffix}")
    np.save(tmp_path / "q.npy", np.zeros((1, 1, 4, FEATURES), "f4"))
    flags = ["--q", str(tmp_path / "q.npy"), "--k", str(path), "--v", str(path)]
    arguments = [str(path)] if suffix == ".pt" else flags
    refused(warm("run", *arguments, before=when_mapped(path, "cut")), names=path, says=CUT)


def test_weights_that_are_cut_short_are_named(tmp_path):
    states, weights = tmp_path / "x.safetensors", tmp_path / "w.safetensors"
    save_file({"hidden_states": torch.zeros(1, 4, 2048), "num": torch.zeros(1)}, states)
    save_file({f"{name}_proj.weight": torch.zeros(KEYS // 16, 2048) for name in "qkv"}, weights)
    cut = when_mapped(weights, "cut")
    ended = warm("run", str(states), "--weights-file", str(weights), "--num-heads", "1", before=cut)
    refused(ended, names=weights, says=CUT)


@pytest.mark.parametrize("how", ["replaced", "removed"])
def test_a_file_that_is_replaced_or_removed_is_read_to_its_end_as_it_was(tmp_path, how):
    path = large(tmp_path / "x.safetensors")
    (tmp_path / f"x.safetensors{OTHER}").write_bytes(b"something else")
    accepted(warm("run", str(path), "--top", "0", before=when_mapped(path, how)))


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
MEANWHILE = """
import time
later = time.monotonic
time.monotonic = lambda: later() + 1000
import threading
late = threading.Thread(target=signal.raise_signal, args=[signal.SIGBUS])  # looked at a page that is there again
late.start()
late.join()
another = OpenFile(sys.argv[2], "y")
third = another.bytes_at(0, 2**25)
os.truncate(sys.argv[2], 0)
assert third[100_000] == 0
os.truncate(sys.argv[2], another.size)
os.utime(sys.argv[2], ns=(another._time, another._time))
try:
    another.check_unchanged()
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


def test_a_thread_that_comes_late_takes_nothing_from_those_that_follow(tmp_path):
    """And zeros that were read are known, though the file is as long and as old as it was."""
    paths = [tmp_path / "x", tmp_path / "y"]
    for path in paths:
        path.write_bytes(b"a" * (2**26 + 2**20))
    ended = in_python(READING + MEANWHILE, *paths)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith(f"y: {CUT} {2**26 + 2**20} bytes to 0; expected a file that stays as it is\n")


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


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_what_python_was_given_stays_as_it_is(tmp_path, suffix):
    path = large(tmp_path / f"x{suffix}", ones=True)
    keys = load(path)[0].k
    assert str(path) not in Path("/proc/self/maps").read_text()
    cut(path)
    assert keys.min() == 1
    keys += 1


@pytest.mark.parametrize("name", ["q", "k"])
def test_python_is_given_nothing_of_a_file_that_changed(tmp_path, monkeypatch, name):
    path = large(tmp_path / "x.safetensors")
    call, read = load(path)[0], SafetensorsFile.read

    def then_cut(*arguments):
        found = read(*arguments)
        cut(path)
        return found

    monkeypatch.setattr(SafetensorsFile, "read", then_cut)
    with pytest.raises(InputError, match=CUT):
        getattr(call, name)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_an_inspection_needs_its_file_no_more(tmp_path, suffix):
    path = large(tmp_path / f"x{suffix}")
    found = load(path, query=[0])[0].inspect(weights=True)
    gc.collect()
    assert str(path) not in Path("/proc/self/maps").read_text()
    cut(path)
    assert found._repr_html_()
    assert found.weights.sum() == pytest.approx(1, abs=1e-4)
