"""attn: see what your attention is doing.

The names below are the public Python API; torch is imported when one of them is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attn_cli.api.inspecting import inspect as inspect
    from attn_cli.api.inspection import Inspection as Inspection
    from attn_cli.api.reading import load as load
    from attn_cli.api.record import record as record
    from attn_cli.attention.module import MultiHeadAttention as MultiHeadAttention

__version__ = "0.1.0"

__all__ = ["Inspection", "MultiHeadAttention", "__version__", "inspect", "load", "record"]

_HOMES = {
    "Inspection": "attn_cli.api.inspection",
    "MultiHeadAttention": "attn_cli.attention.module",
    "inspect": "attn_cli.api.inspecting",
    "load": "attn_cli.api.reading",
    "record": "attn_cli.api.record",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
