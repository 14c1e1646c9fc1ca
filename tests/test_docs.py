"""The commands that the README and the docs show are executed, and what they must name is named."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from safetensors import safe_open

from attn_cli.attention.backends import BACKENDS
from attn_cli.checks import CHECKS
from attn_cli.errors import AttnError
from attn_cli.inspection.labels import LABELS
from attn_cli.inspection.metrics import METRICS, PAIR_METRICS
from tests.cli.process import ROOT, SAMPLES, environment, python
from tests.hostile.warm import PROGRAM, server

PAGES = [ROOT / "README.md", ROOT / "sample_inputs" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(console|python)( fails)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITH_COMMANDS = [page for page in PAGES if "```console" in page.read_text(encoding="utf-8")]
HAS_JQ = shutil.which("jq") is not None
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

# Stands for examples/minilm.py where the README's test has run that itself: its modules attend to what it attended to,
# without the 4 s that transformers takes to import.
MODULES = [f"encoder.layer.{layer}.attention.self" for layer in range(6)]
EXAMPLE = f"""
import torch
from safetensors.torch import load_file
from torch import nn

captured = load_file({str(SAMPLES / "minilm.safetensors")!r})

class Attends(nn.Module):
    def forward(self, layer):
        q, k, v = (captured[f"layers.{{layer}}.{{name}}"] for name in "qkv")
        nn.functional.scaled_dot_product_attention(q, k, v)

class Holds(nn.Module):
    def forward(self, layer):
        parts = list(self.children())
        parts[layer % len(parts)](layer)

model = Holds()
for path in {MODULES!r}:
    *outer, name = path.split(".")
    module = model
    for one in outer:
        if not hasattr(module, one):
            module.add_module(one, Holds())
        module = getattr(module, one)
    module.add_module(name, Attends())
for layer in range({len(MODULES)}):
    model(layer)
"""


def steps(page):
    """A page's console commands and Python programs in order: its language, its text, whether it is shown to fail."""
    for language, fails, body in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            yield language, body, bool(fails)
            continue
        for line in body.splitlines():
            if line.startswith("$ ") and not line.startswith(("$ make", "$ git clone", "$ cd ")):
                yield language, line.removeprefix("$ "), bool(fails)


@pytest.fixture
def workplace(tmp_path, page):
    """What runs a step in a folder with the sample inputs and the examples: its exit code, and what it printed.

    ``attn`` and ``python`` are first on the path. The README's are started as a user starts them; those of the other
    pages come from a server that has PyTorch imported, which saves a second each.
    """
    (tmp_path / "sample_inputs").symlink_to(SAMPLES)
    programs = tmp_path / "bin"
    programs.mkdir()
    is_readme = page == ROOT / "README.md"
    if is_readme:
        (tmp_path / "examples").symlink_to(ROOT / "examples")
    else:
        (tmp_path / "examples").mkdir()
        (tmp_path / "examples" / "minilm.py").write_text(EXAMPLE)
    from_scratch = f'"{sys.executable}" -m attn_cli'
    attn = from_scratch if is_readme else f'"{sys.executable}" -S "{PROGRAM}" "{server().address}"'
    for name, command in (("attn", attn), ("python", f'"{sys.executable}"')):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        program.chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    env = environment(PATH=path, PYTHONPATH=str(ROOT))

    def run(language, text):
        if language == "python" and not is_readme:
            done = python(text, cwd=tmp_path)
            return done.returncode, done.stdout.decode(), done.err
        command = ["python", "-c", text] if language == "python" else ["bash", "-o", "pipefail", "-c", text]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_shown_works(page, workplace, tmp_path):
    shown = list(steps(page))
    runnable = [step for step in shown if HAS_JQ or "jq" not in step[1].split()]
    assert shown
    for language, text, fails in runnable:
        code, out, err = workplace(language, text)
        assert (code != 0) == fails, f"{text}\n{out[-2000:]}\n{err}"
        assert "Traceback" not in err
    if page == ROOT / "README.md":
        with safe_open(tmp_path / "c.safetensors", "numpy") as file:
            assert {name.removesuffix(".q") for name in file.keys() if name.endswith(".q")} == set(MODULES)  # noqa: SIM118
    if len(runnable) < len(shown):
        pytest.skip(f"no jq here: {len(shown) - len(runnable)} commands were left out, the others were executed")


def test_no_page_links_to_nowhere():
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#]+)", FENCED.sub("", page.read_text(encoding="utf-8"))):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page}: {target}"


def reference(name):
    return " ".join((ROOT / "docs" / "reference" / name).read_text(encoding="utf-8").split())


@pytest.mark.parametrize("metric", [*METRICS, *PAIR_METRICS], ids=lambda metric: metric.name)
def test_the_metrics_reference_holds_every_definition(metric):
    text = reference("metrics.md")
    assert f"`{metric.name}`" in text
    assert metric.definition in text
    assert metric.source in text


@pytest.mark.parametrize("label", LABELS, ids=lambda label: label.name)
def test_the_labels_reference_holds_every_threshold(label):
    text = reference("metrics.md")
    assert f"`{label.name}`" in text
    assert label.sentence in text


@pytest.mark.parametrize("rule", [check.rule for check in CHECKS], ids=lambda rule: rule.code)
def test_the_findings_reference_tells_every_rule(rule):
    text = reference("findings.md")
    assert f"| [{rule.code}](#{rule.code.lower()}) {rule.name} | {rule.severity} |" in text
    section = text.split(f"## {rule.code} ")[1].split(" ## ")[0]
    for words in (rule.name, rule.sentence, rule.why, rule.example, rule.source):
        assert " ".join(words.split()) in section


def test_the_command_line_reference_holds_every_option():
    import typer

    from attn_cli.main import app

    text = reference("command-line.md")
    for command in typer.main.get_command(app).commands.values():
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--") and option != "--help":
                    assert f"`{option}" in text, f"{command.name} {option}"
    for backend in BACKENDS:
        assert f"`{backend}`" in text


def test_every_exit_code_is_in_the_reference():
    text = reference("exit-codes.md")
    classes = AttnError.__subclasses__()
    assert classes
    for error in classes:
        assert f"`{error.code}`" in text
        assert f"| {error.exit_code} |" in text


def test_the_schemas_named_in_the_reference_are_the_schemas():
    from attn_cli.reporters.schema import COMMANDS, schema_for

    text = reference("json.md")
    for command in COMMANDS:
        schema = json.dumps(schema_for(command))
        assert f"attn.{command}/1" in schema
        assert f"`attn.{command}/1`" in text
