"""JSON that is broken, deep, huge or something else: tokens, tokenizers, baselines and indexes."""

import json
import os

import pytest

from tests.cli.process import MINILM
from tests.hostile.law import accepted, refused, refused_as_json, start_rss, told_of_contents, unharmed
from tests.hostile.making import NUMBERS, entry, safetensors, three
from tests.hostile.warm import warm

BROKEN = {
    "empty": (b"", "it is not valid JSON: it is empty"),
    "text": (b"hello", "it is not valid JSON (Expecting value: line 1 column 1 (char 0))"),
    "cut short": (b'["a", "b"', "it is not valid JSON: it ends in the middle"),
    "cut short in a text": (b'["a", "b', "it is not valid JSON: it ends in the middle"),
    "two documents": (b"[] []", "it is not valid JSON (Extra data"),
    "not UTF-8": (b'["\xff"]', "is not UTF-8 at byte 2"),
    "UTF-16": ('["a"]'.encode("utf-16"), "is not UTF-8 at byte 0"),
    "NaN": (b"[NaN]", "it is not valid JSON: it holds NaN"),
    "infinity": (b'{"a": -Infinity}', "it is not valid JSON: it holds -Infinity"),
    "a number of 5000 digits": (b"[" + b"9" * 5000 + b"]", "it holds a number of too many digits"),
    "a control character": (b'["a\nb"]', "it is not valid JSON (Invalid control character"),
    "a key twice": (b'{"schema": 1, "schema": 2}', "names schema twice"),
    "deep lists": (b"[" * 10**6, "is nested too deeply"),
    "deep objects": (b'{"a":' * 10**5, "is nested too deeply"),
    "deep and whole": (b"[" * 10**5 + b"]" * 10**5, "is nested too deeply"),
    "three million lists": (lambda: b"[" + b"[]," * 3 * 10**6 + b"[]]", "holds more than 6000000 values"),
    "keys by the million": (
        lambda: b"{" + b'"a":0,' * 1_200_000 + b'"b":0}',
        "holds more than 6000000 values, a key counted as four",
    ),
    "more bytes than fit": (lambda: b'["' + b"a" * 2**26 + b'"]', "has more than 64 MiB"),
}
INDEX = "x.safetensors.index.json"
COMMANDS = {
    "tokens": lambda path: ("run", MINILM, "--tokens", path),
    "tokenizer": lambda path: ("run", MINILM, "--tokenizer", path),
    "baseline": lambda path: ("bench", "--seq", "8", "--min-time", "0.001", "--baseline", path),
    "index": lambda path: ("run", path),
    "index of weights": lambda path: ("run", MINILM, "--weights-file", path),
}
SLOW = ("three million lists", "more bytes than fit", "keys by the million")


SMALL = [case for case in BROKEN if case not in SLOW]
FEW = ("not UTF-8", "a key twice", "deep lists")


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What one process says of every small file as an index."""
    return told_of_contents(
        tmp_path_factory.mktemp("broken"), ".safetensors.index.json", {case: BROKEN[case][0] for case in SMALL}
    )


@pytest.mark.parametrize("case", SMALL)
def test_broken_json_is_refused(told, case):
    assert BROKEN[case][1] in told[case]


@pytest.mark.parametrize("what", COMMANDS)
@pytest.mark.parametrize("case", FEW)
def test_it_is_refused_wherever_json_is_read(tmp_path, case, what):
    content, says = BROKEN[case]
    path = tmp_path / INDEX
    path.write_bytes(content)
    refused(warm(*COMMANDS[what](str(path))), names=path, says=says)


@pytest.mark.parametrize(("case", "what"), [*zip(SLOW, ("tokens", "baseline", "index"), strict=True)])
def test_json_that_would_burst_is_refused(tmp_path, case, what):
    make, says = BROKEN[case]
    path = tmp_path / INDEX
    path.write_bytes(make())
    refused(warm(*COMMANDS[what](str(path))), names=path, says=says)


def test_an_index_has_a_limit_of_its_own(tmp_path):
    path = tmp_path / INDEX
    path.write_bytes(b'{"weight_map": {"a": "' + b"a" * 2**25 + b'"}}')
    refused(warm("run", str(path)), names=path, says="has more than 32 MiB")


@pytest.mark.parametrize("what", ["tokens", "index"])
def test_it_is_refused_in_json_too(tmp_path, what):
    path = tmp_path / INDEX
    path.write_bytes(b"[" * 10**5)
    refused_as_json(warm(*COMMANDS[what](str(path)), "--json"), "run", names=path, says="nested too deeply")


NO_TOKENS = ["{}", "3", "null", '"abc"', "[]", "[[]]", '["a", 1]', '[["a"], "b"]', "[[1.5]]", "[true]", "[[[1]]]",
             "[9223372036854775808]", '{"tokens": ["a"]}', "[[1], []]"]  # fmt: skip


@pytest.mark.parametrize("text", NO_TOKENS)
def test_json_that_is_no_tokens_is_refused(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    refused(warm("run", MINILM, "--tokens", str(path)), names=path, says="expected a JSON list of texts or token ids")


def test_the_mark_of_utf_8_is_no_part_of_the_text(tmp_path):
    mark = b"\xef\xbb\xbf"
    (tmp_path / "one.safetensors").write_bytes(safetensors())
    path, tokens = index(tmp_path, dict.fromkeys("qkv", "one.safetensors")), tmp_path / "tokens.json"
    path.write_bytes(mark + path.read_bytes())
    tokens.write_bytes(mark + b'["a", "b", "c", "d"]')
    accepted(warm("run", str(path), "--tokens", str(tokens)))
    tokens.write_bytes(mark + mark + b"[]")
    refused(warm("run", str(path), "--tokens", str(tokens)), names=tokens, says="(Unexpected UTF-8 BOM")


NO_TOKENIZERS = ["{}", "[]", "null", '{"model": 3}', '{"model": {"type": "BPE", "vocab": [], "merges": {}}}',
                 '{"decoder": {"decoders": 3}}']  # fmt: skip


@pytest.mark.parametrize("text", NO_TOKENIZERS)
def test_json_that_is_no_tokenizer_is_refused(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    refused(warm("run", MINILM, "--tokenizer", str(path)), names=path, says="expected a tokenizer.json")


NO_BASELINES = ["{}", "[]", "3", '{"schema": "attn.run/1"}', '{"schema": ["attn.bench/1"]}',
                '{"schema": "attn.bench/1"}', '{"schema": "attn.bench/1", "data": 3}',
                '{"schema": "attn.bench/1", "data": {"environment": [], "results": {}}}']  # fmt: skip


@pytest.mark.parametrize("text", NO_BASELINES)
def test_json_that_is_no_baseline_is_refused(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    refused(warm("bench", "--seq", "8", "--baseline", str(path)), names=path, says="attn bench --save")


def shard(folder, name="one.safetensors", content=None):
    """A file of a checkpoint."""
    (folder / name).write_bytes(safetensors() if content is None else content)
    return name


def index(folder, weight_map, **others):
    """The index of a checkpoint in this folder."""
    path = folder / INDEX
    path.write_text(json.dumps({"metadata": {}, "weight_map": weight_map, **others}))
    return path


@pytest.mark.parametrize(
    "name",
    [
        "../one.safetensors",
        "a/one.safetensors",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a\\b",
        "C:\\x",
        "a\0b",
        "-",
        "file:///x/y",
    ],
)
def test_a_shard_outside_the_folder_is_refused_and_not_looked_at(tmp_path, name):
    (tmp_path / "inner").mkdir()
    shard(tmp_path)
    path = index(tmp_path / "inner", dict.fromkeys("qkv", name))
    refused(warm("run", str(path)), names=path, says="expected a file name in the index's own folder")


def missing(_folder):
    return "no such file"


def pipe(folder):
    os.mkfifo(folder / "one.safetensors")
    return "is a pipe"


SHARDS = {
    "missing": missing,
    "a folder": (lambda folder: (folder / "one.safetensors").mkdir() or "is a folder"),
    "a pipe": pipe,
    "a device": (lambda folder: (folder / "one.safetensors").symlink_to("/dev/zero") or "is a device"),
    "a loop of links": (lambda folder: (folder / "one.safetensors").symlink_to("one.safetensors") or "symbolic links"),
    "the index itself": (lambda folder: (folder / "one.safetensors").symlink_to(INDEX) or "does not begin with"),
    "a broken file": (lambda folder: shard(folder, content=b"abc") and "has 3 bytes"),
    "a file without the tensor": (lambda folder: shard(folder, content=safetensors(b"{}", b"")) and "holds no tensor"),
    "a pickle": (lambda folder: shard(folder, content=b"\x80\x02}." * 9) and "does not begin with"),
}


@pytest.mark.parametrize("case", SHARDS)
def test_a_shard_that_cannot_be_read_is_named(tmp_path, case):
    path = index(tmp_path, dict.fromkeys("qkv", "one.safetensors"))
    says = SHARDS[case](tmp_path)
    with unharmed(tmp_path):
        refused(warm("run", str(path)), names=tmp_path / "one.safetensors", says=says)


@pytest.mark.parametrize("weight_map", [[], 3, None, {"q": 3}, {"q": None}, {"q": ["one.safetensors"]}])
def test_an_index_of_something_else_is_refused(tmp_path, weight_map):
    path = index(tmp_path, weight_map)
    refused(warm("run", str(path)), names=path, says="has no weight_map of names to files")


def test_an_index_names_itself_or_a_tensor_twice_in_vain(tmp_path):
    refused(
        warm("run", str(index(tmp_path, dict.fromkeys("qkv", INDEX)))), says="does not begin with a safetensors header"
    )
    path = tmp_path / INDEX
    path.write_text('{"weight_map": {"q": "one.safetensors", "q": "two.safetensors"}}')
    refused(warm("run", str(path)), names=path, says="names q twice")


def test_an_index_of_too_many_names_is_refused(tmp_path):
    path = index(tmp_path, {f"layers.{number}.q": "one.safetensors" for number in range(200_001)})
    ended = warm("run", str(path))
    refused(ended, names=path, says="names 200001 tensors; expected 200000 at most")
    assert ended.max_rss < start_rss() + 2**28


def test_an_index_of_too_many_shards_is_refused_before_one_is_opened(tmp_path):
    path = index(tmp_path, {f"layers.{number}.q": f"{number}.safetensors" for number in range(501)})
    refused(warm("run", str(path)), names=path, says="names 501 shards; expected 500 at most")


SMALLER = "from attn_cli.inputs.readers import sharded; sharded.MOST_NAMES, sharded.LARGEST_HEADER = 2000, 2**20"


def test_all_shards_of_an_index_hold_no_more_than_one_file_may(tmp_path):
    """The header of one shard under many names, each of which would be read and kept."""
    empty = entry(shape=[0], offsets=[0, 0])
    shard(tmp_path, "0.safetensors", safetensors({f"a.{number}": empty for number in range(700)}, b""))
    for number in range(1, 5):
        os.link(tmp_path / "0.safetensors", tmp_path / f"{number}.safetensors")
    path = index(tmp_path, {f"a.{number}": f"{number}.safetensors" for number in range(5)})
    ended = warm("check", str(path), before=SMALLER)
    refused(ended, names=path, says="with shard 2.safetensors has more than 2000 tensors; expected so many")


def test_all_their_headers_are_no_longer_than_that_of_one_file(tmp_path):
    header = {"a": entry(shape=[0], offsets=[0, 0]), "__metadata__": {"text": "x" * 600_000}}
    shard(tmp_path, "a.safetensors", safetensors(header, b""))
    shard(tmp_path, "b.safetensors", safetensors({**header, "b": header["a"]}, b""))
    path = index(tmp_path, {"a": "a.safetensors", "b": "b.safetensors"})
    ended = warm("run", str(path), before=SMALLER)
    refused(ended, names=path, says="with shard b.safetensors has more than 1 MiB of headers; expected so many")


def test_a_checkpoint_of_links_is_read(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "model").mkdir()
    entries = three()
    shard(tmp_path / "blobs", "a", safetensors({"q": entries["q"]}, NUMBERS[0].tobytes()))
    shard(
        tmp_path / "blobs",
        "b",
        safetensors({name: entry(place) for place, name in enumerate("kv")}, NUMBERS[1:].tobytes()),
    )
    for name in "ab":
        (tmp_path / "model" / f"{name}.safetensors").symlink_to(tmp_path / "blobs" / name)
    path = index(tmp_path / "model", {"q": "a.safetensors", "k": "b.safetensors", "v": "b.safetensors"})
    accepted(warm("run", str(path), "--top", "0"))
