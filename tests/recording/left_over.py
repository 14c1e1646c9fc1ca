"""What a block of code leaves behind."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def _tensors() -> list[torch.Tensor]:
    gc.collect()
    return [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]


@contextmanager
def no_tensor_left() -> Iterator[None]:
    """Fails where a tensor that the block made is alive after it.

    Tensors are told apart one by one, not counted: one from elsewhere may go meanwhile. Those from before are held,
    for a new one could get the identity of one that went.
    """
    before = {id(one): one for one in _tensors()}
    yield
    left = [tuple(one.shape) for one in _tensors() if id(one) not in before]
    assert not left, f"tensors of these shapes are left: {left}"
