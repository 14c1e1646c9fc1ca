"""What is behind ``attn explain``'s options; torch is imported here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from attn_cli.commands.showing import Showing
from attn_cli.errors import UsageError
from attn_cli.explanation import KernelOptions, Wanted, explain
from attn_cli.inputs.loading import CallPlan
from attn_cli.inputs.names import step_of, without_step
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.source import open_calls
from attn_cli.inputs.text import few, shown, spans
from attn_cli.reporters.json_report import explain_document, write_document
from attn_cli.reporters.terminal import render_explanation


@dataclass(frozen=True)
class ExplainRequest:
    """What to tell and how to give it out, as asked for on the command line; the row is in the reading options."""

    key: int | None
    top: int
    device: str
    dtype: str | None
    backend: str
    json_output: bool
    screenshot: str | None = None


def run_explain(read: ReadOptions, request: ExplainRequest) -> int:
    """Explain and report the row or cell. Returns the exit code."""
    (batch,), (head,), (query,) = (numbers or () for numbers in (read.batch, read.heads, read.queries))
    with open_calls(read) as source:
        call = _only(source.plans).load()
        wanted = Wanted(batch, head, query, request.key, request.top)
        told = explain(call, wanted, KernelOptions(request.device, request.dtype, request.backend))
    if request.json_output:
        write_document(explain_document(told), sys.stdout)
    else:
        showing, shown = Showing(request.screenshot), partial(render_explanation, told)
        showing.draw(shown)
        showing.show(shown)
    return 0


def _only(plans: Sequence[CallPlan]) -> CallPlan:
    """The one call that is meant.

    Raises:
        UsageError: naming the layers, or the prefixes where no number tells them apart, or a module's steps.
    """
    if len(plans) == 1:
        return plans[0]
    path = plans[0].file.path
    modules = {without_step(plan.prefix): plan.layer for plan in plans}
    layers = list(modules.values())
    if len(modules) == 1 and len({step_of(plan.prefix) for plan in plans}) == len(plans):
        raise _several_steps(path, plans)
    if len(modules) < 2 or None in layers or len(set(layers)) < len(layers):
        names = few(dict.fromkeys(without_step(plan.prefix) or "(no prefix)" for plan in plans))
        raise UsageError(f"{path}: found {len(plans)} attention calls; expected --prefix, one of {names}")
    raise UsageError(
        f"{path}: found {len(layers)} layers; expected --layer, one of {few(map(str, layers))}",
        f"add --layer {layers[0]}, or another",
    )


def _several_steps(path: str, plans: Sequence[CallPlan]) -> UsageError:
    """The refusal of a recorded module's calls where one is needed."""
    steps = [step_of(plan.prefix) for plan in plans]
    layer, module = plans[0].layer, without_step(plans[0].prefix)
    of = f"layer {layer}" if layer is not None else shown(module or "one module")
    found = f"{path}: found {len(plans)} steps of {of}; expected --step, one of {spans(steps)}"
    return UsageError(found, f"add --step {steps[0]}, or another")
