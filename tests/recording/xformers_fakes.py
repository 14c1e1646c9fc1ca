"""xFormers' function and mask objects by their documentation."""

import torch


class AttentionBias:
    """What a mask object offers: itself, written out."""

    __module__ = "xformers.ops.fmha.attn_bias"


def between(shape, first, last):
    """0 for the keys from first to last of each query, −∞ for the others; both are functions of the query."""
    cells = torch.full(shape[-2:], -torch.inf, dtype=torch.float64)
    for i in range(shape[-2]):
        for j in range(shape[-1]):
            if first(i) <= j <= last(i):
                cells[i, j] = 0.0
    return cells.expand(shape)


class LowerTriangularMask(AttentionBias):
    __module__ = AttentionBias.__module__

    def materialize(self, shape, dtype=torch.float32, device="cpu"):
        return between(shape, lambda _: 0, lambda i: i).to(device, dtype)


class LowerTriangularMaskWithTensorBias(LowerTriangularMask):
    __module__ = AttentionBias.__module__

    def __init__(self, bias):
        self._bias = bias

    def materialize(self, shape, dtype=torch.float32, device="cpu"):
        return super().materialize(shape, dtype, device) + self._bias


class LowerTriangularFromBottomRightMask(AttentionBias):
    __module__ = AttentionBias.__module__

    def materialize(self, shape, dtype=torch.float32, device="cpu"):
        shift = shape[-1] - shape[-2]
        return between(shape, lambda _: 0, lambda i: i + shift).to(device, dtype)


class LowerTriangularFromBottomRightLocalAttentionMask(LowerTriangularFromBottomRightMask):
    __module__ = AttentionBias.__module__

    def __init__(self, window_size):
        self._window_size = window_size

    def materialize(self, shape, dtype=torch.float32, device="cpu"):
        shift = shape[-1] - shape[-2]
        return between(shape, lambda i: i + shift - self._window_size + 1, lambda i: i + shift).to(device, dtype)


class LocalAttentionFromBottomRightMask(AttentionBias):
    __module__ = AttentionBias.__module__

    def __init__(self, window_left, window_right):
        self.window_left, self.window_right = window_left, window_right

    def materialize(self, shape, dtype=torch.float32, device="cpu"):
        shift = shape[-1] - shape[-2]
        first, last = (lambda i: i + shift - self.window_left), (lambda i: i + shift + self.window_right)
        return between(shape, first, last).to(device, dtype)


class BlockDiagonalMask(AttentionBias):
    __module__ = AttentionBias.__module__

    def __init__(self, q_lens, k_lens, block=None):
        self.q_lens, self.k_lens, self.block = q_lens, k_lens, block

    def materialize(self, shape, dtype=torch.float32, device="cpu"):
        assert shape[-2:] == (sum(self.q_lens), sum(self.k_lens))
        cells = torch.full(shape[-2:], -torch.inf, dtype=dtype)
        row = column = 0
        for rows, columns in zip(self.q_lens, self.k_lens, strict=True):
            inside = torch.zeros(rows, columns) if self.block is None else self.block.materialize((rows, columns))
            cells[row : row + rows, column : column + columns] = inside
            row, column = row + rows, column + columns
        return cells.expand(shape).to(device)


class Unwritten(AttentionBias):
    def materialize(self, shape, dtype=torch.float32, device="cpu"):
        raise NotImplementedError


class Opaque:
    """A mask object that cannot be written out."""


def memory_efficient_attention(query, key, value, attn_bias=None, p=0.0, scale=None, *, op=None, output_dtype=None):
    """The documentation's equivalent code, on five axes; dropout draws nothing here."""
    assert op is None
    assert output_dtype is None
    shape = (*query.shape[:-1], value.shape[-1])
    if query.dim() == 3:
        query, key, value = (x[:, :, None] for x in (query, key, value))
        attn_bias = attn_bias[:, None] if isinstance(attn_bias, torch.Tensor) else attn_bias
    q, k, v = (x.movedim(1, -2) for x in (query, key, value))  # (B, [G,] H, S, D)
    logits = q * (q.shape[-1] ** -0.5 if scale is None else scale) @ k.mT
    if isinstance(attn_bias, AttentionBias):
        attn_bias = attn_bias.materialize(logits.shape, dtype=torch.float64)
    if attn_bias is not None:
        attn_bias = attn_bias.reshape(logits.shape) if attn_bias.dim() == 3 and query.dim() == 4 else attn_bias
        logits = logits + attn_bias
    weights = logits.softmax(-1).nan_to_num(0.0)
    return (weights @ v).movedim(-2, 1).reshape(shape) * (1 if p == 0 else float("nan"))


def memory_efficient_attention_forward(query, key, value, attn_bias=None, p=0.0, scale=None, *, op=None):
    return memory_efficient_attention(query, key, value, attn_bias, p, scale, op=op)


def memory_efficient_attention_forward_requires_grad(query, key, value, attn_bias=None, p=0.0, scale=None, *, op=None):
    return memory_efficient_attention(query, key, value, attn_bias, p, scale, op=op), torch.zeros(1)


FUNCTIONS = (
    memory_efficient_attention,
    memory_efficient_attention_forward,
    memory_efficient_attention_forward_requires_grad,
)
