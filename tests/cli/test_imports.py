"""What must answer without torch, in a fresh interpreter."""

import json
import subprocess
import sys

import pytest

from tests.cli.process import ROOT, environment

# Each command line in a fork of a new interpreter that has imported attn alone: so none sees what another imported.
FORKS = """
import json, os, sys
from attn_cli.main import main
for arguments in json.load(sys.stdin):
    child = os.fork()
    if not child:
        sys.stdin = sys.stdout = open(os.devnull, "r+")
        code = main(arguments)
        heavy = sorted(name for name in ("torch", "numpy", "safetensors") if name in sys.modules)
        os.write(1, f"{json.dumps([arguments, heavy, code])}\\n".encode())
        os._exit(0)
    os.waitpid(child, 0)
"""


def without_torch(*commands):
    """Of each command line what it imported of what takes long, and its exit code."""
    done = subprocess.run(
        [sys.executable, "-c", FORKS], input=json.dumps(commands),
        capture_output=True, text=True, cwd=ROOT, env=environment(), check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


CASES = [
    (["--help"], 0),
    (["run", "--help"], 0),
    (["demo", "--help"], 0),
    (["bench", "--help"], 0),
    (["devices", "--help"], 0),
    (["record", "--help"], 0),
    (["record"], 2),
    (["record", "missing.py"], 2),
    (["record", "--calls", "x", "README.md"], 2),
    (["record", "--tokenizer", "README.md", "README.md"], 2),
    (["check", "--help"], 0),
    (["--version"], 0),
    (["schema", "run"], 0),
    (["schema", "bench"], 0),
    (["run", "missing.safetensors"], 2),
    (["run", "missing.safetensors", "--json"], 2),
    (["run", "--no-such-option"], 2),
    (["run", "README.md", "--window", "x"], 2),
    (["run", "README.md", "--zoom", "x"], 2),
    (["demo", "--zoom", "5:5,:"], 2),
    (["run", "README.md", "--metric", "beauty"], 2),
    (["run", "README.md", "--sort", "low"], 2),
    (["demo", "--heads", "x"], 2),
    (["schema", "check"], 0),
    (["check"], 2),
    (["check", "README.md", "missing.safetensors"], 2),
    (["check", "README.md", "--select", "ATTN9"], 2),
    (["check", "--rule", "ATTN9"], 2),
    (["check", "README.md", "--rule", "ATTN003"], 2),
    (["bench", "--seq", "512,x"], 2),
    (["bench", "--backend", "fast"], 2),
    (["bench", "--baseline", "missing.json"], 2),
    (["bench", "--save", "nowhere/out.json"], 3),
    (["bench", "--json", "--csv"], 2),
]


@pytest.fixture(scope="module")
def answers():
    return without_torch(*(arguments for arguments, _ in CASES))


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: " ".join(CASES[number][0]))
def test_answers_without_torch(number, answers):
    arguments, code = CASES[number]
    assert answers[number] == [arguments, [], code]


def test_what_imports_torch_is_noticed():
    ((_, heavy, code),) = without_torch(["run", "README.md"])
    assert ("torch" in heavy, code) == (True, 2)


def test_completion_answers_without_torch():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "attn_cli"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(_ATTN_COMPLETE="complete_bash", COMP_WORDS="attn r", COMP_CWORD="1"),
    )
    assert "run" in done.stdout
    assert " torch" not in done.stderr


def test_the_package_itself_imports_nothing_heavy():
    script = "import sys, attn_cli; assert 'torch' not in sys.modules; attn_cli.MultiHeadAttention"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


INTERRUPTED = """
import os, signal, sys
from attn_cli.commands.imports import for_good
try:
    with for_good():
        os.kill(os.getpid(), signal.SIGINT)
        sys.stdout.write("imported whole, ")
except KeyboardInterrupt:
    sys.stdout.write("then interrupted, ")
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    sys.stdout.write("and again at once")
"""


def test_an_interrupt_while_torch_is_imported_is_obeyed_when_it_is_whole():
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, cwd=ROOT, env=environment(), check=True
    )
    assert done.stdout == "imported whole, then interrupted, and again at once"
