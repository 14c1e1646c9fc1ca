"""The document of a check: it validates, and one that breaks a promise does not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from attn_cli.checks.types import CheckResult
from attn_cli.errors import InputError
from attn_cli.reporters.json_report import check_document, error_document, rules_document, run_document
from attn_cli.reporters.schema import schema_for
from tests.reporters.check_results import CLEAN, MANY, NOTED, RESULTS, RULES, STRICT, make_checked
from tests.reporters.results_for_tests import Case, make_result

VALIDATOR = Draft202012Validator(schema_for("check"))


@pytest.mark.parametrize("name", RESULTS)
def test_documents_validate(name: str) -> None:
    VALIDATOR.validate(check_document(RESULTS[name]))


def test_what_explains_rules_and_what_failed_validate_too() -> None:
    VALIDATOR.validate(rules_document(RULES))
    VALIDATOR.validate(error_document("check", InputError("x: no q; expected q", None)))


@pytest.mark.parametrize(
    ("result", "status", "exit_code"),
    [(CLEAN, "ok", 0), (NOTED, "findings", 0), (MANY, "findings", 1), (STRICT, "findings", 1)],
)
def test_status_and_exit_code_say_what_came_of_it(result: CheckResult, status: str, exit_code: int) -> None:
    document = check_document(result)
    assert (document["status"], document["exit_code"]) == (status, exit_code)


def test_a_finding_names_file_layer_prefix_and_feature() -> None:
    found = [finding for finding in check_document(MANY)["findings"] if finding["code"] == "ATTN001"]
    place = {"file": "layers.safetensors", "layer": 2, "prefix": "layers.2"}
    place |= {"tensor": "k", "batch": 1, "head": 3, "key": 4, "feature": 5}
    assert len(found) == 1
    assert found[0].items() >= place.items()
    assert "query" not in found[0]


def test_data_tells_files_calls_and_rules() -> None:
    data = check_document(MANY)["data"]
    assert data["files"] == ["clean.safetensors", "layers.safetensors", "-"]
    assert [call["findings"] for call in data["calls"]][3] == {"error": 1, "warning": 1, "info": 0}
    assert data["calls"][0]["backend"] == {
        "requested": "auto",
        "ran": "textbook",
        "kernel": "attn_cli.attention.textbook",
    }
    assert data["calls"][0]["shape"] == [2, 4, 10, 10]
    assert data["rules"][2] == {"code": "ATTN003", "name": "query row without a visible key", "severity": "warning"}


def test_an_explained_rule_holds_its_words() -> None:
    rule = rules_document(RULES[2:3])["data"]["rules"][0]
    assert (rule["looks_for"], rule["why"]) == (RULES[2].sentence, RULES[2].why)
    assert (rule["example"], rule["source"]) == (RULES[2].example, RULES[2].source)


def test_a_document_of_another_command_does_not_validate() -> None:
    assert not VALIDATOR.is_valid(run_document(make_result(Case())))


@pytest.mark.parametrize(
    "change",
    [{"exit_code": 2}, {"status": "ok"}, {"findings": []}, {"data": None}, {"schema": "attn.check/2"}, {"extra": 1}],
)
def test_what_contradicts_itself_does_not_validate(change: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid({**check_document(MANY), **change})


def test_a_clean_check_cannot_fail() -> None:
    assert not VALIDATOR.is_valid({**check_document(CLEAN), "exit_code": 1})


@pytest.mark.parametrize("room", ["calls", "rules", "findings"])
def test_every_promised_key_is_required(room: str) -> None:
    document = check_document(CheckResult((make_checked(MANY.findings[1]),), RULES[:1]))
    entry = (document if room == "findings" else document["data"])[room][0]
    optional = {"layer", "prefix", "tensor", "batch", "head", "query", "key", "feature", "count", "hint"}
    for key in set(entry) - (optional if room == "findings" else set()):
        broken = copy.deepcopy(document)
        del (broken if room == "findings" else broken["data"])[room][0][key]
        assert not VALIDATOR.is_valid(broken), key
