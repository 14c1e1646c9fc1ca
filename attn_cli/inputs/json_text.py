"""JSON from files, read strictly: UTF-8, no key twice, no NaN, and never more than can be taken in.

Free of torch.
"""

from __future__ import annotations

import codecs
import json
from typing import NoReturn

from attn_cli.errors import InputError, in_file
from attn_cli.inputs.limits import LARGEST_JSON, MIB, MOST_JSON_VALUES, VALUES_OF_KEY
from attn_cli.inputs.paths import check_readable, opened
from attn_cli.inputs.text import shown


def read_json(path: str, expected: str, hint: str | None = None) -> object:
    """What a JSON file holds.

    Args:
        path: of the file or of a pipe.
        expected: what it should be, for the message.
        hint: how to go on.

    Raises:
        InputError: where it cannot be read, is no JSON, or is too large.
    """
    try:
        return parsed(read_text(path, expected), path, expected)
    except InputError as error:
        raise InputError(error.message, error.hint or hint) from error


def read_text(path: str, expected: str) -> bytes:
    """The bytes of a JSON file or of a pipe, without the mark that some editors put before UTF-8.

    Raises:
        InputError: where it cannot be read, or has too many.
    """
    check_readable(path, expected)
    try:
        with opened(path, expected) as file:
            content = file.read(LARGEST_JSON + 1)
    except OSError as error:
        raise in_file(path, f"cannot be read ({error.strerror})", expected) from error
    if len(content) > LARGEST_JSON:
        raise in_file(path, f"has more than {LARGEST_JSON // MIB} MiB", expected)
    return content.removeprefix(codecs.BOM_UTF8)


def parsed(content: bytes, label: str, expected: str, what: str = "it") -> object:
    """JSON text as values.

    Args:
        content: the text.
        label: how messages name its file.
        expected: what it should be.
        what: the part of the file that it is.

    Raises:
        InputError: where it is no JSON, or holds a key twice, a number that JSON has not, or too many values.
    """
    # Each value but the first stands behind one of these; inside texts they are counted for nothing.
    values = sum(content.count(sign) for sign in (b",", b"[", b"{")) + VALUES_OF_KEY * content.count(b":")
    if values > MOST_JSON_VALUES:
        raise in_file(label, f"{what} holds more than {MOST_JSON_VALUES} values, a key counted as four", expected)
    try:
        found: object = json.loads(content.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise in_file(label, f"{what} is not UTF-8 at byte {error.start}", expected) from error
    except RecursionError as error:
        raise in_file(label, f"{what} is nested too deeply", expected) from error
    except _ConstantError as error:
        raise in_file(label, f"{what} is not valid JSON: it holds {error}", expected) from error
    except _TwiceError as error:
        raise in_file(label, f"{what} names {shown(str(error))} twice", "expected each name once") from error
    except ValueError as error:
        raise in_file(label, f"{what} is not valid JSON{_why(error)}", expected) from error
    return found


def _why(error: ValueError) -> str:
    if not isinstance(error, json.JSONDecodeError):  # all else that Python refuses
        return ": it holds a number of too many digits"
    if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string"):
        return ": it ends in the middle" if error.doc.strip() else ": it is empty"
    return f" ({shown(str(error), 160)})"


class _TwiceError(Exception):
    """A key that one object has twice."""


class _ConstantError(Exception):
    """A number that Python reads and JSON does not have."""


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _TwiceError(key)
            seen.add(key)
    return found


def _no_constant(name: str) -> NoReturn:
    raise _ConstantError(name)
