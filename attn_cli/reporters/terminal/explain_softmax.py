"""The softmax of an explanation: the row's maximum, the sum of exponentials, and the sink."""

from __future__ import annotations

from dataclasses import dataclass

from attn_cli.reporters.terminal.explain_digits import Shown, formed, read_off, significant
from attn_cli.reporters.terminal.explain_page import Page, maximum
from attn_cli.reporters.terminal.text import count


@dataclass(frozen=True)
class Bottom:
    """What the weights of a row are formed with, as it is printed.

    Attributes:
        maximum: what is taken off every logit.
        keys: the sum of the keys' exponentials.
        sink: the sink's own exponential, or None.
        total: the denominator.
    """

    maximum: Shown
    keys: Shown
    sink: Shown | None
    total: Shown


def print_bottom(page: Page, unit: float) -> Bottom:
    """The row's maximum and its denominator."""
    row = page.told.row
    top = maximum(page.told, unit)
    keys = read_off(row.exponentials, significant([row.exponentials], 7))
    page.line(f"max = {top.text}, {_whose(page)}")
    summed = page.told.shape[3] if row.mask_value is not None else row.visible
    page.line(f"Σ exp(logits − max) = {keys.text}, over {count(summed, _which(page))}")
    if row.sink is None or row.sink_exponential is None:
        return Bottom(top, keys, None, keys)
    sink = read_off(row.sink, unit)
    off = (sink.error + top.error) * row.sink_exponential if sink.text != top.text else 0.0
    raised = formed(row.sink_exponential, off, significant([row.sink_exponential], 7))
    page.line(f"exp(sink − max) = exp({sink.text} − {top.operand}) = {raised.text}")
    total = formed(row.denominator, keys.error + raised.error, significant([row.denominator], 7))
    page.line(f"Z = Σ + exp(sink − max) = {keys.text} + {raised.text} = {total.text}")
    return Bottom(top, keys, raised, total)


def _which(page: Page) -> str:
    return "key" if page.told.row.mask_value is not None else "visible key"


def _whose(page: Page) -> str:
    """What the row's maximum is the logit of."""
    row = page.told.row
    if row.largest is not None and (row.largest[0] == row.reference or row.largest[0] != row.largest[0]):
        return f"the row's largest logit, at {page.key(row.largest[1])}"
    return "the sink's" if row.sink is not None else "since the row has no logit above −∞"


def quotient(value: float, above: Shown, below: Shown) -> Shown:
    """above / below, as fine as the two allow."""
    if not above.is_finite or not below.value:
        return formed(value, 0.0)
    return formed(value, above.error / below.value + abs(value) * below.error / below.value)
