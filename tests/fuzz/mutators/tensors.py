"""Mutation of safetensors files: the header as JSON, with or without a length and offsets that still agree with it."""

import json
import random
from typing import Any

from tests.fuzz.mutators.numbers import INTEGERS, text
from tests.fuzz.mutators.raw import mutate_bytes
from tests.fuzz.mutators.tree import Pairs, mutate_tree, written

SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2,
    "U8": 1, "BOOL": 1, "C64": 8, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1,
}  # fmt: skip
ODD_DTYPES = ("F4", "F6_E2M3", "F6_E3M2", "I4", "Q8", "f32", "", "F128")
NAMES = (
    "q", "k", "v", "mask", "bias", "valid_lens", "sinks", "token_ids", "output", "weights", "queries", "keys",
    "values",
    "hidden_states", "attention_mask", "key_padding_mask", "W_q.weight", "W_o.weight", "qkv", "layers.0.q", "K",
    "query",
    "steps.0.q", "layers.1.self_attn.q_proj.weight", "in_proj_weight", "input_ids", "context",
)  # fmt: skip
Entry = tuple[str, dict[str, Any]]
KEYS = ("scale", "softcap", "mask_value", "causal", "causal_align", "window", "layout", "tokens", "num_heads",
        "num_kv_heads", "heads", "total_heads", "call", "schema", "format")  # fmt: skip
VALUES = ("0", "-1", "nan", "inf", "1e999", "true", "True", "bottom-right", "7", "2,0", "-1,-1", "[[0]]", "[0, 0]",
         "{}",
          "bshd", "", "99999999999999999999", "null", "[1e400]", '["a"]', '{"dropout": NaN}', "[true]")  # fmt: skip


def mutate_safetensors(data: bytes, draw: random.Random) -> bytes:
    """One change of the header, of the numbers, of what the two say of one another, or of the bytes."""
    try:
        return _changed(data, draw)
    except RecursionError:
        return mutate_bytes(data, draw)


def _changed(data: bytes, draw: random.Random) -> bytes:
    size = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + size], object_pairs_hook=Pairs)
    except ValueError:
        return mutate_bytes(data, draw)
    body = data[8 + size :]
    pick = draw.random()
    if pick < 0.08 or not isinstance(header, Pairs):
        return mutate_bytes(data, draw)
    if pick < 0.16:
        return data[:8] + data[8 : 8 + size] + mutate_bytes(body, draw)
    if pick < 0.6:
        return _laid_out(header, body, draw)
    header = _with_metadata(header, draw) if pick < 0.75 else mutate_tree(header, draw)
    told = written(header).encode("utf-8", "surrogatepass")
    length = len(told) if draw.random() < 0.95 else draw.choice(INTEGERS) % 2**64
    return length.to_bytes(8, "little") + told + body


def _laid_out(header: Pairs, body: bytes, draw: random.Random) -> bytes:
    """A file that is right in itself, with another name, dtype or shape of a tensor, or other numbers in it."""
    metadata = [pair for pair in header if pair[0] == "__metadata__"]
    tensors = [(name, dict(entry)) for name, entry in header if name != "__metadata__" and isinstance(entry, Pairs)]
    if not tensors:
        return mutate_bytes(body, draw)
    tensors = _agreeing(tensors, draw) if draw.random() < 0.4 else _one_changed(tensors, draw)
    pairs, offset, content = Pairs(metadata), 0, bytearray()
    for key, one in tensors:
        count = _bytes_of(one)
        old = one.get("data_offsets")
        start = old[0] if isinstance(old, list) and old and isinstance(old[0], int) and old[0] >= 0 else 0
        piece = (body[start : start + count] or b"\0").ljust(1, b"\0")
        content += (piece * (count // len(piece) + 1))[:count]
        told = [("dtype", one.get("dtype")), ("shape", one.get("shape")), ("data_offsets", [offset, offset + count])]
        pairs.append((key, Pairs(told)))
        offset += count
    head = written(pairs).encode("utf-8", "surrogatepass")
    return len(head).to_bytes(8, "little") + head + bytes(content)


def _one_changed(tensors: list[Entry], draw: random.Random) -> list[Entry]:
    """Another name, dtype or shape of one tensor, one more or one less."""
    at = draw.randrange(len(tensors))
    name, entry = tensors[at][0], dict(tensors[at][1])
    change = draw.random()
    if change < 0.3:
        name = draw.choice(NAMES) if draw.random() < 0.7 else text(draw, name)
    elif change < 0.5:
        entry["dtype"] = draw.choice((*SIZES, *ODD_DTYPES))
    elif change < 0.8:
        entry["shape"] = _other_shape(entry.get("shape"), draw)
    elif change < 0.92:
        return [*tensors, (draw.choice(NAMES), entry)]
    else:
        return tensors[:at] + tensors[at + 1 :]
    return [*tensors[:at], (name, entry), *tensors[at + 1 :]]


def _agreeing(tensors: list[Entry], draw: random.Random) -> list[Entry]:
    """A size that several tensors share is another one in all of them, or their dtype is."""
    if draw.random() < 0.3:
        dtype = draw.choice(("F64", "F32", "F16", "BF16", "F8_E4M3", "I32", "BOOL"))
        return [
            (name, entry | {"dtype": dtype} if str(entry.get("dtype"))[:1] in "FB" else entry)
            for name, entry in tensors
        ]
    shapes = [entry["shape"] for _, entry in tensors if isinstance(entry.get("shape"), list) and entry["shape"]]
    if not shapes:
        return tensors
    old, new = draw.choice(draw.choice(shapes)), draw.choice((0, 1, 1, 2, 3, 5, 8, 17))
    return [(name, entry | {"shape": _replaced(entry.get("shape"), old, new)}) for name, entry in tensors]


def _replaced(shape: Any, old: Any, new: int) -> Any:
    return [new if size == old else size for size in shape] if isinstance(shape, list) else shape


def _other_shape(shape: Any, draw: random.Random) -> Any:
    if not isinstance(shape, list) or not shape or draw.random() < 0.05:
        return draw.choice(([], [0], [1], [2, 2], [0, 2**40], [1, 1, 1, 1, 1, 1]))
    changed, at, pick = list(shape), draw.randrange(len(shape)), draw.random()
    if pick < 0.6:
        changed[at] = draw.choice((0, 1, 2, 3, 4, 5, 8))
    elif pick < 0.7:
        del changed[at]
    elif pick < 0.8:
        changed.insert(at, draw.choice((1, 2)))
    elif pick < 0.95:
        draw.shuffle(changed)
    else:
        changed[at] = draw.choice(INTEGERS)
    return changed


def _bytes_of(entry: dict[str, Any]) -> int:
    """As many bytes as dtype and shape ask for, where that is few; the file lies about the others."""
    shape = entry.get("shape")
    count = SIZES.get(str(entry.get("dtype")), 1)
    for size in shape if isinstance(shape, list) else []:
        count *= size if isinstance(size, int) and size >= 0 else 1
    return count if count <= 2**14 else 8


def _with_metadata(header: Pairs, draw: random.Random) -> Pairs:
    """The header with one more or another text in its metadata."""
    old = next((value for name, value in header if name == "__metadata__"), None)
    metadata = Pairs(old) if isinstance(old, Pairs) else Pairs()
    key = draw.choice(KEYS) if draw.random() < 0.8 else text(draw, "layers.0.scale")
    value = draw.choice(VALUES) if draw.random() < 0.7 else text(draw, "[[]]")
    metadata = Pairs([pair for pair in metadata if pair[0] != key or draw.random() < 0.1] + [(key, value)])
    return Pairs([("__metadata__", metadata), *(pair for pair in header if pair[0] != "__metadata__")])
