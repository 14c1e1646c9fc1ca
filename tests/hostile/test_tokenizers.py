"""A ``tokenizer.json`` that is none, or that would take its package memory or time without measure."""

import json

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.process import MINILM
from tests.hostile.law import accepted, refused, refused_as_json, start_rss
from tests.hostile.warm import warm

pytest.importorskip("tokenizers")
PARTS = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
WORDS = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "ba": 3}, "merges": []}
SCORES = {"type": "Unigram", "vocab": [["a", 0.0], ["b", -1]], "unk_id": 0}
TOKENIZER = {"version": "1.0", "added_tokens": [], **PARTS, "model": WORDS}
FEW = 2**28  # bytes beyond a start
LIMIT = {"RLIMIT_AS": 6 * 2**30}  # where a test fails it takes no more from the machine


def added(content, **settings):
    kinds = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": 0, "content": content, **kinds, **settings}


def saved(folder, **parts):
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(TOKENIZER | parts, ensure_ascii=False), encoding="utf-8")
    return path


def run(path, *options, **settings):
    """Of a call whose ids it has to turn into texts."""
    line = ("run", MINILM, "--tokens", "token_ids", "--tokenizer", str(path), *options)
    return warm(*line, **{"limits": LIMIT, **settings})


def letters(count):
    return [chr(0x4E00 + number) for number in range(count)]


NONE = {
    "merges that go round": {"model": WORDS | {"merges": ["a b", "ab a", "b a"]}},  # the package panics
    "merges of others": {"model": WORDS | {"merges": ["a z"]}},
    "merges of numbers": {"model": WORDS | {"merges": [1, 2]}},
    "merges of three": {"model": WORDS | {"merges": [["a", "b", "ab"]]}},
    "merges of lists": {"model": WORDS | {"merges": [[["a"], ["b"]]]}},
    "merges of objects": {"model": WORDS | {"merges": [{"a": "b"}]}},
    "merges that are none": {"model": WORDS | {"merges": "a b"}},
    "an id below 0": {"model": WORDS | {"vocab": {"a": -1}}},
    "an id of 33 bits": {"model": WORDS | {"vocab": {"a": 2**32}}},
    "an id that is no whole number": {"model": WORDS | {"vocab": {"a": 1.5}}},
    "an id of two texts": {"model": WORDS | {"vocab": {"a": 0, "b\x1b": 1, "c": 1}}},  # either, by chance
    "an id of two words": {"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 0}, "unk_token": "a"}},
    "an id that is a list": {"model": WORDS | {"vocab": {"a": [0]}}},
    "entries in a list": {"model": WORDS | {"vocab": [["a", 0]]}},
    "no entries": {"model": {"type": "BPE", "merges": []}},
    "an unknown model": {"model": WORDS | {"type": "Unknown"}},
    "no model": {"model": []},
    "another version": {"version": "2.0"},
    "scores of nothing": {"model": SCORES | {"vocab": []}},
    "an unknown entry that is not there": {"model": SCORES | {"unk_id": 2}},
    "an entry without a score": {"model": SCORES | {"vocab": [["a"]]}},
    "an entry that is a number": {"model": SCORES | {"vocab": [[1, 0.0]]}},
    "a score that is a text": {"model": SCORES | {"vocab": [["a", "0"]]}},
    "added tokens that are texts": {"added_tokens": ["a"]},
    "added tokens without a text": {"added_tokens": [{"id": 1}]},
    "added tokens in an object": {"added_tokens": {"a": 1}},
}  # fmt: skip


@pytest.mark.parametrize("case", NONE)
def test_a_tokenizer_that_is_none_is_refused_and_its_package_is_not_heard(tmp_path, case):
    path = saved(tmp_path, **NONE[case])
    line = refused(run(path), names=f"{path}: cannot be read (", says="expected a tokenizer.json")
    assert " column " not in line  # of the document that the package was handed
    if case == "merges that go round":
        refused_as_json(run(path, "--json"), "run", names=f"{path}: ")


def test_an_entry_that_stands_in_a_list_again_is_the_text_of_both_ids(tmp_path):
    path = saved(tmp_path, model=SCORES | {"vocab": [["a", 0.0], ["b\x1b", 0.0], ["c", 0.0], ["b\x1b", -1.0]]})
    (tmp_path / "ids.json").write_text("[0, 1, 2, 3, 4]")
    call = {name: torch.zeros(1, 1, 5, 2) for name in "qkv"}
    save_file(call, tmp_path / "x.safetensors")
    row = ("--head", "0", "--query", "0", "--top", "5", "--json")
    line = ("explain", "x.safetensors", "--tokens", "ids.json", "--tokenizer", path.name, *row)
    top = accepted(warm(*line, cwd=tmp_path)).json["data"]["row"]["top"]
    assert [pair["token"] for pair in sorted(top, key=lambda pair: pair["key"])] == ["a", "b\x1b", "c", "b\x1b", "4"]


REPLACE = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
REGEX = {"type": "Split", "pattern": {"Regex": "((("}, "behavior": "Isolated", "invert": False}
NESTED = '{"type": "Sequence", "normalizers": ['
NOT_NEEDED = {
    "a normalizer that doubles an added token": {"normalizer": {"type": "Sequence", "normalizers": [REPLACE] * 40}},
    "a decoder that doubles": {"decoder": {"type": "Sequence", "decoders": [*[REPLACE] * 40, {"type": "ByteLevel"}]}},
    "a pattern that is none": {"pre_tokenizer": REGEX},
    "a table of characters that is none": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
    "parts in parts": {"normalizer": json.loads(f"{NESTED * 400}{']}' * 400}")},
    "padding without end": {"padding": {"strategy": {"Fixed": 2**62}}, "truncation": {"max_length": -1}},
    "more in the model": {"model": WORDS | {"more": [{"a": 0}] * 700_000}},
    "more in an added token": {"added_tokens": [added("a", more=[[[0]]] * 900_000)]},
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_NEEDED)
def test_what_does_not_tell_which_text_an_id_has_is_left_out(tmp_path, case):
    path = saved(tmp_path, **{"added_tokens": [added("a", normalized=True)]} | NOT_NEEDED[case])
    ended = accepted(run(path))
    assert ended.max_rss < start_rss() + FEW


def test_a_list_of_long_entries_takes_little_more_than_its_file(tmp_path):
    """Of which the package would build a trie of three million branches."""
    path = saved(tmp_path, model=SCORES | {"vocab": [[letter * 1000, 0.0] for letter in letters(1000)]})
    ended = accepted(run(path))
    assert ended.max_rss < start_rss() + FEW


def test_added_tokens_of_too_many_bytes_are_refused(tmp_path):
    long = 2**22 // 32
    path = saved(tmp_path, added_tokens=[added(chr(97 + number % 26) * long) for number in range(33)])
    ended = run(path)
    refused(ended, names=path, says=f"its added_tokens have {33 * long} bytes; expected 4194304 at most")
    assert ended.max_rss < start_rss() + FEW


def test_too_many_merges_are_refused(tmp_path):
    path = saved(tmp_path, model=WORDS | {"merges": ["a b"] * 1_000_001})
    ended = run(path)
    refused(ended, names=path, says="its model has 1000001 merges; expected 1000000 at most")
    assert ended.max_rss < start_rss() + FEW


SHORT = """
import os, resource
taken = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGESIZE")
resource.setrlimit(resource.RLIMIT_AS, (taken + 2**28, resource.RLIM_INFINITY))
"""


def test_where_memory_is_short_it_is_said_before_the_package_ends_the_process(tmp_path):
    accepted(run(saved(tmp_path), before=SHORT, limits={}))
    path = saved(tmp_path, model=WORDS | {"merges": [["a", "b"]] * 600_000})
    ended = run(path, before=SHORT, limits={})
    refused(ended, 3, names=f"{path}: takes about ", says=" MiB of memory to read; expected so much to be free")
