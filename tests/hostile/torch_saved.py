"""What torch.save writes of three tensors, in both of its formats."""

import io

import torch

from tests.hostile.making import NUMBERS

Q, K, V = (torch.from_numpy(x.copy()) for x in NUMBERS)
THREE = {"q": Q, "k": K, "v": V}
FORMATS = {"zip": True, "old": False}


def saved(value, **options):
    """What ``torch.save`` writes."""
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()
