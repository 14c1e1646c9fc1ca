"""Choosing a device changes nothing else."""

import torch

from attn_cli.attention import torch_compat
from attn_cli.attention.devices import resolve_device


def test_choosing_a_device_leaves_the_number_of_threads():
    before = torch.get_num_threads()
    torch_compat.settle_matrix_products.cache_clear()
    resolve_device("cpu")
    assert torch.get_num_threads() == before
