"""A program whose time is attention: layers of self-attention, called again and again. Nothing in here knows attn.

    python docs/benchmarks/attention_program.py --length 4096 --calls 8 [--layers 4] [--block]

It prints the seconds that the calls took, without imports and first calls.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

HEADS, FEATURES = 8, 64


class Attention(nn.Module):
    """Self-attention on given Q, K and V, or a whole block with projections and a feed-forward part."""

    def __init__(self, is_block: bool) -> None:
        super().__init__()
        width = HEADS * FEATURES
        self.project = nn.Linear(width, 3 * width) if is_block else None
        self.after = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, S, E)`` to ``(B, S, E)``."""
        batch, length, width = x.shape
        qkv = x.repeat(1, 1, 3) if self.project is None else self.project(x)  # (B, S, 3E)
        q, k, v = qkv.view(batch, length, 3, HEADS, FEATURES).permute(2, 0, 3, 1, 4)  # (B, H, S, D) each
        output = scaled_dot_product_attention(q, k, v, is_causal=True)
        output = output.transpose(1, 2).reshape(batch, length, width)  # (B, S, E)
        return output if self.project is None else x + self.after(output)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--calls", type=int, default=32, help="attention calls in all")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--block", action="store_true", help="with projections and a feed-forward part")
    options = parser.parse_args()
    torch.manual_seed(0)
    model = nn.Sequential(*(Attention(options.block) for _ in range(options.layers))).eval()
    x = torch.randn(1, options.length, HEADS * FEATURES)
    with torch.inference_mode():
        scaled_dot_product_attention(*(torch.randn(1, HEADS, options.length, FEATURES) for _ in range(3)))
        start = time.perf_counter()
        for _ in range(options.calls // options.layers):
            y = model(x)
        seconds = time.perf_counter() - start
    print(f"{seconds:.6f} {float(y.double().sum()):.12e}")


if __name__ == "__main__":
    main()
