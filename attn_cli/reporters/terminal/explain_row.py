"""One row, step by step: its strongest keys, what is hidden from it, and what comes out."""

from __future__ import annotations

import math

from attn_cli.explanation.types import Extent, Row
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.explain_digits import (
    Shown,
    formed,
    given,
    power_above,
    power_below,
    read_off,
    significant,
)
from attn_cli.reporters.terminal.explain_dots import print_columns
from attn_cli.reporters.terminal.explain_page import Page, capped_line, logit_unit, scaled_line
from attn_cli.reporters.terminal.explain_softmax import print_bottom
from attn_cli.reporters.terminal.tables import Column
from attn_cli.reporters.terminal.text import count, token_text

_TOKEN = 16
_WEIGHT_UNIT = 1e-6
_SMALLEST_FIXED = 1e-4


def print_row(page: Page) -> None:
    """All steps of the row, in their order."""
    row = page.told.row
    for number, words in enumerate(page.told.words, start=1):
        page.step(number, words)
        if words.stage in ("scores", "scale", "softcap", "bias"):
            _print_extents(page, words.stage)
        elif words.stage == "mask":
            _print_mask(page)
        elif words.stage == "hide":
            hidden = page.told.shape[3] - row.visible - row.outweighed
            value = "−∞" if row.mask_value is None else given(row.mask_value).text
            page.line(f"{count(hidden, 'logit')} of {page.told.shape[3]} {_become(hidden)} {value}")
        elif words.stage == "softmax":
            _print_softmax(page)
        elif words.stage == "mix":
            _print_output(page)
        elif row.projected_norm is not None:
            norm = read_off(row.projected_norm, significant([row.projected_norm], 8))
            page.line(f"‖output · W_oᵀ‖ = {norm.text}, of this head alone, without the bias")


def _become(number: int) -> str:
    return "becomes" if number == 1 else "become"


def _print_extents(page: Page, stage: str) -> None:
    """The smallest and the largest number of a step over the visible keys."""
    row, unit = page.told.row, logit_unit(page.told)
    if row.scores is None or row.scaled is None or row.capped is None or row.biased is None:
        page.line("No key is visible.")
        return
    for name in ("least", "most"):
        title = "smallest" if name == "least" else "largest"
        score = _score(page, getattr(row.scores, name))
        line, scaled = scaled_line(page.told, score, score.value * row.scale, unit)
        if stage == "scores":
            _print_extent(page, title, score.text, row.scores, name)
        elif stage == "scale":
            extent = row.scaled
            if row.scale < 0:  # then the largest score has the smallest logit
                line = Shown(getattr(extent, name), unit).text
            _print_extent(page, title, line, extent, name)
        elif stage == "softcap":
            shown = read_off(getattr(row.scaled, name), scaled.unit)
            line, _ = capped_line(page.told, shown, getattr(row.capped, name))
            _print_extent(page, title, line, row.capped, name)
        else:
            _print_extent(page, title, Shown(getattr(row.biased, name), unit).text, row.biased, name)


def _score(page: Page, value: float) -> Shown:
    scale = abs(page.told.row.scale)
    return read_off(value, power_below(logit_unit(page.told) / max(1.0, scale)))


def _print_extent(page: Page, title: str, line: str, extent: Extent, name: str) -> None:
    key = extent.least_key if name == "least" else extent.most_key
    page.line(f"{title} = {line}, at {page.key(key)}")


def _print_mask(page: Page) -> None:
    row, keys = page.told.row, page.told.shape[3]
    if not row.causes:
        page.line(f"All {keys} keys are visible." if keys > 1 else "The only key is visible.")
        return
    page.line(f"{keys - row.visible} of {count(keys, 'key')} hidden, {row.visible} visible:")
    for cause in row.causes:
        page.line(f"- {count(cause.count, 'key')} by {cause.sentence}")
    if len(row.causes) > 1:
        page.line("A key that several rules hide is counted by each.")


def _print_softmax(page: Page) -> None:
    row, unit = page.told.row, logit_unit(page.told)
    bottom = print_bottom(page, unit)
    if row.denominator == 0:
        page.line("Every weight is 0: with no visible key there is nothing to share out.")
        return
    whole = "Σ" if bottom.sink is None else "Z"
    page.line(f"weight = exp(logit − max) / {whole} = exp(logit − {bottom.maximum.operand}) / {bottom.total.text}:")
    _print_keys(page, unit)
    if row.hidden_weight:
        what = "constant" if row.mask_value is None else "value"
        page.line(f"Hidden keys have a weight of {_weight(row.hidden_weight).text} together: the mask {what} leaks.")
    if row.exponentials:
        off = bottom.maximum.error + bottom.keys.error / row.exponentials
        lse = formed(row.lse, off, unit)
        page.line(f"lse = max + ln Σ = {bottom.maximum.text} + ln({bottom.keys.text}) = {lse.text}")
    entropy = read_off(row.entropy, 1e-6)
    span = formed(row.effective_keys, row.effective_keys * entropy.error)
    page.line(f"entropy = {entropy.text} nats")
    page.line(f"effective number of keys = exp({entropy.text}) = {span.text}")


def _weight(value: float) -> Shown:
    """Six decimals, or six digits where there would be few left."""
    return Shown(value, significant([value]) if 0 < abs(value) < _SMALLEST_FIXED else _WEIGHT_UNIT)


def _print_keys(page: Page, unit: float) -> None:
    """The strongest keys with their running sum, then the others and the sink."""
    canvas, row = page.canvas, page.told.row
    logits = [(given(one.logit) if one.logit == row.mask_value else read_off(one.logit, unit)).text for one in row.top]
    weights = [_weight(one.weight).text for one in row.top]
    running = [Shown(one.running, _WEIGHT_UNIT).text for one in row.top]
    closing = []
    last = row.top[-1].running if row.top else 0.0
    rest = 1.0 - last - (row.sink_weight or 0.0)
    if row.others and math.isfinite(rest):
        last += max(rest, 0.0)
        closing.append((count(row.others, "other"), _weight(max(rest, 0.0)), last))
    if row.sink_weight is not None:
        closing.append(("sink", _weight(row.sink_weight), last + row.sink_weight))
    logits += [""] * len(closing)
    weights += [weight.text for _, weight, _ in closing]
    running += [Shown(sofar, _WEIGHT_UNIT).text for _, _, sofar in closing]
    columns = [*_key_columns(page, [name for name, _, _ in closing])]
    for name, texts in (("logit", logits), ("weight", weights), ("running sum", running)):
        columns.append(_column(canvas, name, texts))
    print_columns(canvas, columns)


def _key_columns(page: Page, closing: list[str]) -> list[Column]:
    """Which key each row is, and its token where that is known."""
    canvas, top = page.canvas, page.told.row.top
    names = [f"{one.key}{'' if one.is_visible else ' hidden'}" for one in top]
    columns = [_column(canvas, "key", [*names, *closing], repeat=True)]
    tokens = [page.told.token(one.key) for one in top]
    if any(token is not None for token in tokens):
        cells = [canvas.text(token_text(token or ""), limit=_TOKEN) for token in tokens]
        cells += [canvas.text("")] * len(closing)
        columns.append(Column(canvas.text("token", "dim"), tuple(cells), right=False, repeat=True))
    return columns


def _column(canvas: Canvas, name: str, texts: list[str], repeat: bool = False) -> Column:
    return Column(canvas.text(name, "dim"), tuple(canvas.text(text) for text in texts), repeat=repeat)


def _print_output(page: Page) -> None:
    """How much of the output's norm each of the strongest keys makes."""
    row = page.told.row
    norm = read_off(row.output_norm, significant([row.output_norm], 8))
    page.line(f"‖output‖ = {norm.text}")
    if not math.isfinite(row.output_norm):
        page.line("The output is not finite: no key has a share of it.")
        return
    if not row.output_norm:
        page.line("The output is 0: there is nothing that a key has a share of.")
        return
    page.line(f"share = weight · (v · output) / ‖output‖² = weight · (v · output) / {norm.text}²:")
    _print_shares(page, row)
    page.line("A key's share is what it adds along the output; one that points away is negative.")


def _print_shares(page: Page, row: Row) -> None:
    canvas, square = page.canvas, row.output_norm**2
    weights = [_weight(one.weight) for one in row.top]
    along = [read_off(one.along, significant([one.along], 8)) for one in row.top]
    off = [
        (abs(one.value) * two.error + abs(two.value) * one.error) / square
        for one, two in zip(weights, along, strict=True)
        if one.is_finite and two.is_finite and square
    ]
    unit = max(1e-5, power_above(max(off, default=0.0)))
    shares = [Shown(one.share, unit) for one in row.top]
    rest = 1.0 - sum(one.share for one in row.top)
    closing = [f"{row.others} other{'s' if row.others > 1 else ''}"] if row.others and math.isfinite(rest) else []
    blank = [""] * len(closing)
    columns = _key_columns(page, closing)
    columns.append(_column(canvas, "weight", [*(one.text for one in weights), *blank]))
    columns.append(_column(canvas, "v · output", [*(one.text for one in along), *blank]))
    others = [Shown(rest, unit).text for _ in closing]
    columns.append(_column(canvas, "share", [*(one.text for one in shares), *others]))
    print_columns(canvas, columns)
