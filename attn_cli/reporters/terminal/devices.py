"""What can be used here, and why the rest cannot."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from attn_cli.benchmark.usable import Ability, Usable, UsableDevice
from attn_cli.reporters.terminal.bench_numbers import size
from attn_cli.reporters.terminal.canvas import Canvas, padded
from attn_cli.reporters.terminal.palette import BAD, GOOD


def render_devices(usable: Usable, console: Console) -> None:
    """Print every kind of device with its dtypes and backends."""
    canvas = Canvas.on(console)
    canvas.line(canvas.join([canvas.text("PyTorch", "dim"), canvas.text(usable.torch)]))
    for device in usable.devices:
        _print_device(canvas, device)


def _print_device(canvas: Canvas, device: UsableDevice) -> None:
    known = [device.model, None if device.memory_bytes is None else size(device.memory_bytes)]
    canvas.heading(device.name, ", ".join(one for one in known if one) if device.usable else device.reason or "")
    if device.usable:
        _print_abilities(canvas, "dtypes", device.dtypes)
        _print_abilities(canvas, "backends", device.backends)


def _print_abilities(canvas: Canvas, title: str, abilities: Sequence[Ability]) -> None:
    """Those that are usable on one line, then the others with the reason."""
    names = ", ".join(one.name for one in abilities if one.usable) or "none"
    width = max([len(title), *(len(one.name) for one in abilities if not one.usable)])
    label = padded(canvas.text(title, "dim"), width)
    canvas.paragraph(canvas.join([canvas.text("✓", GOOD), label, canvas.text(names)]), indent=2, hanging=width + 3)
    for one in abilities:
        if not one.usable:
            said = canvas.text(one.reason or "the reason is not known", "dim")
            name = padded(canvas.text(one.name), width)
            canvas.paragraph(canvas.join([canvas.text("✗", BAD), name, said]), indent=2, hanging=width + 3)
