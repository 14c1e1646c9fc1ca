"""``attn explain`` as a shell sees it."""

import json

import jsonschema
import pytest
import torch
from safetensors.torch import load_file, save_file

from attn_cli.main import main
from attn_cli.reporters.schema import schema_for
from tests.cli.process import MINILM, ROOT, SAMPLES, attn
from tests.cli.test_imports import without_torch

CELL = ("explain", MINILM, "--layer", "3", "--head", "5", "--query", "3")


@pytest.fixture
def document(capsys):
    """Runs a command with ``--json``; what it prints, validated."""

    def of(*arguments):
        code = main([*arguments, "--json"])
        found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
        jsonschema.validate(found, schema_for("explain"))
        assert found["exit_code"] == code
        return found

    return of


@pytest.fixture
def refusal(capsys):
    """Runs ``attn explain`` where it has to fail; its message."""

    def of(*arguments):
        assert main(["explain", *arguments]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        return printed.err

    return of


def test_the_cell_is_the_models_own(document):
    """The probabilities that the model itself recorded."""
    truth = load_file(ROOT / "tests" / "data" / "minilm_truth.safetensors")
    names = [name for name, x in truth.items() if "3" in name and x.dim() == 4 and x.shape[-2:] == (18, 18)]
    assert names
    recorded = truth[names[0]]
    data = document(*CELL, "--key", "0", "--batch", "1")["data"]
    assert data["cell"]["weight"] == pytest.approx(float(recorded[1, 5, 3, 0]), abs=1e-5)
    assert (data["query_token"], data["key_token"]) == ("the", "[CLS]")
    assert data["kernel"]["difference"] < 1e-6


def test_a_row_is_printed_in_80_columns():
    done = attn(*CELL)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    assert max(map(len, text.splitlines())) <= 80
    assert "5 of 18 keys hidden, 13 visible" in text
    assert "batch 0 of 2 · head 5 of 12 · query 3 of 18 “sat”" in text


def test_hidden_states_are_explained_like_heads(document):
    hidden = ("explain", str(SAMPLES / "minilm-hidden.safetensors"), "--num-heads", "12", "--head", "5", "--query", "3")
    weights = ("--weights-file", str(SAMPLES / "minilm-layer3" / "model.safetensors.index.json"))
    projected = document(*hidden, *weights, "--key", "4")["data"]["cell"]
    heads = document(*CELL, "--key", "4")["data"]["cell"]
    for name in ("logit", "weight"):
        assert projected[name] == pytest.approx(heads[name], abs=1e-4)
    assert projected["projected"]["share"] == pytest.approx(heads["projected"]["share"], abs=1e-4)


def test_top_limits_what_is_told_one_by_one(document):
    assert len(document(*CELL, "--top", "2")["data"]["row"]["top"]) == 2
    assert len(document(*CELL, "--key", "1", "--top", "3")["data"]["cell"]["score"]["terms"]) == 3


def test_a_file_with_several_layers_asks_for_one(document, refusal):
    said = refusal(MINILM, "--head", "1", "--query", "1")
    assert "found 6 layers; expected --layer, one of 0, 1, 2, 3, 4, 5" in said
    failure = document("explain", MINILM, "--head", "1", "--query", "1")
    assert (failure["error"]["code"], failure["data"]) == ("usage", None)


def test_calls_that_no_layer_tells_apart_are_named_by_prefix(tmp_path, refusal):
    tensors = {f"{part}.{name}": torch.zeros(1, 1, 2, 4) for part in ("self", "cross") for name in "qkv"}
    save_file(tensors, tmp_path / "x.safetensors")
    said = refusal(str(tmp_path / "x.safetensors"), "--head", "0", "--query", "0")
    assert "found 2 attention calls; expected --prefix, one of cross, self" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--head", "50", "--query", "3"), "--head 50; expected 0 to 11, of 12 query heads"),
        (("--head", "5", "--query", "18"), "--query 18; expected 0 to 17"),
        (("--head", "5", "--query", "3", "--batch", "2"), "--batch 2; expected 0 to 1"),
        (("--head", "5", "--query", "3", "--key", "18"), "--key 18; expected 0 to 17, of 18 keys"),
        (("--head", "5"), "Missing option '--query'"),
        (("--query", "5"), "Missing option '--head'"),
        (("--head", "0-3", "--query", "5"), "--head 0-3: expected a whole number from 0"),
        (("--head", "5", "--query", "3", "--top", "0"), "--top 0: expected a whole number from 1"),
        (("--head", "5", "--query", "3", "--softcap", "3", "--backend", "math"), "no softcap"),
    ],
)
def test_what_cannot_be_explained_is_refused(arguments, said, refusal):
    assert said in refusal(MINILM, "--layer", "3", *arguments)


def test_a_finding_is_told_and_the_exit_code_stays_0(tmp_path, document):
    tensors = {name: torch.randn(1, 2, 5, 8) for name in "qkv"}
    tensors["q"][0, 1, 3, 2] = torch.nan
    save_file(tensors, tmp_path / "x.safetensors")
    found = document("explain", str(tmp_path / "x.safetensors"), "--head", "1", "--query", "3", "--key", "0")
    assert (found["status"], found["exit_code"]) == ("findings", 0)
    first = found["findings"][0]
    assert (first["code"], first["tensor"], first["query"], first["feature"]) == ("ATTN001", "q", 3, 2)


def test_the_kernel_beside_it_runs_as_asked(document):
    kernel = document(*CELL, "--dtype", "bfloat16", "--backend", "textbook", "--device", "cpu")["data"]["kernel"]
    assert (kernel["dtype"], kernel["ran"]) == ("bfloat16", "textbook")
    assert kernel["difference"] > 1e-5


def test_answers_without_torch():
    cases = [
        (["explain", "--help"], 0),
        (["schema", "explain"], 0),
        (["explain", "missing.safetensors", "--head", "0", "--query", "0"], 2),
        (["explain", "README.md", "--head", "0"], 2),
    ]
    answers = without_torch(*(arguments for arguments, _ in cases))
    assert answers == [[arguments, [], code] for arguments, code in cases]
