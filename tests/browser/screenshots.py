"""Makes the README's pictures: `python -m tests.browser.screenshots`."""

from __future__ import annotations

import sys
from pathlib import Path

from fastapi import FastAPI
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from ai21_chains import Emulator, create_grounded_qa_chain
from ai21_chains.serving import ChainConfig, Deployment, ServerConfig, add_ai21_routes, create_app
from tests.browser.chromium import ask_playground, chromium, resize, save
from tests.serving.apps import model_on, serving

IMAGES = Path(".github/images")
QUESTION = "When does the museum open on Sundays?"
TEXT = (
    "The Harbour Museum is open from Tuesday to Saturday, 10 am to 6 pm. On Sundays it opens at "
    "noon and closes at 5 pm. Dogs must stay outside."
)


def page(browser: Chrome) -> None:
    """Ask on the server's own page."""
    config = ServerConfig(
        deployments=(Deployment(name="jamba-mini", model="jamba-mini"),),
        chains=(ChainConfig(name="grounded_qa", kind="grounded_qa"),),
        emulator=Emulator(),
    )
    resize(browser, 1100, 916)
    wait = WebDriverWait(browser, 20)
    with serving(create_app(config), lifespan="on") as url:
        browser.get(f"{url}/")
        wait.until(lambda _: browser.find_element(By.ID, "example").is_displayed())
        browser.find_element(By.ID, "example").click()
        browser.find_element(By.ID, "send").click()
        wait.until(lambda _: browser.find_elements(By.ID, "mark-1"))
        browser.find_element(By.ID, "mark-1").click()
        browser.execute_script("scrollTo(0, 0)")
        save(browser, IMAGES / "page.png")


def playground(browser: Chrome) -> None:
    """Ask on LangServe's page."""
    app = FastAPI()
    chain = create_grounded_qa_chain(model_on(Emulator()))
    add_ai21_routes(app, chain, path="/qa", playground=True)
    resize(browser, 1100, 850)
    with serving(app) as url:
        browser.get(f"{url}/qa/playground/")
        ask_playground(browser, QUESTION, [TEXT])
        # Its title has an emoji, for which not every machine has a font.
        browser.execute_script("document.querySelector('h1 strong').textContent = 'LangServe'")
        save(browser, IMAGES / "playground.png")


def main() -> int:
    """Make both."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        page(browser)
        playground(browser)
    return 0


if __name__ == "__main__":
    sys.exit(main())
