"""What a file says came out of a call, compared with the definition in float64, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from attn_cli.attention.textbook import share_key_value_heads
from attn_cli.checks.exact import ROUNDINGS, explained, logit_loss
from attn_cli.checks.pieces import Piece
from attn_cli.inspection.drowned import drowned_rows

SLACK = 4.0  # an unknown framework may round more often than the kernels that the tolerance was measured on
ROW_SUM = 16  # eps: rounding n weights moves their sum by less than an eps; what sums them again rounds again
SMALLEST_ROW_SUM = 1e-5


class Kind(Enum):
    """How a recorded row is wrong."""

    HIDDEN_FAULT = "hidden fault"
    BROKEN = "broken"
    EMPTY_BROKEN = "broken where no key is visible"
    UNIFORM = "uniform where no key is visible"
    HIDDEN_KEYS = "weight on hidden keys"
    ROW_SUM = "row sum"
    OTHER = "another number"


@dataclass(frozen=True)
class Fault:
    """Recorded rows of one kind in one piece.

    Attributes:
        kind: how they are wrong.
        rows: how many.
        place: batch item, head, row and the last axis (feature or key) in numbers of the selection: the first, or of
            ``OTHER`` and ``HIDDEN_KEYS`` the worst.
        found, exact: the recorded number and the definition's there; of ``ROW_SUM`` the row's sums.
        excess: how many times what the dtype explains.
    """

    kind: Kind
    rows: int
    place: tuple[int, int, int, int]
    found: float
    exact: float
    excess: float


@dataclass(frozen=True)
class AsRead:
    """What the call as it was read says of the recorded rows, ``(B, Hq, Sq)`` bool each; False of other rows.

    Attributes:
        differs: rows that are recorded otherwise.
        drowned: rows whose keys a finite mask constant hides, all of them: nothing can be said of their numbers.
    """

    differs: Tensor
    drowned: Tensor


@dataclass(frozen=True)
class GivenResult:
    """One recorded tensor of the selected part of a call.

    Attributes:
        name: ``"output"`` or ``"weights"``.
        values: ``(B, Hq, Sq, Dv or Sk)``, as the file has it.
        dtype: the coarsest that was computed in: of the tensor or of the call's own.
        stored: the file's, where it has eight bits, which nothing computes in; else None.
    """

    name: str
    values: Tensor
    dtype: torch.dtype
    stored: torch.dtype | None = None

    def of(self, piece: Piece) -> Tensor:
        """What was recorded for a piece, ``(h, r, n)`` float64."""
        return piece.of(self.values).double()

    def exact(self, piece: Piece) -> Tensor:
        """What the definition gives, ``(h, r, n)``."""
        return (piece.steps.output if self.name == "output" else piece.steps.weights)[0]

    def tolerance(self, piece: Piece) -> Tensor:
        """What the dtype explains in an unknown framework, broadcasts to ``(h, r, n)``."""
        return SLACK * self.explained(piece, self.dtype) + self.storing(self.exact(piece))

    def storing(self, x: Tensor) -> Tensor:
        """What eight bits cost each of these numbers: they may be cut off, and the smallest be lost."""
        if self.stored is None:
            return x.new_zeros(())
        limits = torch.finfo(self.stored)
        return limits.eps * (x.abs() + limits.smallest_normal)

    def explained(self, piece: Piece, dtype: torch.dtype) -> Tensor:
        """What ``dtype`` explains, broadcasts to ``(h, r, n)``."""
        if self.name == "output":
            return explained(piece, dtype)[0, ..., None]
        weights, eps = piece.steps.weights[0], torch.finfo(dtype).eps
        share = ROUNDINGS * eps + 2 * logit_loss(piece, dtype)[0, ..., None]
        tiny = torch.finfo(dtype).smallest_normal * eps
        return share * weights + eps * weights.amax(dim=-1, keepdim=True) + tiny

    def agrees(self, piece: Piece, dtype: torch.dtype | None = None, as_read: AsRead | None = None) -> bool | None:
        """Whether a piece, of this or of another reading, gives what was recorded; None where nothing can be said.

        Rows that are not finite in either are left out, and so are those whose keys a finite constant hides, all of
        them, by either reading. A row that sees no key may be 0 or uniform.

        Args:
            piece: of any reading, in float64.
            dtype: that it may have been computed in; None is the recording's own, with some slack.
            as_read: of the call; then what speaks for another reading is a row in which that differs.
        """
        near, counts = self._compared(piece, dtype)
        telling = counts & ~_empty(piece) if as_read is None else counts & piece.of(as_read.differs)
        if as_read is not None:
            counts = counts & ~piece.of(as_read.drowned)
        if not bool((near | ~counts).all()):
            return False
        return True if bool((telling & counts).any()) else None

    def as_read(self, pieces: Iterable[Piece]) -> AsRead:
        """What these pieces of the call as it was read say."""
        differs, drowned = (torch.zeros(self.values.shape[:3], dtype=torch.bool) for _ in range(2))
        for piece in pieces:
            near, counts = self._compared(piece, None)
            differs[piece.places] = (counts & ~near) | _uniform(self, piece).any(dim=-1)
            drowned[piece.places] = _drowned(piece)
        return AsRead(differs, drowned)

    def _compared(self, piece: Piece, dtype: torch.dtype | None) -> tuple[Tensor, Tensor]:
        """Which rows are as the piece gives them, and which of all rows can be compared, ``(h, r)`` each."""
        found, exact = self.of(piece), self.exact(piece)
        sound = found.isfinite().all(dim=-1) & exact.isfinite().all(dim=-1)
        limit = self.tolerance(piece) if dtype is None else self.explained(piece, dtype) + self.storing(exact)
        near = ((found - exact).abs() <= limit).all(dim=-1) | _uniform(self, piece).any(dim=-1)
        return near, sound & ~_drowned(piece)

    def faults(self, piece: Piece) -> Iterator[Fault]:
        """What is wrong in a piece, each row counted under one kind."""
        left = torch.ones(len(piece.heads), len(piece.rows), dtype=torch.bool)
        for kind, mark in (*_KINDS.items(), *(_KINDS_OF_WEIGHTS if self.name == "weights" else _LAST).items()):
            cells = mark(self, piece) & left[..., None]  # (h, r, n)
            rows = cells.any(dim=-1)
            if bool(rows.any()):
                left = left & ~rows
                yield self._fault(kind, piece, cells)

    def _fault(self, kind: Kind, piece: Piece, cells: Tensor) -> Fault:
        found, exact = self.of(piece), self.exact(piece)
        excess = torch.where(cells, (found - exact).abs() / self.tolerance(piece), -1.0).nan_to_num(torch.inf)
        by_size = kind in (Kind.OTHER, Kind.HIDDEN_KEYS)
        at = (excess if by_size else cells.to(torch.int8)).argmax()
        head, row, last = (int(number) for number in torch.unravel_index(at, cells.shape))
        place = (piece.items[head], piece.heads[head], piece.rows[row], last)
        if kind is Kind.ROW_SUM:
            found, exact = (x.sum(dim=-1, keepdim=True).expand_as(x) for x in (found, exact))
        numbers = (float(x[head, row, last]) for x in (found, exact, excess))
        return Fault(kind, int(cells.any(dim=-1).sum()), place, *numbers)


def _empty(piece: Piece) -> Tensor:
    """Rows that see no key, ``(h, r)``; a finite mask constant is no way to see one."""
    keep, logits = piece.steps.keep, piece.steps.biased
    visible = logits != -torch.inf if keep is None else (logits != -torch.inf) & keep
    return ~visible.any(dim=-1)[0]


def _drowned(piece: Piece) -> Tensor:
    """Rows whose keys a finite mask constant hides, all of them, ``(h, r)``; ATTN010 tells of them."""
    found = drowned_rows(piece.inputs.rules)
    shape = piece.steps.scores.shape[1:3]
    return torch.zeros(shape, dtype=torch.bool) if found is None else found[0].expand(shape)


def _hidden_fault(recording: GivenResult, piece: Piece) -> Tensor:
    return ~recording.exact(piece).isfinite() & recording.of(piece).isfinite()


def _broken(recording: GivenResult, piece: Piece) -> Tensor:
    cells = recording.exact(piece).isfinite() & ~recording.of(piece).isfinite()
    return cells & ~_empty(piece)[..., None]


def _empty_broken(recording: GivenResult, piece: Piece) -> Tensor:
    cells = recording.exact(piece).isfinite() & ~recording.of(piece).isfinite()
    return cells & _empty(piece)[..., None]


def _uniform(recording: GivenResult, piece: Piece) -> Tensor:
    """Rows without a visible key that hold the mean over all keys."""
    found, empty = recording.of(piece), _empty(piece)
    if recording.name == "weights":
        mean = torch.full_like(found, 1 / found.shape[-1])
    else:
        v = share_key_value_heads(piece.inputs.v, len(piece.heads))[0]  # (h, Sk, Dv)
        mean = v.mean(dim=1, keepdim=True).expand_as(found)
    eps = SLACK * ROUNDINGS * torch.finfo(recording.dtype).eps
    limit = eps * mean.abs().amax(dim=-1, keepdim=True) + recording.storing(mean)
    near = ((found - mean).abs() <= limit).all(dim=-1)
    is_other = (found != 0).any(dim=-1)
    return (near & is_other & empty & (piece.inputs.rules.mask.value is None))[..., None].expand_as(found)


def _hidden_keys(recording: GivenResult, piece: Piece) -> Tensor:
    """Weight where the definition gives exactly 0 because the key is hidden."""
    keep, logits = piece.steps.keep, piece.steps.biased
    hidden = logits == -torch.inf if keep is None else (logits == -torch.inf) | ~keep
    if piece.inputs.rules.mask.value is not None:
        hidden = torch.zeros_like(hidden)
    return hidden.expand_as(piece.steps.weights)[0] & _far(recording, piece)


def _row_sum(recording: GivenResult, piece: Piece) -> Tensor:
    """Rows whose weights do not sum to what they should: 1, or what a sink leaves."""
    found, exact = recording.of(piece), recording.exact(piece)
    limit = max(ROW_SUM * torch.finfo(recording.dtype).eps, SMALLEST_ROW_SUM)
    off = (found.sum(dim=-1) - exact.sum(dim=-1)).abs() > limit + recording.storing(exact).sum(dim=-1)  # (h, r)
    return off[..., None].expand_as(found)


def _other(recording: GivenResult, piece: Piece) -> Tensor:
    return _far(recording, piece) & ~_drowned(piece)[..., None]


def _far(recording: GivenResult, piece: Piece) -> Tensor:
    found, exact = recording.of(piece), recording.exact(piece)
    return (found - exact).abs() > recording.tolerance(piece)


Mark = Callable[[GivenResult, Piece], Tensor]
_KINDS: dict[Kind, Mark] = {
    Kind.HIDDEN_FAULT: _hidden_fault,
    Kind.BROKEN: _broken,
    Kind.EMPTY_BROKEN: _empty_broken,
    Kind.UNIFORM: _uniform,
}
_LAST: dict[Kind, Mark] = {Kind.OTHER: _other}
_KINDS_OF_WEIGHTS: dict[Kind, Mark] = {Kind.HIDDEN_KEYS: _hidden_keys, Kind.ROW_SUM: _row_sum, **_LAST}
