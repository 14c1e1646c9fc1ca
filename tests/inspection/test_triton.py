"""The Triton kernel's arithmetic, in Triton's interpreter on the CPU; on a GPU where one is at hand."""

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.nn import functional as F

from attn_cli.attention import textbook, torch_compat
from attn_cli.inspection.call import Call
from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.logits import VISIBLE_ABOVE
from attn_cli.inspection.stream.functions import Functions
from attn_cli.inspection.stream.online import OnlinePass
from attn_cli.inspection.stream.passes import PassOrElse, choose_pass
from attn_cli.inspection.stream.plan import Plan, make_plan
from attn_cli.inspection.stream.spans import Spans
from attn_cli.inspection.stream.triton_pass import LEAST, choose_blocks, supports
from tests.cli.process import ROOT, environment, python
from tests.inspection.triton_runs import OPTIONS, VALUES, by_eager_tiles, cases, inspected, small

CASES = cases()
needs_triton = pytest.mark.skipif(not torch_compat.has_triton(), reason="Triton is not installed")


def run_apart(*arguments, **variables):
    command = [sys.executable, "-m", "tests.inspection.triton_runs", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment(**variables))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    path = tmp_path_factory.mktemp("triton") / "found.safetensors"
    run_apart("interpret", path, TRITON_INTERPRET="1")
    return load_file(path)


def of_case(interpreted, name):
    return {field: interpreted[f"{name}/{field}"] for field in ("output", "cells", *VALUES)}


def output_rtol(dtype):
    """The weights are rounded to the inputs' dtype before they meet V, as fused kernels do."""
    return 1e-5 if dtype == torch.float32 else torch.finfo(dtype).eps


def by_the_textbook(case):
    """In float64, from all weights at once."""
    call = case.inputs.to(torch.device("cpu"), torch.float64)
    steps, mask = textbook.attend(call), call.rules.mask
    apart = (mask.places[:, None] - torch.arange(mask.num_keys)).abs().double()
    lse = total = torch.logsumexp(steps.masked, dim=-1)
    if call.rules.sinks is not None:
        total = torch.logaddexp(lse, call.rules.sinks[:, None])
    logs = torch.where(steps.masked == -torch.inf, -torch.inf, steps.masked - total[..., None])  # none underflows
    return {
        "output": steps.output,
        "lse": lse,
        "entropy": torch.special.entr(steps.weights).sum(dim=-1),
        "peak": steps.weights.amax(dim=-1),
        "max_logit": steps.masked.amax(dim=-1),
        "distance": torch.einsum("bhrk,rk->bhr", steps.weights, apart),
        "cells": F.max_pool1d(logs.flatten(0, 2)[:, None], case.pool, ceil_mode=True).view(*logs.shape[:3], -1),
    }


@needs_triton
@pytest.mark.parametrize("name", CASES)
def test_the_kernel_gives_the_textbooks_numbers(interpreted, name):
    found, expected = of_case(interpreted, name), by_the_textbook(CASES[name])
    atol = 1e-3 if name == "extreme logits" else 3e-5  # an lse of 10⁴ has no more digits in float32
    found["cells"] = torch.where(found["cells"] > VISIBLE_ABOVE, found["cells"].double(), -torch.inf)
    output, wide = found.pop("output"), expected.pop("output")
    scale = float(wide.abs().max())
    rtol = output_rtol(CASES[name].inputs.dtype)
    torch.testing.assert_close(output, wide, rtol=rtol, atol=rtol * max(scale, 1e-6), check_dtype=False)
    for field, values in expected.items():
        close = {"rtol": 1e-5, "atol": atol, "check_dtype": False}
        torch.testing.assert_close(found[field], values, **close, msg=lambda text, of=field: f"{of}: {text}")


@needs_triton
@pytest.mark.parametrize("name", CASES)
def test_the_kernel_gives_the_eager_tiles_numbers(interpreted, name):
    """Both refer to different logits: only what follows from the sums is the same."""
    found, expected = of_case(interpreted, name), by_eager_tiles(CASES[name])
    hidden = expected["cells"] <= VISIBLE_ABOVE
    assert torch.equal(found["cells"] <= VISIBLE_ABOVE, hidden)
    rtol = output_rtol(CASES[name].inputs.dtype)
    torch.testing.assert_close(found["output"], expected["output"], rtol=rtol, atol=2 * rtol, check_dtype=False)
    found, expected = ({**x, "log of total": x["reference"] + x["total"].log()} for x in (found, expected))
    for field in ("lse", "entropy", "peak", "max_logit", "distance", "log of total"):
        close = {"rtol": 1e-5, "atol": 1e-3 if name == "extreme logits" else 3e-5, "check_dtype": False}
        torch.testing.assert_close(found[field], expected[field], **close, msg=lambda text, of=field: f"{of}: {text}")


@needs_triton
def test_some_rows_of_the_call_give_what_they_give_among_all(interpreted):
    whole = interpreted["causal window/output"][:, :, 3:17]
    some = interpreted["rows of an item/output"] / interpreted["rows of an item/z"][..., None]
    torch.testing.assert_close(some, whole, rtol=1e-5, atol=1e-6)


@needs_triton
def test_a_whole_inspection_by_the_kernel_is_the_eager_one(interpreted):
    expected = inspect(inspected().to(torch.device("cpu"), torch.float64), OPTIONS)
    for name, values in expected.metrics.items():
        found = interpreted[f"inspection/{name}"]
        torch.testing.assert_close(found, values, rtol=1e-5, atol=1e-6, equal_nan=True, check_dtype=False, msg=name)
    torch.testing.assert_close(interpreted["inspection/output"].double(), expected.output, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(interpreted["inspection/pictures"], expected.pictures.weights, rtol=1e-5, atol=1e-7)


@needs_triton
def test_the_kernel_compiles_for_gpus(tmp_path):
    told = run_apart("compile", TRITON_CACHE_DIR=str(tmp_path), TRITON_INTERPRET="")
    assert told.split("\n")[:2] == ["bf16 80 True", "fp16 90 True"]  # with the tensor cores' instructions


def test_an_inspection_on_the_cpu_never_imports_triton():
    script = (
        "import sys, torch\n"
        "from attn_cli.inspection.inspector import inspect\n"
        "from tests.inspection.triton_runs import small\n"
        "inspect(small())\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'triton']\n"
    )
    done = python(script)
    assert done.returncode == 0, done.err


PLAN = Plan(1, 2, 20, 16, 1, 16)
REFUSED = {
    "dtype": (small(torch.float64), PLAN),
    "several dtypes": (replace(small(), k=small().k.half()), PLAN),
    "features": (small(features=257), PLAN),
    "value features": (small(value_features=300), PLAN),
    "bias": (small(bias=torch.zeros(1, 1, 1, 40)), PLAN),
    "keep": (small(keep=torch.ones(1, 1, 1, 40, dtype=torch.bool)), PLAN),
    "value": (small(value=-1e6), PLAN),
    "tokens": (replace(small(), token_ids=torch.zeros(1, 40, dtype=torch.int64)), PLAN),
    "small cells": (small(), replace(PLAN, key_pool=LEAST - 1)),
}


@pytest.fixture
def interpreter(monkeypatch):
    monkeypatch.setattr(torch_compat, "has_triton", lambda: True)
    monkeypatch.setattr(torch_compat, "triton_interprets", lambda: True)


@pytest.mark.usefixtures("interpreter")
@pytest.mark.parametrize("name", REFUSED)
def test_what_the_kernel_cannot_take_is_left_to_the_eager_tiles(name):
    inputs, plan = REFUSED[name]
    assert supports(Call.prepare(small()), PLAN) is None
    assert isinstance(supports(Call.prepare(inputs), plan), str)


def test_without_triton_or_without_a_gpu_the_eager_tiles_serve(monkeypatch):
    call = Call.prepare(small())
    monkeypatch.setattr(torch_compat, "triton_interprets", lambda: False)
    monkeypatch.setattr(torch_compat, "has_triton", lambda: True)
    assert "CUDA" in str(supports(call, PLAN))
    monkeypatch.setattr(torch_compat, "has_triton", lambda: False)
    assert supports(call, PLAN) == "Triton is not installed"
    assert isinstance(choose_pass(call, Spans.of(call.inputs.rules.mask), PLAN, Functions()), OnlinePass)


class Pass:
    """Counts its calls, and fails at those numbered."""

    def __init__(self, error=None, at=()):
        self.error, self.at, self.calls = error, at, 0

    def sums(self, item, follow=False):
        self.calls += 1
        if self.error is not None and self.calls in self.at:
            raise self.error
        return self


@pytest.mark.parametrize(
    "error", [subprocess.CalledProcessError(1, "cc"), RuntimeError("Failed to find C compiler.")], ids=["cc", "no cc"]
)
@needs_triton
def test_where_triton_cannot_make_its_kernel_the_other_pass_takes_over_for_good(error):
    first, other, made = Pass(error, at=[2]), Pass(), []
    both = PassOrElse(first, lambda: made.append(1) or other)
    assert [both.sums(None), both.sums(None), both.sums(None)] == [first, other, other]
    assert (first.calls, made) == (2, [1])


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("out of memory"), RuntimeError("a launch failed"), ValueError()]
)
@needs_triton
def test_other_failures_are_not_hidden(error):
    with pytest.raises(type(error)):
        PassOrElse(Pass(error, at=[1]), Pass).sums(None)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([16, 64, 128, 256]),
    st.sampled_from([16, 64, 128, 256]),
    st.sampled_from([2, 4]),
    st.integers(1, 5000),
    st.integers(LEAST, 5000),
    st.sampled_from([2**16, 100 * 2**10, 227 * 2**10]),
)
def test_sizes_fit_the_gpu_and_waste_few_keys(features, channels, itemsize, rows, pool, shared):
    blocks = choose_blocks(features, channels, itemsize, rows, pool, shared)
    for size in (blocks.rows, blocks.keys):
        assert size >= LEAST
        assert size & (size - 1) == 0
    assert blocks.shared_bytes(features, channels, itemsize) <= shared
    assert -(-pool // blocks.keys) * blocks.keys < 2 * max(pool, LEAST)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device here")
@needs_triton
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("features", [64, 72, 128, 256])
def test_on_a_gpu_the_kernel_gives_float64s_metrics(dtype, features):
    call = small(dtype, batch=2, heads=8, kv_heads=2, queries=700, keys=1500, features=features, causal=True)
    on_gpu = call.to(torch.device("cuda"), dtype)
    prepared = Call.prepare(on_gpu)
    chosen = choose_pass(prepared, Spans.of(prepared.inputs.rules.mask), Plan(2, 2, 512, 1024, 2, 24), Functions())
    assert isinstance(chosen, PassOrElse)
    expected, found = inspect(call.to(torch.device("cpu"), torch.float64)), inspect(on_gpu)
    rtol = output_rtol(dtype)
    for name, values in expected.metrics.items():
        close = {
            "rtol": rtol if name.startswith("output") else 1e-5,
            "atol": 1e-6,
            "equal_nan": True,
            "check_dtype": False,
        }
        torch.testing.assert_close(found.metrics[name], values, **close, msg=name)
    torch.testing.assert_close(found.output.double(), expected.output, rtol=rtol, atol=2 * rtol)


@pytest.mark.parametrize(
    ("batch", "heads", "kv_heads", "queries"), [(1, 32, 8, 32768), (1, 1, 1, 131072), (8, 12, 12, 512), (2, 200, 1, 9)]
)
def test_on_a_gpu_an_item_holds_many_rows_in_bounded_memory(batch, heads, kv_heads, queries):
    """The plan asks a call for its shapes and device alone."""
    q = torch.empty(batch, heads, queries, 128, device="meta")
    k = torch.empty(batch, kv_heads, queries, 128, device="meta")
    inputs = SimpleNamespace(q=q, k=k, weights_shape=(*q.shape[:3], queries))
    plan = make_plan(
        SimpleNamespace(inputs=inputs, groups=heads // kv_heads, device=torch.device("cuda")), OPTIONS, 512
    )
    rows_of_item = plan.batch * plan.kv_heads * heads // kv_heads * min(plan.rows * plan.blocks, queries)
    assert min(batch * heads * queries, 2**15) <= rows_of_item <= 2**16
    assert plan.batch * plan.kv_heads * heads // kv_heads * plan.rows * plan.keys <= 2**26
