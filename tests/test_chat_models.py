"""ChatAI21 as LangChain uses it: options, callbacks, caches, batches, fallbacks."""

from __future__ import annotations

import asyncio
import time
from typing import Any, get_type_hints

import httpx
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, trim_messages
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import ConfigurableField
from pydantic import BaseModel

from ai21_chains import ChatAI21
from ai21_chains.emulator import Emulator
from ai21_chains.errors import (
    AI21Error,
    AuthenticationError,
    ConfigurationError,
    MissingAPIKeyError,
)
from tests.cases import each
from tests.servers import calls
from tests.servers.calls import Call
from tests.servers.scripted import (
    HOLD,
    answer,
    completion,
    event,
    fails,
    says,
    scripted,
    stream,
)


def serving():
    return scripted(says("Hello"))


@pytest.fixture
def server():
    with serving() as running:
        yield running


def chat(server, **settings: Any) -> ChatAI21:
    return ChatAI21(**{"base_url": server.url, "api_key": "k", "max_retries": 0, **settings})


# --- Options ---------------------------------------------------------------------------------

GIVEN = {
    "model": "jamba-large",
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 7,
    "stop": ["."],
    "seed": 1,
    "user": "u",
    "documents": ["A page."],
    "response_format": {"type": "json_object"},
}
SENT = {**GIVEN, "documents": [{"content": "A page.", "metadata": {}}]}


def _sent(server) -> dict[str, Any]:
    body = server.bodies[-1]
    return {k: v for k, v in body.items() if k not in ("messages", "stream")}


@each("call", calls.CALLED, server=serving)
def test_only_what_is_set_is_sent(call: Call, server) -> None:
    call(chat(server))

    assert _sent(server) == {"model": "jamba-mini"}
    assert server.bodies[0]["messages"] == [{"role": "user", "content": "Hi"}]


@each("call", calls.CALLED, server=serving)
def test_what_the_constructor_sets_is_sent(call: Call, server) -> None:
    call(chat(server, **GIVEN, model_kwargs={"mock_response": {"a": 1}}))

    assert _sent(server) == {**SENT, "mock_response": {"a": 1}}


@each("call", calls.CALLED, server=serving)
def test_what_a_call_sets_goes_first(call: Call, server) -> None:
    model = chat(server, model="jamba-mini", temperature=0.1, top_p=0.1, max_tokens=1, stop=["x"])
    call(model, **GIVEN, model_kwargs={"mock_response": {}})

    assert _sent(server) == {**SENT, "mock_response": {}}


@each("call", calls.CALLED, server=serving)
def test_a_call_can_unset_what_the_constructor_sets(call: Call, server) -> None:
    model = chat(server, temperature=0.1, stop=["x"], documents=["A"], user="u")
    call(model, temperature=None, stop=[], documents=None, user=None)

    assert _sent(server) == {"model": "jamba-mini"}


@each("call", calls.CALLED, server=serving)
def test_a_call_can_go_elsewhere_with_another_key(call: Call, server) -> None:
    with scripted([HOLD]) as other:
        model = chat(other, timeout=30, default_headers={"X-A": "1", "X-B": "1"})
        elsewhere = {"base_url": server.url, "api_key": "k-2", "timeout": 5, "max_retries": 1}
        call(model, **elsewhere, extra_headers={"x-b": "2"})

    sent = server.requests[0]
    assert sent.key == "k-2"
    assert (sent.header("x-a"), sent.header("x-b")) == (["1"], ["2"])


@each("call", calls.CALLED)
def test_a_call_can_have_a_timeout_and_retries_of_its_own(call: Call) -> None:
    with scripted([HOLD], says()) as server:
        assert call(chat(server), timeout=0.2, max_retries=1).content == "Hello"


@each("call", calls.CALLED, server=serving)
def test_a_call_can_have_an_http_client_of_its_own(call: Call, server) -> None:
    transport = Emulator().transport()
    clients = {
        "http_client": httpx.Client(transport=transport),
        "http_async_client": httpx.AsyncClient(transport=transport),
    }
    call(chat(server), **clients)

    assert not server.requests


@each("call", calls.CALLED, server=serving)
def test_bound_options_are_options_of_the_call(call: Call, server) -> None:
    call(chat(server).bind(temperature=0, stop=["x"]), stop=["y"])

    assert _sent(server) == {"model": "jamba-mini", "temperature": 0, "stop": ["y"]}


@each("call", calls.CALLED, server=serving)
def test_other_clients_names_are_understood(call: Call, server) -> None:
    call(ChatAI21(model_name="ai21/jamba-large", api_base=server.url, api_key="k"))
    call(chat(server), model_name="ai21/jamba-large")

    assert [body["model"] for body in server.bodies] == ["jamba-large"] * 2


@each("call", calls.CALLED)
@each(
    ("wrong", "words"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"n": 0}, "n "),
        ({"n": 17}, "n "),
        ({"timeout": 0}, "timeout"),
        ({"max_retries": -1}, "max_retries"),
        ({"stop": [""]}, "stop"),
        ({"model": " "}, "model"),
        ({"base_url": "jamba.example"}, "base_url"),
        ({"temprature": 1}, "Did you mean 'temperature'"),
        ({"max_token": 1}, "Did you mean 'max_tokens'"),
        ({"apikey": "k"}, "Did you mean 'api_key'"),
        ({"frobnicate": 1}, "model_kwargs"),
        ({"model_kwargs": {"temperature": 1}}, "temperature"),
        ({"http_client": "x"}, "http_client"),
    ],
    server=serving,
)
def test_what_is_wrong_is_refused_by_name_and_nothing_is_sent(call, server, wrong, words) -> None:
    for attempt in (
        lambda: call(chat(server, **wrong)),
        lambda: call(chat(server), **wrong),
        lambda: call(chat(server).model_copy(update=wrong)),
    ):
        with pytest.raises(ConfigurationError, match=words):
            attempt()
    assert not server.requests


@each("call", calls.CALLED, server=serving)
def test_a_setting_that_is_changed_later_is_checked_and_used(call: Call, server) -> None:
    model = chat(server)

    with pytest.raises(ConfigurationError, match="temperature"):
        model.temperature = 9
    model.stop = "END"
    call(model)

    assert "temperature" not in server.requests[0].body
    assert server.requests[0].body["stop"] == ["END"]


@each("call", calls.CALLED, server=serving)
def test_the_constructor_needs_no_key_and_the_call_does(call: Call, server) -> None:
    with pytest.raises(MissingAPIKeyError):
        call(ChatAI21(base_url=server.url))

    assert not server.requests


@each("call", calls.CALLED, monkeypatch=pytest.MonkeyPatch.context, server=serving)
def test_the_environment_gives_key_and_address(call: Call, server, monkeypatch) -> None:
    monkeypatch.setenv("AI21_API_KEY", "k-env\n")
    monkeypatch.setenv("AI21_API_HOST", server.url + "/")
    call(ChatAI21())

    assert server.requests[0].key == "k-env"


def test_a_constructor_is_cheap() -> None:
    ChatAI21(api_key="k")
    start = time.perf_counter()
    for _ in range(1000):
        ChatAI21(api_key="k")

    assert time.perf_counter() - start < 0.5


# --- Answers ---------------------------------------------------------------------------------


@each("call", calls.CALLED, server=serving)
def test_an_answer_has_everything_that_langchain_looks_for(call: Call, server) -> None:
    message = call(chat(server), model="jamba-large")

    assert message.content == "Hello"
    assert message.id.startswith("lc_run-")  # unique, whatever the server says
    assert message.usage_metadata == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    assert message.response_metadata == {
        "model_provider": "ai21",
        "model_name": "jamba-large",
        "finish_reason": "stop",
        "id": "chat-1",
    }


def test_generate_returns_all_n_answers(server) -> None:
    choices = [
        {"index": at, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for at, text in ((1, "b"), (0, "a"))
    ]
    with scripted(answer({**completion(), "choices": choices})) as server:
        found = chat(server).generate([[HumanMessage("Hi")]], n=2).generations[0]

    assert [generation.text for generation in found] == ["a", "b"]


@each("call", [calls.streamed, calls.astreamed], server=serving)
def test_n_above_1_does_not_stream(call: Call, server) -> None:
    with pytest.raises(ConfigurationError, match="n above 1"):
        call(chat(server), n=2)

    assert not server.requests


@each("call", [calls.invoke, calls.ainvoke], server=serving)
def test_streaming_makes_invoke_stream(call: Call, server) -> None:
    assert call(chat(server, streaming=True)).content == "Hello"
    assert call(chat(server), stream=True).content == "Hello"
    assert call(chat(server)).content == "Hello"

    assert ["stream" in body for body in server.bodies] == [True, True, False]


@each("call", [calls.streamed, calls.astreamed], server=serving)
def test_disable_streaming_makes_stream_invoke(call: Call, server) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    assert call(chat(server, disable_streaming=True)).content == "Hello"
    assert call(chat(server, disable_streaming="tool_calling"), tools=[tool]).content == "Hello"
    assert call(chat(server, disable_streaming="tool_calling")).content == "Hello"

    assert ["stream" in body for body in server.bodies] == [False, False, True]


@each("call", calls.CALLED, server=serving)
def test_output_version_v1_gives_content_blocks(call: Call, server) -> None:
    blocks = call(chat(server, output_version="v1")).content

    assert [(block["type"], block["text"]) for block in blocks] == [("text", "Hello")]


# --- Callbacks -------------------------------------------------------------------------------


class Listener(BaseCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.errors: list[BaseException] = []

    def on_llm_new_token(self, token: str, **_: Any) -> None:
        self.tokens.append(token)

    def on_llm_error(self, error: BaseException, **_: Any) -> None:
        self.errors.append(error)


@each("call", [calls.streamed, calls.astreamed], server=serving)
def test_each_token_is_called_back_once(call: Call, server) -> None:
    listener = Listener()
    call(chat(server), config={"callbacks": [listener]})

    assert [token for token in listener.tokens if token] == ["Hel", "lo"]


async def test_events_v2_carry_each_token_once(server) -> None:
    found = [
        one["data"]["chunk"].text
        async for one in chat(server).astream_events("Hi", version="v2")
        if one["event"] == "on_chat_model_stream"
    ]

    assert [text for text in found if text] == ["Hel", "lo"]


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_events_v3_carry_each_token_once(server) -> None:
    listener = Listener()
    events = chat(server).stream_events("Hi", version="v3", config={"callbacks": [listener]})

    assert list(events.text) == ["Hel", "lo"]
    assert events.output.usage_metadata["total_tokens"] == 5
    assert listener.tokens == ["Hel", "lo"]


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
async def test_async_events_v3_carry_each_token_once(server) -> None:
    events = await chat(server).astream_events("Hi", version="v3")

    assert [text async for text in events.text] == ["Hel", "lo"]


@each("call", calls.CALLED)
def test_errors_are_called_back(call: Call) -> None:
    listener = Listener()
    with scripted(fails("401 Unauthorized")) as server, pytest.raises(AuthenticationError):
        call(chat(server), config={"callbacks": [listener]})

    assert [type(error) for error in listener.errors] == [AuthenticationError]


# --- Batches, fallbacks, caches ----------------------------------------------------------------


def _bad_for(word: str):
    def script(request):
        if request.body["messages"][0]["content"] == word:
            return fails("422 Unprocessable Entity")
        return answer(completion("fine"))

    return script


def test_a_batch_keeps_what_succeeded() -> None:
    with scripted(_bad_for("bad")) as server:
        model = chat(server)
        told = model.batch(["a", "bad", "b"], return_exceptions=True)
        atold = asyncio.run(model.abatch(["a", "bad", "b"], return_exceptions=True))

    for found in (told, atold):
        assert [isinstance(one, AI21Error) for one in found] == [False, True, False]
        assert found[2].content == "fine"


@each("call", calls.CALLED, server=serving)
def test_fallbacks_take_over(call: Call, server) -> None:
    with scripted(fails("503 Busy")) as busy:
        model = chat(busy).with_fallbacks([chat(server)])

        assert call(model).content == "Hello"


class Joke(BaseModel):
    """A joke."""

    setup: str


def look(city: str) -> str:
    """Look at a city."""
    return city


@each(
    "prepare",
    [lambda m: m.bind_tools([look]), lambda m: m.with_structured_output(Joke)],
)
def test_tools_and_schemas_reach_the_fallbacks(prepare) -> None:
    called = [
        {"id": "c", "type": "function", "function": {"name": "Joke", "arguments": '{"setup":"x"}'}}
    ]
    with (
        scripted(fails("503 Busy")) as busy,
        scripted(answer(completion("", tool_calls=called))) as server,
    ):
        prepare(chat(busy).with_fallbacks([chat(server)])).invoke("Hi")

    assert len(server.bodies[0]["tools"]) == 1
    assert server.bodies[0]["tools"] == busy.bodies[0]["tools"]


@each("call", [calls.invoke, calls.ainvoke])
def test_retries_of_langchain_work_on_top(call: Call) -> None:
    with scripted(fails("503 Busy"), says()) as server:
        model = chat(server).with_retry(stop_after_attempt=2, wait_exponential_jitter=False)
        assert call(model).content == "Hello"


def test_annotations_can_be_read_at_run_time() -> None:
    for name in ("bind_tools", "with_structured_output", "model_copy", "_generate", "_astream"):
        assert "return" in get_type_hints(getattr(ChatAI21, name))


@each("call", [calls.invoke, calls.ainvoke], server=serving)
def test_a_cache_answers_the_same_question_only(call: Call, server) -> None:
    model = chat(server, cache=InMemoryCache())
    for _ in range(2):
        assert call(model).content == "Hello"
    assert len(server.requests) == 1

    call(model, temperature=1)
    call(model.model_copy(update={"temperature": 0.5}))
    model.max_tokens = 5
    call(model)
    assert len(server.requests) == 4

    call(model, api_key="k-other", timeout=3)
    assert len(server.requests) == 4

    call(model, base_url=server.url + "/other")
    assert len(server.requests) == 5


def test_a_caches_key_holds_no_secret(server) -> None:
    cache = InMemoryCache()
    model = chat(server, cache=cache, api_key="k-secret", default_headers={"X": "h-secret"})
    model.invoke("Hi", extra_headers={"Y": "h-secret"})
    model.invoke("Hi", api_key="k-secret-2")

    shown = repr(list(cache._cache))
    assert "k-secret" not in shown
    assert "h-secret" not in shown


def test_a_rate_limiter_slows_calls_down(server) -> None:
    limiter = InMemoryRateLimiter(requests_per_second=10, check_every_n_seconds=0.01)
    model = chat(server, rate_limiter=limiter)
    start = time.monotonic()
    for _ in range(3):
        model.invoke("Hi")

    assert time.monotonic() - start > 0.15


@each("call", calls.CALLED, server=serving)
def test_fields_can_be_configured_per_call(call: Call, server) -> None:
    model = chat(server).configurable_fields(
        temperature=ConfigurableField(id="temperature"), model=ConfigurableField(id="model")
    )
    settings = {"configurable": {"temperature": 0.7, "model": "jamba-large"}}

    assert call(model, config=settings).content == "Hello"
    assert _sent(server) == {"model": "jamba-large", "temperature": 0.7}


# --- What LangChain asks about the model --------------------------------------------------------


def test_tracing_parameters_follow_the_call() -> None:
    model = ChatAI21(api_key="k", temperature=0.1, max_tokens=9, stop="x")

    assert model._get_ls_params() == {
        "ls_provider": "ai21",
        "ls_model_name": "jamba-mini",
        "ls_model_type": "chat",
        "ls_temperature": 0.1,
        "ls_max_tokens": 9,
        "ls_stop": ["x"],
    }
    follows = model._get_ls_params(stop=["y"], model="jamba-large", temperature=0)
    assert (follows["ls_model_name"], follows["ls_temperature"], follows["ls_stop"]) == (
        "jamba-large",
        0,
        ["y"],
    )


def test_the_profile_is_that_of_the_model() -> None:
    profile = ChatAI21(api_key="k").profile

    assert profile["max_input_tokens"] == 256_000
    assert profile["tool_calling"] is True
    assert ChatAI21(api_key="k", model="other").profile is None
    assert ChatAI21(api_key="k", model="jamba-of-ours").profile["name"] == "jamba-of-ours"
    assert ChatAI21(api_key="k", model="j2-ultra").profile["max_input_tokens"] == 8_192
    assert ChatAI21(api_key="k", model="j2-ultra").profile["tool_calling"] is False
    assert ChatAI21(api_key="k", profile={"max_input_tokens": 5}).profile == {"max_input_tokens": 5}
    copied = ChatAI21(api_key="k").model_copy(update={"model": "jamba-large"})
    assert copied.profile["name"] == "Jamba Large"


def test_an_unknown_key_in_a_profile_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="speling"):
        ChatAI21(api_key="k", profile={"speling": 5})


def test_tokens_are_counted_without_a_network() -> None:
    model = ChatAI21()
    messages = [SystemMessage("Be brief."), HumanMessage("Tell me about Paris.")]
    alone = model.get_num_tokens_from_messages(messages)

    assert 5 < alone < 40
    assert model.get_num_tokens_from_messages(messages, tools=[look]) > alone + 10
    assert model.get_num_tokens("") == 0


def test_messages_are_trimmed_by_the_models_count() -> None:
    messages = [HumanMessage("word " * 100), AIMessage("word " * 100), HumanMessage("last")]
    kept = trim_messages(
        messages, max_tokens=40, token_counter=ChatAI21(), strategy="last", start_on="human"
    )

    assert [message.content for message in kept] == ["last"]


@each("call", [calls.streamed, calls.astreamed])
def test_tool_calls_are_put_together_from_a_stream(call: Call) -> None:
    def piece(**function: Any) -> bytes:
        first = {"id": "c-1", "type": "function"} if "name" in function else {}
        return event(tool_calls=[{"index": 0, **first, "function": function}])

    parts = [piece(name="look"), piece(arguments='{"city": "Pa'), piece(arguments='ris"}')]
    with scripted(stream(*parts, event("", "tool_calls"))) as server:
        message = call(chat(server).bind_tools([look]))

    assert [(c["name"], c["args"], c["id"]) for c in message.tool_calls] == [
        ("look", {"city": "Paris"}, "c-1")
    ]
