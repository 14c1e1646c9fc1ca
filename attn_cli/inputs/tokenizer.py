"""Token ids as texts, by a ``tokenizer.json``; the package ``tokenizers`` is asked for only where one is named.

Free of torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from attn_cli.errors import InputError, UsageError, in_file
from attn_cli.inputs.json_text import parsed, read_text
from attn_cli.inputs.paths import check_regular
from attn_cli.inputs.text import reason_of

if TYPE_CHECKING:
    from torch import Tensor

EXPECTED = "expected a tokenizer.json, as the package tokenizers writes it"
UNDECODED = "\N{REPLACEMENT CHARACTER}"
BYTES = "ByteLevel"


class Tokenizer:
    """A vocabulary, and what its entries look like as text.

    Args:
        path: how messages name it.
        tokenizer: the package's own.
        has_bytes: True where entries are spelt in bytes (GPT-2's kind), which only decoding makes readable.
    """

    def __init__(self, path: str, tokenizer: Any, *, has_bytes: bool) -> None:
        self.path = path
        self._tokenizer = tokenizer
        self._has_bytes = has_bytes
        self._known: dict[int, str] = {}

    @classmethod
    def load(cls, path: str) -> Tokenizer:
        """Read a ``tokenizer.json``.

        Raises:
            UsageError: where the package ``tokenizers`` is not installed.
            InputError: where the file is not there, or is no tokenizer.
        """
        check_tokenizer(path)
        content = read_text(path, EXPECTED)
        has_bytes = _has_bytes(parsed(content, path, EXPECTED))
        from tokenizers import Tokenizer as Package

        try:
            with _in_silence():
                return cls(path, Package.from_str(content.decode()), has_bytes=has_bytes)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the package's is no Exception
            raise _broken(path, error) from error

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


def _has_bytes(found: object) -> bool:
    """Whether the decoder, or one in its sequence, is that of bytes."""
    decoder = found.get("decoder") if isinstance(found, dict) else None
    inner = decoder.get("decoders") if isinstance(decoder, dict) else None
    parts = [decoder, *(inner if isinstance(inner, list) else [])]
    return any(isinstance(part, dict) and part.get("type") == BYTES for part in parts)


def _broken(path: str, error: BaseException) -> InputError:
    return in_file(path, f"cannot be read ({reason_of(error)})", EXPECTED)
