"""The inspection as a whole."""

import itertools
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from attn_cli.attention import textbook
from attn_cli.attention.masks import MaskRule, aligned_places
from attn_cli.attention.types import AttentionInputs, CallIndex, Rules
from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.metrics import METRICS
from attn_cli.inspection.options import InspectOptions
from tests.attention.calls import make_call
from tests.inspection.cases import with_everything


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_inputs_give_float32_statistics(dtype):
    call = with_everything(make_call(dtype=dtype, causal=True, sinks=torch.zeros(4, dtype=dtype)))
    result = inspect(call, InspectOptions(weights=True, similarity=True))
    exact = inspect(call.to(torch.device("cpu"), torch.float64), InspectOptions(weights=True, similarity=True))
    assert result.output.dtype == result.lse.dtype == result.weights.dtype == torch.float32
    for name, values in exact.metrics.items():
        assert result.metrics[name].dtype == torch.float64
        torch.testing.assert_close(result.metrics[name], values, rtol=1e-5, atol=1e-5, equal_nan=True, msg=name)
    torch.testing.assert_close(result.similarity, exact.similarity, rtol=0, atol=1e-6)


def test_double_precision_stays():
    result = inspect(make_call(), InspectOptions(weights=True))
    assert result.output.dtype == result.weights.dtype == result.lse.dtype == torch.float64


def test_output_lse_and_weights_are_the_textbooks():
    call = make_call(causal=True, sinks=torch.ones(4).double())
    steps = textbook.attend(call)
    result = inspect(call, InspectOptions(weights=True, block_rows=2))
    for found, expected in (
        (result.output, steps.output), (result.lse, steps.lse), (result.weights, steps.weights),
        (result.sink_weights, steps.sink),
    ):  # fmt: skip
        torch.testing.assert_close(found, expected)


def test_weights_and_similarity_only_where_asked_for():
    result = inspect(make_call(sinks=torch.zeros(4)))
    assert result.weights is None
    assert result.sink_weights is None
    assert result.similarity is None
    assert inspect(make_call(), InspectOptions(weights=True)).sink_weights is None


def test_progress_rises_to_the_whole():
    told = []
    inspect(make_call(queries=40), InspectOptions(block_rows=2), lambda done, total: told.append((done, total)))
    assert len(told) > 2
    assert all(one[0] < two[0] for one, two in itertools.pairwise(told))
    assert {total for _, total in told} == {told[-1][0]}


def test_nothing_is_recorded_for_gradients():
    call = make_call()
    call.q.requires_grad_()
    result = inspect(call, InspectOptions(weights=True))
    assert not result.output.requires_grad
    assert not result.weights.requires_grad
    result.output.add_(1)  # results are ordinary tensors


def test_inputs_are_left_as_they_were():
    call = make_call(kv_heads=2, valid_lens=torch.tensor([0, 5]))
    before = [x.clone() for x in (call.q, call.k, call.v)]
    inspect(call)
    assert all(torch.equal(x, y) for x, y in zip(before, (call.q, call.k, call.v), strict=True))


SAMPLE = Path(__file__).parents[2] / "sample_inputs" / "minilm.safetensors"


@pytest.fixture(scope="module")
def minilm():
    """What a real model's heads did: all-MiniLM-L6-v2, which knows its sentence by [CLS]."""
    with safe_open(SAMPLE, "pt") as file:
        lens = file.get_tensor("valid_lens").long()
        results = []
        for layer in range(6):
            q, k, v = (file.get_tensor(f"layers.{layer}.{name}") for name in "qkv")
            mask = MaskRule(k.shape[2], aligned_places(q.shape[2], k.shape[2]), valid_lens=lens)
            results.append(inspect(AttentionInputs(q, k, v, Rules(mask), CallIndex.whole(*q.shape[:3]))))
    return results


def test_a_real_model_has_the_heads_it_is_known_for(minilm):
    """BERT and its kin have previous-token and next-token heads in early layers, and rest on [CLS] in the middle."""
    assert {item[2] for item in minilm[0].labels} == {"previous-token"}
    assert "next-token" in {item[8] for item in minilm[1].labels}
    middle = [label for layer in minilm[1:5] for item in layer.labels for label in item]
    assert middle.count("sink") > len(middle) / 2
    assert "broken" not in middle
    assert all(layer.findings == () for layer in minilm)


def test_the_registry_can_be_extended_by_one_object(monkeypatch):
    """What CONTRIBUTING promises: a metric is one object."""
    from attn_cli.inspection import inspector
    from attn_cli.inspection.metrics import Metric

    def on_key_1(rows):
        return rows.first_keys[..., 1], rows.has_visible

    second = Metric("second", "share", "Mean weight on key 1.", "test", on_key_1)
    monkeypatch.setattr(inspector, "METRICS", (*METRICS, second))
    call = make_call()
    expected = textbook.attend(call).weights[..., 1].mean(dim=-1)
    torch.testing.assert_close(inspect(call).metrics["second"], expected)
