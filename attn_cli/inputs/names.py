"""What a tensor's name says: its prefix, its layer and its role. Names mean the same in any case."""

from __future__ import annotations

from collections.abc import Iterator

HEADS = ("q", "k", "v")
MODULE = ("queries", "keys", "values")
HIDDEN = "hidden_states"
VALID_LENS = "valid_lens"
SINKS = "sinks"
TOKEN_IDS = "token_ids"
MASK = "mask"
KEY_MASK = "attention_mask"
KEY_PADDING = "key_padding_mask"
ADDITIVE = "additive_mask"
BIAS = "bias"
OUTPUT = "output"
WEIGHTS = "weights"
STEPS = "steps"

# Where several names of one role stand side by side, the earlier one counts, except for masks and biases: all apply.
ALIASES: dict[str, tuple[str, ...]] = {
    "q": ("q", "query"),
    "k": ("k", "key"),
    "v": ("v", "value"),
    "queries": ("queries",),
    "keys": ("keys",),
    "values": ("values",),
    HIDDEN: ("hidden_states", "hidden_in", "hidden", "x"),
    VALID_LENS: ("valid_lens",),
    SINKS: ("sinks",),
    TOKEN_IDS: ("token_ids", "input_ids"),
    MASK: ("mask", "attn_mask", "keep_mask"),
    KEY_MASK: ("attention_mask",),
    KEY_PADDING: ("key_padding_mask",),
    ADDITIVE: ("additive_mask",),
    BIAS: ("bias", "attn_bias"),
    OUTPUT: ("output", "context", "attn_output"),
    WEIGHTS: ("weights", "attn_weights", "attn_probs", "attention_probs"),
}
CONSTRAINTS = (MASK, KEY_MASK, KEY_PADDING, ADDITIVE, BIAS)
ROLE_OF = {alias: role for role, aliases in ALIASES.items() for alias in aliases}


def split_name(name: str) -> tuple[str, str]:
    """``"layers.3.q"`` to ``("layers.3", "q")``; without a dot the prefix is empty."""
    prefix, _, leaf = name.rpartition(".")
    return prefix, leaf


def join(*parts: str) -> str:
    """The parts with dots between them; empty ones are left out."""
    return ".".join(part for part in parts if part)


def role_of(leaf: str) -> str | None:
    """The role of a name's last component, or None where it says nothing."""
    return ROLE_OF.get(leaf.lower())


def step_of(prefix: str) -> int:
    """The step that a recorded call's prefix begins with: 7 for ``"steps.7.encoder.layer.3"``, 0 without one."""
    step, _ = _split_step(prefix)
    return step


def without_step(prefix: str) -> str:
    """The module that a call's prefix names: ``"encoder.layer.3"`` for ``"steps.7.encoder.layer.3"``."""
    _, module = _split_step(prefix)
    return module


def with_step(module: str, step: int) -> str:
    """The prefix of a recorded call; that of a module's first call is the module's path alone."""
    return module if step == 0 else join(STEPS, str(step), module)


def _split_step(prefix: str) -> tuple[int, str]:
    first, _, rest = prefix.partition(".")
    number, _, module = rest.partition(".")
    return (int(number), module) if first == STEPS and _is_number(number) else (0, prefix)


def layer_of(prefix: str) -> int | None:
    """The last whole-number component of a module's path: 3 for ``"steps.7.encoder.layer.3.attention"``."""
    parts = reversed(without_step(prefix).split("."))
    return next((int(part) for part in parts if _is_number(part)), None)


def _is_number(part: str) -> bool:
    return part.isascii() and part.isdecimal() and len(part) < 10


def is_behind(name: str, prefix: str) -> bool:
    """True where ``prefix`` is ``name`` or its leading dotted part."""
    name, prefix = name.lower(), prefix.lower()
    return prefix == "" or name == prefix or name.startswith(f"{prefix}.")


def is_meant(call: str, prefix: str) -> bool:
    """True where ``--prefix`` means a call: it stands behind it, or its module does whatever its step is."""
    return is_behind(call, prefix) or is_behind(without_step(call), prefix)


def with_parents(prefix: str) -> Iterator[str]:
    """The prefix, then what it stands in, up to the file itself: ``"a.b"``, ``"a"``, ``""``."""
    while prefix:
        yield prefix
        prefix = prefix[: max(prefix.rfind("."), 0)]
    yield ""
