"""Hand-made comparisons with exact, simple numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from attn_cli.attention.selection import Selection
from attn_cli.differences.heads import Numbers, compare_heads
from attn_cli.differences.maps import MapSize
from attn_cli.differences.rules import call_findings, lonely_finding, tensor_finding
from attn_cli.differences.sources import Stored
from attn_cli.differences.types import (
    CallDifference,
    Compared,
    DiffResult,
    Measured,
    Ran,
    SideRecord,
    TensorDifference,
    Tolerance,
    Worst,
)
from attn_cli.inputs.types import CallRecord, Convention, TensorInfo

TOLERANCE = Tolerance(1e-5, 1.3e-6, "float32")
HALF = Tolerance(1e-5, 1.6e-2, "bfloat16")
SDPA = Ran("cpu", "float32", "sdpa", "flash", "_scaled_dot_product_flash_attention_for_cpu")
TEXTBOOK = Ran("cpu", "float32", "textbook", "textbook", "attn_cli.attention.textbook")
AUTO = Ran("cpu", "bfloat16", "auto", "textbook", "attn_cli.attention.textbook", "there is a softcap")


def record(
    prefix: str = "", layer: int | None = None, align: str = "bottom-right", source: str = "a.safetensors"
) -> CallRecord:
    """How a call was read."""
    conventions = (Convention("scale", "0.5 = 1/√4", "default"), Convention("alignment", align, "--causal-align"))
    return CallRecord(source, prefix, layer, Selection(), (), (), conventions, None, align, True)


def compared(
    quantity: str, changes: dict[tuple[int, int, int, int], float], heads: int = 3, columns: int = 6, batch: int = 2,
    queries: int = 4, tolerance: Tolerance = TOLERANCE, left: dict[tuple[int, int, int, int], float] | None = None,
) -> Compared:  # fmt: skip
    """Heads of equal values, but for some that are changed on the right, or on the left too."""
    ours = torch.full((batch, heads, queries, columns), 1 / columns if quantity == "weights" else 0.5).double()
    theirs = ours.clone()
    for x, changed in ((ours, left or {}), (theirs, changes)):
        for place, value in changed.items():
            x[place] = value
    numbers = Numbers(tuple(range(batch)), tuple(range(heads)), torch.arange(queries))
    return compare_heads(Stored(ours), Stored(theirs), quantity, tolerance, numbers, MapSize(16, 32))


def result(
    calls: tuple[CallDifference, ...] = (),
    tensors: tuple[TensorDifference, ...] = (),
    only_left: tuple[TensorInfo, ...] = (),
    only_right: tuple[TensorInfo, ...] = (),
    is_one_input: bool = True,
    notes: tuple[str, ...] = (),
) -> DiffResult:
    """A whole comparison with the findings that follow from it."""
    found = [(None, lonely_finding(*side)) for side in (("left", only_left), ("right", only_right))]
    found += [(None, tensor_finding(tensor)) for tensor in tensors]
    found += [(call.left, finding) for call in calls for finding in call_findings(call)]
    findings = tuple((call, finding) for call, finding in found if finding is not None)
    names = ("a.safetensors", "a.safetensors" if is_one_input else "b.safetensors")
    left, right = (SideRecord(name, "cpu", None, "auto") for name in names)
    return DiffResult(
        left, right, is_one_input, None, None, tensors, only_left, only_right, calls, (), (), findings, notes
    )


def tensor(
    name: str, shape: tuple[int, ...] = (2, 3), dtype: str = "float32", other: str | None = None
) -> TensorDifference:
    """A tensor whose values are the same."""
    left, right = TensorInfo(name, shape, dtype), TensorInfo(name, shape, other or dtype)
    measured = Measured(0.0, 0.0, 0.0, 1.0, 0.0, math.prod(shape), 0, 0, 0, None, None)
    return TensorDifference(left, right, None, (None,) * len(shape), TOLERANCE, measured)


def call(output: Compared, weights: Compared | None = None, layer: int | None = None) -> CallDifference:
    """A call on both sides."""
    prefix = "" if layer is None else f"layers.{layer}"
    return CallDifference(record(prefix, layer), record(prefix, layer), SDPA, TEXTBOOK, output, weights)


SAME = compared("output", {})
NEAR = compared("output", {(0, 1, 2, 3): 0.5 + 2**-20})
FAR = compared("output", {(0, 1, 2, 3): 0.75, (1, 2, 0, 5): 0.5625})
ODD = compared("output", {(1, 0, 3, 1): math.nan, (1, 0, 3, 2): math.inf})
CELL = compared("weights", {(1, 2, 3, 4): 0.25})
LONG = compared("output", {(0, 0, row, column): 1.5 for row in range(0, 200, 7) for column in range(0, 64, 5)},
                heads=1, columns=64, batch=1, queries=200)  # fmt: skip

PERTURBED = TensorDifference(
    TensorInfo("weights", (2, 3, 4, 6), "float32"), TensorInfo("weights", (2, 3, 4, 6), "float32"), "weights",
    ("batch", "head", "query", "key"), TOLERANCE, CELL.total, (1, 2, 3, 4),
    (("batch", 1), ("head", 2), ("query", 3), ("key", 4)), CELL,
)  # fmt: skip
SHAPES = TensorDifference(
    TensorInfo("k", (2, 3), "float32"), TensorInfo("k", (2, 4), "float32"), "k", ("key", "feature")
)
INDEXED = TensorDifference(
    TensorInfo("x", (2, 3), "int64"), TensorInfo("x", (2, 3), "int64"), None, (None, None), Tolerance(0, 0, "int64"),
    Measured(2.0, 0.5, math.nan, 0.9, 2.0, 6, 1, 0, 0, Worst(1, 2, 4.0, 6.0), None), (1, 2),
)  # fmt: skip

NAN = compared("output", {(0, 0, 0, 0): math.nan}, left={(0, 0, 0, 0): math.nan})
MANY = compared("output", {(0, head, row, 0): 0.501 for head in range(39) for row in range(4)}
                | {(0, 39, 1, 2): 5.5}, heads=40, batch=1)  # fmt: skip
WRONG_OUTPUT = TensorDifference(
    TensorInfo("a.output", (2, 3, 4, 6), "float32"), TensorInfo("b.context", (2, 3, 4, 6), "float32"), "output",
    ("batch", "head", "query", "feature"), TOLERANCE, FAR.total, (0, 1, 2, 3),
    (("batch", 0), ("head", 1), ("query", 2), ("feature", 3)), FAR,
)  # fmt: skip

RESULTS = {
    "within": result((call(NEAR),)),
    "equal": result((call(SAME),)),
    "beyond": result((call(FAR, CELL),)),
    "odd": result((CallDifference(record(), record(align="top-left"), AUTO, TEXTBOOK, ODD, notes=("a note",)),)),
    "long": result((call(LONG),)),
    "layers": result(tuple(call(part, layer=layer) for layer, part in enumerate((SAME, FAR, NEAR, ODD, FAR)))),
    "files": result(
        (),
        (tensor("lse"), PERTURBED, tensor("half", other="float16"), SHAPES, INDEXED),
        (TensorInfo("here", (1,), "float32"),),
        (TensorInfo("there", (1,), "float32"), TensorInfo("\x1b[31mred", (1,), "float32")),
        is_one_input=False,
        notes=("the files hold other numbers of head; places are those of the left file",),
    ),
    "prefixes": result((replace(call(SAME, layer=0), right=record("h.0", 0)),), (WRONG_OUTPUT,), is_one_input=False),
    "nan": result((CallDifference(record(), record(), SDPA, TEXTBOOK, NAN, notes=("a note",)),)),
    "many": result((call(MANY),)),
    "reason": result(
        (CallDifference(record(), record(), SDPA, TEXTBOOK, reason="the output is (1, 2), of the right (1, 3)"),)
    ),
}
