"""The routes of chains, as any HTTP client finds them; `RemoteRunnable` has its own test."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any
from uuid import UUID

import httpx
import pytest
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, Runnable, RunnableConfig, RunnableLambda
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.types import Message

from ai21_chains import ChatAI21, Emulator, create_grounded_qa_chain
from ai21_chains.emulator import Fault, scripted
from ai21_chains.errors import AI21Error, ConfigurationError, MissingAPIKeyError
from ai21_chains.serving import chain_routes
from ai21_chains.serving._hangup import EventStream
from tests.servers.scripted import HOLD, ScriptedServer
from tests.servers.scripted import scripted as scripted_server
from tests.serving.apps import ASKED, model_on, serving

NOT_JSON = b'{"input": '
ONE_TOO_MANY = {"inputs": [ASKED, ASKED, ASKED]}


def client(chain: Runnable[Any, Any], **settings: Any) -> httpx.AsyncClient:
    app = Starlette(routes=chain_routes({"qa": chain}, **settings))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test/qa")


def qa(*faults: Fault, **settings: Any) -> Runnable[Any, Any]:
    return create_grounded_qa_chain(model_on(Emulator(faults=faults), **settings))


def raising(error: Exception) -> Runnable[Any, Any]:
    async def fail(value: Any) -> Any:
        raise error

    return RunnableLambda(fail, name="Failing")


def events(text: str) -> list[tuple[str, Any]]:
    """The events of a stream: their names and data."""
    found = []
    for block in text.split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields["event"], json.loads(fields.get("data", "null"))))
    return found


async def error_of(chain: Runnable[Any, Any]) -> tuple[Any, Any]:
    """What a failing chain is answered with when it streams: the error event, and the last one."""
    response = await client(chain).post("/stream", json={"input": ASKED})
    assert response.status_code == 200
    *_, failed, last = events(response.text)
    return failed, last


# --- What is answered ------------------------------------------------------------------------


async def test_invoke_answers_with_the_output_and_the_id_of_the_run() -> None:
    answer = (await client(qa()).post("/invoke", json={"input": ASKED, "config": {}})).json()

    assert answer["output"]["answer"] == "The museum opens at ten. [1]"
    assert answer["output"]["documents"][0]["type"] == "Document"
    assert UUID(answer["metadata"]["run_id"])


async def test_batch_answers_each_row_with_a_run_of_its_own() -> None:
    other = {**ASKED, "question": "Where must dogs stay?"}
    answer = (await client(qa()).post("/batch", json={"inputs": [ASKED, other]})).json()

    assert [row["answer"] for row in answer["output"]] == [
        "The museum opens at ten. [1]",
        "Dogs must stay outside. [1]",
    ]
    assert len(set(answer["metadata"]["run_ids"])) == 2
    assert [one["run_id"] for one in answer["metadata"]["responses"]] == (
        answer["metadata"]["run_ids"]
    )
    assert "errors" not in answer


async def test_a_stream_has_tokens_and_then_citations() -> None:
    response = await client(qa()).post("/stream", json={"input": ASKED})
    (first, about), *data, last = events(response.text)
    pieces = [piece for _, piece in data]

    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert first == "metadata"
    assert UUID(about["run_id"])
    assert {name for name, _ in data} == {"data"}
    assert [piece["answer"] for piece in pieces[1:4]] == ["The", " museum", " opens"]
    assert [at for at, piece in enumerate(pieces) if piece.get("citations")] == [len(pieces) - 2]
    assert last == ("end", None)


@pytest.mark.parametrize(
    ("kind", "title"), [("input", "GroundedQAInput"), ("output", "GroundedAnswer")]
)
async def test_schemas_are_those_of_the_chain(kind: str, title: str) -> None:
    schema = (await client(qa()).get(f"/{kind}_schema")).json()

    assert schema["title"] == title
    assert "properties" in schema


async def test_a_type_without_a_schema_may_be_anything() -> None:
    async def run(value: int) -> AsyncIterator[str]:
        yield "one"

    http = client(RunnableLambda(run, name="Pieces"))

    assert (await http.get("/output_schema")).json() == {}
    assert (await http.post("/invoke", json={"input": 1})).json()["output"] == "one"


async def test_a_prompt_and_a_model_are_served_as_well() -> None:
    chain = ChatPromptTemplate.from_messages([("human", "Say {word}")]) | model_on(
        Emulator(brain=scripted("word"))
    )
    answer = (await client(chain).post("/invoke", json={"input": {"word": "word"}})).json()

    assert answer["output"]["type"] == "ai"
    assert answer["output"]["content"] == "word"


class Wrapped(BaseModel):
    number: float
    message: AIMessage


async def test_values_that_json_lacks_and_messages_in_results_are_sent() -> None:
    call = {"name": "look", "args": {}, "id": "1", "type": "tool_call"}
    result = Wrapped(number=float("nan"), message=AIMessage("", tool_calls=[call]))
    chain = RunnableLambda(lambda value: result, name="Wrapping")
    output = (await client(chain).post("/invoke", json={"input": 1})).json()["output"]

    assert output["number"] is None
    assert output["message"]["tool_calls"] == [call]


async def test_half_a_character_is_sent_as_a_question_mark() -> None:
    chain = RunnableLambda(
        lambda value: {"source": "caf\udce9.txt", "x": float("inf")}, name="Half"
    )
    answer = (await client(chain).post("/invoke", json={"input": 1})).json()

    assert answer["output"] == {"source": "caf?.txt", "x": None}


async def test_no_character_ends_a_line_of_a_stream() -> None:
    text = "a\x85b\u2028c\u2029d\ne\r\nf"
    chain = RunnableLambda(lambda value: value, name="Echo")
    response = await client(chain).post("/stream", json={"input": text})

    assert len(response.text.splitlines()) == len(response.text.split("\n")) - 1
    assert events(response.text)[1] == ("data", text)


# --- Requests that do not fit ----------------------------------------------------------------

BAD = {
    "no JSON": ("invoke", NOT_JSON, ["body"], "Invalid JSON"),
    "no object": ("invoke", b"[]", ["body"], "an object"),
    "no input": ("invoke", {}, ["body", "input"], "Field required"),
    "no question": ("invoke", {"input": {}}, ["body", "input", "question"], "Field required"),
    "in a stream": ("stream", {"input": {}}, ["body", "input", "question"], "Field required"),
    "in a row": ("batch", {"inputs": [ASKED, 3]}, ["body", "inputs", 1], "valid dictionary"),
    "document": (
        "invoke",
        {"input": {**ASKED, "documents": [{"metadata": {}}]}},
        ["body", "input", "documents", 0],
        "needs text under 'page_content'",
    ),
    "blank": ("invoke", {"input": {"question": " "}}, ["body", "input"], "question is empty"),
    "nothing to answer from": (
        "invoke",
        {"input": {"question": "Why?"}},
        ["body", "input"],
        "there is nothing to answer from",
    ),
    "nothing in a row": (
        "batch",
        {"inputs": [ASKED, {"question": "Why?"}]},
        ["body", "inputs", 1],
        "there is nothing to answer from",
    ),
    "kwargs": ("invoke", {"input": ASKED, "kwargs": {"stop": "x"}}, ["body", "kwargs"], "at most"),
    "config": ("invoke", {"input": ASKED, "config": [{}]}, ["body", "config"], "an object"),
    "configs": (
        "batch",
        {"inputs": [ASKED], "config": [{}, {}]},
        ["body", "config"],
        "There are 2 configs for 1 inputs",
    ),
    "too many": ("batch", ONE_TOO_MANY, ["body", "inputs"], "may have 2 inputs (max_batch)"),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_does_not_fit_is_answered_422_with_the_place_and_the_reason(name: str) -> None:
    call, body, place, reason = BAD[name]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = await client(qa(), max_batch=2).post(
        f"/{call}", content=content, headers={"Content-Type": "application/json"}
    )
    problem = response.json()["detail"][0]

    assert response.status_code == 422
    assert problem["loc"] == place
    assert reason in problem["msg"]
    assert problem.keys() == {"type", "loc", "msg"}


async def test_nothing_is_sent_when_one_row_does_not_fit() -> None:
    emulator = Emulator()
    chain = create_grounded_qa_chain(model_on(emulator))
    response = await client(chain).post("/batch", json={"inputs": [ASKED, {}]})

    assert response.status_code == 422
    assert not emulator.requests


async def test_a_message_without_a_type_is_the_clients_fault() -> None:
    response = await client(model_on(Emulator())).post(
        "/invoke", json={"input": [{"role": "user", "content": "Hi"}]}
    )

    assert response.status_code == 422
    assert "'type'" in response.json()["detail"][0]["msg"]


async def test_a_body_that_is_too_long_is_answered_413_with_the_limit() -> None:
    response = await client(qa(), max_body_bytes=100).post("/invoke", json={"input": "x" * 100})

    assert response.status_code == 413
    assert response.json() == {"detail": "The body may be 100 bytes long (max_body_bytes)"}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_only_json_is_taken_so_that_no_page_in_the_web_can_post(kind: str) -> None:
    response = await client(qa()).post(
        "/invoke", content=json.dumps({"input": ASKED}), headers={"Content-Type": kind}
    )

    assert response.status_code == 415
    assert "Content-Type: application/json" in response.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/invoke", 405), ("POST", "/input_schema", 405), ("POST", "/stream_log", 404)],
)
async def test_other_methods_and_paths_are_not_there(method: str, path: str, status: int) -> None:
    assert (await client(qa()).request(method, path, json={})).status_code == status


# --- Failures --------------------------------------------------------------------------------

FAULTS = {
    "a refused key": (Fault(status=401, body={"detail": "Forbidden"}), 502),
    "no permission": (Fault(status=403), 502),
    "a refused value": (Fault(status=422, body={"detail": "bad top_p"}), 400),
    "overload": (Fault(status=429, headers={"Retry-After": "7"}), 429),
    "a broken server": (Fault(status=500), 502),
    "an unavailable server": (Fault(status=503), 503),
    "no answer": (Fault(drop=True), 502),
    "no answer in time": (Fault(delay=5), 504),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_failure_keeps_the_status_of_its_cause(name: str) -> None:
    fault, status = FAULTS[name]
    chain = qa(fault, fault, fault, timeout=0.01)
    http = client(chain)
    invoked = await http.post("/invoke", json={"input": ASKED})
    batched = await http.post("/batch", json={"inputs": [ASKED]})
    failed, last = await error_of(chain)

    assert (invoked.status_code, batched.status_code) == (status, status)
    assert batched.json()["detail"] == f"inputs[0]: {invoked.json()['detail']}"
    assert failed[0] == "error"
    assert failed[1]["status_code"] == status
    assert failed[1]["message"] == invoked.json()["detail"]
    assert "\n" not in failed[1]["message"]
    assert last == ("end", None)


async def test_what_to_wait_for_is_passed_on() -> None:
    chain = qa(Fault(status=429, headers={"Retry-After": "7"}, times=None))
    http = client(chain)
    invoked = await http.post("/invoke", json={"input": ASKED})
    apart = await http.post("/batch", json={"inputs": [ASKED], "return_exceptions": True})
    failed, _ = await error_of(chain)

    assert invoked.headers["retry-after"] == "7"
    assert failed[1]["retry_after"] == 7
    assert apart.json()["errors"][0]["retry_after"] == 7


async def test_rows_fail_alone_if_the_client_wants_so() -> None:
    chain = qa(Fault(status=429))
    rows = [ASKED, ASKED, {"documents": 3}]
    response = await client(chain, max_concurrency=1).post(
        "/batch", json={"inputs": rows, "return_exceptions": True}
    )
    answer = response.json()

    assert response.status_code == 200
    assert [row and row["answer"] for row in answer["output"]] == [
        None,
        "The museum opens at ten. [1]",
        None,
    ]
    assert [(one["index"], one["status_code"]) for one in answer["errors"]] == [(0, 429), (2, 422)]
    assert "body.inputs.2.question: Field required" in answer["errors"][1]["message"]
    assert len(answer["metadata"]["run_ids"]) == 3


async def test_a_row_that_fails_ends_the_others() -> None:
    ended = []

    async def run(value: int) -> int:
        if value == 0:
            raise AI21Error("This one fails")
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ended.append(value)
            raise
        return value

    chain = RunnableLambda(run, name="Rows")
    response = await client(chain).post("/batch", json={"inputs": [1, 0, 2]})

    assert response.status_code == 500
    assert sorted(ended) == [1, 2]


@pytest.mark.parametrize(
    "error", [RuntimeError("secret path"), ValueError("secret"), MissingAPIKeyError("secret")]
)
async def test_nothing_of_the_servers_own_is_said(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    response = await client(raising(error)).post("/invoke", json={"input": 1})
    failed, _ = await error_of(raising(error))

    assert response.status_code in (500, 502)
    assert "secret" not in response.text
    assert "secret" not in str(failed)
    assert "Traceback" not in response.text
    logged = caplog.records[0]
    assert logged.levelno == logging.ERROR
    assert bool(logged.exc_info) == (not isinstance(error, AI21Error))


async def test_a_value_that_pydantic_refuses_inside_a_chain_is_not_the_clients_fault() -> None:
    chain = RunnableLambda(lambda value: Wrapped.model_validate({}), name="Wrong")

    assert (await client(chain).post("/invoke", json={"input": 1})).status_code == 500


async def test_an_output_that_json_cannot_hold_is_a_failure() -> None:
    chain = RunnableLambda(lambda value: object(), name="Opaque")
    response = await client(chain).post("/invoke", json={"input": 1})
    failed, last = await error_of(chain)

    assert response.status_code == 500
    assert failed[1]["status_code"] == 500
    assert last == ("end", None)


# --- Limits ----------------------------------------------------------------------------------


class Busy:
    """A chain that counts how many of it run at once."""

    def __init__(self) -> None:
        self.running = self.most = 0

    @property
    def chain(self) -> Runnable[Any, Any]:
        return RunnableLambda(self._run, name="Busy")

    async def _run(self, value: int) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.001)
        self.running -= 1
        return value


async def test_so_many_run_at_once_and_the_others_wait() -> None:
    busy = Busy()
    http = client(busy.chain, max_concurrency=2)
    batch, *others = await asyncio.gather(
        http.post("/batch", json={"inputs": list(range(9))}),
        http.post("/invoke", json={"input": 9}),
        http.post("/stream", json={"input": 10}),
    )

    assert busy.most == 2
    assert batch.json()["output"] == list(range(9))
    assert [one.status_code for one in others] == [200, 200]


def test_each_event_loop_has_its_own_turns() -> None:
    http = client(Busy().chain, max_concurrency=1)

    async def run() -> httpx.Response:
        return await http.post("/batch", json={"inputs": [1, 2, 3]})

    assert [asyncio.run(run()).status_code for _ in range(2)] == [200, 200]


async def test_a_chain_makes_no_more_requests_at_once_than_that() -> None:
    async def run(value: int, config: RunnableConfig) -> int | None:
        return config.get("max_concurrency")

    chain = RunnableLambda(run, name="Bounded")
    answer = await client(chain, max_concurrency=3).post("/invoke", json={"input": 1})

    assert answer.json()["output"] == 3


CONFIG = {
    "tags": ["mine"],
    "metadata": {"mine": 1},
    "run_id": "00000000-0000-0000-0000-000000000000",
    "max_concurrency": 1000,
    "recursion_limit": 1000,
    "configurable": {"greeting": "Bye", "name": "you"},
}


@pytest.mark.parametrize(
    ("allowed", "seen"), [((), {}), (("greeting",), {"greeting": "Bye"})], ids=["none", "one"]
)
async def test_of_a_clients_config_only_what_is_allowed_is_read(
    allowed: Sequence[str], seen: Mapping[str, str]
) -> None:
    configs: list[RunnableConfig] = []

    async def run(value: Any, config: RunnableConfig) -> None:
        configs.append(config)

    http = client(RunnableLambda(run, name="Seeing"), configurable=allowed)
    await http.post("/invoke", json={"input": 1, "config": CONFIG})
    await http.post("/stream", json={"input": 1, "config": CONFIG})
    await http.post("/batch", json={"inputs": [1, 1], "config": CONFIG})
    await http.post("/batch", json={"inputs": [1], "config": [CONFIG]})

    assert len(configs) == 5
    for config in configs:
        assert config.get("configurable", {}) == seen
        assert not config.get("tags")
        assert "mine" not in config.get("metadata", {})
        assert config.get("max_concurrency") == 64
        assert config.get("recursion_limit") == 25


async def test_an_allowed_field_of_a_model_can_be_set() -> None:
    emulator = Emulator(brain=scripted("Hi"))
    model = model_on(emulator).configurable_fields(
        temperature=ConfigurableField(id="temperature"),
        max_tokens=ConfigurableField(id="max_tokens"),
    )
    await client(model, configurable=["temperature"]).post(
        "/invoke",
        json={"input": "Hi", "config": {"configurable": {"temperature": 1.5, "max_tokens": 9}}},
    )
    sent = emulator.requests[0].json

    assert sent["temperature"] == 1.5
    assert "max_tokens" not in sent


@pytest.mark.parametrize("name", ["a/b", "", "a b", "é", "{x}", "."])
def test_a_name_that_cannot_stand_in_an_address_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="must consist of"):
        chain_routes({name: qa()})


@pytest.mark.parametrize("limit", ["max_concurrency", "max_batch", "max_body_bytes"])
def test_a_limit_of_nothing_is_refused(limit: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{limit} must be 1 or more, got 0"):
        chain_routes({"qa": qa()}, **{limit: 0})


# --- Clients that go -------------------------------------------------------------------------


@pytest.fixture
def upstream() -> Iterator[ScriptedServer]:
    """A server that takes requests and never answers them."""
    with scripted_server([HOLD]) as server:
        yield server


@pytest.fixture
def address(upstream: ScriptedServer) -> Iterator[str]:
    model = ChatAI21(api_key="test-key", base_url=upstream.url)
    with serving(Starlette(routes=chain_routes({"qa": create_grounded_qa_chain(model)}))) as url:
        yield url


@pytest.mark.parametrize("call", ["invoke", "batch", "stream"])
async def test_the_request_to_ai21_ends_when_the_client_hangs_up(
    call: str, upstream: ScriptedServer, address: str
) -> None:
    body = {"inputs": [ASKED]} if call == "batch" else {"input": ASKED}
    async with httpx.AsyncClient() as http:
        asking = asyncio.ensure_future(http.post(f"{address}/qa/{call}", json=body))
        while not upstream.requests:
            await asyncio.sleep(0.005)
        asking.cancel()

    assert await asyncio.to_thread(upstream.left.wait, 5)


async def sent_until_hung_up(
    stream: EventStream, send: Callable[[Message], Awaitable[None]], gone: asyncio.Event
) -> None:
    said: list[Message] = [{"type": "http.request"}]

    async def receive() -> Message:
        if said:
            return said.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    await asyncio.wait_for(stream({"type": "http"}, receive, send), timeout=5)


async def test_a_stream_is_closed_when_the_client_hangs_up_while_it_is_sent() -> None:
    gone, closed = asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield b"more"
        finally:
            closed.set()

    async def send(message: Message) -> None:
        if message.get("body"):
            gone.set()  # the client, which reads no further
            await asyncio.Event().wait()

    await sent_until_hung_up(EventStream(endless()), send, gone)

    assert closed.is_set()


async def test_a_silent_stream_says_that_it_is_alive() -> None:
    sent: list[bytes] = []
    pinged = asyncio.Event()

    async def silent() -> AsyncGenerator[bytes]:
        await pinged.wait()
        yield b"event: end\n\n"

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))
        if b": ping\n\n" in sent:
            pinged.set()

    await sent_until_hung_up(EventStream(silent(), ping_seconds=0.001), send, asyncio.Event())

    assert b": ping\n\n" in sent
    assert sent[-2:] == [b"event: end\n\n", b""]


async def test_what_a_stream_is_made_of_is_closed_when_nobody_asks_for_the_first_event() -> None:
    closed = asyncio.Event()

    async def pieces() -> AsyncGenerator[bytes]:
        try:
            yield b"first"
            yield b"second"
        finally:
            closed.set()

    async def events() -> AsyncGenerator[bytes]:
        async for piece in source:
            yield piece

    async def send(message: Any) -> None:
        gone.set()
        await asyncio.Event().wait()

    source, gone = pieces(), asyncio.Event()
    assert await anext(source) == b"first"
    await sent_until_hung_up(EventStream(events(), source=source), send, gone)
    assert closed.is_set()
