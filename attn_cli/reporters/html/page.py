"""Puts a page together: template, style, data and script in one file that asks nothing of any other."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

_MARK = re.compile("__(CSP|TITLE|STYLE|DATA|BLOBS|SCRIPT)__")
LARGE_BLOB = 4096  # characters: a smaller one stays among the data
_UNSAFE = "<>&\u2028\u2029"


@dataclass(frozen=True)
class Parts:
    """What every page has.

    Attributes:
        template: with a mark such as ``__TITLE__`` where something is to stand.
        style: CSS.
        script: JavaScript.
    """

    template: str
    style: str
    script: str

    @property
    def policy(self) -> str:
        """The Content-Security-Policy: this style and this script run, and nothing is fetched from anywhere."""
        return (
            f"default-src 'none'; script-src 'sha256-{_hash(self.script)}'; style-src 'sha256-{_hash(self.style)}'; "
            "img-src data:; base-uri 'none'; form-action 'none'"
        )

    @property
    def size(self) -> int:
        """Bytes of a page without data."""
        return len(assemble({}, "", self).encode())


@cache
def own_parts() -> Parts:
    """The parts of the page of a run, a check or a comparison."""
    return parts_of("template.html", ("page.css", "verdict.css"), "script/order.txt")


def parts_of(template: str, styles: Sequence[str], order: str) -> Parts:
    """The parts of a kind of page, out of files that come with attn.

    Args:
        template: a file in the folder of this module, like all that follow.
        styles: later ones are the stronger ones.
        order: lists the scripts, a name a line: those beside the list, and others with their folder.
    """
    room = files("attn_cli.reporters.html")
    beside = order.rpartition("/")[0]
    names = _text(room, order).split()
    scripts = [_text(room, name if "/" in name else f"{beside}/{name}") for name in names]
    script = '(() => {"use strict";\n' + "\n".join(scripts) + "\n})();"
    return Parts(_text(room, template), "".join(_text(room, name) for name in styles), script)


def _text(room: Traversable, name: str) -> str:
    return (room / name).read_text(encoding="utf-8")


def assemble(payload: Mapping[str, Any], title: str, parts: Parts) -> str:
    """The page as text.

    Args:
        payload: the data; only what JSON has, and texts without surrogates.
        title: of the page, as plain text.
        parts: template, style and script.

    Raises:
        ValueError: where a number is not finite.
    """
    blobs: list[str] = []
    if "__BLOBS__" in parts.template:
        payload = _without_blobs(payload, blobs)
    standing = {
        "CSP": escape(parts.policy, quote=True).replace("&#x27;", "'"),
        "TITLE": escape(title),
        "STYLE": parts.style,
        "DATA": data_text(payload),
        "BLOBS": "".join(_blob_element(number, text) for number, text in enumerate(blobs)),
        "SCRIPT": parts.script,
    }
    return _MARK.sub(lambda mark: standing[mark[1]], parts.template)  # in one go: what data say is no mark


def _without_blobs(value: Any, blobs: list[str]) -> Any:
    """``value``, dicts and lists, with the place of each large blob instead of its text, which goes to ``blobs``.

    A browser holds the text of an element once, and hands it out without a copy; what it parses as JSON it holds three
    times. So a picture costs nothing to speak of until it is looked at.
    """
    if isinstance(value, dict):
        if value.keys() == {"n", "z", "b"} and len(value["b"]) >= LARGE_BLOB:
            blobs.append(value["b"])
            return {"n": value["n"], "z": value["z"], "at": len(blobs) - 1}
        return {key: _without_blobs(item, blobs) for key, item in value.items()}
    return [_without_blobs(item, blobs) for item in value] if isinstance(value, list) else value


def _blob_element(number: int, text: str) -> str:
    return f'<script type="text/plain" id="blob-{number}">{text}</script>\n'


def data_text(payload: Mapping[str, Any]) -> str:
    """JSON that no HTML parser takes for markup: every <, > and & is written as a number."""
    text = json.dumps(payload, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for sign in _UNSAFE:  # quicker by far than str.translate, which looks at every character
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
