"""A capture as it is written while the program runs: the bytes of tensors, and a line for every whole call."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from attn_cli.inputs.kept_heads import HEADS, TOTAL
from attn_cli.inputs.names import OUTPUT, TOKEN_IDS, WEIGHTS, with_step
from attn_cli.inputs.settings import align_name
from attn_cli.inputs.tokens import KEY as TOKENS
from attn_cli.recording.types import CallSite, CaughtCall
from attn_cli.reporters.captures.index import (
    LARGEST_HEADER,
    ROOM,
    WrittenCall,
    WrittenTensor,
    plain_text,
    rest_of,
)
from attn_cli.reporters.captures.rules import rule_metadata, rule_tensors
from attn_cli.reporters.captures.tensor_bytes import storable, stored_dtype, write_tensor

MOST_HEADER = LARGEST_HEADER * 9 // 10  # names may grow when the file is finished
ENTRY = 100  # characters, at most, around a name in the header
CALL = "call"
WhyFull = Literal["bytes", "names", "disk"]


@dataclass(frozen=True)
class _Written:
    """How far the files are written: sizes in bytes; ``header`` is what the names will need at most."""

    data: int = 0
    rest: int = 0
    index: int = 0
    header: int = 0


class CaptureJournal:
    """A sink that writes every call as it comes, so that a call is there whole or not at all.

    The tensors' bytes come first, then a line in the index. No file is kept open between calls: a program may close
    what it did not open, or become two.

    Args:
        data: a new file for the tensors, behind room for a header.
        index: a new file, a line a call.
        max_bytes: how large the tensors may become together; None is without limit.

    Raises:
        OSError: where the files cannot be made.
    """

    def __init__(self, data: Path, index: Path, max_bytes: int | None = None) -> None:
        self._paths = (data, rest_of(data), index)
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._written = _Written()
        self._next: _Written | None = None
        self._prefixes: set[str] = set()
        self._last_steps: dict[str, int] = {}
        self._why_full: WhyFull | None = None
        for path in self._paths:
            path.write_bytes(b" " * ROOM if path == data else b"")

    @property
    def why_full(self) -> WhyFull | None:
        """What there is no more room for: the tensors' ``"bytes"``, their ``"names"``, on the ``"disk"``; or None."""
        return self._why_full

    def take(self, call: CaughtCall) -> bool:
        """Write a call.

        Returns:
            False where it would make the tensors, or the names of all, too large, and ever after.

        Raises:
            OSError: where the disk refuses; what was taken before stays whole.
        """
        if os.getpid() != self._process:
            return False
        with self._lock:
            self._settle()
            tensors = _tensors(call)
            size = sum(x.nbytes for x in tensors.values())
            if not self._has_room(size):
                return False
            written = self._place(call, tensors)
            line = written.as_line()
            following = self._following(written, size, len(line))
            if following.header > MOST_HEADER:
                self._why_full = "names"
                return False
            try:
                self._write(tensors, written)
                # An interrupt may fall between the line and what is noted of it; then the index tells.
                self._next = following
                self._write_line(line)
            except OSError:
                self._why_full = "disk"
                raise
            self._settle()
            return True

    def _settle(self) -> None:
        if self._next is not None and self._paths[2].stat().st_size >= self._next.index:
            self._written = self._next
        self._next = None

    def _has_room(self, size: int) -> bool:
        taken = self._written.data + self._written.rest
        if self._max_bytes is not None and taken + size > self._max_bytes:
            self._why_full = "bytes"
        return self._why_full is None

    def _place(self, call: CaughtCall, tensors: Mapping[str, Tensor]) -> WrittenCall:
        """The call with a step that no other of its module has, and places for its tensors."""
        module, step = self._own_prefix(call.site)
        placed = []
        ends = {True: self._written.data, False: self._written.rest}
        for role, x in tensors.items():
            one = WrittenTensor(role, stored_dtype(x), tuple(x.shape), 0, x.nbytes)
            begin, ends[one.is_even] = ends[one.is_even], ends[one.is_even] + x.nbytes
            placed.append(WrittenTensor(role, one.dtype, one.shape, begin, begin + x.nbytes))
        return WrittenCall(module, step, tuple(placed), _metadata(call, step))

    def _own_prefix(self, site: CallSite) -> tuple[str, int]:
        """The call's module and step; where another call of the module has this step already, the next free one."""
        module, step = plain_text(site.module), site.step
        last = self._last_steps.get(module, -1)
        if with_step(module, step) in self._prefixes:
            step = last + 1
        self._last_steps[module] = max(step, last)
        self._prefixes.add(with_step(module, step))
        return module, step

    def _following(self, call: WrittenCall, size: int, line: int) -> _Written:
        """How far the files are once this call is in them."""
        now = self._written
        even = sum(one.end - one.begin for one in call.tensors if one.is_even)
        names = (len(call.tensors) + len(call.metadata)) * (len(with_step(call.module, call.step)) + ENTRY)
        return _Written(now.data + even, now.rest + size - even, now.index + line, now.header + line + names)

    def _write(self, tensors: Mapping[str, Tensor], call: WrittenCall) -> None:
        data, rest, _ = self._paths
        for path, is_even, room in ((data, True, ROOM), (rest, False, 0)):
            places = [one for one in call.tensors if one.is_even == is_even and one.end > one.begin]
            if places:
                with _opened(path) as handle:
                    for one in places:
                        write_tensor(handle, tensors[one.role], room + one.begin)

    def _write_line(self, line: bytes) -> None:
        with _opened(self._paths[2]) as handle:
            os.pwrite(handle, line, self._written.index)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def _tensors(call: CaughtCall) -> dict[str, Tensor]:
    """What there is of the call, by role."""
    inputs = call.inputs
    named = {"q": inputs.q, "k": inputs.k, "v": inputs.v, OUTPUT: call.output, WEIGHTS: call.weights}
    every = {**named, **rule_tensors(inputs.rules), TOKEN_IDS: inputs.token_ids}
    return {role: storable(x) for role, x in every.items() if x is not None}


def _metadata(call: CaughtCall, step: int) -> dict[str, str]:
    """What is no tensor, in such words as a file can hold."""
    inputs, site = call.inputs, call.site
    texts = {
        "causal": "false",
        **rule_metadata(inputs.rules, align_name(call.align), is_chosen=True),
        "scale": repr(float(inputs.scale)) if inputs.q.shape[-1] else "1.0",
        CALL: json.dumps({"number": call.number, **asdict(site), "step": step, "dropout": call.dropout}),
    }
    if not inputs.index.has_every_head:
        texts |= {HEADS: json.dumps(inputs.index.heads), TOTAL: str(inputs.index.total_heads)}
    if call.tokens is not None:
        texts[TOKENS] = json.dumps(call.tokens)
    return {key: plain_text(text) for key, text in texts.items()}
