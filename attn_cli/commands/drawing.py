"""What is behind ``attn demo``'s options; torch is imported here."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

from attn_cli.attention.types import ModuleInputs
from attn_cli.benchmark.room import check_room
from attn_cli.commands.paging import PagePlan
from attn_cli.commands.running import RunRequest, report, run_one
from attn_cli.commands.showing import Render
from attn_cli.inputs.draws import DrawOptions, draw_call, drawn_bytes
from attn_cli.lesson import build_lesson
from attn_cli.pipeline import resource_errors
from attn_cli.reporters.progress import progress_bar
from attn_cli.reporters.saved import check_save
from attn_cli.reporters.saved_call import save_call
from attn_cli.reporters.terminal import render_lesson
from attn_cli.results import RunResult


def run_drawing(drawing: DrawOptions, request: RunRequest, *, with_lesson: bool) -> int:
    """Draw a call, run it, save it where asked, tell its steps where asked, then report it."""
    check_save(request.save)
    check_room("attn demo", "tensors of these sizes", drawn_bytes(drawing), "draw smaller ones")
    start = time.perf_counter()
    with resource_errors("cpu"):
        call = draw_call(drawing)
    load_ms = (time.perf_counter() - start) * 1e3
    detail = None if request.page is None else PagePlan(request.page, [1.0], request.top).next(call)
    with progress_bar() as progress:
        result = RunResult(
            request.command, (run_one(call, replace(request, save=None), load_ms, progress, detail=detail),)
        )
    lesson: list[Render] = []
    if with_lesson and not request.json_output and isinstance(call.inputs, ModuleInputs):
        lesson = [partial(render_lesson, build_lesson(call.inputs))]
    return report(result, request, lesson, partial(save_call, call))
