"""The same case in float64, and how far a contender lies from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention import textbook
from attn_cli.attention.blocks import row_blocks
from attn_cli.attention.types import AttentionInputs, CallIndex, Rules
from attn_cli.benchmark.gradients import Gradient, key_gradients, query_gradient
from attn_cli.benchmark.inputs import Drawn
from attn_cli.benchmark.rounding import explained, least_allowed, output_scale, weight_noise

SCORES = {"cuda": 2**30, "cpu": 2**26}  # that are computed in float64: about a second on a common device of its kind
BACKWARD_COST = 4
PATIENCE = 16  # times those scores, for one pass over all rows of one key/value head, which a key's gradient needs
MOST_KEYS = 512
SCORES_AT_ONCE = {"cuda": 2**25, "cpu": 2**22}
OUTPUT, KEYS, VALUES = 0, 1, 2  # places among a contender's results; the first is the output, or the gradient of Q

Place = tuple[int, int]


@dataclass(frozen=True)
class Part:
    """What float64 gives for some rows of one result.

    Attributes:
        result: which of a contender's results.
        batch: batch item.
        heads: its heads.
        rows: ``(R,)`` int64.
        expected: ``(H, R, D)`` float64.
        allowed: ``(H, R)`` float64, how far each row's numbers may lie from that.
    """

    result: int
    batch: int
    heads: slice
    rows: Tensor
    expected: Tensor
    allowed: Tensor


@dataclass(frozen=True)
class Reference:
    """What float64 gives for a case, or for a part of it.

    Attributes:
        parts: all that is compared.
        checked_rows: query rows of each head that are.
        left_out: what of the gradients is compared where not all of it is, else None.
    """

    parts: tuple[Part, ...]
    checked_rows: int
    left_out: str | None = None


@dataclass(frozen=True)
class Difference:
    """A contender beside the reference.

    Attributes:
        max_abs_error: the largest difference; NaN or infinite where the contender's number is and the reference's is
            not.
        tolerance: what the dtype explains of it, in its row.
        share: the largest difference over what the dtype explains in its own row, of all rows.
        worst_error, worst_tolerance: those of the row with that share.
    """

    max_abs_error: float
    tolerance: float
    share: float
    worst_error: float
    worst_tolerance: float

    @property
    def is_within(self) -> bool:
        """True where the dtype explains the difference in every row; a NaN never is."""
        return self.share <= 1


def make_reference(drawn: Drawn, scores: int | None = None) -> Reference:
    """Compute a case in float64 by the textbook, and its gradients by the chain rule.

    All of it where that is cheap. Beyond that, of a forward pass evenly spread rows of every head are computed, the
    first and the last among them; of a backward pass evenly spread key/value heads. Where not even one of these is
    cheap, the gradients of spread queries of every head, each of which needs its own row alone, and of spread keys of
    the first head, all of which need one pass over all rows, unless that would take many times as long.

    Args:
        drawn: the case.
        scores: how many may be computed; None is what the device does in about a second.
    """
    scores = SCORES[_home(drawn).type] if scores is None else scores
    case = drawn.case
    places = [(b, h) for b in range(case.batch) for h in range(case.kv_heads)]
    of_group = case.heads // case.kv_heads * case.keys
    with torch.no_grad():
        if drawn.gradient is None:
            rows = _spread(case.queries, scores // (len(places) * of_group)).to(_home(drawn))
            return Reference(tuple(_output(drawn, place, rows) for place in places), len(rows))
        affordable = scores // (BACKWARD_COST * of_group * case.queries)
        return _whole(drawn, places, affordable) if affordable else _spread_out(drawn, places, scores // of_group)


def _whole(drawn: Drawn, places: Sequence[Place], affordable: int) -> Reference:
    """All gradients of as many key/value heads as are affordable."""
    case, home = drawn.case, _home(drawn)
    chosen = [places[i] for i in _spread(len(places), affordable).tolist()]
    rows, keys = torch.arange(case.queries, device=home), torch.arange(case.keys, device=home)
    parts = [part for place in chosen for part in (_of_queries(drawn, place, rows), *_of_keys(drawn, place, keys))]
    some = f"gradients of {len(chosen)} of {len(places)} key/value heads were compared"
    return Reference(tuple(parts), case.queries, None if len(chosen) == len(places) else some)


def _spread_out(drawn: Drawn, places: Sequence[Place], rows_of_a_group: int) -> Reference:
    """Gradients of spread queries, and of spread keys of the first key/value head where they can be had."""
    case, home = drawn.case, _home(drawn)
    rows = _spread(case.queries, rows_of_a_group // (BACKWARD_COST * len(places))).to(home)
    parts = [_of_queries(drawn, place, rows) for place in places]
    some = f"gradients of {len(rows)} of {case.queries} queries of each head were compared"
    if case.queries > PATIENCE * rows_of_a_group:
        return Reference(tuple(parts), len(rows), f"{some}, and none of a key")
    keys = _spread(case.keys, min(MOST_KEYS, max(2, case.keys // 8))).to(home)
    parts += _of_keys(drawn, places[0], keys)
    first = f"of {len(keys)} of {case.keys} keys of one of {len(places)} key/value heads"
    return Reference(tuple(parts), len(rows), f"{some}, and {first}")


def compare(results: Sequence[Tensor], reference: Reference, drawn: Drawn) -> Difference:
    """How far ``results`` lie from the reference, and whether their dtype explains it.

    Each row is judged by its own scale (:mod:`attn_cli.benchmark.rounding`): in causal order the first rows are plain
    values and the last ones means of thousands, a hundredth as large.

    Args:
        results: what a contender gave: the output, or the gradients of Q, K and V; on any device.
        reference: of the same case.
        drawn: the case.

    Raises:
        ValueError: where a result has not the shape that it should have.
    """
    _check_shapes(results, drawn)
    found = list(_rows_beside(results, reference))
    errors, allowed = (torch.cat(tensors) for tensors in zip(*found, strict=True))
    shares = torch.where(errors == 0, 0.0, errors / allowed).nan_to_num(nan=math.inf, posinf=math.inf)
    largest, worst = int(errors.argmax()), int(shares.argmax())  # a NaN counts as the largest
    return Difference(
        float(errors[largest]),
        float(allowed[largest]),
        float(shares[worst]),
        float(errors[worst]),
        float(allowed[worst]),
    )


def _rows_beside(results: Sequence[Tensor], reference: Reference) -> Iterator[tuple[Tensor, Tensor]]:
    """For each part the largest difference of each row and how large it may be, both flat."""
    for part in reference.parts:
        ours = results[part.result].detach()[part.batch, part.heads]  # (H, S, D)
        ours = ours.index_select(1, part.rows.to(ours.device)).to(part.expected.device, torch.float64)
        yield (ours - part.expected).abs().amax(dim=-1).flatten(), part.allowed.flatten()


def _check_shapes(results: Sequence[Tensor], drawn: Drawn) -> None:
    expected = [x.shape for x in (drawn.leaves if drawn.gradient is not None else drawn.leaves[:1])]
    found = [x.shape for x in results]
    if found != expected:
        raise ValueError(f"it gave {[tuple(x) for x in found]}; expected {[tuple(x) for x in expected]}")


def _output(drawn: Drawn, place: Place, rows: Tensor) -> Part:
    """The output of one key/value head's query heads."""
    inputs = _group(drawn, place, rows)
    outputs, scales = [], []
    for block in _blocks(inputs):
        steps = textbook.attend(inputs, block)
        outputs.append(steps.output)
        scales.append(output_scale(steps.output, weight_noise(steps, inputs, block), inputs.v))
    gradient = Gradient(torch.cat(outputs, dim=2), torch.cat(scales, dim=2))
    least = least_allowed(drawn, drawn.case.keys, drawn.inputs.v)
    return _part(drawn, OUTPUT, place, rows, gradient, least)


def _of_queries(drawn: Drawn, place: Place, rows: Tensor) -> Part:
    inputs = _group(drawn, place, rows)
    gradient = query_gradient(inputs, _incoming(drawn, place, rows), _blocks(inputs))
    return _part(drawn, OUTPUT, place, rows, gradient, least_allowed(drawn, drawn.case.keys, drawn.inputs.k))


def _of_keys(drawn: Drawn, place: Place, keys: Tensor) -> list[Part]:
    """The gradients of K and of V."""
    rows = torch.arange(drawn.case.queries, device=keys.device)
    inputs, incoming = _group(drawn, place, rows), _incoming(drawn, place, rows)
    dk, dv = key_gradients(inputs, incoming, _blocks(inputs), keys)
    terms = drawn.case.queries * drawn.case.heads // drawn.case.kv_heads
    return [
        _part(drawn, KEYS, place, keys, dk, least_allowed(drawn, terms, drawn.inputs.q)),
        _part(drawn, VALUES, place, keys, dv, least_allowed(drawn, terms, incoming)),
    ]


def _part(drawn: Drawn, result: int, place: Place, rows: Tensor, found: Gradient, least: float) -> Part:
    batch, head = place
    heads = _query_heads(drawn, head) if result == OUTPUT else slice(head, head + 1)
    has_scale = found.scale > 0  # a row that sees no key is 0, and nothing of it is rounded
    allowed = torch.where(has_scale, explained(drawn) * found.scale + least, 0.0)
    return Part(result, batch, heads, rows, found.values[0], allowed[0])


def _group(drawn: Drawn, place: Place, rows: Tensor) -> AttentionInputs:
    """One key/value head with its query heads and these rows, as a float64 call of its own."""
    (b, h), inputs, home = place, drawn.inputs, _home(drawn)
    q = inputs.q.detach()[b, _query_heads(drawn, h)].index_select(1, rows.to(inputs.q.device))[None]  # (1, G, R, D)
    k, v = (x.detach()[b, h][None, None].to(home, torch.float64) for x in (inputs.k, inputs.v))  # (1, 1, Sk, D)
    mask = inputs.rules.mask.to(home)
    rules = Rules(replace(mask, places=mask.places[rows]), scale=inputs.scale)
    return AttentionInputs(q.to(home, torch.float64), k, v, rules, CallIndex.whole(1, q.shape[1], len(rows)))


def _incoming(drawn: Drawn, place: Place, rows: Tensor) -> Tensor:
    """The gradient of the output of these rows, ``(1, G, R, D)`` float64."""
    assert drawn.gradient is not None  # gradients are asked for where there is one
    gradient = drawn.gradient[place[0], _query_heads(drawn, place[1])]  # (G, Sq, D)
    return gradient.index_select(1, rows.to(gradient.device)).to(_home(drawn), torch.float64)[None]


def _query_heads(drawn: Drawn, kv_head: int) -> slice:
    size = drawn.case.heads // drawn.case.kv_heads
    return slice(kv_head * size, (kv_head + 1) * size)


def _blocks(inputs: AttentionInputs) -> list[slice]:
    _, heads, rows, keys = inputs.weights_shape
    return row_blocks(rows, heads * keys, SCORES_AT_ONCE[inputs.q.device.type])


def _spread(total: int, most: int) -> Tensor:
    """At most so many of 0 … total − 1, evenly spread with both ends, and at least one: int64."""
    count = max(1, min(total, most))
    return torch.linspace(0, total - 1, count, dtype=torch.float64).round().to(torch.int64)


def _home(drawn: Drawn) -> torch.device:
    """Where float64 is computed: Apple's GPUs have none."""
    device = drawn.inputs.q.device
    return device if device.type == "cuda" else torch.device("cpu")
