"""Metadata that lie: numbers that are none, tokens of another kind, heads that are not there, calls of nothing."""

import json

import pytest
import torch
from safetensors.torch import save_file

from attn_cli.inputs.selecting import MOST_HEADS
from tests.hostile.law import accepted, refused, refused_as_json, told_of_each
from tests.hostile.test_values import document, heads
from tests.hostile.warm import warm

NUMBER, COUNT = "expected a finite number", "expected a whole number from 1"
NEVER = (
    "",
    "x",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "null",
    "true",
    "[]",
    "0x10",
    "\x1b[31m",
    "[red]",
    "\x00",
    "9" * 100_000,
    "1_0",
    "٣",
    "１.5",
    "infinity",
)
REFUSED = {
    "scale": (NEVER, NUMBER),
    "softcap": ((*NEVER, "0", "-3", "1e-400"), "expected a finite number above 0"),
    "mask_value": (tuple(value for value in NEVER if value != "-inf"), "expected a number or -inf"),
    "num_heads": ((*NEVER, "0", "-3", "1.5", "1" + "0" * 30), COUNT),
    "num_kv_heads": (("-3", "nan", "0", "1.5"), COUNT),
    "causal": (("", "yes", "1", "[red]", "null"), "expected true or false"),
    "causal_align": (("", "x", "nan", "1.5", "1" + "0" * 30, "٣"), "expected bottom-right, top-left or a whole number"),
    "window": (("", "-5", "1,2,3", "nan", "1_0", "1" + "0" * 30), "expected LEFT or LEFT,RIGHT"),
    "layout": (("", "sbhd", "[red]"), "expected bhsd or bshd"),
}
NOT_TOKENS = (
    "", "x", "{}", "null", "1", '"x"', "[]", "[[]]", "[1,2,3,4]", "[[1,2,3,4]]", '[["a","b","c"]]',
    '[["a","b","c",null]]', '[["a","b","c","d"],["a","b","c","d"]]', "[NaN]", "[" * 100_000,
    "9" * 10_000, "[" + "9" * 10_000 + "]",
)  # fmt: skip
NOT_HEADS = (
    "", "x", "null", "[]", "[0,0]", "[-1,1]", "[true,1]", "[0,1.0]", "[0,1e3]", "[0,99999999999]", "[[0,1]]",
    "[" * 100_000,
)  # fmt: skip
NOT_CALLS = (
    "", "x", "[]", "null", "1", "{" * 100_000, '{"number":' + "9" * 70_000 + "}", '{"number":1' + " " * 70_000 + "}",
)  # fmt: skip
NOTHING_IN_IT = (
    "{}", '{"number":-1}', '{"number":"x"}', '{"number":true}', '{"number":1e400}', '{"number":NaN}', '{"number":9.5}',
    '{"dropout":NaN}', '{"dropout":Infinity}', '{"dropout":2}', '{"dropout":true}', '{"caller":["a"],"function":{}}',
    '{"module":5,"root":[],"step":-3}', '{"number":' + "9" * 30 + "}",
)  # fmt: skip


def written(folder, texts, prefix="", **metadata):
    """A file with each of these metadata; its path."""
    paths = []
    for number, text in enumerate(texts):
        path = folder / f"{len(list(folder.iterdir()))}-{number}.safetensors"
        save_file({f"{prefix}{name}": x for name, x in heads().items()}, path, {**metadata, **text})
        paths.append(path)
    return paths


@pytest.mark.parametrize("key", REFUSED)
def test_a_setting_that_is_none_is_refused(tmp_path, key):
    values, expected = REFUSED[key]
    paths = written(tmp_path, [{key: value} for value in values])
    told = told_of_each(warm("check", *map(str, paths)), paths)
    for path, value in zip(paths, values, strict=True):
        assert f"metadata {key} is " in told[path]
        assert expected in told[path], (value, told[path])
        assert told[path].endswith(f"hint: --{key.replace('_', '-')} overrides it") or value == values[-1]


def test_what_metadata_say_is_escaped_once(tmp_path):
    (path,) = written(tmp_path, [{"layout": "\x1b[31m'\\"}])
    refused(warm("run", str(path)), says=r"metadata layout is '\x1b[31m'\'; expected bhsd or bshd")


def test_an_option_overrides_what_metadata_lie_about(tmp_path):
    (path,) = written(tmp_path, [{"scale": "nan"}])
    refused(warm("run", str(path)), names=path, says="metadata scale is 'nan'")
    refused_as_json(warm("run", str(path), "--json"), "run", names=path)
    accepted(warm("run", str(path), "--scale", "1"))


EVERY = (("run",), ("check",), ("diff",), ("explain", "--head", "0", "--query", "0"))


@pytest.mark.parametrize("arguments", EVERY, ids=lambda arguments: arguments[0])
def test_a_mask_value_that_the_dtype_does_not_hold_is_its_sayers_fault(tmp_path, arguments):
    """The file's where metadata say it, and the option's where that does."""
    command, *more = arguments
    (path,) = written(tmp_path, [{"mask_value": "1e308"}])
    line = [command, *[str(path)] * (2 if command == "diff" else 1), *more]
    says = ("does not fit float32; expected at most ±3.40282e+38", "hint: --mask-value overrides it")
    document = refused_as_json(
        warm(*line, "--json"), command, names=f"{path}: metadata mask_value is 1e+308", says=says
    )
    assert document["error"]["code"] == "input"
    refused(warm(*line, "--mask-value", "-1e39"), names="--mask-value -1e+39: does not fit float32")


def conventions(paths):
    """What is said of each file's call, by name."""
    calls = document(warm("check", "--json", *map(str, paths)))["data"]["calls"]
    said = {call["file"]: {one["name"]: one["value"] for one in call["conventions"]} for call in calls}
    return [said[str(path)] for path in paths]


def test_tokens_that_are_none_are_left_out_and_said_to_be(tmp_path):
    for said in conventions(written(tmp_path, [{"tokens": text} for text in NOT_TOKENS])):
        assert said["tokens"] == "not used: they are not 1 lists of 4 texts"


COUNTING = """
import json, sys
plain = json.loads
def loads(text, *given, **options):
    if text == TEXT:
        sys.stderr.write("parsed\\n")
    return plain(text, *given, **options)
json.loads = loads
"""


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("tokens", json.dumps(["x" * 1000, "b", "c", "d"])), ("tokens", json.dumps([["x" * 1000] * 4] * 2)),
        ("tokens", "[" + "9" * 1000 + "]"), ("heads", json.dumps([*range(1000)])), ("heads", "[" * 1001),
    ],
)  # fmt: skip
def test_a_long_text_of_many_calls_is_parsed_once(tmp_path, key, text):
    """Some 30 MB of tokens that apply to hundreds of calls would else take minutes."""
    path = tmp_path / "x.safetensors"
    save_file({f"layers.{layer}.{name}": x for layer in range(5) for name, x in heads().items()}, path, {key: text})
    for command in (("run",), ("check",), ("diff", "--against-dtype", "float64")):
        ended = accepted(warm(command[0], str(path), *command[1:], "--json", before=f"TEXT = {text!r}{COUNTING}"))
        assert ended.err == "parsed\n", command


def test_heads_that_are_none_are_left_out_and_said_to_be(tmp_path):
    texts = [{"heads": text, "total_heads": "8"} for text in NOT_HEADS]
    texts += [{"heads": "[0,5]", "total_heads": total} for total in ("x", "0", "-1", "5", "8.0", "٨", "1" + "0" * 30)]
    for said in conventions(written(tmp_path, [*texts, {"heads": "[0,5]"}])):
        assert said["kept heads"] == "not used: heads is no list of head numbers below total_heads"
    (said,) = conventions(written(tmp_path, [{"heads": "[0,1,5]", "total_heads": "8"}]))
    assert said["kept heads"] == "not used: heads has 3 numbers for 2 query heads"


def test_heads_are_named_as_the_metadata_say_where_that_can_be(tmp_path):
    (path,) = written(tmp_path, [{"heads": "[2147483640,5]", "total_heads": "2147483647"}])
    found = document(warm("run", str(path), "--json"))
    assert {head["head"] for head in found["data"]["heads"]} == {2147483640, 5}
    refused(warm("run", str(path), "--head", "0"), names=path, says="expected one of 5, 2147483640, which were kept")


def test_a_call_that_is_no_object_is_said_to_be_none(tmp_path):
    for said in conventions(written(tmp_path, [{"a.call": text} for text in NOT_CALLS], prefix="a.")):
        assert said["recorded"] == "not told: a.call is no JSON object"


def test_of_a_call_nothing_is_told_that_cannot_be(tmp_path):
    for said in conventions(written(tmp_path, [{"a.call": text} for text in NOTHING_IN_IT], prefix="a.")):
        assert not {"recorded", "dropout"} & set(said)


def test_a_cut_into_a_billion_heads_is_refused(tmp_path):
    sizes = {"q": (1, 3, 2**21), "k": (1, 4, 2**21), "v": (1, 4, 2**21)}
    path = tmp_path / "x.safetensors"
    save_file({name: torch.zeros(size) for name, size in sizes.items()}, path, {"num_heads": str(2**21)})
    refused(warm("run", str(path)), names=path, says=f"2097152 query heads; expected at most {MOST_HEADS}")


LIST = "expected a JSON list of texts or token ids"
TOKENS_FILES = {
    **dict.fromkeys(
        ("", "x", "{}", "null", "[]", "[[]]", "[1.5]", "[true]", '["a",1]', "[" * 100_000, f"[{2**63},0,0,0]"), LIST
    ),
    f"[{'9' * 10_000}]": LIST,
    '["a"]': "1 list of 1 texts; expected 1 list of 4", "[1,2]": "1 list of 2 ids; expected 1 list of 4",
    '[["a"],["b"]]': "2 lists of 1 texts; expected 1 list of 4",
}  # fmt: skip


def test_a_file_of_tokens_that_are_none_is_refused(tmp_path):
    (path,) = written(tmp_path, [{}])
    for number, (text, says) in enumerate(TOKENS_FILES.items()):
        tokens = tmp_path / f"{number}.json"
        tokens.write_text(text)
        refused(warm("run", str(path), "--tokens", str(tokens)), names=tokens, says=says)


def test_a_baseline_that_lies_is_refused(tmp_path):
    path = tmp_path / "base.json"
    schema = {"schema": "attn.bench/1"}
    lies = [{}, [], 5, schema, {"schema": 5}, {"schema": "attn.run/1", "data": {}}]
    for content in [*lies, schema | {"data": None}, schema | {"data": {"results": 5}}]:
        path.write_text(json.dumps(content))
        refused(warm("bench", "--seq", "16", "--baseline", str(path)), says=str(path), expects=False)
