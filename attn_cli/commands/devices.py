"""``attn devices``: what can be used here, and why the rest cannot."""

from __future__ import annotations

import sys

from attn_cli.commands import options as opt
from attn_cli.commands.imports import for_good


def devices(json_output: opt.Json = False) -> int:
    """List the devices, dtypes and backends usable here, and why others are not.

    Each dtype and backend is tried on a tiny case; a backend that is compiled for a device first is not.
    """
    with for_good():
        from attn_cli.benchmark.usable import find_usable
        from attn_cli.reporters.json_report import devices_document, write_document
        from attn_cli.reporters.terminal import render_devices
        from attn_cli.reporters.terminal.console import make_console

    usable = find_usable()
    if json_output:
        write_document(devices_document(usable), sys.stdout)
    else:
        render_devices(usable, make_console())
    return 0
