"""The first lines of a report: what was read, how it was understood, what ran, and the steps with their shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from attn_cli.checks.types import CheckedCall
from attn_cli.inputs.types import CallRecord, Convention, TensorInfo
from attn_cli.reporters.terminal.canvas import Canvas, padded
from attn_cli.reporters.terminal.text import count, ranges
from attn_cli.results import CallResult

_MOST_UNUSED = 3
_SAID = {"recorded": "where it was called from"}


def print_header(canvas: Canvas, result: CallResult) -> None:
    """Source, selection, device, kernel, conventions and tensors of one call."""
    print_source(canvas, result, with_layer=True)
    print_backend(canvas, result)
    print_conventions(canvas, [result.call])
    _print_tensors(canvas, result)


def print_source(canvas: Canvas, result: CallResult, with_layer: bool) -> None:
    """The file's name, and what of it this is."""
    call = result.call
    parts = [canvas.text(source_name(call.source), "bold")]
    if with_layer and call.layer is not None:
        parts.append(canvas.text(f"layer {call.layer}"))
    if with_layer and call.prefix:
        parts.append(canvas.text(call.prefix, "dim"))
    parts.extend(canvas.text(part) for part in selected(result))
    canvas.paragraph(canvas.join(parts, " · "), hanging=2)


def source_name(source: str) -> str:
    """A source as people call it."""
    return {"random": "random tensors", "-": "standard input"}.get(source, source)


def selected(result: CallResult) -> list[str]:
    """What of the call is shown, where it is not all of it."""
    index = result.inspection.index
    axes = (
        ("batch", index.batch, index.total_batch),
        ("head", index.heads, index.total_heads),
        ("query", tuple(index.queries.tolist()), index.total_queries),
    )
    return [f"{name} {ranges(numbers)} of {total}" for name, numbers, total in axes if len(numbers) < total]


def print_backend(canvas: Canvas, result: CallResult) -> None:
    """Device, dtype, and which kernel ran for which request."""
    requested, ran = result.backend_requested, result.backend_ran
    device, dtype, chosen, *kernel = backend_names(result)
    parts = [*(canvas.text(part) for part in (device, dtype, chosen)), *(canvas.text(name, "dim") for name in kernel)]
    canvas.paragraph(canvas.join(parts, " · "), hanging=2)
    if result.backend_note:
        canvas.paragraph(canvas.text(f"{requested} took {ran}: {result.backend_note}", "dim"), indent=2, hanging=2)


def backend_names(call: CallResult | CheckedCall) -> list[str]:
    """Device, dtype, what was asked for and ran, and the kernel where that has a name of its own."""
    requested, ran = call.backend_requested, call.backend_ran
    chosen = ran if requested == ran else f"{requested} → {ran}"
    return [call.device, call.dtype, chosen, *([call.kernel] if call.kernel != ran else [])]


def print_conventions(canvas: Canvas, calls: Sequence[CallRecord]) -> None:
    """Every reading that was chosen for all of these calls, and who chose it; then what differs between them."""
    shared, differing = shared_conventions(calls)
    if not shared and not differing:
        return
    canvas.heading("Read as")
    width = max((canvas.text(one.name).cell_len for one in shared), default=0)
    name_width = min(width, canvas.width // 3)
    for one in shared:
        name = padded(canvas.text(one.name, limit=name_width), name_width)
        said = canvas.join([canvas.text(one.value), canvas.text(f"({one.origin})", "dim")])
        canvas.paragraph(canvas.join([name, said], "  "), indent=2, hanging=name_width + 2)
    if differing:
        canvas.paragraph(canvas.text(f"differing by call: {differing_text(differing)}", "dim"), indent=2, hanging=2)


def shared_conventions(calls: Sequence[CallRecord]) -> tuple[tuple[Convention, ...], tuple[str, ...]]:
    """The readings that all calls share, and the names of those in which they differ."""
    times = Counter(convention for call in calls for convention in call.conventions)
    shared = tuple(one for one in times if times[one] == len(calls))
    return shared, tuple(dict.fromkeys(one.name for one in times if times[one] < len(calls)))


def differing_text(names: Sequence[str]) -> str:
    """The names of readings as a reader knows them who has not seen their values."""
    return ", ".join(_SAID.get(name, name) for name in names)


def _print_tensors(canvas: Canvas, result: CallResult) -> None:
    if result.call.source != "random":
        canvas.flow([_tensor(canvas, info, result.call.prefix) for info in result.call.tensors])
    print_unused(canvas, result)


def print_unused(canvas: Canvas, result: CallResult) -> None:
    """One line with the tensors of the file that no call uses."""
    unused = result.call.unused
    if unused:
        shown = [info.name for info in unused[:_MOST_UNUSED]]
        more = len(unused) - len(shown)
        names = ", ".join(shown) + (f" and {count(more, 'tensor')} more" if more else "")
        canvas.paragraph(canvas.text(f"not used: {names}", "dim"), indent=2, hanging=2)


def _tensor(canvas: Canvas, info: TensorInfo, prefix: str) -> Text:
    """``q (4, 12, 18, 32) float32``; with its own name where that is not its role."""
    short = info.name.removeprefix(f"{prefix}.")
    role = info.role or short
    own = "" if short == role else f"← {short}"
    return canvas.join(
        [canvas.text(role), canvas.text(own), shape_text(canvas, info.shape), canvas.text(info.dtype, "dim")]
    )


def shape_text(canvas: Canvas, shape: Sequence[int]) -> Text:
    """``(2, 5, 4, 6)``."""
    return canvas.text(f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})")


def print_steps(canvas: Canvas, result: CallResult) -> None:
    """Each step with the shape of what it gives."""
    canvas.heading("Steps")
    widest = max((canvas.text(one.step).cell_len for one in result.shapes), default=0)
    canvas.flow(
        [
            canvas.join([padded(canvas.text(one.step), widest), shape_text(canvas, one.shape)], "  ")
            for one in result.shapes
        ]
    )
