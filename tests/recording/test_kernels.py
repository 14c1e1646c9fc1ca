"""ATen's operators, called by the program itself, are heard once a call, under whatever name they are called."""

import pytest
import torch
import torch.nn.functional as F

from tests.recording.kept import recorded

X = torch.randn(1, 2, 5, 8)
FLASH = "_scaled_dot_product_flash_attention_for_cpu"
MATH = "_scaled_dot_product_attention_math"
SDPA = "scaled_dot_product_attention"
CALLED = {
    "sdpa": lambda: torch.ops.aten.scaled_dot_product_attention(X, X, X),
    "sdpa by its overload": lambda: torch.ops.aten.scaled_dot_product_attention.default(X, X, X),
    "flash": lambda: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(X, X, X)[0],
    "flash of torch": lambda: torch._scaled_dot_product_flash_attention_for_cpu(X, X, X)[0],
    "math": lambda: torch.ops.aten._scaled_dot_product_attention_math(X, X, X)[0],
    "math of torch": lambda: torch._scaled_dot_product_attention_math(X, X, X)[0],
}


@pytest.mark.parametrize("name", CALLED)
def test_an_operator_is_heard_once(name):
    plain = CALLED[name]()
    result, calls, heard = recorded(CALLED[name])
    assert torch.equal(result, plain)
    assert (heard.calls, heard.kept, heard.passed_over) == (1, 1, ())
    function = FLASH if "flash" in name else MATH if "math" in name else SDPA
    assert calls[0].site.function == function
    torch.testing.assert_close(calls[0].output, F.scaled_dot_product_attention(X, X, X))


@pytest.mark.parametrize("kernel", [FLASH, MATH, SDPA])
def test_operators_are_as_they_were_afterwards(kernel):
    packet = getattr(torch.ops.aten, kernel)
    before = (packet._op, packet.default._op, getattr(torch, kernel, None))
    recorded(CALLED["math"])
    assert (packet._op, packet.default._op, getattr(torch, kernel, None)) == before


def test_torchscript_compiles_an_operator():
    def attend(x: torch.Tensor) -> torch.Tensor:
        return torch.ops.aten.scaled_dot_product_attention(x, x, x)

    script = recorded(lambda: torch.jit.script(attend))[0]
    assert torch.equal(script(X), attend(X))
