"""A module that has the function under a name of its own."""

from torch.nn.functional import scaled_dot_product_attention as attend

__all__ = ["attend"]
