"""Hand-made results of ``attn check``."""

from __future__ import annotations

from attn_cli.attention.selection import Selection
from attn_cli.checks.types import CheckedCall, CheckResult
from attn_cli.inputs.types import CallRecord, Convention
from attn_cli.inspection.findings.rules import Rule
from attn_cli.inspection.types import Finding, Place, Severity

SCALE = Convention("scale", "0.3536 = 1/√8", "default")
LENGTHS = Convention("valid lengths", "10, 0", "file")
HINT = "Look where this tensor was computed: an overflow in half precision or a division by 0 is the usual source."
NAN = Finding("ATTN001", "error", "k holds 1 NaN at 1 key", Place("k", 1, 3, None, 4, 5), 1, HINT, 2)
EMPTY = Finding(
    "ATTN003",
    "warning",
    "10 query rows have no visible key in any head: weights and output are 0",
    Place(batch=1, query=0),
    10,
    "Give the row a key to attend to, or do not read its output.",
)
ALIGNMENT = Finding("ATTN004", "info", "causal order was aligned bottom-right", Place(query=0), 28)


def make_rule(number: int, name: str, severity: Severity) -> Rule:
    """A rule whose words do not change with those of attn's own."""
    return Rule(
        code=f"ATTN{number:03d}",
        name=name,
        severity=severity,
        sentence="A query row may attend to no key at all.",
        why="Softmax over nothing is not defined, and each framework answers in its own way: one gives 0, another NaN, "
        "a third uniform weights over the keys that were to be hidden.",
        example="A batch item with valid length 0; exp(−∞)/0 is NaN.",
        source="PyTorch issue 41508",
    )


RULES = (
    make_rule(1, "input not finite", "error"),
    make_rule(2, "weights or output broken", "error"),
    make_rule(3, "query row without a visible key", "warning"),
    make_rule(4, "causal alignment not chosen", "info"),
    make_rule(5, "kernel disagrees", "error"),
)


def make_checked(
    *findings: Finding,
    source: str = "layers.safetensors",
    layer: int | None = None,
    prefix: str = "",
    conventions: tuple[Convention, ...] = (SCALE,),
    ran: tuple[str, str] = ("flash", "_scaled_dot_product_flash_attention_for_cpu"),
    selection: Selection | None = None,
) -> CheckedCall:
    """One call with these findings."""
    record = CallRecord(
        source, prefix, layer, selection or Selection(), (), (), conventions, None, "bottom-right", align_chosen=True
    )
    return CheckedCall(
        call=record,
        shape=(2, 4, 10, 10),
        kv_heads=2,
        head_dim=8,
        value_dim=4,
        device="cpu",
        dtype="float32",
        backend_requested="auto",
        backend_ran=ran[0],
        kernel=ran[1],
        findings=findings,
    )


def make_layers() -> tuple[CheckedCall, ...]:
    """A file of four layers: the same warning in each, an error in one."""
    return tuple(
        make_checked(
            *([EMPTY, NAN] if layer == 2 else [EMPTY]),
            layer=layer,
            prefix=f"layers.{layer}",
            conventions=(SCALE, LENGTHS),
        )
        for layer in range(4)
    )


CLEAN = CheckResult((make_checked(source="clean.safetensors"),), RULES)
MANY = CheckResult(
    (
        make_checked(source="clean.safetensors", ran=("textbook", "attn_cli.attention.textbook")),
        *make_layers(),
        make_checked(ALIGNMENT, source="-", prefix="decoder.cross"),
    ),
    RULES,
)
STRICT = CheckResult(
    (make_checked(EMPTY, source="one.safetensors", selection=Selection((1,), (0, 2, 3))),),
    (RULES[2],),
    (*RULES[:2], *RULES[3:]),
    is_strict=True,
)
NOTED = CheckResult((make_checked(ALIGNMENT, source="one.safetensors"),), RULES)
RESULTS = {"check-clean": CLEAN, "check-many": MANY, "check-strict": STRICT, "check-noted": NOTED}
