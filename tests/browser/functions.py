"""The page's own functions in a blank page, so that they can be called on given arrays."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

LEFT_OUT = {"main.js"}  # it starts the page
DATA = {
    "calls": [],
    "metrics": [],
    "tokens": [],
    "findings": [],
    "labels": {},
    "worth": [],
    "metric": None,
    "order": None,
}
# A call with heads of its own for each test; `head` makes a head's data out of arrays.
MAKE = """
function makeCall(queries, keys, more = {}) {
  const whole = { rows: queries, columns: keys, query_pool: 1, key_pool: 1 };
  const heads = [0, 1].map((head) => ({ batch: 0, head, label: "mixed", metrics: [], top: [] }));
  const call = { queries, keys, picture: whole, batch: [0], head_numbers: [4, 7], heads, has_sinks: false,
      shapes: [], name: "x", ...more };
  page.calls.push(call);
  headsOfCall.set(call, new Map(heads.map((head) => [`${head.batch} ${head.head}`, head])));
  return page.calls.length - 1;
}
function makeHead(call, head, parts) {
  return new HeadData({ call, batch: 0, head }, { sink: null, exact: null, lse: null, sink_exact: null,
      apart: null, windows: [], ...parts });
}
function known(values, hidden) {
  return { values: Float32Array.from(values, Number), hidden: Uint8Array.from(hidden) };
}
"""


def write_functions(path: Path) -> None:
    """A page with every script but the one that starts it, as globals."""
    room = files("attn_cli.reporters.html") / "script"
    names = (room / "order.txt").read_text(encoding="utf-8").split()
    scripts = [(room / name).read_text(encoding="utf-8") for name in names if name not in LEFT_OUT]
    path.write_text(
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>functions</title></head><body>'
        '<div id="tip"></div><div id="live"></div>'
        f'<script type="application/json" id="attn-data">{json.dumps(DATA)}</script>'
        f"<script>{chr(10).join(scripts)}{MAKE}document.documentElement.dataset.ready = true;</script></body></html>",
        encoding="utf-8",
    )
