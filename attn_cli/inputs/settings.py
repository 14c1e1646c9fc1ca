"""What flags and metadata say about a call: flags first, then the file's metadata, then the default."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from attn_cli.errors import UsageError, in_file
from attn_cli.inputs.metadata import Metadata, Texts
from attn_cli.inputs.numbers import real, whole
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.text import shown

T = TypeVar("T")
DEFAULT, METADATA, FILE = "default", "metadata", "file"
BOTTOM_RIGHT, TOP_LEFT = "bottom-right", "top-left"
FARTHEST = 2**40
MOST_SAID = 40  # characters of a value in a message


@dataclass(frozen=True)
class Chosen(Generic[T]):
    """A value and who chose it: a flag, ``"metadata"``, ``"file"`` or ``"default"``."""

    value: T
    origin: str

    @property
    def is_default(self) -> bool:
        """True where nobody chose."""
        return self.origin == DEFAULT


@dataclass(frozen=True)
class Settings:
    """All that can be said about a call beside its tensors. None stands where there is nothing to apply."""

    num_heads: Chosen[int | None]
    num_kv_heads: Chosen[int | None]
    layout: Chosen[str]
    scale: Chosen[float | None]
    softcap: Chosen[float | None]
    mask_value: Chosen[float | None]
    mask_polarity: Chosen[str]
    causal: Chosen[bool]
    align: Chosen[str | int]
    window: Chosen[tuple[int, int] | None]


@dataclass(frozen=True)
class _Kind(Generic[T]):
    """How one setting is written and what it may be."""

    key: str
    parse: Callable[[str], T]
    is_valid: Callable[[T], bool]
    expected: str

    @property
    def flag(self) -> str:
        return f"--{self.key.replace('_', '-')}"

    def choose(self, given: T | None, places: tuple[Metadata, ...]) -> Chosen[T] | None:
        """The flag's value, else the first place's.

        Raises:
            UsageError, InputError: where the flag's or the metadata's value is not what it may be.
        """
        if given is not None:
            if not self.is_valid(given):
                raise UsageError(f"{self.flag} {given}: expected {self.expected}")
            return Chosen(given, self.flag)
        for place in places:
            said = place.parsed(self.key, self._parsed)
            if said is not None:
                return Chosen(self._checked(place, *said), METADATA)
        return None

    def parse_flag(self, text: str) -> T:
        """A flag's text as a value.

        Raises:
            UsageError: where it is none.
        """
        value = self._parsed(text)
        if value is None:
            raise UsageError(f"{self.flag} {shown(text, MOST_SAID)}: expected {self.expected}")
        return value

    def _parsed(self, text: str) -> T | None:
        try:
            value = self.parse(text.strip())
        except (ValueError, OverflowError, KeyError):
            return None
        return value if self.is_valid(value) else None

    def _checked(self, place: Metadata, name: str, value: T | None) -> T:
        if value is None:
            raise in_file(
                place.path,
                f"metadata {shown(name)} is '{shown(place.texts.values[name], MOST_SAID)}'",
                f"expected {self.expected}",
                f"{self.flag} overrides it",
            )
        return value


def _parse_align(text: str) -> str | int:
    return text if text in (BOTTOM_RIGHT, TOP_LEFT) else whole(text)


def _parse_window(text: str) -> tuple[int, int]:
    sides = [whole(side.strip()) for side in text.split(",")]
    if len(sides) > 2:
        raise ValueError(text)
    return sides[0], sides[-1]


def _is_align(value: str | int) -> bool:
    return value in (BOTTOM_RIGHT, TOP_LEFT) if isinstance(value, str) else abs(value) < FARTHEST


COUNT = "a whole number from 1"
NUM_HEADS = _Kind("num_heads", whole, lambda n: 1 <= n < 2**31, COUNT)
NUM_KV_HEADS = _Kind("num_kv_heads", whole, lambda n: 1 <= n < 2**31, COUNT)
LAYOUT = _Kind("layout", str.lower, lambda name: name in ("bhsd", "bshd"), "bhsd or bshd")
SCALE = _Kind("scale", real, math.isfinite, "a finite number")
SOFTCAP = _Kind("softcap", real, lambda cap: math.isfinite(cap) and cap > 0, "a finite number above 0")
MASK_VALUE = _Kind("mask_value", real, lambda value: not math.isnan(value) and value < math.inf, "a number or -inf")
POLARITY = _Kind("mask_polarity", str.lower, lambda name: name in ("keep", "drop"), "keep or drop")
CAUSAL = _Kind("causal", lambda text: {"true": True, "false": False}[text.lower()], lambda _: True, "true or false")
ALIGN = _Kind("causal_align", _parse_align, _is_align, "bottom-right, top-left or a whole number")
WINDOW = _Kind(
    "window",
    _parse_window,
    lambda sides: min(sides) >= -1 and max(sides) < FARTHEST,
    "LEFT or LEFT,RIGHT, whole numbers of keys, -1 for unlimited",
)


def read_settings(options: ReadOptions, call: Metadata, weights: Metadata | None = None) -> Settings:
    """All settings of one call.

    Args:
        options: the flags.
        call: metadata of the call's file.
        weights: metadata of the file with its projection weights, asked for the numbers of heads alone.

    Raises:
        UsageError: where a flag's value cannot be used.
        InputError: where the metadata's cannot.
    """
    own = (call,)
    both = own if weights is None else (call, weights)
    value = _or(MASK_VALUE.choose(options.mask_value, own), None)
    return Settings(
        num_heads=_or(NUM_HEADS.choose(options.num_heads, both), None),
        num_kv_heads=_or(NUM_KV_HEADS.choose(options.num_kv_heads, both), None),
        layout=LAYOUT.choose(options.layout, own) or Chosen("bhsd", DEFAULT),
        scale=_or(SCALE.choose(options.scale, own), None),
        softcap=_or(SOFTCAP.choose(options.softcap, own), None),
        mask_value=Chosen(None, value.origin) if value.value == -math.inf else value,
        mask_polarity=POLARITY.choose(options.mask_polarity, ()) or Chosen("keep", DEFAULT),
        causal=CAUSAL.choose(options.causal, own) or Chosen(False, DEFAULT),
        align=ALIGN.choose(options.causal_align, own) or Chosen(BOTTOM_RIGHT, DEFAULT),
        window=_or(WINDOW.choose(options.window, own), None),
    )


def check_flags(options: ReadOptions) -> None:
    """Refuse a flag's value that no file could make right, before any file is opened.

    Raises:
        UsageError: where a flag's value cannot be used.
    """
    read_settings(options, Texts("", {}).of(""))


def _or(chosen: Chosen[T] | None, default: None) -> Chosen[T | None]:
    return Chosen(default, DEFAULT) if chosen is None else Chosen(chosen.value, chosen.origin)


def align_name(align: str | int) -> str:
    """``"bottom-right"``, ``"top-left"`` or ``"offset N"``."""
    return f"offset {align}" if isinstance(align, int) else align
