"""The path of a module within the outermost one, as in a checkpoint; holds no module."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from attn_cli.inputs.names import STEPS
from attn_cli.recording.places.frames import Running

WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")  # no part of a checkpoint's names
TOP = "model"  # before a root of the class ``steps``


@dataclass(frozen=True)
class _Named:
    """A module's place in a tree; ``path`` is None where the tree was searched in vain."""

    module: weakref.ref[nn.Module]
    root: weakref.ref[nn.Module]
    path: str | None


class ModulePaths:
    """Looks modules up in the trees that they were seen in."""

    def __init__(self) -> None:
        self._trees: dict[int, dict[int, _Named]] = {}  # by the root's id, by the module's
        self._roots: dict[int, _Named] = {}  # by the module's id, in the largest tree that was seen

    def path_of(self, running: Sequence[Running]) -> tuple[str, str]:
        """The path of the innermost module in the outermost one's tree, and the outermost one's class.

        A module that is run by itself, as when a checkpointed layer is computed once more, is looked up in the tree in
        which it was seen before. One that is in no tree, because a plain list holds it, has the path in its own.

        Args:
            running: the modules, the innermost first.

        Returns:
            Both empty where no module runs.
        """
        if not running:
            return "", ""
        modules = [_unwrapped(one.module) for one in running]
        for module in reversed(modules):
            root = self._largest(module)
            path = self._in_tree(root, modules[0])
            if path is not None:
                return _safe(path, type(root).__name__), type(self._largest(modules[-1])).__name__
        return _safe("", type(modules[0]).__name__), type(modules[-1]).__name__

    def _largest(self, module: nn.Module) -> nn.Module:
        named = self._roots.get(id(module))
        root = named.root() if named is not None and named.module() is module else None
        return module if root is None else root

    def _in_tree(self, root: nn.Module, module: nn.Module) -> str | None:
        tree = self._trees.get(id(root))
        if tree is None or tree[id(root)].module() is not root:
            tree = self._learn(root)
        named = tree.get(id(module))
        if named is None or named.module() is not module:
            tree = self._learn(root)  # it may have been added since
            here = weakref.ref(root)
            named = tree.setdefault(id(module), _Named(weakref.ref(module), here, None))
        return named.path

    def _learn(self, root: nn.Module) -> dict[int, _Named]:
        self._forget_the_dead()
        here = weakref.ref(root)
        named = {id(one): _Named(weakref.ref(one), here, path) for path, one in root.named_modules()}
        missing = {key: one for key, one in self._trees.get(id(root), {}).items() if one.path is None}
        tree = self._trees[id(root)] = missing | named
        self._roots.update(named)
        return tree

    def _forget_the_dead(self) -> None:
        self._roots = {key: one for key, one in self._roots.items() if one.module() is not None}
        self._trees = {key: tree for key, tree in self._trees.items() if key in self._roots}


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module that ``torch.compile`` was given."""
    inner = getattr(module, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) else module


def _safe(path: str, root: str) -> str:
    """A path that is not empty, and whose first part is not that of a capture's ``steps.3.…``."""
    parts = [part for part in path.split(".") if part and part not in WRAPPERS]
    named = [root, *parts] if not parts or parts[0] == STEPS else parts
    return ".".join([TOP, *named] if named[0] == STEPS else named)
