"""A zoomed picture says what it shows, in numbers of the whole call, at any width."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from attn_cli.attention.types import CallIndex
from attn_cli.inspection.options import Zoom
from attn_cli.reporters.json_report import run_document
from attn_cli.reporters.terminal import picture_limits, render_run
from attn_cli.results import RunResult
from tests.reporters.consoles import plain, printed
from tests.reporters.results_for_tests import Case, make_result


def _shown(result: RunResult, width: int = 80, colours: str | None = None, encoding: str = "utf-8") -> str:
    return printed(lambda console: render_run(result, console), width, colours, encoding)


def _moved(case: Case, by: int) -> RunResult:
    """A zoomed case as it stands ``by`` queries and keys further on in a call of so many more."""
    result = make_result(case)
    call = result.calls[0]
    inspection, pictures = call.inspection, call.inspection.pictures
    zoom = (case.zoom or Zoom()).within(case.queries, case.keys)
    moved = Zoom(zoom.first_query + by, (zoom.query_stop or 0) + by, zoom.first_key + by, (zoom.key_stop or 0) + by)
    queries = torch.arange(moved.first_query, moved.query_stop or 0)
    pictures = replace(pictures, zoom=moved, first_query=moved.first_query, first_key=moved.first_key, queries=queries)
    total = case.queries + by
    index = CallIndex(inspection.index.batch, inspection.index.heads, queries, 1, case.heads, total)
    inspection = replace(inspection, pictures=pictures, index=index)
    return RunResult("run", (replace(call, inspection=inspection, num_keys=case.keys + by),))


def test_the_caption_says_what_is_shown() -> None:
    text = " ".join(_shown(make_result(Case(queries=9, keys=12, zoom=Zoom(2, 6, 3, 4)))).split())
    assert "zoom: queries 2-5 of 9, key 3 of 12; each cell is one weight; labels, metrics and pairs are as" in text
    assert "zoom" not in _shown(make_result(Case()))


def test_a_pooled_window_is_said_to_be_pooled() -> None:
    text = _shown(make_result(Case(queries=16, keys=32, pool=(2, 4), zoom=Zoom(4, 8, 8, 16))))
    assert "max-pooled 2×4: each cell is the largest of 8 weights" in text
    assert "each cell is one weight" not in text
    lines = text.splitlines()
    columns = next(number for number, line in enumerate(lines) if line.split() == ["8", "12", "8", "12"])
    assert [line.split()[0] for line in lines[columns + 1 : columns + 3]] == ["4", "6"]


def test_a_hidden_window_is_said_to_be_masked() -> None:
    case = Case(queries=8, keys=8, causal=True, zoom=Zoom(0, 3, 5, 8))
    assert "every key in it is masked" in " ".join(_shown(make_result(case)).split())
    case = replace(case, zoom=Zoom(0, 6, 5, 8))
    assert "is masked" not in " ".join(_shown(make_result(case)).split())


def test_selected_rows_in_the_window_are_counted_and_named() -> None:
    result = make_result(Case(heads=1, queries=5, keys=4, zoom=Zoom(0, 3)))
    call = result.calls[0]
    inspection = call.inspection
    pictures = replace(inspection.pictures, zoom=Zoom(10, 30, 0, 4), first_query=29, queries=torch.tensor([29, 11, 12]))
    index = replace(inspection.index, queries=torch.tensor([29, 11, 12, 30, 31]), total_queries=40)
    call = replace(call, inspection=replace(inspection, pictures=pictures, index=index))
    call = replace(call, places=torch.arange(40))
    text = _shown(RunResult("run", (call,)))
    assert "zoom: queries 10-29 of 40 (3 selected), keys 0-3 of 4" in text
    rows = [line.split()[0] for line in text.splitlines() if line[:2] in ("29", "11", "12")]
    assert rows == ["29", "11", "12"]


def test_numbers_are_written_in_full() -> None:
    """The last digits of neighbours tell them apart."""
    lines = _shown(_moved(Case(heads=1, queries=4, keys=6, zoom=Zoom()), 123_456)).splitlines()
    columns = next(number for number, line in enumerate(lines) if line.split()[:1] == ["123456"])
    assert lines[columns].split() == ["123456", "123458", "123460"]
    assert [line.split()[0] for line in lines[columns + 1 : columns + 5]] == ["123456", "123457", "123458", "123459"]


def test_tokens_are_those_of_the_window() -> None:
    tokens = (tuple("abcdefgh"),)
    text = _shown(make_result(Case(heads=1, queries=8, keys=8, tokens=tokens, zoom=Zoom(2, 4, 5, 8))))
    lines = text.splitlines()
    columns = next(number for number, line in enumerate(lines) if line.split() == ["f", "g", "h"])
    assert [line.split()[0] for line in lines[columns + 1 : columns + 3]] == ["c", "d"]


@settings(deadline=None, max_examples=40)
@given(
    width=st.integers(20, 200),
    heads=st.integers(1, 8),
    by=st.sampled_from([0, 99_000, 7_654_321]),
    look=st.sampled_from([(None, "utf-8"), ("truecolor", "utf-8"), (None, "ascii")]),
    has_sinks=st.booleans(),
)
def test_the_largest_picture_of_any_zoom_keeps_to_the_width(
    width: int, heads: int, by: int, look: tuple[str | None, str], has_sinks: bool
) -> None:
    rows, columns = picture_limits(width, heads, by + 80)
    case = Case(heads=heads, queries=rows, keys=columns, has_sinks=has_sinks, zoom=Zoom())
    text = plain(_shown(_moved(case, by), width, *look))
    assert max(cell_len(line) for line in text.splitlines()) <= max(width, 20)
    if heads == 1:
        assert len(re.findall(r"(?m)^head 0 [·|] ", text)) == 1, "one page"


@pytest.mark.parametrize("last", [9, 9_999, 99_999, 12_345_678])
def test_long_numbers_leave_fewer_columns(last: int) -> None:
    longer = max(0, len(str(last)) - 4)
    assert picture_limits(80, 1, last)[1] == picture_limits(80, 1)[1] - longer
    assert picture_limits(20, 12, 10**12)[1] >= 1


def test_the_overview_says_where_the_zoom_is_shown() -> None:
    cases = [Case(layer=layer, queries=4, keys=4, zoom=Zoom(0, 2)) for layer in range(2)]
    text = " ".join(_shown(make_result(*cases)).split())
    assert "--layer 0 shows every head of layer 0, with pictures of the zoom and metrics." in text


def test_json_holds_the_window() -> None:
    result = make_result(Case(queries=6, keys=8, pool=(2, 2), has_sinks=True, broken_head=1, zoom=Zoom(0, 4, 4, 8)))
    zoom = run_document(result)["data"]["zoom"]
    pictures = result.calls[0].inspection.pictures
    assert zoom["weights"][0][0] == pictures.weights[0, 0].tolist()
    assert zoom["weights"][0][1][0] == [None, None]
    assert zoom["sink_weights"] == pictures.sink.tolist() if pictures.sink is not None else False
    assert (zoom["queries"], zoom["keys"]) == ([0, 2], [4, 6])
    assert [zoom[name] for name in ("first_query", "query_stop", "first_key", "key_stop")] == [0, 4, 4, 8]
    assert (zoom["query_pool"], zoom["key_pool"]) == (2, 2)


def test_json_has_a_window_for_each_of_several_calls() -> None:
    cases = [Case(layer=layer, prefix=f"layers.{layer}", queries=4, keys=4, zoom=Zoom(1, 2)) for layer in range(2)]
    zooms = run_document(make_result(*cases))["data"]["zoom"]
    assert [(one["layer"], one["prefix"], one["values"]["queries"]) for one in zooms] == [
        (0, "layers.0", [1]),
        (1, "layers.1", [1]),
    ]
    assert "zoom" not in run_document(make_result(Case()))["data"]
