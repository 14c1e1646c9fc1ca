"""Whole reports as they stand in golden/."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from attn_cli.inputs.types import Convention, TensorInfo
from attn_cli.inspection.options import Zoom
from attn_cli.inspection.types import Finding, Place, Verification
from attn_cli.reporters.terminal import render_lesson, render_run
from attn_cli.results import RunResult
from tests.reporters.goldens import LOOKS, check_golden
from tests.reporters.results_for_tests import Case, make_call, make_lesson, make_result
from tests.reporters.step_captures import prefix_of

NAN_FINDING = Finding(
    "ATTN002",
    "error",
    "1 query row with weights or output that are not finite: in the first, q holds NaN at this query",
    Place(batch=0, head=1, query=1),
    1,
    "The row cannot be used; the finding on the inputs, where there is one, says where it began.",
)
EMPTY_FINDING = Finding("ATTN003", "warning", "3 query rows without a visible key", Place(batch=0, head=0, query=2), 3)
ALIGNMENT_FINDING = Finding(
    "ATTN004",
    "info",
    "causal order was aligned bottom-right, since no alignment was chosen for 3 query rows and 4 keys",
    Place(query=0),
    3,
    "Choose causal-align top-left if the first query belongs to the first key.",
)
DISAGREEMENT = Verification(0.25, "flash", 0, Place(batch=0, head=2, query=1), 1e-05)
TOKENS = (("[CLS]", "the", " cat", "猫", "[/INST]", "\x1b[0m"), ("[CLS]", "a", "dog", "!", "[SEP]", "[PAD]"))

NUMBERS = make_result(
    Case(
        batch=2,
        heads=3,
        queries=4,
        keys=6,
        valid_lens=(3, 2),
        source="random",
        conventions=(
            Convention("scale", "0.7071 = 1/√2", "default"),
            Convention("valid lengths", "3,2", "--valid-lens"),
        ),
    ),
    command="demo",
)
TOKEN_RUN = make_result(Case(batch=2, heads=1, queries=6, keys=6, causal=True, tokens=TOKENS, has_sinks=True))
POOLED = make_result(Case(heads=8, queries=80, keys=160, pool=(8, 8), causal=True, with_similarity=True))
BROKEN = make_result(
    Case(
        heads=3,
        queries=3,
        keys=4,
        broken_head=1,
        empty_row=2,
        findings=(ALIGNMENT_FINDING, EMPTY_FINDING, NAN_FINDING),
        verification=DISAGREEMENT,
        unused=tuple(TensorInfo(f"norm.{number}", (4,), "float32") for number in range(5)),
        backend_note="scaled_dot_product_attention has no softcap",
    )
)
LAYERS = make_result(
    *(
        Case(
            batch=2,
            heads=12,
            layer=layer,
            prefix=f"layers.{layer}",
            findings=(ALIGNMENT_FINDING, NAN_FINDING) if layer == 3 else (ALIGNMENT_FINDING,),
            broken_head=4 if layer == 3 else None,
        )
        for layer in range(6)
    )
)
ZOOMED = make_result(
    Case(heads=3, queries=120, keys=120, causal=True, has_sinks=True, broken_head=1, zoom=Zoom(100, 106, 97, 105))
)
_STEPS = [(4, 4), *((1, keys) for keys in range(5, 9))]
STEPS = RunResult(
    "run",
    tuple(
        make_call(
            Case(
                heads=12,
                queries=queries,
                keys=keys,
                layer=layer,
                prefix=prefix_of(layer, step),
                broken_head=3 if (layer, step) == (2, 0) else None,
                findings=(ALIGNMENT_FINDING,) if step else (),
            )
        )
        for layer in range(4)
        for step, (queries, keys) in enumerate(_STEPS)
    ),
)
METRIC = replace(LAYERS, metric="confidence", order="low")
RANKED = replace(TOKEN_RUN, metric="attention_distance", order="high")
RUNS = {
    "steps": STEPS,
    "metric": METRIC,
    "ranked": RANKED,
    "zoomed": ZOOMED,
    "numbers": NUMBERS,
    "tokens": TOKEN_RUN,
    "pooled": POOLED,
    "broken": BROKEN,
    "layers": LAYERS,
}


def _render(name: str, console: Console) -> None:
    render_lesson(make_lesson(), console) if name == "lesson" else render_run(RUNS[name], console)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", [*RUNS, "lesson"])
def test_the_report_is_the_golden_one(name: str, look: str) -> None:
    check_golden(name, look, lambda console: _render(name, console))
