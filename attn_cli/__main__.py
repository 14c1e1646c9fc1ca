"""``python -m attn_cli``, and the console script: what can go wrong before attn is there to tell."""

from __future__ import annotations

import os

INTERRUPTED, RESOURCE = 130, 3


def run_and_exit() -> None:
    """Import attn and run it. A Ctrl-C meanwhile, or a system that refuses, is one line and an exit code too."""
    try:
        from attn_cli.main import run_and_exit

        run_and_exit()
    except KeyboardInterrupt:
        _end(INTERRUPTED, "attn: interrupted")
    except (OSError, MemoryError) as error:
        _end(RESOURCE, f"attn: error: cannot be started: {error or 'out of memory'}; expected files and memory for it")


def _end(code: int, line: str) -> None:
    """Say it and end at once: what is half imported may fail at Python's own end."""
    try:
        os.write(2, f"{line}\n".encode("utf-8", "replace"))
    finally:
        os._exit(code)


if __name__ == "__main__":
    run_and_exit()
