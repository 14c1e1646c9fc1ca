"""What happens inside a program that ``attn record`` runs, from when it has imported torch; see ``recording.job``."""

from __future__ import annotations

import atexit
import contextlib
import os

from attn_cli.recording.job import RecordJob, Told
from attn_cli.recording.libraries.base import PassedOver
from attn_cli.recording.recorder import Recorder
from attn_cli.recording.swapping.patching import listen_for_good
from attn_cli.recording.types import CaughtCall, Sink
from attn_cli.reporters.captures.journal import CaptureJournal


def start(text: str) -> None:
    """Listen from here on.

    Args:
        text: the job, as :meth:`RecordJob.as_text` gives it.

    Raises:
        OSError: where its folder cannot be written to.
    """
    job = RecordJob.from_text(text)
    sink = _Telling(job, _sink(job))
    recorder = Recorder(job.options, sink)
    Told().write(job.told)
    listen_for_good(recorder)
    atexit.register(lambda: sink.tell_all(recorder))


def _sink(job: RecordJob) -> Sink:
    if job.stats:
        from attn_cli.recording.watching import Watcher
        from attn_cli.reporters.watch_lines import WatchLines

        return Watcher(WatchLines(job.lines).write)
    return CaptureJournal(job.data, job.index, job.options.max_bytes)


class _Telling:
    """The sink of a job, which tells at once what ends a recording: a program may leave no time for it in the end."""

    def __init__(self, job: RecordJob, sink: Sink) -> None:
        self._job = job
        self._sink = sink
        self._process = os.getpid()

    def take(self, call: CaughtCall) -> bool:
        """As the sink does.

        Raises:
            PassedOver: where the sink passes the call over.
            OSError: where the disk refuses.
        """
        try:
            is_taken = self._sink.take(call)
        except PassedOver:
            raise
        except Exception as fault:
            self.tell(Told(call.number + 1, fault=f"{type(fault).__name__}: {fault}"))
            raise
        if not is_taken:
            self.tell(Told(call.number + 1, why_full=self._why_full))
        return is_taken

    def tell_all(self, recorder: Recorder) -> None:
        """What there is to say at the program's end."""
        heard = recorder.heard
        self.tell(
            Told(heard.calls, heard.passed_over, self._why_full, heard.fault, recorder.modules, heard.compiled, True)
        )

    def tell(self, told: Told) -> None:
        """Write it down, unless this is a forked child, for the recording is its parent's."""
        if os.getpid() == self._process:
            with contextlib.suppress(OSError):
                told.write(self._job.told)

    @property
    def _why_full(self) -> str | None:
        return self._sink.why_full if isinstance(self._sink, CaptureJournal) else None
