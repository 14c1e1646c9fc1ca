"""Numbers and texts that programs trip over."""

import random

INTEGERS = (
    0, 1, 2, 3, 4, 7, 8, -1, -2, 127, 128, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32, 2**53, 2**62, 2**63 - 1,
    2**63, 2**64 - 1, 2**64, -(2**63), 10**12, 10**30,
)  # fmt: skip
FLOATS = (0.0, -0.0, 0.5, 1.0, -1.0, 1e-320, 1e308, -1e308, float("nan"), float("inf"), float("-inf"), 3.4e38, 65505.0)
TEXTS = (
    "", " ", "a", "q", "k", "v", "mask", "..", ".", "/", "\0", "\n", "\x1b[31m", "\x1b]0;x\x07", "\u202e", "\u200b",
    "[red]", "[/INST]", "[bold", ":smile:", "\ud800", "\udcff", "漢字", "e\u0301\u0301\u0301", "𝟛", "٣", "%s{0}",
    "A" * 300, "-", "--", "true", "null", "NaN", "1e999", "0x10", "1_0", "[" * 50, '{"a":', "layers.0.q", "steps.1.q",
    "steps.-1.q", "layers.99999999999999999999.q", "W_q.weight", "in_proj_weight", "c_attn.weight", "token_ids",
    "valid_lens",
)  # fmt: skip


def integer(draw: random.Random, near: int = 0) -> int:
    """A number that is often at a limit, or near the one that was there."""
    pick = draw.random()
    if pick < 0.5:
        return near + draw.choice((-1, 1, 2, 8, -8))
    if pick < 0.6:
        return near * draw.choice((-1, 2, 4, 10))
    return draw.choice(INTEGERS)


def text(draw: random.Random, near: str = "") -> str:
    """A text that is often hostile, or made of the one that was there."""
    pick = draw.random()
    if pick < 0.4 or not near:
        return draw.choice(TEXTS)
    place = draw.randrange(len(near) + 1)
    if pick < 0.7:
        return near[:place] + draw.choice(TEXTS) + near[place:]
    if pick < 0.85:
        return near[:place] + near[place + 1 :]
    return near.swapcase() if pick < 0.9 else near * draw.choice((2, 3, 50))
