"""``attn_cli`` as a Python program uses it: inspect and load. ``record`` has ``test_api_record.py``."""

import json
import subprocess
import sys
from html.parser import HTMLParser

import jsonschema
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.panel import Panel
from safetensors.torch import save_file

import attn_cli
from attn_cli.errors import AttnError, InputError, UsageError
from attn_cli.reporters.schema import schema_for
from tests.cli.process import ROOT, SAMPLES, attn, environment

HOSTILE = ["<script>alert(1)</script>", "&amp;", '"><img src=x onerror=y>', "\x1b[31mred", "[bold]x[/bold]", "a\nb"]


def heads(*shape, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for _ in range(3))


def softmax_weights(logits):
    """In float64, rows without a visible key 0."""
    x = np.asarray(logits, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        e = np.exp(x - x.max(-1, keepdims=True))
    return np.nan_to_num(e / e.sum(-1, keepdims=True))


# --- inspect: what it says ---


def test_weights_and_output_are_those_of_torch():
    q, k, v = heads(2, 4, 7, 8)
    seen = attn_cli.inspect(q, k, v, causal=True, weights=True)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(seen.output, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(seen.weights @ v, expected, atol=1e-6, rtol=1e-5)
    logits = (q @ k.mT / 8**0.5).masked_fill(torch.ones(7, 7).triu(1).bool(), float("-inf"))
    torch.testing.assert_close(seen.lse, logits.logsumexp(-1), atol=1e-5, rtol=1e-5)
    assert seen.verification.holds


@settings(max_examples=30)
@given(
    batch=st.integers(1, 2), kv_heads=st.integers(1, 2), group=st.integers(1, 2), queries=st.integers(1, 5),
    keys=st.integers(1, 6), scale=st.none() | st.floats(-2, 2), softcap=st.none() | st.floats(0.5, 5),
    seed=st.integers(0, 99), with_bias=st.booleans(), with_mask=st.booleans(),
)  # fmt: skip
def test_weights_are_the_definition(batch, kv_heads, group, queries, keys, scale, softcap, seed, with_bias, with_mask):
    rng = np.random.default_rng(seed)
    q = rng.normal(size=(batch, kv_heads * group, queries, 4))
    k, v = (rng.normal(size=(batch, kv_heads, keys, 4)) for _ in range(2))
    bias = rng.normal(size=(queries, keys)) if with_bias else None
    mask = rng.random(size=(batch, 1, queries, keys)) < 0.7 if with_mask else None
    seen = attn_cli.inspect(q, k, v, bias=bias, mask=mask, scale=scale, softcap=softcap, weights=True)
    logits = q @ np.repeat(k, group, 1).swapaxes(-1, -2) * (0.5 if scale is None else scale)
    logits = logits if softcap is None else softcap * np.tanh(logits / softcap)
    logits = logits if bias is None else logits + bias
    logits = logits if mask is None else np.where(mask, logits, -np.inf)
    np.testing.assert_allclose(seen.weights.numpy(), softmax_weights(logits), atol=1e-12)


def test_metrics_labels_and_top_have_a_place_for_every_head():
    q, k, v = heads(2, 4, 7, 8)
    seen = attn_cli.inspect(q, k, v, top=5, weights=True, similarity=True)
    weights = seen.weights.double()
    entropy = -(weights * weights.log()).sum(-1).mean(-1)
    torch.testing.assert_close(seen.metrics["entropy"], entropy, atol=1e-5, rtol=1e-4)
    assert [len(row) for row in seen.labels] == [4, 4]
    assert seen.top.weight.shape == (2, 4, 5)
    torch.testing.assert_close(seen.top.weight, weights.flatten(2).sort(descending=True)[0][..., :5])
    assert seen.similarity.shape == (2, 4, 4)
    torch.testing.assert_close(seen.pictures.weights, seen.weights)


def test_a_selection_is_that_part_of_the_whole():
    q, k, v = heads(3, 4, 6, 8)
    whole = attn_cli.inspect(q, k, v, causal=True, weights=True)
    part = attn_cli.inspect(q, k, v, causal=True, weights=True, batch=2, head=[3, 1], query=range(2, 5))
    torch.testing.assert_close(part.weights, whole.weights[2:, [3, 1], 2:5])
    assert (part.index.batch, part.index.heads, part.index.queries.tolist()) == ((2,), (3, 1), [2, 3, 4])


def test_lengths_may_be_a_list_and_tokens_bring_their_metrics():
    q, k, v = heads(2, 2, 4, 8)
    seen = attn_cli.inspect(q, k, v, valid_lens=[3, 2], weights=True, token_ids=[[5, 6, 5, 6], [1, 1, 2, 2]])
    assert not seen.weights[0, :, :, 3:].any()
    assert not seen.weights[1, :, :, 2:].any()
    assert "induction_score" in seen.metrics
    per_query = attn_cli.inspect(q, k, v, valid_lens=[[1, 2, 3, 4], [1, 1, 1, 1]], weights=True)
    assert torch.equal(per_query.weights[0, 0] > 0, torch.ones(4, 4).tril() > 0)


def test_a_learned_sink_takes_its_part_of_a_row():
    q, k, v = heads(1, 2, 4, 8)
    seen = attn_cli.inspect(q, k, v, sinks=torch.tensor([0.5, 2.0]), weights=True)
    torch.testing.assert_close(seen.weights.sum(-1) + seen.sink_weights, torch.ones(1, 2, 4))


@pytest.mark.parametrize("layout", ["bhsd", "bshd", "cut", "one"])
def test_every_layout_is_the_same_call(layout):
    q, k, v = heads(1, 4, 6, 8)
    expected = attn_cli.inspect(q, k, v, weights=True).weights
    turned = {
        "bhsd": ((q, k, v), {}),
        "bshd": ([x.transpose(1, 2) for x in (q, k, v)], {"layout": "bshd"}),
        "cut": ([x.transpose(1, 2).flatten(2) for x in (q, k, v)], {"num_heads": 4}),
        "one": ([x[0] for x in (q, k, v)], {}),
    }
    tensors, options = turned[layout]
    torch.testing.assert_close(attn_cli.inspect(*tensors, **options, weights=True).weights, expected)


@pytest.mark.parametrize(
    "array",
    [np.float32, np.float64, np.float16, ">f4"],
)
def test_numpy_arrays_are_taken_as_they_are(array):
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(1, 2, 5, 8)).astype(array) for _ in range(3))
    k.flags.writeable = False
    seen = attn_cli.inspect(q, k, v[:, :, ::-1], weights=True)
    logits = np.float64(q) @ np.float64(k).swapaxes(-1, -2) / 8**0.5
    np.testing.assert_allclose(seen.weights.numpy(), softmax_weights(logits), atol=2e-6)


def test_half_precision_and_a_chosen_backend_and_dtype():
    q, k, v = heads(1, 2, 5, 8, dtype=torch.bfloat16)
    assert attn_cli.inspect(q, k, v).output.dtype == torch.bfloat16
    seen = attn_cli.inspect(q, k, v, backend="textbook", dtype=torch.float64, weights=True)
    expected = torch.softmax(q.double() @ k.double().mT / 8**0.5, -1)
    torch.testing.assert_close(seen.weights, expected, atol=1e-14, rtol=0)
    assert seen.verification.against == "textbook"


# --- inspect: what it leaves alone ---


def test_gradients_grad_mode_and_random_numbers_stay():
    q, k, v = (x.requires_grad_() for x in heads(1, 2, 5, 8))
    state = torch.get_rng_state()
    hidden = q * 2
    seen = attn_cli.inspect(hidden, k, v, weights=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()
    assert not any(x.requires_grad for x in (seen.weights, seen.output, seen.lse, *seen.metrics.values()))
    hidden.sum().backward()
    torch.testing.assert_close(q.grad, torch.full_like(q, 2))
    assert k.grad is None


def _in_inference_mode():
    return torch.inference_mode()


def _under_autocast():
    return torch.autocast("cpu", dtype=torch.bfloat16)


def _on_another_device():
    return torch.device("meta")


@pytest.mark.parametrize("setting", [_in_inference_mode, _under_autocast, _on_another_device])
def test_what_a_program_has_set_changes_nothing(setting):
    q, k, v = heads(1, 2, 300, 8)
    expected = attn_cli.inspect(q, k, v, causal=True, weights=True)
    with setting():
        before = (torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"), torch.get_default_device())
        seen = attn_cli.inspect(q, k, v, causal=True, weights=True)
        after = (torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"), torch.get_default_device())
    assert before == after
    assert torch.equal(seen.weights, expected.weights)
    assert torch.equal(seen.output, expected.output)
    for name, values in expected.metrics.items():
        torch.testing.assert_close(seen.metrics[name], values, atol=1e-12, rtol=1e-12, equal_nan=True)


def test_a_default_dtype_changes_nothing():
    q, k, v = heads(1, 2, 5, 8)
    expected = attn_cli.inspect(q, k, v, weights=True)
    torch.set_default_dtype(torch.float64)
    try:
        seen = attn_cli.inspect(q, k, v, weights=True)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(seen.weights, expected.weights)
    assert seen.weights.dtype == torch.float32


def test_tensors_made_in_inference_mode_can_be_inspected_outside():
    with torch.inference_mode():
        q, k, v = (x.clone() for x in heads(1, 2, 300, 8))
    assert attn_cli.inspect(q, k, v, causal=True).verification.holds


def test_within_a_compiled_function_it_is_itself_not_compiled():
    q, k, v = heads(1, 2, 5, 8)
    seen = []

    def attention(q, k, v):
        seen.append(attn_cli.inspect(q, k, v))
        return F.scaled_dot_product_attention(q, k, v)

    graphs = []
    compiled = torch.compile(attention, backend=lambda graph, _: graphs.append(graph) or graph.forward)
    torch.testing.assert_close(compiled(q, k, v), seen[0].output)
    assert len(graphs) <= 2


# --- inspect: what it refuses ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": torch.zeros(1, 2, 5, 4)}, "attn_cli.inspect: k is (1, 2, 5, 4) float32: head dimension 4; expected 8"),
        ({"num_kv_heads": 3}, "k is (1, 2, 5, 8) float32: 2 heads; expected 3, as num_kv_heads says"),
        ({"valid_lens": [3, 4]}, "valid_lens is (2,) int64; expected (1,), one a batch item"),
        ({"valid_lens": [9]}, "found 9 at [0]; expected whole numbers from 0 to 5"),
        ({"mask": torch.zeros(5, 5)}, "expected booleans, or whole numbers 0 and 1"),
        ({"mask": torch.ones(3, 5, dtype=torch.bool)}, "mask is (3, 5) bool; expected rank 2 to 4, to broadcast"),
        ({"tokens": ["a", "b"]}, "tokens do not fit; expected 1 lists of 5 texts, one a key"),
        ({"backend": "fastest"}, "backend 'fastest': expected one of auto, textbook"),
        ({"dtype": torch.int8}, "dtype 'int8': expected one of float64"),
        ({"device": "tpu"}, "device tpu: no such device"),
        ({"head": 7}, "head 7; expected 0 to 1, of 2 query heads"),
        ({"top": -1}, "top -1: expected a whole number from 0"),
        ({"scale": float("nan")}, "scale nan: expected a finite number"),
        ({"q": torch.zeros(1, 2, 5, 8, dtype=torch.int64)}, "q is (1, 2, 5, 8) int64; expected float64, float32"),
        ({"q": torch.zeros(1, 2, 5, 8).to_sparse()}, "q is a sparse, quantized, nested or meta tensor"),
        ({"q": np.array([["a"]])}, "q has dtype <U1; expected numbers or booleans"),
        ({"valid_lens": [[1], [2, 3]]}, "valid_lens is a list; expected a torch tensor or a NumPy array"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_argument(change, message):
    q, k, v = heads(1, 2, 5, 8)
    with pytest.raises(AttnError) as refused:
        attn_cli.inspect(**{"q": q, "k": k, "v": v, **change})
    assert message in str(refused.value)
    assert "--" not in str(refused.value)


def test_the_remedy_stands_below_the_error():
    q, k, v = heads(1, 2, 5, 8)
    with pytest.raises(InputError) as refused:
        attn_cli.inspect(q, k, v, mask=torch.zeros(5, 5))
    assert refused.value.__notes__ == ["hint: a float mask is added to the logits: call it bias"]


def test_what_was_not_asked_for_says_how_to_ask():
    seen = attn_cli.inspect(*heads(1, 2, 5, 8))
    with pytest.raises(UsageError, match="expected weights=True"):
        _ = seen.weights
    with pytest.raises(UsageError, match="expected similarity=True"):
        _ = seen.similarity


# --- how an inspection shows itself ---


class _Text(HTMLParser):
    """The elements of a page and its text."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = set(), ""

    def handle_starttag(self, tag, attrs):
        self.tags.add((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data):
        self.text += data


def hostile():
    q, k, v = heads(1, 2, 6, 8)
    return attn_cli.inspect(q, k, v, tokens=HOSTILE, top=3)


def test_a_notebook_gets_text_and_no_markup_of_a_tokens():
    page = _Text()
    page.feed(hostile()._repr_html_())
    assert page.tags == {("pre", ("style",)), ("span", ("style",))}
    assert "<script>" in page.text
    assert "\x1b" not in page.text
    assert "Metrics" in page.text


def test_show_prints_the_report_of_attn_run(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    q, k, v = heads(1, 2, 6, 8)
    attn_cli.inspect(q, k, v).show()
    printed = capsys.readouterr().out
    save_file({"q": q, "k": k, "v": v}, tmp_path / "x.safetensors")
    done = attn("run", str(tmp_path / "x.safetensors"), "--device", "cpu", COLUMNS="80")
    ours, theirs = (text.split("Steps")[1].split("\nTime")[0] for text in (printed, done.stdout.decode()))
    assert ours == theirs


@pytest.mark.parametrize("width", [30, 80, 120])
def test_rich_prints_it_inside_of_other_things(width, capsys):
    console = Console(width=width, force_terminal=False, file=sys.stdout)
    console.print(Panel(hostile()))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 20
    assert {len(line) for line in lines} == {width}
    assert all(line[0] in "│╭╰" and line[-1] in "│╮╯" for line in lines)


def test_its_name_is_one_short_line():
    text = repr(attn_cli.inspect(*heads(2, 3, 5, 8), causal=True))
    assert "B 2, Hq 3, Sq 5, Sk 5" in text
    assert "\n" not in text
    assert len(text) < 200


def test_its_dict_is_the_document_of_attn_run():
    seen = attn_cli.inspect(*heads(1, 2, 5, 8), weights=True)
    document = json.loads(json.dumps(seen.to_dict(), allow_nan=False))
    jsonschema.validate(document, schema_for("run"))
    assert [head["entropy"] for head in document["data"]["heads"]] == seen.metrics["entropy"][0].tolist()
    broken = heads(1, 2, 5, 8)
    broken[0][0, 1, 2, 3] = float("nan")
    found = attn_cli.inspect(*broken)
    assert found.labels[0][1] == "broken"
    assert found.findings[0].place.head == 1
    jsonschema.validate(json.loads(json.dumps(found.to_dict(), allow_nan=False)), schema_for("run"))


# --- load ---


def attn_run(*arguments):
    return attn("run", *map(str, arguments), "--json", "--device", "cpu").json["data"]


def test_a_file_gives_the_heads_of_attn_run():
    calls = attn_cli.load(SAMPLES / "minilm.safetensors")
    heads_of_run = attn_run(SAMPLES / "minilm.safetensors")["heads"]
    ours = [head for call in calls for head in call.inspect(device="cpu").to_dict()["data"]["heads"]]
    assert ours == heads_of_run
    assert [call.layer for call in calls] == sorted({head["layer"] for head in heads_of_run})


def test_the_same_tensors_in_memory_give_the_heads_of_the_file(tmp_path):
    q, k, v = heads(2, 4, 6, 8)
    bias, lens = torch.randn(6, 6, generator=torch.Generator().manual_seed(1)), torch.tensor([5, 6])
    save_file({"q": q, "k": k, "v": v, "bias": bias, "valid_lens": lens}, tmp_path / "x.safetensors")
    told = attn_run(tmp_path / "x.safetensors", "--causal", "--scale", "0.3", "--top", "4")
    seen = attn_cli.inspect(q, k, v, bias=bias, valid_lens=lens, causal=True, scale=0.3, top=4)
    assert seen.to_dict()["data"]["heads"] == told["heads"]


def _named(tensors):
    return zip("qkv", tensors, strict=True)


def test_calls_are_a_sequence_that_is_read_late(tmp_path):
    tensors = {f"layers.{n}.{name}": x for n in range(3) for name, x in _named(heads(1, 2, 5, 8, seed=n))}
    tensors["layers.1.k"] = torch.zeros(1, 2, 5, 4)
    save_file(tensors, tmp_path / "x.safetensors")
    calls = attn_cli.load(tmp_path / "x.safetensors", causal=True)
    assert len(calls) == 3
    assert [call.prefix for call in calls[1:]] == ["layers.1", "layers.2"]
    assert "layers.2" in repr(calls)
    last = calls[-1].inspect()
    with pytest.raises(IndexError):
        calls[3]
    assert torch.equal(calls[2].q, tensors["layers.2.q"])
    torch.testing.assert_close(last.output, F.scaled_dot_product_attention(*heads(1, 2, 5, 8, seed=2), is_causal=True))
    assert {one.origin for one in last.call.conventions if one.name == "causal"} == {"causal="}
    with pytest.raises(InputError, match="head dimension 4"):
        calls[1].inspect()


def test_one_call_of_a_file_outlives_the_others(tmp_path):
    q, k, v = heads(1, 2, 5, 8)
    np.savez(tmp_path / "x.npz", q=q.numpy(), k=k.numpy(), v=v.numpy())
    call = attn_cli.load(tmp_path / "x.npz")[0]
    assert call.inspect().verification.holds


def test_reading_options_are_those_of_attn_run():
    calls = attn_cli.load(SAMPLES / "minilm.safetensors", layer=1, head=8, batch=0, valid_lens=None)
    seen = calls[0].inspect(weights=True, device="cpu")
    assert seen.labels == (("next-token",),)
    assert seen.weights.shape[:2] == (1, 1)
    projected = attn_cli.load(SAMPLES / "minilm-hidden.safetensors",
        weights_file=SAMPLES / "minilm-layer3" / "model.safetensors.index.json", prefix="encoder.layer.3.attention",
    )[0].inspect()  # fmt: skip
    assert projected.projected.shape[-1] == 384


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("missing.safetensors", {}, "no such file"),
        (SAMPLES / "minilm.safetensors", {"layer": 77}, "no call in layer 77"),
        (SAMPLES / "minilm.safetensors", {"layout": "hsbd"}, "layout hsbd: expected bhsd or bshd"),
    ],
)
def test_what_cannot_be_loaded_is_refused(path, options, message):
    with pytest.raises(AttnError, match=message):
        attn_cli.load(path, **options)[0].inspect()


# --- the package ---


def test_names_come_without_torch_until_one_is_used():
    script = (
        "import sys, attn_cli; assert set(attn_cli.__all__) <= set(dir(attn_cli)); attn_cli.__version__\n"
        "heavy = {'torch', 'numpy', 'safetensors', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "from attn_cli import inspect; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_a_name_that_is_not_there_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'inspekt'"):
        _ = attn_cli.inspekt


PROGRAM = """
import numpy as np
import torch
import attn_cli

q = torch.randn(1, 2, 4, 8)
seen = attn_cli.inspect(q, q, np.zeros((1, 2, 4, 8)), valid_lens=[3], window=2, head=[0, 1], dtype=torch.float32)
entropy: torch.Tensor = seen.metrics["entropy"]
first: str = seen.labels[0][0]
both: torch.Tensor = seen.weights @ seen.output
again: attn_cli.Inspection = attn_cli.load("x.safetensors", layer=1)[0].inspect(top=1)
with attn_cli.record("c.safetensors", layers="encoder.*", calls=(0, 10)) as recording:
    pass
kept: int = recording.heard.kept
wrong: int = seen.metrics
"""


def test_type_checkers_know_what_is_public(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(tmp_path / "program.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment())
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(errors) == 1, done.stdout
    assert f"program.py:{PROGRAM.count(chr(10))}" in errors[0]
