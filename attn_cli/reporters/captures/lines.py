"""Gives what ``attn record --stats`` has written its name. Free of torch."""

from __future__ import annotations

import os
from pathlib import Path

from attn_cli.reporters.atomic import atomic_write, naming
from attn_cli.reporters.captures.index import whole_lines


def finish_lines(lines: Path, target: str | os.PathLike[str]) -> int:
    """Cut off a line that was not written to its end, and rename the file; without a line nothing is replaced.

    Args:
        lines: what a program's process has written; it is used up.
        target: the file to write or to replace, on the same disk.

    Returns:
        The bytes of the file.

    Raises:
        ResourceError: where the disk refuses.
    """
    size = sum(map(len, whole_lines(lines))) if lines.exists() else 0
    if size:
        with naming(target), atomic_write(target) as temporary:
            os.truncate(lines, size)
            os.replace(lines, temporary)
    return size
