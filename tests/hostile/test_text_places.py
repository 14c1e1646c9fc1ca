"""Hostile text in file names, options, lists of tokens, vocabularies, baselines, archives and recorded programs."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from attn_cli.reporters.terminal.text import harmless
from tests.hostile.law import accepted, refused, unharmed
from tests.hostile.surroundings import MEASURED_BENCH
from tests.hostile.test_texts import strings
from tests.hostile.test_values import document, heads
from tests.hostile.texts import TEXTS, check_shown, controls
from tests.hostile.warm import warm

COLOUR = {"FORCE_COLOR": "1"}
SEVERAL = list(TEXTS.values())
ROW = ("--head", "0", "--query", "2")
posix = pytest.mark.skipif(sys.platform == "win32", reason="such names are not allowed on Windows")


def file_name(text):
    return text.replace("/", "_")[:60]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A good file under all these names."""
    made = tmp_path_factory.mktemp("names")
    save_file(heads(), made / "good.safetensors")
    for text in SEVERAL:
        shutil.copy(made / "good.safetensors", made / f"{file_name(text)}.safetensors")
    return made


@posix
def test_a_file_of_any_name_is_shown_by_its_name_as_text(folder):
    names = [path.name for path in folder.iterdir()]
    wide = {**COLOUR, "COLUMNS": "200"}  # so that no line breaks within a name
    shown = check_shown(warm("check", *names, "--valid-lens", "0", "--strict", cwd=folder, **wide), 1)
    assert shown.count("EVIL") >= len(TEXTS)
    found = document(warm("check", *names, "--json", cwd=folder))
    assert set(found["data"]["files"]) == set(names)
    for name in ("ansi", "bidi", "closing", "lines"):
        path = f"{file_name(TEXTS[name])}.safetensors"
        assert "EVIL" in check_shown(warm("run", path, cwd=folder, **COLOUR), 0)
        assert document(warm("run", path, "--json", cwd=folder))["data"]["input"]["file"] == path


@posix
def test_errors_that_name_such_a_file_stay_one_line(folder):
    for text in (TEXTS[name] for name in ("ansi", "lines", "bidi", "c1", "closing", "zero")):
        path = folder / f"{file_name(text)}.safetensor"
        refused(warm("run", str(path), **COLOUR), names=f"{harmless(str(path))}: no such file", says="hint: there is ")


@posix
@pytest.mark.parametrize("name", ["ansi", "lines", "closing"])
def test_options_are_told_as_text(folder, name):
    text, good = TEXTS[name], "good.safetensors"
    out = f"{file_name(text)}/none/x"
    with unharmed(folder):
        for given in (("run", good, "--prefix", text), ("run", good, "--device", text), ("run", good, "--dtype", text),
                      ("run", good, "--metric", text), ("run", good, "--tokens", text), ("run", text), (text,),
                      ("run", good, f"--{text}"), ("run", good, "--save", f"{out}.safetensors"), ("schema", text),
                      ("run", good, "--html", f"{out}.html"), ("bench", "--baseline", text), ("check", "--rule", text),
                      ("record", f"{text}.py"), ("record", "-o", f"{out}.safetensors", "x.py")):  # fmt: skip
            ended = warm(*given, cwd=folder, **COLOUR)
            assert ended.returncode in (2, 3), given
            check_shown(ended, ended.returncode)
            assert ended.err.startswith("attn: error: ")


@posix
def test_a_screenshot_tells_its_command_as_text(folder, tmp_path):
    out = tmp_path / "x.svg"
    accepted(warm("run", f"{file_name(TEXTS['ansi'])}.safetensors", "--screenshot", str(out), cwd=folder))
    assert not controls(out.read_bytes())


def test_names_in_other_kinds_of_files_are_text_too(tmp_path):
    tensors = {f"{text}.{name}": x for text in SEVERAL[:6] for name, x in heads().items()}
    torch.save({**tensors, **{text: torch.zeros(1) for text in SEVERAL}}, tmp_path / "x.pt")
    np.savez(tmp_path / "x.npz", **{name.replace("/", "_"): x.numpy() for name, x in tensors.items()})
    index = {"weight_map": {f"{text}.q_proj.weight": f"{text}.safetensors" for text in SEVERAL}}
    (tmp_path / "x.safetensors.index.json").write_text(json.dumps(index))
    save_file(heads(), tmp_path / "good.safetensors")
    for given in (("run", "x.pt"), ("run", "x.npz"), ("run", "x.pt", "--q", "nope"), ("diff", "x.pt", "x.npz"),
                  ("run", "good.safetensors", "--weights-file", "x.safetensors.index.json")):  # fmt: skip
        assert "EVIL" in check_shown(warm(*given, cwd=tmp_path, **COLOUR))
    (tmp_path / "y.safetensors.index.json").write_text(json.dumps({"weight_map": {SEVERAL[0]: f"../{SEVERAL[1]}"}}))
    check_shown(
        warm("run", "good.safetensors", "--weights-file", "y.safetensors.index.json", cwd=tmp_path, **COLOUR), 2
    )


def test_tokens_of_a_list_and_of_a_vocabulary_are_text(tmp_path):
    pytest.importorskip("tokenizers")
    keys = len(SEVERAL)
    save_file(heads(keys=keys, token_ids=torch.arange(keys)[None]), tmp_path / "x.safetensors")
    (tmp_path / "tokens.json").write_text(json.dumps(SEVERAL))
    vocabulary = {text: number for number, text in enumerate(SEVERAL)}
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": SEVERAL[0]}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
    for option in (("--tokens", "tokens.json"), ("--tokenizer", "tokenizer.json")):
        assert "EVIL" in check_shown(warm("explain", "x.safetensors", *ROW, *option, cwd=tmp_path, **COLOUR), 0)
        told = document(warm("explain", "x.safetensors", *ROW, "--top", "99", *option, "--json", cwd=tmp_path))
        assert set(SEVERAL) <= set(strings(told))


def test_what_a_baseline_says_of_its_machine_is_text(tmp_path):
    path = tmp_path / "base.json"
    accepted(warm("bench", "--save", str(path), before=MEASURED_BENCH))
    good = json.loads(path.read_text())
    named = {text: text for text in SEVERAL} | {"device_name": TEXTS["clipboard"], "torch": TEXTS["ansi"]}
    for environment in (named, {"device": TEXTS["lines"]}):
        data = good["data"] | {"environment": good["data"]["environment"] | environment}
        path.write_text(json.dumps(good | {"attn_version": TEXTS["ansi"], "data": data}))
        asked = ("bench", "--seq", "512", "--backend", "textbook", "--baseline", str(path))
        for form in ((), ("--csv",), ("--markdown",)):
            check_shown(warm(*asked, *form, before=MEASURED_BENCH, **COLOUR))
    path.write_text(json.dumps(good | {"schema": TEXTS["ansi"]}))
    check_shown(warm(*asked, **COLOUR), 2)


PROGRAM = """
import torch
from torch.nn.functional import scaled_dot_product_attention

class Own(torch.nn.Module):
    def forward(self, x):
        return scaled_dot_product_attention(x, x, x)

class All(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self._modules.update({name: Own() for name in NAMES})

    def forward(self, x):
        for one in self._modules.values():
            x = one(x)

Own.__name__ = Own.__qualname__ = NAMES[0]
All()(torch.randn(1, 2, 3, 4))
"""


@posix
@pytest.mark.parametrize("stats", [False, True])
def test_modules_and_files_of_a_recorded_program_are_text(tmp_path, stats):
    names = [text.replace(".", "") for text in SEVERAL]
    script = tmp_path / f"{file_name(TEXTS['bidi'])}.py"
    script.write_text(f"NAMES = {names!r}\n{PROGRAM}", encoding="utf-8")
    given = ("record", *(("--stats",) if stats else ()), str(script))
    shown = check_shown(warm(*given, cwd=tmp_path, seconds=60, **COLOUR), 0)
    assert "EVIL" in shown
    (out,) = tmp_path.glob("*.attn.*")
    if stats:
        lines = [json.loads(line) for line in out.read_bytes().splitlines()]
        assert set(names) <= {text for line in lines for text in strings(line)}
    else:
        check_shown(warm("run", out.name, cwd=tmp_path, **COLOUR), 0)
        found = document(warm("run", out.name, "--json", cwd=tmp_path))
        assert {head["module"] for head in found["data"]["heads"]} == set(names)


@pytest.mark.parametrize("module", ["\x1b]0;EVIL\x07", "a.\x9b31m", "x\n", "os\u202e"])
def test_a_module_that_python_would_repeat_raw_is_told_by_attn(module, tmp_path):
    with unharmed(tmp_path):
        refused(warm("record", "-m", module, cwd=tmp_path), names="-m ", says="expected the name of a module")
