"""How the commands import torch."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from attn_cli.errors import ResourceError, is_out_of_memory
from attn_cli.inputs.text import reason_of
from attn_cli.interruption import is_own_process, loading

LEAST_SPACE = 768 * 2**20  # bytes of addresses; with less the libraries abort instead of saying so
TRY = "python -c 'import torch' says more"


@contextmanager
def for_good() -> Iterator[None]:
    """Import torch, whose many objects stay as long as the process, so that no garbage collection ever walks them.

    Where it was imported before, as in a program that calls attn, nothing is changed. A signal in between ends
    attn's process at once, any other behind the import: half a torch would fail with an error of its own.

    Raises:
        ResourceError: where torch cannot be loaded, for whatever reason.
    """
    if "torch" in sys.modules and not is_own_process():
        yield
        return
    _check_space()
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        with loading():
            yield
        _settle_threads()
    except Exception as error:  # whatever a variable such as TORCH_LOGS makes of it
        if isinstance(error, ImportError) and (error.name or "").startswith("attn_cli"):
            raise
        reason = "out of memory" if is_out_of_memory(error) else getattr(error, "strerror", None) or reason_of(error)
        said = f"PyTorch: cannot be loaded: {reason}"
        raise ResourceError(f"{said}; expected it to be installed, and memory for it", TRY) from error
    finally:
        gc.freeze()
        if was_collecting:
            gc.enable()


def _settle_threads() -> None:
    """Compute in as many threads as can be started: where one cannot, the libraries end the process by themselves."""
    import torch

    wanted, done = torch.get_num_threads(), threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(wanted - 1):
            thread = threading.Thread(target=done.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        torch.set_num_threads(1 + len(started) // 2)  # attn needs some too
    finally:
        done.set()


def _check_space() -> None:
    """Refuse a limit on memory in which torch cannot be loaded.

    Raises:
        ResourceError: where the process may have too few addresses.
    """
    try:
        import resource
    except ImportError:
        return  # a system without such limits
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < LEAST_SPACE:
        found, least = limit // 2**20, LEAST_SPACE // 2**20
        raise ResourceError(
            f"PyTorch: cannot be loaded: found {found} MiB of address space; expected at least {least} MiB",
            "raise the limit, such as with ulimit -v unlimited",
        )
