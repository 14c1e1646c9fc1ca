"""What tests/inspection/test_triton.py has done in a process of its own, since Triton reads TRITON_INTERPRET once.

python -m tests.inspection.triton_runs interpret OUT.safetensors
python -m tests.inspection.triton_runs compile
"""

import math
import random
import sys
from dataclasses import dataclass, replace

import torch
from safetensors.torch import save_file

from attn_cli.attention.types import AttentionInputs
from attn_cli.inspection import call as call_module
from attn_cli.inspection.areas import Area
from attn_cli.inspection.call import Call
from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.options import InspectOptions
from attn_cli.inspection.rows import RowValues
from attn_cli.inspection.stream import worker
from attn_cli.inspection.stream.finish import finish
from attn_cli.inspection.stream.functions import Functions
from attn_cli.inspection.stream.online import OnlinePass
from attn_cli.inspection.stream.plan import Plan
from attn_cli.inspection.stream.spans import Spans
from attn_cli.inspection.stream.triton_pass import TritonPass, supports
from tests.attention.calls import make_call

OPTIONS = InspectOptions(picture_rows=4, picture_columns=4)
VALUES = ("lse", "entropy", "peak", "max_logit", "distance", "reference", "total")


@dataclass(frozen=True)
class Case:
    """A call, and the keys of a cell of its pictures."""

    inputs: AttentionInputs
    pool: int = 16

    @property
    def call(self):
        return Call.prepare(self.inputs)

    @property
    def plan(self):
        batch, _, queries, _ = self.inputs.weights_shape
        return Plan(batch, self.inputs.k.shape[1], queries, max(16, self.pool), 1, self.pool)

    def item(self, rows=slice(None)):
        batch, _, queries, _ = self.inputs.weights_shape
        rows = slice(*rows.indices(queries)[:2])
        return Area(slice(0, batch), slice(0, self.inputs.k.shape[1]), rows, self.call.groups)


def small(dtype=torch.float32, **given):
    """One batch item, two heads, 20 queries and 40 keys, unless said otherwise."""
    shape = {"batch": 1, "heads": 2, "queries": 20, "keys": 40, "features": 16}
    return make_call(**{**shape, **given}, dtype=dtype)


def extreme():
    """Whole logits from −10⁴ to 10⁴, so that nothing is rounded before the softmax."""
    call = small(scale=1.0, causal=True, kv_heads=1)
    k = torch.zeros_like(call.k)
    k[..., 0] = torch.linspace(-1e4, 1e4, 40).round()[torch.randperm(40, generator=torch.Generator().manual_seed(1))]
    return replace(call, q=torch.ones_like(call.q) * torch.tensor([1.0, -1.0])[:, None, None], k=k)


def crosswise():
    """Numbers of a head that do not lie side by side, and heads that lie behind the rows."""
    call = small(heads=4, kv_heads=2)
    q = call.q.transpose(1, 2).contiguous().transpose(1, 2)
    return replace(call, q=q, k=call.k.mT.contiguous().mT, v=call.v.transpose(1, 2).contiguous().transpose(1, 2))


def drawn(seed):
    """A call with rules by the draw."""
    draw = random.Random(seed)
    queries, keys = draw.randint(1, 40), draw.randint(17, 70)
    heads, kv_heads = draw.choice([(1, 1), (4, 2), (3, 1)])
    lens = torch.randint(0, keys + 1, (2, queries), generator=torch.Generator().manual_seed(seed))
    call = make_call(
        2, heads, kv_heads, queries, keys, draw.randint(1, 40), draw.randint(1, 40), torch.float32, seed,
        align=draw.choice(["bottom-right", "top-left", -7]),
        softcap=draw.choice([None, 3.0]),
        scale=draw.choice([None, 0.0, -0.5]),
        causal=draw.random() < 0.5,
        window=draw.choice([None, (5, 8), (-1, 2), (0, 0)]),
        valid_lens=draw.choice([None, lens, lens[:, 0]]),
        sinks=draw.choice([None, torch.linspace(-2, 2, heads)]),
    )  # fmt: skip
    return Case(call, draw.choice([16, 17, 23, 64]))


def cases() -> dict[str, Case]:
    row_lens = torch.arange(40).reshape(2, 20)
    made = {
        "plain": Case(small()),
        "causal bottom-right": Case(small(causal=True)),
        "causal top-left": Case(small(causal=True, align="top-left")),
        "causal, rows without keys": Case(small(causal=True, queries=50, keys=33)),
        "window": Case(small(window=(9, 3), queries=40)),
        "causal window": Case(small(window=(9, 0), causal=True, queries=40)),
        "valid lens": Case(small(batch=2, valid_lens=torch.tensor([23, 0]))),
        "valid lens of rows": Case(small(batch=2, valid_lens=row_lens)),
        "softcap": Case(small(softcap=1.5)),
        "softcap and large logits": Case(small(softcap=30.0, scale=20.0)),
        "grouped queries": Case(small(heads=6, kv_heads=2, causal=True)),
        "wide heads, no powers of two": Case(small(features=40, value_features=72)),
        "the widest heads": Case(small(features=256, value_features=256)),
        "negative scale": Case(small(scale=-0.7, causal=True)),
        "cells not of whole tiles": Case(small(keys=70, causal=True), pool=21),
        "one long cell": Case(small(keys=70), pool=100),
        "one query": Case(small(queries=1)),
        "extreme logits": Case(extreme()),
        "crosswise in memory": Case(crosswise()),
        "bfloat16": Case(small(torch.bfloat16, causal=True)),
        "float16": Case(small(torch.float16, features=40, value_features=72, kv_heads=1)),
        "bfloat16 softcap": Case(small(torch.bfloat16, softcap=2.0, scale=-1.0)),
    }
    return {**made, **{f"drawn {seed}": drawn(seed) for seed in range(12)}}


def measured(case: Case, sums) -> dict[str, torch.Tensor]:
    """What ``finish`` makes of the sums of all rows."""
    call, item = case.call, case.item()
    values = RowValues.empty(call, item)
    found = finish(call, item, sums, values, torch.empty_like(sums.output))
    assert found is not None
    return {"output": found.output, "cells": found.cells, **{name: getattr(values, name) for name in VALUES}}


def by_eager_tiles(case: Case) -> dict[str, torch.Tensor]:
    online = OnlinePass(case.call, Spans.of(case.inputs.rules.mask), case.plan, Functions())
    return measured(case, online.sums(case.item(), follow=True))


def interpret(path: str) -> None:
    """Run the kernel on every case, and a whole inspection on some, and write what came out."""
    torch.set_num_threads(1)  # the interpreter is no place for threads
    found = {}
    for name, case in cases().items():
        assert supports(case.call, case.plan) is None, name
        values = measured(case, TritonPass(case.call, case.plan).sums(case.item()))
        found |= {f"{name}/{field}": x.contiguous() for field, x in values.items()}
    case = cases()["causal window"]
    sums = TritonPass(case.call, case.plan).sums(case.item(slice(3, 17)))
    found |= {"rows of an item/output": sums.output, "rows of an item/z": sums.sums[1]}
    worker.choose_pass = lambda call, _, plan, __: TritonPass(call, plan)
    result = inspect(inspected(), OPTIONS)
    found |= {f"inspection/{name}": x for name, x in result.metrics.items()}
    found |= {"inspection/output": result.output, "inspection/pictures": result.pictures.weights}
    save_file({name: x.clone() for name, x in found.items()}, path)


def inspected() -> AttentionInputs:
    return small(batch=2, heads=4, kv_heads=2, queries=70, keys=70, causal=True, valid_lens=torch.tensor([70, 40]))


def compile_for_gpus() -> None:
    """Compile the kernel for a GPU that need not be there; the interpreter takes more than the compiler does."""
    from triton import compile as compile_kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from attn_cli.inspection.stream.triton_kernel import row_sums

    pointers = {"first_keys": "*i32", "behind_keys": "*i32", "places": "*i64"}
    pointers |= dict.fromkeys(("reference", "sums", "output", "cells"), "*fp32")
    floats = dict.fromkeys(("sign", "slope", "steepness"), "fp32")
    flags = {"IS_CAPPED": True, "FILLS_CELLS": False, "WIDENS": False}
    for dtype, capability, block in (("bf16", 80, 64), ("fp16", 90, 64), ("fp32", 80, 16)):
        inputs = dict.fromkeys("qkv", f"*{dtype}")
        sizes = {"D": 40, "DV": 64, "BLOCK_D": 64, "BLOCK_DV": 64, "BLOCK_M": block, "BLOCK_N": 16, **flags}
        known = {**inputs, **pointers, **floats, **dict.fromkeys(sizes, "constexpr")}
        signature = {name: known.get(name, "i32") for name in row_sums.arg_names}
        options = {"num_warps": 4, "num_stages": 2, "enable_fp_fusion": True}
        made = compile_kernel(ASTSource(row_sums, signature, sizes), GPUTarget("cuda", capability, 32), options)
        assert "tf32" not in made.asm["ptx"]
        print(dtype, capability, "mma" in made.asm["ptx"])


if __name__ == "__main__":
    call_module.LARGEST_IN_FLOAT32 = math.inf  # as on a GPU, where sums stay in float32
    if sys.argv[1] == "interpret":
        interpret(sys.argv[2])
    else:
        compile_for_gpus()
