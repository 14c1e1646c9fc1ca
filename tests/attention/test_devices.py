"""Choosing a device settles what would else depend on which thread is first."""

import ast
from pathlib import Path

import torch

import attn_cli
from attn_cli.attention import torch_compat
from attn_cli.attention.devices import resolve_device

OF_MKL = {
    *("acos", "asin", "atan", "cos", "erf", "erfc", "erfinv", "exp", "expm1"),
    *("log", "log10", "log1p", "log2", "sin", "sqrt", "tan", "tanh"),
}
NOT_OF_TORCH = {"math", "np", "statistics", "tl"}


def test_mathematical_functions_are_called_once_by_one_element_before_many_threads_call_them(monkeypatch):
    called = []
    monkeypatch.setattr(torch_compat, "MATH_FUNCTIONS", (lambda x: called.append((x.numel(), x.dtype)),))
    torch_compat.settle_math_functions.cache_clear()
    resolve_device("cpu")
    resolve_device("cpu")
    assert called == [(1, torch.float32), (1, torch.float64)]


def test_so_is_each_that_attn_uses():
    used = set()
    for path in Path(attn_cli.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) not in NOT_OF_TORCH:
                used |= {node.attr.removesuffix("_")} & OF_MKL
    assert used == {function.__name__ for function in torch_compat.MATH_FUNCTIONS}
