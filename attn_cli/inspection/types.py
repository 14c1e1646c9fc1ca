"""What an inspection found: frozen records, free of formatting."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from attn_cli.attention.types import CallIndex
from attn_cli.inspection.options import Zoom

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Place:
    """Where something was found, 0-based in the whole call; what does not apply is None.

    ``feature`` counts within a head.
    """

    tensor: str | None = None
    batch: int | None = None
    head: int | None = None
    query: int | None = None
    key: int | None = None
    feature: int | None = None


@dataclass(frozen=True)
class Finding:
    """Something in a call that its user should know.

    Attributes:
        code: stable, ``ATTN001`` and so on.
        severity: ``"error"``, ``"warning"`` or ``"info"``.
        message: one sentence with the cause.
        place: the first place where it was found.
        count: how many places there are, or None.
        hint: one sentence with the remedy, or None.
        layer: the layer's number, or None.
    """

    code: str
    severity: Severity
    message: str
    place: Place = field(default_factory=Place)
    count: int | None = None
    hint: str | None = None
    layer: int | None = None


@dataclass(frozen=True)
class Pictures:
    """Every head's weights or a window of them, max-pooled where they do not fit.

    Attributes:
        weights: ``(B, Hq, R, C)`` float32 on the CPU: the largest weight of each cell; NaN where any is NaN.
        visible: bool, ``(B or 1, Hq or 1, R, C)``: True where the cell has at least one visible key.
        sink: ``(B, Hq, R)`` float32, the sink's largest weight of each row of cells, or None.
        query_pool, key_pool: query rows and keys that one cell stands for; the last cell may hold fewer.
        first_query, first_key: what the first row and the first column of cells begin with, in numbers of the whole
            call.
        zoom: the window that is shown, with both stops; None where all that was inspected is shown.
        queries: ``(n,)`` int64 on the CPU, the number in the whole call of each query row that is shown; None where
            those are all rows of the inspection.
        apart: ``(B, Hq, R, C)`` float32 on the CPU: of all differences from other weights in a cell the one of the
            largest magnitude, with its sign; NaN where one is NaN. None where nothing was compared.
    """

    weights: Tensor
    visible: Tensor
    sink: Tensor | None
    query_pool: int
    key_pool: int
    first_query: int = 0
    first_key: int = 0
    zoom: Zoom | None = None
    queries: Tensor | None = None
    apart: Tensor | None = None


@dataclass(frozen=True)
class TopPairs:
    """The strongest query → key pairs of every head, strongest first, ties by lowest query, then lowest key.

    K is the number that was asked for, or Sq·Sk where there are fewer pairs.

    Attributes:
        query: ``(B, Hq, K)`` int64, rows of the whole call; −1 behind the last visible pair.
        key: ``(B, Hq, K)`` int64; −1 behind the last visible pair.
        weight: ``(B, Hq, K)`` float64; NaN behind the last visible pair.
    """

    query: Tensor
    key: Tensor
    weight: Tensor

    def strongest(self, most: int) -> TopPairs:
        """The first ``most`` of each head."""
        return TopPairs(self.query[..., :most], self.key[..., :most], self.weight[..., :most])


@dataclass(frozen=True)
class WeightWindow:
    """The weights of some query rows of one head on some keys, one by one, on the CPU.

    Attributes:
        kind: ``"whole"``, ``"around"`` (a pair that was asked for), ``"pair"`` (around one of the strongest pairs),
            ``"first"`` and ``"last"`` (the corners) or ``"row"`` (the strongest pair's query row).
        first_row: the first of its query rows, counted among those that were inspected.
        first_key: the first of its keys.
        weights: ``(r, t)`` in the accumulation dtype.
        visible: bool, ``(r, t)``: False where the key is hidden from the row.
        log_total: ``(r,)``, the logarithm of each row's denominator, the sink in it: a weight w has the logit
            ln w + log_total. −∞ in a row whose denominator is empty. None where no logits are known.
        sink: ``(r,)``, the learned sink's weight, or None.
    """

    kind: str
    first_row: int
    first_key: int
    weights: Tensor
    visible: Tensor
    log_total: Tensor | None
    sink: Tensor | None


@dataclass(frozen=True)
class Detail:
    """What was asked for beside the metrics, one by one.

    Attributes:
        pictures: the heads as pictures of all that was inspected, also where the inspection's own show a window.
        windows: ``windows[b][h]``, in the order of their kinds' names in :class:`WeightWindow`.
        top: the strongest pairs, their weights read from where the windows' are; None where those were formed anew.
    """

    pictures: Pictures
    windows: tuple[tuple[tuple[WeightWindow, ...], ...], ...]
    top: TopPairs | None = None


@dataclass(frozen=True)
class Verification:
    """The inspected weights times V against the output of the kernel that ran.

    Attributes:
        max_abs_error: the largest difference where both are finite; NaN where nothing is.
        against: the kernel's name.
        disagreements: values that are finite in one of the two only.
        place: where the largest difference is, or the first disagreement where there is one.
        tolerance: what the kernel's dtype explains.
        inspected, returned: the inspected and the kernel's value at ``place``, where that is a disagreement; else NaN.
    """

    max_abs_error: float
    against: str
    disagreements: int
    place: Place
    tolerance: float
    inspected: float = math.nan
    returned: float = math.nan

    @property
    def holds(self) -> bool:
        """True where the difference is one that the kernel's dtype explains."""
        is_close = math.isnan(self.max_abs_error) or self.max_abs_error <= self.tolerance
        return self.disagreements == 0 and is_close


@dataclass(frozen=True)
class Inspection:
    """What every head of one attention call did.

    All tensors are on the CPU; B, Hq and Sq are those of the selection, which ``index`` places in the whole call.

    Attributes:
        index: which batch items, heads and query rows these are.
        metrics: by metric name, ``(B, Hq)`` float64; a metric that does not apply to this call is left out.
            NaN where it cannot be formed (no query row it counts, or a value that is not finite).
        labels: ``labels[b][h]``.
        pictures: the heads as pictures.
        top: the strongest pairs.
        output: ``(B, Hq, Sq, Dv)``, the inspected weights times V, in the accumulation dtype. A result that keeps
            its outputs elsewhere, or not at all, has None here and for ``lse``.
        lse: ``(B, Hq, Sq)``.
        weights: ``(B, Hq, Sq, Sk)`` where they were asked for, else None.
        sink_weights: ``(B, Hq, Sq)`` where ``weights`` were asked for and there are sinks, else None.
        similarity: ``(B, Hq, Hq)`` Jensen-Shannon divergence in nats where it was asked for, else None.
        findings: what its user should know.
        detail: weights one by one where they were asked for, else None.
    """

    index: CallIndex
    metrics: Mapping[str, Tensor]
    labels: tuple[tuple[str, ...], ...]
    pictures: Pictures
    top: TopPairs
    output: Tensor | None
    lse: Tensor | None
    weights: Tensor | None
    sink_weights: Tensor | None
    similarity: Tensor | None
    findings: tuple[Finding, ...]
    detail: Detail | None = None
