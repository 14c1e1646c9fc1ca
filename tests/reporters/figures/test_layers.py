"""Several calls as a figure."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.reporters.figures.drawn import drawn, ticks, weights_of
from tests.reporters.results_for_tests import Case, make_result

LAYERS = [Case(heads=4, queries=6, keys=6, layer=layer, prefix=f"layers.{layer}", batch=2) for layer in range(3)]


def test_every_head_of_every_layer_is_a_picture():
    result = make_result(*LAYERS)
    shown = drawn(result)
    assert len(shown.pictures) == 12
    for place, axes in enumerate(shown.pictures):
        own = result.calls[place // 4].inspection.pictures.weights[0, place % 4].numpy()
        np.testing.assert_array_equal(weights_of(axes), own)
    assert {"layer", "head", "0", "1", "2", "3"} <= set(shown.texts)
    assert any("metrics are plain means over batch items · pictures of batch 0" in text for text in shown.texts)


def test_a_curve_shows_every_head_the_median_and_the_quartiles():
    result = make_result(*LAYERS)
    axes = drawn(result).named("entropy")
    values = np.array([call.inspection.metrics["entropy"].mean(dim=0).tolist() for call in result.calls])
    heads, median = axes.lines
    np.testing.assert_allclose(heads.get_ydata(), values.ravel())
    np.testing.assert_array_equal(heads.get_xdata(), np.repeat([0, 1, 2], 4))
    np.testing.assert_allclose(median.get_ydata(), np.median(values, axis=1))
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    low, high = np.quantile(values, [0.25, 0.75], axis=1)
    for layer in range(3):
        here = corners[corners[:, 0] == layer, 1]
        assert (here.min(), here.max()) == pytest.approx((low[layer], high[layer]))
    assert (axes.get_xlabel(), axes.get_ylabel(), ticks(axes, "x")) == ("layer", "nats", ["0", "1", "2"])


def test_the_metric_that_is_asked_for_is_the_only_curve():
    shown = drawn(replace(make_result(*LAYERS), metric="max_logit"))
    assert [axes.get_title(loc="left") for axes in shown.figure.axes if axes.get_title(loc="left")] == ["max_logit"]
    assert shown.named("max_logit").get_ylabel() == "logit"


def test_a_metric_without_any_value_says_so():
    shown = drawn(replace(make_result(*LAYERS), metric="induction_score"))
    assert "no head has a value" in shown.texts


def test_a_broken_head_leaves_a_gap_and_not_a_number():
    cases = [replace(LAYERS[0], batch=1), replace(LAYERS[1], batch=1, broken_head=2)]
    result = make_result(*cases)
    broken = result.calls[1].inspection
    metrics = {**broken.metrics, "entropy": broken.metrics["entropy"].clone()}
    metrics["entropy"][0, 2] = math.nan
    calls = (result.calls[0], replace(result.calls[1], inspection=replace(broken, metrics=metrics)))
    heads, median = drawn(replace(result, calls=calls)).named("entropy").lines
    assert np.isnan(heads.get_ydata()).tolist() == [False] * 6 + [True, False]
    known = metrics["entropy"][0, [0, 1, 3]].numpy()
    assert median.get_ydata()[1] == pytest.approx(np.median(known))


def test_steps_of_one_module_get_a_line_for_each_head():
    steps = [replace(case, layer=0, prefix=f"steps.{step}.block.attn") for step, case in enumerate(LAYERS)]
    result = make_result(*steps)
    assert len(result.modules) == 1
    axes = drawn(result).named("entropy")
    values = np.array([call.inspection.metrics["entropy"].mean(dim=0).tolist() for call in result.calls])
    for head in range(4):
        np.testing.assert_allclose(axes.lines[head].get_ydata(), values[:, head])
    assert axes.get_xlabel() == "step"


def test_names_that_are_hostile_are_text():
    cases = [Case(prefix="$a_1$"), Case(prefix="\\frac{\x1b[31m")]
    shown = drawn(make_result(*cases))
    assert "$a_1$" in shown.texts
    assert any(text.startswith("\\frac{\\x1b") for text in shown.texts)


def test_too_many_layers_for_a_page_are_curves_alone():
    cases = [Case(heads=2, layer=layer, prefix=f"layers.{layer}") for layer in range(60)]
    shown = drawn(make_result(*cases))
    assert shown.pictures == []
    assert shown.figure.get_figheight() < 4
    assert not any("pictures" in text for text in shown.texts)
