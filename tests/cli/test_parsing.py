"""Option values that are more than a word or a number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attn_cli.commands.parsing import (
    parse_align,
    parse_names,
    parse_selection,
    parse_share,
    parse_sizes,
    parse_valid_lens,
    parse_window,
    parse_zoom,
)
from attn_cli.errors import UsageError
from attn_cli.inspection.options import Zoom


@given(st.lists(st.integers(0, 500), min_size=1, max_size=20))
def test_a_list_of_numbers_is_read_back(numbers):
    assert parse_selection("--head", ",".join(map(str, numbers))) == tuple(dict.fromkeys(numbers))


@given(st.integers(0, 300), st.integers(0, 50))
def test_a_range_holds_both_ends(first, length):
    assert parse_selection("--head", f"{first}-{first + length}") == tuple(range(first, first + length + 1))


@pytest.mark.parametrize("text", ["", "a", "1,,2", "3-1", "-1", "1-2-3", "1.5", "٣x", "0-99999999999"])
def test_what_is_no_selection_is_refused(text):
    with pytest.raises(UsageError, match="--head"):
        parse_selection("--head", text)


@pytest.mark.parametrize(
    ("text", "lens"),
    [
        ("3,2", (3, 2)),
        ("3", (3,)),
        ("1,2;2,2", ((1, 2), (2, 2))),
        ("1,2;", ((1, 2),)),
        (" 3 , 2 ", (3, 2)),
        (None, None),
    ],
)
def test_valid_lengths(text, lens):
    assert parse_valid_lens(text) == lens


@pytest.mark.parametrize("text", ["", "3,", "-1", "1.5", "x", "1,2;3", ";"])
def test_what_are_no_valid_lengths_is_refused(text):
    with pytest.raises(UsageError, match="--valid-lens"):
        parse_valid_lens(text)


@pytest.mark.parametrize(
    ("text", "window"), [("4", (4, 4)), ("4,0", (4, 0)), ("-1,2", (-1, 2)), ("0", (0, 0)), (None, None)]
)
def test_windows(text, window):
    assert parse_window(text) == window


@pytest.mark.parametrize("text", ["", "x", "1,2,3", "-5", "1,-2", "1.5"])
def test_what_is_no_window_is_refused(text):
    with pytest.raises(UsageError, match="--window"):
        parse_window(text)


def test_alignments():
    assert [parse_align(text) for text in ("bottom-right", "top-left", "-3", None)] == [
        "bottom-right", "top-left", -3, None
    ]  # fmt: skip
    with pytest.raises(UsageError, match="--causal-align"):
        parse_align("left")


@pytest.mark.parametrize(
    ("text", "zoom"),
    [
        ("0:50,100:150", Zoom(0, 50, 100, 150)),
        (":100,50:", Zoom(0, 100, 50, None)),
        (":,:", Zoom()),
        (" 3 : 4 ,\t7 : 9 ", Zoom(3, 4, 7, 9)),
        (None, None),
    ],
)
def test_zooms(text, zoom):
    assert parse_zoom(text) == zoom


@given(st.builds(Zoom, st.integers(0, 9), st.none() | st.integers(10, 99), st.integers(0, 9), st.integers(10, 99)))
def test_a_zoom_is_written_as_it_is_read(zoom):
    assert parse_zoom(str(zoom)) == zoom


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "1 range"),
        ("0:50", "1 range"),
        ("0:5,0:5,0:5", "3 ranges"),
        ("0:5,7", "'7'"),
        ("0-5,0:5", "'0-5'"),
        ("-1:5,0:5", "'-1:5'"),
        ("0:5,1:2:3", "'1:2:3'"),
        ("0:1.5,:", "'0:1.5'"),
        ("٣:٤,:", "'٣:٤'"),
        (f"{'9' * 5000}:,:", "a number of 5000 digits"),
        ("5:5,:", "'5:5', which is empty"),
        (":,6:5", "'6:5', which is empty"),
        (":0,:", "':0', which is empty"),
    ],
)
def test_what_is_no_zoom_is_refused(text, found):
    with pytest.raises(UsageError, match="--zoom") as refused:
        parse_zoom(text)
    assert f"found {found}" in refused.value.message
    assert "expected" in refused.value.message


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=8))
def test_sizes_are_read_back_in_their_order(sizes):
    assert parse_sizes("--seq", ", ".join(map(str, sizes))) == tuple(dict.fromkeys(sizes))


@pytest.mark.parametrize("text", ["", "0", "1,,2", "1-3", "-1", "x", "1.5", "9" * 20])
def test_what_is_no_list_of_sizes_is_refused(text):
    with pytest.raises(UsageError, match="--seq"):
        parse_sizes("--seq", text)


def test_names_are_known_ones_and_a_near_one_is_a_hint():
    assert parse_names("--backend", "sdpa, math,sdpa", ("math", "sdpa")) == ("sdpa", "math")
    with pytest.raises(UsageError, match="'spda'") as caught:
        parse_names("--backend", "math,spda", ("math", "sdpa"))
    assert caught.value.hint == "did you mean sdpa?"


@pytest.mark.parametrize(
    ("text", "share"), [("5%", 0.05), ("0.05", 0.05), (" 12.5 % ", 0.125), ("0", 0.0), ("0%", 0.0)]
)
def test_a_percentage_and_a_fraction_are_the_same(text, share):
    assert parse_share("--fail-on-regression", text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["5", "100%", "-1%", "nan", "inf%", "x", "%", ""])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(UsageError, match="such as 5%"):
        parse_share("--fail-on-regression", text)


def test_what_was_not_asked_for_stays_unasked():
    assert parse_sizes("--seq", None) is parse_names("--dtype", None, ()) is parse_share("--x", None) is None
