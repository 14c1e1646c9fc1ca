"""Random calls of the multi-head module: the same numbers for a seed on every machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from attn_cli.attention.masks import MaskRule, aligned_places
from attn_cli.attention.module import MultiHeadAttention
from attn_cli.attention.selection import Selection
from attn_cli.attention.types import ModuleInputs, dtype_name
from attn_cli.errors import UsageError
from attn_cli.inputs.lengths import lengths_from_flag, lengths_text
from attn_cli.inputs.rules import scale_text, window_text
from attn_cli.inputs.selecting import check_number_of_heads
from attn_cli.inputs.settings import BOTTOM_RIGHT, align_name
from attn_cli.inputs.types import Convention, LoadedCall, TensorInfo
from attn_cli.inputs.validation import CallSizes

TEXTBOOK_VALID_LENS = (3, 2)


@dataclass(frozen=True)
class DrawOptions:
    """The call to draw; the defaults are the textbook's example ("Dive into Deep Learning", 11.5).

    Attributes:
        batch, heads, num_hiddens, queries, keys: B, Hq, E, Sq and Sk.
        kv_heads: Hkv; None is one a query head.
        valid_lens: a length a batch item, a row of lengths a batch item, ``"random"``, or None: (3, 2) for the
            textbook's batch of 2 with 4 queries and 6 keys, every key otherwise.
        seed: of the generator.
        bias: whether the projections have a bias.
        causal, causal_align, window: as in ``attn run``.
        dtype: the tensors are drawn in float64 and rounded to it.
    """

    batch: int = 2
    heads: int = 5
    num_hiddens: int = 100
    queries: int = 4
    keys: int = 6
    kv_heads: int | None = None
    valid_lens: tuple[int, ...] | tuple[tuple[int, ...], ...] | Literal["random"] | None = None
    seed: int = 0
    bias: bool = False
    causal: bool = False
    causal_align: str | int | None = None
    window: tuple[int, int] | None = None
    dtype: torch.dtype = torch.float32


class _Generator:
    """NumPy's legacy generator, whose stream is frozen: later releases and other machines draw the same numbers."""

    def __init__(self, seed: int, dtype: torch.dtype) -> None:
        self._state = np.random.RandomState(seed)
        self._dtype = dtype

    def normal(self, *shape: int) -> Tensor:
        return torch.from_numpy(self._state.standard_normal(shape)).to(self._dtype)

    def uniform(self, limit: float, shape: torch.Size) -> Tensor:
        return torch.from_numpy(self._state.uniform(-limit, limit, tuple(shape))).to(self._dtype)

    def whole(self, low: int, high: int, count: int) -> Tensor:
        return torch.from_numpy(self._state.randint(low, high + 1, count))


def drawn_bytes(options: DrawOptions) -> int:
    """Bytes that drawing the call takes at the least: all of it, and its largest tensor in float64 besides."""
    size = options.num_hiddens
    sequences = (options.batch * options.queries * size, options.batch * options.keys * size)
    numbers, largest = sum(sequences) + 4 * size * size, max(*sequences, size * size)
    return numbers * options.dtype.itemsize + largest * torch.float64.itemsize


def draw_call(options: DrawOptions) -> LoadedCall:
    """Draw queries, keys (the values are the keys, as in the textbook) and a module with its weights.

    Raises:
        UsageError: where the sizes do not fit each other.
        InputError: where there are too many heads.
    """
    check_number_of_heads("attn demo", options.batch, options.heads, "draw fewer with --batch and --heads")
    generator = _Generator(options.seed, options.dtype)
    module = _draw_weights(options, generator)
    queries = generator.normal(options.batch, options.queries, options.num_hiddens)  # (B, Sq, E)
    keys = generator.normal(options.batch, options.keys, options.num_hiddens)  # (B, Sk, E)
    valid_lens = _valid_lens(options, generator)
    _draw_biases(module, generator)
    with torch.no_grad():
        inputs = module.inputs(queries, keys, keys, valid_lens)
    inputs = replace(inputs, rules=replace(inputs.rules, mask=_mask(options, valid_lens)))
    return LoadedCall(
        source="random",
        prefix="",
        layer=None,
        inputs=inputs,
        selection=Selection(),
        tensors=_tensors(inputs),
        unused=(),
        conventions=_conventions(options, inputs),
        tokens=None,
        align=align_name(_align(options)),
        align_chosen=options.causal_align is not None or not (options.causal or options.window),
    )


def _draw_weights(options: DrawOptions, generator: _Generator) -> MultiHeadAttention:
    """The textbook's module in eval mode, its weights drawn as Glorot and Bengio (2010) have it.

    With them the logits of standard normal inputs have a standard deviation near 1, so that heads differ visibly.
    """
    size = options.num_hiddens
    try:
        module = MultiHeadAttention(
            size, size, size, size, options.heads, 0.5, options.bias, num_kv_heads=options.kv_heads
        )
    except ValueError as error:
        raise UsageError(f"{error}; expected numbers that divide", _dividing_hint(options)) from error
    for layer in (module.W_q, module.W_k, module.W_v, module.W_o):
        limit = (6 / (layer.in_features + layer.out_features)) ** 0.5
        layer.weight = nn.Parameter(generator.uniform(limit, layer.weight.shape), requires_grad=False)
    return module.eval()


def _draw_biases(module: MultiHeadAttention, generator: _Generator) -> None:
    """The biases, where there are any; drawn last, so that the same seed gives the same weights without them."""
    for layer in (module.W_q, module.W_k, module.W_v, module.W_o):
        if layer.bias is not None:
            layer.bias = nn.Parameter(generator.normal(layer.out_features) / 10, requires_grad=False)


def _dividing_hint(options: DrawOptions) -> str:
    if options.num_hiddens % options.heads:
        fitting = [count for count in range(1, min(options.num_hiddens, 64) + 1) if options.num_hiddens % count == 0]
        return f"--num-hiddens {options.num_hiddens} divides into {', '.join(map(str, fitting))} heads"
    fitting = [count for count in range(1, options.heads + 1) if options.heads % count == 0]
    return f"--heads {options.heads} can share {', '.join(map(str, fitting))} --kv-heads"


def _valid_lens(options: DrawOptions, generator: _Generator) -> Tensor | None:
    """The valid lengths as drawn or given, checked: ``(B,)`` or ``(B, Sq)`` int64, or None."""
    lens = options.valid_lens
    if lens == "random":
        return generator.whole(1, options.keys, options.batch)
    if lens is None:
        is_textbook = (options.batch, options.queries, options.keys) == (2, 4, 6)
        return torch.tensor(TEXTBOOK_VALID_LENS) if is_textbook else None
    head_dim = options.num_hiddens // options.heads
    kv_heads = options.kv_heads or options.heads
    sizes = CallSizes(options.batch, options.heads, kv_heads, options.queries, options.keys, head_dim, head_dim)
    return lengths_from_flag("attn demo", lens, sizes)


def _mask(options: DrawOptions, valid_lens: Tensor | None) -> MaskRule:
    return MaskRule(
        options.keys,
        aligned_places(options.queries, options.keys, _align(options)),
        valid_lens=valid_lens,
        causal=options.causal,
        window=options.window,
    )


def _align(options: DrawOptions) -> str | int:
    return BOTTOM_RIGHT if options.causal_align is None else options.causal_align


def _tensors(inputs: ModuleInputs) -> tuple[TensorInfo, ...]:
    named = [("queries", inputs.queries), ("keys", inputs.keys), ("values", inputs.values)]
    layers = (("W_q", inputs.W_q), ("W_k", inputs.W_k), ("W_v", inputs.W_v), ("W_o", inputs.W_o))
    for name, layer in layers:
        if layer is not None:
            named.append((f"{name}.weight", layer.weight))
            named.extend([] if layer.bias is None else [(f"{name}.bias", layer.bias)])
    valid_lens = inputs.rules.mask.valid_lens
    named.extend([] if valid_lens is None else [("valid_lens", valid_lens)])
    return tuple(TensorInfo(name, tuple(x.shape), dtype_name(x.dtype), name) for name, x in named)


def _conventions(options: DrawOptions, inputs: ModuleInputs) -> tuple[Convention, ...]:
    features = options.num_hiddens // options.heads
    found = [
        Convention("draw", f"seed {options.seed}, standard normal inputs, Glorot-uniform weights", "default"),
        Convention("scale", scale_text(None, features), "default"),
        Convention("dropout", "0.5, in eval mode: nothing is dropped", "default"),
    ]
    if options.bias:
        found.append(Convention("projections", "with a bias", "--steps or --bias"))
    if inputs.num_kv_heads != inputs.num_heads:
        heads = f"{inputs.num_heads} query heads share {inputs.num_kv_heads} key/value heads"
        found.append(Convention("heads", heads, "--kv-heads"))
    lens = inputs.rules.mask.valid_lens
    if lens is not None:
        found.append(
            Convention("valid lengths", lengths_text(lens), "default" if options.valid_lens is None else "--valid-lens")
        )
    if options.causal:
        found.append(Convention("causal", "a query sees the keys up to its own place", "--causal"))
    if options.window is not None:
        found.append(Convention("window", window_text(options.window), "--window"))
    if options.causal or options.window is not None:
        origin = "default" if options.causal_align is None else "--causal-align"
        found.append(Convention("alignment", align_name(_align(options)), origin))
    return tuple(found)
