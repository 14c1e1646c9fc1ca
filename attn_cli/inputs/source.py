"""Where reading begins: a file, a pipe or three ``.npy`` files as a source of attention calls."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from attn_cli.errors import UsageError
from attn_cli.inputs.loading import CallPlan
from attn_cli.inputs.options import ReadOptions, check_pipes_once
from attn_cli.inputs.paths import STDIN, check_readable, check_regular, is_regular
from attn_cli.inputs.plans import plan_calls
from attn_cli.inputs.readers.base import TensorFile
from attn_cli.inputs.readers.choose import open_tensor_file
from attn_cli.inputs.readers.npy_files import NpyFiles
from attn_cli.inputs.spool import spool_pipe, spool_stdin
from attn_cli.interruption import remove_unfinished


@dataclass(frozen=True)
class CallSource:
    """The attention calls of an open file.

    Attributes:
        plans: one for each call, modules as a recorded program ran them, else by layer and name, then by step; each is
            read by its own ``load()``.
    """

    plans: tuple[CallPlan, ...]
    _stack: ExitStack
    _files: tuple[TensorFile, ...] = ()

    def check_unchanged(self) -> None:
        """Refuse files that changed since they were opened; leaving the ``with`` block does so too.

        Raises:
            InputError: where one was written to or cut short.
        """
        for file in self._files:
            file.check_unchanged()

    def close(self) -> None:
        """Close the files and remove what was spooled; tensors that were loaded stay valid."""
        self._stack.close()

    def __enter__(self) -> CallSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.check_unchanged()
        finally:
            self.close()


def open_calls(options: ReadOptions) -> CallSource:
    """Open a file and find the attention calls in it; no tensor is read yet.

    Raises:
        UsageError: where the flags do not say what to read.
        InputError: where a file cannot be read, or it is unclear what in it is meant.
        ResourceError: where standard input does not fit the temporary folder.
    """
    with ExitStack() as stack:
        file, weights = open_tensors(options, stack)
        plans = plan_calls(options, file, weights)
        return CallSource(plans, stack.pop_all(), (file,) if weights is None else (file, weights))


def open_tensors(options: ReadOptions, stack: ExitStack) -> tuple[TensorFile, TensorFile | None]:
    """Open a file and, where one is named, the file with its projection weights; no call need be in it.

    Args:
        options: what the flags say.
        stack: closes both files.

    Raises:
        UsageError, InputError, ResourceError: as :func:`open_calls`, but for the calls.
    """
    _check_usage(options)
    file = _open_file(options, stack)
    return file, None if options.weights_file is None else _open(options.weights_file, stack)


def _check_usage(options: ReadOptions) -> None:
    missing = [flag for flag, name in (("--q", options.q), ("--k", options.k), ("--v", options.v)) if name is None]
    if options.file is None and missing:
        without = "no FILE" if len(missing) == 3 else f"no FILE and no {' and no '.join(missing)}"
        raise UsageError(f"{without}: expected a FILE, or one .npy file each for --q, --k and --v")
    check_pipes_once(options)


def _open_file(options: ReadOptions, stack: ExitStack) -> TensorFile:
    if options.file is not None:
        return _open(options.file, stack)
    paths = {role: path for role, path in (("q", options.q), ("k", options.k), ("v", options.v)) if path is not None}
    for path in paths.values():
        check_regular(path)
    file = NpyFiles(paths)
    stack.callback(file.close)
    return file


def _open(path: str, stack: ExitStack) -> TensorFile:
    """Open one file; what comes through a pipe is spooled first and removed with the source."""
    check_readable(path)
    place = path
    if path == STDIN or not is_regular(path):
        place = spool_stdin() if path == STDIN else spool_pipe(path)
        stack.callback(remove_unfinished, Path(place))
    file = open_tensor_file(place, path)
    stack.callback(file.close)
    return file
