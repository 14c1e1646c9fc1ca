"""The pages of attn check and attn diff open with their verdict, and lead to the heads and cells that it names."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.browser.pages import HOSTILE, NAMED
from tests.browser.test_numbers import ends
from tests.browser.verdict_pages import BROKEN, CHANGED, HEADS, LAYERS, NEGATIVE, SIDE, VerdictPages
from tests.browser.view import View

IN_SIGHT = """const tile = arguments[0], {top, bottom} = tile.getBoundingClientRect();
const middle = document.elementFromPoint(tile.getBoundingClientRect().left + 5, (top + bottom) / 2);
if (tile.contains(middle) && tile.querySelector(".thumb").dataset.drawn) return true;
tile.scrollIntoView({block: "center", behavior: "instant"});"""
EVERY = (
    "clean",
    "faulty",
    "several",
    "changed",
    "backends",
    "recorded",
    "pooled",
    "hostile_check",
    "hostile_diff",
    "tensors",
)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    return VerdictPages(tmp_path_factory.mktemp("verdicts"))


@pytest.mark.parametrize("name", EVERY)
def test_each_opens_silently_fits_every_screen_and_keeps_nobody_out(browser, verdicts, name):
    for scheme, width in (("dark", 400), ("light", 1280)):
        browser.media(prefers_color_scheme=scheme)
        browser.size(width, 900)
        browser.open(getattr(verdicts, name)().path)
        assert browser.find("#verdict").is_displayed()
        assert browser.barriers() == []
        assert browser.run("return document.documentElement.scrollWidth") <= width


def test_a_finding_opens_its_head_and_its_cell(browser, verdicts):
    shown = verdicts.faulty()
    view = View(browser, shown).open()
    assert "2 errors" in browser.find("#verdict").text
    items = browser.all("#findings li[data-code]")
    assert [item.get_attribute("data-code") for item in items] == [one["code"] for one in shown.findings]
    batch, head, key = BROKEN
    items[0].find_element("css selector", "p button").click()
    assert f"layer 1 · head {head}" in view.title
    view.leads_to(call="1", batch=str(batch), head=str(head), k=str(key))
    assert view.told().kind == "nan"


def test_a_findings_rule_is_explained_in_place(browser, verdicts):
    View(browser, verdicts.faulty()).open()
    rule = browser.find("#findings details.rule")
    assert "looks for" not in rule.text
    rule.find_element("css selector", "summary").click()
    for part in ("looks for", "why", "example", "source", "One NaN in K or V"):
        assert part in rule.text


def test_a_clean_check_says_so_with_the_rules_that_ran(browser, verdicts):
    View(browser, verdicts.clean()).open()
    assert "3 calls in 1 file: no findings" in browser.find("#verdict").text
    told = [one.get_attribute("data-rule") for one in browser.all("#rules details.rule")]
    assert told == [rule["code"] for rule in verdicts.clean().data["rules"]]
    assert browser.find("#rules details.rule").is_displayed()
    assert len(browser.all("#tiles .tile")) == LAYERS * HEADS


def test_several_files_are_told_apart(browser, verdicts):
    view = View(browser, verdicts.several()).open()
    assert [one.text for one in browser.all(".file-title")] == ["healthy.safetensors", "faulty.safetensors"]
    assert len(browser.all("#tiles .tile")) == 2 * LAYERS * HEADS
    browser.find("#findings li p button").click()
    assert "faulty.safetensors · layer 1 · head 4" in view.title


def _click_tile(view, selector):
    """What is far below is laid out only when it comes into view, and what is above it may then push it out again."""
    tile = view.browser.find(selector)
    view.browser.wait(IN_SIGHT, tile)
    tile.click()


def _head(shown, layer, batch, head):
    call = next(one for one in shown.data["calls"] if one["layer"] == layer)
    return next(one for one in call["heads"] if (one["batch"], one["head"]) == (batch, head))


def test_the_tables_of_a_difference_are_the_jsons(browser, verdicts):
    shown = verdicts.changed()
    View(browser, shown).open()
    assert "A and B differ" in browser.find("#verdict").text
    told = [row.find_elements("css selector", "td")[1].text for row in browser.all("tr[data-pair-of-calls]")]
    largest = [max(head["max_abs_error"] for head in call["heads"]) for call in shown.data["calls"]]
    assert [float(text.replace("−", "-")) for text in told] == pytest.approx(largest, rel=0.06)
    batch, head, _ = CHANGED
    (row,) = browser.all("#weights-by-head tr[data-head]")  # of the call that differs, the head that does
    numbers = _head(shown, 2, batch, head)["weights"]
    cells = [cell.text for cell in row.find_elements("css selector", "td")]
    assert row.find_element("css selector", "th").text == f"{batch}, {head}"
    assert float(cells[-1]) == pytest.approx(numbers["worst"]["right"], rel=1e-5)
    assert float(cells[-2]) == pytest.approx(numbers["worst"]["left"], rel=1e-5)
    assert cells[-3] == f"{numbers['worst']['query']} → {numbers['worst']['key']}"


def test_a_head_of_a_difference_opens_with_both_sides(browser, verdicts):
    shown = verdicts.changed()
    batch, head, _ = CHANGED
    worst = _head(shown, 2, batch, head)["weights"]["worst"]
    view = View(browser, shown).open()
    browser.find("#weights-by-head tr[data-head] td button").click()
    told = view.told()
    assert (told.row, told.key) == (worst["query"], worst["key"])
    assert told.weight == pytest.approx(worst["left"] - worst["right"], abs=1e-6)
    assert np.float32(view.point(worst["query"], worst["key"], "picture").weight) == pytest.approx(told.weight)
    for name in ("picture", "picture-second", "picture-difference"):
        assert view.picture(name)["width"] > 100
    titles = [one.text for one in browser.all("#stage figcaption")]
    assert [title[:1] for title in titles] == ["A", "B", "A"]
    differing = _head(shown, 2, batch, head)["beyond"]
    assert f"{differing} of 576" in browser.find("#against").text


def test_either_sides_picture_opens_the_pair_and_steps_keep_to_it(browser, verdicts):
    view = View(browser, verdicts.changed()).open()
    _click_tile(view, "#tiles .tile[data-call='5'][data-head='3']:not(.apart)")
    assert "A · layer 2 · head 3" in view.title
    view.leads_to(call="4", **{"with": "5.0.3"})
    browser.press("]")
    view.leads_to(call="4", head="4", **{"with": "5.0.4"})
    browser.press("{")
    view.leads_to(call="2", head="4", **{"with": "3.0.4"})


def test_two_backends_show_one_set_of_weights_and_where_outputs_differ(browser, verdicts):
    shown = verdicts.backends()
    view = View(browser, shown).open()
    assert "A and B agree" in browser.find("#verdict").text
    assert len(browser.all("#tiles .tile:not(.apart)")) == HEADS
    browser.wait("return [...document.querySelectorAll('.tile.apart .thumb')].every((one) => one.dataset.drawn)")
    _click_tile(view, ".tile.apart[data-head='4']")
    assert "head 4" in view.title
    told = browser.find("#against").text
    error = _head(shown, 1, 0, 4)["max_abs_error"]
    assert f"{error:.1e}".replace("e-0", "e−") in told


def test_recorded_weights_stand_beside_those_that_were_computed(browser, verdicts):
    view = View(browser, verdicts.recorded()).open()
    browser.find("#weights-by-head tr[data-head='1'] td button").click()
    told = view.told()
    assert (told.row, told.key) == (2, 3)
    assert told.weight == pytest.approx(-0.25, abs=1e-6)
    assert told.kind == "exact"


def test_a_recorded_weight_below_0_is_told_as_it_is(browser, verdicts):
    shown = verdicts.recorded()
    view = View(browser, shown).open(call=0, head=0, q=4, k=2, **{"with": "1.0.0"})
    told, one = view.point(4, 2, "picture-second"), _head(shown, None, 0, 0)["weights"]["worst"]
    assert (one["query"], one["key"]) == (4, 2)
    assert told.weight == pytest.approx(one["left"] - NEGATIVE, abs=1e-6)
    assert told.kind == "exact"
    assert "B H0: −0.3000000; exact" in told.how
    view.open(call=1, head=0, q=4, k=2)
    assert np.float32(view.told().weight) == np.float32(NEGATIVE)
    assert "below 0" in view.told().how
    assert "1 weight is below 0" in browser.find("#row-words").text


def _weights_of(path):
    q, k = (load_file(path)[name].double() for name in "qk")
    return torch.softmax(q @ k.mT / 4, dim=-1)[0].numpy()


def test_a_pooled_difference_is_the_largest_in_its_cell_and_exact_where_it_is_worst(browser, verdicts):
    shown = verdicts.pooled()
    a, b = (_weights_of(shown.path.with_name(f"{side}-neighbours.safetensors")) for side in "AB")
    view = View(browser, shown).open(call=0, head=1, q=0, k=0, **{"with": "1.0.1"})
    gap = a[1] - b[1]
    row, key = np.unravel_index(np.abs(gap).argmax(), gap.shape)
    browser.find("button[data-worst=weights]").click()
    told = view.told()
    assert (told.row, told.key) == (row, key)
    assert told.kind == "exact"
    assert told.weight == pytest.approx(gap[row, key], abs=1e-5)
    browser.find("#zoom-all").click()
    draw, pooled = np.random.default_rng(2), 0
    for row, key in draw.integers(0, SIDE, (12, 2)):
        told = view.point(int(row), int(key), "picture-difference")
        if told.is_exact:
            continue
        (first, behind), (start, stop) = ends(told.pair, "quer"), ends(told.pair, "key")
        block = gap[first:behind, start:stop]
        assert block.size > 1
        worst = np.abs(block).max()
        assert abs(told.weight) == pytest.approx(worst, abs=(np.sqrt(worst) + 0.01) / 100)
        assert np.abs(block - told.weight).min() == pytest.approx(0, abs=(np.sqrt(worst) + 0.01) / 100)
        assert f"largest difference of {behind - first} × {stop - start}" in told.how
        pooled += 1
    assert pooled > 4
    caption = browser.find("#difference-words").text
    assert "taken before pooling" in caption
    assert "framed window" in caption
    browser.find("#row-chart")
    told = view.point(int(row), int(key), "picture-difference")
    browser.press("x")
    swapped = view.point(int(row), int(key), "picture-difference")
    assert swapped.weight == -told.weight


def test_files_without_attention_are_a_table_of_tensors(browser, verdicts):
    browser.open(verdicts.tensors().path)
    row = browser.find("tr[data-tensor=embedding]")
    assert "12 of 12" in row.text
    assert browser.all(".tile") == []


@pytest.mark.parametrize("name", ["hostile_check", "hostile_diff"])
def test_hostile_names_and_tokens_are_text(browser, verdicts, name):
    shown = getattr(verdicts, name)()
    for fragment in ("", "call=0&head=1&q=0&k=0"):
        browser.open(shown.path, fragment)
        assert browser.chrome.title != "ran"
        assert browser.all("img") == []
        assert len(browser.all("script")) == 2
        text = browser.run("return document.body.innerText")
        assert not set(text) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u200d\x00\x1b")
    assert NAMED in text
    words = browser.run("return [...document.querySelectorAll('#sentence .word')].map((one) => one.textContent)")
    assert words == list(HOSTILE.values())
