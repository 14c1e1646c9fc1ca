"""Hears calls of attention functions, and gives those that are wanted to a sink."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor

from attn_cli.attention.ambient import plainly
from attn_cli.recording.caught import make_caught
from attn_cli.recording.faults import reason, told
from attn_cli.recording.libraries.base import Args, Kwargs, PassedOver, Point
from attn_cli.recording.libraries.packed_queries import unpacked
from attn_cli.recording.options import RecordOptions
from attn_cli.recording.places.place import Place, Places
from attn_cli.recording.swapping.real_runs import inside, is_a_run, tensors_of, unseen, untraced, why_unreadable
from attn_cli.recording.token_ids import TokenIds
from attn_cli.recording.types import CaughtCall, Heard, RawCall, Sink

MOST_NOTED = 20


@dataclass(frozen=True)
class _Made:
    """A call that has been made: what a point was given, and what it returned."""

    point: Point
    args: Args
    kwargs: Kwargs
    result: Any
    tensors: tuple[Tensor, ...]

    @classmethod
    def of(cls, point: Point, args: Args, kwargs: Kwargs, result: Any) -> _Made:
        tensors = (*tensors_of((*args, *kwargs.values())), *tensors_of((result,)))
        return cls(point, args, kwargs, result, tensors)

    def raw(self, place: Place) -> RawCall:
        """The call as the library understands it.

        Raises:
            PassedOver: where it cannot be recorded.
        """
        why = why_unreadable(tensor for tensor in self.tensors if not self.point.understands(tensor))
        if why is not None:
            raise PassedOver(why)
        try:
            raw = self.point.translate(self.args, self.kwargs, self.result)
        except Exception:
            if any(0 in tensor.shape for tensor in self.tensors if not tensor.is_nested):
                raise PassedOver("empty tensors") from None
            raise
        return unpacked(raw, place.site.caller, place.module)


class Recorder:
    """Hears what a program's threads call. Nothing that goes wrong in it reaches the program.

    A call that cannot be recorded, for whatever reason, is passed over; only what goes wrong in the sink ends the
    recording.
    """

    def __init__(self, options: RecordOptions, sink: Sink) -> None:
        self._options = options
        self._sink = sink
        self._places = Places()
        self._token_ids = TokenIds()
        self._lock = threading.Lock()  # of the counts; the sink is never asked with it
        self._ids_lock = threading.Lock()
        self._process = os.getpid()
        self._calls = 0
        self._kept = 0
        self._is_full = False
        self._passed_over: Counter[str] = Counter()
        self._fault: str | None = None
        self._compiled = False
        self._modules: dict[str, None] = {}

    @property
    def heard(self) -> Heard:
        """What was heard so far. No lock is taken: a signal's handler may ask at any time."""
        kept, passed_over = self._kept, Counter(dict(self._passed_over))
        return Heard(self._calls, kept, self._is_full, tuple(passed_over.most_common()), self._fault, self._compiled)

    @property
    def modules(self) -> tuple[str, ...]:
        """Paths of modules that made calls, wanted or not: the first of them."""
        return tuple(self._modules)

    @property
    def is_listening(self) -> bool:
        """False once the recording has failed, and in a forked child."""
        return self._fault is None and os.getpid() == self._process

    def note_compile(self) -> None:
        """The program has used ``torch.compile``."""
        self._compiled = True

    def end(self, fault: Exception) -> None:
        """Record no more, for something went wrong in the recording itself; the first fault is told."""
        self._fault = self._fault or told(fault)

    def hears(self, point: Point, args: Args, kwargs: Kwargs) -> bool:
        """Whether a call is to be heard itself, rather than one that it makes; translating it tells what is wrong."""
        try:
            with inside(), unseen():
                return point.hears(args, kwargs)
        except Exception:
            return True

    def hear(self, point: Point, args: Args, kwargs: Kwargs, result: Any) -> None:
        """Take note of a call that has been made, from the thread that made it."""
        if not self.is_listening:
            return
        try:
            with untraced(), inside(), unseen():
                self._hear(_Made.of(point, args, kwargs, result))
        except Exception as fault:
            self._pass_over(reason(fault))

    def _hear(self, made: _Made) -> None:
        if not is_a_run(made.tensors, made.result):
            return
        number = self._counted()
        stop = self._options.call_stop
        if self._is_full or (stop is not None and number >= stop):
            return
        place = self._places.place_of_call(made.point.function, made.point.below)
        self._note_module(place.site.module)
        if not self._is_wanted(place.site.module):
            return
        with plainly({tensor.device.type for tensor in made.tensors}):
            if number >= self._options.first_call:
                self._keep(self._caught(made, place, number))
            elif place.given is not None:
                with contextlib.suppress(Exception):  # nobody asked for this call
                    self._ids_of_keys(made.raw(place), place)

    def _counted(self) -> int:
        """The number of a call."""
        with self._lock:
            self._calls += 1
            return self._calls - 1

    def _note_module(self, module: str) -> None:
        if len(self._modules) < MOST_NOTED:
            self._modules[module] = None

    def _is_wanted(self, module: str) -> bool:
        return not self._options.layers or any(fnmatchcase(module, layer) for layer in self._options.layers)

    def _caught(self, made: _Made, place: Place, number: int) -> CaughtCall:
        raw = made.raw(place)
        return make_caught(raw, number, place.site, self._options, self._ids_of_keys(raw, place))

    def _ids_of_keys(self, raw: RawCall, place: Place) -> Tensor | None:
        """The token ids of a call's keys; asked for also where a call is too early, for the sake of those to come."""
        given = place.given
        if given is None:
            return None
        path, num_queries = place.site.module, raw.q.shape[2]
        with self._ids_lock:
            return self._token_ids.of_keys(given.module, given.args, given.kwargs, path, raw.k, num_queries)

    def _keep(self, call: CaughtCall) -> None:
        if self._is_full:
            return
        try:
            is_taken = self._sink.take(call)
        except PassedOver:
            raise
        except Exception as fault:
            self.end(fault)
            return
        with self._lock:
            self._is_full |= not is_taken
            self._kept += is_taken

    def _pass_over(self, why: str) -> None:
        with self._lock:
            self._passed_over[why] += 1
