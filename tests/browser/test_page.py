"""The page for people, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from ai21_chains import Emulator
from ai21_chains.emulator import Fault, scripted
from ai21_chains.serving import ChainConfig, Deployment, ServerConfig, create_app
from tests.browser.chromium import complaints, requested, resize
from tests.serving.apps import serving

pytestmark = pytest.mark.browser

# The first character is two of JavaScript's: offsets must count characters.
TEXT = "🦭 Dogs must stay outside. The museum opens at ten. Cats may come in."
QUOTE = "The museum opens at ten."


class Page:
    """The page in a browser."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        self.url = url
        self.open()

    def open(self) -> None:
        """Load it, and wait until it has heard from the server."""
        self.browser.get(self.url + "/")
        self.until(lambda: self["main"].is_displayed() or self["key-form"].is_displayed())

    def __getitem__(self, name: str) -> WebElement:
        return self.browser.find_element(By.ID, name)

    def until(self, fact: Callable[[], Any]) -> Any:
        """Wait until something is so."""
        return WebDriverWait(self.browser, 20, poll_frequency=0.05).until(lambda _: fact())

    def all(self, selector: str) -> list[WebElement]:
        """Return the elements that a CSS selector finds."""
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        """Return the texts of the elements that a CSS selector finds."""
        return [one.text for one in self.all(selector)]

    def ask(self, question: str, text: str = "") -> None:
        """Ask, and wait for the end of the answer."""
        self["question"].send_keys(question)
        self.browser.execute_script("document.getElementById('text').value = arguments[0]", text)
        self["send"].click()
        self.until(lambda: self["send"].is_enabled())

    def focused(self) -> str | None:
        """Return the id of what the keyboard speaks to."""
        return self.browser.switch_to.active_element.get_attribute("id")

    def tab_to(self, name: str) -> None:
        """Press the tabulator until an element is reached."""
        for _ in range(30):
            if self.focused() == name:
                return
            self.press(Keys.TAB)
        raise AssertionError(f"{name} cannot be reached with the keyboard")

    def press(self, *keys: str) -> None:
        """Press keys."""
        ActionChains(self.browser).send_keys(*keys).perform()


@contextmanager
def page(browser: Chrome, **settings: Any) -> Iterator[Page]:
    emulator = settings.pop("emulator", None) or Emulator()
    given: dict[str, Any] = {
        "deployments": (Deployment(name="mini", model="jamba-mini", max_retries=0),),
        "chains": (ChainConfig(name="qa", kind="grounded_qa"),),
        **settings,
    }
    with serving(create_app(ServerConfig(emulator=emulator, **given)), lifespan="on") as url:
        yield Page(browser, url)


# --- Asking ----------------------------------------------------------------------------------


def test_it_loads_in_silence_and_asks_nobody_else(browser: Chrome) -> None:
    with page(browser) as here:
        here.ask("When does it open?", TEXT)

        assert {"page.css", "page.js"} <= {one.rpartition("/")[2] for one in requested(browser)}
        here.open()
        assert all(one.startswith(here.url + "/") for one in requested(browser))
        assert complaints(browser) == []


def test_it_says_loudly_that_an_emulator_answers(browser: Chrome) -> None:
    with page(browser) as here:
        assert here["emulated"].text.startswith("Emulated: no model answers here.")


def test_an_answer_has_its_quotes_marked_in_the_source(browser: Chrome) -> None:
    with page(browser) as here:
        here.ask("When does it open?", TEXT)

        assert here["answer"].text == f"{QUOTE} [1]"
        assert here.texts("#sources mark") == [f"1{QUOTE}"]
        assert here["sources"].text.endswith("Cats may come in.")
        assert here["progress"].text.startswith("Every sentence has a verified quote.")
        assert here.texts("#quotes q") == [QUOTE]


def test_a_mark_leads_to_its_quote_in_a_long_text_and_back(browser: Chrome) -> None:
    padding = "\n".join(f"Rule {number}: keep calm." for number in range(200))
    with page(browser) as here:
        here.ask("When does the museum open?", f"{padding}\n{TEXT}\n{padding}")
        here["mark-1"].click()

        assert here.focused() == "quote-1"
        here.until(lambda: _is_in_view(browser, here["quote-1"]))
        here.press(Keys.ENTER)
        assert here.focused() == "mark-1"


def _is_in_view(browser: Chrome, element: WebElement) -> Any:
    return browser.execute_script(
        "const box = arguments[0].getBoundingClientRect();"
        "return document.elementFromPoint(box.x + 2, box.y + 2) === arguments[0]",
        element,
    )


def test_several_files_may_be_read_and_what_is_no_text_is_named(
    browser: Chrome, tmp_path: Path
) -> None:
    files = {"dogs.txt": b"Dogs must stay outside.", "museum.md": TEXT.encode(), "x.pdf": b"\xff"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with page(browser) as here:
        here["file"].send_keys("\n".join(str(tmp_path / name) for name in files))
        here.until(lambda: here["problem"].text == "x.pdf is not a text file (UTF-8).")
        here.all("[aria-label='Remove dogs.txt']")[0].click()
        here.ask("When does it open?")

        assert here.texts("#sources summary") == ["museum.md · 1 quote"]


def test_a_chain_with_a_folder_needs_no_document(browser: Chrome, tmp_path: Path) -> None:
    (tmp_path / "rules.txt").write_text(TEXT)
    chains = [ChainConfig(name="rules", kind="grounded_qa", documents=tmp_path)]
    with page(browser, chains=chains) as here:
        here.ask("When does it open?")

        assert here["answer"].text == f"{QUOTE} [1]"
        assert "rules.txt" in here["sources"].text


def test_a_summary_has_marks_too(browser: Chrome) -> None:
    with page(browser, chains=[ChainConfig(name="short", kind="summarize")]) as here:
        assert not here["question"].is_displayed()
        here["text"].send_keys("The museum opens at ten.")
        here["send"].click()

        here.until(lambda: here.all("#sources mark"))
        assert here["progress"].text.startswith("All of it was read.")


def test_chains_whose_result_is_no_text_can_be_tried(browser: Chrome) -> None:
    schema = {"title": "Museum", "type": "object", "properties": {"opening": {"type": "string"}}}
    kinds: dict[str, dict[str, Any]] = {
        "grounding_check": {},
        "extraction": {"schema": schema},
        "classification": {"labels": ["opening hours", "<b>dogs</b>"]},
    }
    chains = [ChainConfig(name=k, kind=k, options=v) for k, v in kinds.items()]  # type: ignore[arg-type]
    replies = {
        "✓ The museum opens at ten. [1]\n✗ not proven: Cats fly.": {"1": [QUOTE], "2": []},
        "opening: ten [1]": {"opening": {"value": "ten", "quotes": [{"doc": 0, "quote": QUOTE}]}},
        "<b>dogs</b> [1]": {"labels": [{"label": "<b>dogs</b>", "quote": QUOTE}]},
    }
    said = [json.dumps(reply) for reply in replies.values()]
    with page(browser, emulator=Emulator(brain=scripted(*said)), chains=chains) as here:
        for kind, shown in zip(kinds, replies, strict=True):
            Select(here["target"]).select_by_value(f"{kind}/{kind}")
            if kind == "grounding_check":
                assert here["question"].accessible_name == "Answer to check"
                here.ask("The museum opens at ten. Cats fly.", TEXT)
            else:
                assert not here["question"].is_displayed()
                here["send"].click()
                here.until(lambda: here["send"].is_enabled())

            assert here["answer"].text == shown, kind
            assert here.texts("#sources mark") == [f"1{QUOTE}"], kind
        assert complaints(browser) == []


def test_a_model_streams_and_can_be_stopped(browser: Chrome) -> None:
    words = " ".join(f"word{number}" for number in range(100))
    emulator = Emulator(brain=lambda _: words, faults=[Fault(stall_after=3000)])
    with page(browser, emulator=emulator, chains=()) as here:
        here["question"].send_keys("Speak", Keys.ENTER)
        begun = here.until(lambda: here["answer"].text)
        here["stop"].click()

        here.until(lambda: here["progress"].text == "Stopped.")
        assert words.startswith(begun.split()[0])
        assert len(here["answer"].text) < len(words)
        assert here.focused() == "send"


# --- What is refused, and what fails ---------------------------------------------------------


def test_without_a_document_nothing_is_sent(browser: Chrome) -> None:
    emulator = Emulator()
    with page(browser, emulator=emulator) as here:
        here.ask("When does it open?")

        assert here["problem"].text.startswith("Give it a document first")
        assert emulator.requests == []


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        pytest.param(Fault(status=429), "AI21 limits the rate of requests", id="overloaded"),
        pytest.param(Fault(status=401), "AI21 does not accept the server's own API key", id="key"),
        pytest.param(Fault(drop=True), "AI21 cannot be reached", id="broken"),
    ],
)
@pytest.mark.parametrize("target", ["grounded_qa/qa", "model/mini"])
def test_a_failure_is_a_line(browser: Chrome, fault: Fault, line: str, target: str) -> None:
    with page(browser, emulator=Emulator(faults=[fault])) as here:
        Select(here["target"]).select_by_value(target)
        here.ask("When does it open?", TEXT)

        assert here["problem"].text.startswith(line)
        assert not here["result"].is_displayed()


def test_what_had_come_before_a_failure_stays(browser: Chrome) -> None:
    emulator = Emulator(brain=lambda _: " ".join(["word"] * 100), faults=[Fault(cut_after=3000)])
    with page(browser, emulator=emulator, chains=()) as here:
        here.ask("Speak")

        assert here["problem"].text
        assert here["answer"].text.startswith("word word")


def test_an_answer_that_is_not_complete_is_not_taken_for_one(browser: Chrome) -> None:
    async def half(request: Request) -> Response:
        return Response('event: data\ndata: {"answer": "Half"}\n\n')

    chains = [ChainConfig(name="qa", kind="grounded_qa")]
    gateway = create_app(ServerConfig(chains=chains, emulator=Emulator()))
    routes = [Route("/chains/qa/stream", half, methods=["POST"]), Mount("/", gateway)]
    with serving(Starlette(routes=routes)) as url:
        here = Page(browser, url)
        here.ask("When does it open?", TEXT)

        assert here["problem"].text.startswith("The connection broke off")
        assert here["answer"].text == "Half"


def test_a_server_that_has_gone_is_a_line(browser: Chrome) -> None:
    with page(browser) as here:
        pass
    here["refresh"].click()

    here.until(lambda: here["trouble"].text == "The server cannot be reached.")


def test_hostile_texts_stay_texts(browser: Chrome, tmp_path: Path) -> None:
    image = "<img src=x onerror=window.harmed=1>"
    text = f"<script>window.harmed=1</script>{image} The museum opens at ten {image}."
    (tmp_path / f"{image}.txt").write_text(text)
    emulator = Emulator()
    with page(browser, emulator=emulator) as here:
        here["file"].send_keys(str(tmp_path / f"{image}.txt"))
        here.until(lambda: here.texts("#files li"))
        here.ask("When does the museum open?", text)

        assert image in here["answer"].text
        assert "<script>" in here["sources"].text
        assert f"{image}.txt" in here["sources"].text
        assert here.all("#result img, #result script, #files img") == []
        assert browser.execute_script("return window.harmed") is None
        assert complaints(browser) == []


# --- Keys and figures ------------------------------------------------------------------------


def test_a_key_is_asked_for_and_kept_for_the_tab(browser: Chrome, tmp_path: Path) -> None:
    settings = {
        "master_key": SecretStr("sk-master"),
        "database_url": f"sqlite:///{tmp_path}/keys.db",
    }
    with page(browser, **settings) as here:
        assert here["emulated"].is_displayed()
        assert not here["main"].is_displayed()
        assert here.focused() == "key"
        here["key"].send_keys("sk-wrong", Keys.ENTER)
        here.until(lambda: here["trouble"].text == "This API key is not known.")
        here["key"].send_keys("sk-master", Keys.ENTER)
        here.until(lambda: here["main"].is_displayed())
        assert not here["trouble"].is_displayed()
        here.ask("When does it open?", TEXT)
        assert here["answer"].text == f"{QUOTE} [1]"

        here.open()
        assert here["main"].is_displayed()
        assert browser.execute_script("return localStorage.length + document.cookie.length") == 0
        here["forget"].click()
        here.until(lambda: here["key-form"].is_displayed())


def test_what_was_used_today_is_shown(browser: Chrome) -> None:
    with page(browser) as here:
        assert here["no-usage"].text == "No requests yet."
        here.ask("When does it open?", TEXT)

        here.until(lambda: here["rows"].text)
        cells = here.texts("#rows td")
        assert cells[:3] == ["open", "chain/qa", "1"]
        assert cells[5].startswith("$0.0")
        assert here["spend"].text == "Would cost"


# --- For everybody ---------------------------------------------------------------------------


def test_it_fits_a_phone(browser: Chrome) -> None:
    resize(browser, 360, 740, phone=True)
    name = "a_chain_with_a_name_that_is_rather_longer_than_a_phone_is_wide"
    with page(browser, chains=[ChainConfig(name=name, kind="grounded_qa")]) as here:
        here.ask("When does it open?", f"The museum opens at ten, {'x' * 200}.")
        here.until(lambda: here["rows"].text)
        assert "xxx" in here["answer"].text

        width = "return document.documentElement.scrollWidth"
        assert browser.execute_script(width) == 360


def test_the_keyboard_will_do(browser: Chrome) -> None:
    with page(browser) as here:
        here.tab_to("text")
        here.press(QUOTE)
        here.tab_to("example")
        ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.TAB * 4).key_up(
            Keys.SHIFT
        ).perform()
        assert here.focused() == "question"
        here.press("When does the museum open?", Keys.ENTER)
        here.until(lambda: here.all("#mark-1"))
        here.tab_to("mark-1")
        here.press(Keys.ENTER)

        assert here.focused() == "quote-1"


def test_everything_that_can_be_filled_in_has_a_name(browser: Chrome) -> None:
    with page(browser) as here:
        here.ask("When does it open?", TEXT)
        controls = [one for one in here.all("input, select, textarea, button, a, pre")]
        shown = [one for one in controls if one.is_displayed()]

        assert len(shown) > 8
        assert [one.get_attribute("id") for one in shown if not one.accessible_name] == []
