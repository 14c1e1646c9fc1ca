"""``attn diff`` as a command: what it takes, what it prints, and its exit codes."""

import json
import os
import pty
import re
import subprocess
import sys

import jsonschema
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from attn_cli.attention.backends import BACKENDS
from attn_cli.main import main
from attn_cli.reporters.schema import schema_for
from tests.cli.process import MINILM, ROOT, attn, environment, python
from tests.cli.test_imports import without_torch
from tests.inputs.files import heads, write


@pytest.fixture(autouse=True)
def _narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")


def run(capsys, *arguments):
    code = main(["diff", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def document(capsys, *arguments):
    """The document, which validates and has the process's exit code."""
    code, out, _ = run(capsys, *arguments, "--json")
    found = json.loads(out, parse_constant=pytest.fail)
    jsonschema.validate(found, schema_for("diff"))
    assert found["exit_code"] == code
    assert found["schema"] == "attn.diff/1"
    return found


@pytest.fixture
def saved(tmp_path, capsys):
    """Output and weights of one layer as ``attn run --save --weights`` writes them, and with one weight perturbed."""
    path, other = tmp_path / "left.safetensors", tmp_path / "right.safetensors"
    assert main(["run", MINILM, "--layer", "3", "--save", str(path), "--weights"]) == 0
    capsys.readouterr()
    tensors = load_file(path)
    tensors["weights"][1, 7, 12, 3] += 1e-3
    with safe_open(path, "pt") as file:
        save_file(tensors, other, file.metadata())
    return path, other


def test_sdpa_and_the_textbook_agree_on_the_sample(capsys):
    code, out, err = run(capsys, MINILM, "--backend", "sdpa", "--against", "textbook")
    assert (code, err) == (0, "")
    assert "6 attention calls: equal within the tolerance" in out


def test_a_perturbed_weight_is_named(capsys, saved):
    code, out, _ = run(capsys, *saved)
    assert code == 1
    assert re.search(r"ATTN090\s+tensor weights, batch 1, head 7, query 12, key 3\n", out)
    assert "4 tensors: 1 differs" in out
    code, out, _ = run(capsys, saved[0], saved[0])
    assert code == 0
    assert run(capsys, *saved, "--atol", "0.0011")[0] == 0


def test_the_document_names_the_perturbed_weight(capsys, saved):
    found = document(capsys, *saved)
    assert found["status"] == "findings"
    (finding,) = found["findings"]
    place = {name: finding[name] for name in ("tensor", "batch", "head", "query", "key")}
    assert place == {"tensor": "weights", "batch": 1, "head": 7, "query": 12, "key": 3}
    by_name = {tensor["name"]: tensor for tensor in found["data"]["tensors"]}
    assert [name for name, tensor in by_name.items() if not tensor["within"]] == ["weights"]
    head = by_name["weights"]["heads"][12 + 7]
    assert (head["batch"], head["head"], head["first_row"], head["within"]) == (1, 7, 12, False)
    assert head["worst"]["right"] - head["worst"]["left"] == pytest.approx(1e-3, rel=1e-3)
    assert head["js_largest_row"] == 12
    assert not found["data"]["within"]
    assert document(capsys, saved[0], saved[0])["status"] == "ok"


def test_the_document_of_settings_tells_both_sides(capsys):
    arguments = (MINILM, "--layer", "3", "--dtype", "bfloat16", "--against-dtype", "float64", "--against", "math")
    data = document(capsys, *arguments, "--head", "5", "--batch", "1")["data"]
    assert (data["left"]["dtype"], data["right"]["dtype"]) == ("bfloat16", "float64")
    assert (data["left"]["backend"]["requested"], data["right"]["backend"]["ran"]) == ("auto", "math")
    assert data["tolerance"] == {"rtol": 1.6e-2, "atol": 1e-5, "dtype": "bfloat16"}
    (head,) = data["calls"][0]["heads"]
    assert (head["batch"], head["head"]) == (1, 5)
    assert head["js_divergence"] > 0
    assert set(head["worst"]) == {"query", "feature", "left", "right"}
    assert set(head["weights"]["worst"]) == {"query", "key", "left", "right"}
    assert data["tensors"] == []


def test_weights_that_are_the_same_by_definition_are_not_compared(capsys):
    data = document(capsys, MINILM, "--layer", "0", "--against", "textbook")["data"]
    assert all(head["js_divergence"] is None and head["weights"] is None for head in data["calls"][0]["heads"])


def test_a_value_that_is_not_finite_is_null_in_the_document(capsys, tmp_path):
    tensors = heads(dtype=torch.float32)
    left = write(tmp_path / "a.safetensors", tensors)
    tensors["q"][0, 1, 2, 3] = torch.nan
    right = write(tmp_path / "b.safetensors", tensors)
    found = document(capsys, left, right)
    tensor = next(tensor for tensor in found["data"]["tensors"] if tensor["name"] == "q")
    assert (tensor["finite_in_one"], tensor["worst"]["right"]) == (1, None)
    assert "right NaN" in found["findings"][0]["message"]
    code, out, _ = run(capsys, left, right)
    assert code == 1
    assert "finite in one only" in out


@pytest.mark.parametrize(
    "arguments",
    [
        [MINILM, MINILM],
        [MINILM, MINILM, "--layer", "2", "--batch", "0"],
        [MINILM, "--against-dtype", "float16", "--layer", "1"],
        [MINILM, "--against-causal-align", "top-left", "--causal", "--layer", "1"],
        [MINILM, "--against", "recorded"],
        [MINILM],
        ["missing.safetensors", MINILM],
        [MINILM, "--against", "nothing"],
    ],
    ids=" ".join,
)
def test_every_document_validates(capsys, arguments):
    document(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([MINILM], "nothing to compare it with; expected a second file, or --against"),
        ([], "no FILE: expected two files"),
        (["-", "-"], "standard input can be read once"),
        ([MINILM, "--against", "recorded", "--against-dtype", "float64"], "nothing is run"),
        ([MINILM, "--against", "recorded", "--against-causal-align", "1"], "nothing is run"),
        ([MINILM, "--against", "math", "--backend", "textbook", "--softcap", "5"], "error: --against math cannot run"),
        ([MINILM, "--against-device", "foo"], "error: --against-device foo: no such device"),
        ([MINILM, "--against-causal-align", "bogus"], "error: --against-causal-align bogus: expected"),
        ([MINILM, MINILM, "--causal-align", "bogus"], "error: --causal-align bogus: expected"),
        ([MINILM, MINILM, "--layer", "99"], "no call in --layer 99"),
        ([MINILM, MINILM, "--prefix", "nope"], "nothing under --prefix nope"),
        ([MINILM, MINILM, "--head", "99"], "99"),
        ([MINILM, "--against", "sdpa", "--atol", "nan"], "--atol nan: expected a finite number"),
        ([MINILM, "--against", "sdpa", "--rtol", "inf"], "--rtol inf: expected a finite number"),
        ([MINILM, "--against-causal-align", "left"], "expected bottom-right, top-left or a whole number"),
        ([MINILM, "missing.safetensors"], "missing.safetensors: no such file"),
        ([MINILM, "README.md"], "README.md: is in no format that attn knows"),
    ],
)
def test_what_cannot_be_compared_is_refused(capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(ROOT)
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_nothing_to_compare_with_has_a_hint(capsys):
    assert "hint: attn diff FILE --backend sdpa --against textbook" in run(capsys, MINILM)[2]


def test_the_right_side_takes_every_backend_that_there_is():
    from attn_cli.commands.diff import AgainstName

    assert {name.value for name in AgainstName} == {"auto", "recorded", *BACKENDS}


def test_answers_without_torch():
    cases = [
        (["diff", "--help"], 0),
        (["schema", "diff"], 0),
        (["diff", "sample_inputs/minilm.safetensors"], 2),
        (["diff", "README.md", "missing.safetensors"], 2),
        (["diff", "missing.safetensors", "--against", "textbook", "--json"], 2),
        (["diff", "README.md", "--against-causal-align", "x"], 2),
    ]
    answers = without_torch(*(arguments for arguments, _ in cases))
    assert answers == [[arguments, [], code] for arguments, code in cases]


def test_standard_input_is_read_once_for_both_sides(tmp_path):
    path = write(tmp_path / "a.safetensors", heads(queries=3, keys=6))
    with open(path, "rb") as file:
        data = file.read()
    done = attn("diff", "-", "--causal", "--against-causal-align", "top-left", stdin=data)
    assert done.returncode == 1
    assert b"alignment" in done.stdout
    assert attn("diff", "-", path, stdin=data).returncode == 0


def test_calls_of_two_files_are_compared_by_the_weights_of_a_third(capsys, tmp_path):
    hidden = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(0))
    other = hidden.clone()
    other[0, 2] += 1
    paths = [write(tmp_path / f"{name}.safetensors", {"hidden_states": x}) for name, x in (("a", hidden), ("b", other))]
    weights = write(tmp_path / "w.safetensors", {f"{name}_proj.weight": torch.eye(8) for name in "qkv"})
    asked = ("--weights-file", weights, "--num-heads", "2")
    found = document(capsys, *paths, *asked)
    assert [one["name"] for one in found["data"]["tensors"]] == ["hidden_states"]
    assert len(found["data"]["calls"]) == found["exit_code"] == 1
    assert run(capsys, paths[0], paths[0], *asked)[0] == 0


def test_three_npy_files_are_one_input(capsys, tmp_path):
    import numpy as np

    names = {}
    for name, x in heads().items():
        names[name] = str(tmp_path / f"{name}.npy")
        np.save(names[name], x.numpy())
    flags = [part for name, path in names.items() for part in (f"--{name}", path)]
    assert run(capsys, *flags, "--backend", "sdpa", "--against", "textbook")[0] == 0


LONG = """
import resource, sys, torch
from attn_cli.main import main
settings = ["--dtype", "bfloat16", "--against-dtype", "float32", "--query", sys.argv[2]]
code = main(["diff", sys.argv[1], *settings, "--json"])
print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what ru_maxrss counts depends on the system")
def test_memory_does_not_grow_with_rows_times_keys(tmp_path):
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(1, 1, 16384, 8, generator=generator) for name in "qkv"}
    path = write(tmp_path / "long.safetensors", tensors)

    def kilobytes(queries):
        return int(python(LONG, path, queries).err.split()[-1])

    # 1920 more rows are 31 million weights a side: 125 MB in float32.
    assert kilobytes("0-2047") - kilobytes("0-127") < 50_000


def test_a_bar_says_that_it_compares(tmp_path):
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(1, 4, 6000, 16, generator=generator) for name in "qkv"}
    path = write(tmp_path / "long.safetensors", tensors)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "attn_cli", "diff", path, "--against-dtype", "bfloat16", "--json"]
    env = environment(TERM="xterm-256color", COLUMNS="100")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, cwd=ROOT, env=env)
    os.close(theirs)
    shown = b""
    try:
        while not re.search(rb"comparing[^\r\n]*\d%", shown):
            try:
                shown += os.read(ours, 4096)
            except OSError:
                break
    finally:
        process.kill()
        process.communicate()
        os.close(ours)
    assert re.search(rb"comparing[^\r\n]*\d%", shown)
