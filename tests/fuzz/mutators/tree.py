"""Mutation of JSON: of a file's text, and of the tree that it holds, duplicate keys included."""

import json
import random
from typing import Any

from tests.fuzz.mutators.numbers import FLOATS, integer, text
from tests.fuzz.mutators.raw import mutate_bytes


class Pairs(list[tuple[str, Any]]):
    """An object as a list of its keys and values, which can hold a key twice."""


class Verbatim(str):
    """JSON text that stands for a value, such as one that is nested too deeply for a tree."""


def mutate_json(data: bytes, draw: random.Random) -> bytes:
    """A changed tree, or changed bytes where it is none."""
    try:
        tree = json.loads(data, object_pairs_hook=Pairs)
        changed = written(mutate_tree(tree, draw)).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return mutate_bytes(data, draw)
    return mutate_bytes(data, draw) if draw.random() < 0.1 else changed


def written(tree: Any) -> str:
    """JSON text of a tree with pairs; numbers may be those that JSON does not have."""
    if isinstance(tree, Verbatim):
        return tree
    if isinstance(tree, Pairs):
        return "{" + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{written(value)}" for key, value in tree) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(written(value) for value in tree) + "]"
    return json.dumps(tree, ensure_ascii=False)


def mutate_tree(tree: Any, draw: random.Random) -> Any:
    """One change somewhere in the tree; the tree itself stays as it was."""
    if isinstance(tree, Pairs):
        return _object(Pairs(tree), draw)
    if isinstance(tree, list):
        return _array(list(tree), draw)
    return leaf(tree, draw)


def leaf(value: Any, draw: random.Random) -> Any:
    """A value of the same kind, or of another."""
    pick = draw.random()
    if pick < 0.15:
        return draw.choice((None, True, False, Pairs(), [], 0, "", [[]], draw.choice(FLOATS)))
    if pick < 0.17:
        return nested(draw.choice((40, 900, 5000)))
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return integer(draw, value)
    return draw.choice(FLOATS) if isinstance(value, float) else text(draw, value if isinstance(value, str) else "")


def nested(depth: int) -> Verbatim:
    """A list in a list in a list."""
    return Verbatim("[" * depth + "]" * depth)


def _object(pairs: Pairs, draw: random.Random) -> Pairs:
    if not pairs:
        pairs.append((text(draw), leaf(0, draw)))
        return pairs
    at = draw.randrange(len(pairs))
    key, value = pairs[at]
    pick = draw.random()
    if pick < 0.6:
        pairs[at] = (key, mutate_tree(value, draw))
    elif pick < 0.7:
        pairs[at] = (text(draw, key), value)
    elif pick < 0.78:
        del pairs[at]
    elif pick < 0.86:
        pairs.append((key, draw.choice(pairs)[1]))
    elif pick < 0.94:
        pairs.append((text(draw, key), value))
    else:
        draw.shuffle(pairs)
    return pairs


def _array(items: list[Any], draw: random.Random) -> list[Any]:
    if not items:
        return [leaf(0, draw)]
    at = draw.randrange(len(items))
    pick = draw.random()
    if pick < 0.65:
        items[at] = mutate_tree(items[at], draw)
    elif pick < 0.75:
        del items[at]
    elif pick < 0.85:
        items.insert(at, items[at])
    elif pick < 0.9:
        items.append(leaf(0, draw))
    elif pick < 0.95:
        items = items * draw.choice((2, 8))
    else:
        draw.shuffle(items)
    return items
