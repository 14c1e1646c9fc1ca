"""Token ids as texts, by a ``tokenizer.json``; the package ``tokenizers`` is asked for only where one is named.

Free of torch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from attn_cli.errors import InputError, ResourceError, UsageError, in_file
from attn_cli.inputs.paths import check_regular
from attn_cli.inputs.text import bytes_text, reason_of
from attn_cli.inputs.tokenizer_document import EXPECTED, read_document

if TYPE_CHECKING:
    from torch import Tensor

UNDECODED = "\N{REPLACEMENT CHARACTER}"
POSITION = re.compile(r" at line \d+ column \d+")


class Tokenizer:
    """A vocabulary, and what its entries look like as text.

    Args:
        path: how messages name it.
        tokenizer: the package's own.
        has_bytes: True where entries are spelt in bytes (GPT-2's kind), which only decoding makes readable.
        known: texts by their ids, besides those that the package knows.
    """

    def __init__(self, path: str, tokenizer: Any, *, has_bytes: bool, known: Mapping[int, str]) -> None:
        self.path = path
        self._tokenizer = tokenizer
        self._has_bytes = has_bytes
        self._known = dict(known)

    @classmethod
    def load(cls, path: str) -> Tokenizer:
        """Read a ``tokenizer.json``.

        Raises:
            UsageError: where the package ``tokenizers`` is not installed.
            InputError: where the file is not there, or is no tokenizer.
            ResourceError: where there is not the memory for it.
        """
        check_tokenizer(path)
        document = read_document(path)
        from tokenizers import Tokenizer as Package

        _check_room(document.room, path)
        try:
            with _in_silence():
                package = Package.from_str(document.text)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the package's is no Exception
            raise _broken(path, error) from error
        return cls(path, package, has_bytes=document.has_bytes, known=document.again)

    def texts(self, ids: Tensor) -> tuple[tuple[str, ...], ...]:
        """Each token as text; an id that is not in the vocabulary as its number.

        A token of GPT-2's kind is decoded by itself (``" the"``); of others it is the vocabulary's entry, such as
        ``"##ing"`` and ``"▁the"``, which says whether a word begins.

        Args:
            ids: ``(B, Sk)`` whole numbers.
        """
        rows = ids.tolist()
        unknown = {number for row in rows for number in row} - self._known.keys()
        with _in_silence():
            self._known |= {number: self._text(number) for number in unknown}
        return tuple(tuple(self._known[number] for number in row) for row in rows)

    def _text(self, number: int) -> str:
        try:
            entry = self._tokenizer.id_to_token(number)
            if entry is None:
                return str(number)
            text = self._tokenizer.decode([number], skip_special_tokens=False) if self._has_bytes else entry
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # negative ids, and whatever a hostile file makes the package do
            return str(number)
        # Part of a character is no text by itself: then the entry tells more.
        return str(entry if not text or UNDECODED in text else text)


@contextmanager
def _in_silence() -> Iterator[None]:
    """Keeps a panic of the package's, which it writes to descriptor 2 with a stack of its own, from being shown."""
    with ExitStack() as stack:
        with suppress(OSError):  # nobody sees it where it is closed, or there are no descriptors left
            kept = os.dup(2)
            stack.callback(os.close, kept)
            nothing = os.open(os.devnull, os.O_WRONLY)
            stack.callback(os.close, nothing)
            os.dup2(nothing, 2)
            stack.callback(os.dup2, kept, 2)
        yield


def check_tokenizer(path: str) -> None:
    """Refuse a tokenizer that cannot be read, without reading it or importing the package.

    Raises:
        UsageError: where the package ``tokenizers`` is not installed.
        InputError: where there is no such file.
    """
    check_regular(path, EXPECTED)
    if find_spec("tokenizers") is None:
        raise UsageError(
            "--tokenizer needs the package tokenizers; expected it to be installed", "pip install 'attn-cli[tokens]'"
        )


def _check_room(size: int, path: str) -> None:
    """Refuse what there is no memory for: the package would end the process without a word.

    Raises:
        ResourceError: where so many bytes are not to be had; they are given back, and were never touched.
    """
    try:
        bytes(size)
    except MemoryError as error:
        found = f"{path}: takes about {bytes_text(size)} of memory to read"
        raise ResourceError(f"{found}; expected so much to be free") from error


def _broken(path: str, error: BaseException) -> InputError:
    # Its lines and columns are those of what it was handed.
    return in_file(path, f"cannot be read ({POSITION.sub('', reason_of(error))})", EXPECTED)
