"""Typer's exceptions and types, wherever its releases keep them (they vendor Click since 0.26)."""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import Any

import typer

from attn_cli.errors import UsageError
from attn_cli.inputs.numbers import real, whole
from attn_cli.inputs.text import shown

# BadParameter is exported by every release; what it derives from is Click's UsageError, and that from ClickException.
ClickException: type[Exception] = typer.BadParameter.__bases__[0].__bases__[0]
LONGEST = 300  # characters
MOST_SAID = 60  # of them of a value


def with_plain_values(command: Any) -> Any:
    """The command and those beneath it, whose options take no option for a value, and numbers in plain digits alone."""
    for beneath in getattr(command, "commands", {}).values():
        with_plain_values(beneath)
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    own = (name for option in options for name in (*option.opts, *option.secondary_opts))
    names = frozenset(("--", "--help", "--version", *own))
    for option in options:
        kind = copy(option.type)
        kind.convert = partial(_converted, option.type, names)
        option.type = kind
    return command


def is_numeric(kind: object) -> bool:
    """Whether an option's type is a number, with or without bounds."""
    return str(getattr(kind, "name", "")).startswith(("int", "float"))


def _converted(kind: Any, names: frozenset[str], value: object, parameter: Any, context: Any) -> object:
    """What the type makes of a value; none of the names, and where a number is expected one as metadata have it too."""
    if isinstance(value, str):
        if value.partition("=")[0] in names:  # the next option, where the value was forgotten
            found, hint = shown(value, MOST_SAID), f"see {context.command_path} --help"
            raise UsageError(f"{parameter.opts[-1]} {found}: expected a value, found an option", hint)
        if is_numeric(kind):
            try:
                value = whole(value) if kind.name.startswith("int") else real(value)
            except ValueError:
                kind.fail(f"{value!r} is not a valid {kind.name}.", parameter, context)
    return kind.convert(value, parameter, context)


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
    if not is_numeric(kind):
        return None
    name = str(getattr(kind, "name", ""))
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
