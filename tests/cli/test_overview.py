"""``attn run`` on a capture with several modules and steps, as a process."""

import json

import pytest

from attn_cli.commands import running
from attn_cli.inspection.options import Zoom
from tests.cli.process import MINILM, attn
from tests.reporters.step_captures import write_steps


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """Two layers of three heads: a prefill and three steps."""
    return write_steps(tmp_path_factory.mktemp("steps") / "steps.safetensors")


def test_the_overview_has_a_line_a_module_and_opens_a_step(capture):
    done = attn("run", capture, "--metric", "attention_distance", "--sort", "low")
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    for expected in ("Heads", "attention_distance", "Lowest attention_distance", "Worth looking at", "1, 3, 1–9, 9–12"):
        assert expected in text
    opened, steps = (" ".join(text.strip().rsplit("\n\n", 1)[1].split()) + " ").split("metrics. ")
    assert steps.strip() == "--layer 0 shows its steps, a line each."
    options = opened.split(" shows")[0].split()
    one = attn("run", capture, *options)
    assert one.returncode == 0
    assert b"Strongest pairs" in one.stdout


def test_the_json_names_every_heads_module_and_step(capture):
    data = json.loads(attn("run", capture, "--json").stdout)["data"]
    places = {(head["module"], head["step"], head["head"]) for head in data["heads"]}
    assert places == {
        (f"enc.layer.{layer}.attn", step, head) for layer in range(2) for step in range(4) for head in range(3)
    }
    assert isinstance(data["worth_looking_at"], list)


def test_a_wrong_metric_is_refused_with_those_there_are():
    done = attn("run", MINILM, "--metric", "entropi")
    assert done.returncode == 2
    assert b"expected one of entropy, entropy_normalized" in done.stderr
    assert b"did you mean entropy?" in done.stderr


def test_sorting_needs_a_metric():
    done = attn("run", MINILM, "--sort", "high")
    assert done.returncode == 2
    assert b"expected --metric NAME" in done.stderr


def test_a_single_layer_is_sorted_by_the_metric():
    done = attn("run", MINILM, "--layer", "0", "--batch", "0", "--metric", "entropy", "--sort", "low")
    lines = done.stdout.decode().split("Metrics")[1].splitlines()[2:14]
    values = [float(line.split()[3]) for line in lines]
    assert len(set(values)) > 6
    assert values == sorted(values)


@pytest.mark.parametrize(("calls", "json_output", "zoom", "seconds", "side"), [
    (2, False, None, 0.25, 16),
    (1000, False, None, 0.002, 16),
    (1000, True, None, 0.002, 16),
    (2, True, Zoom(), 0.25, 64),
])  # fmt: skip
def test_many_calls_share_the_time_and_keep_small_pictures(calls, json_output, zoom, seconds, side, monkeypatch):
    asked = []
    monkeypatch.setattr(running, "run_call", lambda *given: asked.append(given[1]))
    request = running.RunRequest("run", "cpu", None, "auto", None, 3, False, False, json_output, None, zoom)
    running.run_one(None, request, 0.0, lambda *_: None, calls=calls)
    assert asked[0].timing_seconds == seconds
    assert (asked[0].inspect.picture_rows, asked[0].inspect.picture_columns) == (side, side)
