"""Tensors of kinds that attn does not read, and of which PyTorch itself warns."""

import warnings

import torch


def nested():
    """A tensor of rows of several lengths."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


def quantized():
    """A tensor of a kind that PyTorch is about to give up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8)


def quantized_by_channel():
    """A tensor with a scale for each row."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_channel(torch.ones(2, 2), torch.ones(2), torch.zeros(2), 0, torch.qint8)


def halves():
    """Complex numbers of 32 bits, of which PyTorch warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.zeros(3, dtype=torch.complex32)
