"""Modules with the documented signatures of libraries that are not installed, computing one cell at a time in NumPy."""

import sys
import types

import numpy as np
import pytest
import torch

from attn_cli.attention.textbook import attend
from attn_cli.recording.caught import make_caught
from attn_cli.recording.options import RecordOptions
from attn_cli.recording.types import CallSite

SITE = CallSite("module", "", 0, "function", "program.py:1")


def recomputed(raw):
    """What attention on the recorded tensors gives, by the textbook in float64."""
    inputs = make_caught(raw, 0, SITE, RecordOptions()).inputs
    return attend(inputs.to(torch.device("cpu"), torch.float64)).output


def assert_reproduces(raw):
    assert raw.output is not None
    torch.testing.assert_close(recomputed(raw), raw.output.double(), rtol=1e-11, atol=1e-12)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def reference(q, k, v, logit, is_visible):
    """One sequence: q ``(Sq, H, D)``, k and v ``(Sk, Hkv, D)``; a row that sees nothing gives zeros.

    Args:
        logit: of dot product, head, query and key.
        is_visible: of query and key.
    """
    queries, heads, _ = q.shape
    groups = heads // k.shape[1]
    q, k, v = q.numpy(), k.numpy(), v.numpy()
    output = np.zeros((queries, heads, v.shape[2]))
    for h in range(heads):
        for i in range(queries):
            seen = [j for j in range(len(k)) if is_visible(i, j)]
            if seen:
                row = np.array([logit(q[i, h] @ k[j, h // groups], h, i, j) for j in seen])
                weights = np.exp(row - row.max())
                output[i, h] = weights / weights.sum() @ v[seen, h // groups]
    return torch.from_numpy(output)


@pytest.fixture
def installed(monkeypatch):
    """Puts a module of these functions under a name, and its parents with it."""

    def install(name, functions, version=None):
        parts = name.split(".")
        for n in range(1, len(parts) + 1):
            path = ".".join(parts[:n])
            if path not in sys.modules:
                monkeypatch.setitem(sys.modules, path, types.ModuleType(path))
            if n > 1:
                parent = sys.modules[".".join(parts[: n - 1])]
                monkeypatch.setattr(parent, parts[n - 1], sys.modules[path], raising=False)
        if version is not None:
            monkeypatch.setattr(sys.modules[parts[0]], "__version__", version, raising=False)
        module = sys.modules[name]
        for function in functions:
            monkeypatch.setattr(module, function.__name__, function, raising=False)
        return module

    return install


def heard(points, module, function, *args, **kwargs):
    """Call a library's function as a program does, and translate the call."""
    result = getattr(sys.modules[module], function)(*args, **kwargs)
    point = next(point for point in points if (point.module, point.name) == (module, function))
    return point.translate(args, kwargs, result), result
