"""What only PyTorch's private parts tell: a release that lacks one of them records all the same."""

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from tests.recording.kept import recorded

PRIVATE = (
    "torch._C._len_torch_function_stack",
    "torch._C._pop_torch_function_stack",
    "torch._C._push_on_torch_function_stack",
    "torch._C.DisableTorchFunctionSubclass",
    "torch._C._DisableTorchDispatch",
    "torch._C._get_tracing_state",
    "torch._C._functorch",
    "torch._is_functional_tensor",
    "torch._guards.TracingContext",
    "torch.utils._python_dispatch._get_current_dispatch_mode_stack",
)
X = torch.randn(1, 2, 4, 8)


def attend():
    return F.scaled_dot_product_attention(X, X, X)


@pytest.mark.parametrize("name", PRIVATE)
def test_a_release_without_a_private_part_is_heard(monkeypatch, name):
    with monkeypatch.context() as patched:
        patched.delattr(name)
        result, calls, heard = recorded(attend)
    assert torch.equal(result, attend())
    assert (len(calls), heard.calls, heard.kept, heard.fault, heard.passed_over) == (1, 1, 1, None, ())


def test_a_mode_of_the_program_comes_back_where_the_sink_fails():
    class Nothing(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    seen = []
    with Nothing():
        _, calls, _ = recorded(attend, room=0)
        seen.clear()
        torch.ones(1) + 1
    assert calls == []
    assert len(seen) == 2
