"""What the keys are: token ids, and tokens as text."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from attn_cli.errors import InputError, in_file
from attn_cli.inputs.call_site import is_recorded
from attn_cli.inputs.given_tokens import GivenTokens, Rows
from attn_cli.inputs.metadata import Metadata
from attn_cli.inputs.names import TOKEN_IDS
from attn_cli.inputs.readers.base import TensorFile
from attn_cli.inputs.settings import METADATA
from attn_cli.inputs.text import describe, shown
from attn_cli.inputs.types import Convention, TensorInfo
from attn_cli.inputs.validation import CallSizes

T = TypeVar("T")
KEY = "tokens"
LARGEST_ID = 2**63 - 1
TOKENS_FLAG, TOKENIZER_FLAG = "--tokens", "--tokenizer"
Tokens = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class ReadTokens:
    """What is known of the keys of one call.

    Attributes:
        ids: ``(B, Sk)`` int64, or None.
        texts: B rows of Sk, or None.
        tensors: what they were read from.
        conventions: what is to be said of it.
    """

    ids: Tensor | None = None
    texts: Tokens | None = None
    tensors: tuple[TensorInfo, ...] = ()
    conventions: tuple[Convention, ...] = ()


@dataclass(frozen=True)
class CallTokens:
    """Ids and texts of one call before they are read: what the flags give, else the file's own.

    Attributes:
        file: that holds the call.
        name: of its own tensor of ids, or None.
        metadata: of the call.
        given: by the flags.
        sizes: of the call.
    """

    file: TensorFile
    name: str | None
    metadata: Metadata
    given: GivenTokens
    sizes: CallSizes

    def judge(self) -> None:
        """Refuse them by how many there are, and ids by their dtype; no tensor is read.

        Raises:
            InputError: where ids or texts that were given do not fit the call, or the file's own ids do not.
        """
        if self.given.ids is not None:
            self._check_fit(self.given.ids, "ids")
        else:
            info = self._own_ids()
            if info is not None:
                _judge_ids(self.file.path, info, self.sizes, is_cut=self._is_cut(info))
        if self.given.texts is not None:
            self._check_fit(self.given.texts, "texts")

    def read(self) -> ReadTokens:
        """What :meth:`judge` let pass.

        Raises:
            InputError: where an id is too large.
        """
        found = self._ids()
        tokenizer = self.given.tokenizer
        if self.given.texts is not None:
            texts, said = self._fitted(self.given.texts, "texts")
            return replace(found, texts=texts, conventions=(*found.conventions, said))
        if tokenizer is not None:
            if found.ids is None:
                unknown = Convention(KEY, "not known: no token ids for the tokenizer to read", TOKENIZER_FLAG)
                return replace(found, conventions=(unknown,))
            by = Convention(KEY, f"ids as texts by {shown(tokenizer.path)}", TOKENIZER_FLAG)
            return replace(found, texts=tokenizer.texts(found.ids), conventions=(*found.conventions, by))
        if found.conventions:  # ids that were given: the file's texts are not theirs
            return found
        own, unfit = read_tokens(self.metadata, self.sizes)
        return replace(found, texts=own, conventions=() if unfit is None else (unfit,))

    def _ids(self) -> ReadTokens:
        """The ids alone; given ones with what there is to say."""
        if self.given.ids is not None:
            rows, said = self._fitted(self.given.ids, "ids")
            return ReadTokens(torch.tensor(rows, dtype=torch.int64), conventions=(said,))
        info = self._own_ids()
        if info is None:
            return ReadTokens()
        ids = _read_ids(self.file, info, self.sizes)
        cut = self._cut(info.shape[-1]) if self._is_cut(info) else ""
        told = () if self._chosen is None else (Convention(KEY, f"ids of {shown(info.name)}{cut}", TOKENS_FLAG),)
        return ReadTokens(ids, tensors=(replace(info, role=TOKEN_IDS),), conventions=told)

    @property
    def _chosen(self) -> str | None:
        """The tensor of ids that a flag names."""
        return self.given.tensor_of(self.metadata.prefix)

    def _own_ids(self) -> TensorInfo | None:
        """The tensor of ids in the file."""
        chosen = self._chosen
        name = self.name if chosen is None else chosen
        return None if name is None else self.file.info(name)

    def _is_cut(self, info: TensorInfo) -> bool:
        is_longer = len(info.shape) in (1, 2) and info.shape[-1] > self.sizes.keys
        return is_longer and self._chosen is not None and self._may_be_longer

    def _check_fit(self, given: Rows[T], what: str) -> None:
        """Refuse other than one row a batch item, one entry a key.

        Raises:
            InputError: where there are others.
        """
        keys, lengths = self.sizes.keys, {len(row) for row in given.rows}
        fits = lengths == {keys} or (self._may_be_longer and min(lengths) >= keys)
        if len(given.rows) != self.sizes.batch or not fits:
            raise self._unfit(f"{given.size} {what}")

    def _fitted(self, given: Rows[T], what: str) -> tuple[tuple[tuple[T, ...], ...], Convention]:
        """One row a batch item, one entry a key, and what there is to say."""
        keys, lengths = self.sizes.keys, {len(row) for row in given.rows}
        cut = self._cut(*lengths) if lengths != {keys} else ""
        said = Convention(KEY, f"{what} of {shown(self.given.source)}{cut}", TOKENS_FLAG)
        return tuple(row[:keys] for row in given.rows), said

    @property
    def _may_be_longer(self) -> bool:
        """A recorded generation attends to one key more at each step: one list of tokens serves all of them."""
        return is_recorded(self.metadata)

    def _cut(self, *lengths: int) -> str:
        return f", the first {self.sizes.keys} of {max(lengths)}"

    def _unfit(self, found: str) -> InputError:
        batch, keys = self.sizes.batch, self.sizes.keys
        where = f" for {shown(self.metadata.prefix)}" if self.metadata.prefix else ""
        expected = f"expected {batch} list{'s' if batch > 1 else ''} of {keys}, one a key{where}"
        hint = "--prefix, --layer and --step choose the calls that they are for" if where else None
        return in_file(self.given.source, f"{TOKENS_FLAG} has {found}", expected, hint)


def _judge_ids(path: str, info: TensorInfo, sizes: CallSizes, *, is_cut: bool) -> None:
    """Refuse token ids that are neither (B, Sk) nor, in a batch of one, (Sk,), or no whole numbers.

    Args:
        path: of the file that holds them.
        info: of their tensor.
        sizes: of the call.
        is_cut: there are more in a row than keys, of which the first count.
    """
    wanted = (sizes.batch, sizes.keys)
    shape = (*info.shape[:-1], sizes.keys) if is_cut else info.shape
    if info.dtype.startswith(("bool", "float", "bfloat", "complex")):
        raise in_file(path, describe(info), "expected whole numbers, a token id a key")
    if shape != wanted and not (sizes.batch == 1 and shape == wanted[1:]):
        raise in_file(path, describe(info), f"expected {wanted}, a token id a key")


def _read_ids(file: TensorFile, info: TensorInfo, sizes: CallSizes) -> Tensor:
    """Token ids as ``(B, Sk)`` int64; ``(Sk,)`` is a batch of one."""
    x = file.read(info.name)[..., : sizes.keys]
    ids = x.to(torch.int64).reshape(sizes.batch, sizes.keys)
    if x.dtype == torch.uint64 and bool((ids < 0).any()):
        raise in_file(file.path, f"{describe(info)}: found a number above {LARGEST_ID}", "expected token ids up to it")
    return ids


def read_tokens(metadata: Metadata, sizes: CallSizes) -> tuple[Tokens | None, Convention | None]:
    """The text of each key out of the metadata, or None with the reason where it does not fit this call."""
    found = metadata.parsed(KEY, _parsed)
    if found is None:
        return None, None
    tokens = found[1]
    if tokens is not None and len(tokens) == sizes.batch and all(len(row) == sizes.keys for row in tokens):
        return tokens, None
    expected = f"{sizes.batch} lists of {sizes.keys} texts"
    return None, Convention(KEY, f"not used: they are not {expected}", METADATA)


def _parsed(text: str) -> Tokens | None:
    """Rows of texts, of whatever sizes; one bare row is that of a batch of one. None where they are something else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list):
        return None
    rows = [value] if all(isinstance(item, str) for item in value) else value
    is_whole = all(isinstance(row, list) and all(isinstance(token, str) for token in row) for row in rows)
    return tuple(tuple(row) for row in rows) if is_whole else None
