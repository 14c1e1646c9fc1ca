"""The commands that the README and the docs show are executed, and what they must name is named."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from attn_cli.attention.backends import BACKENDS
from attn_cli.checks import CHECKS
from attn_cli.errors import AttnError
from attn_cli.inspection.labels import LABELS
from attn_cli.inspection.metrics import METRICS, PAIR_METRICS
from tests.cli.process import ROOT, SAMPLES, environment
from tests.hostile.warm import PROGRAM, server

PAGES = [ROOT / "README.md", ROOT / "sample_inputs" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(console|python)( fails)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITH_COMMANDS = [page for page in PAGES if "```console" in page.read_text(encoding="utf-8")]
HAS_JQ = shutil.which("jq") is not None
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def steps(page):
    """A page's console commands and Python programs in order, and whether each is shown to fail."""
    for language, fails, body in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            yield f"cat > page.py <<'END'\n{body}END\npython page.py", bool(fails)
            continue
        for line in body.splitlines():
            if line.startswith("$ ") and not line.startswith(("$ make", "$ git clone", "$ cd ")):
                yield line.removeprefix("$ "), bool(fails)


@pytest.fixture
def workplace(tmp_path, page):
    """A folder with the sample inputs and the examples, and ``attn`` and ``python`` first on its path.

    The README's ``attn`` is started as a user starts it; that of the other pages comes from a server that has PyTorch
    imported, which saves a second a command.
    """
    (tmp_path / "sample_inputs").symlink_to(SAMPLES)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    programs = tmp_path / "bin"
    programs.mkdir()
    from_scratch = f'"{sys.executable}" -m attn_cli'
    attn = from_scratch if page.name == "README.md" else f'"{sys.executable}" -S "{PROGRAM}" "{server().address}"'
    for name, command in (("attn", attn), ("python", f'"{sys.executable}"')):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        program.chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    return tmp_path, environment(PATH=path, PYTHONPATH=str(ROOT))


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_shown_works(page, workplace):
    folder, env = workplace
    shown = list(steps(page))
    runnable = [step for step in shown if HAS_JQ or "jq" not in step[0].split()]
    assert shown
    for command, fails in runnable:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command], cwd=folder, env=env, capture_output=True, text=True, timeout=120
        )
        assert (done.returncode != 0) == fails, f"{command}\n{done.stdout[-2000:]}\n{done.stderr}"
        assert "Traceback" not in done.stderr
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
