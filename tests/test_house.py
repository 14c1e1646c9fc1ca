"""The house stands as CONTRIBUTING.md says: nothing imports from a floor above its own."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = [
    {"errors", "interruption"},
    {"attention"},
    {"inspection"},
    {"inputs"},
    {"benchmark"},
    {"results", "lesson", "pipeline"},
    {"checks", "differences", "explanation", "recording"},
    {"reporters"},
    {"commands", "api"},
    {"main"},
]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(path for path in (ROOT / "attn_cli").rglob("*.py") if path.name != "__main__.py")
COMPUTING = {"attention", "inspection"}


def room_of(path):
    return path.relative_to(ROOT / "attn_cli").parts[0].removesuffix(".py")


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", [p for p in FILES if p.parent != ROOT / "attn_cli" or p.stem in LEVEL], ids=str)
def test_nothing_imports_from_a_floor_above(path):
    own = LEVEL[room_of(path)]
    for module in imported_modules(path):
        if module.startswith("attn_cli."):
            room = module.split(".")[1]
            assert LEVEL[room] <= own, f"{path} imports {module}"


def test_every_room_has_its_floor():
    rooms = {room_of(path) for path in FILES} - {"__init__"}
    assert rooms == set(LEVEL)


@pytest.mark.parametrize("path", [p for p in FILES if room_of(p) in COMPUTING], ids=str)
def test_mathematics_knows_no_terminal_and_no_file(path):
    modules = set(imported_modules(path))
    assert not {module for module in modules if module.split(".")[0] in ("rich", "typer", "safetensors", "json")}
    names = {node.id for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Name)}
    assert not names & {"print", "open"}


@pytest.mark.parametrize("path", [p for p in FILES if room_of(p) == "reporters"], ids=str)
def test_reporters_know_no_flag(path):
    assert not {module for module in imported_modules(path) if module.split(".")[0] == "typer"}


def test_files_and_functions_stay_small():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path}: {node.name}"
