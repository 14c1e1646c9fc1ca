"""Shares items out over threads; every thread computes alone, since small operations do not share out well."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch

Work = TypeVar("Work")


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Hold PyTorch's own threads to one; the number from before comes back. Where it is one already, nothing is set."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Crew(Generic[Work]):
    """Some threads, each with a worker of its own that lives as long as the crew.

    Args:
        threads: how many; 1 works in the calling thread.
        make_worker: called once in each thread.
    """

    def __init__(self, threads: int, make_worker: Callable[[], Callable[[Work], None]]) -> None:
        self._make = make_worker
        self._own = threading.local()
        self._stop = threading.Event()
        self._pool = (
            ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) if threads > 1 else None
        )

    def run(self, items: Sequence[Work], done: Callable[[Work], None]) -> None:
        """Have all items worked on; ``done`` is called here, in the calling thread, after each."""
        if self._pool is None or len(items) == 1:
            for item in items:
                self._one(item)
                done(item)
            return
        open_ones: dict[Future[None], Work] = {self._pool.submit(self._one, item): item for item in items}
        try:
            while open_ones:
                finished, _ = wait(open_ones, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
                    done(open_ones.pop(future))
        except BaseException:
            self._stop.set()
            raise

    def _one(self, item: Work) -> None:
        if self._stop.is_set():
            return
        if not hasattr(self._own, "worker"):
            self._own.worker = self._make()
        with torch.no_grad():
            self._own.worker(item)

    def close(self) -> None:
        """Let the threads go; what was not begun is dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
