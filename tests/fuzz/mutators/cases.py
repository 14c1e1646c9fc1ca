"""Mutation of whole cases: of one of the files by its form, of the command line, or of both."""

import random
from collections.abc import Sequence
from dataclasses import replace

from tests.fuzz.case import LONGEST, Case, decoded
from tests.fuzz.mutators.archives import mutate_zip
from tests.fuzz.mutators.arrays import MAGIC, mutate_npy
from tests.fuzz.mutators.opcodes import mutate_pickle
from tests.fuzz.mutators.options import mutate_argv
from tests.fuzz.mutators.raw import Mutate, mutate_bytes
from tests.fuzz.mutators.tensors import mutate_safetensors
from tests.fuzz.mutators.tree import mutate_json

MOST_AT_ONCE = 4
AFRESH = 0.5
SUFFIXES = (".safetensors", ".npz", ".pt", ".pth", ".npy", ".safetensors.index.json", ".json", "")


def mutate(data: bytes, size: int, seed: int, raw: Mutate = mutate_bytes, valid: Sequence[Case] = ()) -> bytes:
    """The bytes of a case that differs from that in ``data`` by one to four changes.

    Args:
        data: an encoded case; anything else becomes an empty one.
        size: bytes at most.
        seed: of the draw; the same seed makes the same case.
        raw: what changes bytes of files now and then.
        valid: cases that are begun with now and then instead: most that were changed are refused at the first fault.
    """
    draw = random.Random(seed)
    case = decoded(data) or Case(("run",))
    if valid and draw.random() < AFRESH:
        case = draw.choice(valid)
    for _ in range(draw.choice((1, 1, 1, 1, 2, 2, 3, MOST_AT_ONCE))):
        case = mutated(case, draw, raw)
    told = case.encoded()
    return told if len(told) <= min(size, LONGEST) else data


def mutated(case: Case, draw: random.Random, raw: Mutate) -> Case:
    """One change."""
    if case.argv and (not case.files or draw.random() < 0.5):
        return replace(case, argv=mutate_argv(case.argv, tuple(name for name, _ in case.files), draw))
    if not case.files:
        return case
    at = draw.randrange(len(case.files))
    name, content = case.files[at]
    if draw.random() < 0.03:
        return _renamed(case, at, draw)
    changes = raw if draw.random() < 0.1 else changing(name, content)
    return case.with_file(at, changes(content, draw))


def crossed(one: bytes, other: bytes, size: int, seed: int) -> bytes:
    """A command line with the files of another case, or a file in the place of another."""
    draw = random.Random(seed)
    first, second = decoded(one), decoded(other)
    if first is None or second is None:
        return one
    if first.argv and draw.random() < 0.5:
        case = replace(first, argv=(*first.argv, *second.argv[1:]))
    else:
        case = _with_file_of(first, second, draw)
    told = case.encoded()
    return told if len(told) <= min(size, LONGEST) else one


def _with_file_of(first: Case, second: Case, draw: random.Random) -> Case:
    """A case with a file of another in the place of one of its own, of the same form where there is such."""
    if not first.files or not second.files:
        return replace(first, files=second.files)
    at = draw.randrange(len(first.files))
    form = changing(*first.files[at])
    alike = [content for name, content in second.files if changing(name, content) is form]
    return first.with_file(at, draw.choice(alike or [content for _, content in second.files]))


def changing(name: str, content: bytes) -> Mutate:
    """What changes a file by the form that its first bytes, or its name, say it has."""
    if content[:2] == b"PK":
        return mutate_zip
    if content[:6] == MAGIC:
        return mutate_npy
    if content[:1] == b"\x80":
        return mutate_pickle
    if name.endswith(".json") or content[:1] in (b"{", b"["):
        return mutate_json
    return mutate_safetensors if content[8:9] == b"{" else mutate_bytes


def _renamed(case: Case, at: int, draw: random.Random) -> Case:
    """The file under another suffix, on the command line as well."""
    old, content = case.files[at]
    new = old.partition(".")[0] + draw.choice(SUFFIXES)
    files = (*case.files[:at], (new, content), *case.files[at + 1 :])
    return Case(tuple(new if one == old else one for one in case.argv), files)
