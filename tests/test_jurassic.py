"""`ChatAI21` with a Jurassic-2 model: `text` for content, `system` beside the messages."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from pydantic import BaseModel

from ai21_chains import ChatAI21
from ai21_chains._jurassic import JurassicClient
from ai21_chains.client import AI21Client
from ai21_chains.emulator import Emulator, scripted
from ai21_chains.errors import ConfigurationError, NotFoundError, ResponseFormatError
from tests.cases import each
from tests.servers import calls
from tests.servers.calls import Call
from tests.servers.scripted import answer
from tests.servers.scripted import scripted as serving


def emulating():
    return Emulator(brain=lambda request: "Aye, aye.", era="2024").serve()


@pytest.fixture
def server():
    with emulating() as running:
        yield running


def jurassic(url: str, **settings) -> ChatAI21:
    return ChatAI21(**{"model": "j2-ultra", "base_url": url, "api_key": "k", **settings})


@each("call", calls.CALLED, server=emulating)
def test_a_conversation_is_sent_in_jurassics_form(call: Call, server) -> None:
    said = [("system", "Talk like a pirate."), ("user", "Hi"), ("ai", "Arr"), ("user", "Well?")]
    message = call(jurassic(server.base_url, temperature=0.3, max_tokens=50), said, stop=["x"])

    (sent,) = server.emulator.requests
    assert message.text == "Aye, aye."
    assert (sent.method, sent.path) == ("POST", "/studio/v1/j2-ultra/chat")
    assert sent.json == {
        "messages": [
            {"role": "user", "text": "Hi"},
            {"role": "assistant", "text": "Arr"},
            {"role": "user", "text": "Well?"},
        ],
        "system": "Talk like a pirate.",
        "temperature": 0.3,
        "maxTokens": 50,
        "stopSequences": ["x"],
    }


@each("call", calls.CALLED)
def test_the_brain_gets_it_in_jambas_form(call: Call) -> None:
    seen = []
    with Emulator(brain=lambda request: seen.append(request) or "x", era="2024").serve() as server:
        call(jurassic(server.base_url), [("system", "S"), ("user", "U")])

    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    assert seen == [{"model": "j2-ultra", "messages": messages}]


@each("call", calls.CALLED, server=emulating)
def test_several_system_messages_are_joined_and_none_is_empty(call: Call, server) -> None:
    call(jurassic(server.base_url), [("system", "A"), ("user", "Hi"), ("system", "B")])
    call(jurassic(server.base_url), "Hi")

    assert [sent.json["system"] for sent in server.emulator.requests] == ["A\n\nB", ""]


@each("call", calls.CALLED, server=emulating)
def test_the_answer_says_what_is_known_of_it(call: Call, server) -> None:
    message = call(jurassic(server.base_url, max_tokens=1))

    metadata = message.response_metadata
    assert message.text == "Aye,"
    assert metadata["model_name"] == "j2-ultra"
    assert metadata["finish_reason"] == "length"
    assert metadata["id"]
    assert message.usage_metadata is None


def test_several_answers() -> None:
    with Emulator(brain=scripted("a", "b"), era="2024").serve() as server:
        model = jurassic(server.base_url, n=2, temperature=1)
        (found,) = model.generate([[HumanMessage("Hi")]]).generations

    assert [one.text for one in found] == ["a", "b"]
    assert server.emulator.requests[0].json["numResults"] == 2


@each("call", calls.CALLED, server=emulating)
def test_the_model_can_be_chosen_for_a_call(call: Call, server) -> None:
    call(jurassic(server.base_url), model="jamba-1.5-mini")
    call(jurassic(server.base_url, model="jamba-1.5-mini"), model="j2-mid")

    paths = [sent.path.removeprefix("/studio/v1") for sent in server.emulator.requests]
    assert paths == ["/chat/completions", "/j2-mid/chat"]


class Weather(BaseModel):
    """The weather."""

    sunny: bool


@each(
    ("ask", "word"),
    [
        (lambda model: model.bind_tools([Weather]).invoke("Hi"), "tools"),
        (lambda model: model.invoke("Hi", documents=["text"]), "documents"),
        (lambda model: model.invoke("Hi", seed=1), "seed"),
        (lambda model: model.with_structured_output(method="json_mode").invoke("Hi"), "response_"),
        (lambda model: model.invoke([ToolMessage("x", tool_call_id="1")]), "tools"),
        (
            lambda model: model.invoke(
                [AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}])]
            ),
            "tools",
        ),
    ],
    server=emulating,
)
def test_what_jurassic_does_not_know_is_refused(server, ask, word: str) -> None:
    with pytest.raises(ConfigurationError, match=f"j2-ultra knows no {word}"):
        ask(jurassic(server.base_url))

    assert not server.emulator.requests


@each("call", calls.CALLED)
@each(
    "body",
    [{}, [], None, {"outputs": []}, {"outputs": [{"role": "assistant"}]}, {"outputs": ["Hi"]}],
)
def test_what_is_not_jurassics_format_is_an_error(call: Call, body) -> None:
    with (
        serving(answer(body)) as server,
        pytest.raises(ResponseFormatError, match=r"POST http.*/j2-ultra/chat answered"),
    ):
        call(jurassic(server.url))


def test_a_single_stop_word_of_the_wire_becomes_a_list() -> None:
    with Emulator(brain=lambda request: "one two", era="2024").serve() as server:
        client = AI21Client(base_url=server.base_url, api_key="k")
        body = {"model": "j2-mid", "messages": [{"role": "user", "content": "Hi"}], "stop": " two"}
        done = JurassicClient(client, "complete").complete(body)

    assert done["choices"][0]["message"]["content"] == "one"


@each("call", calls.CALLED)
def test_today_the_answer_names_a_successor(call: Call) -> None:
    with Emulator().serve() as server, pytest.raises(NotFoundError, match="use jamba-large"):
        call(jurassic(server.base_url))
