"""`register_with_langchain` with the LangChain that is installed."""

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from langchain.agents import create_agent
from langchain.chat_models import base, init_chat_model

from ai21_chains import ChatAI21, register_with_langchain
from ai21_chains.errors import AI21Error, MissingExtraError


@pytest.fixture(autouse=True)
def _unregistered() -> Iterator[None]:
    base._BUILTIN_PROVIDERS.pop("ai21", None)
    base._get_chat_model_creator.cache_clear()
    yield
    base._BUILTIN_PROVIDERS.pop("ai21", None)
    base._get_chat_model_creator.cache_clear()


def test_a_name_alone_makes_a_model() -> None:
    register_with_langchain()

    model = init_chat_model("ai21:jamba-large", temperature=0.3, max_retries=0)

    assert isinstance(model, ChatAI21)
    assert (model.model, model.temperature, model.max_retries) == ("jamba-large", 0.3, 0)


def test_the_provider_may_be_named_apart() -> None:
    register_with_langchain()

    assert isinstance(init_chat_model("jamba-mini", model_provider="ai21"), ChatAI21)


def test_a_model_can_be_chosen_when_it_is_called(http) -> None:
    register_with_langchain()
    model = init_chat_model(configurable_fields=("model", "model_provider"), **http)

    answer = model.invoke(
        "Hi", {"configurable": {"model": "jamba-large", "model_provider": "ai21"}}
    )

    assert answer.response_metadata["model_name"] == "jamba-large"


def test_an_agent_takes_the_name(monkeypatch: pytest.MonkeyPatch, emulator) -> None:
    register_with_langchain()
    with emulator.serve() as server:
        monkeypatch.setenv("AI21_API_HOST", server.base_url)
        monkeypatch.setenv("AI21_API_KEY", "test-key")
        agent = create_agent("ai21:jamba-mini")

        answer = agent.invoke({"messages": [("user", "Hi")]})["messages"][-1]

    assert answer.response_metadata["model_provider"] == "ai21"


def test_registering_twice_changes_nothing() -> None:
    register_with_langchain()
    before = dict(base._BUILTIN_PROVIDERS)

    register_with_langchain()

    assert before == base._BUILTIN_PROVIDERS


def test_an_entry_that_is_there_already_is_left_alone() -> None:
    entry = ("somewhere", "ChatAI21", base._call)
    base._BUILTIN_PROVIDERS["ai21"] = entry

    register_with_langchain()

    assert base._BUILTIN_PROVIDERS["ai21"] == entry


def test_a_langchain_without_the_table_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "langchain.chat_models.base", ModuleType("base"))

    with pytest.raises(AI21Error, match=r"Pass a model instance .*: ChatAI21\(model=…\)"):
        register_with_langchain()


def test_a_missing_langchain_is_an_error_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain.chat_models.base", None)

    with pytest.raises(MissingExtraError, match="pip install langchain"):
        register_with_langchain()
