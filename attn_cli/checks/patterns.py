"""Which cells a mask, a bias or all rules together leave visible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from attn_cli.attention.blocks import row_blocks
from attn_cli.attention.masks import HIDING, MOST_CONSTANTS, MaskRule
from attn_cli.attention.textbook import rows_of
from attn_cli.attention.types import CallIndex, Rules
from attn_cli.checks.cells import CELLS_AT_ONCE, Cells, Visible
from attn_cli.inputs.masking import Constraint
from attn_cli.inputs.text import shown
from attn_cli.inspection.findings.rules import counted

MASK, BIAS = "mask", "bias"


@dataclass(frozen=True, eq=False)
class Pattern:
    """The cells that one keep mask or one bias leaves visible, by itself.

    Attributes:
        kind: ``"mask"`` or ``"bias"``.
        numbers: ``keep``, or the bias; four axes that broadcast to ``(B, Hq, Sq, Sk)``.
        num_keys: Sk.
        tensor: its name where the call has several of its kind, else None.
        has_own_polarity: True where its 1 means "may attend", whatever other masks of the call mean by it.
    """

    kind: str
    numbers: Tensor
    num_keys: int
    tensor: str | None = None
    has_own_polarity: bool = False

    @property
    def name(self) -> str:
        """``"mask"`` or ``"bias"``, or where there are several of them the tensor's own name."""
        return self.tensor or self.kind

    @property
    def label(self) -> str:
        """``"the mask"``, or where there are several ``"the mask attn_mask"``."""
        return f"the {self.kind}" if self.name == self.kind else f"the {self.kind} {shown(self.name)}"

    @cached_property
    def hides(self) -> bool:
        """False of a bias that is not there to hide keys."""
        return self.kind == MASK or bool(hiding_constants(self.numbers))

    def tile(self, rows: slice = slice(None)) -> Tensor:
        """What these rows see: bool ``(B or 1, Hq or 1, rows or 1, Sk)``."""
        numbers = rows_of(self.numbers, rows)
        visible = numbers if self.kind == MASK else ~(numbers <= HIDING)
        return visible.expand(*visible.shape[:3], self.num_keys)

    @cached_property
    def cells(self) -> Cells:
        """To be walked, once."""
        batch, heads, rows, _ = self.numbers.shape
        return Cells(self.tile, rows, batch * heads * self.num_keys)

    @property
    def visible(self) -> Visible:
        """What each row sees."""
        return self.cells.visible

    @property
    def has_rows(self) -> bool:
        """True where the pattern has rows of its own, one a query."""
        return self.numbers.shape[2] > 1

    def inverted(self) -> Pattern:
        """The same mask, or the same bias, read the other way round."""
        if self.kind == MASK:
            return replace(self, numbers=~self.numbers)
        constant = (hiding_constants(self.numbers) or (-torch.inf,))[0]
        numbers = torch.where(self.numbers <= HIDING, 0.0, constant).to(self.numbers.dtype)
        return replace(self, numbers=numbers)


def every_part(rules: Rules, constraints: Sequence[Constraint] = ()) -> tuple[Pattern, ...]:
    """The masks and the biases of a call, each by itself, also those that hide nothing.

    Args:
        rules: the call's, in which all masks are one and all biases are one.
        constraints: what they were made of; none where that is not known.
    """
    if not constraints:
        pairs = ((MASK, rules.mask.keep), (BIAS, rules.bias))
        return tuple(Pattern(kind, x, rules.mask.num_keys) for kind, x in pairs if x is not None)
    kinds = [BIAS if one.keep is None else MASK for one in constraints]
    return tuple(
        Pattern(
            kind,
            one.bias if one.keep is None else one.keep,  # type: ignore[arg-type] # it has one of the two
            rules.mask.num_keys,
            one.leaf if kinds.count(kind) > 1 else None,
            one.is_key_mask,
        )
        for kind, one in zip(kinds, constraints, strict=True)
    )


def hiding_constants(bias: Tensor, highest: float = HIDING) -> tuple[float, ...]:
    """The different numbers up to ``highest`` in a bias, lowest first; empty where they are too many for a mask."""
    found: list[float] = []
    for rows in row_blocks(bias.shape[2], bias[:, :, :1].numel(), CELLS_AT_ONCE):
        _collect(bias[:, :, rows], highest, found)
        if len(found) > MOST_CONSTANTS:
            return ()
    return tuple(sorted(found))


def _collect(x: Tensor, highest: float, found: list[float]) -> None:
    """Add the numbers of x up to ``highest`` but +∞ that are not found yet, at most one more than a mask has."""
    is_new = x <= highest
    for number in (*found, torch.inf) if highest == torch.inf else found:
        is_new &= x != number
    while len(found) <= MOST_CONSTANTS and bool(is_new.any()):
        found.append(float(x[is_new][0]))
        is_new &= x != found[-1]


def all_rules(mask: MaskRule, patterns: Sequence[Pattern]) -> Cells:
    """What each query row sees under order, window and lengths of ``mask`` and under these patterns together."""
    bare, rows = replace(mask, keep=None), len(mask.places)
    if len(patterns) == 1 and patterns[0].cells.rows == rows and not bare.hides_anything:
        return patterns[0].cells

    def tile(some: slice) -> Tensor:
        interval = bare.tile(some)
        seen = torch.ones(1, 1, 1, 1, dtype=torch.bool) if interval is None else interval.cpu()
        for pattern in patterns:
            seen = seen & pattern.tile(some).cpu()
        return seen.expand(*seen.shape[:2], len(mask.places[some]), mask.num_keys)

    shapes = [pattern.numbers.shape[:2] for pattern in patterns]
    batch = max([1 if mask.valid_lens is None else len(mask.valid_lens), *(shape[0] for shape in shapes)])
    heads = max([1, *(shape[1] for shape in shapes)])
    return Cells(tile, rows, batch * heads * mask.num_keys)


def count_seen(mask: MaskRule, patterns: Sequence[Pattern]) -> Tensor:
    """How many keys each query row sees under all rules together, ``(B or 1, Hq or 1, Sq)``, on the CPU."""
    if patterns:
        return all_rules(mask, patterns).visible.count
    return replace(mask, keep=None).visible_keys().cpu()


def chosen(x: Tensor, index: CallIndex) -> Tensor:
    """The selected part of a tensor of the whole call that broadcasts to ``(B, Hq, Sq, n)``."""
    for axis, numbers in enumerate((index.batch, index.heads, index.queries.tolist())):
        if 1 < x.shape[axis] != len(numbers) or (x.shape[axis] > 1 and list(numbers) != list(range(len(numbers)))):
            x = x.index_select(axis, torch.tensor(numbers, device=x.device))
    return x


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


def tell(rules: Rules, bias_hides: bool | None = None) -> Told:
    """Count what ``rules`` leave visible.

    Args:
        rules: of a call.
        bias_hides: whether the bias is there to hide keys; None looks at its numbers, which cannot show it where a
            position bias was added to a mask.
    """
    patterns = every_part(rules)
    hiding = [one for one in patterns if one.kind == MASK or (one.hides if bias_hides is None else bias_hides)]
    count = count_seen(rules.mask, hiding)
    return Told(int(count.sum()), count.numel() * rules.mask.num_keys, int((count == 0).sum()))
