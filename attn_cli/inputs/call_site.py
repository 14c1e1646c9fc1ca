"""Where a recorded call was made in its program, as the metadata ``call`` tells it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from attn_cli.inputs.metadata import Metadata
from attn_cli.inputs.names import join
from attn_cli.inputs.settings import METADATA
from attn_cli.inputs.text import shown
from attn_cli.inputs.types import Convention

KEY = "call"
RECORDED, DROPOUT = "recorded", "dropout"
LONGEST = 2**16  # characters
LAST_CALL = 2**63 - 1


def is_recorded(metadata: Metadata) -> bool:
    """Whether a call comes out of a recording. What other calls say of themselves does not count."""
    return metadata.own(KEY) is not None


def call_number(metadata: Metadata) -> int | None:
    """Which call of the whole program it was, from 0; None where nothing says so."""
    text = metadata.own(KEY)
    site = None if text is None else _parsed(text)
    return None if site is None else _number(site)


def read_call_site(metadata: Metadata) -> Iterator[Convention]:
    """What there is to say; text that cannot be understood is no reason to refuse a call."""
    text = metadata.own(KEY)
    if text is None:
        return
    site = _parsed(text)
    if site is None:
        yield Convention(RECORDED, f"not told: {shown(join(metadata.prefix, KEY))} is no JSON object", METADATA)
        return
    told = _told(site)
    if told:
        yield Convention(RECORDED, told, METADATA)
    dropped = site.get("dropout")
    if isinstance(dropped, (int, float)) and not isinstance(dropped, bool) and 0 < dropped <= 1:
        value = f"weights were dropped with p {dropped:g} in the program; shown before"
        yield Convention(DROPOUT, value, METADATA)


def _parsed(text: str) -> Mapping[str, object] | None:
    try:
        site = json.loads(text) if len(text) <= LONGEST else None
    except (ValueError, RecursionError):
        return None
    return site if isinstance(site, dict) else None


def _told(site: Mapping[str, object]) -> str:
    """``"call 12 by transformers/integrations/sdpa_attention.py:92 in forward · scaled_dot_product_attention"``."""
    number, caller, function = _number(site), _text(site, "caller"), _text(site, "function")
    first = [] if number is None else [f"call {number}"]
    first += [f"by {caller}"] if caller else []
    return " · ".join(part for part in (" ".join(first), function) if part)


def _number(site: Mapping[str, object]) -> int | None:
    number = site.get("number")
    return number if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= LAST_CALL else None


def _text(site: Mapping[str, object], key: str) -> str:
    value = site.get(key)
    return shown(value) if isinstance(value, str) else ""
