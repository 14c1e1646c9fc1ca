"""The kinds of findings: their codes, which never change their meaning, and what each looks for."""

from __future__ import annotations

from dataclasses import dataclass

from attn_cli.attention.types import CallIndex
from attn_cli.inspection.types import Finding, Place, Severity


@dataclass(frozen=True)
class Rule:
    """One kind of finding, with what there is to know about it.

    Attributes:
        code: ``ATTN001`` and so on.
        name: a few words.
        severity: how bad it is; a finding may be milder than its rule.
        sentence: what it looks for.
        why: why that matters, in a sentence or two.
        example: how one comes to have it, and what it looks like.
        source: where it is described: an issue, a paper, a framework's documentation.
    """

    code: str
    name: str
    severity: Severity
    sentence: str
    why: str
    example: str
    source: str

    def finding(
        self, message: str, place: Place, count: int | None, hint: str, severity: Severity | None = None
    ) -> Finding:
        """A finding of this kind."""
        return Finding(self.code, severity or self.severity, message, place, count, hint)


NONFINITE_INPUT = Rule(
    code="ATTN001",
    name="input not finite",
    severity="error",
    sentence="q, k, v or a projection holds a NaN or an infinity, or bias or sinks hold a NaN or +∞.",
    why="One NaN in K or V reaches every query that may attend to its key; one in Q breaks its own row. What the fused "
    "kernels make of it differs, so that it may show far from where it arose.",
    example="A float16 projection overflows to +∞ at one key; every row that sees the key becomes NaN.",
    source="PyTorch issues 103749 and 163997",
)
NONFINITE_RESULT = Rule(
    code="ATTN002",
    name="weights or output broken",
    severity="error",
    sentence="A query row has a visible logit of NaN or +∞, visible logits of −∞ alone, or a weight or an output that "
    "is not finite.",
    why="Such a row has no weights by the definition of softmax; what is computed from it is meaningless.",
    example="q·kᵀ overflows to +∞ for one pair: exp(∞)/∞ is NaN, and with it the whole row.",
    source="Vaswani 2017, equation 1; PyTorch issue 110213",
)
EMPTY_ROW = Rule(
    code="ATTN003",
    name="query row without a visible key",
    severity="warning",
    sentence="A query row may attend to no key at all.",
    why="Softmax over nothing is not defined, and each framework answers in its own way: scaled_dot_product_attention "
    "gives 0, nn.MultiheadAttention gives NaN with weights, and without them NaN in eval mode under no_grad and else "
    "0, a finite mask constant gives uniform weights over the keys that were to be hidden.",
    example="A batch item with valid length 0; or causal order aligned bottom-right with more queries than keys.",
    source="PyTorch issues 103749 and 41508; Zhang et al., Dive into Deep Learning, 11.3 (masked_softmax)",
)
UNDECIDED_ALIGNMENT = Rule(
    code="ATTN004",
    name="causal alignment not chosen",
    severity="info",
    sentence="Causal order or a window is on, Sq differs from Sk, and no alignment was chosen.",
    why="PyTorch's is_causal puts the first query on the first key, FlashAttention since 2.1 the last query on the "
    "last key. With a KV cache the former lets a new token see the oldest keys alone.",
    example="One new query beside 100 cached keys: top-left shows it key 0 and hides the other 99.",
    source="PyTorch issue 108108; flash-attention issues 282, 517 and 1778",
)
KERNEL_DISAGREES = Rule(
    code="ATTN005",
    name="kernel disagrees",
    severity="error",
    sentence="The kernel's output differs from the inspected weights times V by more than its dtype explains, or in "
    "what is finite; the former alone is a warning.",
    why="Then the weights shown are not those that made the output: the kernel hides a fault, or has one.",
    example="PyTorch's CPU scaled_dot_product_attention returns 0, not NaN, for a query row holding a NaN when "
    "there are fewer keys than the processor takes at once (seen with PyTorch 2.13: 8 in float32 with AVX2, 16 with "
    "AVX-512).",
    source="attn's own comparison of both outputs, value by value",
)

RULES: tuple[Rule, ...] = (NONFINITE_INPUT, NONFINITE_RESULT, EMPTY_ROW, UNDECIDED_ALIGNMENT, KERNEL_DISAGREES)


def place_in_call(
    index: CallIndex,
    tensor: str | None = None,
    batch: int | None = None,
    head: int | None = None,
    query: int | None = None,
    key: int | None = None,
) -> Place:
    """A place in the whole call, from its numbers in the selection. Keys are never selected."""
    return Place(
        tensor=tensor,
        batch=None if batch is None else index.batch[batch],
        head=None if head is None else index.heads[head],
        query=None if query is None else int(index.queries[query]),
        key=key,
    )


def counted(number: int, noun: str) -> str:
    """``1 query row``, ``2 query rows``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
