"""One cell, step by step: every line follows from the numbers above it."""

from __future__ import annotations

import math

from attn_cli.explanation.types import Cell, Part
from attn_cli.reporters.terminal.explain_digits import Shown, formed, given, read_off, significant
from attn_cli.reporters.terminal.explain_dots import print_dot, shown_part, shown_score
from attn_cli.reporters.terminal.explain_page import Page, capped_line, logit_unit, scaled_line
from attn_cli.reporters.terminal.explain_softmax import Bottom, print_bottom, quotient


def print_cell(page: Page, cell: Cell) -> None:
    """All steps of the cell, in their order."""
    stages = {words.stage: (number, words) for number, words in enumerate(page.told.words, start=1)}
    logit = Shown(cell.biased)
    for stage, (number, words) in stages.items():
        page.step(number, words)
        if stage == "scores":
            logit = _print_score(page, cell)
        elif stage == "scale":
            line, logit = scaled_line(page.told, logit, cell.scaled, logit_unit(page.told))
            page.line(f"scaled = {line}")
        elif stage == "softcap":
            line, logit = capped_line(page.told, logit, cell.capped)
            page.line(f"capped = {line}")
        elif stage == "bias":
            logit = _print_bias(page, cell, logit)
        elif stage == "mask":
            _print_mask(page, cell)
        elif stage == "hide":
            logit = _print_hide(page, cell, logit)
        elif stage == "softmax":
            weight = _print_weight(page, cell, logit)
        elif stage == "mix":
            _print_part(page, cell.part, weight, ("v", "output"), page.told.row.output_norm)
        elif cell.projected is not None and page.told.row.projected_norm is not None:
            _print_part(page, cell.projected, weight, ("v·W_oᵀ", "output·W_oᵀ"), page.told.row.projected_norm)


def _print_score(page: Page, cell: Cell) -> Shown:
    shown = shown_score(cell.score, page.told.row.scale, logit_unit(page.told))
    print_dot(page.canvas, cell.score, shown, ("q", "k", "q · k"), "score")
    return shown.total


def _print_bias(page: Page, cell: Cell, before: Shown) -> Shown:
    bias = given(cell.bias or 0.0)
    result = formed(cell.biased, before.error + bias.error, before.unit)
    page.line(f"biased = {before.text} + {bias.operand} = {result.text}")
    return result


def _print_mask(page: Page, cell: Cell) -> None:
    """Every rule that hides the key, or that none does."""
    name = page.key(cell.key)
    if cell.is_visible:
        page.line(f"{name} is visible: not hidden by {_rules(page)}")
        return
    page.line(f"{name} is hidden:")
    for cause in cell.hidden_by:
        page.line(f"- {cause.sentence}")


def _rules(page: Page) -> str:
    """The rules that the row is under: ``causal order or the valid length``."""
    names = {"causal": "causal order", "window left": "the window", "window right": "the window"}
    told = list(dict.fromkeys(names.get(kind, f"the {kind}") for kind in page.told.row.rules))
    return " or ".join([", ".join(told[:-1]), told[-1]]) if len(told) > 1 else told[0]


def _print_hide(page: Page, cell: Cell, before: Shown) -> Shown:
    if cell.is_visible:
        page.line(f"logit = {before.text}, unchanged, since the key is visible")
        return before
    if cell.is_outweighed:
        page.line(f"logit = {before.text}, unchanged: the mask constant is a part of it")
        return before
    value = page.told.row.mask_value
    if value is not None and cell.logit == value:
        page.line(f"logit = {given(value).text}, the mask value, since the key is hidden")
        return given(value)
    page.line(f"logit = {Shown(cell.logit).text}, since the key is hidden")
    return Shown(cell.logit)


def _print_weight(page: Page, cell: Cell, logit: Shown) -> Shown:
    bottom = print_bottom(page, logit_unit(page.told))
    raised = _print_exponential(page, cell, logit, bottom)
    if not page.told.row.denominator:
        page.line("weight = 0: with no visible key there is nothing to share out")
        return Shown(cell.weight)
    weight = quotient(cell.weight, raised, bottom.total)
    page.line(f"weight = {raised.text} / {bottom.total.text} = {weight.text}")
    return weight


def _print_exponential(page: Page, cell: Cell, logit: Shown, bottom: Bottom) -> Shown:
    is_told = logit.is_finite and logit.text != bottom.maximum.text
    off = cell.exponential * (logit.error + bottom.maximum.error) if is_told else 0.0
    raised = formed(cell.exponential, off if math.isfinite(off) else 0.0, significant([cell.exponential], 7))
    page.line(f"exp(logit − max) = exp({logit.text} − {bottom.maximum.operand}) = {raised.text}")
    return raised


def _print_part(page: Page, part: Part, weight: Shown, names: tuple[str, str], norm: float) -> None:
    """What the key adds: its length beside the whole's, and how far it points the same way."""
    value, whole = names
    own = read_off(part.own_norm, significant([part.own_norm], 8))
    added = formed(part.norm, abs(weight.value) * own.error + own.value * weight.error)
    size = read_off(norm, significant([norm], 8))
    page.line(f"‖{value}‖ = {own.text}")
    if not weight.is_finite:
        page.line("The weight is not finite, and neither is what the key adds.")
        return
    page.line(f"‖weight · {value}‖ = {weight.text} · {own.text} = {added.text}")
    if part.norm == 0:
        page.line(f"The key adds nothing to the {_named(value)}.")
        return
    page.line(f"‖{whole}‖ = {size.text}")
    if not norm:
        page.line("It is 0: there is nothing that this key has a share of.")
        return
    ratio = quotient(part.norm / norm, added, size)
    if size.is_finite:
        page.line(f"‖weight · {value}‖ / ‖{whole}‖ = {added.text} / {size.text} = {ratio.text}")
    shown = shown_part(part, weight)
    print_dot(page.canvas, part.along, shown, (value, f"weight · {value}", whole, "product"), "sum")
    if not math.isfinite(part.share):
        page.line("The sum is not finite: no share can be told.")
        return
    square = norm * norm
    off = shown.total.error / square + 2 * abs(part.share) * size.error / norm
    share = formed(part.share, off if math.isfinite(off) else 0.0)
    page.line(f"share = {shown.total.text} / {size.text}² = {share.text}")
    page.line(f"Along the {_named(value)} this key makes {part.share:.1%} of the norm; all keys make 100%.")


def _named(value: str) -> str:
    return "output" if value == "v" else "head's part of the projected output"
