"""What a page tells besides calls and heads: what a command found, and what it calls its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from attn_cli.inputs.types import CallRecord
from attn_cli.reporters.html.texts import file_name
from attn_cli.reporters.terminal.labels import has_own_layer, has_own_step, step_name

Entry = dict[str, Any]


@dataclass(frozen=True)
class CallWords:
    """What one call of a page is called.

    Attributes:
        name: in full, such as ``"good.safetensors · layer 3"``.
        mark: as short as can be, before the number of a head: ``"A·L3"``.
        side: ``"A"`` or ``"B"`` in a comparison, else None.
        told: what else the page is told of it, in the place of what a run tells.
    """

    name: str
    mark: str
    side: str | None = None
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def entry(self) -> Entry:
        """What the page is told."""
        return {"name": self.name, "mark": self.mark, "side": self.side, **self.told}


@dataclass(frozen=True)
class Story:
    """What a command has to tell beside its calls.

    Attributes:
        title: of the page; still to be made harmless, like every text here.
        words: one for each call.
        told: entries of the payload, beside or in the place of a run's.
        is_one_run: whether the calls are those of one run, so that its heads can be ranked.
    """

    title: str
    words: tuple[CallWords, ...]
    told: Mapping[str, Any] = field(default_factory=dict)
    is_one_run: bool = True


def with_story(payload: Entry, story: Story) -> Entry:
    """The payload of the calls with what there is to tell besides."""
    calls = [call | words.entry for call, words in zip(payload["calls"], story.words, strict=True)]
    return payload | {"calls": calls} | dict(story.told)


def file_names(sources: Sequence[str]) -> dict[str, str]:
    """What each file is called: by its base name, with as many of its folders as tell it from the others."""
    every = list(dict.fromkeys(sources))
    names = {source: file_name(source) for source in every}
    for source in every:
        parts, kept = PurePath(source).parts, 1
        while kept < len(parts) and any(
            PurePath(other).parts[-kept:] == parts[-kept:] for other in every if other != source
        ):
            kept += 1
        if kept > 1:
            names[source] = str(PurePath(*parts[-kept:]))
    return names


def own_name(call: CallRecord, calls: Sequence[CallRecord]) -> tuple[str, str]:
    """What tells a call from the others of its file, in full and as short as can be; empty where it needs no name."""
    if not call.prefix and call.layer is None:
        return "", ""
    name = step_name(call, calls)
    if has_own_layer(call, calls):
        return name, f"L{call.layer}"
    return name, f"L{call.layer}·{call.step}" if has_own_step(call, calls) else name
