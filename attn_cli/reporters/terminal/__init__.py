"""Results as text for people: at any width, on dark and light backgrounds, with and without colour.

What needs torch is imported when it is first used: an error is told by this room too, and has to be quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attn_cli.reporters.terminal.bench import render_bench
    from attn_cli.reporters.terminal.check import render_checked, render_rule, render_rules, render_verdict
    from attn_cli.reporters.terminal.devices import render_devices
    from attn_cli.reporters.terminal.diff import render_diff
    from attn_cli.reporters.terminal.explain import render_explanation
    from attn_cli.reporters.terminal.layout import picture_limits
    from attn_cli.reporters.terminal.lesson import render_lesson
    from attn_cli.reporters.terminal.run import render_run

__all__ = [
    "picture_limits",
    "render_bench",
    "render_checked",
    "render_devices",
    "render_diff",
    "render_explanation",
    "render_lesson",
    "render_rule",
    "render_rules",
    "render_run",
    "render_verdict",
]

_HOMES = {
    "picture_limits": "layout",
    "render_bench": "bench",
    "render_checked": "check",
    "render_devices": "devices",
    "render_diff": "diff",
    "render_explanation": "explain",
    "render_lesson": "lesson",
    "render_rule": "check",
    "render_rules": "check",
    "render_run": "run",
    "render_verdict": "check",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
