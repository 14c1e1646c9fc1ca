"""What the commands really print validates against the schemas that they promise."""

import json

import jsonschema
import pytest
import torch
from safetensors.torch import save_file

from attn_cli.main import main
from attn_cli.reporters.schema import schema_for
from tests.cli.process import MINILM


def printed(capsys, *arguments):
    code = main([*arguments, "--json"])
    document = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert document["exit_code"] == code
    return document


@pytest.fixture
def broken(tmp_path):
    """A NaN in Q, an empty row, sinks and token ids."""
    q = torch.randn(2, 4, 20, 8)
    q[0, 1, 17, 3] = torch.nan
    tensors = {"q": q, "k": torch.randn(2, 2, 20, 8), "v": torch.randn(2, 2, 20, 4)}
    tensors |= {"valid_lens": torch.tensor([20, 0]), "sinks": torch.randn(4), "token_ids": torch.ones(2, 20).long()}
    save_file(tensors, tmp_path / "broken.safetensors")
    return str(tmp_path / "broken.safetensors")


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo"],
        ["demo", "--similarity", "--weights", "--kv-heads", "1", "--top", "0"],
        ["demo", "--causal", "--queries", "2"],
        ["demo", "--valid-lens", "0,2", "--repeat", "1"],
        ["demo", "--heads", "3"],
        ["run", MINILM],
        ["run", MINILM, "--weights", "--similarity"],
        ["run", MINILM, "--layer", "3", "--head", "5", "--batch", "1", "--query", "0-2"],
        ["run", MINILM, "--zoom", "2:7,:"],
        ["run", MINILM, "--layer", "3", "--query", "9,3,1", "--zoom", "2:10,1:3"],
        ["demo", "--zoom", "0:1,5:6", "--queries", "200", "--keys", "200"],
        ["demo", "--zoom", "0:9,:"],
        ["run", MINILM, "--layer", "9"],
        ["run", "missing.safetensors"],
        ["run", "--scale", "many"],
        ["check", MINILM],
        ["check", MINILM, "--layer", "3", "--head", "5", "--select", "ATTN001", "--strict"],
        ["check", "--rule", "all"],
        ["check", "--rule", "ATTN003"],
        ["check", "--rule", "ATTN"],
        ["check", "missing.safetensors"],
    ],
    ids=" ".join,
)
def test_every_document_validates(arguments, capsys):
    document = printed(capsys, *arguments)
    jsonschema.validate(document, schema_for(arguments[0]))
    assert document["schema"] == f"attn.{arguments[0]}/1"


def test_a_failed_check_validates(broken, capsys):
    document = printed(capsys, "check", MINILM, broken, "--strict")
    jsonschema.validate(document, schema_for("check"))
    assert (document["status"], document["exit_code"]) == ("findings", 1)
    assert {finding["file"] for finding in document["findings"] if finding["severity"] == "error"} == {broken}


def test_a_document_with_every_finding_validates(broken, capsys):
    document = printed(capsys, "run", broken, "--weights")
    jsonschema.validate(document, schema_for("run"))
    assert {finding["code"] for finding in document["findings"]} >= {"ATTN001", "ATTN002", "ATTN003"}
    assert "js_divergence" in document["data"]["metrics"]
    assert document["data"]["heads"][1]["learned_sink_mass"] is None
