"""What ``--tokens`` and ``--tokenizer`` say, read once for all calls of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from attn_cli.errors import UsageError, in_file
from attn_cli.inputs.json_text import read_json
from attn_cli.inputs.names import join, with_parents
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.paths import JSON_EXPECTED, is_json
from attn_cli.inputs.readers.base import TensorFile
from attn_cli.inputs.text import contents, shown
from attn_cli.inputs.tokenizer import Tokenizer

T = TypeVar("T")
LARGEST_ID = 2**63


@dataclass(frozen=True)
class Rows(Generic[T]):
    """One text or one id for each key, a row for each batch item."""

    rows: tuple[tuple[T, ...], ...]

    @property
    def size(self) -> str:
        """``"2 lists of 5"``, or of how many each has."""
        lengths = dict.fromkeys(len(row) for row in self.rows)
        lists = "1 list" if len(self.rows) == 1 else f"{len(self.rows)} lists"
        few = list(map(str, lengths))[:4]
        return f"{lists} of {', '.join(few)}{' …' if len(lengths) > len(few) else ''}"


@dataclass(frozen=True)
class GivenTokens:
    """What the flags say about the keys; None and empty where they say nothing.

    Attributes:
        source: the argument of ``--tokens``.
        texts: out of a JSON file.
        ids: out of a JSON file.
        tensors: names of the file's tensors, spelt as there, that ``source`` may mean.
        tokenizer: that turns ids into texts.
    """

    source: str = ""
    texts: Rows[str] | None = None
    ids: Rows[int] | None = None
    tensors: frozenset[str] = frozenset()
    tokenizer: Tokenizer | None = None

    def tensor_of(self, prefix: str) -> str | None:
        """The tensor of ids that a call is meant to take: of its prefix, or of what that stands in."""
        if not self.tensors:
            return None
        if self.source in self.tensors:
            return self.source
        wanted = (join(parent, self.source) for parent in with_parents(prefix))
        return next((name for name in wanted if name in self.tensors), None)


def read_given_tokens(options: ReadOptions, file: TensorFile) -> GivenTokens:
    """Read what the flags name, but no tensor yet.

    Raises:
        UsageError: where texts are given and a tokenizer, which needs ids, or its package is not installed.
        InputError: where a file is not what it has to be, or no tensor has the name.
    """
    tokenizer = None if options.tokenizer is None else Tokenizer.load(options.tokenizer)
    source = options.tokens
    if source is None:
        return GivenTokens(tokenizer=tokenizer)
    if not is_json(source):
        return GivenTokens(source, tensors=_tensors(source, file), tokenizer=tokenizer)
    texts, ids = _read_json(source)
    if texts is not None and tokenizer is not None:
        found = f"--tokenizer {options.tokenizer}: {source} holds texts already"
        raise UsageError(f"{found}; expected ids to turn into them")
    return GivenTokens(source, texts, ids, tokenizer=tokenizer)


def _tensors(source: str, file: TensorFile) -> frozenset[str]:
    """The tensors of this name in the file, behind any prefix."""
    if source in file.names:
        return frozenset([source])
    found = frozenset(name for name in file.names if name.endswith(f".{source}"))
    if not found:
        hint = f"a JSON file has to be called *.json; in the file are\n{contents(file.names, file.info)}"
        raise in_file(file.path, f"no tensor --tokens {shown(source)}", "expected the name of a tensor in it", hint)
    return found


def _read_json(path: str) -> tuple[Rows[str] | None, Rows[int] | None]:
    """Texts or ids, whichever a JSON file holds."""
    value = read_json(path, JSON_EXPECTED)
    rows = [value] if isinstance(value, list) and not any(isinstance(row, list) for row in value) else value
    if isinstance(rows, list) and rows and all(isinstance(row, list) and row for row in rows):
        texts, ids = _rows(rows, str), _rows(rows, int)
        if texts is not None or (ids is not None and all(abs(one) < LARGEST_ID for row in ids.rows for one in row)):
            return texts, ids
    raise in_file(path, "holds something else", JSON_EXPECTED)


def _rows(rows: Sequence[Sequence[object]], kind: type[T]) -> Rows[T] | None:
    """The rows where all they hold is of exactly this type; True is no number."""
    if not all(type(one) is kind for row in rows for one in row):
        return None
    return Rows(tuple(tuple(one for one in row if isinstance(one, kind)) for row in rows))
