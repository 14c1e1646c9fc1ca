"""Every number of a page is one of the inspection."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.attention import textbook
from attn_cli.attention.selection import Selection, select
from attn_cli.inspection.labels import LABELS
from attn_cli.inspection.metrics import METRICS
from attn_cli.inspection.options import DetailOptions, Zoom
from attn_cli.reporters.html.budget import Level
from attn_cli.reporters.html.payload import page_payload
from attn_cli.results import RunResult
from tests.attention.calls import make_call
from tests.inspection.cases import cases
from tests.inspection.strategies import broken_calls, calls
from tests.inspection.test_windows import visible_of
from tests.inspection.test_zoom import selected
from tests.reporters.html.pages import WHOLE, call_of, codes_of, floats_of
from tests.reporters.results_for_tests import Case

CASES = cases()
WINDOWS = DetailOptions(3, 3, pairs=2, side=2, corners=True, strongest_row=True)
SAID = {"bytes": 2_000_000, "kept": True, "note": ""}


ALL = Level(1, "all")


def payload_of(*calls, level=ALL):
    return page_payload(RunResult("run", calls), level, SAID)


def same(told, value):
    if not math.isfinite(value):
        return told is None
    return told == pytest.approx(value, rel=1e-6)


def assert_exact(blob, expected, visible):
    """The magnitude is the weight, the sign bit says masked."""
    told = floats_of(blob, *expected.shape)
    np.testing.assert_allclose(np.abs(told), expected.float(), rtol=2e-6, atol=1e-9)
    assert np.signbit(told).tolist() == (~visible).tolist()


def expected_codes(weights, visible):
    levels = [0 if not seen else 255 if math.isnan(w) else 1 + round(253 * math.sqrt(w))
              for w, seen in zip(weights.flatten().tolist(), visible.flatten().tolist(), strict=True)]  # fmt: skip
    return np.array(levels, dtype=np.int64).reshape(tuple(weights.shape))


def assert_told(call, result):
    """What the page has of a call is the inspection's, and its exact weights are the textbook's."""
    (told,) = payload_of(result)["calls"]
    inspection, steps = result.inspection, textbook.attend(call)
    visible, picture = visible_of(call, steps), inspection.detail.pictures
    seen = picture.visible.expand_as(picture.weights)
    rows = call.index.queries.tolist()
    assert (told["queries"], told["keys"]) == call.weights_shape[2:]
    assert told["has_sinks"] == (call.rules.sinks is not None)
    size = told["picture"]
    assert [size["query_pool"], size["key_pool"]] == [picture.query_pool, picture.key_pool]
    assert len(told["heads"]) == call.weights_shape[0] * call.weights_shape[1]
    for head in told["heads"]:
        b, h = head["batch"], head["head"]
        assert head["label"] == inspection.labels[b][h]
        for metric, value in zip(METRICS, head["metrics"], strict=True):
            values = inspection.metrics.get(metric.name)
            assert value is None if values is None else same(value, float(values[b, h]))
        pairs = zip(*(x[b, h].tolist() for x in (inspection.top.query, inspection.top.key)), strict=True)
        assert [(rows[row], key) for row, key, _ in head["top"]] == [pair for pair in pairs if pair[0] >= 0]
        for row, key, weight in head["top"]:
            assert weight == pytest.approx(float(steps.weights[b, h, row, key]), rel=1e-5, abs=1e-9)
        cells = codes_of(head["cells"], size["rows"], size["columns"]).astype(np.int64)
        assert np.abs(cells - expected_codes(picture.weights[b, h].double(), seen[b, h])).max() == 0
        assert (head["sink"] is None) == (picture.sink is None)
        if head["sink"] is not None:
            sink = picture.sink[b, h].double()
            assert codes_of(head["sink"], size["rows"]).tolist() == expected_codes(sink, sink == sink).tolist() or (
                sink.isnan().any()
            )
        for window in windows_of(head, call):
            across = slice(window["key"], window["key"] + window["columns"])
            down = slice(window["query"], window["query"] + window["rows"])
            assert_exact(window["weights"], steps.weights[b, h, down, across], visible[b, h, down, across])
            lse = floats_of(window["lse"], window["rows"])
            if window["sink"] is not None:
                np.testing.assert_allclose(
                    floats_of(window["sink"], window["rows"]), steps.sink[b, h, down].float(), rtol=2e-6, atol=1e-9
                )
            with np.errstate(divide="ignore", invalid="ignore"):
                weights = np.abs(floats_of(window["weights"], window["rows"], window["columns"]))
                logits = np.log(weights) + lse[:, None]
            finite = weights > 1e-30
            expected = steps.masked[b, h, down, across].numpy()
            np.testing.assert_allclose(logits[finite], expected[finite], rtol=1e-5, atol=1e-4)
    return told


def windows_of(head, call):
    """The exact weights of a head, all of them as one window where they are there."""
    if head["exact"] is None:
        return head["windows"]
    _, _, rows, keys = call.weights_shape
    whole = {"query": 0, "key": 0, "rows": rows, "columns": keys, "weights": head["exact"], "lse": head["lse"]}
    return [whole | {"sink": head["sink_exact"]}]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("detail", [WHOLE, WINDOWS], ids=["whole", "windows"])
def test_every_kind_of_call_is_told_as_it_was_inspected(name, detail):
    told = assert_told(CASES[name], call_of(CASES[name], detail))
    assert told["exact_kind"] == ("all" if detail is WHOLE else "windows")


@settings(deadline=None, max_examples=40)
@given(selected(calls() | broken_calls()), st.sampled_from([WHOLE, WINDOWS]))
def test_any_part_of_any_call_is_told_as_it_was_inspected(call, detail):
    assert_told(call, call_of(call, detail))


def test_masked_nan_and_zero_are_three_things():
    call = make_call(1, 2, queries=6, keys=6, causal=True)
    call.q[0, 1, 3, 0] = torch.nan
    call.k[0, 0, 1] = -1e6 * call.q[0, 0, 5]
    (told,) = payload_of(call_of(call))["calls"]
    first, second = (codes_of(head["cells"], 6, 6) for head in told["heads"])
    assert first[2, 3] == 0
    assert first[5, 1] == 1
    assert second[3, 0] == 255
    assert second[3, 4] == 0
    assert told["heads"][1]["metrics"][0] is None


def test_a_selection_is_told_by_its_numbers():
    call = select(make_call(3, 4, queries=6, keys=6, causal=True), Selection((2, 0), (3, 1), (5, 2)))
    case = Case(batch=2, heads=2, queries=2, keys=6)
    (told,) = payload_of(call_of(call, case=case))["calls"]
    assert (told["batch"], told["head_numbers"], told["query_numbers"]) == ([2, 0], [3, 1], [5, 2])
    assert told["places"] == 0
    assert told["selected"] == "batch 2,0 of 3; head 3,1 of 4; query 5,2 of 6"
    assert {row for head in told["heads"] for row, _, _ in head["top"]} <= {0, 1}


def test_cross_attention_ties_no_query_to_a_key():
    call = make_call(queries=3, keys=9, align="top-left")
    (told,) = payload_of(call_of(call))["calls"]
    assert not told["queries_are_keys"]
    assert told["places"] == 0
    (told,) = payload_of(call_of(make_call(queries=3, keys=9, causal=True)))["calls"]
    assert told["queries_are_keys"]
    assert told["places"] == 6


def test_the_picture_is_the_whole_call_beside_a_zoom():
    (told,) = payload_of(call_of(make_call(queries=8, keys=8), zoom=Zoom(0, 2, 0, 2)))["calls"]
    assert told["picture"] == {"rows": 8, "columns": 8, "query_pool": 1, "key_pool": 1}


@pytest.mark.parametrize("shrink", [2, 3, 4, 64])
def test_a_smaller_picture_is_the_largest_of_its_cells(shrink):
    call = make_call(1, 2, queries=50, keys=50, causal=True, sinks=torch.tensor([0.5, 2.0]).double())
    result = call_of(call)
    (told,) = payload_of(result, level=Level(shrink, "none"))["calls"]
    size, whole = told["picture"], result.inspection.detail.pictures
    assert size["rows"] == max(16, math.ceil(50 / shrink)) or size["rows"] < 17
    pool = size["query_pool"]
    seen = whole.visible.expand_as(whole.weights)
    for head in told["heads"]:
        b, h = head["batch"], head["head"]
        full = expected_codes(whole.weights[b, h].double(), seen[b, h])
        cells = codes_of(head["cells"], size["rows"], size["columns"])
        for row in range(size["rows"]):
            for column in range(size["columns"]):
                part = full[row * pool : (row + 1) * pool, column * pool : (column + 1) * pool]
                assert cells[row, column] == part.max()
        assert head["exact"] is None
        assert head["windows"] == []
    assert told["exact_kind"] == "none"


def test_what_is_exact_and_what_is_pooled_is_said():
    call, fine = make_call(queries=50, keys=50), DetailOptions(25, 25, pairs=1)
    assert "Every weight in this page is exact" in payload_of(call_of(call))["note"]
    note = payload_of(call_of(call, fine, picture_rows=25, picture_columns=25))["note"]
    assert "In the framed windows every weight is exact, a 32-bit float: around each head's strongest pair." in note
    assert "largest of 2 × 2 weights (max-pooled)" in note
    assert "No weight is exact" in payload_of(call_of(call), level=Level(2, "none"))["note"]
    assert "In 1 of 2 calls every weight is exact" in payload_of(call_of(call), call_of(call, fine))["note"]


@pytest.mark.parametrize(("queries", "keys", "cells"), [(128, 128, None), (129, 128, (43, 64)), (20, 900, (20, 60))])
def test_a_large_picture_has_a_small_one_beside_it(queries, keys, cells):
    call = make_call(1, 2, queries=queries, keys=keys, causal=True, sinks=torch.tensor([0.5, 2.0]).double())
    result = call_of(call, DetailOptions(queries, keys), picture_rows=queries, picture_columns=keys)
    (told,) = payload_of(result)["calls"]
    assert told["thumb"] == (None if cells is None else {"rows": cells[0], "columns": cells[1]})
    for head in told["heads"]:
        if cells is None:
            assert head["thumb"] is head["thumb_sink"] is None
            continue
        whole, small = codes_of(head["cells"], queries, keys), codes_of(head["thumb"], *cells)
        down, across = -(-queries // cells[0]), -(-keys // cells[1])
        for row, column in np.ndindex(*cells):
            part = whole[row * down : (row + 1) * down, column * across : (column + 1) * across]
            assert small[row, column] == part.max()
        sinks = codes_of(head["sink"], queries)
        assert codes_of(head["thumb_sink"], cells[0]).tolist() == [
            sinks[row * down : (row + 1) * down].max() for row in range(cells[0])
        ]


def test_fewer_pairs_are_listed_where_room_is_short():
    result = call_of(make_call(queries=8, keys=8), top=20)
    (whole,) = payload_of(result)["calls"]
    (short,) = payload_of(result, level=Level(1, "none", 3))["calls"]
    for all_of, some in zip(whole["heads"], short["heads"], strict=True):
        assert len(all_of["top"]) == 20
        assert some["top"] == all_of["top"][:3]


def test_metrics_and_labels_come_with_their_definitions():
    payload = payload_of(call_of(make_call()))
    told = [(one["name"], one["unit"], one["definition"], one["source"]) for one in payload["metrics"]]
    assert told == [(one.name, one.unit, one.definition, one.source) for one in METRICS]
    assert payload["labels"] == {label.name: label.sentence for label in LABELS}
    assert payload["format"] == "attn.page/1"
    assert payload["codes"] == {"masked": 0, "nan": 255, "scale": "1 + round(253·sqrt(w))"}


def test_findings_name_their_call():
    call = make_call(valid_lens=torch.tensor([3, 0]))
    payload = payload_of(call_of(make_call()), call_of(call))
    assert [(one["code"], one["call"], one["batch"]) for one in payload["findings"]] == [
        (one.code, 1, one.place.batch) for one in call_of(call).inspection.findings
    ]
    assert payload["findings"]


def test_tokens_of_several_calls_stand_once():
    words = ("the", "cat", "sat", "on", "it")
    made = [
        call_of(make_call(1, 2, queries=1, keys=keys), case=Case(queries=1, keys=keys, tokens=(words[:keys],)))
        for keys in (3, 4, 5)
    ]
    other = call_of(make_call(1, 2, queries=1, keys=2), case=Case(queries=1, keys=2, tokens=(("a", "cat"),)))
    without = call_of(make_call(1, 2, queries=1, keys=2))
    payload = payload_of(*made, other, without)
    assert payload["tokens"] == [list(words), ["a", "cat"]]
    assert [call["tokens"] for call in payload["calls"]] == [[0], [0], [0], [1], None]


def test_a_head_worth_looking_at_is_named_by_its_place():
    call = make_call(1, 4, queries=6, keys=6)
    call.q[0, 2, 1, 0] = torch.nan
    part = select(call, Selection(heads=(3, 2)))
    payload = payload_of(call_of(make_call()), call_of(part, case=Case(heads=2, queries=6, keys=6, layer=1)))
    broken = next(one for one in payload["worth"] if one["kind"] == "broken")
    assert (broken["call"], broken["head"]) == (1, 1)


@pytest.mark.parametrize(("name", "value"), [("layer", 3), ("prefix", "layers.3.step.2")])
def test_a_call_is_named(name, value):
    result = call_of(make_call(1, 2, queries=3, keys=4), case=Case(**{name: value}))
    (told,) = payload_of(result)["calls"]
    assert told["name"] == ("layer 3" if name == "layer" else value)
    assert told["timing"][2] == {"name": "attention", "text": "0.50 ms (IQR 0.25 ms, 3 runs)"}
    text = "weights shown × V equal the output of flash within 2.4e-07"
    assert told["verification"] == {"text": text, "holds": True, "against": "flash"}
    assert told["shapes"][0] == {"step": "Q", "shape": [1, 2, 3, 2]}


def test_hand_made_results_without_details_have_a_picture():
    result = call_of(make_call(queries=20, keys=20))
    plain = replace(result, inspection=replace(result.inspection, detail=None))
    (told,) = payload_of(plain)["calls"]
    assert told["exact_kind"] == "none"
    assert told["picture"]["rows"] == 20
