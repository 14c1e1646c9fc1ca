"""Where a recording keeps what is not finished yet. Free of torch."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attn_cli.errors import ResourceError
from attn_cli.interruption import held_back, mark_unfinished, remove_unfinished

SHOWN = 50  # characters of the file's name; a name has 255 bytes at most


@contextmanager
def working_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """A hidden folder beside the file that is to be, on the same disk; it is gone afterwards.

    Args:
        target: the file; a link is followed.

    Yields:
        The folder's whole path; nobody else may look into it.

    Raises:
        ResourceError: where no folder can be made there.
    """
    beside, name = os.path.split(os.path.realpath(target))
    try:
        with held_back():
            folder = Path(tempfile.mkdtemp(prefix=f".{name[:SHOWN]}.", suffix=".recording", dir=beside))
            mark_unfinished(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(f"{os.fspath(target)}: cannot be written: {reason}; expected a writable folder") from error
    try:
        yield folder
    finally:
        remove_unfinished(folder)  # not in a child that was forked in between
