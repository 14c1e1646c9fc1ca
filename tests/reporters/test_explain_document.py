"""The document of ``attn explain``: every number, the steps in order, and a schema that holds it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from attn_cli.reporters.json_report import explain_document
from attn_cli.reporters.schema import schema_for
from tests.explanation.told import full, tell
from tests.reporters.explain_results import EXPLANATIONS

VALIDATOR = Draft202012Validator(schema_for("explain"))
DOCUMENTS = {name: explain_document(told) for name, told in EXPLANATIONS.items()}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_validate(name: str) -> None:
    VALIDATOR.validate(DOCUMENTS[name])
    json.dumps(DOCUMENTS[name], allow_nan=False)
    assert DOCUMENTS[name]["schema"] == "attn.explain/1"
    assert not Draft202012Validator(schema_for("run")).is_valid(DOCUMENTS[name])


def test_every_number_is_there_in_full() -> None:
    told = tell(full(2), 1, 2, 4, 3)
    data = explain_document(told)["data"]
    cell = told.cell
    assert cell is not None
    assert [step["step"] for step in data["steps"]] == [words.stage for words in told.words]
    values = {step["step"]: step["values"] for step in data["steps"]}
    assert values["scores"]["score"] == cell.score.total
    assert values["scale"]["scaled"] == cell.scaled
    assert values["softmax"]["weight"] == cell.weight == data["cell"]["weight"]
    assert values["mix"]["share"] == cell.part.share
    assert data["row"]["output"] == list(told.row.output)
    assert (data["query"], data["key"], data["kv_head"]) == (4, 3, 1)


def test_what_is_not_finite_is_null_and_a_finding() -> None:
    document = DOCUMENTS["broken-cell"]
    assert document["status"] == "findings"
    assert document["data"]["cell"]["weight"] is None
    assert document["findings"][0]["feature"] == 6
    assert DOCUMENTS["cell"]["status"] == "ok"


def test_a_row_tells_the_rows_numbers() -> None:
    data = DOCUMENTS["row"]["data"]
    assert (data["cell"], data["key"]) == (None, None)
    assert data["steps"][0]["values"].keys() == {"smallest", "largest"}
    assert sum(cause["count"] for cause in data["row"]["hidden_by"]) >= data["row"]["hidden"] > 0


def _places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(value, dict):
        inner = [place for key, item in value.items() if key != "values" for place in _places(item, (*path, key))]
        return [(*path, key) for key in value] + inner
    if isinstance(value, list):
        return [place for number, item in enumerate(value[:2]) for place in _places(item, (*path, number))]
    return []


def _is_promised(path: tuple[str | int, ...]) -> bool:
    return path[0] != "findings" or path[-1] in ("findings", "code", "severity", "message")


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_key_that_is_removed_or_renamed_is_noticed(data: st.DataObject) -> None:
    document = copy.deepcopy(DOCUMENTS[data.draw(st.sampled_from(sorted(DOCUMENTS)))])
    path = data.draw(st.sampled_from([path for path in _places(document) if _is_promised(path)]))
    parent: Any = document
    for step in path[:-1]:
        parent = parent[step]
    value = parent.pop(path[-1])
    if data.draw(st.booleans()):
        parent[f"{path[-1]}_"] = value
    assert not VALIDATOR.is_valid(document)
