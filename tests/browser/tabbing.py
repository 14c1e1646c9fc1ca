"""Going through a page with the tab key."""

from selenium.webdriver.common.keys import Keys

FOCUSED = """const at = document.activeElement;
if (!at || at === document.body) return null;
const style = getComputedStyle(at), ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
const box = at.getBoundingClientRect();
const isSeen = box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
window.attnSeen = window.attnSeen || new Set();
const isNew = !window.attnSeen.has(at);
window.attnSeen.add(at);
return {what: at.outerHTML.slice(0, 120), isMarked: ring || style.boxShadow !== "none", isSeen, isNew}"""


def tab_reaches_everything(browser):
    """Whatever can be used is reached from the page's beginning, is in sight then, and shows the focus."""
    seen = 0
    for _ in range(150):
        browser.press(Keys.TAB)
        at = browser.run(FOCUSED)
        if at is None or not at["isNew"]:
            break
        assert at["isMarked"], f"the focus does not show on {at['what']}"
        assert at["isSeen"], f"the focus is out of sight on {at['what']}"
        seen += 1
    reachable = """return [...document.querySelectorAll("a[href], button, select, input, summary, [tabindex]")].filter(
        (one) => one.tabIndex >= 0 && !one.disabled && one.checkVisibility({visibilityProperty: true})).length"""
    assert seen >= browser.run(reachable)
