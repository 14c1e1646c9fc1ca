"""A benchmark as a figure."""

from dataclasses import replace

import numpy as np
import pytest

from attn_cli.benchmark.types import Peaks
from attn_cli.errors import ResourceError
from attn_cli.reporters.figures import SINGLE
from tests.reporters.bench_results import EMPTY, FULL, GPU, INTERRUPTED
from tests.reporters.figures.drawn import drawn_bench, ticks


def panels(shown, ylabel=""):
    return [axes for axes in shown.figure.axes if axes.get_ylabel() == ylabel]


@pytest.mark.parametrize("width", [SINGLE, 7.2])
def test_growth_shows_every_measured_point(width):
    time, memory = panels(drawn_bench(FULL, width))
    for axes, values_of in ((time, lambda one: one.median_ms), (memory, lambda one: one.memory_bytes)):
        points = {tuple(map(tuple, line.get_xydata())) for line in axes.lines if line.get_linestyle() == "None"}
        wanted = {
            tuple((length, value) for length, value in zip(one.lengths, values_of(one), strict=True) if value)
            for one in FULL.growth
        }
        assert points == {points for points in wanted if len(points) > 1}
        assert (axes.get_xscale(), axes.get_yscale(), axes.get_xlabel()) == ("log", "log", "keys")
        assert ticks(axes, "x") == ["512", "1024", "2048"]


def test_the_dashed_line_has_the_fitted_exponent_and_the_legend_says_it():
    shown = drawn_bench(FULL)
    dashed = [line for line in panels(shown)[0].lines if line.get_linestyle() == "--"]
    slopes = []
    for line in dashed:
        x, y = np.log(line.get_xdata()), np.log(line.get_ydata())
        slopes.append((y[-1] - y[0]) / (x[-1] - x[0]))
    fitted = [one.time_exponent for one in FULL.growth if sum(value is not None for value in one.median_ms) > 1]
    assert slopes == pytest.approx(fitted)
    for one in FULL.growth:
        assert f"{one.backend} ~ length^{one.time_exponent:.2f}" in shown.texts


@pytest.mark.parametrize("nearly", [1.0, 1 + 2e-16, 1 + 1e-13, 1 + 1e-6])
def test_what_does_not_grow_is_a_level_line_in_the_middle(nearly):
    growth = [
        replace(one, memory_bytes=[4096.0 * nearly**at for at in range(len(one.lengths))], memory_exponent=1e-16)
        for one in FULL.growth
    ]
    memory = panels(drawn_bench(replace(FULL, growth=tuple(growth))))[1]
    low, high = memory.get_ylim()
    assert low < 4096 / 2 < 4096 * 2 < high


def test_the_roof_is_the_measured_peaks():
    (axes,) = panels(drawn_bench(FULL), "FLOP/s")
    roof = next(line for line in axes.lines if line.get_linestyle() == "-")
    x, y = np.asarray(roof.get_xdata()), np.asarray(roof.get_ydata())
    np.testing.assert_allclose(y, np.minimum(95.2e9, x * 12.3e9))
    ridge = 95.2 / 12.3
    assert np.isclose(x, ridge).any()
    said = [text.get_text() for text in axes.texts]
    assert said == ["95.2 GFLOP/s", "12.3 GB/s"]


def test_every_timed_result_is_a_point_below_or_above_the_roof():
    (axes,) = panels(drawn_bench(FULL), "FLOP/s")
    points = [tuple(line.get_xydata()[0]) for line in axes.lines if line.get_linestyle() == "None"]
    timed = [one for one in FULL.results if one.ms is not None]
    assert points == [pytest.approx((one.intensity, one.tflops * 1e12)) for one in timed]
    hollow = [line.get_markerfacecolor() == "white" for line in axes.lines if line.get_linestyle() == "None"]
    assert hollow == [not one.is_quick for one in timed]
    assert True in hollow


def test_without_measured_peaks_there_is_no_roof():
    (axes,) = panels(drawn_bench(replace(FULL, peaks=Peaks({}, None))), "FLOP/s")
    assert not [line for line in axes.lines if line.get_linestyle() == "-"]
    assert axes.lines


def test_where_nothing_grew_there_is_the_roofline_alone():
    shown = drawn_bench(INTERRUPTED)
    assert len(shown.figure.axes) == 1
    assert any("interrupted: not everything was measured" in text for text in shown.texts)


def test_the_caption_names_the_device():
    said = " ".join(drawn_bench(FULL).texts)
    assert "Some Processor · cpu · PyTorch 2.13.0 · 2 threads" in said
    assert drawn_bench(GPU).figure.axes


def test_the_caption_explains_what_is_drawn_and_nothing_else():
    timed = replace(FULL, growth=tuple(replace(one, memory_bytes=(None,) * len(one.lengths)) for one in FULL.growth))
    for report, has_dashes, has_memory in ((FULL, True, True), (timed, True, False), (INTERRUPTED, False, False)):
        said = " ".join(drawn_bench(report).texts)
        assert "median of all runs" in said
        assert ("dashed: the fitted power of the length" in said) == has_dashes
        assert ("memory beyond the inputs" in said) == has_memory


def test_a_report_without_any_time_is_refused():
    with pytest.raises(ResourceError, match="no backend was timed"):
        drawn_bench(EMPTY)
