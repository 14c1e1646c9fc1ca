"""What ``attn_cli.inspect`` gives: a run's result as numbers, and as the report that people read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from torch import Tensor

from attn_cli.attention.types import CallIndex
from attn_cli.errors import UsageError
from attn_cli.inputs.types import CallRecord
from attn_cli.inspection.types import Finding, Pictures, TopPairs, Verification
from attn_cli.reporters.json_report import run_document
from attn_cli.reporters.notebook import report_html, report_lines
from attn_cli.reporters.terminal import render_run
from attn_cli.reporters.terminal.console import make_console
from attn_cli.reporters.terminal.text import count
from attn_cli.results import CallResult, Outputs, RunResult


class Inspection:
    """One attention call, run and inspected.

    In a notebook it shows itself as the report of ``attn run`` in colour, and so it does where Rich prints it;
    :meth:`show` prints that report to standard output. ``B``, ``Hq`` and ``Sq`` below are those of the selection. All
    tensors are on the CPU and have no history.

    Args:
        result: of the run.
    """

    def __init__(self, result: CallResult) -> None:
        self._result = result

    @property
    def metrics(self) -> Mapping[str, Tensor]:
        """By name, ``(B, Hq)`` float64, as ``docs/reference/metrics.md`` defines them.

        What does not apply to the call is left out; NaN stands where a metric cannot be formed.
        """
        return self._result.inspection.metrics

    @property
    def labels(self) -> tuple[tuple[str, ...], ...]:
        """``labels[b][h]``: what each head does in a word, ``"previous-token"`` or ``"sink"``."""
        return self._result.inspection.labels

    @property
    def weights(self) -> Tensor:
        """``(B, Hq, Sq, Sk)`` in float32, or in float64 for float64 inputs.

        Raises:
            UsageError: where they were not asked for with ``weights=True``.
        """
        return self._asked_for("weights", self._result.inspection.weights)

    @property
    def sink_weights(self) -> Tensor | None:
        """``(B, Hq, Sq)``: each row's weight on its learned sink; None without sinks, or without ``weights=True``."""
        return self._result.inspection.sink_weights

    @property
    def similarity(self) -> Tensor:
        """``(B, Hq, Hq)``: Jensen-Shannon divergence between every two heads, in nats.

        Raises:
            UsageError: where it was not asked for with ``similarity=True``.
        """
        return self._asked_for("similarity", self._result.inspection.similarity)

    @property
    def output(self) -> Tensor:
        """``(B, Hq, Sq, Dv)``: what the kernel computed, in its dtype."""
        return self._outputs.output

    @property
    def projected(self) -> Tensor | None:
        """``(B, Sq, E)``: the output after the output projection, where that is known and every head was selected."""
        return self._outputs.projected

    @property
    def lse(self) -> Tensor:
        """``(B, Hq, Sq)``: the log-sum-exp of each row's logits."""
        return self._outputs.lse

    @property
    def top(self) -> TopPairs:
        """The strongest query → key pairs of every head: ``query``, ``key`` and ``weight``, each ``(B, Hq, K)``."""
        return self._result.inspection.top

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What its user should know, each with its code, place, cause and remedy."""
        return self._result.inspection.findings

    @property
    def pictures(self) -> Pictures:
        """Every head's weights, max-pooled where they are many: ``weights`` is ``(B, Hq, R, C)``."""
        return self._result.inspection.pictures

    @property
    def verification(self) -> Verification:
        """The weights shown times V against the kernel's output: ``holds``, ``max_abs_error``, ``against``."""
        return self._result.verification

    @property
    def index(self) -> CallIndex:
        """Which batch items, query heads and query rows of the whole call these are."""
        return self._result.inspection.index

    @property
    def call(self) -> CallRecord:
        """How the call was read: its prefix, layer, step, conventions and tokens."""
        return self._result.call

    def to_dict(self) -> dict[str, Any]:
        """The document that ``attn run --json`` prints, as plain Python values; ``attn schema run`` describes it."""
        return run_document(self._run)

    def show(self) -> None:
        """Print the whole report to standard output, as ``attn run`` does."""
        render_run(self._run, make_console())

    @property
    def _run(self) -> RunResult:
        return RunResult("run", (self._result,))

    @property
    def _outputs(self) -> Outputs:
        outputs = self._result.outputs
        assert outputs is not None  # an inspection through the API keeps them
        return outputs

    def _asked_for(self, name: str, tensor: Tensor | None) -> Tensor:
        if tensor is None:
            raise UsageError(f"{name}: not kept; expected {name}=True where the call is inspected")
        return tensor

    def __repr__(self) -> str:
        batch, heads, queries = len(self.index.batch), len(self.index.heads), len(self.index.queries)
        shape = f"B {batch}, Hq {heads}, Sq {queries}, Sk {self._result.num_keys}"
        labels = Counter(label for row in self.labels for label in row)
        said = ", ".join(f"{times} {label}" for label, times in labels.most_common())
        parts = (shape, f"{self._result.dtype} on {self._result.device}", said, count(len(self.findings), "finding"))
        return f"<attn_cli.Inspection: {' · '.join(parts)}>"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from report_lines(self._run, console, options.max_width)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return report_html(self._run)
