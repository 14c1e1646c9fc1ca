"""Options that several commands have, as one argument of each. Free of torch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

Command = Callable[..., int]


def with_options(name: str, build: Callable[..., object], but: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Give a command the options that ``build`` declares; it gets what they say as its argument ``name``.

    They stand where the command has that argument.

    Args:
        name: the command's argument.
        build: has a parameter for each option, with a default, and makes the argument of them.
        but: options that the command does without, or declares itself.
    """
    declared = inspect.signature(build, eval_str=True).parameters
    shared = [parameter for option, parameter in declared.items() if option not in but]

    def extended(command: Command) -> Command:
        own = list(inspect.signature(command, eval_str=True).parameters.values())
        place = next(i for i, parameter in enumerate(own) if parameter.name == name)

        @wraps(command)
        def called(**given: Any) -> int:
            built = build(**{parameter.name: given.pop(parameter.name) for parameter in shared})
            return command(**{name: built}, **given)

        # What Typer reads: the shared options stand in the argument's place.
        every = (*own[:place], *shared, *own[place + 1 :])
        parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in every]
        called.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
        called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return called

    return extended
