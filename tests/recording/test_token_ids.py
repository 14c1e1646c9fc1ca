"""Token ids followed over the steps of a generation."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attn_cli.recording.token_ids import TokenIds, given_ids


class Toy(nn.Module):
    """Keys are an embedding of the ids, and of the place, as in a model whose cache grows."""

    def __init__(self):
        super().__init__()
        self.table = torch.randn(50, 1, 8, generator=torch.Generator().manual_seed(1))

    def forward(self, x, input_ids=None, mask=None):
        raise AssertionError("is not run")

    def keys(self, ids):
        places = torch.arange(ids.shape[1])[:, None, None]
        return (self.table[ids] * (1 + places)).transpose(1, 2)  # (B, 1, S, D)


def followed(follower, toy, new, cached, path="attention", queries=None):
    return follower.of_keys(toy, (), {"input_ids": new}, path, toy.keys(cached), queries or new.shape[1])


PROMPT = torch.tensor([[3, 9, 4, 9], [5, 5, 8, 1]])
NEXT = torch.tensor([[7], [2]])


def test_new_tokens_come_behind_those_in_the_cache_in_every_layer():
    toy, follower = Toy(), TokenIds()
    for path in ("first", "second"):
        assert torch.equal(followed(follower, toy, PROMPT, PROMPT, path), PROMPT)
    whole = PROMPT
    for step in range(3):
        new = NEXT + step
        whole = torch.cat([whole, new], dim=1)
        found = [followed(follower, toy, new, whole, path) for path in ("first", "second")]
        assert torch.equal(found[0], whole)
        assert found[1] is found[0]


def test_the_same_tensor_given_at_each_step_is_a_new_token_each_time():
    toy, follower = Toy(), TokenIds()
    followed(follower, toy, PROMPT, PROMPT)
    twice = torch.cat([PROMPT, NEXT, NEXT], dim=1)
    assert torch.equal(followed(follower, toy, NEXT, twice[:, :5]), twice[:, :5])
    assert torch.equal(followed(follower, toy, NEXT, twice), twice)


def test_a_new_prompt_begins_anew():
    toy, follower = Toy(), TokenIds()
    followed(follower, toy, PROMPT, PROMPT)
    other = PROMPT.flip(1)
    assert torch.equal(followed(follower, toy, other, other), other)
    whole = torch.cat([other, NEXT], dim=1)
    assert torch.equal(followed(follower, toy, NEXT, whole), whole)


def test_rows_of_a_cache_that_beam_search_reordered_bring_their_ids():
    toy, follower = Toy(), TokenIds()
    followed(follower, toy, PROMPT, PROMPT)
    reordered = torch.cat([PROMPT[[1, 1]], NEXT], dim=1)
    assert torch.equal(followed(follower, toy, NEXT, reordered), reordered)


def test_a_cache_that_was_cut_back_keeps_what_is_left_of_it():
    toy, follower = Toy(), TokenIds()
    followed(follower, toy, PROMPT, PROMPT)
    cut = torch.cat([PROMPT[:, :2], NEXT], dim=1)
    assert torch.equal(followed(follower, toy, NEXT, cut), cut)


def test_what_is_not_certain_is_not_said():
    toy, follower = Toy(), TokenIds()
    whole = torch.cat([PROMPT, NEXT], dim=1)
    assert followed(follower, toy, NEXT, whole) is None  # the prompt was never seen
    followed(follower, toy, PROMPT, PROMPT)
    assert followed(follower, toy, NEXT, whole, queries=3) is None
    other = torch.cat([PROMPT + 1, NEXT], dim=1)
    assert followed(follower, toy, NEXT, other) is None  # another cache
    assert followed(follower, toy, NEXT[:1], whole) is None  # another batch
    assert followed(follower, toy, PROMPT, PROMPT[:, :3]) is None  # fewer keys than tokens
    no_heads = toy.keys(PROMPT)[:, 0]
    assert follower.of_keys(toy, (), {"input_ids": PROMPT}, "attention", no_heads, 4) is None


def test_another_model_has_tokens_of_its_own():
    toy, other, follower = Toy(), Toy(), TokenIds()
    followed(follower, toy, PROMPT, PROMPT)
    assert followed(follower, other, NEXT, torch.cat([PROMPT, NEXT], dim=1)) is None


def test_a_model_that_is_gone_is_forgotten():
    toy, follower = Toy(), TokenIds()
    ids = weakref.ref(followed(follower, toy, PROMPT, PROMPT))
    assert ids() is not None
    del toy
    gc.collect()
    assert ids() is None


def test_the_programs_ids_may_change_afterwards():
    toy, follower = Toy(), TokenIds()
    given = PROMPT.clone()
    found = followed(follower, toy, given, PROMPT)
    given.zero_()
    assert torch.equal(found, PROMPT)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {"input_ids": PROMPT}),
        ((torch.zeros(1), PROMPT), {}),
        (({"input_ids": PROMPT, "mask": None},), {}),
        ((), {"x": {"input_ids": PROMPT}}),
        ((torch.zeros(1), PROMPT.int()), {"mask": None}),
    ],
)
def test_ids_are_found_by_name_by_place_and_in_a_batch(args, kwargs):
    assert torch.equal(given_ids(Toy(), args, kwargs), PROMPT)


def test_what_is_no_ids_is_not_taken_for_them():
    for kwargs in ({"input_ids": PROMPT.float()}, {"input_ids": None}, {"input_ids": [[1, 2]]}, {"inputs": PROMPT}):
        assert given_ids(Toy(), (), kwargs) is None
    assert given_ids(Toy(), (PROMPT,), {}) is None
    assert given_ids(Toy(), (1, 2, 3, 4, 5), {}) is None


def test_ids_that_a_wrapper_hands_on_are_found():
    assert torch.equal(given_ids(nn.DataParallel(Toy()), (torch.zeros(1), PROMPT), {}), PROMPT)


def test_the_keys_of_a_decoder_are_not_the_encoders_tokens():
    toy, follower = Toy(), TokenIds()
    given = {"input_ids": PROMPT, "decoder_input_ids": PROMPT + 1}
    for path, is_known in (
        ("model.encoder.layers.0.self_attn", True),
        ("model.decoder.layers.0.self_attn", False),
        ("model.decoder.layers.0.encoder_attn", False),
    ):
        found = follower.of_keys(toy, (), given, path, toy.keys(PROMPT), 4)
        assert (found is not None) == is_known, path


def small_llama():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=40, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, attn_implementation="sdpa",
        bos_token_id=1, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def heard(monkeypatch, model, run):
    """Keys, queries and followed ids of every attention call while ``run`` runs."""
    follower, calls, given = TokenIds(), [], {}
    original = F.scaled_dot_product_attention

    def hear(q, k, v, *args, **kwargs):
        path = f"layers.{len(calls) % 2}"
        calls.append((k, follower.of_keys(model, given["args"], given["kwargs"], path, k, q.shape[2])))
        return original(q, k, v, *args, **kwargs)

    handle = model.register_forward_pre_hook(
        lambda _, args, kwargs: given.update(args=args, kwargs=kwargs), with_kwargs=True
    )
    with monkeypatch.context() as patched:
        patched.setattr(F, "scaled_dot_product_attention", hear)
        run()
    handle.remove()
    return calls


@pytest.mark.parametrize("beams", [1, 3])
def test_the_ids_of_a_real_generation_give_its_keys_again(monkeypatch, beams):
    model = small_llama()
    prompt = torch.tensor([[5, 8, 13, 21], [34, 2, 3, 5]])

    def generate():
        model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=6, num_beams=beams, do_sample=False
        )

    calls = heard(monkeypatch, model, generate)
    assert len(calls) == 12
    for number, (k, ids) in enumerate(calls):
        assert ids.shape == (k.shape[0], k.shape[2])
        if number % 2:  # a deeper layer's keys depend on all tokens before
            again = heard(monkeypatch, model, lambda ids=ids: model(input_ids=ids, use_cache=False))
            torch.testing.assert_close(again[1][0], k, rtol=1e-4, atol=1e-5)
