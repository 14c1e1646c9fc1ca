"""Which cells a mask, a bias or all rules together leave visible."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from attn_cli.attention.blocks import row_blocks
from attn_cli.attention.masks import MaskRule
from attn_cli.attention.textbook import rows_of
from attn_cli.attention.types import Rules
from attn_cli.checks.cells import CELLS_AT_ONCE, Cells, Visible
from attn_cli.inspection.findings.rules import counted

HIDING = -1e3  # a bias from here down is there to hide a key: position biases of real models are far smaller
MOST_NUMBERS = 4  # more different numbers that far down are distances (ALiBi on a long context), no mask


@dataclass(frozen=True)
class Pattern:
    """The cells that a keep mask or a bias leaves visible, by itself.

    Attributes:
        name: ``"mask"`` or ``"bias"``.
        numbers: ``keep``, or the bias; four axes that broadcast to ``(B, Hq, Sq, Sk)``.
        num_keys: Sk.
    """

    name: str
    numbers: Tensor
    num_keys: int

    def tile(self, rows: slice = slice(None)) -> Tensor:
        """What these rows see: bool ``(B or 1, Hq or 1, rows or 1, Sk)``."""
        numbers = rows_of(self.numbers, rows)
        visible = numbers if self.name == "mask" else ~(numbers <= HIDING)
        return visible.expand(*visible.shape[:3], self.num_keys)

    @property
    def cells(self) -> Cells:
        """To be walked."""
        batch, heads, rows, _ = self.numbers.shape
        return Cells(self.tile, rows, batch * heads * self.num_keys)

    @cached_property
    def visible(self) -> Visible:
        """What each row sees."""
        return self.cells.visible()

    @property
    def has_rows(self) -> bool:
        """True where the pattern has rows of its own, one a query."""
        return self.numbers.shape[2] > 1


def patterns(rules: Rules) -> tuple[Pattern, ...]:
    """The keep mask and the bias, as far as they are there to hide keys."""
    found = [] if rules.mask.keep is None else [Pattern("mask", rules.mask.keep, rules.mask.num_keys)]
    if rules.bias is not None and hiding_constants(rules.bias):
        found.append(Pattern("bias", rules.bias, rules.mask.num_keys))
    return tuple(found)


def hiding_constants(bias: Tensor, highest: float = HIDING) -> tuple[float, ...]:
    """The different numbers up to ``highest`` in a bias, lowest first; empty where they are too many for a mask."""
    found: list[float] = []
    while len(found) <= MOST_NUMBERS:
        above = found[-1] if found else None
        blocks = row_blocks(bias.shape[2], bias[:, :, :1].numel(), CELLS_AT_ONCE)
        least = min(_least(bias[:, :, rows], above, highest) for rows in blocks)
        if least == torch.inf:
            return tuple(found)
        found.append(least)
    return ()


def _least(x: Tensor, above: float | None, highest: float) -> float:
    """The least number in x that is more than ``above`` and at most ``highest``; +∞ where there is none."""
    wanted = x <= highest if above is None else (x <= highest) & (x > above)
    return float(torch.where(wanted, x, torch.inf).amin())


def all_rules(rules: Rules) -> Cells:
    """What each query row sees under all rules together; a bias from HIDING down hides as a mask does."""
    hides = any(pattern.name == "bias" for pattern in patterns(rules))
    return mask_and_bias(rules, (lambda x: ~(x <= HIDING)) if hides else None)


def mask_and_bias(rules: Rules, is_visible: Callable[[Tensor], Tensor] | None) -> Cells:
    """What each query row sees of the mask and, by ``is_visible``, of the bias; None leaves the bias out."""
    mask, bias = rules.mask, rules.bias if is_visible is not None else None

    def tile(rows: slice) -> Tensor:
        kept = mask.tile(rows)
        if kept is None:
            kept = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=mask.places.device)
        seen = kept if bias is None or is_visible is None else kept & is_visible(rows_of(bias, rows))
        return seen.expand(*seen.shape[:2], len(mask.places[rows]), mask.num_keys)

    shapes = [x.shape[:2] for x in (mask.keep, bias) if x is not None]
    batch = max([1 if mask.valid_lens is None else len(mask.valid_lens), *(shape[0] for shape in shapes)])
    heads = max([1, *(shape[1] for shape in shapes)])
    return Cells(tile, len(mask.places), batch * heads * mask.num_keys)


def visible_keys(rules: Rules) -> Tensor:
    """How many keys each query row sees under all rules together, ``(B or 1, Hq or 1, Sq)``, on the CPU."""
    mask: MaskRule = rules.mask
    if mask.keep is None and not any(pattern.name == "bias" for pattern in patterns(rules)):
        return mask.visible_keys().cpu()
    return all_rules(rules).visible().count


@dataclass(frozen=True)
class Told:
    """What a call's rules leave visible, all of them together.

    Attributes:
        visible, cells: (query, key) cells that are visible, of how many; each batch item's and each head's own where
            they differ.
        empty: query rows without a visible key, likewise.
    """

    visible: int
    cells: int
    empty: int

    @property
    def text(self) -> str:
        """``"12 of 64 cells are visible and 1 query row is empty"``."""
        rows = "no query row is" if not self.empty else f"{counted(self.empty, 'query row')} is"
        rows = rows.replace("rows is", "rows are")
        return f"{self.visible} of {self.cells} cells are visible and {rows} empty"


def tell(rules: Rules) -> Told:
    """Count what ``rules`` leave visible."""
    count = visible_keys(rules)
    return Told(int(count.sum()), count.numel() * rules.mask.num_keys, int((count == 0).sum()))
