"""What the page tells of a weight is what ``attn run --json --weights`` says of it."""

import json
import math
import random

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from tests.browser.view import View
from tests.cli.process import MINILM

DATA = "JSON.parse(document.getElementById('attn-data').textContent)"


def test_exact_weights_and_logits_of_the_real_capture(browser, pages):
    shown, draw = pages.minilm(), random.Random(3)
    tensors = load_file(MINILM)
    with safe_open(MINILM, "numpy") as file:
        tokens = json.loads(file.metadata()["tokens"])
    for _ in range(6):
        layer, batch, head = draw.randrange(6), draw.randrange(2), draw.randrange(12)
        view = View(browser, shown).open(call=layer, batch=batch, head=head, q=0, k=0)
        weights = np.array(shown.data["weights"][layer]["values"][batch][head])
        q, k = (tensors[f"layers.{layer}.{name}"][batch, head].astype(np.float64) for name in "qk")
        logits = q @ k.T / math.sqrt(q.shape[1])
        for _ in range(3):
            row, key = draw.randrange(18), draw.randrange(18)
            told = view.point(row, key)
            if told.kind == "masked":
                assert weights[row, key] == 0 == told.weight
                continue
            assert told.kind == "exact"
            assert np.float32(told.weight) == np.float32(weights[row, key])
            assert told.logit == pytest.approx(logits[row, key], abs=2e-4)
            assert told.pair == f"query {row} {tokens[batch][row]} → key {key} {tokens[batch][key]}"


def test_pooled_weights_are_the_largest_of_their_block(browser, pages):
    shown, draw = pages.long(), random.Random(5)
    weights = np.array(shown.data["weights"])[0]
    size = weights.shape[1:]
    pooled = 0
    for head in (0, 1):
        view = View(browser, shown).open(head=head, q=0, k=0)
        for _ in range(8):
            row, key = draw.randrange(size[0]), draw.randrange(size[1])
            told = view.point(row, key)
            (first, behind), (first_key, behind_key) = ends(told.pair, "quer"), ends(told.pair, "key")
            block = weights[head, first:behind, first_key:behind_key]
            if told.is_exact:
                assert np.float32(told.weight) == np.float32(block.max())
                continue
            pooled += 1
            assert f"largest of {behind - first} × {behind_key - first_key}" in told.how
            assert abs(253 * math.sqrt(told.weight) - 253 * math.sqrt(block.max())) <= 0.51
    assert pooled >= 8


def test_the_framed_windows_of_a_pooled_head_are_exact(browser, pages):
    shown, draw = pages.long(), random.Random(11)
    weights = np.array(shown.data["weights"])[0, 1]
    view = View(browser, shown).open(head=1)
    windows = browser.run(
        "return JSON.parse(document.getElementById('attn-data').textContent).calls[0].heads[1].windows"
    )
    assert {one["kind"] for one in windows} >= {"pair", "first", "last"}
    for one in windows:
        row, key = one["query"] + draw.randrange(one["rows"]), one["key"] + draw.randrange(one["columns"])
        told = view.open(head=1, q=row, k=key).told()
        assert (told.kind, told.row, told.key) == ("exact", row, key)
        assert np.float32(told.weight) == np.float32(weights[row, key])


def test_the_strongest_pair_is_gone_to_by_a_click(browser, pages):
    shown = pages.long()
    weights = np.array(shown.data["weights"])[0, 1]
    view = View(browser, shown).open(head=1, q=0, k=0)
    browser.find("button.pair").click()
    told = view.told()
    assert (told.row, told.key) == np.unravel_index(weights.argmax(), weights.shape)
    assert told.kind == "exact"
    assert np.float32(told.weight) == np.float32(weights.max())
    box = view.picture()
    assert box["shownRows"] < 100
    assert box["firstRow"] < told.row < box["firstRow"] + box["shownRows"]
    assert browser.find("#row-title").text == f"Weights of query {told.row}"


@pytest.mark.parametrize("name", ["gqa", "odd", "half"])
def test_random_cells_of_every_kind_of_call(browser, pages, name):
    """Grouped queries; cross-attention with sinks, masks and NaN; bfloat16, bottom-right causal and pooled."""
    shown, draw = getattr(pages, name)(), random.Random(17)
    weights = np.array(shown.data["weights"], dtype=float)[0]  # null is NaN
    heads, queries, keys = weights.shape
    kinds = []
    for head in range(heads):
        view = View(browser, shown).open(head=head, q=0, k=0)
        for _ in range(6):
            row, key = draw.randrange(queries), draw.randrange(keys)
            told = view.point(row, key)
            (first, behind), (first_key, behind_key) = ends(told.pair, "quer"), ends(told.pair, "key")
            assert first <= row < behind
            assert first_key <= key < behind_key
            block = weights[head, first:behind, first_key:behind_key]
            kinds.append(told.kind)
            if told.kind == "masked":
                assert not block.any()
            elif told.kind == "nan":
                assert np.isnan(block).any()
            elif told.is_exact:
                assert block.size == 1
                assert np.float32(told.weight) == np.float32(block.max())
            else:
                assert abs(253 * math.sqrt(told.weight) - 253 * math.sqrt(block.max())) <= 0.51
    assert set(kinds) >= {"masked", "pooled" if name == "half" else "exact"}


def test_a_masked_key_of_a_broken_row_claims_no_weight(browser, pages):
    shown = pages.odd()
    told = View(browser, shown).open(head=2, q=4, k=8).told()
    assert shown.data["weights"][0][2][4][8] is None
    assert told.kind == "masked"
    assert math.isnan(told.weight)
    assert told.words == "masked; the row is broken"


def test_every_listed_pair_is_exact_also_outside_of_the_windows(browser, pages):
    shown = pages.half()
    weights = np.array(shown.data["weights"])[0, 2]
    View(browser, shown).open(head=2, q=0, k=0)
    order = np.argsort(weights, axis=None, kind="stable")[::-1]
    pairs = browser.all("button[data-pair]")
    assert len(pairs) == 20
    for button in pairs[::3]:
        button.click()
        told = View(browser, shown).told()
        assert told.is_exact
        assert np.float32(told.weight) == np.float32(weights[told.row, told.key])
        assert weights[told.row, told.key] >= weights.flat[order[19]]


def test_a_head_says_which_key_and_value_head_it_reads(browser, pages):
    View(browser, pages.gqa()).open(head=4)
    assert browser.find("#opened-reads").text == "reads key/value head 1"
    View(browser, pages.odd()).open(head=1)
    assert browser.all("#opened-reads") == []


def ends(pair, noun):
    """The numbers ``(first, behind)`` of ``queries 4–7 → keys 12–15``."""
    words = next(part for part in pair.replace(",", "").split("→") if noun in part).split()[1]
    numbers = [int(number) for number in words.split("–")]
    return numbers[0], numbers[-1] + 1


def test_the_caption_says_what_is_pooled(browser, pages):
    View(browser, pages.long()).open(head=0)
    assert "max-pooled" in browser.find("figure[data-figure=first]").text
    View(browser, pages.minilm()).open(head=0)
    assert "one cell is one weight" in browser.find("figure[data-figure=first]").text


def test_the_metrics_are_the_reports(browser, pages):
    shown = pages.minilm()
    View(browser, shown).open(call=2, batch=0, head=7)
    rows = browser.all("tr[data-metric]")
    assert len(rows) > 8
    for row in rows:
        told = float(row.find_element("css selector", "td").get_attribute("data-value"))
        assert told == pytest.approx(shown.head(2, 0, 7)[row.get_attribute("data-metric")], rel=1e-5)
