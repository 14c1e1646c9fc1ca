"""Whether a path can be read at all. Free of torch, so that a wrong path is answered at once."""

from __future__ import annotations

import difflib
import os
import stat

from attn_cli.errors import InputError, in_file

STDIN = "-"
EXPECTED = "expected a .safetensors, .npz, .npy, .pt or .pth file"
JSON_EXPECTED = "expected a JSON list of texts or token ids, one a key, or a list of such lists, one a batch item"


def check_readable(path: str, expected: str = EXPECTED) -> None:
    """Refuse a path that cannot be opened for reading; ``"-"``, standard input, passes.

    Args:
        path: of the file.
        expected: what it should be, for the message.

    Raises:
        InputError: where there is no such file, it is a folder, or it may not be read.
    """
    if path == STDIN:
        return
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise in_file(path, "is a folder", expected, _inside(path))
        if stat.S_ISREG(mode):
            with open(path, "rb"):
                return
    except (FileNotFoundError, NotADirectoryError):
        raise in_file(path, "no such file", expected, _alike(path)) from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def is_json(path: str) -> bool:
    """Whether a name is that of a JSON file."""
    return path.lower().endswith(".json")


def is_regular(path: str) -> bool:
    """True for a file that can be mapped and sought in, False for a pipe or a device."""
    return stat.S_ISREG(os.stat(path).st_mode)


def _unreadable(path: str, error: OSError | ValueError) -> InputError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return in_file(path, f"cannot be opened ({reason})", "expected a file that you may read")


def _alike(path: str) -> str | None:
    """A name in the same folder that was probably meant."""
    folder, name = os.path.split(path)
    try:
        near = difflib.get_close_matches(name, os.listdir(folder or "."), n=1)
    except OSError:
        return None
    return f"there is {os.path.join(folder, near[0])}" if near else None


def _inside(folder: str) -> str | None:
    """What in a folder could be read, such as a checkpoint's index."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return None
    endings = (".safetensors.index.json", ".safetensors", ".npz", ".pt", ".pth")
    found = [name for ending in endings for name in names if name.endswith(ending)]
    return f"in it is {os.path.join(folder, found[0])}" if found else None
