"""One Chromium for all browser tests of a worker. No test may end with a complaint in its console or a request."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.pages import Pages


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    try:
        from tests.browser import driver
    except ModuleNotFoundError as error:
        pytest.skip(f"no {error.name}: it comes with the extra test")
    why = driver.missing()
    if why is not None:
        pytest.skip(why)
    chrome = driver.start(tmp_path_factory.mktemp("profile"))
    yield driver.Browser(chrome)
    chrome.quit()


@pytest.fixture
def browser(chromium):
    """The browser as at its start. After the test its console must be silent and its network untouched."""
    chromium.usual()
    yield chromium
    requests, complaints = chromium.requests(), chromium.complaints()
    assert requests == []
    assert complaints == []


@pytest.fixture(scope="session")
def pages(tmp_path_factory) -> Pages:
    """The pages that are looked at, each written once when it is first asked for."""
    return Pages(Path(tmp_path_factory.mktemp("pages")))
