"""Where a file keeps projection weights: the naming styles in use, found by name alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from attn_cli.inputs.names import join, layer_of


@dataclass(frozen=True)
class LayerNames:
    """One linear layer's tensors in a file."""

    weight: str
    bias: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors' names."""
        return (self.weight,) if self.bias is None else (self.weight, self.bias)


@dataclass(frozen=True)
class Projections:
    """The projection weights of one attention layer, by name.

    Attributes:
        root: what stands before all of them.
        style: the names they go by, such as ``"q_proj, k_proj, v_proj"``.
        q, k, v: of separate projections, else None.
        fused: rows of q, then k, then v in one matrix, else None.
        o: the output projection, or None.
        is_transposed: GPT-2's ``Conv1D``, whose weight is (in, out).
        refusal: why these cannot be used, or None.
        scales: by a tensor's name in lower case what is stored as its scale; one for the whole file.
    """

    root: str
    style: str
    q: LayerNames | None = None
    k: LayerNames | None = None
    v: LayerNames | None = None
    fused: LayerNames | None = None
    o: LayerNames | None = None
    is_transposed: bool = False
    refusal: str | None = None
    scales: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def has_inputs(self) -> bool:
        """True where there is a projection for each of queries, keys and values, or one that is refused."""
        return self.fused is not None or (self.q is not None and self.k is not None and self.v is not None)

    @property
    def layer(self) -> int | None:
        """The layer's number."""
        return layer_of(self.root)

    @property
    def names(self) -> tuple[str, ...]:
        """Every tensor's name."""
        layers = (self.q, self.k, self.v, self.fused, self.o)
        return tuple(dict.fromkeys(name for layer in layers if layer is not None for name in layer.names))


SEPARATE: tuple[tuple[tuple[str, str, str], tuple[str, ...]], ...] = (
    (("W_q", "W_k", "W_v"), ("W_o",)),
    (("q_proj", "k_proj", "v_proj"), ("o_proj", "out_proj", "dense")),
    (("q_lin", "k_lin", "v_lin"), ("out_lin",)),
    (("to_q", "to_k", "to_v"), ("to_out.0", "to_out")),
)
FUSED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("qkv", ("proj", "out_proj", "o_proj", "W_o", "dense")),
    ("qkv_proj", ("o_proj", "out_proj", "dense")),
    ("Wqkv", ("out_proj", "Wo", "o_proj")),
    ("query_key_value", ("dense",)),
    ("c_attn", ("c_proj",)),
)
SCALE = "_scale"
INTERLEAVED = "query_key_value"
TRANSPOSED = "c_attn"
BERT = ("query", "key", "value")
BERT_OUTPUTS = ("output.dense", "attention.output.dense")
LONE_OUTPUTS = ("W_o", "o_proj", "out_proj", "c_proj", "out_lin", "to_out.0", "output.dense")
# A layer beside an output projection that shows it to be the feed-forward's, by the output's name.
FEED_FORWARD = {"output.dense": ("intermediate.dense", "attention.output.dense"), "c_proj": ("c_fc",)}


def find_projections(names: Iterable[str]) -> tuple[Projections, ...]:
    """Every set of projection weights in a file, in the order of the file.

    An output projection that stands alone, beside projected heads for instance, is a set of its own.
    """
    tree = _Tree(names)
    found = [*_separate(tree), *_bert(tree), *_fused(tree), *_packed(tree)]
    claimed = {layers.o.weight for layers in found if layers.o is not None}
    lone = [layers for layers in _lone_outputs(tree) if layers.o is not None and layers.o.weight not in claimed]
    scales, ordered = tree.scales(), sorted([*found, *lone], key=lambda layers: tree.place(layers.names[0]))
    return tuple(replace(layers, scales=scales) for layers in ordered)


class _Tree:
    """Names looked up in any case."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {name.lower(): name for name in names}
        self._places = {name: place for place, name in enumerate(self._names.values())}

    def place(self, name: str) -> int:
        return self._places[name]

    def get(self, *parts: str) -> str | None:
        return self._names.get(join(*parts).lower())

    def scales(self) -> Mapping[str, str]:
        """By a tensor's name in lower case the first whose name goes on with ``_scale``."""
        found: dict[str, str] = {}
        for lower, name in self._names.items():
            scaled, mark, _ = lower.rpartition(SCALE)
            if mark:
                found.setdefault(scaled, name)
        return found

    def layer(self, *parts: str) -> LayerNames | None:
        weight = self.get(*parts, "weight")
        return None if weight is None else LayerNames(weight, self.get(*parts, "bias"))

    def roots(self, *ends: str) -> Iterator[str]:
        """What stands before each name that ends in one of these, once."""
        found: dict[str, None] = {}
        lower_ends = tuple(end.lower() for end in ends)
        near = [(lower, name) for lower, name in self._names.items() if lower.endswith(lower_ends)]
        for end in lower_ends:
            for lower, name in near:
                if lower == end:
                    found[""] = None
                elif lower.endswith(f".{end}"):
                    found[name[: -len(end) - 1]] = None
        yield from found

    def output(self, root: str, ends: Sequence[str]) -> LayerNames | None:
        """The first output projection of these that is not the feed-forward's."""
        return next((layer for end in ends if (layer := self._attention_output(root, end)) is not None), None)

    def _attention_output(self, root: str, end: str) -> LayerNames | None:
        beside = FEED_FORWARD.get(end, ())
        return None if any(self.layer(root, other) for other in beside) else self.layer(root, end)


def _separate(tree: _Tree) -> Iterator[Projections]:
    for parts, outputs in SEPARATE:
        for root in tree.roots(*(f"{part}.weight" for part in parts)):
            q, k, v = (tree.layer(root, part) for part in parts)
            yield Projections(root, ", ".join(parts), q, k, v, o=tree.output(root, outputs))


def _bert(tree: _Tree) -> Iterator[Projections]:
    """BERT's: query, key and value may stand one deeper than the output, in ``self`` or ``attention``."""
    for root in tree.roots(*(f"{part}.weight" for part in BERT)):
        q, k, v = (tree.layer(root, part) for part in BERT)
        o, outer = tree.output(root, BERT_OUTPUTS), _outer(root)
        if o is None and outer is not None:
            o, root = tree.output(outer, BERT_OUTPUTS), outer
        yield Projections(root, ", ".join(BERT), q, k, v, o=o)


def _outer(root: str) -> str | None:
    """Where BERT's output may stand for queries at ``root``; never so far out that it is the feed-forward's."""
    parent, _, last = root.rpartition(".")
    if last.lower() == "self":
        return parent
    return parent if last.lower() == "attention" and parent and _is_attention(parent) else None


def _fused(tree: _Tree) -> Iterator[Projections]:
    for part, outputs in FUSED:
        for root in tree.roots(f"{part}.weight"):
            refusal = "its rows are interleaved head by head in an order that differs between models"
            yield Projections(
                root,
                part,
                fused=tree.layer(root, part),
                o=tree.output(root, outputs),
                is_transposed=part == TRANSPOSED,
                refusal=refusal if part == INTERLEAVED else None,
            )


def _packed(tree: _Tree) -> Iterator[Projections]:
    """``nn.MultiheadAttention``'s, whose three input projections share one bias."""
    parts = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    for root in tree.roots("in_proj_weight", *parts):
        refusal = (
            "bias_k and bias_v add a key and a value that attn does not know" if tree.get(root, "bias_k") else None
        )
        o, bias = tree.output(root, ("out_proj",)), tree.get(root, "in_proj_bias")
        fused = tree.get(root, "in_proj_weight")
        if fused is not None:
            yield Projections(root, "in_proj", fused=LayerNames(fused, bias), o=o, refusal=refusal)
            continue
        weights = (tree.get(root, part) for part in parts)
        q, k, v = (None if weight is None else LayerNames(weight, bias) for weight in weights)
        yield Projections(root, ", ".join(parts), q, k, v, o=o, refusal=refusal)


def _lone_outputs(tree: _Tree) -> Iterator[Projections]:
    for end in LONE_OUTPUTS:
        for root in tree.roots(f"{end}.weight"):
            o = tree.output(root, (end,))
            if o is not None and (end != "output.dense" or _is_attention(root)):
                yield Projections(root, end, o=o, is_transposed=end == "c_proj")


def _is_attention(root: str) -> bool:
    """True where ``root`` is a layer of attention by its name, or the file itself."""
    return "att" in root.rpartition(".")[2].lower() or root == ""
