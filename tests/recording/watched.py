"""Calls as they are caught, made of tensors that no program has."""

from dataclasses import replace

from attn_cli.attention import textbook
from attn_cli.recording.types import CallSite, CaughtCall
from tests.attention.calls import make_call

SITE = CallSite("encoder.layer.3.attention", "Model", 0, "scaled_dot_product_attention", "model.py:7 in forward")


def caught(inputs, number=0, site=SITE, **more) -> CaughtCall:
    """The call of these inputs."""
    return CaughtCall(number, site, inputs, more.pop("align", "bottom-right"), **more)


def answered(inputs, **more) -> CaughtCall:
    """The same with the output that the textbook gives."""
    return caught(inputs, output=textbook.attend(inputs).output.to(inputs.q.dtype), **more)


def broken(number, role="k", **options) -> CaughtCall:
    """A call with one number in one place."""
    inputs = make_call(**options)
    x = getattr(inputs, role).clone()
    x[0, 1, 2, 3] = number
    return caught(replace(inputs, **{role: x}))
