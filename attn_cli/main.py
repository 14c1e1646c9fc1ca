"""The ``attn`` command: the Typer app, and the one place that turns an error into a message and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import typer

from attn_cli import __version__
from attn_cli.commands.bench import bench
from attn_cli.commands.check import check
from attn_cli.commands.completing import check_completion
from attn_cli.commands.demo import demo
from attn_cli.commands.devices import devices
from attn_cli.commands.diff import diff
from attn_cli.commands.explain import explain
from attn_cli.commands.record import record
from attn_cli.commands.recording_options import own_arguments
from attn_cli.commands.run import run
from attn_cli.commands.schema import schema
from attn_cli.commands.sizes import odd_sizes_aside
from attn_cli.commands.typer_compat import ClickException, exit_code_of, message_of, with_plain_values
from attn_cli.errors import AttnError, ResourceError, UsageError, is_out_of_memory
from attn_cli.inputs.paths import LACKING
from attn_cli.interruption import Terminated, obeyed, raise_again
from attn_cli.reporters.failures import (
    Asked,
    end_quietly,
    end_streams,
    open_streams,
    refusal_of,
    tell_failed,
    tell_interrupted,
)
from attn_cli.reporters.json_report import no_document_yet

INTERRUPTED = 130

app = typer.Typer(name="attn", rich_markup_mode="rich", pretty_exceptions_enable=False)
app.command()(run)
app.command()(demo)
app.command()(check)
app.command()(explain)
app.command()(diff)
app.command(context_settings={"allow_interspersed_args": False})(record)
app.command()(bench)
app.command()(devices)
app.command()(schema)


class InternalError(AttnError):
    """A fault of attn itself. Exit code 3."""

    code = "internal"
    exit_code = 3


def _show_version(is_asked: bool) -> None:
    if is_asked:
        sys.stdout.write(f"attn {__version__}\n")
        raise typer.Exit


@app.callback()
def attn(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    with_traceback: Annotated[
        bool, typer.Option("--traceback", help="On an error, show where in attn it arose (or set ATTN_TRACEBACK=1).")
    ] = False,
) -> None:
    """See what your attention is doing: every head, from plain tensor files.

    Start with [bold]attn demo[/bold], then [bold]attn run FILE[/bold].
    """


def main(argv: Sequence[str] | None = None, *, is_own_process: bool = False) -> int:
    """Run ``attn`` with these arguments and return its exit code.

    Args:
        argv: the arguments; None is ``sys.argv``'s.
        is_own_process: nothing else is going on in this process, so that a signal may end it at once.
    """
    arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    asked = Asked(None, "--json" in arguments, with_traceback=False)
    try:
        with obeyed((lambda number: tell_interrupted(number, asked)) if is_own_process else None), odd_sizes_aside():
            open_streams(is_own_process=is_own_process)
            no_document_yet()
            asked, arguments = _understood(arguments)
            return _answer(arguments, asked)
    except (KeyboardInterrupt, Terminated) as error:
        return tell_interrupted(getattr(error, "number", signal.SIGINT), asked)


def run_and_exit() -> None:
    """The console script."""
    code = main(is_own_process=True)
    end_streams()
    sys.exit(code)


def _understood(arguments: list[str]) -> tuple[Asked, list[str]]:
    """What is asked for, and the arguments without what is understood by that."""
    end = own_arguments(arguments)
    own, given = arguments[:end], arguments[end:]
    with_traceback = "--traceback" in own or os.environ.get("ATTN_TRACEBACK") == "1"
    own = [argument for argument in own if argument != "--traceback"]
    return Asked(_command_of(own), "--json" in own, with_traceback), [*own, *given]


def _answer(arguments: list[str], asked: Asked) -> int:
    """Do what was asked for; an error becomes a message and an exit code."""
    try:
        code = _invoke(arguments)
        sys.stdout.flush()
        if code == INTERRUPTED:  # what bench measured until then is told
            raise_again()
            if asked.command != "record":
                raise KeyboardInterrupt
        return code
    except BrokenPipeError:
        return end_quietly()
    except Terminated:
        raise
    except SystemExit as error:
        # Typer answers a closed pipe inside a command with exit code 1 of its own.
        if isinstance(error.__context__, BrokenPipeError):
            return end_quietly()
        raise
    except typer.Abort:
        raise KeyboardInterrupt from None
    except AttnError as error:
        return tell_failed(error, asked)
    except ClickException as error:
        usage = UsageError(message_of(error), _help_hint(asked.command))
        usage.exit_code = exit_code_of(error)
        return tell_failed(usage, asked)
    except Exception as error:
        told = _as_attn_error(error)
        if isinstance(told, InternalError):
            raise_again()
        return tell_failed(told, asked)


def _as_attn_error(error: Exception) -> AttnError:
    told: AttnError
    if is_out_of_memory(error):
        told = ResourceError("out of memory; expected room for what was asked for")
    elif isinstance(error, OSError):
        told = _as_resource_error(error)
    else:
        said = f"{type(error).__name__}: {error}"
        told = InternalError(said, "this is a fault of attn: add --traceback and report it")
    told.__cause__ = error
    return told


def _as_resource_error(error: OSError) -> ResourceError:
    if (refusal := refusal_of(error)) is not None:
        return refusal
    reason = error.strerror or str(error)
    if error.filename is not None and error.errno not in LACKING:  # else it is no fault of that file
        expected = {FileExistsError: "a folder", NotADirectoryError: "it to lie in a folder"}
        wanted = expected.get(type(error), "it to be readable and writable")
        return ResourceError(f"{error.filename}: {reason}; expected {wanted}")
    return ResourceError(f"the system refuses what attn needs: {reason}; expected it to be allowed")


@cache
def commands() -> Any:
    """What Typer makes of all commands and their options; some 15 ms, once a process."""
    return with_plain_values(typer.main.get_command(app))


def _invoke(arguments: list[str]) -> int:
    check_completion(os.environ)
    code = commands().main(args=arguments, prog_name="attn", standalone_mode=False)
    return code if isinstance(code, int) else 0


def _help_hint(command: str | None) -> str:
    return f"see attn {command} --help" if command else "see attn --help"


def _command_of(arguments: list[str]) -> str | None:
    """The command among the arguments, or None where there is none that attn has."""
    names = {command.callback.__name__ for command in app.registered_commands if command.callback}
    return next((argument for argument in arguments if argument in names), None)
