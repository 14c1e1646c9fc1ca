"""The pages of ``attn check`` and ``attn diff`` that the browser tests look at, and what ``--json`` says besides."""

from __future__ import annotations

import contextlib
import io
import json
from functools import cache
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from attn_cli.main import main
from tests.browser.pages import HOSTILE, NAMED, Shown, draws
from tests.cli.process import MINILM

CHANGED = (0, 3, 5)  # the batch item, head and key of layer 2 that differs
BROKEN = (0, 4, 6)  # the same of layer 1 with a NaN
NEGATIVE = -0.3  # of head 0 in the recording, at query 4 and key 2
SIDE = 300  # queries and keys of the calls whose pictures are pooled
LAYERS, HEADS = 3, 5  # of the sample: a page of a few heads tells as much


class VerdictPages:
    """Writes each page once, when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clean = cache(lambda: self._page("clean", 0, "check", self._healthy()))
        self.faulty = cache(lambda: self._page("faulty", 1, "check", self._faulty()))
        self.several = cache(lambda: self._page("several", 1, "check", self._healthy(), self._faulty()))
        self.changed = cache(lambda: self._page("changed", 1, "diff", self._healthy(), self._changed()))
        self.backends = cache(
            lambda: self._page("backends", 0, "diff", self._healthy(), "--layer", "1", "--against", "textbook")
        )
        self.recorded = cache(lambda: self._page("recorded", 1, "diff", self._recorded(), "--against", "recorded"))
        self.pooled = cache(lambda: self._page("pooled", 1, "diff", *self._neighbours(), "--html-budget", "300kB"))
        self.hostile_check = cache(lambda: self._page("hostile-check", 1, "check", self._hostile(torch.nan)))
        self.hostile_diff = cache(
            lambda: self._page("hostile-diff", 1, "diff", self._hostile(0.0), self._hostile(1.0, "b/"))
        )
        self.tensors = cache(lambda: self._page("tensors", 1, "diff", *self._no_calls()))

    def _page(self, name: str, expected: int, *arguments: str) -> Shown:
        page, said = self.folder / f"{name}.html", io.StringIO()
        with contextlib.redirect_stdout(said):
            code = main([*arguments, "--json", "--html", str(page)])
        document = json.loads(said.getvalue())
        assert code == expected, document["error"]
        return Shown(page, document["data"], document["findings"])

    def _sample(self, name: str, **changes: tuple[tuple[int, ...], float]) -> str:
        """Part of the real capture; what is added at which place of a layer's keys."""
        loaded = load_file(MINILM)
        tensors = {f"layers.{n}.{one}": loaded[f"layers.{n}.{one}"][:, :HEADS] for n in range(LAYERS) for one in "qkv"}
        for layer, (place, value) in changes.items():
            tensors[f"layers.{layer[1:]}.k"][place] += value
        path = self.folder / f"{name}.safetensors"
        with safe_open(MINILM, "pt") as file:
            metadata = file.metadata()
        kept = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file({**kept, "valid_lens": loaded["valid_lens"]}, path, metadata)
        return str(path)

    def _healthy(self) -> str:
        return self._sample("healthy")

    def _faulty(self) -> str:
        return self._sample("faulty", L1=((*BROKEN, 3), torch.nan))

    def _changed(self) -> str:
        return self._sample("changed", L2=(CHANGED, 0.4))

    def _recorded(self) -> str:
        tensors = draws(2, 6, 6)
        q, k = tensors["q"], tensors["k"]
        weights = torch.softmax(q @ k.mT / 4, dim=-1)
        weights[0, 1, 2, 3] += 0.25
        weights[0, 0, 4, 2] = NEGATIVE
        path = self.folder / "with-weights.safetensors"
        save_file({**tensors, "weights": weights}, path)
        return str(path)

    def _neighbours(self) -> list[str]:
        """Two files: in the second every two neighbouring keys are swapped, so that all moves, a little."""
        tensors = draws(2, SIDE, SIDE)
        swapped = [one + 1 - 2 * (one % 2) for one in range(SIDE)]
        sides = tensors, {**tensors, "k": tensors["k"][:, :, swapped], "v": tensors["v"][:, :, swapped]}
        paths = [str(self.folder / f"{name}-neighbours.safetensors") for name in "AB"]
        for path, side in zip(paths, sides, strict=True):
            save_file({name: tensor.contiguous() for name, tensor in side.items()}, path)
        return paths

    def _hostile(self, value: float, folder: str = "") -> str:
        tensors = draws(2, 8, 8)
        tensors["q"][0, 1, 4] = value
        path = self.folder / f"{folder}{NAMED}.safetensors"
        path.parent.mkdir(exist_ok=True)
        names = {f"{NAMED}.{name}": tensor for name, tensor in tensors.items()}
        save_file(names, path, {"tokens": json.dumps([list(HOSTILE)])})
        return str(path)

    def _no_calls(self) -> list[str]:
        paths = [str(self.folder / f"{name}.safetensors") for name in ("one", "two")]
        for path, value in zip(paths, (1.0, 2.0), strict=True):
            save_file({"embedding": torch.full((3, 4), value)}, path)
        return paths
