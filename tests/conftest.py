"""What the whole suite shares: no environment, no network, and LangChain's list of classes."""

import gc
import importlib
import math
import os
from collections.abc import Iterator

import httpx
import hypothesis
import pytest

from ai21_chains import AI21LLM, ChatAI21, ChatMaestro
from ai21_chains.emulator import Emulator

# LangChain's `load(..., allowed_objects="all")`, which its standard test uses, admits only the
# classes of its own table. The table is private; outside packages have no other way in.
_load = importlib.import_module("langchain_core.load.load")
_load._get_default_allowed_class_paths("all").update(
    tuple(one.lc_id()) for one in (AI21LLM, ChatAI21, ChatMaestro)
)


# How long an example takes says something of the machine, not of the code.
hypothesis.settings.register_profile("suite", deadline=None, max_examples=50)
hypothesis.settings.load_profile("suite")


def pytest_xdist_auto_num_workers() -> int:
    """Start half as many workers again as there are processors: many tests wait for sockets."""
    return math.ceil(1.5 * (os.cpu_count() or 1))


def pytest_collection_finish() -> None:
    """Leave the thousands of tests and modules out of each garbage collection from here on."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _no_environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        for name in ("AI21_API_KEY", "AI21_API_HOST", "AI21_API_BASE", "AI21_API_URL"):
            environment.delenv(name, raising=False)
        yield


@pytest.fixture
def vcr() -> None:
    """What LangChain's tests ask for: pytest-recording is off, and they skip what it records."""


@pytest.fixture
def emulator() -> Emulator:
    return Emulator()


@pytest.fixture
def http(emulator: Emulator) -> Iterator[dict[str, object]]:
    """The emulator as arguments of a model."""
    transport = emulator.transport()
    with httpx.Client(transport=transport) as client:
        yield {
            "api_key": "test-key",
            "http_client": client,
            "http_async_client": httpx.AsyncClient(transport=transport),
        }


@pytest.fixture
def model(http: dict[str, object]) -> ChatAI21:
    return ChatAI21(**http)
