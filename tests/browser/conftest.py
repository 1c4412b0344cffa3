"""The tests in the browser: collected only where they are asked for, and Chromium is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

WANTED = os.environ.get("AI21_CHAINS_BROWSER") == "1" and shutil.which("chromium")

collect_ignore_glob = [] if WANTED else ["test_*.py"]


@pytest.fixture(scope="session")
def _chromium() -> Iterator[Chrome]:
    from tests.browser.chromium import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(_chromium: Chrome) -> Chrome:
    """The browser as it is at a desk, with nothing in its logs."""
    from tests.browser.chromium import complaints, requested, resize

    resize(_chromium, 1280, 900)
    _chromium.get("about:blank")
    complaints(_chromium)
    requested(_chromium)
    return _chromium
