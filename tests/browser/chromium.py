"""Chromium without a window, as the tests and the screenshots drive it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-prefers-reduced-motion",  # a page that still scrolls cannot be clicked on
    # Whatever a page asks for outside of this machine is not found.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@contextmanager
def chromium() -> Iterator[Chrome]:
    """Start the browser with a profile of its own."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert binary, "chromium is not installed"
    assert driver, "chromedriver is not installed"
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = binary
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        environment = {**os.environ, "NO_PROXY": "127.0.0.1", "HOME": profile}
        browser = Chrome(options, ChromeService(driver, env=environment))
        browser.set_script_timeout(20)
        try:
            yield browser
        finally:
            browser.quit()


def resize(browser: Chrome, width: int, height: int, *, phone: bool = False) -> None:
    """Give the page a size; a window cannot be as narrow as a phone."""
    metrics: dict[str, Any] = {
        "width": width,
        "height": height,
        "deviceScaleFactor": 1,
        "mobile": phone,
    }
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def requested(browser: Chrome) -> list[str]:
    """Return the addresses that pages have asked for since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        one["params"]["request"]["url"]
        for one in messages
        if one["method"] == "Network.requestWillBeSent"
    ]


def complaints(browser: Chrome) -> list[str]:
    """Return what the console says since the last call."""
    return [entry["message"] for entry in browser.get_log("browser")]


def save(browser: Chrome, path: Path) -> None:
    """Write a picture of the page as it stands."""
    path.write_bytes(browser.get_screenshot_as_png())


def ask_playground(browser: Chrome, question: str, documents: Sequence[str]) -> str:
    """Fill in the form of LangServe's page, press Start and return what the page shows then."""
    wait = WebDriverWait(browser, 20, poll_frequency=0.05)
    boxes = "textarea:not([aria-hidden])"

    def fill(number: int, text: str) -> None:
        wait.until(lambda _: len(browser.find_elements(By.CSS_SELECTOR, boxes)) > number)
        browser.find_elements(By.CSS_SELECTOR, boxes)[number].send_keys(text)

    fill(0, question)
    for number, document in enumerate(documents, start=1):
        browser.find_element(By.CSS_SELECTOR, "[aria-label='Add to Documents button']").click()
        fill(number, document)
    (start,) = browser.find_elements(By.XPATH, "//button[contains(., 'Start')]")
    wait.until(lambda _: start.is_enabled())
    start.click()
    body = browser.find_element(By.TAG_NAME, "body")
    wait.until(lambda _: "[1] “" in body.text)
    return body.text
