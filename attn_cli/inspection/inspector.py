"""Streams an attention call through tiles of query rows × keys and says what every head did."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from attn_cli.attention.types import AttentionInputs
from attn_cli.inspection.accumulators import MarkedRows, MetricTotals, RowMarks
from attn_cli.inspection.call import Call
from attn_cli.inspection.coarser import coarser
from attn_cli.inspection.findings import empty_rows_finding, faulty_rows_finding, input_findings
from attn_cli.inspection.labels import label_heads
from attn_cli.inspection.metrics import METRICS
from attn_cli.inspection.options import InspectOptions
from attn_cli.inspection.pictures import PictureBuilder
from attn_cli.inspection.rows import Rows, RowValues
from attn_cli.inspection.similarity import similarity
from attn_cli.inspection.stream.plan import is_small, make_plan
from attn_cli.inspection.stream.spans import Spans
from attn_cli.inspection.stream.threads import Crew, one_thread_each
from attn_cli.inspection.stream.worker import Kept, Piece, Results, Worker, choose_functions
from attn_cli.inspection.top import TopBuilder
from attn_cli.inspection.types import Detail, Finding, Inspection, Pictures, TopPairs
from attn_cli.inspection.windows import Softmax, windows_of
from attn_cli.inspection.zoom import ZoomedPictures

DEFAULT_OPTIONS = InspectOptions()
KEPT_FOR_WINDOWS = 2**24  # weights that are held so that windows are cut out of them
Progress = Callable[[int, int], None]


def inspect(
    inputs: AttentionInputs, options: InspectOptions = DEFAULT_OPTIONS, progress: Progress | None = None
) -> Inspection:
    """Pass over the weights tile by tile, in the accumulation dtype, and measure every head on them.

    Memory grows with Sq + Sk, and with Sq·Sk only where ``options.weights`` or ``options.detail`` ask for all weights;
    the work space is fixed. Neither the size of the tiles nor the number of threads changes anything but rounding.

    Args:
        inputs: the call or a selection of it, on any device and in any floating dtype.
        options: what to measure besides the metrics.
        progress: called with the scores that are computed and all that will be, after each piece of work.

    Returns:
        What every head did, all tensors on the CPU.

    Raises:
        IndexError: where ``options.zoom`` reaches beyond the call, or shows none of the inspected rows.
    """
    with torch.no_grad(), one_thread_each() if is_small(inputs) else nullcontext():
        walk = _Walk(inputs, options)
        walk.run(progress)
        return walk.result()


class _Meter:
    """Adds up what is done and tells it."""

    def __init__(self, progress: Progress | None, todo: int) -> None:
        self._progress, self._todo, self._done = progress, todo, 0

    def add(self, work: int) -> None:
        """So many scores more are done."""
        self._done += work
        if self._progress is not None:
            self._progress(self._done, self._todo)


def _all_weights(inputs: AttentionInputs) -> Tensor:
    """What ``options.weights`` gives by itself, ``(B, Hq, Sq, Sk)``: the same numbers to the last bit.

    The metrics are those of the walk that goes without them, whatever is given one by one.
    """
    walk = _Walk(inputs, InspectOptions(top=0, weights=True))
    walk.run(None)
    assert walk.results.kept.weights is not None
    return walk.results.kept.weights


def _read(top: TopPairs, weights: Tensor, row_of: dict[int, int]) -> TopPairs:
    """The strongest pairs with their weights as ``weights`` has them."""
    rows = top.query.clone().apply_(lambda query: row_of.get(query, 0))
    cells = rows * weights.shape[3] + top.key.clamp(min=0)  # (B, Hq, K)
    found = weights.flatten(2).gather(2, cells).double()
    return replace(top, weight=torch.where(top.query < 0, torch.nan, found))


class _Walk:
    """Everything that is carried from part to part."""

    def __init__(self, inputs: AttentionInputs, options: InspectOptions) -> None:
        self.call, self.options = Call.prepare(inputs), options
        self.totals = [MetricTotals(metric, self.call) for metric in METRICS if metric.applies(self.call)]
        pictures = PictureBuilder(self.call, options)
        top = TopBuilder(self.call, options.top, pictures.key_pool)
        self.results = Results(Kept.empty(self.call, options.weights), pictures, top)
        self.plan = make_plan(self.call, options, pictures.key_pool)
        self.spans = Spans.of(self.call.inputs.rules.mask)
        self.faulty = RowMarks(self.call)
        self.zoom = None if options.zoom is None else ZoomedPictures(self.call, options.zoom, options)
        self.zoomed: Pictures | None = None

    def run(self, progress: Progress | None) -> None:
        """Compute all parts."""
        threads = torch.get_num_threads() if self.call.device.type == "cpu" else 1
        parts = list(self.plan.parts(self.call))
        todo = sum(self.spans.work(part) for part in parts)
        meter = _Meter(progress, todo if self.zoom is None else todo + self.zoom.work)
        functions = choose_functions(self.call, todo)
        crew = Crew(threads, lambda: Worker(self.call, self.spans, self.plan, functions, self.results).run)

        def tell(piece: Piece) -> None:
            meter.add(self.spans.work(piece.item))

        with one_thread_each(), closing(crew):  # a thread that starts late sets the number too: it comes back last
            for part in parts:
                values = RowValues.empty(self.call, part)
                crew.run([Piece(item, part, values) for item in self.plan.items(self.spans, part)], tell)
                self._add(Rows(self.call, part, values))
        if self.zoom is not None:
            self.zoomed = self.zoom.result(self.results.kept.reference, self.results.kept.total, meter.add)

    def _add(self, rows: Rows) -> None:
        """Take in a part's rows."""
        for total in self.totals:
            total.add(rows)
        self.faulty.add(rows.faulty, rows.part)
        if self.call.inputs.rules.sinks is not None:
            self.results.pictures.add_sink(rows.part, rows.sink)
            if self.results.kept.sinks is not None:
                self.results.kept.sinks[rows.part.place].copy_(rows.sink)

    def result(self) -> Inspection:
        """All that was found."""
        call, kept = self.call, self.results.kept
        metrics = {total.metric.name: total.result() for total in self.totals}
        alike = similarity(call, kept.reference, kept.total) if self.options.similarity else None
        pictures = self.results.pictures.result()
        top = self.results.top.result(kept.reference, kept.total, kept.weights)
        return Inspection(
            index=call.inputs.index,
            metrics=metrics,
            labels=label_heads(metrics),
            pictures=self.zoomed or pictures,
            top=top,
            output=kept.output,
            lse=kept.lse,
            weights=kept.weights,
            sink_weights=kept.sinks,
            similarity=alike,
            findings=self._findings(),
            detail=self._detail(pictures, top),
        )

    def _detail(self, pictures: Pictures, top: TopPairs) -> Detail | None:
        """The weights that are to be given one by one."""
        kept, wanted = self.results.kept, self.options.detail
        if wanted is None:
            return None
        weights = kept.weights
        if weights is None and (wanted.whole or math.prod(self.call.inputs.weights_shape) <= KEPT_FOR_WINDOWS):
            weights = _all_weights(self.call.inputs)
        softmax = Softmax(kept.reference, kept.total, kept.lse, weights)
        rows = {query: row for row, query in enumerate(self.call.inputs.index.queries.tolist())}
        shown = coarser(pictures, wanted.picture_rows, wanted.picture_columns)
        read = None if weights is None else _read(top, weights, rows)
        return Detail(shown, windows_of(self.call, softmax, top, wanted), read)

    def _findings(self) -> tuple[Finding, ...]:
        of_rows = (
            faulty_rows_finding(self.call, self.faulty.result()),
            empty_rows_finding(self.call, MarkedRows.of(self.call.seen.counts == 0)),
        )
        inputs = input_findings(self.call.inputs, known_finite=bool(self.call.sound.all()))
        return (*inputs, *(finding for finding in of_rows if finding is not None))
