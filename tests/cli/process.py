"""Runs ``attn`` as a process, as a shell would."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "sample_inputs"
MINILM = str(SAMPLES / "minilm.safetensors")

# However quick the run: a bar of a thread of its own may come too late.
BAR_AT_ONCE = """
import threading, types
import attn_cli.reporters.progress as own
class AtOnce(threading.Timer):
    def start(self):
        self.function()
own.threading = types.SimpleNamespace(Lock=threading.Lock, Timer=AtOnce)
"""

# What a process that was to be attn runs in its place.
INSTEAD = """
import sys
import attn_cli.__main__

def run_and_exit():
    try:
        exec(compile({program!r}, "program.py", "exec"), {{"__name__": "__main__"}})
    finally:
        sys.stdout.flush()
    sys.exit()

attn_cli.__main__.run_and_exit = run_and_exit
"""


def environment(**extra):
    """The process's environment without whatever the person who runs the tests has set for what is printed."""
    names = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "ATTN_TRACEBACK", "PYTHONUNBUFFERED")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    return {**clean, "PYTHONUTF8": "1", **extra}


def attn(*arguments, stdin=None, before="", cwd=ROOT, **env):
    """``attn ARGUMENTS`` to its end in a process of its own, which has PyTorch imported already; output as bytes."""
    from tests.hostile.warm import warm

    return warm(*arguments, stdin=stdin, before=before, cwd=cwd, seconds=120, **env)


def python(program, *arguments, stdin=None, cwd=ROOT, **env):
    """A Python program to its end in a process of its own, which has PyTorch and attn imported already."""
    from tests.hostile.warm import warm

    return warm(*arguments, stdin=stdin, before=INSTEAD.format(program=program), cwd=cwd, seconds=120, **env)


def attn_from_scratch(*arguments, stdin=None, cwd=ROOT, **env):
    """``attn ARGUMENTS`` to its end as a shell would start it, output as bytes."""
    return subprocess.run(
        [sys.executable, "-m", "attn_cli", *arguments],
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        cwd=cwd,
        env={**environment(**env), "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )
