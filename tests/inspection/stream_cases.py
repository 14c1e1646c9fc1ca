"""Calls of several tiles and of every mask kind, and what a streamed inspection of them must equal."""

from dataclasses import replace

import numpy as np
import torch

from attn_cli.attention import textbook
from attn_cli.attention.selection import Selection, select
from attn_cli.attention.types import AttentionInputs, CallIndex
from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.options import InspectOptions
from tests.attention.calls import make_call
from tests.inspection.cases import coin, drawn, with_everything

QUERIES, KEYS = 17, 41
CPU = torch.device("cpu")
LEAST = float(torch.finfo(torch.float32).min)


def of_size(queries=QUERIES, keys=KEYS, seed=0, **options) -> AttentionInputs:
    """Two batch items, four query heads on two key/value heads, with token ids and an output projection."""
    return with_everything(make_call(2, 4, 2, queries, keys, features=4, seed=seed, **options), seed)


def block_sparse() -> torch.Tensor:
    """Whole tiles are hidden in the middle, and some rows see nothing at all, ``(1, 4, Sq, Sk)``."""
    keep = coin(3, 1, 4, QUERIES, KEYS)
    keep[:, :, :10, 7:28] = False
    keep[:, 1, 10:, 14:] = False
    keep[:, 2, 5:9] = False
    return keep


def additive(value: float) -> torch.Tensor:
    """The additive mask of a left-padded causal batch, ``(2, 1, Sq, Sk)``: the first tiles are hidden by a number."""
    hidden = torch.arange(KEYS) > torch.arange(QUERIES)[:, None] + KEYS - QUERIES
    padding = torch.arange(KEYS) < torch.tensor([16, 0])[:, None]
    return torch.where(hidden | padding[:, None], value, 0.0)[:, None].double()


def some_minus_infinity() -> torch.Tensor:
    bias = drawn(5, 1, 4, QUERIES, KEYS).masked_fill(~coin(6, 1, 4, QUERIES, KEYS), -torch.inf)
    bias[0, 1, 2] = -torch.inf
    bias[..., :15] = -torch.inf
    return bias


def calls_of_every_kind() -> dict[str, AttentionInputs]:
    """Named by what is special about them."""
    lens = torch.tensor([30, 0])
    row_lens = torch.randint(0, KEYS + 1, (2, QUERIES), generator=torch.Generator().manual_seed(7))
    row_lens[0, :6] = 0
    ramp = torch.linspace(-1e3, 1e3, KEYS).double()[None, None, None]
    padding = (torch.arange(KEYS) >= torch.tensor([20, 3])[:, None])[:, None, None]
    sinks = torch.tensor([0.5, -torch.inf, 900.0, -3.0]).double()
    bshd = of_size()
    swapped = {name: getattr(bshd, name).transpose(1, 2).contiguous().transpose(1, 2) for name in "qkv"}
    kinds = {
        "causal bottom-right": of_size(causal=True),
        "causal top-left": of_size(causal=True, align="top-left"),
        "causal more queries than keys": of_size(41, 17, causal=True),
        "causal far beyond the keys": of_size(causal=True, align=10**7),
        "causal far before the keys": of_size(causal=True, align=-(10**7)),
        "window both sides": of_size(window=(6, 3)),
        "window one side": of_size(window=(5, -1), causal=True),
        "window right unlimited, top-left": of_size(window=(2, -1), align="top-left"),
        "window of self": of_size(window=(0, 0)),
        "window beyond the keys": of_size(window=(4, 0), align=30),
        "valid lens": of_size(valid_lens=lens),
        "valid lens of rows, causal": of_size(valid_lens=row_lens, causal=True),
        "padding": of_size(keep=padding),
        "padding, causal": of_size(keep=padding, causal=True),
        "keep of heads": of_size(keep=coin(2, 1, 4, 1, KEYS, share=0.3)),
        "keep of queries": of_size(keep=coin(2, 2, 1, QUERIES, 1)),
        "keep of nothing": of_size(keep=coin(2, 1, 1, QUERIES, KEYS, share=0.0)),
        "keep block-sparse": of_size(keep=block_sparse()),
        "keep block-sparse, window": of_size(keep=block_sparse(), window=(8, 2)),
        "bias of minus infinity": of_size(bias=some_minus_infinity()),
        "bias of the least number": of_size(bias=additive(LEAST)),
        "bias of -1e9": of_size(bias=additive(-1e9)),
        "bias of -1e4, causal": of_size(bias=additive(-1e4), causal=True),
        "bias from -1e3 to 1e3": of_size(bias=ramp),
        "bias from 1e3 to -1e3": of_size(bias=ramp.flip(-1)),
        "bias of 1000.25": of_size(bias=torch.full((1, 4, 1, 1), 1000.25).double()),
        "softcap": of_size(softcap=2.0, causal=True, scale=3.0),
        "softcap that does not bound": of_size(softcap=100.0, scale=30.0),
        "sinks": of_size(sinks=sinks),
        "sinks, no visible key": of_size(sinks=sinks, valid_lens=lens, causal=True, align="top-left"),
        "sinks far below": of_size(sinks=sinks - 2e3, scale=40.0),
        "one query": of_size(1, 41),
        "one query, causal": of_size(1, 41, causal=True, window=(9, 0)),
        "one key": of_size(17, 1),
        "one feature": with_everything(make_call(2, 4, 1, QUERIES, KEYS, features=1, causal=True)),
        "transposed layout": replace(bshd, **swapped),
        "scale 0": of_size(scale=0.0, causal=True),
    }
    wide = of_size(causal=True, seed=4)
    kinds["queries with gaps"] = select(wide, Selection(queries=(1, 2, 5, 11, 14, 16)))
    kinds["queries in no order"] = select(wide, Selection(queries=(16, 3, 4, 9)))
    part = select(wide, Selection(batch=(1,), heads=(0, 3)))  # measured as a call of its own
    kinds["one batch item, some heads"] = replace(part, index=CallIndex.whole(1, 2, QUERIES), output_projection=None)
    return kinds


def softmax_of(call: AttentionInputs) -> textbook.Steps:
    """All steps of the textbook in float64."""
    return textbook.attend(call.to(CPU, torch.float64))


def assert_metrics(found, expected, rtol, atol) -> None:
    """Every metric of ``expected``, NaN where that is NaN."""
    for name, values in expected.items():
        np.testing.assert_allclose(np.asarray(found[name]), np.asarray(values), rtol=rtol, atol=atol, err_msg=name)


def rounding(call: AttentionInputs) -> float:
    """1e-5, and more where logits are so large that float32 rounds them by more than that."""
    steps = softmax_of(call)
    return 1e-5 + 2 * 2**-23 * max(steps.biased[steps.weights > 1e-12].abs().tolist(), default=0.0)


def assert_narrow(call: AttentionInputs, dtype: torch.dtype, options: InspectOptions) -> None:
    """Statistics in float32 of inputs rounded to ``dtype`` are those of the same numbers in float64."""
    rounded = call.to(CPU, dtype)
    found, expected = inspect(rounded, options), inspect(rounded.to(CPU, torch.float64), options)
    tolerance = rounding(rounded)
    assert_metrics(found.metrics, expected.metrics, tolerance, 2e-6)
    close = {"rtol": tolerance, "atol": tolerance, "check_dtype": False, "equal_nan": True}
    torch.testing.assert_close(found.output, expected.output, **close)
    torch.testing.assert_close(found.lse, expected.lse, **close)
    torch.testing.assert_close(found.pictures.weights, expected.pictures.weights, **close)
    torch.testing.assert_close(found.top.weight, expected.top.weight, **close)
