"""Chromium without a window, driven by Selenium: starts it, opens a page in it, and tells what the page did.

Nothing here knows what is on a page of ours but the mark that it sets when it is drawn.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.support.ui import WebDriverWait

BROWSER, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
    "--disable-extensions", "--hide-scrollbars", "--force-device-scale-factor=1", "--window-size=1280,900",
)  # fmt: skip
CHECKS = Path(__file__).with_name("accessible.js").read_text(encoding="utf-8")
OWN = ("data:", "about:", "chrome:")  # what is in the page, and what is in the browser itself
DRAWN = "return document.documentElement.dataset.ready !== undefined"


def missing() -> str | None:
    """Why no browser can be driven here, or None where one can."""
    absent = [str(path) for path in (BROWSER, DRIVER) if shutil.which(str(path)) is None]
    return f"no {' and no '.join(absent)}: apt-get install chromium chromium-driver" if absent else None


def start(profile: Path) -> Chrome:
    """A new Chromium with an empty profile, at a blank page, that keeps its console and its requests in logs."""
    options = ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options=options, service=Service(str(DRIVER)))  # a service with a path downloads no driver
    chrome.set_script_timeout(60)
    chrome.set_page_load_timeout(60)
    chrome.get("about:blank")
    return chrome


class Browser:
    """One Chromium and the page that is open in it."""

    def __init__(self, chrome: Chrome) -> None:
        self.chrome = chrome

    def open(self, page: Path, fragment: str = "") -> None:
        """Open a page from its file, and wait until it says that it is drawn."""
        self.forget()
        self.chrome.get("about:blank")  # else a new fragment alone would not load the page anew
        self.forget()
        self.chrome.get(page.as_uri() + (f"#{fragment.removeprefix('#')}" if fragment else ""))
        self.wait(DRAWN)

    def forget(self) -> None:
        """Drop what the logs hold."""
        self.chrome.get_log("browser")
        self.chrome.get_log("performance")

    def complaints(self) -> list[str]:
        """What the console holds of warnings and errors since the page was opened or this was last asked."""
        return [one["message"] for one in self.chrome.get_log("browser") if one["level"] in ("SEVERE", "WARNING")]

    def requests(self) -> list[str]:
        """The addresses that were asked for in that time, but for the page's own and data within it."""
        own = self.chrome.current_url.split("#")[0]
        events = [json.loads(one["message"])["message"] for one in self.chrome.get_log("performance")]
        asked = [
            event["params"].get("request", event["params"])["url"]
            for event in events
            if event["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated")
        ]
        return [url for url in asked if url.split("#")[0] != own and not url.startswith(OWN)]

    def run(self, script: str, *arguments: object):
        """The value of a script's ``return``."""
        return self.chrome.execute_script(script, *arguments)

    def wait(self, script: str, *arguments: object, seconds: float = 60):
        """Run a script until what it returns is true, and give that; a page that never gets there fails the test."""
        waiting = WebDriverWait(self.chrome, seconds, poll_frequency=0.02)
        return waiting.until(lambda _: self.run(script, *arguments), f"never true: {script}")

    def find(self, selector: str):
        """The first element of a selector."""
        return self.chrome.find_element("css selector", selector)

    def all(self, selector: str) -> list:
        """Every element of a selector."""
        return self.chrome.find_elements("css selector", selector)

    def press(self, *keys: str) -> None:
        """Keys to what has the focus, one after the other."""
        for key in keys:
            ActionChains(self.chrome, duration=0).send_keys(key).perform()

    def hover(self, element, x: float, y: float) -> None:
        """The pointer to a place of an element, in CSS pixels from its left upper corner."""
        self.pointer(element, x, y).perform()

    def pointer(self, element, x: float, y: float) -> ActionChains:
        """Actions that begin with the pointer at a place of an element, scrolled into view."""
        place = self._in_window(element, x, y)
        actions = ActionChains(self.chrome, duration=0)
        actions.w3c_actions.pointer_action.move_to_location(*place)
        return actions

    def wheel(self, element, x: float, y: float, down: int) -> None:
        """Turn the wheel over a place of an element; negative is away from the reader."""
        x, y = self._in_window(element, x, y)
        actions = ActionChains(self.chrome, duration=0)
        actions.w3c_actions.wheel_action.scroll(x, y, 0, down)
        actions.perform()

    def drag(self, element, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press at one place of an element, move to another, release."""
        actions = self.pointer(element, *start)
        finger = actions.w3c_actions.pointer_action
        finger.pointer_down()
        for share in (0.25, 0.5, 1):
            here = (begin + share * (stop - begin) for begin, stop in zip(start, end, strict=True))
            finger.move_to_location(*self._in_window(element, *here))
        finger.pointer_up()
        actions.perform()

    def _in_window(self, element, x: float, y: float) -> tuple[int, int]:
        """A place of an element, which is scrolled into view, in the window."""
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        left, top = self.run("const r = arguments[0].getBoundingClientRect(); return [r.left, r.top]", element)
        return round(left + x), round(top + y)

    def barriers(self) -> list[str]:
        """What is wrong with the page for someone who cannot see it well, or at all."""
        tree = self.chrome.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        return [*self.run(CHECKS), *(f"a {_value(node, 'role')} has no name" for node in tree if _is_nameless(node))]

    def size(self, width: int, height: int) -> None:
        """The viewport in CSS pixels; a window cannot be as narrow as a telephone."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def media(self, kind: str = "", **features: str) -> None:
        """Show the page as ``print`` or ``screen``, with media features such as ``prefers_color_scheme="dark"``."""
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": kind, "features": named})

    def usual(self) -> None:
        """The viewport and the media as they were at the start."""
        self.chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.media()


def _is_nameless(node: dict) -> bool:
    """Whether something takes the focus, and the browser has no name for it to be read out."""
    takes_focus = any(one["name"] == "focusable" and one["value"]["value"] for one in node.get("properties", ()))
    is_read = _value(node, "role") in ("RootWebArea", "main", "generic")  # by its text, or not at all
    return takes_focus and not node.get("ignored") and not is_read and not _value(node, "name").strip()


def _value(node: dict, name: str) -> str:
    return str(node.get(name, {}).get("value", ""))
