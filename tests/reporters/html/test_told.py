"""How much a page tells of what there is much of, and what of a check or a comparison comes first."""

from dataclasses import replace

import pytest

from attn_cli.benchmark.types import Summary
from attn_cli.differences.types import ShownPair
from attn_cli.inspection.types import Finding, Place
from attn_cli.reporters.html.budget import Level
from attn_cli.reporters.html.check_story import check_page
from attn_cli.reporters.html.diff_story import diff_page
from attn_cli.reporters.html.entries import MOST_FINDINGS
from attn_cli.reporters.html.payload import page_payload
from attn_cli.results import RunResult
from tests.attention.calls import make_call
from tests.reporters import check_results, diff_results
from tests.reporters.check_results import make_checked
from tests.reporters.html.pages import call_of
from tests.reporters.results_for_tests import Case

ALL = Level(1, "all")
BUDGET = {"bytes": 1, "kept": True, "note": ""}
TIMES = (0.1, 0.2, 0.4)  # milliseconds


def finding(number):
    return Finding("ATTN001", "error", f"number {number}", Place(batch=0, head=0))


def many_findings(number):
    return tuple(finding(one) for one in range(number))


def payload_of(*calls, level=ALL, story=None):
    return page_payload(RunResult("run", calls), level, BUDGET, story)


@pytest.mark.parametrize(("there", "left_out"), [(MOST_FINDINGS, 0), (MOST_FINDINGS + 7, 7)])
def test_of_very_many_findings_the_first_are_told_and_the_others_counted(there, left_out):
    call = call_of(make_call())
    told = payload_of(replace(call, inspection=replace(call.inspection, findings=many_findings(there))))
    assert [one["message"] for one in told["findings"]] == [f"number {one}" for one in range(MOST_FINDINGS)]
    assert told["findings_left_out"] == left_out


def test_of_very_many_differences_the_first_are_told_and_the_others_counted():
    result = replace(diff_results.result(), findings=tuple((None, one) for one in many_findings(MOST_FINDINGS + 7)))
    told = diff_page(result)[1].told
    assert (len(told["findings"]), told["findings_left_out"]) == (MOST_FINDINGS, 7)


def test_all_weights_stay_where_there_is_room_for_few_windows():
    told = payload_of(call_of(make_call()), level=Level(1, "few"))
    assert told["calls"][0]["exact_kind"] == "all"
    assert told["calls"][0]["heads"][0]["exact"] is not None


def checked(*findings, **of):
    call = make_checked(*findings, **of)
    case = Case(layer=call.call.layer, source=call.call.source, prefix=call.call.prefix)
    shown = call_of(make_call(2, 2, queries=4, keys=6), case=case)
    return replace(call, shown=replace(shown, call=call.call))


@pytest.mark.parametrize(("sources", "is_ranked"), [(("a.npz", "a.npz"), True), (("a.npz", "b.npz"), False)])
def test_heads_of_several_files_are_not_ranked_with_each_other(sources, is_ranked):
    calls = [checked(source=source, layer=layer, prefix=f"l.{layer}") for layer, source in enumerate(sources)]
    _, story = check_page(check_results.CheckResult(tuple(calls), check_results.RULES))
    assert story.is_one_run == is_ranked


def test_calls_whose_layer_is_not_theirs_alone_go_by_their_prefix():
    prefixes = (("l.0.self", 0), ("l.0.cross", 0), ("l.1", 1))
    calls = [checked(layer=layer, prefix=prefix) for prefix, layer in prefixes]
    _, story = check_page(check_results.CheckResult(tuple(calls), check_results.RULES))
    assert [words.name for words in story.words] == ["l.0.self", "l.0.cross", "layer 1"]
    assert [words.mark for words in story.words] == ["l.0.self", "l.0.cross", "L1"]


def test_tensors_that_differ_come_first():
    same, other = diff_results.tensor("lse"), diff_results.PERTURBED
    told = diff_page(diff_results.result(tensors=(same, other), is_one_input=False))[1].told["diff"]["tensors"]
    assert [(one["name"], one["within"]) for one in told] == [("weights", False), ("lse", True)]


@pytest.mark.parametrize("requested", ["recorded", "textbook"])
def test_what_was_recorded_ran_in_no_kernel_here(requested):
    ran = replace(diff_results.SDPA, ran=requested, requested=requested)
    shown = call_of(make_call())
    call = replace(diff_results.call(diff_results.SAME), right_ran=ran, shown=ShownPair(shown, shown))
    run, story = diff_page(diff_results.result(calls=(call,)))
    left, right = payload_of(*run.calls, story=story)["calls"]
    assert left["verification"]["holds"]
    assert left["timing"]
    is_recorded = requested == "recorded"
    assert (right["verification"] is None) == is_recorded
    assert (not right["timing"]) == is_recorded


def test_the_quartiles_of_a_benchmarks_times_are_those_of_its_samples():
    summary = Summary(TIMES, 0.2, 0.15, 0.1)
    assert summary.quartiles == pytest.approx((0.15, 0.3))
    assert summary.max == 0.4
