"""A file's text values by name, and those of them that apply to one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from attn_cli.inputs.names import join, split_name, with_parents

T = TypeVar("T")


class Texts:
    """A file's text values; one for all of its calls, so that each value is placed and parsed once.

    Args:
        path: of the file.
        values: by name.
    """

    def __init__(self, path: str, values: Mapping[str, str]) -> None:
        self.path, self.values = path, values
        self.parsed: dict[str, Any] = {}
        self._outer: dict[str, str | None] = {}
        self._places = frozenset(split_name(name)[0] for name in values)
        self._names: dict[str, dict[str, str | None]] = {split_name(name)[1]: {} for name in values}

    def of(self, prefix: str) -> Metadata:
        """The values as they apply to one prefix."""
        return Metadata(prefix, self, self._place(prefix))

    def nearest(self, place: str, key: str) -> str | None:
        """The full name of the value called ``key`` at a place, else of what that stands in."""
        found = self._names.get(key)
        if found is None:
            return None
        at: str | None = place
        lacking = []
        while at is not None and at not in found:
            name = join(at, key)
            if name in self.values:
                found[at] = name
            else:
                lacking.append(at)
                at = self._around(at)
        nearest = None if at is None else found[at]
        found.update(dict.fromkeys(lacking, nearest))
        return nearest

    def _place(self, prefix: str) -> str | None:
        """The nearest to a prefix that has values, itself or what it stands in."""
        return next((place for place in with_parents(prefix) if place in self._places), None) if self._places else None

    def _around(self, place: str) -> str | None:
        """The nearest that a place stands in."""
        if place not in self._outer:
            self._outer[place] = self._place(split_name(place)[0]) if place else None
        return self._outer[place]


@dataclass(frozen=True)
class Metadata:
    """A file's text values, as they apply to one prefix.

    Attributes:
        prefix: of the call; its own values win over those of what it stands in.
        texts: of the file.
        place: the prefix or the nearest that it stands in, where the file has values; None where there is none.
    """

    prefix: str
    texts: Texts
    place: str | None

    @property
    def path(self) -> str:
        """Of the file."""
        return self.texts.path

    def own(self, key: str) -> str | None:
        """The prefix's own value called ``key``, whatever it stands in says."""
        return self.texts.values.get(join(self.prefix, key))

    def find(self, key: str) -> tuple[str, str] | None:
        """The full name and the text of the nearest value called ``key``."""
        name = None if self.place is None else self.texts.nearest(self.place, key)
        return None if name is None else (name, self.texts.values[name])

    def parsed(self, key: str, parse: Callable[[str], T]) -> tuple[str, T] | None:
        """The full name of the nearest value called ``key`` and what it says; each text is parsed once a file."""
        said, known = self.find(key), self.texts.parsed
        if said is None:
            return None
        name, text = said
        if name not in known:
            known[name] = parse(text)
        return name, known[name]
