"""Typer's exceptions, wherever its releases keep them (they vendor Click since 0.26)."""

from __future__ import annotations

import typer

from attn_cli.inputs.text import shown

# BadParameter is exported by every release; what it derives from is Click's UsageError, and that from ClickException.
ClickException: type[Exception] = typer.BadParameter.__bases__[0].__bases__[0]
LONGEST = 300  # characters
MOST_SAID = 60  # of them of a value


def message_of(error: Exception) -> str:
    """What the exception has to say, in one line."""
    text = _of_value(error)
    if text is None:
        format_message = getattr(error, "format_message", None)
        text = str(format_message()) if callable(format_message) else str(error)
    return shown(" ".join(text.split()), LONGEST)


def _of_value(error: Exception) -> str | None:
    """``--top -1: expected a whole number from 0``; None where the exception is not about an option's value."""
    option, kind, (found, is_not, _) = _option_of(error), _kind_of(error), str(error).partition(" is not ")
    if option is None or not is_not:
        return None
    choices = getattr(kind, "choices", None)
    if choices:
        names = (str(getattr(choice, "value", choice)) for choice in choices)
        return f"{option} {_value(found)}: expected one of {', '.join(names)}"
    name = str(getattr(kind, "name", ""))
    if not name.startswith(("int", "float")):
        return None
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    number = "a whole number" if name.startswith("int") else "a number"
    bounds = ("" if low is None else f" from {low}") + ("" if high is None else f" to {high}")
    return f"{option} {_value(found)}: expected {number}{bounds}"


def _kind_of(error: Exception) -> object:
    return getattr(getattr(error, "param", None), "type", None)


def _option_of(error: Exception) -> str | None:
    names = getattr(getattr(error, "param", None), "opts", None)
    return str(names[-1]) if isinstance(error, typer.BadParameter) and names else None


def _value(quoted: str) -> str:
    """What was given, without the quotes of Python."""
    bare = quoted[1:-1] if len(quoted) > 1 and quoted[0] == quoted[-1] and quoted[0] in "'\"" else quoted
    return f"'{bare}'" if not bare.strip() else shown(bare, MOST_SAID)


def exit_code_of(error: Exception) -> int:
    """The exit code the exception asks for."""
    return int(getattr(error, "exit_code", 2))
