"""What is exact and what is pooled is said in words that hold for every call of the page."""

import pytest
import torch

from attn_cli.inspection.types import Pictures
from attn_cli.reporters.html.exactness import METRICS_ARE_EXACT, Told, exactness


def told(windows, pool=(1, 1)):
    weights = torch.zeros(1, 1, 2, 2)
    return Told(Pictures(weights, weights == 0, None, *pool), windows)


def said(*calls):
    return " ".join(exactness(calls))


def test_all_weights_are_exact():
    text = said(told({"whole"}), told({"whole"}))
    assert "Every weight in this page is exact" in text
    assert "pooled" not in text
    assert "≈" not in text


@pytest.mark.parametrize(
    ("windows", "places"),
    [
        ({"pair"}, "."),
        ({"pair", "row"}, ", and along the whole row of the strongest pair's query."),
        ({"pair", "first", "last"}, ", at the first queries and keys, and at the last queries and keys."),
    ],
)
def test_the_windows_are_named_by_where_they_lie(windows, places):
    text = said(told(windows, (4, 8)))
    start = "In the framed windows every weight is exact, a 32-bit float: around each head's strongest pair"
    assert f"{start}{places} Everywhere" in text
    assert "Everywhere else a cell shows the largest of 4 × 8 weights (max-pooled)" in text
    assert METRICS_ARE_EXACT in text


def test_nothing_is_exact_but_the_metrics():
    text = said(told(()))
    assert "No weight is exact" in text
    assert "A cell is one weight, rounded" in text
    assert "framed" not in text
    assert METRICS_ARE_EXACT in text


def test_calls_that_differ_are_told_apart():
    text = said(told({"whole"}), told({"pair"}, (2, 2)), told({"pair"}, (3, 5)))
    assert "In 1 of 3 calls every weight is exact" in text
    assert "the largest of up to 3 × 5 weights" in text


def test_what_holds_in_some_calls_alone_is_said_of_those():
    text = said(told({"pair", "row"}, (1, 8)), told({"pair"}, (2, 2)), told({"pair"}, (1, 8)))
    assert "In the framed windows every weight is exact, a 32-bit float: around each head's strongest pair." in text
    assert "Some calls have more of them: along the whole row" in text
    assert "the largest of up to 2 × 8 weights" in text
    text = said(told(()), told({"first"}, (2, 2)))
    assert "Some calls have framed windows of exact weights: at the first queries and keys. Everywhere else a" in text
    assert "In the framed windows every weight" not in text


def test_a_page_without_pictures_says_nothing():
    assert exactness([]) == []
