"""The pages that the browser tests look at, and what ``attn run --json --weights`` says of the same file."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file

from attn_cli.main import main
from tests.cli.process import MINILM

# Each token as a file has it, and as it is shown.
HOSTILE = {
    "</script><script>document.title='ran'</script>": "</script><script>document.title='ran'</script>",
    "<img src=x onerror=\"document.title='ran'\">": "<img␣src=x␣onerror=\"document.title='ran'\">",
    "\u202eevil\u202c": "\\u202eevil\\u202c",
    "\U0001f9d1\u200d\U0001f680": "\U0001f9d1\\u200d\U0001f680",
    "long" * 500: f"{'long' * 12}"[:47] + "…",
    "a\x00b\x1b[31mc\nd": "a\\x00b\\x1b[31mc\\nd",
    "שלום": "שלום",
    "&lt;&amp;\"'`--><!--": "&lt;&amp;\"'`--><!--",
}
NAMED = "<img src=x onerror=document.title='ran'>"  # a file


@dataclass(frozen=True)
class Shown:
    """A page, and the data of the same run as JSON with all weights."""

    path: Path
    data: dict
    findings: list

    def head(self, layer: int, batch: int, head: int) -> dict:
        """A head's metrics, of those in the JSON."""
        return next(
            one for one in self.data["heads"] if (one["layer"], one["batch"], one["head"]) == (layer, batch, head)
        )


class Pages:
    """Writes each page once, when it is first asked for, with ``attn run FILE --html``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.minilm = cache(lambda: self._run("minilm", MINILM))
        self.odd = cache(lambda: self._run("odd", self._file("odd", **odd())))
        self.long = cache(lambda: self._run("long", self._file("long", **draws(2, 700, 700)), "--html-budget", "300kB"))
        tokens = [f"t{number}" for number in range(300)]
        self.text = cache(
            lambda: self._run("text", self._file("text", **draws(2, 300, 300), tokens=tokens), "--html-budget", "200kB")
        )
        self.gqa = cache(lambda: self._run("gqa", self._file("gqa", **draws(6, 20, 20, shared=2)), "--causal"))
        half = {name: tensor.bfloat16() for name, tensor in draws(4, 300, 500, shared=2).items()}
        self.half = cache(
            lambda: self._run("half", self._file("half", **half), "--causal", "--html-budget", "300kB", "--top", "20")
        )
        self.hostile = cache(lambda: self._run("hostile", self._file(NAMED, **draws(2, 8, 8), tokens=HOSTILE)))

    def _file(self, name: str, *, tokens=None, **tensors) -> str:
        path = self.folder / f"{name}.safetensors"
        save_file(tensors, path, {} if tokens is None else {"tokens": json.dumps([list(tokens)])})
        return str(path)

    def _run(self, name: str, file: str, *options: str) -> Shown:
        page, said = self.folder / f"{name}.html", io.StringIO()
        with contextlib.redirect_stdout(said):
            code = main(["run", file, "--json", "--weights", *_without_budget(options)])
        with contextlib.redirect_stdout(io.StringIO()):
            main(["run", file, "--html", str(page), *options])
        document = json.loads(said.getvalue())
        assert code == 0, document["error"]
        return Shown(page, document["data"], document["findings"])


def _without_budget(options: tuple[str, ...]) -> list[str]:
    """The options of a run that writes no page: its weights are what the page of another run is held against."""
    at = options.index("--html-budget") if "--html-budget" in options else len(options)
    return [*options[:at], *options[at + 2 :]]


def draws(heads: int, queries: int, keys: int, shared: int | None = None) -> dict:
    """Q, K and V of a batch of one, with a few strong pairs; query heads may share key/value heads."""
    generator = torch.Generator().manual_seed(7)
    sizes = ((heads, queries), (shared or heads, keys), (shared or heads, keys))
    q, k, v = (torch.randn(1, number, length, 16, generator=generator) for number, length in sizes)
    return {"q": 3 * q, "k": k, "v": v}


def odd() -> dict:
    """Cross-attention with sinks; keys are hidden, a weight is 0 without being hidden, and head 2 has a NaN."""
    tensors = draws(4, 6, 10)
    tensors["q"][0, 2, 4] = torch.nan
    keep = torch.ones(1, 1, 6, 10, dtype=torch.bool)
    keep[..., 7:] = False
    keep[..., 1, :] = False
    tensors["k"][0, 1, 3] = -1e4 * tensors["q"][0, 1, 0]  # query 0 of head 1 gives key 3 nothing at all
    return {**tensors, "mask": keep, "sinks": torch.tensor([0.5, 1.0, -1.0, 2.0])}
