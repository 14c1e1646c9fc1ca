"""Files of many calls: what is said of all of them is looked for and read once, and not for each."""

import json

import pytest

from tests.hostile.law import refused
from tests.hostile.making import entry, safetensors
from tests.hostile.warm import warm

DEEP = ".".join("a" * 98)
PATIENT = """
import os, sys
count = 0
def note(frame, event, argument):
    global count
    count += event == "call"
    if count > {most}:
        os.write(2, b"worked too hard")
        os._exit(9)
sys.setprofile(note)
"""  # counts functions, which are as many on every machine


def calls(prefixes, **metadata):
    """A file with a call of four bytes a tensor behind each prefix; of the last, V has one key too many."""
    names = [f"{prefix}.{leaf}" for prefix in prefixes for leaf in "qkv"]
    places = {name: (4 * number, [1, 1, 1, 1]) for number, name in enumerate(names)}
    places[names[-1]] = (4 * len(names) - 4, [1, 1, 2, 1])
    header = {
        name: entry(shape=shape, offsets=[begin, begin + 4 * shape[2]]) for name, (begin, shape) in places.items()
    }
    content = {"__metadata__": metadata} | header if metadata else header
    return safetensors(json.dumps(content).encode(), bytes(4 * len(names) + 4))


def test_deep_prefixes_are_climbed_once_a_call_and_not_once_a_setting(tmp_path):
    path = tmp_path / "x.safetensors"
    everywhere = {f"{DEEP[:end]}.said": "" for end in range(1, len(DEEP) + 1, 2)}
    for metadata in ({}, {"scale": "1", "causal": "true"}, everywhere | {"scale": "1", "window": "1", "said": ""}):
        path.write_bytes(calls([f"{DEEP}.{number}" for number in range(300)], **metadata))
        ended = warm("run", str(path), before=PATIENT.format(most=400_000))  # 2,280,000 climbed for each setting
        refused(ended, names=path, says="keys 2; expected 1")


LONG = {
    "window": {"window": "1," + " " * (24 * 2**20) + "1"},
    "total_heads": {"heads": "[0]", "total_heads": "1" * (24 * 2**20)},
}


@pytest.mark.parametrize("key", LONG)
def test_a_long_text_is_read_once_for_all_calls(tmp_path, key):
    path = tmp_path / "x.safetensors"
    path.write_bytes(calls([f"a.{number}" for number in range(2_000)], **LONG[key]))
    refused(warm("run", str(path), seconds=4.0), names=path, says="keys 2; expected 1")  # 30 where each call reads it
