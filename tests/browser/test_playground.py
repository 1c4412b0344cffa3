"""LangServe's page for a grounded QA chain, in a real browser."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from selenium.webdriver import Chrome

from ai21_chains import Emulator, create_grounded_qa_chain
from ai21_chains.serving import add_ai21_routes
from tests.browser.chromium import ask_playground, complaints, requested
from tests.serving.apps import model_on, serving

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings(
        # LangServe asks instances of pydantic models for their fields,
        "ignore:Accessing the 'model_fields' attribute:pydantic.warnings.PydanticDeprecatedSince211"
    ),
    pytest.mark.filterwarnings(
        # and its page for what LangChain no longer wants to give.
        "ignore:astream_log is deprecated:"
        "langchain_core._api.deprecation.LangChainDeprecationWarning"
    ),
]

QUOTE = "The museum opens at ten."


def test_the_playground_answers_with_quotes(browser: Chrome) -> None:
    app = FastAPI()
    chain = create_grounded_qa_chain(model_on(Emulator()))
    add_ai21_routes(app, chain, path="/qa", playground=True)
    with serving(app) as url:
        browser.get(f"{url}/qa/playground/")
        shown = ask_playground(
            browser, "When does it open?", [f"{QUOTE} No dogs.", "Cats may come."]
        )

        assert f"{QUOTE} [1]\n\n[1] “{QUOTE}” (document 1)" in shown
        assert all(one.startswith(url + "/") for one in requested(browser))
        assert complaints(browser) == []
