"""What every step of an explanation is printed with: equations, sentences, and the names of keys."""

from __future__ import annotations

from dataclasses import dataclass

from attn_cli.explanation.types import Explanation, Words
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.explain_digits import LOGIT_UNIT, Shown, formed, given, read_off, significant
from attn_cli.reporters.terminal.explain_dots import INDENT
from attn_cli.reporters.terminal.text import token_text

_EQUATION = "bold #3c6edc"
_TOKEN = 24


@dataclass(frozen=True)
class Page:
    """A canvas and what is told on it."""

    canvas: Canvas
    told: Explanation

    def step(self, number: int, words: Words) -> None:
        """A step's title, equation and sentence, as in the lesson."""
        canvas = self.canvas
        canvas.heading(f"{number:2}  {words.title}")
        canvas.paragraph(canvas.text(words.equation, _EQUATION), indent=INDENT, hanging=2)
        canvas.paragraph(canvas.text(words.sentence, "dim"), indent=INDENT)

    def line(self, text: str) -> None:
        """One line of this row's or cell's numbers."""
        self.canvas.paragraph(self.canvas.text(text), indent=INDENT, hanging=2)

    def key(self, key: int) -> str:
        """``key 3``, with its token where that is known."""
        token = self.told.token(key)
        return f"key {key}" if token is None else f"key {key} {shown_token(token)}"


def shown_token(token: str) -> str:
    """A token in quotes, its spaces visible; still to be made harmless."""
    text = token_text(token)
    return f"“{text if len(text) <= _TOKEN else text[: _TOKEN - 1] + '…'}”"


def scaled_line(told: Explanation, score: Shown, value: float, unit: float) -> tuple[str, Shown]:
    """The score times the scale: how it is written, and what it gives."""
    row = told.row
    if row.is_default_scale:
        result = formed(value, score.error * abs(row.scale), unit)
        return f"{score.text} / √{told.head_dim} = {result.text}", result
    result = formed(value, score.error * abs(row.scale) + abs(score.value) * given(row.scale).error, unit)
    return f"{score.text} · {given(row.scale).operand} = {result.text}", result


def capped_line(told: Explanation, scaled: Shown, value: float) -> tuple[str, Shown]:
    """c · tanh(scaled / c)."""
    cap = given(told.row.softcap or 0.0)
    result = formed(value, scaled.error, scaled.unit)
    return f"{cap.text} · tanh({scaled.text} / {cap.operand}) = {result.text}", result


def logit_unit(told: Explanation) -> float:
    """The last digit of every logit of this row: a millionth, or finer where all logits are tiny."""
    row = told.row
    values = [] if row.scaled is None else [row.scaled.least, row.scaled.most]
    return min(LOGIT_UNIT, significant(values)) if any(values) else LOGIT_UNIT


def maximum(told: Explanation, unit: float) -> Shown:
    """What is taken off every logit."""
    row = told.row
    return given(row.reference) if row.reference == row.mask_value else read_off(row.reference, unit)
