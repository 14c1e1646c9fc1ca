"""The JSON of run and demo: the contract's keys, numbers that are right, and nothing that JSON does not have."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attn_cli import __version__
from attn_cli.errors import InputError, ResourceError
from attn_cli.inspection.metrics import METRICS, PAIR_METRICS
from attn_cli.inspection.types import Finding, Place, Verification
from attn_cli.reporters.json_report import error_document, run_document, write_document
from attn_cli.results import RunResult
from tests.reporters.results_for_tests import Case, make_call, make_result

FINDING = Finding("ATTN002", "error", "a broken row", Place(batch=0, head=1, query=17), 3, "look there")


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def _written(document: dict[str, Any]) -> Any:
    stream = io.StringIO()
    write_document(document, stream)
    return json.loads(stream.getvalue(), parse_constant=_refuse)


def test_the_envelope_of_a_run_without_findings() -> None:
    document = _written(run_document(make_result(Case())))
    assert list(document) == ["schema", "attn_version", "status", "exit_code", "data", "findings", "error"]
    assert document["schema"] == "attn.run/1"
    assert document["attn_version"] == __version__
    assert (document["status"], document["exit_code"]) == ("ok", 0)
    assert (document["findings"], document["error"]) == ([], None)


def test_findings_change_the_status_and_not_the_exit_code() -> None:
    document = _written(run_document(make_result(Case(layer=3, findings=(FINDING,)), command="demo")))
    assert document["schema"] == "attn.demo/1"
    assert (document["status"], document["exit_code"]) == ("findings", 0)
    assert document["findings"] == [
        {
            "code": "ATTN002",
            "severity": "error",
            "message": "a broken row",
            "layer": 3,
            "batch": 0,
            "head": 1,
            "query": 17,
            "count": 3,
            "hint": "look there",
        }
    ]


@pytest.mark.parametrize(
    ("error", "code", "exit_code"),
    [
        (InputError("x.npz: no q; expected q, k and v", "name it with --q"), "input", 2),
        (ResourceError("cuda: out of memory"), "resource", 3),
    ],
)
def test_a_failure_has_the_same_envelope(error: InputError, code: str, exit_code: int) -> None:
    document = _written(error_document("run", error))
    assert list(document) == ["schema", "attn_version", "status", "exit_code", "data", "findings", "error"]
    assert (document["status"], document["exit_code"], document["data"]) == ("error", exit_code, None)
    assert document["error"] == {"code": code, "message": error.message, "hint": error.hint}


def test_every_head_has_its_place_label_metrics_and_pairs() -> None:
    case = Case(batch=2, heads=3, layer=5, prefix="layers.5")
    call = make_call(case)
    heads = _written(run_document(RunResult("run", (call,))))["data"]["heads"]
    assert [(head["layer"], head["batch"], head["head"]) for head in heads] == [
        (5, b, h) for b in range(2) for h in range(3)
    ]
    head = heads[4]
    assert head["label"] == call.inspection.labels[1][1]
    assert head["entropy"] == float(call.inspection.metrics["entropy"][1, 1])
    assert set(head) >= {metric.name for metric in METRICS}
    top = call.inspection.top
    assert head["top"][0] == {
        "query": int(top.query[1, 1, 0]),
        "key": int(top.key[1, 1, 0]),
        "weight": float(top.weight[1, 1, 0]),
    }


def test_a_metric_that_does_not_apply_is_null() -> None:
    head = _written(run_document(make_result(Case())))["data"]["heads"][0]
    assert head["learned_sink_mass"] is None
    assert head["induction_score"] is None


def test_fewer_pairs_than_asked_for_are_a_shorter_list() -> None:
    heads = _written(run_document(make_result(Case(batch=2, valid_lens=(0, 2)))))["data"]["heads"]
    assert heads[0]["top"] == []
    assert len(heads[2]["top"]) == 3


def test_numbers_that_are_not_finite_are_null() -> None:
    case = Case(
        heads=2, broken_head=1, with_weights=True, verification=Verification(math.nan, "flash", 0, Place(), math.inf)
    )
    call = make_call(case)
    data = _written(run_document(RunResult("run", (call,))))["data"]
    assert data["heads"][1]["entropy"] is None
    assert data["weights"][0][1][1] == [None] * 4
    assert data["verification"]["max_abs_error"] is None
    assert data["verification"]["tolerance"] is None
    assert data["output"]["max"] is None


def test_weights_and_similarity_are_there_only_where_asked_for() -> None:
    without = _written(run_document(make_result(Case())))["data"]
    assert not {"weights", "sink_weights", "similarity"} & set(without)
    call = make_call(Case(batch=2, with_weights=True, with_similarity=True, has_sinks=True))
    data = _written(run_document(RunResult("run", (call,))))["data"]
    inspection = call.inspection
    for name, tensor in (("weights", inspection.weights), ("sink_weights", inspection.sink_weights)):
        assert tensor is not None
        np.testing.assert_array_equal(np.array(data[name]), tensor.numpy())
    assert inspection.similarity is not None
    np.testing.assert_array_equal(np.array(data["similarity"]), inspection.similarity.numpy())


def test_weights_of_several_calls_stand_behind_their_layer() -> None:
    cases = [Case(layer=layer, prefix=f"layers.{layer}", with_weights=True) for layer in (1, 4)]
    weights = _written(run_document(make_result(*cases)))["data"]["weights"]
    assert [(one["layer"], one["prefix"]) for one in weights] == [(1, "layers.1"), (4, "layers.4")]
    assert np.array(weights[1]["values"]).shape == (1, 2, 3, 4)


def test_of_several_calls_those_that_have_sinks_tell_their_weight() -> None:
    cases = [Case(layer=layer, prefix=f"layers.{layer}", with_weights=True, has_sinks=layer == 4) for layer in (1, 4)]
    data = _written(run_document(make_result(*cases)))["data"]
    assert [(one["layer"], np.array(one["values"]).shape) for one in data["sink_weights"]] == [(4, (1, 2, 3))]
    assert len(data["weights"]) == 2


@pytest.mark.parametrize("with_projection", [True, False])
def test_the_output_is_told_in_numbers(with_projection: bool) -> None:
    call = make_call(Case(batch=2, with_projection=with_projection))
    output = _written(run_document(RunResult("run", (call,))))["data"]["output"]
    of, shape = ("projected", [2, 3, 4]) if with_projection else ("heads", [2, 2, 3, 2])
    assert output == {"of": of, "shape": shape, "mean": 0.25, "std": 1.5, "min": -2.0, "max": None}


def test_timing_is_median_and_quartile_range() -> None:
    call = make_call(Case())
    samples = (4.0, 1.0, 2.0, 8.0)
    timed = replace(call, timing=replace(call.timing, attention=samples))
    attention = _written(run_document(RunResult("run", (timed,))))["data"]["timing_ms"]["attention"]
    low, middle, high = np.percentile(samples, [25, 50, 75])
    assert attention == {"median": pytest.approx(middle), "iqr": pytest.approx(high - low), "runs": 4}
    once = replace(call, timing=replace(call.timing, attention=(3.0,)))
    attention = _written(run_document(RunResult("run", (once,))))["data"]["timing_ms"]["attention"]
    assert attention == {"median": 3.0, "iqr": None, "runs": 1}


def test_several_calls_are_summed_up_and_told_one_by_one() -> None:
    worst = Verification(0.5, "flash", 0, Place(None, 0, 1, 2), 1e-5)
    cases = [Case(layer=0), Case(layer=1, verification=worst, keys=5), Case(layer=2)]
    data = _written(run_document(make_result(*cases)))["data"]
    assert data["timing_ms"]["load"] == pytest.approx(3 * 1.25)
    assert data["timing_ms"]["attention"] == {"median": pytest.approx(1.5), "iqr": None, "runs": 9}
    assert (data["verification"]["layer"], data["verification"]["max_abs_error"]) == (1, 0.5)
    assert data["output"] is None
    assert data["shapes"] == data["layers"][0]["shapes"]
    assert [layer["layer"] for layer in data["layers"]] == [0, 1, 2]
    assert data["layers"][1]["verification"]["query"] == 2
    assert data["layers"][1]["shapes"] != data["shapes"]
    assert data["layers"][2]["output"]["of"] == "heads"
    assert len(data["heads"]) == 6


def test_a_disagreement_is_worse_than_any_difference() -> None:
    far = Verification(0.5, "flash", 0, Place(), 1e-5)
    lonely = Verification(1e-9, "flash", 1, Place(), 1e-5)
    data = _written(run_document(make_result(Case(layer=0, verification=far), Case(layer=1, verification=lonely))))[
        "data"
    ]
    assert data["verification"]["layer"] == 1


def test_a_difference_is_measured_by_its_tolerance() -> None:
    half = Verification(1e-3, "flash", 0, Place(), 1e-2)
    single = Verification(1e-4, "flash", 0, Place(), 1e-5)
    data = _written(run_document(make_result(Case(layer=0, verification=half), Case(layer=1, verification=single))))[
        "data"
    ]
    assert data["verification"]["layer"] == 1


def test_the_input_says_how_it_was_read() -> None:
    case = Case(layer=2, prefix="layers.2", source="a.safetensors")
    data = _written(run_document(make_result(case)))["data"]["input"]
    assert data["file"] == "a.safetensors"
    assert data["tensors"][0] == {
        "name": "layers.2.q",
        "shape": [1, 2, 3, 2],
        "dtype": "float32",
        "role": "q",
        "layer": 2,
    }
    assert data["shapes"]["layers.2.k"] == [1, 2, 4, 2]
    assert data["dtypes"]["layers.2.v"] == "float32"
    assert data["conventions"] == [{"name": "scale", "value": "0.7071 = 1/√2", "origin": "default"}]
    assert data["selection"] == {"batch": None, "heads": None, "queries": None}


def test_the_backend_that_ran_is_named() -> None:
    backend = _written(run_document(make_result(Case(backend_note="no sinks"))))["data"]["backend"]
    assert backend == {
        "requested": "auto",
        "ran": "flash",
        "kernel": "_scaled_dot_product_flash_attention_for_cpu",
        "note": "no sinks",
    }


def test_metrics_bring_their_definitions() -> None:
    metrics = _written(run_document(make_result(Case())))["data"]["metrics"]
    assert set(metrics) == {metric.name for metric in (*METRICS, *PAIR_METRICS)}
    assert all(set(one) == {"unit", "definition", "source"} for one in metrics.values())


def test_a_document_is_one_line_of_ascii_whatever_is_in_it() -> None:
    hostile = Case(source="\x1b[2J\udcff猫\x7f\n", tokens=(("猫",) * 4,))
    stream = io.StringIO()
    write_document(run_document(make_result(hostile)), stream)
    text = stream.getvalue()
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    assert all(" " <= character <= "~" for character in text[:-1])
    assert json.loads(text)["data"]["input"]["file"] == "\x1b[2J\udcff猫\x7f\n"


def test_a_number_that_slipped_through_is_refused_rather_than_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_document({"x": math.nan}, io.StringIO())
