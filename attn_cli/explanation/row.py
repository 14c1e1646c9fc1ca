"""The numbers of a row and of a cell, taken from its steps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attn_cli.explanation.hiding import causes
from attn_cli.explanation.one_row import OneRow
from attn_cli.explanation.steps import RowSteps
from attn_cli.explanation.types import Cell, Dot, Extent, Part, Row, Term, TopKey


def row_of(row: OneRow, steps: RowSteps, top: int) -> Row:
    """The whole row, with its ``top`` strongest keys."""
    rules, seen = steps.rules, steps.visible
    entropy = float(torch.special.entr(steps.weights).sum())
    projected = row.project(steps.output)
    strongest = _strongest(row, steps, top)
    has_weight = int((seen | (steps.weights != 0)).sum())
    return Row(
        scale=steps.scale,
        is_default_scale=rules.scale is None,
        has_bias=rules.bias is not None,
        softcap=rules.softcap,
        sink=None if rules.sinks is None else float(rules.sinks[0]),
        mask_value=rules.mask.value,
        scores=_extent(steps.scores, seen),
        scaled=_extent(steps.scaled, seen),
        capped=_extent(steps.capped, seen),
        biased=_extent(steps.biased, seen),
        rules=tuple(hider.kind for hider in steps.hiders),
        causes=causes(steps.hiders),
        visible=int(seen.sum()),
        outweighed=int((steps.reached & ~seen).sum()),
        largest=_largest(steps.logits),
        reference=steps.reference,
        exponentials=float(steps.exponentials.sum()),
        sink_exponential=steps.sink_exponential,
        denominator=steps.total,
        sink_weight=steps.sink_weight,
        lse=steps.lse,
        entropy=entropy,
        effective_keys=math.exp(entropy),
        hidden_weight=float(steps.weights[~seen].sum()),
        top=strongest,
        others=has_weight - len(strongest),
        output=tuple(steps.output.tolist()),
        output_norm=float(steps.output.norm()),
        projected_norm=None if projected is None else float(projected.norm()),
    )


def cell_of(row: OneRow, steps: RowSteps, key: int, top: int) -> Cell:
    """One cell, with the ``top`` largest parts of each dot product."""
    here = slice(key, key + 1)
    value, weight = row.values(here)[0], steps.weights[key]
    projected, whole = row.project(value), row.project(steps.output)
    bias = steps.rules.bias
    return Cell(
        key=key,
        hidden_by=causes(steps.hiders, key),
        score=dot(steps.query, row.keys(here)[0], top),
        scaled=float(steps.scaled[key]),
        capped=float(steps.capped[key]),
        bias=None if bias is None else float(bias[0, 0, 0].expand(row.num_keys)[key]),
        biased=float(steps.biased[key]),
        logit=float(steps.logits[key]),
        exponential=float(steps.exponentials[key]),
        weight=float(weight),
        part=_part(value, weight, steps.output, top),
        projected=None if projected is None or whole is None else _part(projected, weight, whole, top),
    )


def dot(first: Tensor, second: Tensor, top: int) -> Dot:
    """The dot product of two vectors, its ``top`` largest parts told one by one."""
    products = first * second
    size = torch.where(products.isfinite(), products.abs(), torch.inf)
    order = torch.sort(size, descending=True, stable=True).indices
    largest, others = order[:top], order[top:]
    columns = zip(largest.tolist(), *(x[largest].tolist() for x in (first, second, products)), strict=True)
    terms = tuple(Term(*column) for column in columns)
    return Dot(terms, len(others), float(products[others].sum()), float(products.sum()))


def _part(value: Tensor, weight: Tensor, whole: Tensor, top: int) -> Part:
    added = weight * value
    along = dot(added, whole, top)
    values = tuple(float(value[term.feature]) for term in along.terms)
    norm = value.norm()  # not ‖added‖, whose squares may be too small for float64
    return Part(float(norm), float(weight * norm), along, values, _share(along.total, whole))


def _share(along: float, whole: Tensor) -> float:
    """NaN where the whole is 0, of which nothing is a share."""
    square = float(whole.square().sum())
    return along / square if square else math.nan


def _extent(x: Tensor, seen: Tensor) -> Extent | None:
    keys = seen.nonzero().flatten()
    if not len(keys):
        return None
    shown = x[keys]
    least, most = shown.min(dim=0), shown.max(dim=0)
    return Extent(float(least.values), int(keys[least.indices]), float(most.values), int(keys[most.indices]))


def _largest(logits: Tensor) -> tuple[float, int] | None:
    key = int(logits.argmax())
    return None if logits[key] == -torch.inf else (float(logits[key]), key)


def _strongest(row: OneRow, steps: RowSteps, top: int) -> tuple[TopKey, ...]:
    """The keys of the largest weight, the first of equals first; of a broken row those of the largest logit."""
    keys = _order(steps, top)
    running, told = 0.0, []
    for key in keys:
        weight = float(steps.weights[key])
        running += weight
        along = float(row.values(slice(key, key + 1))[0] @ steps.output)
        share = _share(weight * along, steps.output)
        visible, logit = bool(steps.visible[key]), float(steps.logits[key])
        told.append(TopKey(key, visible, logit, weight, running, along, share))
    return tuple(told)


def _order(steps: RowSteps, top: int) -> list[int]:
    weights = steps.weights
    is_sound = not bool(weights.isnan().any())
    rank = weights if is_sound else steps.logits.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
    eligible = (steps.visible | (weights != 0)) if is_sound else steps.visible
    keys = eligible.nonzero().flatten()
    if len(keys) > top:  # the first of equals first, without sorting a long context
        least = rank[keys].topk(top).values[-1]
        keys = torch.cat([keys[rank[keys] > least], keys[rank[keys] == least][:top]])
    order = torch.sort(rank[keys], descending=True, stable=True).indices
    return [int(key) for key in keys[order][:top]]
