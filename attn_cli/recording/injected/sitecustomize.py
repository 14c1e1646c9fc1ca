"""What a Python process finds at its start where ``attn record`` has sent it; see ``attn_cli.recording.job``.

It puts the environment and the path back as they were, waits for torch, and gives way to the environment's own
``sitecustomize``. Nothing in here may keep the program from running, or be seen by it.
"""

from __future__ import annotations

import os
import sys

HERE = os.path.dirname(__file__)
PACKAGE = os.path.dirname(os.path.dirname(HERE))


def _taken_job() -> str | None:
    """The job, taken out of the environment with all that came with it."""
    sys.path[:] = [entry for entry in sys.path if entry != HERE]
    sys.path_importer_cache.pop(HERE, None)
    before = os.environ.pop("ATTN_RECORD_PYTHONPATH", None)
    os.environ.pop("PYTHONPATH", None)
    if before is not None:
        os.environ["PYTHONPATH"] = before
    return os.environ.pop("ATTN_RECORD_JOB", None)


def _wait_for_torch(job: str) -> None:
    """Start to listen when the program has imported torch."""
    _find_attn()
    from attn_cli.recording.swapping.arrivals import when_imported

    when_imported("torch", lambda: _start(job))


def _find_attn() -> None:
    """Make attn importable as it is where it was started from, without a change of the program's path."""
    if "attn_cli" in sys.modules:
        return
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(
        "attn_cli", os.path.join(PACKAGE, "__init__.py"), submodule_search_locations=[PACKAGE]
    )
    if spec is None or spec.loader is None:
        raise ImportError("attn_cli has no files")
    sys.modules["attn_cli"] = module = module_from_spec(spec)
    spec.loader.exec_module(module)


def _start(job: str) -> None:
    from importlib import import_module

    from attn_cli.recording.job import RecordJob, Told

    values = RecordJob.from_text(job)
    try:
        import_module(values.start).start(job)
    except Exception as error:
        try:
            Told(fault=f"{type(error).__name__}: {error}").write(values.told)
        except OSError:
            sys.stderr.write(f"attn: warning: cannot record: {type(error).__name__}: {error}\n")


def _give_way() -> None:
    """Run the ``sitecustomize`` that would have been found.

    Raises:
        ModuleNotFoundError: where there is none, which Python expects.
    """
    del sys.modules["sitecustomize"]
    __import__("sitecustomize")  # the next one on the path


_job = _taken_job()
if _job is not None:
    try:
        _wait_for_torch(_job)
    except Exception as _error:
        sys.stderr.write(f"attn: warning: cannot record: {type(_error).__name__}: {_error}\n")
_give_way()
