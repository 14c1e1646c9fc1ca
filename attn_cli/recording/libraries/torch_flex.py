"""PyTorch's ``flex_attention`` (Dong 2024, arXiv 2412.05496), called as it is or compiled by itself."""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor

from attn_cli.recording.libraries.arguments import arguments, output_of
from attn_cli.recording.libraries.base import Args, Kwargs, PassedOver, Point
from attn_cli.recording.libraries.flex_cells import BlockStructure, FlexCall
from attn_cli.recording.libraries.flex_rules import flex_rules
from attn_cli.recording.types import RawCall

MODULE, NAME = "torch.nn.attention.flex_attention", "flex_attention"
TENSORS = ("query", "key", "value")
RULES = ("score_mod", "block_mask", "scale", "enable_gqa")
UNDERSTOOD = frozenset((*TENSORS, *RULES, "return_lse", "return_aux", "kernel_options"))
NO_BLOCKS = 1 << 30  # the block size of the mask that stands for none


def translate(args: Args, kwargs: Kwargs, result: Any, is_compiled: bool = False) -> RawCall:
    """One call of ``flex_attention``.

    The block mask becomes rules or a keep mask, the score_mod a softcap, a bias or both, the bias being what the
    score_mod adds to this call's own logits. Both are called once more, block by block, with these inputs.

    Args:
        args: what it was given by place.
        kwargs: what it was given by name.
        result: the output, or a tuple that begins with it.
        is_compiled: True where the kernel obeys the block mask's blocks too; the uncompiled function calls mask_mod
            alone.

    Raises:
        PassedOver: see :func:`flex_rules`.
    """
    given = arguments(MODULE, NAME, args, kwargs, UNDERSTOOD)
    q, output = given["query"], output_of(result)
    k, v = (_for_batch(given[name], q.shape[0]) for name in ("key", "value"))
    scale = given.get("scale")
    block_mask = given.get("block_mask")
    rules = flex_rules(
        FlexCall(
            q=q,
            k=k,
            scale=q.shape[-1] ** -0.5 if scale is None else float(scale),
            score_mod=given.get("score_mod"),
            mask_mod=None if block_mask is None else block_mask.mask_mod,
            blocks=BlockStructure.of(block_mask) if is_compiled and _has_blocks(block_mask) else None,
        )
    )
    return RawCall(
        q=q,
        k=k,
        v=v,
        mask=rules.mask,
        form=rules.form,
        bias=rules.bias,
        scale=None if scale is None else float(scale),
        softcap=rules.softcap,
        output=output,
    )


translate_compiled = functools.partial(translate, is_compiled=True)

POINTS = (Point(MODULE, NAME, NAME, translate),)


def _for_batch(x: Tensor, batch: int) -> Tensor:
    """Keys or values ``(B, Hkv, Sk, D)``; a batch of one is there for all queries' batch items."""
    if x.shape[0] not in (1, batch):
        raise PassedOver("batches of keys and queries that do not fit")
    return x.expand(batch, -1, -1, -1)


def _has_blocks(block_mask: Any) -> bool:
    return block_mask is not None and tuple(block_mask.BLOCK_SIZE) != (NO_BLOCKS, NO_BLOCKS)
