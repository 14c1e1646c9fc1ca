"""Explanations of small calls, with a kernel's row that depends on no kernel."""

from __future__ import annotations

from dataclasses import replace

import torch

from attn_cli.explanation import Explanation
from attn_cli.explanation.types import KernelRow
from tests.attention.calls import make_call
from tests.explanation.told import full, tell

HOSTILE = ("[CLS]", "the", "\x1b[31mred", "[bold]x[/bold]", " a very long token that goes on and on", "猫", "")
TOKENS = (HOSTILE, HOSTILE)
RAN = KernelRow("cpu", "float32", "auto", "flash", "_flash", None, (), 1.25e-8, 0, 0)


def _with(told: Explanation, kernel: KernelRow = RAN) -> Explanation:
    """With a kernel's row whose last bits are the same everywhere."""
    output = tuple(x + 1.25e-8 for x in told.row.output) if kernel.feature is not None else ()
    return replace(told, kernel=replace(kernel, output=output))


def _broken() -> Explanation:
    inputs = make_call(kv_heads=2, dtype=torch.float32, seed=3)
    inputs.k[0, 1, 4, 6] = torch.nan
    told = tell(inputs, 0, 3, 1, 4)
    lonely = replace(RAN, difference=None, feature=None, disagreements=8)
    return _with(told, lonely)


def _broken_row() -> Explanation:
    inputs = make_call(causal=True, dtype=torch.float32, seed=3)
    inputs.v[0, 2, 6, 1] = torch.inf
    return _with(tell(inputs, 0, 2, 1))


LENS = torch.tensor([0, 7])
EXPLANATIONS = {
    "cell": _with(tell(full(1), 1, 2, 4, 3, tokens=TOKENS)),
    "row": _with(tell(full(1), 1, 2, 4, tokens=TOKENS)),
    "plain-cell": _with(tell(make_call(dtype=torch.bfloat16), 0, 1, 2, 3, top=3)),
    "hidden-cell": _with(tell(full(1, window=(1, 0)), 0, 2, 1, 6, tokens=TOKENS)),
    "broken-cell": _broken(),
    "broken-row": _broken_row(),
    "empty-row": _with(tell(make_call(valid_lens=LENS), 0, 0, 0)),
    "empty-cell": _with(tell(make_call(valid_lens=LENS), 0, 0, 0, 2)),
    "leaking-row": _with(
        tell(make_call(valid_lens=LENS, value=-1e6), 0, 0, 0),
        KernelRow("cpu", "float16", "auto", "", "", "--mask-value -1e+06: does not fit float16", (), None, None, 0),
    ),
}
