"""What a benchmark is made of, and what it gives: frozen records that reporters tell."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Literal

Mode = Literal["forward", "backward"]
Status = Literal["ok", "wrong", "refused", "skipped", "failed", "interrupted"]
Verdict = Literal["FASTER", "SLOWER", "SAME", "UNCLEAR"]

FLOPS_FORMULA = {
    "forward": "2·B·Hq·pairs·(D + Dv): a multiply and an add for each product of Q·Kᵀ and of weights·V; pairs are the "
    "query → key pairs that are visible, Sq·Sk without a mask, and causal those alone that a query may see",
    "backward": "2.5 times the forward's: five matrix products instead of two (Dao 2023, arXiv 2307.08691)",
}
BYTES_FORMULA = {
    "forward": "Q, K and V read once and the output written once",
    "backward": "Q, K, V, the output and its gradient read once, and the gradients of Q, K and V written once",
}


@dataclass(frozen=True)
class BenchCase:
    """One attention call to be timed; V has K's features, and causal order is aligned bottom-right.

    Attributes:
        batch, heads, kv_heads, queries, keys, head_dim: B, Hq, Hkv, Sq, Sk and D.
        dtype: of Q, K and V, e.g. ``"bfloat16"``.
        causal: whether a query sees the keys up to its own place alone.
        mode: what is timed: the forward pass, or the backward pass alone.
    """

    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    head_dim: int
    dtype: str
    causal: bool
    mode: Mode

    @property
    def pairs(self) -> int:
        """Visible query → key pairs of one head."""
        if not self.causal:
            return self.queries * self.keys
        rows = min(self.queries, self.keys)  # rows that see a key; with more queries than keys the first see none
        return rows * self.keys - rows * (rows - 1) // 2

    @property
    def flops(self) -> float:
        """Floating-point operations by FLOPS_FORMULA."""
        forward = 4.0 * self.batch * self.heads * self.pairs * self.head_dim
        return forward if self.mode == "forward" else 2.5 * forward

    def bytes_moved(self, itemsize: int) -> int:
        """Bytes that must be moved at least, by BYTES_FORMULA; ``itemsize`` is that of the dtype."""
        q = self.batch * self.heads * self.queries * self.head_dim
        kv = 2 * self.batch * self.kv_heads * self.keys * self.head_dim
        return itemsize * (2 * q + kv if self.mode == "forward" else 4 * q + 2 * kv)


@dataclass(frozen=True)
class Summary:
    """Milliseconds of all timed runs.

    Attributes:
        samples: in the order they were taken.
        median, iqr, min: of these; the interquartile range is 0 for one sample.
    """

    samples: tuple[float, ...]
    median: float
    iqr: float
    min: float

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third; their distance is the interquartile range."""
        if len(self.samples) < 2:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.samples, n=4, method="inclusive")
        return low, high

    @property
    def max(self) -> float:
        """The longest."""
        return max(self.samples)

    @property
    def noise(self) -> float:
        """IQR over median."""
        return self.iqr / self.median if self.median > 0 else 0.0


@dataclass(frozen=True)
class Peaks:
    """What this device reaches in the same run; None where it was not measured.

    Attributes:
        flops_per_s: by dtype, of a large matrix product.
        bytes_per_s: of a large copy, read and written bytes counted.
    """

    flops_per_s: dict[str, float]
    bytes_per_s: float | None

    def roofline(self, dtype: str, intensity: float) -> float | None:
        """The most FLOP/s that a kernel of so many FLOPs a byte can reach (Williams et al. 2009), or None."""
        most = self.flops_per_s.get(dtype)
        if most is None or self.bytes_per_s is None:
            return None
        return min(most, intensity * self.bytes_per_s)


@dataclass(frozen=True)
class BenchResult:
    """One backend on one case.

    Attributes:
        backend: its name.
        case: what it computed.
        status: ``ok``; ``wrong`` where its error is beyond the tolerance; ``refused`` where it cannot run the case;
            ``skipped`` where the memory would not do; ``failed`` where it raised; ``interrupted``.
        reason: why it is not ``ok``, or None.
        kernel: what really ran, or None.
        first_ms: the first run, with all that is made or compiled once; None where there was none.
        ms: all timed runs; None where there is none.
        peak_memory_bytes: the most memory of a pass beyond its inputs, its output with it; None where unknown.
        max_abs_error: the largest difference from float64 on the same inputs; None where it was not compared.
        tolerance: what its dtype explains of it, in the row where it lies.
        checked_rows: query rows of each head that were compared.
        tflops: 10¹² FLOP/s at the median; None without one.
        bytes_per_s: of :meth:`BenchCase.bytes_moved`.
        intensity: FLOPs a byte.
        share_of_peak: of the measured roofline, 0 to 1; None where it is unknown.
        yardstick_ms: what the yardstick took in the same rounds, its median; None where there is none.
        share_of_tolerance: the largest difference over what the dtype explains in its own row, of all rows; ``wrong``
            above 1. None where it was not compared.
    """

    backend: str
    case: BenchCase
    status: Status
    reason: str | None = None
    kernel: str | None = None
    first_ms: float | None = None
    ms: Summary | None = None
    peak_memory_bytes: int | None = None
    max_abs_error: float | None = None
    tolerance: float | None = None
    checked_rows: int | None = None
    tflops: float | None = None
    bytes_per_s: float | None = None
    intensity: float | None = None
    share_of_peak: float | None = None
    yardstick_ms: float | None = None
    share_of_tolerance: float | None = None

    @property
    def is_quick(self) -> bool:
        """True where its time may be called the best: all of it was measured, and at least a part was compared."""
        return self.status == "ok" and self.ms is not None and self.max_abs_error is not None


@dataclass(frozen=True)
class Growth:
    """How a backend's time and memory grow with the length, all else the same: ``~ length ** exponent``.

    Attributes:
        backend: its name.
        case: the longest one of the series.
        lengths: of keys, ascending.
        median_ms, memory_bytes: at each length; None where unknown.
        time_exponent, memory_exponent: slopes of log against log; None for fewer than two points.
        queries_grow: whether there are as many queries as keys at each length; else they are those of the case.
    """

    backend: str
    case: BenchCase
    lengths: tuple[int, ...]
    median_ms: tuple[float | None, ...]
    memory_bytes: tuple[int | None, ...]
    time_exponent: float | None
    memory_exponent: float | None
    queries_grow: bool


@dataclass(frozen=True)
class Compared:
    """One result beside the same one of a baseline.

    Attributes:
        backend: its name.
        case: of both.
        verdict: see :mod:`attn_cli.benchmark.baseline`.
        ratio: new median over old; as they are or each over its own run's yardstick, whichever is nearer to 1.
        low, high: 99 % confidence interval of the ratio.
        margin: how far from 1 still counts as the same.
        machine: new yardstick over old, below 1 where the machine was faster this time; None where a run has none.
    """

    backend: str
    case: BenchCase
    verdict: Verdict
    ratio: float
    low: float
    high: float
    margin: float
    machine: float | None = None


@dataclass(frozen=True)
class Lost:
    """A result that was right in the baseline, was asked for again, and is not right now.

    Attributes:
        backend: its name.
        case: of both.
        status: what it is now: ``wrong``, ``refused``, ``skipped`` or ``failed``.
        reason: why, or None.
    """

    backend: str
    case: BenchCase
    status: Status
    reason: str | None


@dataclass(frozen=True)
class Comparison:
    """A whole run beside its baseline.

    Attributes:
        file: the baseline's.
        entries: what both have.
        missing: how many results only one of them has, those that are lost not among them.
        notes: settings that differ but may, such as PyTorch's version.
        lost: what was right in the baseline and is not now.
    """

    file: str
    entries: tuple[Compared, ...]
    missing: int
    notes: tuple[str, ...]
    lost: tuple[Lost, ...] = ()

    @property
    def is_regression(self) -> bool:
        """True where something is slower than in the baseline, or not right any more."""
        return bool(self.lost) or any(entry.verdict == "SLOWER" for entry in self.entries)


@dataclass(frozen=True)
class Warned:
    """A doubt about the figures, and its remedy."""

    message: str
    remedy: str


@dataclass(frozen=True)
class BenchReport:
    """All of one ``attn bench``.

    Attributes:
        environment: device, driver, PyTorch, threads, modes; the values are text, numbers, booleans or None.
        peaks: what the device reaches.
        results: in the order they were asked for.
        growth: of each backend that was timed at several lengths.
        warnings: doubts.
        comparison: beside a baseline, or None.
        was_interrupted: True where not everything was measured.
    """

    environment: dict[str, str | int | float | bool | None]
    peaks: Peaks
    results: tuple[BenchResult, ...]
    growth: tuple[Growth, ...]
    warnings: tuple[Warned, ...]
    comparison: Comparison | None = None
    was_interrupted: bool = False
