"""What ``attn record --stats`` writes: a JSON object a line for every call, as soon as the call is over."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass
from typing import Any

from attn_cli.inputs.names import layer_of, with_step
from attn_cli.inspection.types import Pictures, Verification
from attn_cli.recording.watching import WatchedCall
from attn_cli.reporters.call_data import finding_entry
from attn_cli.reporters.inspection_data import head_entries, verification_entry
from attn_cli.reporters.json_report import VERSION, cleaned

Entry = dict[str, Any]
DECIMALS = 5  # of a picture's weights: finer than its colours


class WatchLines:
    """Writes what was found of each call as one line.

    Every line is handed to the system whole, so that a program that is killed leaves whole lines, and at most the last
    one cut short. Lines of several threads follow each other.

    Args:
        path: where to; what was there is replaced. It is opened for each line: a program may close all files that it
            did not open itself.

    Raises:
        OSError: where it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._lock = threading.Lock()
        with open(path, "wb"):
            pass

    def write(self, call: WatchedCall) -> None:
        """Append the line of a call.

        Raises:
            OSError: where the disk refuses.
        """
        rest = memoryview(watch_line(call).encode("ascii"))
        with self._lock, open(self._path, "ab", buffering=0) as file:
            while rest:
                rest = rest[file.write(rest) or 0 :]


def watch_line(call: WatchedCall) -> str:
    """One call as one line of ASCII with its newline, as ``attn schema record`` describes it."""
    return json.dumps(cleaned(watch_data(call)), allow_nan=False, separators=(",", ":")) + "\n"


def watch_data(call: WatchedCall) -> Entry:
    """What a line tells; numbers that are not finite are still in it."""
    site, place = call.site, _Named(layer_of(call.site.module), with_step(call.site.module, call.site.step))
    return {
        "schema": f"attn.record/{VERSION}",
        "number": call.number,
        "step": site.step,
        "layer": place.layer,
        "module": site.module,
        "root": site.root,
        "function": site.function,
        "caller": site.caller,
        "shape": asdict(call.shape),
        "dtype": call.dtype,
        "device": call.device,
        "rules": asdict(call.rules),
        "ms": call.milliseconds,
        "heads": [_head(entry) for entry in head_entries(call.inspection)],
        "pictures": _pictures(call.inspection.pictures),
        "findings": [finding_entry(finding, place) for finding in call.inspection.findings],
        "verification": None if call.verification is None else _verification(call.verification),
    }


@dataclass(frozen=True)
class _Named:
    """The names under which a full recording would have the call."""

    layer: int | None
    prefix: str


def _head(entry: Entry) -> Entry:
    """With its strongest pair alone."""
    return entry | {"top": entry["top"][0] if entry["top"] else None}


def _pictures(pictures: Pictures) -> Entry:
    """The cells of every head, ``weights[batch][head][row][column]``."""
    weights, sink = pictures.weights.double().round(decimals=DECIMALS), pictures.sink
    return {
        "query_pool": pictures.query_pool,
        "key_pool": pictures.key_pool,
        "weights": weights.tolist(),
        "sink_weights": None if sink is None else sink.double().round(decimals=DECIMALS).tolist(),
    }


def _verification(verification: Verification) -> Entry:
    return verification_entry(verification) | {"holds": verification.holds}
