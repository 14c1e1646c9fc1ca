"""What of a page is exact and what is pooled, in plain words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from attn_cli.inspection.types import Pictures

PLACES = {
    "around": "around the weights of each head that differ most",
    "pair": "around each head's strongest pair",
    "first": "at the first queries and keys",
    "last": "at the last queries and keys",
    "row": "along the whole row of the strongest pair's query",
}
DIFFERENCES = (
    "A cell of A − B shows the difference of the largest magnitude in it, taken before pooling and rounded likewise."
)
METRICS_ARE_EXACT = "Metrics and strongest pairs come from every single weight, whatever the pictures show."


@dataclass(frozen=True)
class Told:
    """How much of a call's weights a page has.

    Attributes:
        picture: of all heads; each of its cells may stand for several weights.
        windows: the kinds of windows whose weights every head gives one by one; ``"whole"`` is all of them.
    """

    picture: Pictures
    windows: Collection[str]

    @property
    def kind(self) -> str:
        """``"all"``, ``"windows"`` or ``"none"``: which weights stand one by one."""
        return "none" if not self.windows else "all" if set(self.windows) == {"whole"} else "windows"

    @property
    def pool(self) -> tuple[int, int]:
        """Queries and keys that one cell stands for."""
        return self.picture.query_pool, self.picture.key_pool


def exactness(calls: Sequence[Told]) -> list[str]:
    """Sentences on what is exact and what is not; they hold for every call of a page.

    Args:
        calls: one entry a call; none is a page without pictures.
    """
    rest = [call for call in calls if call.kind != "all"]
    if not calls:
        return []
    if not rest:
        return [
            "Every weight in this page is exact: point at a cell to read it as a 32-bit float.",
            "Colours have 253 steps on a square-root scale, so that small weights can be told from 0.",
        ]
    everywhere = _everywhere(len(calls) - len(rest), len(calls))
    has_windows = any(call.windows for call in rest)
    differences = [DIFFERENCES] if any(call.picture.apart is not None for call in rest) else []
    return [*everywhere, *_windows(rest), _cells(rest, is_all=not has_windows), *differences, METRICS_ARE_EXACT]


def _everywhere(whole: int, of: int) -> list[str]:
    return [f"In {whole} of {of} calls every weight is exact, a 32-bit float. In the others:"] if whole else []


def _windows(calls: Sequence[Told]) -> list[str]:
    """Where weights are exact though not all are."""
    in_any = {kind for call in calls for kind in call.windows}
    in_all = in_any.intersection(*(call.windows for call in calls))
    if not in_any:
        return ["No weight is exact: each is rounded to one of 253 steps on a square-root scale."]
    sentences = []
    if in_all:
        sentences.append(f"In the framed windows every weight is exact, a 32-bit float: {_places(in_all)}.")
    if in_any - in_all:
        more = "Some calls have more of them" if in_all else "Some calls have framed windows of exact weights"
        sentences.append(f"{more}: {_places(in_any - in_all)}.")
    return sentences


def _places(kinds: Collection[str]) -> str:
    places = [words for kind, words in PLACES.items() if kind in kinds]
    return places[0] if len(places) == 1 else f"{', '.join(places[:-1])}, and {places[-1]}"


def _cells(calls: Sequence[Told], *, is_all: bool) -> str:
    """What a cell of a picture stands for where its weights are not exact."""
    where = "A" if is_all else "Everywhere else a"
    pools = {call.pool for call in calls}
    largest = max(rows for rows, _ in pools), max(keys for _, keys in pools)
    if largest == (1, 1):
        return f"{where} cell is one weight, rounded to one of 253 steps on a square-root scale and marked ≈."
    size = f"{'' if len(pools) == 1 else 'up to '}{largest[0]} × {largest[1]}"
    return f"{where} cell shows the largest of {size} weights (max-pooled), rounded to one of 253 steps and marked ≈."
