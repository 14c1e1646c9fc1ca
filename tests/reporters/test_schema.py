"""Every document validates against its schema, and one that breaks a promise does not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from attn_cli.errors import InputError, UsageError
from attn_cli.inspection.metrics import METRICS
from attn_cli.inspection.types import Finding, Place
from attn_cli.reporters.json_report import bench_document, devices_document, error_document, run_document
from attn_cli.reporters.schema import COMMANDS, PROMISED_METRICS, schema_for
from tests.reporters.bench_results import FULL, REPORTS, USABLE
from tests.reporters.results_for_tests import Case, make_result

FINDING = Finding("ATTN001", "warning", "said", Place("q", 0, 1, 2, 3), 4, "do this")
CASES = {
    "plain": (Case(),),
    "all": (Case(batch=2, layer=1, prefix="layers.1", with_weights=True, with_similarity=True, has_sinks=True),),
    "broken": (Case(broken_head=1, empty_row=0, findings=(FINDING,), with_projection=True),),
    "steps": (
        Case(layer=0, prefix="layers.0", broken_head=1),
        Case(layer=0, prefix="steps.1.layers.0"),
        Case(layer=1, prefix="layers.1"),
    ),
    "several": (
        Case(layer=0, with_weights=True),
        Case(layer=1, with_weights=True),
        Case(prefix="x", with_weights=True),
    ),
}
VALIDATOR = Draft202012Validator(schema_for("run"))
DOCUMENTS = {name: run_document(make_result(*cases)) for name, cases in CASES.items()}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_schema_is_a_schema(command: str) -> None:
    Draft202012Validator.check_schema(schema_for(command))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("command", ["run", "demo"])
def test_documents_validate(name: str, command: str) -> None:
    document = run_document(make_result(*CASES[name], command=command))
    Draft202012Validator(schema_for(command)).validate(document)
    other = next(one for one in COMMANDS if one != command)
    assert not Draft202012Validator(schema_for(other)).is_valid(document)


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("exit_code", [0, 1, 130])
def test_benchmarks_validate(name: str, exit_code: int) -> None:
    Draft202012Validator(schema_for("bench")).validate(bench_document(REPORTS[name], exit_code))


def test_devices_validate() -> None:
    Draft202012Validator(schema_for("devices")).validate(devices_document(USABLE))


@pytest.mark.parametrize(
    "change", [{"status": "good"}, {"ms": {"median": 1.0}}, {"mode": "both"}, {"reason": 3}, {"extra": 1}]
)
def test_a_result_that_breaks_its_promise_does_not_validate(change: dict[str, Any]) -> None:
    document = bench_document(FULL)
    validator = Draft202012Validator(schema_for("bench"))
    document["data"]["results"][0] |= change
    assert not validator.is_valid(document)


def test_every_promised_key_of_a_result_is_required() -> None:
    document = bench_document(FULL)
    validator = Draft202012Validator(schema_for("bench"))
    promised = [
        "backend",
        "status",
        "reason",
        "batch",
        "heads",
        "kv_heads",
        "queries",
        "keys",
        "head_dim",
        "dtype",
        "causal",
        "mode",
        "ms",
        "tflops",
        "bytes_per_s",
        "share_of_peak",
        "peak_memory_bytes",
        "max_abs_error",
        "flops_formula",
    ]
    for key in promised:
        broken = copy.deepcopy(document)
        del broken["data"]["results"][0][key]
        assert not validator.is_valid(broken), key


@pytest.mark.parametrize("command", COMMANDS)
def test_failures_validate(command: str) -> None:
    document = error_document(command, InputError("x: no q; expected q", None))
    Draft202012Validator(schema_for(command)).validate(document)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "findings"},
        {"status": "error"},
        {"exit_code": 1},
        {"error": {"code": "input", "message": "x", "hint": None}},
        {"data": None},
        {"schema": "attn.run/2"},
        {"extra": 1},
    ],
)
def test_what_contradicts_itself_does_not_validate(change: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid({**DOCUMENTS["plain"], **change})


def _places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every object's key in a document, weights left out."""
    if isinstance(value, dict):
        inner = [place for key, item in value.items() if key != "weights" for place in _places(item, (*path, key))]
        return [(*path, key) for key in value] + inner
    if isinstance(value, list):
        return [place for number, item in enumerate(value[:2]) for place in _places(item, (*path, number))]
    return []


def _promised(path: tuple[str | int, ...]) -> bool:
    parent, key = (path[-2] if len(path) > 1 else None), path[-1]
    if parent in ("shapes", "dtypes"):
        return False
    if path[0] == "findings":
        return key in ("code", "severity", "message")
    if parent == "metrics" or (len(path) > 2 and path[-3] == "heads"):
        return key in PROMISED_METRICS or key in ("layer", "batch", "head", "label", "top")
    return key not in ("weights", "sink_weights", "similarity")


def _broken(document: dict[str, Any], path: tuple[str | int, ...], new_name: str | None) -> dict[str, Any]:
    broken: Any = copy.deepcopy(document)
    parent = broken
    for step in path[:-1]:
        parent = parent[step]
    value = parent.pop(path[-1])
    if new_name is not None:
        parent[new_name] = value
    return broken  # type: ignore[no-any-return]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_key_that_is_removed_or_renamed_is_noticed(data: st.DataObject) -> None:
    document = DOCUMENTS[data.draw(st.sampled_from(sorted(DOCUMENTS)))]
    path = data.draw(st.sampled_from([path for path in _places(document) if _promised(path)]))
    name = data.draw(st.sampled_from([None, f"{path[-1]}_", "other"]))
    assert not VALIDATOR.is_valid(_broken(document, path, name))


def test_metrics_that_are_promised_exist() -> None:
    assert set(PROMISED_METRICS) <= {metric.name for metric in METRICS}


def test_a_new_metric_may_come_and_has_to_be_a_number() -> None:
    document = copy.deepcopy(DOCUMENTS["plain"])
    document["data"]["heads"][0]["new_score"] = 0.5
    assert VALIDATOR.is_valid(document)
    document["data"]["heads"][0]["new_score"] = "high"
    assert not VALIDATOR.is_valid(document)


def test_an_unknown_command_is_refused() -> None:
    with pytest.raises(UsageError, match="expected one of run, demo"):
        schema_for("nothing")
