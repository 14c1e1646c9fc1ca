"""The ``attn`` command: the Typer app, and the one place that turns an error into a message and an exit code."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from attn_cli import __version__
from attn_cli.commands.bench import bench
from attn_cli.commands.check import check
from attn_cli.commands.demo import demo
from attn_cli.commands.devices import devices
from attn_cli.commands.diff import diff
from attn_cli.commands.explain import explain
from attn_cli.commands.record import record
from attn_cli.commands.recording_options import own_arguments
from attn_cli.commands.run import run
from attn_cli.commands.schema import schema
from attn_cli.commands.typer_compat import ClickException, exit_code_of, message_of
from attn_cli.errors import AttnError, ResourceError, UsageError

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``attn`` with these arguments (``sys.argv``'s by default) and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    _open_streams()
    end = own_arguments(arguments)
    own, given = arguments[:end], arguments[end:]  # the rest is for the program that is to be recorded
    with_traceback = "--traceback" in own or os.environ.get("ATTN_TRACEBACK") == "1"
    own = [argument for argument in own if argument != "--traceback"]
    try:
        code = _invoke([*own, *given])
        sys.stdout.flush()
        return _interrupted() if code == INTERRUPTED and _command_of(own) != "record" else code
    except BrokenPipeError:
        return _end_quietly()
    except SystemExit as error:
        # Typer answers a closed pipe inside a command with exit code 1 of its own.
        if isinstance(error.__context__, BrokenPipeError):
            return _end_quietly()
        raise
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except AttnError as error:
        return _fail(error, own, with_traceback)
    except ClickException as error:
        usage = UsageError(message_of(error), _help_hint(own))
        usage.exit_code = exit_code_of(error)
        return _fail(usage, own, with_traceback)
    except OSError as error:
        where = error.filename or "standard output"
        resource = ResourceError(f"{where}: {error.strerror or error}; expected it to be readable and writable")
        resource.__cause__ = error
        return _fail(resource, own, with_traceback)
    except Exception as error:
        internal = InternalError(
            f"{type(error).__name__}: {error}", "this is a fault of attn: add --traceback and report it"
        )
        internal.__cause__ = error
        return _fail(internal, own, with_traceback)


def run_and_exit() -> None:
    """The console script."""
    sys.exit(main())


def _invoke(arguments: list[str]) -> int:
    code = typer.main.get_command(app).main(args=arguments, prog_name="attn", standalone_mode=False)
    return code if isinstance(code, int) else 0


def _open_streams() -> None:
    """What is written to a closed stream goes nowhere; on one without UTF-8 a sign that it lacks becomes ``?``."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (as long as the process)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _interrupted() -> int:
    """Ctrl-C is an answer to what is going on, not a failure."""
    sys.stderr.write("attn: interrupted\n")
    return INTERRUPTED


def _end_quietly() -> int:
    """Nobody reads on: that is no failure, and Python must not complain when it flushes at exit."""
    stdout = sys.__stdout__
    if stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
    return 0


def _help_hint(arguments: list[str]) -> str:
    command = _command_of(arguments)
    return f"see attn {command} --help" if command else "see attn --help"


def _command_of(arguments: list[str]) -> str | None:
    """The command among the arguments, or None where there is none that attn has."""
    names = {command.callback.__name__ for command in app.registered_commands if command.callback}
    return next((argument for argument in arguments if argument in names), None)


def _fail(error: AttnError, arguments: list[str], with_traceback: bool) -> int:
    """Report an error: one line, a hint, and as JSON too where JSON was asked for."""
    from attn_cli.reporters.terminal.text import harmless

    if with_traceback:
        traceback.print_exception(error, file=sys.stderr)
    for one in (error, *error.others):
        sys.stderr.write(f"attn: error: {harmless(one.message)}\n")
        if one.hint:
            # A hint may list what is in a file, a line each.
            lines = [harmless(line) for line in one.hint.split("\n")]
            sys.stderr.write("\n".join([f"hint: {lines[0]}", *lines[1:]]) + "\n")
    if "--json" in arguments:
        from attn_cli.reporters.json_report import error_document, write_document

        try:
            write_document(error_document(_command_of(arguments) or "error", error), sys.stdout)
            sys.stdout.flush()
        except OSError:
            _end_quietly()  # stdout itself is what failed; stderr has said so
    return error.exit_code
