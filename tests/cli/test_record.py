"""``attn record`` seen from outside: the program is as it is without attn, and its calls are in the file."""

import json
import os
import signal
import subprocess
import sys

import pytest
from safetensors import safe_open

from tests.cli.process import ROOT, environment

ATTENDS = """
import torch
from torch.nn import functional as F
torch.set_num_threads(1)
torch.manual_seed(0)
def attend(number):
    q, k, v = (torch.randn(1, 2, 5, 8) for _ in range(3))
    return F.scaled_dot_product_attention(q, k, v, is_causal=bool(number % 2))
"""
MODEL = (
    ATTENDS
    + """
class Layer(torch.nn.Module):
    def forward(self, x):
        return F.scaled_dot_product_attention(x, x, x)
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(Layer() for _ in range(3))
    def forward(self, x):
        for layer in self.layers:
            x = x + layer(x)
        return x
model = Model()
for _ in range(2):
    print(model(torch.randn(1, 2, 5, 8)).sum().item().hex())
"""
)


class Place:
    """A folder with programs in it."""

    def __init__(self, folder):
        self.folder = folder
        self.out = folder / "out.safetensors"

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
        return path

    def python(self, *arguments, **kwargs):
        return self._run([sys.executable, *arguments], **kwargs)

    def record(self, *arguments, **kwargs):
        return self._run(self.command(*arguments), **kwargs)

    def command(self, *arguments):
        return [sys.executable, "-m", "attn_cli", "record", *arguments]

    def env(self, **extra):
        return {**environment(), "PYTHONPATH": str(ROOT), **extra}

    def _run(self, command, stdin=b"", env=None):
        run = {"cwd": self.folder, "env": self.env(**(env or {})), "timeout": 120, "check": False}
        return subprocess.run(command, input=stdin, capture_output=True, **run)

    def read(self, path=None):
        with safe_open(path or self.out, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118

    def calls(self, path=None):
        return sum(name.endswith(".q") or name == "q" for name in self.read(path)[0])

    @property
    def left(self):
        """What attn leaves beside the file: nothing that is hidden."""
        return [path.name for path in self.folder.iterdir() if path.name.startswith(".")]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def said(done):
    """Of what stands on stderr, what attn says."""
    return [line for line in done.stderr.decode().splitlines() if line.startswith("attn: ")]


def test_results_are_the_same_and_the_calls_are_in_the_file(place):
    place.write("model.py", MODEL)
    plain, recorded = place.python("model.py"), place.record("model.py")
    assert (recorded.returncode, recorded.stdout) == (plain.returncode, plain.stdout)
    assert len(plain.stdout.splitlines()) == 2
    tensors, metadata = place.read(place.folder / "model.attn.safetensors")
    prefixes = {name.removesuffix(".q") for name in tensors if name.endswith(".q")}
    assert prefixes == {f"{step}layers.{n}" for step in ("", "steps.1.") for n in range(3)}
    assert (metadata["schema"], metadata["program"]) == ("attn.capture/1", "model.py")
    lines = recorded.stderr.decode().splitlines()
    assert lines[0].startswith("attn: recorded 6 attention calls of 3 modules in 2 steps: model.attn.safetensors (")
    assert lines[1] == "attn: look at them with: attn run model.attn.safetensors"
    assert len(lines) == 2
    assert place.left == []


WORLD = """
import os, sys
import torch
import beside
print(sys.argv, sys.path, sys.flags, sys.orig_argv[1:], __name__, __file__, __spec__ is None, __package__)
print(os.getcwd(), sorted(os.environ.items()), beside.__file__, sys.stdin.read())
print("sitecustomize" in sys.modules, [f for f in sys.path_importer_cache if "injected" in f], torch.__spec__.loader)
print([type(finder).__name__ for finder in sys.meta_path][-1], __import__("signal").getsignal(2))
"""


def test_the_program_sees_what_it_would_see(place):
    place.write("deep/world.py", WORLD)
    place.write("deep/beside.py", "")
    arguments = ("deep/world.py", "--layers", "x", "--", "-m", "--json", "--traceback")
    plain = place.python(*arguments, stdin=b"typed")
    recorded = place.record("-o", "out.safetensors", *arguments, stdin=b"typed")
    assert plain.returncode == 0, plain.stderr
    hide = lambda text: text.partition(b" object at ")[0]  # noqa: E731
    assert list(map(hide, recorded.stdout.splitlines())) == list(map(hide, plain.stdout.splitlines()))
    assert b"typed" in recorded.stdout


@pytest.mark.parametrize("path", [None, "", "elsewhere"])
def test_pythonpath_is_what_it_was(place, path):
    place.write("elsewhere/found.py", "x = 1")
    place.write("shows.py", "import os, sys; print(os.environ.get('PYTHONPATH'), sys.path)")
    env = {name: value for name, value in place.env().items() if name != "PYTHONPATH"}
    env |= {} if path is None else {"PYTHONPATH": path}
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from attn_cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    run = {"cwd": place.folder, "env": env, "capture_output": True, "check": True}
    plain = subprocess.run([sys.executable, "shows.py"], **run)
    recorded = subprocess.run([sys.executable, "-c", script, "record", "shows.py"], **run)
    assert recorded.stdout == plain.stdout


def test_a_module_is_run_as_python_runs_it(place):
    place.write("package/__init__.py", "")
    place.write("package/inner.py", "value = 5")
    place.write("package/__main__.py", ATTENDS + "import sys\nfrom .inner import value\n"
                "print(sys.argv, sys.path[0], __name__, __spec__.name, value, attend(0).sum())")  # fmt: skip
    plain = place.python("-m", "package", "--stats", "-o", "x")
    recorded = place.record("-m", "package", "--stats", "-o", "x")
    assert plain.returncode == 0, plain.stderr
    assert recorded.stdout == plain.stdout
    assert place.calls(place.folder / "package.attn.safetensors") == 1
    assert place.read(place.folder / "package.attn.safetensors")[1]["program"] == "-m package"


def test_a_program_on_stdin(place):
    done = place.record(
        "-o", "out.safetensors", "-", "x", stdin=(ATTENDS + "attend(0); import sys; print(sys.argv)").encode()
    )
    assert (done.returncode, done.stdout) == (0, b"['-', 'x']\n")
    assert place.calls() == 1


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("sys.exit(3)", 3),
        ("sys.exit('done with it')", 1),
        ("raise ValueError('no more')", 1),
        ("os._exit(4)", 4),
        ("os.kill(os.getpid(), signal.SIGKILL)", 128 + signal.SIGKILL),
        ("signal.raise_signal(signal.SIGINT)", 130),
    ],
)
def test_the_exit_code_is_the_programs_and_all_calls_are_there(place, ending, code):
    place.write("ends.py", f"{ATTENDS}\nimport os, signal, sys\nattend(0)\nattend(1)\n{ending}\nattend(2)\n")
    recorded = place.record("-o", "out.safetensors", "ends.py")
    assert recorded.returncode == code
    assert place.calls() == 2
    own = [line for line in recorded.stderr.decode().splitlines() if not line.startswith("attn: ")]
    if "raise" in ending:
        assert own == place.python("ends.py").stderr.decode().splitlines()
    else:
        assert own == (["done with it"] if "done" in ending else [])
    assert said(recorded)[0].startswith("attn: recorded 2 attention calls")
    assert place.left == []


def started(place, script, *options, **popen):
    """A recording that has said that it is on its way."""
    place.write("waits.py", script)
    process = subprocess.Popen(
        place.command("-o", "out.safetensors", *options, "waits.py"), cwd=place.folder, env=place.env(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **popen,
    )  # fmt: skip
    assert process.stdout.readline() == b"ready\n"
    return process


WAITS = f"{ATTENDS}\nimport time\nattend(0)\nprint('ready', flush=True)\ntime.sleep(60)\n"


def test_ctrl_c_is_the_programs_and_the_file_is_finished(place):
    process = started(place, WAITS, start_new_session=True)
    assert len(place.left) == 1
    assert not place.out.exists()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert place.left == []
    assert err.count(b"KeyboardInterrupt") == 1
    assert b"attn: interrupted" not in err
    assert place.calls() == 1


def test_a_program_may_deal_with_ctrl_c_itself(place):
    script = WAITS.replace(
        "print('ready', flush=True)\ntime.sleep(60)",
        "try:\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    attend(1)\n    raise SystemExit(7)",
    )
    process = started(place, script, start_new_session=True)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 7
    assert place.calls() == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_is_sent_to_attn_reaches_the_program(place, number):
    process = started(place, WAITS)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert place.calls() == 1
    assert place.left == []


def test_other_processes_of_the_program_are_not_recorded(place):
    place.write(
        "child.py",
        ATTENDS + "import os\nattend(0)\nprint([n for n in os.environ if 'ATTN' in n], os.environ['PYTHONPATH'])",
    )
    place.write("parent.py", ATTENDS + "import os, subprocess, sys\nattend(0)\nsys.stdout.flush()\n"
                "subprocess.run([sys.executable, 'child.py'], check=True)\n"
                "child = os.fork()\nif child == 0:\n    attend(1)\n    sys.exit(5)\n"
                "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\nattend(2)\n")  # fmt: skip
    done = place.record("-o", "out.safetensors", "parent.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().splitlines() == [f"[] {ROOT}", "5"]
    assert place.calls() == 2


def test_a_sitecustomize_of_the_environment_is_still_run(place):
    place.write("site/sitecustomize.py", "import sys; sys.customized = __file__")
    place.write(
        "asks.py", ATTENDS + "import sys\nattend(0)\nprint(sys.customized, sys.modules['sitecustomize'].__file__)"
    )
    env = {"PYTHONPATH": os.pathsep.join([str(place.folder / "site"), str(ROOT)])}
    plain, recorded = place.python("asks.py", env=env), place.record("-o", "out.safetensors", "asks.py", env=env)
    assert plain.returncode == 0, plain.stderr
    assert recorded.stdout == plain.stdout
    assert place.calls() == 1


def test_a_sitecustomize_that_fails_is_told_as_python_tells_it(place):
    place.write("site/sitecustomize.py", "raise ValueError('not today')")
    place.write("asks.py", "print('ran')")
    env = {"PYTHONPATH": os.pathsep.join([str(place.folder / "site"), str(ROOT)])}
    plain, recorded = place.python("asks.py", env=env), place.record("asks.py", env=env)
    assert recorded.stdout == plain.stdout == b"ran\n"
    assert b"not today" in plain.stderr
    assert recorded.stderr.startswith(plain.stderr[: plain.stderr.index(b"not today")])


@pytest.mark.parametrize(
    ("script", "options", "words"),
    [
        ("print('hello')", [], ["never imported torch"]),
        ("import torch", [], ["no attention call was heard", "scaled_dot_product_attention"]),
        (MODEL, ["--layers", "decoder.*"], ["none of 6 attention calls was selected", "layers.0, layers.1, layers.2"]),
        (MODEL, ["--calls", "10:"], ["none of 6 attention calls was selected"]),
        (MODEL, ["--heads", "7"], ["6 attention calls and none of them kept", "none of the heads asked for"]),
    ],
    ids=["no torch", "no attention", "layers", "calls", "heads"],
)
def test_where_nothing_is_recorded_it_is_said_why_and_nothing_is_replaced(place, script, options, words):
    place.write("quiet.py", script)
    place.out.write_text("before")
    done = place.record("-o", "out.safetensors", *options, "quiet.py")
    assert done.returncode == 0
    assert place.out.read_text() == "before"
    assert place.left == []
    assert said(done)[0].startswith("attn: warning: nothing was recorded: ")
    assert "out.safetensors was left as it was" in said(done)[0]
    for word in words:
        assert word in " ".join(said(done))


def test_two_recordings_at_once(place):
    place.write("model.py", MODEL)
    both = [
        subprocess.Popen(place.command("-o", f"{name}.safetensors", "model.py"), cwd=place.folder, env=place.env(),
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name in "ab"
    ]  # fmt: skip
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert [place.calls(place.folder / f"{name}.safetensors") for name in "ab"] == [6, 6]
    assert place.left == []


def test_the_selection_is_what_is_in_the_file(place):
    place.write("model.py", MODEL)
    done = place.record(
        "-o", "out.safetensors", "--layers", "layers.0", "--layers", "*.2", "--calls", "1:6", "--heads", "1", "--dtype",
        "float64", "model.py",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    tensors, metadata = place.read()
    prefixes = {name.removesuffix(".q") for name in tensors if name.endswith(".q")}
    assert prefixes == {"layers.2", "steps.1.layers.0", "steps.1.layers.2"}
    assert {str(x.dtype) for x in tensors.values()} == {"torch.float64"}
    assert {x.shape[1] for x in tensors.values()} == {1}
    assert (metadata["layers.2.heads"], metadata["layers.2.total_heads"]) == ("[1]", "2")


def test_a_full_file_is_said_and_holds_what_came_first(place):
    place.write("model.py", MODEL)
    done = place.record("-o", "out.safetensors", "--max-bytes", "3KiB", "model.py")
    assert done.returncode == 0
    assert place.calls() == 2
    warning = said(done)[0]
    assert "full at --max-bytes 3KiB: 2 of 6 attention calls are in it" in warning


def test_a_disk_that_refuses_ends_the_recording_and_not_the_program(place):
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (2**20 + 4000, 2**20 + 4000))\n"
    place.write("model.py", limit + MODEL + "print('the end')")
    done = place.record("-o", "out.safetensors", "model.py")
    assert done.returncode == 0
    assert done.stdout.endswith(b"the end\n")
    assert any("the recording ended before the program did" in line for line in said(done))
    assert place.calls() in (2, 3)


def test_stats_keeps_lines_and_no_tensors(place):
    place.write("model.py", MODEL)
    done = place.record("--stats", "model.py")
    assert done.returncode == 0, done.stderr
    lines = (place.folder / "model.attn.jsonl").read_text().splitlines()
    calls = [json.loads(line) for line in lines]
    assert [(call["module"], call["step"]) for call in calls] == [(f"layers.{n}", s) for s in (0, 1) for n in range(3)]
    assert said(done)[0].startswith("attn: watched 6 attention calls of 3 modules in 2 steps: model.attn.jsonl (")
    assert place.left == []


def test_stats_go_on_where_one_call_cannot_be_inspected(place):
    place.write(
        "p.py",
        ATTENDS
        + """
from attn_cli.recording import watching
really = watching.inspect
def refuse(*_):
    watching.inspect = really
    raise torch.OutOfMemoryError("tried to allocate 7 GiB")
attend(0)
watching.inspect = refuse
attend(1)
attend(2)
""",
    )
    done = place.record("--stats", "--quiet", "-o", "out.jsonl", "p.py")
    assert done.returncode == 0
    (said_once,) = said(done)
    assert said_once.startswith("attn: warning: 1 call passed over: could not be inspected: OutOfMemoryError in refuse")
    assert [json.loads(line)["number"] for line in (place.folder / "out.jsonl").read_text().splitlines()] == [0, 2]


def test_stats_of_a_program_that_is_killed_and_nothing_but_that_said(place):
    place.write("model.py", MODEL + "import os, sys\nsys.stdout.flush()\nos.kill(os.getpid(), 9)")
    done = place.record("--stats", "--quiet", "-o", "x.jsonl", "model.py")
    assert (done.returncode, done.stderr) == (137, b"")
    assert len([json.loads(line) for line in (place.folder / "x.jsonl").read_text().splitlines()]) == 6


ODD = """
import os, threading
threads = [threading.Thread(target=attend, args=(n,)) for n in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
os.mkdir("x")
os.chdir("x")
attend(0)
os.closerange(3, 200)
with open("mine", "wb") as mine:
    attend(1)
    mine.write(b"mine")
"""


def test_threads_another_folder_and_closed_files_are_no_hindrance(place):
    place.write("odd.py", ATTENDS + ODD)
    done = place.record("--quiet", "-o", "out.safetensors", "odd.py")
    assert (done.returncode, done.stderr) == (0, b"")
    assert (place.folder / "x" / "mine").read_bytes() == b"mine"
    assert place.calls() == 6


def test_attn_itself_never_imports_torch(place):
    place.write("model.py", MODEL)
    script = (
        "import sys\nfrom attn_cli.main import main\ncode = main(sys.argv[1:])\n"
        'sys.stderr.write(f\'{code} {[n for n in ("torch", "numpy", "safetensors") if n in sys.modules]}\')'
    )
    for options in ((), ("--stats",)):
        done = subprocess.run(
            [sys.executable, "-c", script, "record", *options, "model.py"], cwd=place.folder, env=place.env(),
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.stderr.endswith("0 []")


@pytest.mark.parametrize(("ending", "is_told"), [("", False), ("import os\nos._exit(0)", True)])
def test_a_program_whose_end_was_not_seen_is_said_to_have_gone_well_no_further(place, ending, is_told):
    place.write("p.py", ATTENDS + "attend(0)\n" + ending)
    done = place.record("--quiet", "-o", "out.safetensors", "p.py")
    assert (done.returncode, place.calls()) == (0, 1)
    assert any("did not see the program's end" in line for line in said(done)) == is_told
