"""safetensors files whose header lies, breaks or bursts."""

import json
import os
from itertools import product

import pytest

from tests.hostile.law import accepted, refused, refused_as_json, start_rss, told_of_contents
from tests.hostile.making import DATA, SIZE, entry, safetensors, three
from tests.hostile.warm import warm

TEXT = json.dumps(three()).encode()
TWICE = TEXT.replace(b'{"q": ', b'{"q": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "q": ', 1)
HUGE = 2**62


def names(count):
    """A header with so many names."""
    empty = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    entries = (f'"layers.{number}.q":{empty}' for number in range(count))
    return f"{{{','.join(entries)}}}".encode()


def calls(count):
    """A header with so many hidden states that each have weights."""
    of = ("hidden_states", *(f"{part}_proj.weight" for part in "qkv"))
    empty = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    return f"{{{','.join(f'{chr(34)}l.{n}.{name}{chr(34)}:{empty}' for n in range(count) for name in of)}}}".encode()


SPELT = ["".join(letters) + "_mask" for letters in product("aA", "tT", "tT", "eE", "nN", "tT", "iI", "oO", "nN")]
BROKEN = {
    "empty": (b"", "is empty"),
    "seven bytes": (b"\1" * 7, "has 7 bytes"),
    "a length alone": (bytes(8), "has 8 bytes"),
    "zeros": (bytes(1000), "does not begin with a safetensors header"),
    "text": (b"hello, this is text\n" * 9, "does not begin with"),
    "cut in the header": (safetensors()[:60], "its header says that it is"),
    "cut in the data": (safetensors()[:-1], "holds 767 bytes of tensors where its header says 768"),
    "longer than its header says": (safetensors(data=DATA + b"abc"), "holds 771 bytes"),
    "a length of 2**63": (safetensors(length=2**63), "expected at most 32 MiB"),
    "a length of 2**64 - 1": (safetensors(length=2**64 - 1), "expected at most 32 MiB"),
    "a length beyond the file": (safetensors(length=3000), "says that it is 3000 bytes long, in a file of"),
    "a length that is too short": (safetensors(length=20), "its header is not valid JSON: it ends in the middle"),
    "a length that is too long": (safetensors(length=len(TEXT) + 100), "its header is"),
    "offsets that overlap": (
        safetensors(three(k=entry(offsets=[128, 384]))),
        "k overlaps with q: it begins at byte 128",
    ),
    "offsets that are the same": (safetensors(three(k=entry(0))), "overlaps with"),
    "a hole": (safetensors(three(v=entry(offsets=[600, 856])), DATA + bytes(88)), "v leaves a hole behind k"),
    "a hole at the beginning": (safetensors({"q": entry(1)}), "q leaves a hole behind the header"),
    "offsets backwards": (safetensors(three(k=entry(offsets=[512, 256]))), "k has the data_offsets [512, 256]"),
    "offsets that overflow": (safetensors(three(k=entry(offsets=[2**63, 2**64 - 1]))), "k has the data_offsets"),
    "offsets beyond 64 bits": (safetensors(three(k=entry(offsets=[256, 2**70]))), "k has the data_offsets"),
    "offsets below 0": (safetensors(three(k=entry(offsets=[-1, 255]))), "k has the data_offsets [-1, 255]"),
    "offsets with a point": (safetensors(three(k=entry(offsets=[256.0, 512.0]))), "k has the data_offsets"),
    "three offsets": (safetensors(three(k=entry(offsets=[256, 512, 600]))), "k has the data_offsets"),
    "offsets beyond the file": (
        safetensors(three(v=entry(offsets=[512, 1768]))),
        "v is (1, 2, 4, 8) F32, 256 bytes, and",
    ),
    "a shape that does not fit": (
        safetensors(three(k=entry(1, shape=[1, 2, 4, 9]))),
        "k is (1, 2, 4, 9) F32, 288 bytes",
    ),
    "a size below 0": (safetensors(three(k=entry(1, shape=[1, -2, 4, 8]))), "k has the shape [1, -2, 4, 8]"),
    "a size with a point": (safetensors(three(k=entry(1, shape=[1, 2.5, 4, 8]))), "k has the shape [1, 2.5, 4, 8]"),
    "a size of text": (safetensors(three(k=entry(1, shape=["8"]))), "k has the shape ['8']"),
    "true as a size": (safetensors(three(k=entry(1, shape=[True, 64]))), "k has the shape [True, 64]"),
    "sizes that overflow": (
        safetensors(three(k=entry(1, shape=[2**32, 2**32, 8]))),
        "more numbers than can be counted",
    ),
    "sizes that overflow beside 0": (
        safetensors(three(k=entry(shape=[HUGE, HUGE, 0], offsets=[0, 0]))),
        "more numbers",
    ),
    "a size beyond 64 bits": (safetensors(three(k=entry(shape=[2**64, 0], offsets=[0, 0]))), "k has the shape"),
    "a thousand axes": (safetensors(three(k=entry(1, shape=[1] * 1000 + [64]))), "expected at most 64 whole numbers"),
    "a dtype of another format": (
        safetensors(three(k=entry(1, dtype="Q4_K"))),
        "k has dtype Q4_K; expected one of BOOL",
    ),
    "a dtype that is a number": (safetensors(three(k=entry(1, dtype=3))), "k has dtype 3; expected one of"),
    "half a byte": (safetensors(three(k=entry(1, dtype="F4", shape=[511]))), "no whole number of bytes"),
    "numbers of four bits": (
        safetensors(three(k=entry(1, dtype="F4", shape=[1, 2, 4, 64]))),
        "expected float64, float32",
    ),
    "numbers of six bits": (
        safetensors(
            {
                "q": entry(dtype="F6_E2M3", shape=[1, 4, 32], offsets=[0, 96]),
                "k": entry(offsets=[96, 352]),
                "v": entry(offsets=[352, 608]),
            },
            DATA[:608],
        ),
        "q is (1, 4, 32) f6_e2m3; expected float64",
    ),
    "a name twice": (safetensors(TWICE), "its header names q twice; expected each name once"),
    "a name twice, spelt otherwise": (safetensors(TWICE.replace(b'"q"', b'"\\u0071"', 1)), "its header names q twice"),
    "a name in two cases": (safetensors(three(Q=entry(3)), DATA + bytes(SIZE)), "both Q and q could be q"),
    "a dtype twice": (safetensors(TEXT.replace(b"{", b'{"q":{"dtype":"F32","dtype":"F32"},', 1)), "names dtype twice"),
    "metadata twice": (safetensors(b'{"__metadata__":{},"__metadata__":{},' + TEXT[1:]), "names __metadata__ twice"),
    "a key twice in the metadata": (
        safetensors(b'{"__metadata__":{"scale":"1","scale":"2"},' + TEXT[1:]),
        "scale twice",
    ),
    "a key too many": (
        safetensors(three(q=entry(0) | {"code": 1})),
        "q has dtype, shape, data_offsets, code in the header",
    ),
    "a key too few": (safetensors(three(q={"dtype": "F32"})), "q has dtype in the header"),
    "an entry that is a list": (safetensors(three(q=[1])), "q has no JSON object in the header"),
    "a name that is not UTF-8": (safetensors(TEXT.replace(b'"q"', b'"q\xff"')), "its header is not UTF-8 at byte 3"),
    "metadata that are not UTF-8": (safetensors(b'{"__metadata__":{"a":"\xff"},' + TEXT[1:]), "not UTF-8 at byte 22"),
    "half a character": (
        safetensors(b'{"__metadata__":{"a":"\\ud800"},' + TEXT[1:]),
        "its header holds half of a character",
    ),
    "metadata with a number": (safetensors(three(__metadata__={"a": 1})), "metadata a is no text"),
    "metadata with an object": (safetensors(three(__metadata__={"a": {}})), "metadata a is no text"),
    "metadata that are a list": (safetensors(three(__metadata__=[])), "its metadata is no JSON object"),
    "NaN": (safetensors(TEXT.replace(b"256", b"NaN", 1)), "its header is not valid JSON: it holds NaN"),
    "a number of 5000 digits": (safetensors(TEXT.replace(b"256", b"9" * 5000, 1)), "of too many digits"),
    "deep objects": (safetensors(b'{"a":' * 10**5), "its header is nested too deeply"),
    "deep lists": (safetensors(b'{"q":{"shape":' + b"[" * 10**6), "its header is nested too deeply"),
    "another text behind it": (safetensors(TEXT + b"}"), "its header is not valid JSON (Extra data"),
    "a list": (safetensors(b"[1, 2]"), "does not begin with"),
    "UTF-16": (safetensors(json.dumps(three()).encode("utf-16")), "does not begin with"),
    "no tensors": (safetensors(b"{}", b""), "none of its 0 tensors is part of an attention call"),
    "a name of 10**6 characters": (
        safetensors(three(**{"n" * 10**6: entry(shape=[0], offsets=[0, 0])})),
        "1000000 characters",
    ),
    "metadata with a name of 5000 characters": (
        safetensors(three(__metadata__={"n" * 5000: "1"})),
        "a name in it has 5000 characters; expected at most 4096",
    ),
    "modules in modules without end": (
        safetensors(three(**{"m." * 500 + "q": entry(shape=[0], offsets=[0, 0])})),
        "a name in it has 501 parts with dots between them; expected 100 at most",
    ),
    "masks by the thousand": (
        safetensors(three(**{name: entry(shape=[0], offsets=[3 * SIZE] * 2) for name in SPELT})),
        "512 tensors in it could be attention_mask; expected 4 at most",
    ),
    "more calls and weights than can be compared": (
        safetensors(calls(1100), b""),
        "1100 calls for 1100 sets of projection weights; expected at most 1000000 pairs",
    ),
    "a million names": (lambda: safetensors(names(10**6), b""), "bytes long; expected at most 32 MiB, enough for"),
    "a name too many": (lambda: safetensors(names(200_001), b""), "names more than 200000 tensors"),
    "empty lists without end": (
        lambda: safetensors(b'{"q":{"shape":[' + b"[]," * 2_600_000 + b"[]]}}"),
        "q has shape in the header",
    ),
    "more values than fit": (
        lambda: safetensors(b'{"q":{"shape":[' + b"[]," * 10**7 + b"[]]}}"),
        "holds more than 6000000 values",
    ),
}


LARGE = [case for case, (content, _) in BROKEN.items() if callable(content)]
SMALL = [case for case in BROKEN if case not in LARGE]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What one process says of every small file."""
    return told_of_contents(
        tmp_path_factory.mktemp("broken"), ".safetensors", {case: BROKEN[case][0] for case in SMALL}
    )


@pytest.mark.parametrize("case", SMALL)
def test_a_broken_header_is_refused(told, case):
    assert BROKEN[case][1] in told[case]


@pytest.mark.parametrize("case", LARGE)
def test_a_header_that_would_burst_is_refused(tmp_path, case):
    make, says = BROKEN[case]
    path = tmp_path / "x.safetensors"
    path.write_bytes(make())
    ended = warm("run", str(path))
    refused(ended, names=path, says=says)
    assert ended.max_rss < start_rss() + 2**29


@pytest.mark.parametrize("command", ["run", "check", "diff", "explain"])
def test_every_command_refuses_it_in_json_too(tmp_path, command):
    content, says = BROKEN["a name twice"]
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    rest = {"diff": [str(path)], "explain": ["--head", "0", "--query", "0"]}.get(command, [])
    refused_as_json(warm(command, str(path), *rest, "--json"), command, names=path, says=says)


def test_a_file_with_weights_is_looked_at_in_the_same_way(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(safetensors())
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(BROKEN["a name twice"][0])
    refused(warm("run", str(tmp_path / "x.safetensors"), "--weights-file", str(weights)), names=weights, says="twice")


ODD = {
    "padding behind the header": safetensors(TEXT + b" " * 7),
    "an empty name": safetensors(three(**{"": entry(shape=[0], offsets=[768, 768])})),
    "another order": safetensors(dict(reversed(three().items()))),
    "an empty tensor between others": safetensors(three(z=entry(shape=[3, 0], offsets=[256, 256]))),
    "another dtype": safetensors(three(z=entry(dtype="F4", shape=[4], offsets=[768, 770])), DATA + b"\x12\x34"),
    "numbers of eight bits": safetensors(
        {n: entry(i, dtype="F8_E4M3", shape=[1, 2, 4, 32]) for i, n in enumerate("qkv")}
    ),
    "truth values that are neither 0 nor 1": safetensors(
        three(mask=entry(dtype="BOOL", shape=[1, 1, 4, 4], offsets=[768, 784])), DATA + b"\x01\x00\xff\x07" * 4
    ),
}


def test_what_is_odd_and_right_is_read(tmp_path):
    for number, content in enumerate(ODD.values()):
        (tmp_path / f"{number}.safetensors").write_bytes(content)
    accepted(warm("check", *(str(tmp_path / f"{number}.safetensors") for number in range(len(ODD)))))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("bias", "F8_E4M3"), ("mask", "BOOL"), ("attention_mask", "F8_E4M3"), ("key_padding_mask", "BOOL"),
     ("valid_lens", "BOOL"), ("token_ids", "BOOL")],
)  # fmt: skip
def test_what_does_not_fit_the_call_is_not_read(tmp_path, name, dtype):
    size = 2**32
    path = tmp_path / "x.safetensors"
    other = entry(dtype=dtype, shape=[size // 4, 4], offsets=[3 * SIZE, 3 * SIZE + size])
    path.write_bytes(safetensors(three(**{name: other})))
    os.truncate(path, path.stat().st_size + size)
    ended = warm("run", str(path), seconds=3.0)
    refused(ended, names=path, says=f"{name} is (1073741824, 4) ")
    assert ended.max_rss < start_rss() + 2**26


def test_many_names_take_little_memory(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors(names(20_000), b""))
    ended = warm("run", str(path))
    refused(ended, names=path, says="and 19997 more")
    assert ended.max_rss < start_rss() + 2**26


def test_an_index_of_many_names_in_one_shard_is_read_soon(tmp_path):
    empty = entry(shape=[0], offsets=[3 * SIZE] * 2)
    entries = three(**{f"layers.{number}.weight": empty for number in range(40_000)})
    (tmp_path / "shard").write_bytes(safetensors(entries))
    index = tmp_path / "x.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(entries, "shard")}))
    accepted(warm("run", str(index), "--top", "0", seconds=5.0))
