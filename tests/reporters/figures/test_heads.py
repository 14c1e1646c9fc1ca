"""The heads of one call as a figure."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from attn_cli.attention.selection import Selection
from attn_cli.reporters.figures import SINGLE
from attn_cli.reporters.figures.axis_names import AxisNames
from attn_cli.reporters.figures.grid import Wanted, arrange
from attn_cli.reporters.figures.look import our_style
from tests.reporters.figures.drawn import drawn, ticks, weights_of
from tests.reporters.results_for_tests import Case, make_result

HOSTILE = (
    "$x^2$",
    "\\frac{1}{2}",
    "<b>&amp;",
    "</svg>",
    "שלום",
    "\u202eevil",
    "\x1b[31m",
    "a b",
    "中文",
    "_^{",
    "%d",
    "😀",
)


@pytest.mark.parametrize("width", [SINGLE, 7.2])
def test_each_head_shows_its_weights(width):
    result = make_result(Case(batch=2, heads=3, queries=5, keys=7))
    pictures = result.calls[0].inspection.pictures
    shown = drawn(result, width=width).pictures
    assert len(shown) == 6
    for place, axes in enumerate(shown):
        np.testing.assert_array_equal(weights_of(axes), pictures.weights[place // 3, place % 3].numpy())


def test_hidden_cells_are_clear_over_a_hatch_and_zero_is_not():
    result = make_result(Case(heads=2, queries=6, keys=6, causal=True))
    pictures = result.calls[0].inspection.pictures
    for head, axes in enumerate(drawn(result).pictures):
        hidden = ~pictures.visible[0, head].numpy()
        np.testing.assert_array_equal(np.ma.getmaskarray(axes.images[0].get_array()), hidden)
        assert (pictures.weights[0, head].numpy()[~hidden] == 0).any()
        assert axes.patch.get_hatch()


def test_a_call_without_hidden_cells_has_no_hatch_and_says_nothing_of_it():
    shown = drawn(make_result(Case()))
    assert not any(axes.patch.get_hatch() for axes in shown.pictures)
    assert "no visible key" not in shown.texts
    assert "NaN" not in shown.texts


def test_nan_is_marked_where_it_is():
    result = make_result(Case(heads=2, queries=4, keys=5, broken_head=1))
    shown = drawn(result)
    sound, broken = shown.pictures
    assert len(sound.images) == 1
    red = broken.images[1].get_array()
    np.testing.assert_array_equal(~np.ma.getmaskarray(red), np.arange(4)[:, None] == np.array([[1] * 5]))
    (crosses,) = broken.lines
    assert sorted(zip(*crosses.get_data(), strict=True)) == [(key, 1) for key in range(5)]
    assert "NaN" in shown.texts


def test_all_heads_share_one_scale_from_nought_to_a_round_number_above_the_largest():
    result = make_result(Case(heads=4, queries=8, keys=40))
    largest = float(result.calls[0].inspection.pictures.weights.max())
    norms = [axes.images[0].norm for axes in drawn(result).pictures]
    assert {(norm.vmin, norm.vmax) for norm in norms} == {(0.0, norms[0].vmax)}
    assert largest <= norms[0].vmax < max(2.6 * largest, 0.001)
    assert norms[0](norms[0].vmax / 4) == pytest.approx(0.5)  # the square root of a quarter


def test_the_sink_is_a_column_of_its_own():
    result = make_result(Case(heads=2, has_sinks=True))
    shown = drawn(result)
    sink = result.calls[0].inspection.pictures.sink
    assert len(shown.sinks) == len(shown.pictures) == 2
    for head, axes in enumerate(shown.sinks):
        np.testing.assert_array_equal(weights_of(axes)[:, 0], sink[0, head].numpy())
    assert "sink" in shown.texts


def test_titles_name_the_head_its_label_and_its_metric():
    result = make_result(Case(heads=3, selection=Selection(heads=(4, 7, 9))))
    shown = drawn(result)
    assert {"head 4", "head 7", "head 9", "· previous-token", "· sink", "· mixed"} <= set(shown.texts)
    metrics = result.calls[0].inspection.metrics
    assert f"previous_score {metrics['previous_score'][0, 0]:.2f}" in shown.texts
    assert f"sink_score {metrics['sink_score'][0, 1]:.2f}" in shown.texts


def test_the_metric_that_is_asked_for_is_in_every_title():
    shown = drawn(replace(make_result(Case(heads=3)), metric="confidence"))
    assert sum(text.startswith("confidence ") for text in shown.texts) == 3


def test_the_caption_says_what_is_shown():
    result = make_result(Case(batch=3, heads=17, queries=8, keys=12, layer=3, pool=(2, 4), source="my $file$.npz"))
    said = " ".join(drawn(result).texts)
    assert "my $file$.npz · layer 3" in said
    assert "weights (B, Hq, Sq, Sk) = (3, 17, 8, 12)" in said
    assert "each cell is the largest of 2 × 4 weights" in said
    assert "pictures of batch 0-1 alone" in said


def test_the_caption_tells_no_folder():
    said = " ".join(drawn(make_result(Case(source="/home/someone/secret/q.npz"))).texts)
    assert "q.npz" in said
    assert "secret" not in said


def test_how_many_rows_are_broken_is_a_whole_number():
    result = make_result(Case(batch=1, heads=2))
    for value in (1.0, 7.0, 12.0):
        result.calls[0].inspection.metrics["nonfinite"][0, 1] = value
        assert f"nonfinite {value:.0f}" in drawn(replace(result, metric="nonfinite")).texts


def test_tokens_stand_at_rows_and_columns():
    tokens = tuple(f"t{number}" for number in range(6))
    shown = drawn(make_result(Case(heads=2, queries=6, keys=6, tokens=(tokens,))))
    first, second = shown.pictures
    assert ticks(first, "x") == ticks(second, "x") == ticks(first, "y") == list(tokens)
    assert ticks(second, "y") == []  # the same as the first one's


def test_queries_that_are_no_tokens_go_by_number():
    shown = drawn(make_result(Case(queries=3, keys=4, tokens=(("a", "b", "c", "d"),))))
    assert ticks(shown.pictures[0], "y") == ["0", "1", "2"]
    assert ticks(shown.pictures[0], "x") == ["a", "b", "c", "d"]


def test_where_tokens_do_not_fit_there_are_numbers():
    tokens = (tuple(f"token{number}" for number in range(300)),)
    shown = drawn(make_result(Case(heads=2, queries=300, keys=300, tokens=tokens)))
    assert ticks(shown.pictures[0], "x") == ["0", "100", "200"]


def test_a_number_stands_at_its_own_row_of_a_pooled_picture():
    axes = drawn(make_result(Case(heads=1, queries=40, keys=40, pool=(4, 4)))).pictures[0]
    where = dict(zip(ticks(axes, "y"), axes.get_yticks(), strict=True))
    assert where["0"] == pytest.approx(0.5 / 4 - 0.5)
    assert where["20"] == pytest.approx(20.5 / 4 - 0.5)


def test_hostile_tokens_are_text():
    case = Case(heads=1, queries=12, keys=12, tokens=(HOSTILE,))
    shown = drawn(make_result(case), wanted="svg")
    names = ticks(shown.pictures[0], "x")
    assert names[:5] == ["$x^2$", "\\frac{1}{2}", "<b>&amp;", "</svg>", "שלום"]
    assert names[5:9] == ["\\u202eevil", "\\x1b[31m", "a␣b", "中文"]
    labels = shown.pictures[0].get_xticklabels()
    assert not any(label.get_parse_math() for label in labels)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.text(max_size=12), min_size=4, max_size=4), st.sampled_from(["svg", "png", "pdf"]))
def test_no_token_stops_a_figure(tokens, wanted):
    shown = drawn(make_result(Case(heads=1, queries=4, keys=4, tokens=(tuple(tokens),))), wanted=wanted)
    assert len(ticks(shown.pictures[0], "x")) == 4


def names(count):
    return AxisNames(tuple(map(float, range(count))), tuple(map(str, range(count))))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 130),
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 5),
    st.booleans(),
    st.floats(2.0, 12.0),
)
def test_no_panel_is_outside_the_page(heads, queries, keys, bands, has_sink, width):
    numbers = names(queries), names(keys)
    ratio = min(max(queries / keys, 0.35), 1.6)
    wanted = Wanted(bands, heads, queries, keys, ratio, has_sink, numbers, (numbers,) * bands, bands > 1)
    with our_style("png", width) as look:
        grid = arrange(look, wanted)
    corners = [grid.corner(band, place) for band in range(bands) for place in range(heads)]
    assert len(set(corners)) == bands * heads
    assert grid.width > 0.2
    for left, top in corners:
        assert grid.left <= left
        assert left + grid.panel <= width + 1e-9
        assert top + grid.height < grid.total


def test_pictures_do_not_overlap():
    figure = drawn(make_result(Case(heads=7, batch=2, has_sinks=True))).figure
    boxes = [axes.get_position() for axes in figure.axes]
    for number, one in enumerate(boxes):
        for other in boxes[number + 1 :]:
            apart = one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 <= other.y0 or other.y1 <= one.y0
            assert apart


def test_numbers_below_small_pictures_do_not_run_into_each_other():
    figure = drawn(make_result(Case(heads=30, queries=4, keys=90, pool=(1, 1)))).figure
    renderer = FigureCanvasAgg(figure).get_renderer()
    for axes in figure.axes:
        boxes = [label.get_window_extent(renderer) for label in axes.get_xticklabels() if axes.images]
        assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
