"""What ``attn record`` refuses before anything starts, and how it tells its own arguments from the program's."""

import shlex

import pytest
import typer

from attn_cli.commands.parsing import parse_bytes, parse_calls
from attn_cli.commands.recording_options import VALUED, own_arguments
from attn_cli.errors import UsageError
from attn_cli.main import app
from tests.cli.process import attn


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("", 2, ["no program"]),
        ("-m", 2, ["no program"]),
        ("missing.py", 2, ["missing.py", "no such file"]),
        ("-o p.py p.py", 2, ["p.py", "out.safetensors"]),
        ("-o data.safetensors data.safetensors", 2, ["would replace data.safetensors"]),
        ("-o folder p.py", 3, ["folder", "is no regular file"]),
        ("-o none/out.safetensors p.py", 3, ["no such folder"]),
        ("-o /dev/null p.py", 3, ["/dev/null"]),
        ("-o out.jsonl p.py", 2, ["out.jsonl", "out.safetensors"]),
        ("--stats -o out.safetensors p.py", 2, ["out.safetensors", "out.jsonl"]),
        ("--stats --max-bytes 1GiB p.py", 2, ["--max-bytes", "--stats"]),
        ("--stats --dtype float16 p.py", 2, ["--dtype", "--stats"]),
        ("--calls 5:5 p.py", 2, ["--calls", "empty"]),
        ("--calls 5 p.py", 2, ["--calls", "10:20"]),
        (f"--calls {'9' * 5000}: p.py", 2, ["--calls", "5000 digits"]),
        ("--heads x p.py", 2, ["--heads", "0,3-5"]),
        ("--max-bytes lots p.py", 2, ["--max-bytes", "2GiB"]),
        ("--max-bytes 0 p.py", 2, ["--max-bytes"]),
        ("--dtype int8 p.py", 2, ["--dtype", "int8"]),
        ("--tokenizer none.json p.py", 2, ["none.json", "tokenizer.json"]),
        ("--tokenizer folder p.py", 2, ["is a folder"]),
        ("--tokenizer p.py p.py", 2, ["p.py: it is not valid JSON", "expected a tokenizer.json"]),
        ("--stats --tokenizer p.py p.py", 2, ["p.py: it is not valid JSON"]),
        ("--no-such-option p.py", 2, ["--no-such-option"]),
    ],
)
def test_it_is_refused_in_one_line_before_anything_starts(tmp_path, line, code, words):
    (tmp_path / "p.py").write_text("print('started')")
    (tmp_path / "data.safetensors").write_text("print('started')")
    (tmp_path / "folder").mkdir()
    done = attn("record", *shlex.split(line), cwd=tmp_path)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == code, done.stderr
    assert done.stdout == b""
    assert lines[0].startswith("attn: error: ")
    assert all(one.startswith("hint: ") for one in lines[1:])
    for word in words:
        assert word in lines[0], lines


def test_a_script_may_be_called_like_an_option(tmp_path):
    call = "torch.nn.functional.scaled_dot_product_attention(*[torch.ones(1, 1, 2, 4)] * 3)"
    program = f"import sys, torch\n{call}\nprint(sys.argv)"
    (tmp_path / "-p.py").write_text(program)
    done = attn("record", "--", "-p.py", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"['-p.py', '--json']\n"
    assert (tmp_path / "-p.attn.safetensors").exists()


def test_a_json_of_the_program_is_not_attns(tmp_path):
    done = attn("record", "missing.py", "--json", cwd=tmp_path)
    assert done.stdout == b""
    assert b"missing.py" in done.stderr


@pytest.mark.parametrize(
    ("line", "own"),
    [
        ("run x.safetensors --json", "run x.safetensors --json"),
        ("run --top 2 -- --json --traceback", "run --top 2"),
        ("-- run x.safetensors --json -- y", "-- run x.safetensors --json"),
        ("-- record -o out p.py --json", "-- record -o out"),
        ("record p.py --json", "record"),
        ("record -o out p.py --json", "record -o out"),
        ("--traceback record --stats p.py -o x", "--traceback record --stats"),
        ("record --output=x -oy p.py", "record --output=x -oy"),
        ("record -m pkg --help", "record -m"),
        ("record -mo out pkg --help", "record -mo out"),
        ("record --layers -x p.py", "record --layers -x"),
        ("record -- -p.py x", "record --"),
        ("record - --json", "record"),
        ("record -o", "record -o"),
        ("record", "record"),
        ("--version", "--version"),
        ("demo record --json", "demo record --json"),
    ],
)
def test_where_the_programs_arguments_begin(line, own):
    arguments = shlex.split(line)
    assert arguments[: own_arguments(arguments)] == shlex.split(own)


def test_the_options_with_a_value_are_those_of_the_command():
    command = typer.main.get_command(app).commands["record"]
    options = [one for one in command.params if one.param_type_name == "option" and not one.is_flag]
    assert {name for one in options for name in one.opts} == set(VALUED)


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GiB", 2**31), ("500MB", 500_000_000), ("1.5 kib", 1536), ("7", 7), ("3B", 3), ("1tb", 10**12)],
)
def test_a_size(text, size):
    assert parse_bytes("--max-bytes", text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1e9", "2 Gigs", "99999999TiB", "0.1B", "1" * 40])
def test_what_is_no_size(text):
    with pytest.raises(UsageError, match="--max-bytes"):
        parse_bytes("--max-bytes", text)


def test_a_range_of_calls():
    assert parse_calls(None) == (0, None)
    assert [parse_calls(text) for text in ("3:7", ":7", "3:", ":")] == [(3, 7), (0, 7), (3, None), (0, None)]


def test_help_has_what_to_record_before_the_output():
    text = attn("record", "--help", COLUMNS="100").stdout.decode()
    assert text.index("What to record") < text.index("Output")
    assert "SCRIPT [ARGS]..." in text
