"""What the rows and columns of a call are called: their numbers in the whole call, and their tokens where known."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from attn_cli.inputs.types import CallRecord
from attn_cli.reporters.terminal.text import token_text
from attn_cli.results import CallResult


@dataclass(frozen=True)
class Names:
    """The names of one call's queries and keys.

    Attributes:
        queries: original number of each selected query row.
        places: each original query's aligned place on the axis of the keys.
        tokens: the text of each key for each original batch item, or None.
        queries_are_keys: True where a query at place p is the token at p.
    """

    queries: tuple[int, ...]
    places: tuple[int, ...]
    tokens: tuple[tuple[str, ...], ...] | None
    queries_are_keys: bool

    @classmethod
    def of(cls, result: CallResult) -> Names:
        """The names of a call."""
        queries, places = result.inspection.index.queries, result.places
        return cls(tuple(queries.tolist()), tuple(places.tolist()), result.call.tokens, result.ties_queries_to_keys)

    def key(self, batch: int, key: int) -> str | None:
        """The token of a key, by its original batch item; None where unknown."""
        tokens = self.tokens[batch] if self.tokens is not None and batch < len(self.tokens) else ()
        return token_text(tokens[key]) if 0 <= key < len(tokens) else None

    def query(self, batch: int, query: int) -> str | None:
        """The token of an original query row; None where unknown."""
        return self.key(batch, self.places[query]) if self.queries_are_keys else None


def has_own_layer(call: CallRecord, calls: Sequence[CallRecord]) -> bool:
    """Whether the layer's number names this call and no other of the file's ``calls``."""
    return call.layer is not None and [other.layer for other in calls].count(call.layer) == 1


def call_name(call: CallRecord, calls: Sequence[CallRecord]) -> str:
    """``layer 3``, or the prefix where no number names the call."""
    return f"layer {call.layer}" if has_own_layer(call, calls) else call.prefix or "(no prefix)"


def has_own_step(call: CallRecord, calls: Sequence[CallRecord]) -> bool:
    """Whether the layer's number and the step name this call: the layer's other calls are the module's other steps."""
    of_layer = [other for other in calls if other.layer == call.layer]
    steps = {other.step for other in of_layer}
    return call.layer is not None and len({other.module for other in of_layer}) == 1 and len(steps) == len(of_layer)


def step_name(call: CallRecord, calls: Sequence[CallRecord]) -> str:
    """``layer 3``, ``layer 3, step 7`` where the layer has several, or the prefix where no number names the call."""
    if has_own_layer(call, calls) or not has_own_step(call, calls):
        return call_name(call, calls)
    return f"layer {call.layer}, step {call.step}"


def how_to_open(call: CallRecord, calls: Sequence[CallRecord]) -> str:
    """The option that picks one call out of its file."""
    if has_own_layer(call, calls):
        return f"--layer {call.layer}"
    if has_own_step(call, calls):
        return f"--layer {call.layer} --step {call.step}"
    return f"--prefix {shlex.quote(call.prefix)}"


def is_broken(result: CallResult, batch: int, head: int) -> bool:
    """Whether this head of the selection has rows that are not finite, so that a NaN is no mere "not applicable"."""
    counts = result.inspection.metrics.get("nonfinite")
    if counts is not None and float(counts[batch, head]) != 0:
        return True
    return result.inspection.labels[batch][head] == "broken"
