"""Single inputs, looked at."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.case import decoded
from tests.fuzz.laws import breaches
from tests.fuzz.sandbox import Sandbox
from tests.fuzz.targets import TARGETS


def try_cases(paths: Sequence[Path]) -> int:
    """Run each input and print what it did and what it broke; the exit code is 1 where it broke a law."""
    contents = [(path, path.read_bytes()) for path in paths]
    sandbox, broken = Sandbox(), 0
    try:
        for path, data in contents:
            broken += _try(sandbox, path, data)
    finally:
        sandbox.close()
    return int(broken > 0)


def _try(sandbox: Sandbox, path: Path, data: bytes) -> int:
    case = decoded(data)
    if case is None:
        sys.stdout.write(f"{path}: is no case\n")
        return 1
    does = TARGETS["commands" if case.argv else "files"].does
    done = sandbox.run(case, does)
    sizes = ", ".join(f"{name!r} ({len(content)} bytes)" for name, content in case.files)
    lines = [
        f"{path}:",
        f"  attn {list(case.argv)} with {sizes}",
        f"  exit code {done.code}, {done.seconds:.2f} s, {done.grew} bytes",
    ]
    lines += [f"  stderr: {done.err.decode(errors='backslashreplace')!r}", f"  stdout: {done.out[:200]!r}"]
    found = list(breaches(case, done))
    lines += [f"  BROKEN {one.law}: {one.told[:3000]}" for one in found] or ["  no law is broken"]
    sys.stdout.write("\n".join(lines) + "\n")
    return len(found)
