"""The page of a benchmark as its reader meets it."""

from dataclasses import replace

import pytest
from selenium.webdriver.common.keys import Keys

from attn_cli.benchmark.statistics import summarize
from attn_cli.reporters.html.bench import write_bench_page
from attn_cli.reporters.json_report import bench_document
from tests.browser.tabbing import tab_reaches_everything
from tests.browser.test_opening import SCREENS
from tests.reporters.bench_results import EMPTY, FULL, REPORTS, result
from tests.reporters.html.bench_pages import HOSTILE, report_saying

RAMP = tuple(float(number) for number in range(1, 13))  # milliseconds: slower and slower
OUTLIERS = (*(1 + number / 100 for number in range(20)), 50.0, 60.0)
SAMPLED = replace(EMPTY, results=tuple(replace(result("sdpa", 1.0), ms=summarize(one)) for one in (RAMP, OUTLIERS)))
EVERY = {**REPORTS, "bench-hostile": report_saying(HOSTILE), "bench-sampled": SAMPLED}
COLUMNS = {
    "tflops": "tflops", "bytes_per_s": "bytes_per_s", "intensity": "intensity", "share_of_peak": "share_of_peak",
    "peak_memory_bytes": "peak_memory_bytes", "max_abs_error": "max_abs_error", "first_ms": "first_ms",
}  # fmt: skip
SHOWN = "return [...document.querySelectorAll('#rows tr[data-result]')].map((row) => Number(row.dataset.result))"
VALUES = """return [...document.querySelectorAll("#rows tr.timed")].map((row) => Object.fromEntries(
    [["at", row.dataset.result], ...[...row.querySelectorAll("[data-value]")].map(
        (one) => [one.dataset.column, one.dataset.value])]))"""
EXPONENTS = """return [...document.querySelectorAll("[data-growth=time] [data-exponent]")].map(
    (one) => Number(one.dataset.exponent))"""


@pytest.fixture(scope="module")
def bench_pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench-pages")
    for name, report in EVERY.items():
        write_bench_page(report, str(folder / f"{name}.html"))
    return {name: folder / f"{name}.html" for name in EVERY}


@pytest.fixture
def full(browser, bench_pages):
    browser.open(bench_pages["bench"])
    return browser


def settle(browser):
    browser.run(
        "return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
    )


@pytest.mark.parametrize("name", EVERY)
def test_everyone_can_read_it_on_any_screen(browser, bench_pages, name):
    for scheme, (width, height) in zip(("light", "dark", "light"), SCREENS.values(), strict=True):
        browser.media(prefers_color_scheme=scheme)
        browser.size(width, height)
        browser.open(bench_pages[name], "result=1")
        settle(browser)
        assert not browser.find("#trouble").is_displayed()
        assert browser.run("return document.documentElement.scrollWidth") <= width
        assert browser.barriers() == []


def test_its_numbers_are_those_of_the_json(full):
    results = bench_document(FULL)["data"]["results"]
    rows = full.run(VALUES)
    assert len(rows) == sum(one["ms"] is not None for one in results)
    for row in rows:
        result = results[int(row["at"])]
        assert float(row["median"]) == result["ms"]["median"]
        assert float(row["iqr"]) == result["ms"]["iqr"]
        for column, name in COLUMNS.items():
            assert (float(row[column]) if row[column] else None) == result[name], column
    assert full.run(EXPONENTS) == [growth.time_exponent for growth in FULL.growth]


def by_median(indices, sign=1):
    timed = [at for at in indices if FULL.results[at].ms is not None]
    return sorted(timed, key=lambda at: sign * FULL.results[at].ms.median)


def test_a_column_sorts_by_the_mouse_and_by_the_keyboard(full):
    asked = full.run(SHOWN)
    assert asked == list(range(len(FULL.results)))
    header = full.find("th[data-column=median]")
    full.find("[data-sort=median]").click()
    assert header.get_attribute("aria-sort") == "ascending"
    shown = full.run(SHOWN)
    assert shown[: len(by_median(asked))] == by_median(asked)
    assert all(FULL.results[at].ms is None for at in shown[len(by_median(asked)) :])
    full.press(Keys.ENTER)
    assert header.get_attribute("aria-sort") == "descending"
    assert full.run(SHOWN)[: len(by_median(asked))] == by_median(asked, -1)
    full.press(Keys.SPACE)
    assert header.get_attribute("aria-sort") == "none"
    assert full.run(SHOWN) == asked


def test_filters_leave_what_they_say(full):
    full.find("#filter-backend option[value=sdpa]").click()
    assert [FULL.results[at].backend for at in full.run(SHOWN)] == ["sdpa"] * 3
    assert full.find("#shown-count").text == "3 of 24 results"
    assert full.run("return [...document.querySelectorAll('#growth tbody tr')].map((row) => row.dataset.backend)") == [
        "sdpa",
        "sdpa",
    ]
    full.find("#filter-status option[value=refused]").click()
    assert full.run(SHOWN) == []
    full.find("#clear").click()
    assert len(full.run(SHOWN)) == 24


def test_a_result_opens_with_every_sample(full):
    full.find("[data-open='1']").send_keys(Keys.ENTER)
    settle(full)
    assert full.find("[data-open='1']").get_attribute("aria-expanded") == "true"
    assert full.find("#detail").is_displayed()
    count = len(FULL.results[1].ms.samples)
    for drawn in ("samples-histogram", "samples-in-time"):
        assert len(full.all(f"#detail .{drawn} .sample")) == count
    assert "2.31 ms" in full.find("#detail .facts").text
    assert "4 runs" in full.find("#detail figcaption").text
    full.find("[data-open='1']").send_keys(Keys.ENTER)
    assert full.all("#detail") == []


def test_a_wrong_one_is_marked_and_never_the_quickest(full):
    wrong = full.find("tr[data-backend=flex][data-status=wrong]")
    assert "wrong" in wrong.text
    assert "✗" in wrong.text
    assert "line-through" in wrong.find_element("css selector", "[data-column=median]").value_of_css_property(
        "text-decoration"
    )
    assert (
        full.run("return [...document.querySelectorAll('.best')].map((one) => one.closest('tr').dataset.backend)")
        == ["flash"] * 3
    )
    assert "beyond the tolerance" in full.find("tr.reason").text
    assert "PyTorch has the efficient kernel on CUDA alone" in full.find("tr[data-backend=efficient]").text


def test_points_of_a_chart_are_reached_by_the_keyboard_and_open_their_result(full):
    full.find("#roofline .drawing").send_keys(Keys.END)
    told = full.find("#tip").text
    assert "FLOPs a byte" in told
    backend = told.splitlines()[0]
    full.press(Keys.ENTER)
    opened = FULL.results[int(full.find("#detail").get_attribute("data-detail"))]
    assert (opened.backend, opened.case.keys) == (backend, 2048)


def test_a_verdict_has_its_ratio_and_interval(full):
    rows = {row.get_attribute("data-backend"): row.text for row in full.all("#compared tbody tr")}
    assert rows["sdpa"].split("\n")[0].startswith("sdpa")
    for entry in FULL.comparison.entries:
        assert entry.verdict in rows[entry.backend]
        for number in (entry.ratio, entry.low, entry.high):
            assert f"{number:.3f}" in rows[entry.backend]
    assert "flex was right in the baseline and is wrong now" in full.find("#compared .notes").text


def test_what_does_not_fit_says_from_which_length_on(full):
    assert "math does not fit from 2,048 keys on: it would need about 64 GiB" in full.find("#growth .beyond").text
    assert "does not fit" in full.find("[data-growth=memory] tr[data-backend=math]").text


def test_a_link_restores_order_filter_and_the_opened_result(browser, bench_pages):
    browser.open(bench_pages["bench"], "sort=median.descending&status=ok&result=0")
    assert browser.run(SHOWN) == by_median([at for at, one in enumerate(FULL.results) if one.status == "ok"], -1)
    assert browser.find("#detail").get_attribute("data-detail") == "0"
    browser.find("#sections a").click()
    assert browser.find("#detail").is_displayed()
    browser.open(bench_pages["bench"], "sort=__proto__.ascending&backend=nobody&result=999")
    assert len(browser.run(SHOWN)) == 24


def test_a_result_that_is_not_there_is_in_no_link(browser, bench_pages):
    for fragment in ("result=999", "result=-1", "result=constructor"):
        browser.open(bench_pages["bench"], fragment)
        assert browser.all("#detail") == []
        browser.find("[data-sort=median]").click()
        assert browser.wait("return location.hash.includes('sort=') && location.hash") == "#sort=median.ascending"


def test_a_drift_is_the_last_third_against_the_first(browser, bench_pages):
    browser.open(bench_pages["bench-sampled"], "result=0")
    told = browser.find("#detail").text
    assert "first third 2.50 ms, last third 10.5 ms (+320 %)" in told  # medians of 1 to 4 and of 9 to 12


def test_what_lies_far_beyond_the_others_is_marked_at_the_edge(browser, bench_pages):
    browser.open(bench_pages["bench-sampled"], "result=1")
    settle(browser)
    assert "▸ 2 runs beyond the right end" in browser.find("#detail").text
    for drawn in ("samples-histogram", "samples-in-time"):
        box = browser.run(
            f"const r = document.querySelector('.{drawn}').getBoundingClientRect(); return [r.left, r.right]"
        )
        places = browser.run(
            f"return [...document.querySelectorAll('.{drawn} .sample')].map((one) => one.getBoundingClientRect().right)"
        )
        assert len(places) == 20
        assert box[0] < min(places) <= max(places) < box[1]
    marks = (
        "return [...document.querySelectorAll('.samples-in-time text')].filter((one) => one.textContent === '▴').length"
    )
    assert browser.run(marks) == 2


def test_nothing_that_a_text_says_is_done(browser, bench_pages):
    browser.open(bench_pages["bench-hostile"], "result=4")
    settle(browser)
    assert browser.chrome.title.startswith(HOSTILE[0])
    assert browser.all("img") == []
    assert len(browser.all("script")) == 2
    shown = browser.run("return document.body.innerText")
    assert HOSTILE[1] in shown
    assert r"\u202eevil\u202c\x1b[31m\x00" in shown
    assert not set(shown) & set("\u202e\u202c\u2028\x1b\x00")


def test_the_tab_key_reaches_everything_and_shows_where_it_is(browser, bench_pages):
    browser.open(bench_pages["bench-gpu"], "result=0")
    settle(browser)
    tab_reaches_everything(browser)


def test_it_prints_on_paper(browser, bench_pages):
    browser.media("screen", prefers_color_scheme="dark")
    browser.open(bench_pages["bench"], "result=1")
    settle(browser)
    browser.media("print", prefers_color_scheme="dark")
    assert (
        browser.run("return getComputedStyle(document.documentElement).getPropertyValue('--stripe').trim()")
        == "#ffffff"
    )
    printed = browser.chrome.execute_cdp_cmd("Page.printToPDF", {"printBackground": False, "preferCSSPageSize": True})
    assert len(printed["data"]) > 10_000
    browser.size(720, 1000)
    assert browser.run("return document.documentElement.scrollWidth") <= 720
