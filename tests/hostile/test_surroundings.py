"""An environment with things missing or odd: variables, folders, limits, threads, memory, devices."""

import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.cli.process import MINILM, ROOT, environment
from tests.hostile.law import accepted, refused, refused_as_json, unharmed
from tests.hostile.surroundings import BENCH, DIFF, EXPLAIN, LAYER, NO_THREADS
from tests.hostile.warm import warm

USUAL = [("run", *LAYER), ("demo", "--steps"), ("check", *LAYER), DIFF, EXPLAIN]
NO_DEVICE = [
    ("run", *LAYER), ("demo",), ("check", *LAYER), ("diff", MINILM, "--layer", "3", "--against-device", "cpu"),
    EXPLAIN, ("bench", "--seq", "8"),
]  # fmt: skip


@pytest.mark.parametrize("columns", ["1", "0", "-5", "abc", "", "1000000", "1000001", "9" * 400, "9" * 5000, "²", "３"])
def test_any_width(columns):
    for arguments in (("run", MINILM), DIFF, EXPLAIN, ("run", "--help")):
        if columns in ("1", "1000000") or arguments in (EXPLAIN, ("run", "--help")):
            ended = accepted(warm(*arguments, COLUMNS=columns, LINES=columns, TERMINAL_WIDTH=columns))
            assert ended.stdout
            assert ended.max_rss < 2**30


@pytest.mark.parametrize("columns", ["9" * 5000, "1" * 9, "²", "-5"])
def test_a_width_that_is_none_is_as_if_there_were_none_and_a_program_gets_it_as_it_is(columns, tmp_path):
    """In attn's own environment only; what it runs has to find what it would find without attn."""
    usual = accepted(warm("run", "--help")).stdout
    assert accepted(warm("run", "--help", COLUMNS=columns, LINES=columns, TERMINAL_WIDTH=columns)).stdout == usual
    (tmp_path / "program.py").write_text("import os; print(os.environ['COLUMNS'], os.environ['LINES'])")
    ended = warm("record", "-o", str(tmp_path / "x"), str(tmp_path / "program.py"), COLUMNS=columns, LINES=columns)
    assert (ended.returncode, ended.stdout.decode()) == (0, f"{columns} {columns}\n")


VARIABLES = [
    {"TERM": ""}, {"TERM": "no-such-terminal", "LINES": "-1"}, {"FORCE_COLOR": "3", "TERM": "dumb", "TZ": "No/Where"},
    {"NO_COLOR": "1", "FORCE_COLOR": "1"}, {"LINES": "0", "COLUMNS": "40", "TZ": ":/dev/zero", "PATH": ""},
]  # fmt: skip


@pytest.mark.parametrize("variables", VARIABLES, ids=str)
def test_odd_variables(variables, tmp_path):
    accepted(warm("run", *LAYER, "--screenshot", str(tmp_path / "x.svg"), **variables))


ASKED = [
    *(({"_ATTN_COMPLETE": asked}, f"_ATTN_COMPLETE={asked[:9]}")
      for asked in ("bogus", "complete_\x1b[1m", "bogus_bash", "1" * 5000)),
    ({"_ATTN_COMPLETE": "complete_bash"}, "COMP_WORDS"),
    ({"_ATTN_COMPLETE": "complete_bash", "COMP_CWORD": "1"}, "COMP_WORDS"),
    *(({"_ATTN_COMPLETE": "complete_bash", "COMP_WORDS": "attn r", "COMP_CWORD": word}, "COMP_CWORD=")
      for word in ("x", "", "-1", "9" * 5000, "²")),
]  # fmt: skip


@pytest.mark.parametrize(("variables", "names"), ASKED, ids=lambda value: str(value)[:60])
def test_a_completion_that_no_shell_asks_for_is_a_usage_error(variables, names):
    refused(warm("run", *LAYER, **variables), names=names)
    refused_as_json(warm("run", *LAYER, "--json", **variables), "run", names=names)


LINE = {
    "COMP_WORDS": "attn run --hea", "COMP_CWORD": "2", "_TYPER_COMPLETE_ARGS": "attn run --hea",
    "_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_WORD_TO_COMPLETE": "--hea",
}  # fmt: skip


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell", "pwsh"])
def test_what_a_shell_asks_for_is_completed(shell):
    assert b"--head" in accepted(warm(_ATTN_COMPLETE=f"complete_{shell}", **LINE)).stdout
    assert b"_ATTN_COMPLETE" in accepted(warm(_ATTN_COMPLETE=f"source_{shell}")).stdout


@pytest.mark.parametrize("words", ["attn run --layer --json 'x", "", "\x1b[1m", "attn --valid-lens ²  "])
def test_a_line_that_has_no_completion_is_completed_by_nothing(words):
    ended = accepted(warm(_ATTN_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD="999"))
    assert (ended.returncode, ended.err) == (0, "")


def test_an_empty_environment():
    accepted(warm("run", *LAYER, before="import os; os.environ.clear()"))


@pytest.mark.parametrize("home", [None, "a file"])
def test_a_home_that_is_none(home, tmp_path):
    """matplotlib, which draws the figures, keeps its cache there."""
    (tmp_path / "a file").write_text("")
    given: dict[str, str] = (
        {"MPLBACKEND": "no-such"} if home is None else {"HOME": str(tmp_path / home) if home == "a file" else home}
    )
    without = "import os; [os.environ.pop(name, None) for name in ('HOME', 'XDG_CACHE_HOME', 'XDG_CONFIG_HOME')]\n"
    with unharmed(ROOT / "sample_inputs"):
        ended = warm("demo", "--png", str(tmp_path / "x.png"), before=without if home is None else "", **given)
    accepted(ended)
    assert ended.err == ""


def test_a_working_folder_that_is_gone(tmp_path):
    gone = "import os, tempfile; folder = tempfile.mkdtemp(); os.chdir(folder); os.rmdir(folder)"
    accepted(warm("demo", "--save", str(tmp_path / "x"), before=gone))
    accepted(warm("run", MINILM, "--layer", "3", "--html", str(tmp_path / "y"), before=gone))
    refused(warm("run", "x.safetensors", before=gone), names="x.safetensors", says="no such file")
    for option in ("--save", "--html"):
        refused(warm("demo", option, "x", before=gone), 3, names="x", says="cannot be written: ")
    for arguments in (("record", "x.py"), ("record", str(ROOT / "examples" / "minilm.py"))):
        ended = warm(*arguments, before=gone)
        assert (ended.returncode in (2, 3), "Traceback" in ended.err, ended.timed_out) == (True, False, False)


@pytest.mark.parametrize("files", [12, 16, 32])
def test_few_files_may_be_open(files, tmp_path):
    for arguments in (("run", *LAYER, "--save"), ("demo", "--html")):
        accepted(warm(*arguments, str(tmp_path / "x"), limits={"RLIMIT_NOFILE": files}))


@pytest.mark.parametrize("files", [3, 4, 5, 6])
def test_hardly_any_file_may_be_open(files, tmp_path):
    with unharmed(tmp_path):
        for arguments in (("run", *LAYER), ("run", *LAYER, "--json")):
            ended = warm(*arguments, limits={"RLIMIT_NOFILE": files})
            assert ended.returncode in (0, 2, 3), ended.err
            assert "Traceback" not in ended.err
            assert "fault of attn" not in ended.err


@pytest.mark.parametrize("files", [6, 7, 8, 9])
def test_a_file_that_the_system_does_not_let_be_opened_is_no_bad_file(files, tmp_path):
    """Whoever opens it: PyTorch has a fault of its own for that, with a path that the system's own files have."""
    tensors = [(name, torch.ones(1, 2, 3, 4)) for name in "qkv"]
    torch.save(dict(tensors), tmp_path / "x.pt")
    torch.save(dict(tensors), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    np.savez(tmp_path / "x.npz", **{name: x.numpy() for name, x in tensors})
    for name, x in tensors:
        np.save(tmp_path / f"{name}.npy", x.numpy())
    three = ("--q", "q.npy", "--k", "k.npy", "--v", "v.npy")
    with unharmed(tmp_path):
        for arguments in (("run", "x.pt"), ("check", "x.pt"), ("diff", "x.pt", "x.npz"), ("run", "old.pt"),
                          ("run", "x.npz"), ("run", *three)):  # fmt: skip
            ended = warm(*arguments, cwd=tmp_path, limits={"RLIMIT_NOFILE": files})
            if ended.returncode:
                assert (ended.returncode, "Too many open files" in ended.err) == (3, True), ended.err
                assert "/proc/" not in ended.err.splitlines()[-1]
                assert "errno" not in ended.err


def test_whose_fault_a_file_is_that_attn_needs_for_itself(tmp_path):
    """What lacks is told, not the module that attn came to; a home that is none, and cannot be made one."""
    lacking = "import typer.main\ndef full(*_): raise OSError(24, 'Too many open files', '/a/module.py')\n"
    lacking += "typer.main.get_command = full\nimport attn_cli.main; attn_cli.main.commands.cache_clear()"
    refused(warm("demo", before=lacking), 3, names="the system refuses what attn needs: Too many open files; ")
    (tmp_path / "home").write_text("")
    bash = "import shellingham; shellingham.detect_shell = lambda *_: ('bash', '/bin/bash')"
    ended = warm("--install-completion", HOME=str(tmp_path / "home"), before=bash)
    refused(ended, 3, names=f"{tmp_path / 'home'}", says="folder")


@pytest.mark.parametrize("files", [5, 6, 7])
@pytest.mark.parametrize("output", ["x.safetensors", "x.jsonl"])
def test_a_recording_with_hardly_any_file_open_leaves_nothing_else(files, output, tmp_path):
    script, out = tmp_path / "program.py", tmp_path / "out"
    script.write_text("import torch; torch.nn.functional.scaled_dot_product_attention(*[torch.ones(1, 1, 2, 4)] * 3)")
    out.mkdir()
    stats = ["--stats"] if output.endswith("jsonl") else []
    ended = warm("record", *stats, "-o", str(out / output), str(script), limits={"RLIMIT_NOFILE": files})
    assert ended.returncode in (0, 3), ended.err
    assert os.listdir(out) == ([] if ended.returncode else [output])


@pytest.mark.skipif("linux" not in sys.platform, reason="the limit is made by Linux's capabilities")
@pytest.mark.skipif(os.geteuid() != 0, reason="the test itself has more processes than a limit of its user would allow")
def test_no_thread_can_be_started():
    threads = "import torch; torch.set_num_threads(4)\n"
    for arguments in (*USUAL, ("demo", "--queries", "700", "--keys", "700", "--json"), BENCH):
        ended = warm(*arguments, before=threads + NO_THREADS)
        assert ended.returncode in (0, 3), (arguments, ended.err)
        assert "Traceback" not in ended.err
        assert "fault of attn" not in ended.err


@pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="this machine has CUDA")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:99", "mps"])
def test_a_device_that_is_not_here(device):
    for arguments in NO_DEVICE:
        refused(warm(*arguments, "--device", device), 3, names=f"--device {device}")
    refused_as_json(warm("run", *LAYER, "--device", device, "--json"), "run", 3, names=f"--device {device}")


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "cuda:-1", "cpu:7", "", "[red]cuda", "cuda:0\x1b[31m", "meta"])
def test_what_is_no_device(device):
    for arguments in NO_DEVICE[:2]:
        refused(warm(*arguments, "--device", device), names="--device")


# The double of a device whose memory runs out: PyTorch's own function, with PyTorch's own error.
OUT_OF_MEMORY = """
import torch
def full(*_, **__):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...\\nmore")
{where} = full
"""


PLACES = ["torch.softmax", "torch.matmul", "torch.nn.functional.scaled_dot_product_attention", "torch.Tensor.cpu"]


@pytest.mark.parametrize("where", PLACES)
def test_memory_of_the_device_runs_out(where, tmp_path):
    double = OUT_OF_MEMORY.format(where=where)
    for arguments in (("demo", "--steps"), ("check", *LAYER), DIFF, EXPLAIN):
        with unharmed(tmp_path):
            ended = warm(*arguments, before=double, cwd=tmp_path)
            if ended.returncode:
                refused(ended, 3, says="out of memory")
    ended = warm("demo", "--json", before=double)
    if ended.returncode:
        refused_as_json(ended, "demo", 3, says="out of memory")


def test_the_doubles_of_a_full_device_are_met():
    """At least these run into it: the test above would pass where nothing was called."""
    for where, arguments in [
        ("torch.nn.functional.scaled_dot_product_attention", ("run", *LAYER)),
        ("torch.matmul", ("demo",)),
        ("torch.Tensor.cpu", ("check", *LAYER)),
    ]:
        refused(warm(*arguments, before=OUT_OF_MEMORY.format(where=where)), 3, names="cpu: out of memory")


LARGE = ("--queries", "3000", "--keys", "3000", "--num-hiddens", "64", "--heads", "8")


@pytest.mark.parametrize("arguments", [
    ("demo", "--queries", "4", "--keys", "3000000", "--num-hiddens", "500"), ("demo", "--weights", "--json", *LARGE),
], ids=str)  # fmt: skip
def test_memory_of_this_machine_runs_out(arguments, tmp_path):
    with unharmed(tmp_path):
        ended = warm(*arguments, limits={"RLIMIT_AS": 5 * 2**30 // 4}, cwd=tmp_path)
    if "--json" in arguments:
        refused_as_json(ended, "demo", 3)
    else:
        refused(ended, 3, says="memory")


def test_one_gib_of_addresses_is_enough_and_less_is_refused_in_one_line():
    one = 2**30
    for size, code in ((one, 0), (one // 2, 3), (one // 16, 3)):
        done = subprocess.run(
            [sys.executable, "-m", "attn_cli", "demo", "--json"],
            capture_output=True, cwd=ROOT, env=environment(OMP_NUM_THREADS="2"), check=False,
            preexec_fn=lambda size=size: resource.setrlimit(resource.RLIMIT_AS, (size, size)),
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        if code:
            assert done.stderr.startswith(b"attn: error: PyTorch: cannot be loaded: found ")
            assert done.stderr.count(b"\n") == 2


def test_torch_that_cannot_be_loaded(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libtorch_cpu.so: failed to map segment')")
    command = [sys.executable, "-m", "attn_cli", "demo", "--json"]
    place = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(command, capture_output=True, env=environment(PYTHONPATH=place), cwd=ROOT, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith(b"attn: error: PyTorch: cannot be loaded: libtorch_cpu.so: failed to map segment;")
    assert b'"code": "resource"' in done.stdout


@pytest.mark.parametrize(("command", "variables", "says"), [
    ("demo", {"TORCH_LOGS": "bo\x1bgus"}, "Invalid log settings: bo\\x1bgus, must be"),
    ("demo", {"TORCH_LOGS": "help"}, "TORCH_LOGS Info"),
    ("devices", {"PYTORCH_JIT": "x"}, "Unknown setting of PYTORCH_JIT"),
])  # fmt: skip
def test_torch_that_a_variable_keeps_from_being_loaded(command, variables, says):
    done = subprocess.run(
        [sys.executable, "-m", "attn_cli", command, "--json"], capture_output=True, text=True,
        env=environment(**variables), cwd=ROOT, check=False,
    )  # fmt: skip
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines)) == (3, 2), done.stderr
    assert lines[0].startswith(f"attn: error: PyTorch: cannot be loaded: {says}")
    assert lines[0].endswith("; expected it to be installed, and memory for it")
    assert '"code": "resource"' in done.stdout


WAYS = [
    (["-OO", "-I"], {"PYTHONDONTWRITEBYTECODE": "1"}),
    (["-P", "-S", "-X", "utf8=0", "-X", "pycache_prefix=/proc/none", "-W", "error"], {"PYTHONDONTWRITEBYTECODE": ""}),
]  # fmt: skip


@pytest.mark.parametrize(("options", "variables"), WAYS)
def test_ways_to_start_python(options, variables, tmp_path):
    """``-S`` and ``-I`` find no packages by themselves, so the path is given in the program."""
    path = [str(ROOT), *(entry for entry in sys.path if "site-packages" in entry)]
    program = f"import sys; sys.path[:0] = {path!r}; from attn_cli.__main__ import run_and_exit; run_and_exit()"
    out = tmp_path / "x.safetensors"
    done = subprocess.run(
        [sys.executable, *options, "-c", program, "demo", "--save", str(out)],
        capture_output=True, cwd=tmp_path, env=environment(**variables), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert out.stat().st_size > 1000
