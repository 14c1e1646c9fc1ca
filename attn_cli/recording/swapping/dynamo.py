"""The rules by which ``torch.compile`` treats PyTorch's functions, kept for those that are swapped."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

RULES = "torch._dynamo.trace_rules"
_MARK = "_finds_originals"


def keep_rules(original_of: Callable[[Any], Any]) -> None:
    """Let Dynamo find the originals of swapped functions where it looks functions up by their names.

    It writes down by identity which functions become one node of a graph, such as
    ``torch.nn.functional.multi_head_attention_forward``, when it first compiles. Without this it would know the
    wrapper so, and go on into the function itself. A release that looks them up otherwise is left alone.

    Args:
        original_of: the function in whose place another stands; what is not swapped, as it is.
    """
    rules = sys.modules.get(RULES)
    load = getattr(rules, "load_object", None)
    if load is None or hasattr(load, _MARK):
        return

    @functools.wraps(load)
    def load_object(*args: Any, **kwargs: Any) -> Any:
        return original_of(load(*args, **kwargs))

    setattr(load_object, _MARK, True)
    setattr(rules, "load_object", load_object)  # noqa: B010 (a private part, which the type checker need not know)
