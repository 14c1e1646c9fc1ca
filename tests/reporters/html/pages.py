"""Pages for tests: made of real inspections, with parts of their own, and read as a browser would."""

from __future__ import annotations

import base64
import json
import tomllib
import zlib
from dataclasses import replace
from fnmatch import fnmatchcase
from html.parser import HTMLParser
from pathlib import Path, PurePath

import numpy as np

from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.options import DetailOptions, InspectOptions
from attn_cli.reporters.html import page, write_page
from attn_cli.reporters.html.page import Parts
from attn_cli.results import RunResult
from tests.reporters.results_for_tests import Case, make_call

PARTS = Parts(
    '<!DOCTYPE html><html><head><meta http-equiv="Content-Security-Policy" content="__CSP__"><title>__TITLE__</title>'
    '<style>__STYLE__</style></head><body><script type="application/json" id="attn-data">__DATA__</script>'
    "<script>__SCRIPT__</script></body></html>",
    "body { color: black; }",
    '(() => {"use strict"; document.title; })();',
)
WHOLE = DetailOptions(64, 64, whole=True)
ROOM = "attn_cli.reporters.html"


def read_by(monkeypatch, parts) -> set[str]:
    """The files that a kind of page is made of, by their paths below the folder of all pages."""
    found, text = set(), page._text
    monkeypatch.setattr(page, "_text", lambda room, name: found.add(name) or text(room, name))
    assert parts.__wrapped__() == parts()  # made anew, and as it was
    return found


def packaged(names) -> set[str]:
    """Those of these files that the wheel holds."""
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    globs = [
        PurePath(*package.removeprefix(ROOM).split("."), glob)
        for package, globs in project["tool"]["setuptools"]["package-data"].items()
        if package.startswith(ROOM)
        for glob in globs
    ]
    paths = {name: PurePath(name) for name in names}
    return {
        name
        for name, path in paths.items()
        if any(path.parent == glob.parent and fnmatchcase(path.name, glob.name) for glob in globs)
    }


class Page(HTMLParser):
    """What a parser sees of a page: its elements with their attributes, and the text in each."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        tag, attributes = self.elements[-1] if self.elements else ("", {})
        name = attributes.get("id") or tag
        self.texts[name] = self.texts.get(name, "") + data

    @property
    def payload(self):
        return self._with_blobs(json.loads(self.texts["attn-data"], parse_constant=float))

    def _with_blobs(self, value):
        """The data with the texts of the large blobs, which stand in elements of their own."""
        if isinstance(value, dict):
            if value.keys() == {"n", "z", "at"}:
                return {"n": value["n"], "z": value["z"], "b": self.texts[f"blob-{value['at']}"].strip()}
            return {key: self._with_blobs(item) for key, item in value.items()}
        return [self._with_blobs(item) for item in value] if isinstance(value, list) else value


def call_of(inputs, detail=WHOLE, case=None, **options):
    """The result of one call on real tensors; what an inspection does not know is hand-made."""
    batch, heads, queries, keys = inputs.weights_shape
    made = make_call(case or Case(batch=batch, heads=heads, queries=queries, keys=keys))
    inspection = inspect(inputs, InspectOptions(detail=detail, **options))
    mask = inputs.rules.mask
    places = mask.places if len(mask.places) == inputs.index.total_queries else None
    return replace(
        made,
        inspection=inspection,
        num_keys=keys,
        places=made.places[:0].new_tensor(range(inputs.index.total_queries)) if places is None else places,
        ties_queries_to_keys=mask.causal or mask.window is not None or queries == keys,
    )


def written(tmp_path, *calls, budget=2_000_000, command="run", **told):
    """The page of some calls, its warning and its bytes."""
    path = tmp_path / "page.html"
    done = write_page(RunResult(command, calls, **told), str(path), budget, PARTS)
    data = path.read_bytes()
    assert done.size == len(data)
    return Page(data.decode()), done.warning, data


def bytes_of(blob):
    data = base64.b64decode(blob["b"], validate=True)
    data = zlib.decompress(data, wbits=-15) if blob["z"] else data
    assert len(data) == blob["n"]
    return data


def codes_of(blob, *shape):
    return np.frombuffer(bytes_of(blob), np.uint8).reshape(shape)


def floats_of(blob, *shape):
    return np.frombuffer(bytes_of(blob), "<f4").reshape(shape)
