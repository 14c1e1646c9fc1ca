"""A recording that a ``with`` block of a program makes of itself."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
import weakref
from contextlib import ExitStack, suppress
from types import TracebackType

from attn_cli.api.keepers import CaptureKeeper, Keeper, LinesKeeper
from attn_cli.api.stored import StoredCalls
from attn_cli.api.wording import told_in_python
from attn_cli.errors import AttnError, UsageError
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.source import open_calls
from attn_cli.recording.options import RecordOptions
from attn_cli.recording.recorder import Recorder
from attn_cli.recording.swapping.patching import listening
from attn_cli.recording.types import Heard
from attn_cli.reporters.terminal.recorded import HEARD
from attn_cli.reporters.terminal.text import count


class _Folder:
    """A folder of its own in the system's temporary one; removed with the last reference to it."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix="attn-")
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


class Recording:
    """What is heard while a ``with`` block runs.

    Args:
        path: of the file, or None.
        options: which calls to keep.
        stats: whether to keep what was found instead of the tensors.
    """

    def __init__(self, path: str | None, options: RecordOptions, stats: bool) -> None:
        self._path, self._options, self._stats = path, options, stats
        self._folder = _Folder() if path is None else None
        self._stack, self._listening = ExitStack(), ExitStack()
        self._recorder: Recorder | None = None
        self._keeper: Keeper | None = None
        self._process = os.getpid()
        self._is_over = False

    @property
    def path(self) -> str | None:
        """The file that is written when the block ends, or None."""
        return self._path

    @property
    def heard(self) -> Heard:
        """What was heard so far: ``calls``, ``kept``, ``is_full``, ``passed_over``, ``fault``, ``compiled``."""
        return Heard() if self._recorder is None else self._recorder.heard

    @property
    def calls(self) -> StoredCalls:
        """The calls that were kept, by layer, then by prefix; to be had once the block has ended.

        Raises:
            UsageError: of stats, which keep no calls.
            RuntimeError: before the end of the block.
            InputError: where the file is no longer there.
        """
        if self._stats:
            raise UsageError("calls: stats keep none; expected a recording without stats=True")
        if not self._is_over:
            raise RuntimeError("attn_cli.record: the calls can be had once the block has ended")
        if not self.heard.kept:
            return StoredCalls([])
        with told_in_python():
            return StoredCalls.of(open_calls(ReadOptions(file=self._target)), self._folder)

    @property
    def _target(self) -> str:
        if self._folder is not None:
            return os.path.join(self._folder.path, "recording.safetensors")
        assert self._path is not None  # without a path there is a folder
        return self._path

    def __enter__(self) -> Recording:
        if self._recorder is not None:
            raise RuntimeError("attn_cli.record: a recording is made once; call record again for another")
        with told_in_python(), ExitStack() as stack, ExitStack() as listening_stack:
            keeper = self._made_keeper(stack)
            recorder = Recorder(self._options, keeper.sink)
            listening_stack.enter_context(listening(recorder))
            self._keeper, self._recorder = keeper, recorder
            self._stack, self._listening = stack.pop_all(), listening_stack.pop_all()
        return self

    def _made_keeper(self, stack: ExitStack) -> Keeper:
        if self._stats:
            return LinesKeeper(self._target, stack)
        return CaptureKeeper(self._target, self._options.max_bytes, stack)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if os.getpid() != self._process or self._keeper is None:
            return  # a forked child has no part in the recording
        with self._stack:
            self._listening.close()
            self._is_over = True
            told = []
            try:
                with told_in_python():
                    dropped = self._keeper.finish()
                told = [f"the disk had no room for the last {count(dropped, 'call')}"] if dropped else []
            except AttnError as failure:
                if error is None:
                    raise
                told = [failure.message]
        told += self._shortcomings()
        if told:
            with suppress(*([] if error is None else [Warning])):  # where warnings are errors, the block's own counts
                warnings.warn(f"attn_cli.record: {'; '.join(told)}", RuntimeWarning, stacklevel=2)

    def _shortcomings(self) -> list[str]:
        """What a user has to know, in as many parts."""
        heard, told = self.heard, []
        if heard.fault is not None:
            told.append(f"the recording ended early: {heard.fault}")
        if not heard.kept:
            where = "" if self._path is None else f"; {self._path} was not written"
            told.append(f"{_why_nothing(heard)}{where}")
            told += ["attention that torch.compile takes apart cannot be heard"] if heard.compiled else []
        elif heard.is_full:
            why = "" if self._keeper is None or self._keeper.why_full is None else f": {self._keeper.why_full}"
            told.append(f"full after {count(heard.kept, 'call')}, of {heard.calls} that were heard{why}")
        if heard.passed_over:
            reasons = ", ".join(f"{reason} ({times})" for reason, times in heard.passed_over)
            told.append(f"calls that could not be recorded: {reasons}")
        return told

    def __repr__(self) -> str:
        state = "has ended" if self._is_over else "is going on" if self._recorder is not None else "has not begun"
        return f"<attn_cli.record {self._path or 'in memory'}: {state}, {count(self.heard.kept, 'call')} kept>"


def _why_nothing(heard: Heard) -> str:
    if heard.calls:
        return f"no attention call was kept, of {heard.calls} that were heard"
    kept = "that an object, a table or a closure has kept since before the block is not heard"
    remedy = "look it up when it is called, or use attn record"
    return f"no attention call was heard; attn hears {HEARD}; one {kept}: {remedy}"
