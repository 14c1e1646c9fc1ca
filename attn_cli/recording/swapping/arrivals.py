"""Says when a program has imported a module, without importing anything itself. Free of torch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Do = Callable[[], None]


def when_imported(module: str, do: Do) -> None:
    """Call ``do`` once ``module`` has been imported, before whoever imports it goes on; now, where it is there already.

    An import that fails is no arrival: the next attempt is waited for. ``do`` may import what it likes, the module
    among it; it runs in the thread that imports, and what it raises is the importer's to see.
    """
    if module in sys.modules:
        do()
        return
    _FINDER.waiting.setdefault(module, []).append(do)
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def wait_no_more() -> None:
    """Forget all modules that have not come."""
    _FINDER.waiting.clear()
    _FINDER.step_aside()


class _Finder:
    """Finds what the finders after it find, and looks on while it is loaded."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Do]] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.waiting:
            return None
        spec = _found_by_the_others(name, path, target)
        # A built-in module's loader is a class, which all such modules share.
        if spec is not None and spec.loader is not None and not isinstance(spec.loader, type):
            _look_on(spec.loader, name)
        return spec

    def arrived(self, name: str) -> None:
        for do in self.waiting.pop(name, ()):
            do()
        if not self.waiting:
            self.step_aside()

    def step_aside(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)


_FINDER = _Finder()


def _found_by_the_others(name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        find = None if finder is _FINDER else getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = None if find is None else find(name, path, target)
        if spec is not None:
            return spec
    return None


def _look_on(loader: Any, name: str) -> None:
    """Let the loader tell when it has executed ``name``; afterwards it is as it was."""
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        if module.__name__ == name:  # a zip file's modules share one loader
            vars(loader).pop("exec_module", None)
            _FINDER.arrived(name)

    try:
        loader.exec_module = exec_module
    except AttributeError:  # a loader with slots: its module is not heard of
        return
