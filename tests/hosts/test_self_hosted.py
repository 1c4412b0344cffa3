"""A server that checks and answers as vLLM's OpenAI-compatible one does."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from pydantic import BaseModel

from ai21_chains import ChatAI21, create_grounded_qa_chain
from ai21_chains.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContextLengthExceededError,
    NotFoundError,
    StreamInterruptedError,
)
from ai21_chains.hosts import SelfHosted
from tests.cases import each
from tests.servers import calls
from tests.servers.calls import Call
from tests.servers.scripted import (
    DONE,
    ROLE,
    STOP,
    Received,
    Script,
    ScriptedServer,
    answer,
    event,
    fails,
    scripted,
    stream,
)


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


class Place(BaseModel):
    """A place."""

    city: str


def look_up(word: str) -> str:
    """Look up a word."""
    return word


def write_down(word: str) -> str:
    """Write down a word."""
    return word


@dataclass
class VLLM:
    """vLLM, as far as a client can see it: strict types, and what it is told to enforce."""

    key: str | None = None
    models: tuple[str, ...] = ("jamba", "alias-of-jamba")
    seen: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, request: Received) -> Script:
        body = request.body
        self.seen.append(body)
        assert request.target == "/v1/chat/completions"
        if self.key and request.header("authorization") != [f"Bearer {self.key}"]:
            return answer({"error": "Unauthorized"}, "401 Unauthorized")
        if body["model"] not in self.models:
            return _error(404, f"The model `{body['model']}` does not exist.", "NotFoundError")
        for document in body.get("documents", ()):
            if not all(isinstance(text, str) for text in document.values()):
                return _error(400, "documents: Input should be a valid string", "BadRequestError")
        return self._stream(body) if body.get("stream") else answer(self._answer(body))

    def _message(self, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
        wanted = body.get("response_format") or {"type": "text"}
        if wanted["type"] == "json_schema":
            assert wanted["json_schema"].keys() >= {"name", "schema"}
            properties = wanted["json_schema"]["schema"]["properties"]
            assert properties.keys() == {"city", "degrees"}
            return {"content": '{"city": "Paris", "degrees": 21}'}, "stop"
        if body.get("tool_choice") not in (None, "auto"):
            function = body["tools"][0]["function"]
            argument = next(iter(function["parameters"]["properties"]))
            called = {"name": function["name"], "arguments": f'{{"{argument}": "Jamba"}}'}
            call = {"id": "chatcmpl-tool-1", "type": "function", "function": called}
            return {"content": None, "tool_calls": [call]}, "stop"
        return {"content": "Hello"}, "stop"

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        message, reason = self._message(body)
        said = {"role": "assistant", "reasoning_content": None, "tool_calls": [], **message}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "/weights/AI21-Jamba-Mini-1.7",
            "choices": [
                {
                    "index": 0,
                    "message": said,
                    "logprobs": None,
                    "finish_reason": reason,
                    "stop_reason": None,
                }
            ],
            "usage": {
                "prompt_tokens": 7,
                "total_tokens": 9,
                "completion_tokens": 2,
                "prompt_tokens_details": None,
            },
            "prompt_logprobs": None,
            "kv_transfer_params": None,
        }

    def _stream(self, body: dict[str, Any]) -> Script:
        message, reason = self._message(body)
        delta = {name: value for name, value in message.items() if value is not None}
        for call in delta.get("tool_calls", ()):
            call["index"] = 0
        events = [_event(role="assistant", content=""), _event(**delta), _event(reason, content="")]
        if (body.get("stream_options") or {}).get("include_usage"):
            usage = {"prompt_tokens": 7, "total_tokens": 9, "completion_tokens": 2}
            events.append(_data({"id": "chatcmpl-1", "choices": [], "usage": usage}))
        return stream(*events, DONE)


def _data(payload: dict[str, Any]) -> bytes:
    import json

    return b"data: " + json.dumps({"object": "chat.completion.chunk", **payload}).encode() + b"\n\n"


def _event(finish_reason: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return _data({"id": "chatcmpl-1", "model": "/weights", "choices": [choice]})


def _error(status: int, message: str, kind: str) -> Script:
    phrase = {400: "400 Bad Request", 404: "404 Not Found"}[status]
    error = {"message": message, "type": kind, "param": None, "code": status}
    return answer({"error": error}, phrase)


@pytest.fixture
def vllm() -> VLLM:
    return VLLM()


@pytest.fixture
def server(vllm: VLLM) -> Iterator[ScriptedServer]:
    with scripted(vllm) as running:
        yield running


in_each_way = each("call", calls.CALLED)


def chat(server: ScriptedServer, host: dict[str, Any] | None = None, **settings: Any) -> ChatAI21:
    there = SelfHosted(**{"base_url": f"http://127.0.0.1:{server.port}/v1/", **(host or {})})
    return ChatAI21(host=there, **{"model": "jamba", "max_retries": 0, **settings})


@in_each_way
def test_no_key_is_needed_nor_sent(call: Call, server, vllm, monkeypatch) -> None:
    server.requests.clear()
    vllm.seen.clear()
    monkeypatch.setenv("AI21_API_KEY", "a-key-for-ai21-alone")
    message = call(chat(server))

    assert message.content == "Hello"
    assert message.usage_metadata["total_tokens"] == 9
    assert message.response_metadata["model_name"] == "jamba"
    assert server.requests[0].header("authorization") == []
    streamed = {"stream": True, "stream_options": {"include_usage": True}}
    assert vllm.seen[0] == {
        "model": "jamba",
        "messages": [{"role": "user", "content": "Hi"}],
        **(streamed if call in calls.CALLED[2:] else {}),
    }


@in_each_way
def test_an_alias_is_asked_for_by_its_name(call: Call, server) -> None:
    message = call(chat(server, model="alias-of-jamba"))

    assert message.response_metadata["model_name"] == "alias-of-jamba"


@each("given", ["text", "callable", "async", "environment"])
def test_a_key_may_be_wanted(server, vllm, monkeypatch, given: str) -> None:
    async def fetch() -> str:
        return "vllm-key"

    vllm.key = "vllm-key"
    monkeypatch.setenv("VLLM_API_KEY", "vllm-key" if given == "environment" else "another")
    keys: dict[str, Any] = {"text": "vllm-key", "callable": lambda: "vllm-key", "async": fetch}
    model = chat(server, {"api_key": keys.get(given)})

    assert calls.ainvoke(model).content == "Hello"
    if given == "async":
        with pytest.raises(ConfigurationError, match="async callable"):
            model.invoke("Hi")
    else:
        assert model.invoke("Hi").content == "Hello"


@in_each_way
def test_a_wrong_key_is_told_without_it(call: Call, server, vllm) -> None:
    vllm.key = "right"
    with pytest.raises(AuthenticationError, match="VLLM_API_KEY") as caught:
        call(chat(server, {"api_key": "wrong-key-0123456789"}))

    assert "wrong-key-0123456789" not in f"{caught.value} {caught.value.body}"
    assert "Unauthorized" in caught.value.detail


@in_each_way
def test_an_unknown_model_says_how_to_find_the_names(call: Call, server) -> None:
    with pytest.raises(NotFoundError) as caught:
        call(chat(server, model="jamba-1.5-mini"))

    assert "The model `jamba-1.5-mini` does not exist" in str(caught.value)
    assert "GET /v1/models lists the names" in str(caught.value)
    assert "AI21" not in str(caught.value)


# --- What it enforces ------------------------------------------------------------------------


@each("way", [calls.invoke, calls.ainvoke], ids=["invoke", "ainvoke"])
def test_a_schema_is_enforced_and_not_put_into_words(way, server, vllm) -> None:
    vllm.seen.clear()
    model = chat(server).with_structured_output(Weather, method="json_schema")

    assert way(model) == Weather(city="Paris", degrees=21)
    body = vllm.seen[0]
    assert body["messages"] == [{"role": "user", "content": "Hi"}]
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "Weather",
            "schema": {
                "title": "Weather",
                "description": "The weather in a city.",
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "degrees": {"type": "integer"},
                },
                "required": ["city", "degrees"],
            },
        },
    }


def test_a_schema_beside_tools_is_put_into_words(server, vllm) -> None:
    # Enforced, it would keep the model from calling a tool.
    chat(server, response_format=Weather).bind_tools([look_up]).invoke("Hi")

    assert "response_format" not in vllm.seen[0]
    assert "must be valid against this JSON schema" in vllm.seen[0]["messages"][0]["content"]


def test_json_mode_is_sent_as_it_is(server, vllm) -> None:
    chat(server, response_format={"type": "json_object"}).invoke("Hi")

    assert vllm.seen[0]["response_format"] == {"type": "json_object"}


@in_each_way
@each(
    ("choice", "sent"),
    [
        ("any", "required"),
        ("auto", "auto"),
        ("write_down", {"type": "function", "function": {"name": "write_down"}}),
    ],
    ids=["any", "auto", "named"],
)
def test_tool_choice_is_honoured_and_not_put_into_words(
    call: Call, server, vllm, choice: str, sent: object
) -> None:
    vllm.seen.clear()
    message = call(chat(server).bind_tools([look_up, write_down], tool_choice=choice))

    assert vllm.seen[0]["tool_choice"] == sent
    assert vllm.seen[0]["messages"] == [{"role": "user", "content": "Hi"}]
    wanted = [] if choice == "auto" else [choice if choice != "any" else "look_up"]
    assert [made["name"] for made in message.tool_calls] == wanted


def test_a_tool_as_a_form_is_enforced(server) -> None:
    model = chat(server).with_structured_output(Weather)

    with pytest.raises(Exception, match="degrees"):  # the server fills in one argument only
        model.invoke("Hi")


def test_an_agent_asks_for_its_form_as_a_tool_that_has_to_be_called(server, vllm) -> None:
    # A schema for the whole answer would keep the model from calling the other tools.
    agent = create_agent(chat(server, model="jamba"), tools=[], response_format=Place)
    told = agent.invoke({"messages": [HumanMessage("Where?")]})

    assert told["structured_response"] == Place(city="Jamba")
    assert vllm.seen[0]["tool_choice"] == "required"


# --- Documents and templates -----------------------------------------------------------------


@in_each_way
def test_documents_are_flat(call: Call, server, vllm) -> None:
    vllm.seen.clear()
    documents = [
        Document("First.", metadata={"title": "One", "page": 3}, id="d-1"),
        {"content": "Second.", "metadata": {"text": "is not the text"}},
        "Third.",
    ]
    call(chat(server), documents=documents)

    assert vllm.seen[0]["documents"] == [
        {"id": "d-1", "title": "One", "page": "3", "text": "First."},
        {"text": "Second."},
        {"text": "Third."},
    ]


def test_chains_put_their_documents_there(server, vllm) -> None:
    chain = create_grounded_qa_chain(chat(server), on_unverified="drop")
    chain.invoke({"question": "Who?", "documents": [Document("Jamba is a model.")]})

    assert vllm.seen[0]["documents"][0]["text"] == "Jamba is a model."


@in_each_way
def test_the_chat_template_gets_arguments(call: Call, server, vllm) -> None:
    vllm.seen.clear()
    host = {"chat_template_kwargs": {"enable_thinking": False}}
    call(chat(server, host))
    call(chat(server, host, model_kwargs={"chat_template_kwargs": {"enable_thinking": True}}))

    sent = [body["chat_template_kwargs"] for body in vllm.seen]
    assert sent == [{"enable_thinking": False}, {"enable_thinking": True}]


def test_stream_options_of_ones_own_are_kept(server, vllm) -> None:
    own = {"include_usage": True, "continuous_usage_stats": True}
    calls.streamed(chat(server, model_kwargs={"stream_options": own}))

    assert vllm.seen[0]["stream_options"] == own


# --- Errors ----------------------------------------------------------------------------------

TOO_LONG = "This model's maximum context length is 262144 tokens. However, you requested 300000."


@in_each_way
@each(
    "body",
    [
        {"error": {"message": TOO_LONG, "type": "BadRequestError", "param": None, "code": 400}},
        {"object": "error", "message": TOO_LONG, "type": "BadRequestError", "code": 400},
    ],
    ids=["newer", "older"],
)
def test_errors_are_read_in_both_of_vllms_shapes(call: Call, body: dict[str, Any]) -> None:
    with (
        scripted(fails("400 Bad Request", body)) as server,
        pytest.raises(ContextLengthExceededError, match="262144") as caught,
    ):
        call(chat(server))
    assert caught.value.detail == TOO_LONG


@in_each_way
def test_a_refused_request_is_not_sent_again(call: Call) -> None:
    body = {"error": {"message": "Bad grammar.", "type": "BadRequestError", "code": 400}}
    with (
        scripted(fails("400 Bad Request", body)) as server,
        pytest.raises(BadRequestError, match="Bad grammar"),
    ):
        call(chat(server, max_retries=2))
    assert len(server.requests) == 1


@each("call", calls.CALLED[2:])
def test_an_error_in_a_stream_is_told(call: Call) -> None:
    failure = _data({"error": {"message": "EngineCore died.", "code": 500}})
    with (
        scripted(stream(ROLE, event("Hel"), failure, DONE)) as server,
        pytest.raises(StreamInterruptedError, match="EngineCore died"),
    ):
        call(chat(server, max_retries=2))
    assert len(server.requests) == 1


def test_a_stream_without_usage_is_whole_all_the_same() -> None:
    last = STOP.replace(b"usage", b"not_usage")
    with scripted(stream(ROLE, event("Hello"), last, DONE)) as server:
        message = calls.streamed(chat(server))
    assert (message.content, message.usage_metadata) == ("Hello", None)


@each("url", ["", "localhost:8000", "ftp://x", "http://u:p@x/v1", "http://x?a", "http://[x"])
def test_addresses_are_checked(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url should be an address such as") as caught:
        SelfHosted(base_url=url)
    assert "u:p" not in str(caught.value)


# --- Pickles ---------------------------------------------------------------------------------


def test_a_key_is_not_pickled(server, vllm) -> None:
    with pytest.raises(ConfigurationError, match="with api_key cannot be pickled"):
        pickle.dumps(chat(server, {"api_key": "secret"}))

    assert pickle.loads(pickle.dumps(chat(server))).invoke("Hi").content == "Hello"
