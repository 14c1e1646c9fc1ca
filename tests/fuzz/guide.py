"""Which branches an input took, where atheris can tell: it has no wheel for some Pythons and systems."""

import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType

HAS_ATHERIS = importlib.util.find_spec("atheris") is not None
WITHOUT = "atheris is not installed (it has no wheel for this Python or system): inputs are drawn without coverage"


def instrument(code: Sequence[str]) -> None:
    """From here on, modules of these names and what is in them count their branches; those imported before do not."""
    if HAS_ATHERIS:
        sys.meta_path.insert(0, _Finder(tuple(code)))


class _Finder:
    """Finds modules as Python does and has their code changed. atheris's own takes whole packages: all of torch."""

    def __init__(self, code: tuple[str, ...]) -> None:
        self.code = code

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not any(name == one or name.startswith(f"{one}.") for one in self.code):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is importlib.machinery.SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType | None:
        import atheris

        code = super().get_code(fullname)
        return None if code is None else atheris.patch_code(code, True)
