"""Hears calls of attention functions, and gives those that are wanted to a sink."""

from __future__ import annotations

import threading
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor

from attn_cli.attention.ambient import plainly
from attn_cli.recording.caught import make_caught
from attn_cli.recording.libraries.base import Args, Kwargs, PassedOver, Point
from attn_cli.recording.libraries.packed_queries import unpacked
from attn_cli.recording.options import RecordOptions
from attn_cli.recording.places import Place, Places
from attn_cli.recording.real_runs import inside, is_a_run, process, tensors_of, unseen, why_unreadable
from attn_cli.recording.token_ids import TokenIds
from attn_cli.recording.types import CallSite, CaughtCall, Heard, RawCall, Sink

MOST_NOTED = 20


class Recorder:
    """Hears what a program's threads call, one after the other. Nothing that goes wrong in it reaches the program."""

    def __init__(self, options: RecordOptions, sink: Sink) -> None:
        self._options = options
        self._sink = sink
        self._places = Places()
        self._token_ids = TokenIds()
        self._lock = threading.Lock()
        self._process = process()
        self._calls = 0
        self._kept = 0
        self._is_full = False
        self._passed_over: Counter[str] = Counter()
        self._fault: str | None = None
        self._compiled = False
        self._modules: dict[str, None] = {}

    @property
    def heard(self) -> Heard:
        """What was heard so far."""
        with self._lock:
            passed_over = tuple(self._passed_over.most_common())
            return Heard(self._calls, self._kept, self._is_full, passed_over, self._fault, self._compiled)

    @property
    def modules(self) -> tuple[str, ...]:
        """Paths of modules that made calls, wanted or not: the first of them."""
        return tuple(self._modules)

    @property
    def is_listening(self) -> bool:
        """False once the recording has failed, and in a forked child."""
        return self._fault is None and process() == self._process

    def note_compile(self) -> None:
        """The program has used ``torch.compile``."""
        self._compiled = True

    def end(self, fault: Exception) -> None:
        """Record no more, for something went wrong in the recording itself; the first fault is told."""
        self._fault = self._fault or _told(fault)

    def hears(self, point: Point, args: Args, kwargs: Kwargs) -> bool:
        """Whether a call is to be heard itself, rather than one that it makes."""
        return bool(self._without_fault(lambda: point.hears(args, kwargs)))

    def hear(self, point: Point, args: Args, kwargs: Kwargs, result: Any) -> None:
        """Take note of a call that has been made, from the thread that made it."""
        if self.is_listening:
            self._without_fault(lambda: self._hear(point, args, kwargs, result))

    def _without_fault(self, do: Callable[[], Any]) -> Any:
        try:
            with inside(), unseen():
                return do()
        except Exception as fault:
            self.end(fault)
            return None

    def _hear(self, point: Point, args: Args, kwargs: Kwargs, result: Any) -> None:
        tensors = (*tensors_of((*args, *kwargs.values())), *tensors_of((result,)))
        if not is_a_run(tensors, result):
            return
        with self._lock:
            number, is_over = self._calls, self._is_full
            self._calls += 1
        stop = self._options.call_stop
        if is_over or (stop is not None and number >= stop):
            return
        place = self._places.place_of_call(point.function, point.below)
        self._note_module(place.site.module)
        is_early = number < self._options.first_call
        if not self._is_wanted(place.site.module) or (is_early and place.given is None):
            return
        try:
            self._catch(point, args, kwargs, result, tensors, place, number, is_early)
        except PassedOver as reason:
            self._pass_over(str(reason), is_early)

    def _note_module(self, module: str) -> None:
        if len(self._modules) < MOST_NOTED:
            self._modules[module] = None

    def _is_wanted(self, module: str) -> bool:
        return not self._options.layers or any(fnmatchcase(module, layer) for layer in self._options.layers)

    def _catch(
        self,
        point: Point,
        args: Args,
        kwargs: Kwargs,
        result: Any,
        tensors: tuple[Tensor, ...],
        place: Place,
        number: int,
        is_early: bool,
    ) -> None:
        """Keep a call; one that is too early is only followed, for the token ids of those to come."""
        reason = why_unreadable(tensor for tensor in tensors if not point.understands(tensor))
        if reason is not None:
            raise PassedOver(reason)
        with plainly({tensor.device.type for tensor in tensors}):
            raw = unpacked(point.translate(args, kwargs, result), place.site.caller, place.module)
            with self._lock:
                ids = self._ids_of_keys(raw, place)
            if not is_early:
                self._keep(make_caught(raw, number, _inside(place.site, raw), self._options, ids))

    def _ids_of_keys(self, raw: RawCall, place: Place) -> Tensor | None:
        given = place.given
        if given is None:
            return None
        path, num_queries = place.site.module, raw.q.shape[2]
        return self._token_ids.of_keys(given.module, given.args, given.kwargs, path, raw.k, num_queries)

    def _keep(self, call: CaughtCall) -> None:
        with self._lock:
            if self._is_full:
                return
            self._is_full = not self._sink.take(call)
            self._kept += not self._is_full

    def _pass_over(self, reason: str, is_early: bool) -> None:
        if not is_early:
            with self._lock:
                self._passed_over[reason] += 1


def _inside(site: CallSite, raw: RawCall) -> CallSite:
    return replace(site, module=f"{site.module}.{raw.below}") if raw.below else site


def _told(fault: Exception) -> str:
    """The fault in one line, with the place where it arose; without the frames, which hold the program's tensors."""
    frames = [frame for frame, _ in traceback.walk_tb(fault.__traceback__)]
    code = frames[-1].f_code if frames else None
    where = f" (in {code.co_name} of {code.co_filename.rpartition('/')[2]})" if code else ""
    return f"{type(fault).__name__}: {' '.join(str(fault).split())}{where}"
