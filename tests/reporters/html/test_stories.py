"""What a check and a comparison tell a page besides their calls: names, verdicts, rules and numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.reporters.html.diff_story import LEAST, MOST_HEADS, diff_page
from attn_cli.reporters.html.story import CallWords, Story, file_names, with_story
from tests.reporters import diff_results
from tests.reporters.html.pages import codes_of

NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)


@settings(deadline=None, max_examples=60)
@given(st.lists(NAMES, min_size=1, max_size=6))
def test_files_of_different_paths_have_different_names_that_end_their_paths(paths):
    names = file_names(paths)
    for path, name in names.items():
        assert path.endswith(name)
    told = [names[path] for path in dict.fromkeys(paths)]
    clash = {path for path in names for other in names if path != other and other.endswith("/" + path)}
    assert len(set(told)) == len(told) or clash  # a path that ends another has no longer name


def test_a_file_alone_goes_by_its_base_name():
    assert file_names(["/home/someone/secret/q.npz"]) == {"/home/someone/secret/q.npz": "q.npz"}


def test_a_story_stands_in_the_place_of_what_a_run_tells():
    payload = {"calls": [{"name": "x", "timing": [1]}], "findings": ["run's"], "worth": []}
    story = Story("title", (CallWords("A · x", "A", "A", {"timing": []}),), {"findings": ["own"]})
    told = with_story(payload, story)
    assert told["findings"] == ["own"]
    assert told["calls"] == [{"name": "A · x", "mark": "A", "side": "A", "timing": []}]
    with pytest.raises(ValueError, match="argument"):
        with_story({**payload, "calls": []}, story)


def _told(*calls):
    return diff_page(diff_results.result(calls=calls))[1].told["diff"]


def test_the_heads_of_a_comparison_come_worst_first_with_their_worst_values():
    (pair,) = _told(diff_results.call(diff_results.FAR))["pairs"]
    first, second, *others = pair["output"]["heads"]
    assert ((first["batch"], first["head"]), (second["batch"], second["head"])) == ((0, 1), (1, 2))
    assert first["worst"] == [2, 3, "0.5", "0.75"]
    assert (first["differing"], first["first_row"], first["within"]) == (1, 2, False)
    assert all(head["within"] for head in others)
    assert pair["left"] is pair["right"] is None  # no pictures were asked for


def test_the_map_of_a_head_is_where_it_differs_as_shares_of_the_largest_difference():
    (pair,) = _told(diff_results.call(diff_results.FAR))["pairs"]
    shape = pair["output"]["map"]
    assert (shape["rows"], shape["columns"], shape["largest"]) == (4, 6, 0.25)
    first, second, *_ = pair["output"]["heads"]
    expected = np.ones((4, 6), np.uint8)
    expected[2, 3] = 254
    assert codes_of(first["cells"], 4, 6).tolist() == expected.tolist()
    assert codes_of(second["cells"], 4, 6)[0, 5] == 1 + round(253 * 0.25**0.5)


def test_a_value_that_is_finite_in_one_alone_is_marked_in_the_map():
    (pair,) = _told(diff_results.call(diff_results.ODD))["pairs"]
    (head, *_) = pair["output"]["heads"]
    assert (codes_of(head["cells"], 4, 6) == 255).sum() == 2
    assert head["worst"][2:] in (["0.5", "NaN"], ["0.5", "∞"])


def test_of_very_many_heads_the_worst_are_told():
    many = diff_results.compared("output", {(1, 7, 0, 0): 9.0}, heads=MOST_HEADS // 2 + 5, columns=1, queries=1)
    (pair,) = _told(diff_results.call(many))["pairs"]
    assert len(pair["output"]["heads"]) == MOST_HEADS
    assert pair["output"]["left_out"] == 10
    assert (pair["output"]["heads"][0]["batch"], pair["output"]["heads"][0]["head"]) == (1, 7)
    assert sum(head["cells"] is not None for head in pair["output"]["heads"]) >= LEAST


def test_calls_are_named_by_their_layer():
    told = _told(*(diff_results.call(diff_results.SAME, layer=layer) for layer in (0, 3)))
    assert [pair["name"] for pair in told["pairs"]] == ["layer 0", "layer 3"]
    assert told["within"]
    assert told["verdict"] == "2 attention calls: equal within the tolerance"


def test_a_tensors_finding_leads_to_the_call_that_it_belongs_to():
    calls = tuple(diff_results.call(diff_results.SAME, layer=layer) for layer in (0, 3))
    story = diff_page(diff_results.result(calls=calls, tensors=(diff_results.SHAPES,), is_one_input=False))[1]
    (finding,) = story.told["findings"]
    assert (finding["tensor"], finding["call"], finding["severity"]) == ("k", None, "error")
