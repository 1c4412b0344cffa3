"""What users of other integrations complain about, and that it is not so here.

One test for each of 21 complaints, in the order of this table. Each is looked into more closely
where the last column says.

| complaint | threads | more in |
|---|---|---|
| it cannot be installed beside LangChain 1.x | langchain-ai21#24, langchain#32248 | |
| it drags heavy packages in | ai21-python#293 | `test_public_api` |
| streams lose tool calls | langchain#29129, #23911, langchain-cohere#72 | `test_messages` |
| text and tool calls of a stream collide | langchain#35984, #40401 | `test_content_blocks` |
| streams have no usage | langchain#30429, langgraph#5878 | `test_streaming` |
| names in a stream's metadata are doubled | langchain#38366, #38349 | `test_messages` |
| streams have no finish reason | langchain-litellm#241 | `test_messages` |
| 429 is not tried again, or at once | langchain#36753, pydantic-ai#1885 | `test_retries` |
| "Event loop is closed" | langchain#35783, deer-flow#2615 | `test_pool` |
| no HTTP client of one's own | langchain#36056, #30146 | `test_client`, `test_pool` |
| streams hang for ever | OpenHands#4997, cline#12954 | `test_failures`, `test_streaming` |
| importing takes seconds | langchain#36835, #38035 | `test_public_api` |
| async streams block, or come at the end | langchain#11061, langchain-aws#171 | `test_streaming` |
| each provider has errors of its own | langchain#39538, langchainjs#11342 | `test_errors` |
| `stop` is dropped | langchain#38047, langchain-google#1586 | `test_chat_models` |
| misspelt arguments vanish | flink-agents#1050, langchain#25731 | `test_options` |
| `init_chat_model` does not know it | langchain#34220, #36562 | `test_registration` |
| a dump cannot be loaded | langchain#30343 | `test_serialization`, `test_standard` |
| which way an agent answers in a schema is unclear | langchain#34463 | `agents/test_agents` |
| citations are lost | langchain-cohere#136, litellm#6814 | `test_content_blocks` |
| LangServe mixes up schemas and event loops | langserve#791, #405 | `serving/test_langserve` |
"""

import asyncio
import json
import subprocess
import sys
from importlib.metadata import requires
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_core.exceptions import ModelError
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessageChunk
from pydantic import BaseModel

from ai21_chains import (
    AI21Error,
    ChatAI21,
    Emulator,
    create_contextual_answers_chain,
    create_grounded_qa_chain,
    register_with_langchain,
)
from ai21_chains.client import AI21Client
from ai21_chains.emulator import Brain, Fault, Reply, ToolCall, extractive, scripted
from ai21_chains.errors import APITimeoutError, ConfigurationError
from ai21_chains.serving.langserve import add_ai21_routes
from tests.cases import each
from tests.servers import calls
from tests.servers import scripted as raw
from tests.servers.scripted import DONE, HOLD, ROLE, event, says, stream

PARALLEL = Reply(
    "I look.",
    tool_calls=[
        ToolCall("get_weather", {"city": "Haifa"}, id="c1"),
        ToolCall("get_time", {}, id="c2"),
    ],
)


def emulated(*replies: Reply | str, brain: Brain | None = None, **options: Any) -> ChatAI21:
    """A model whose emulator says what it is told to, or what it finds in the documents."""
    brain = brain or (scripted(*replies) if replies else extractive)
    transport = Emulator(brain=brain, faults=options.pop("faults", ())).transport()
    clients = {
        "http_client": httpx.Client(transport=transport),
        "http_async_client": httpx.AsyncClient(transport=transport),
    }
    return ChatAI21(**{"api_key": "test-key", "max_retries": 0, **clients, **options})


def chat(server: raw.ScriptedServer, **options: Any) -> ChatAI21:
    return ChatAI21(**{"base_url": server.url, "api_key": "k", "max_retries": 0, **options})


def summed(model: Any, **options: Any) -> AIMessageChunk:
    first, *chunks = model.stream("Hi", **options)
    return sum(chunks, first)


def get_weather(city: str) -> str:
    """Look up the weather in a city."""
    return city


def test_1_it_is_installed_beside_langchain_1() -> None:
    (core,) = [one for one in requires("ai21-chains") or () if one.startswith("langchain-core")]

    assert "<2" in core
    assert "extra" not in core
    assert create_agent(emulated("Hello.")).invoke({"messages": [("user", "Hi")]})


def test_2_it_needs_three_packages() -> None:
    needed = [one for one in requires("ai21-chains") or () if "extra ==" not in one]

    assert sorted(one.split("<")[0].split(">")[0] for one in needed) == [
        "httpx",
        "langchain-core",
        "pydantic",
    ]


def test_3_streams_keep_tool_calls_also_without_arguments() -> None:
    made = summed(emulated(PARALLEL)).tool_calls

    assert [(call["name"], call["args"], call["id"]) for call in made] == [
        ("get_weather", {"city": "Haifa"}, "c1"),
        ("get_time", {}, "c2"),
    ]


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
@each("version", ["v0", "v1", "v3"])
def test_4_text_and_tool_calls_of_a_stream_do_not_collide(version: str) -> None:
    model = emulated(PARALLEL, **({} if version == "v3" else {"output_version": version}))
    message = model.stream_events("Hi", version="v3").output if version == "v3" else summed(model)

    kinds = [block["type"] for block in message.content_blocks]
    assert kinds == ["text", "tool_call", "tool_call"]
    assert message.text == "I look."
    assert message.tool_calls[0]["args"] == {"city": "Haifa"}


def test_5_streams_have_their_usage_once() -> None:
    given = [chunk.usage_metadata for chunk in emulated("One two three.").stream("Hi")]

    (usage,) = filter(None, given)
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0


def test_6_nothing_in_a_stream_s_metadata_is_doubled() -> None:
    # A server that repeats everything in each event.
    twice = [event(text, "stop", role="assistant") for text in ("Hel", "lo")]
    with raw.scripted(stream(*twice, DONE)) as server:
        message = summed(chat(server))

    assert message.response_metadata == {
        "model_provider": "ai21",
        "model_name": "jamba-mini",
        "finish_reason": "stop",
        "id": "chat-1",
    }


def test_7_streams_have_a_finish_reason() -> None:
    assert summed(emulated("Hello.")).response_metadata["finish_reason"] == "stop"
    assert summed(emulated(PARALLEL)).response_metadata["finish_reason"] == "tool_calls"


def test_8_a_429_is_tried_again_when_the_server_says() -> None:
    headers = ["content-type: application/json", "retry-after: 7"]
    pauses: list[float] = []
    with raw.scripted(raw.answer({"detail": "Slow"}, "429 Too Many", headers), says()) as server:
        client = AI21Client(base_url=server.url, api_key="k", sleep=pauses.append)
        assert calls.complete(client) == "Hello"

    assert pauses == [7.0]


def test_9_one_model_serves_event_loop_after_event_loop() -> None:
    with raw.scripted(says()) as server:
        model = chat(server)
        assert [asyncio.run(model.ainvoke("Hi")).content for _ in range(3)] == ["Hello"] * 3


async def test_10_an_http_client_of_one_s_own_is_used_and_left_open() -> None:
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json=raw.completion())

    transport = httpx.MockTransport(handle)
    http, ahttp = httpx.Client(transport=transport), httpx.AsyncClient(transport=transport)
    model = ChatAI21(api_key="k", http_client=http, http_async_client=ahttp)
    model.invoke("Hi")
    await model.ainvoke("Hi")

    assert len(asked) == 2
    assert not http.is_closed
    assert not ahttp.is_closed


@each("kind", ["sync", "async"])
def test_11_a_stream_that_falls_silent_ends(kind: str) -> None:
    async def read(model: ChatAI21) -> None:
        async for _ in model.astream("Hi"):
            pass

    with raw.scripted(stream(ROLE, event("Hel"), HOLD)) as server:
        model = chat(server, timeout=0.05)
        with pytest.raises(APITimeoutError):
            list(model.stream("Hi")) if kind == "sync" else asyncio.run(read(model))


def test_12_importing_it_loads_nothing_until_a_name_is_used() -> None:
    code = "import sys, ai21_chains; print({'httpx', 'langchain_core'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


async def test_13_async_streams_come_piece_by_piece_without_a_thread() -> None:
    # There is no sync client to fall back on: it would have no answer.
    nothing = httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(500)))
    model = emulated("One two three four.", http_client=nothing)

    chunks = [chunk.text async for chunk in model.astream("Hi")]

    assert len([text for text in chunks if text]) > 1
    assert "".join(chunks) == "One two three four."


@each(("status", "again"), [(401, False), (422, False), (429, True), (500, True)])
def test_14_errors_say_in_langchain_s_words_whether_they_may_pass(status: int, again: bool) -> None:
    with pytest.raises(AI21Error) as caught:
        emulated(faults=[Fault(status=status)]).invoke("Hi")

    assert isinstance(caught.value, ModelError)
    assert caught.value.is_retryable is again


def test_15_stop_reaches_the_server() -> None:
    with raw.scripted(says()) as server:
        model = chat(server, stop=["a"])
        model.invoke("Hi")
        model.invoke("Hi", stop=["b"])
        list(model.stream("Hi", stop=["c"]))
        model.bind(stop=["d"]).invoke("Hi")

    assert [body["stop"] for body in server.bodies] == [["a"], ["b"], ["c"], ["d"]]


def test_16_a_misspelt_argument_is_refused_with_the_right_one() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'temperature'"):
        ChatAI21(temperatur=0.5)
    with pytest.raises(ConfigurationError, match="Did you mean 'max_tokens'"):
        emulated("Hello.").invoke("Hi", max_token=5)


def test_17_init_chat_model_knows_it() -> None:
    register_with_langchain()

    model = init_chat_model("ai21:jamba-large", temperature=0)

    assert isinstance(model, ChatAI21)
    assert (model.model, model.temperature) == ("jamba-large", 0)


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_18_a_dump_can_be_loaded_and_holds_no_key() -> None:
    model = ChatAI21(api_key="sk-secret", model="jamba-large", temperature=0.5)

    again = load(dumpd(model), allowed_objects=[ChatAI21], valid_namespaces=["ai21_chains"])

    assert (again.model, again.temperature) == ("jamba-large", 0.5)
    assert "sk-secret" not in json.dumps(dumpd(model))


class Forecast(BaseModel):
    """A forecast."""

    city: str


def test_19_an_agent_s_schema_is_a_tool_as_the_profile_says() -> None:
    asked: list[dict[str, Any]] = []

    def brain(request: dict[str, Any]) -> Reply:
        asked.append(request)
        return Reply(tool_calls=[ToolCall("Forecast", {"city": "Haifa"})])

    model = emulated(brain=brain)
    answered = create_agent(model, response_format=Forecast).invoke({"messages": [("user", "?")]})

    assert (model.profile or {})["structured_output"] is False
    assert [one["function"]["name"] for one in asked[0]["tools"]] == ["Forecast"]
    assert answered["structured_response"] == Forecast(city="Haifa")


def test_20_citations_are_standard_annotations() -> None:
    document = "The museum opens at ten. Dogs must stay outside."
    answer = create_grounded_qa_chain(emulated()).invoke(
        {"question": "When does the museum open?", "documents": [document]}
    )

    (text,) = answer.to_message().content_blocks
    (citation, *_) = text["annotations"]
    assert citation["type"] == "citation"
    assert citation["cited_text"] in document


@pytest.mark.filterwarnings(
    # LangServe asks instances of pydantic models for their fields.
    "ignore:Accessing the 'model_fields' attribute:pydantic.warnings.PydanticDeprecatedSince211"
)
def test_21_langserve_serves_several_chains_in_several_loops() -> None:
    model, app = emulated(), FastAPI()
    chains = {"qa": create_grounded_qa_chain(model), "ca": create_contextual_answers_chain(model)}
    for name, chain in chains.items():
        add_ai21_routes(app, chain, path=f"/{name}")
    asked = {"question": "When does it open?", "documents": ["It opens at ten."]}

    async def ask() -> list[str]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            streamed = await http.post("/qa/stream", json={"input": asked})
            schemas = [(await http.get(f"/{name}/input_schema")).json() for name in chains]
        assert schemas == [chain.get_input_jsonschema() for chain in chains.values()]
        return [line for line in streamed.text.splitlines() if line.startswith("event:")]

    first, second = asyncio.run(ask()), asyncio.run(ask())

    assert first[-1].strip() == second[-1].strip() == "event: end"
    assert "event: data" in first
