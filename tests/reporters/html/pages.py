"""Pages for tests: made of real inspections, with parts of their own, and read as a browser would."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np

from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.options import DetailOptions, InspectOptions
from attn_cli.reporters.html import write_page
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
        return json.loads(self.texts["attn-data"], parse_constant=float)


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
