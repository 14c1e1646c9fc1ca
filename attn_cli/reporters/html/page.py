"""Puts a page together: template, style, data and script in one file that asks nothing of any other."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

_MARK = re.compile("__(CSP|TITLE|STYLE|DATA|SCRIPT)__")
_UNSAFE = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


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
    """The parts that come with attn."""
    folder = files("attn_cli.reporters.html")
    order = (folder / "script" / "order.txt").read_text(encoding="utf-8").split()
    scripts = [(folder / "script" / name).read_text(encoding="utf-8") for name in order]
    script = '(() => {"use strict";\n' + "\n".join(scripts) + "\n})();"
    template, style = ((folder / name).read_text(encoding="utf-8") for name in ("template.html", "page.css"))
    return Parts(template, style, script)


def assemble(payload: Mapping[str, Any], title: str, parts: Parts) -> str:
    """The page as text.

    Args:
        payload: the data; only what JSON has, and texts without surrogates.
        title: of the page, as plain text.
        parts: template, style and script.

    Raises:
        ValueError: where a number is not finite.
    """
    standing = {
        "CSP": escape(parts.policy, quote=True).replace("&#x27;", "'"),
        "TITLE": escape(title),
        "STYLE": parts.style,
        "DATA": data_text(payload),
        "SCRIPT": parts.script,
    }
    return _MARK.sub(lambda mark: standing[mark[1]], parts.template)  # in one go: what data say is no mark


def data_text(payload: Mapping[str, Any]) -> str:
    """JSON that no HTML parser takes for markup: every <, > and & is written as a number."""
    text = json.dumps(payload, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_UNSAFE)


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
