"""What of a ``tokenizer.json`` its package is handed: no more than tells which text an id has.

Whatever only cuts texts into tokens is left out, for it can take memory and time without measure, and the package ends
the process where memory is short. Free of torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from attn_cli.errors import InputError, in_file
from attn_cli.inputs.json_text import parsed, read_text
from attn_cli.inputs.limits import LARGEST_ADDED, MIB, MOST_MERGES
from attn_cli.inputs.text import shown

EXPECTED = "expected a tokenizer.json, as the package tokenizers writes it"
BYTES = "ByteLevel"
UNDO_BYTES = {"type": BYTES, "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
# What the package takes, measured: bytes at its start and for each of these.
START, OF_FILE_BYTE, OF_ENTRY, OF_MERGE, OF_ADDED, OF_ADDED_BYTE = 16 * MIB, 5, 300, 500, 500, 150


@dataclass(frozen=True)
class TokenizerDocument:
    """A ``tokenizer.json`` that was reduced.

    Attributes:
        text: JSON, in ASCII.
        has_bytes: entries are spelt in bytes (GPT-2's kind), which only decoding makes readable.
        room: about how many bytes of memory the package takes to read it.
        again: by its id, an entry of a Unigram that stands in it again later: the package would know its last id alone.
    """

    text: str
    has_bytes: bool
    room: int
    again: Mapping[int, str] = field(default_factory=dict)


def read_document(path: str) -> TokenizerDocument:
    """Read a ``tokenizer.json`` and leave out what is not needed.

    Raises:
        InputError: where it cannot be read, holds more than it may, or is no tokenizer at first sight.
    """
    content = read_text(path, EXPECTED)
    found = parsed(content, path, EXPECTED)
    if not isinstance(found, dict) or not isinstance(found.get("model"), dict):
        raise _broken(path, "it has no model")
    added = _added(found.get("added_tokens", []), path)
    spelt = [text for token in added if isinstance(text := token.get("content"), str)]
    size = sum(map(_size, spelt))
    if size > LARGEST_ADDED:
        raise in_file(path, f"its added_tokens have {size} bytes", f"expected {LARGEST_ADDED} at most")
    model, again = _model(found["model"], spelt, path)
    entries, merges = len(model["vocab"]), len(model.get("merges", ()))
    has_bytes = _has_bytes(found.get("decoder"))
    kept = {"version": found["version"]} if "version" in found else {}
    kept |= {"added_tokens": added, "decoder": UNDO_BYTES if has_bytes else None, "model": model}
    of_model = OF_FILE_BYTE * len(content) + OF_ENTRY * entries + OF_MERGE * merges
    room = START + of_model + OF_ADDED * len(added) + OF_ADDED_BYTE * size
    return TokenizerDocument(json.dumps(kept), has_bytes, room, again)


def _added(found: object, path: str) -> list[dict[str, Any]]:
    """The added tokens, each with what is neither list nor object."""
    if not isinstance(found, list) or not all(isinstance(token, dict) for token in found):
        raise _broken(path, "its added_tokens are no list of objects")
    return [_flat(token) for token in found]


def _model(found: dict[str, Any], added: Iterable[str], path: str) -> tuple[dict[str, Any], dict[int, str]]:
    """The model with its entries and merges, which take little where they are flat, and nothing else that is not.

    Beside it, by their ids, the texts that the package cannot know of.
    """
    vocab, merges = found.get("vocab"), found.get("merges")
    if isinstance(vocab, list) and found.get("type", "Unigram") == "Unigram":
        return _as_words(vocab, found.get("unk_id"), added, path)
    if not isinstance(vocab, dict) or not all(map(_is_flat, vocab.values())):
        raise _broken(path, "its model's vocab is no object of whole numbers")
    _check_ids(vocab, path)
    if merges is None:
        return _flat(found) | {"vocab": vocab}, {}
    if not isinstance(merges, list) or not all(_is_flat(merge) or _is_pair(merge) for merge in merges):
        raise _broken(path, "its model's merges are no list of pairs")
    if len(merges) > MOST_MERGES:
        raise in_file(path, f"its model has {len(merges)} merges", f"expected {MOST_MERGES} at most")
    return _flat(found) | {"vocab": vocab, "merges": merges}, {}


def _check_ids(vocab: dict[str, Any], path: str) -> None:
    """Refuse two texts of one id: the package gives now the one, now the other."""
    if len(set(vocab.values())) == len(vocab):
        return
    texts: dict[object, str] = {}
    for text, number in vocab.items():
        if type(number) is int and (other := texts.setdefault(number, text)) is not text:
            raise _broken(path, f"its model's vocab has the id {number} for {shown(other)} and for {shown(text)}")


def _as_words(
    vocab: list[Any], unknown: object, added: Iterable[str], path: str
) -> tuple[dict[str, Any], dict[int, str]]:
    """A Unigram's entries as those of whole words: the same texts have the same ids, and the package builds no trie.

    Where a text stands in the list again, its last id is the word's. Its others have words that nothing else has, for
    the package counts entries to give ids to added tokens; their text is that by their ids.
    """
    if not all(_is_pair(entry) and isinstance(entry[0], str) and _is_number(entry[1]) for entry in vocab):
        raise _broken(path, "its model's vocab is no list of texts with a number each")
    is_there = isinstance(unknown, int) and 0 <= unknown < len(vocab)
    if unknown is not None and not is_there:
        raise _broken(path, "its model's unk_id is not in its vocab")
    words = {text: number for number, (text, _) in enumerate(vocab)}
    again = {number: text for number, (text, _) in enumerate(vocab) if words[text] != number}
    taken = {*words, *added}
    others = (text for text in map(str, count()) if text not in taken)
    words |= dict(zip(others, again, strict=False))
    return {"type": "WordLevel", "vocab": words, "unk_token": ""}, again


def _has_bytes(decoder: object) -> bool:
    """Whether the decoder, or one in its sequence, is that of bytes."""
    inner = decoder.get("decoders") if isinstance(decoder, dict) else None
    parts = [decoder, *(inner if isinstance(inner, list) else [])]
    return any(isinstance(part, dict) and part.get("type") == BYTES for part in parts)


def _flat(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if _is_flat(value)}


def _is_flat(value: object) -> bool:
    return not isinstance(value, (dict, list))


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_flat, value))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _size(text: object) -> int:
    return len(text.encode("utf-8", "surrogatepass")) if isinstance(text, str) else 0


def _broken(path: str, reason: str) -> InputError:
    return in_file(path, f"cannot be read ({reason})", EXPECTED)
