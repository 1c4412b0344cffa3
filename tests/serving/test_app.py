"""The server as an application: what it answers, whatever clients and AI21 do."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from ai21_chains import Emulator
from ai21_chains.emulator import Fault
from ai21_chains.errors import ConfigurationError
from ai21_chains.serving import ChainConfig, Deployment, ServerConfig, create_app
from ai21_chains.serving.app import Gateway
from tests.servers.scripted import (
    CUT,
    HOLD,
    RESET,
    ROLE,
    ScriptedServer,
    answer,
    completion,
    event,
    fails,
    says,
    scripted,
    stream,
)
from tests.serving.apps import serving

CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
MASTER = {"authorization": "Bearer sk-master"}


def emulated(emulator: Emulator | None = None, **settings: Any) -> Gateway:
    given: dict[str, Any] = {
        "deployments": (Deployment(name="m", model="jamba-mini", max_retries=0),),
        "emulator": emulator or Emulator(brain=lambda request: "Hello there."),
        **settings,
    }
    return create_app(ServerConfig(**given))


def in_front_of(server: ScriptedServer, **settings: Any) -> Gateway:
    own = {name: settings.pop(name) for name in ("timeout", "max_retries") if name in settings}
    given = {"base_url": server.url, "api_key": "sk-upstream-0123456789", "max_retries": 0, **own}
    one = Deployment(name="m", model="jamba-mini", **given)
    return create_app(ServerConfig(deployments=(one,), **settings))


def client(app: Any, **settings: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway", **settings)


async def post(app: Any, body: Any = ASKED, path: str = CHAT, **settings: Any) -> httpx.Response:
    async with client(app) as http:
        return await http.post(path, json=body, **settings)


async def get(app: Any, path: str, **settings: Any) -> httpx.Response:
    async with client(app) as http:
        return await http.get(path, **settings)


def chunks(response: httpx.Response) -> list[Any]:
    datas = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    return [data if data == "[DONE]" else json.loads(data) for data in datas]


def error(response: httpx.Response) -> dict[str, Any]:
    assert set(response.json()) == {"error"}
    found: dict[str, Any] = response.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


# --- Answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_a_conversation_is_answered(prefix: str) -> None:
    response = await post(emulated(), path=prefix + "/chat/completions")
    answered = response.json()
    assert answered["object"] == "chat.completion"
    assert answered["model"] == "m"
    assert answered["choices"][0]["message"]["content"] == "Hello there."
    assert answered["usage"]["total_tokens"] > 0


async def test_a_conversation_is_streamed() -> None:
    asked = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}
    response = await post(emulated(), asked)
    assert response.headers["content-type"].startswith("text/event-stream")
    *events, last, done = chunks(response)
    text = "".join(one["choices"][0]["delta"].get("content") or "" for one in events)
    assert text == "Hello there."
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    assert (last["choices"], done) == ([], "[DONE]")
    assert last["usage"]["completion_tokens"] > 0


async def test_several_answers_are_streamed_though_ai21_does_not() -> None:
    events = chunks(await post(emulated(), {**ASKED, "stream": True, "n": 2}))
    finished = [one["choices"][0] for one in events[:-1] if one["choices"][0]["finish_reason"]]
    assert sorted(choice["index"] for choice in finished) == [0, 1]


@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_prompts_are_continued_in_order(prefix: str) -> None:
    app = emulated(Emulator(brain=lambda request: request["messages"][-1]["content"]))
    asked = {"model": "m", "prompt": [f"prompt {number}" for number in range(20)]}
    choices = (await post(app, asked, prefix + "/completions")).json()["choices"]
    assert [choice["text"] for choice in choices] == asked["prompt"]


async def test_prompts_are_streamed() -> None:
    app = emulated(Emulator(brain=lambda request: request["messages"][-1]["content"]))
    asked = {"model": "m", "prompt": ["one", "two"], "stream": True}
    events = chunks(await post(app, asked, "/v1/completions"))[:-1]
    texts = {0: "", 1: ""}
    for one in events:
        for choice in one["choices"]:
            texts[choice["index"]] += choice["text"]
    assert texts == {0: "one", 1: "two"}


async def test_a_prompt_that_fails_fails_the_request() -> None:
    app = emulated(Emulator(faults=[Fault(status=503, times=None)]))
    response = await post(app, {"model": "m", "prompt": ["one", "two"]}, "/v1/completions")
    assert response.status_code == 503


@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_models_are_listed_and_described(prefix: str) -> None:
    app = emulated(chains=(ChainConfig(name="qa", kind="grounded_qa"),))
    listed = (await get(app, prefix + "/models")).json()
    assert [one["id"] for one in listed["data"]] == ["m", "chain/qa"]
    for name in ("m", "chain/qa"):
        described = (await get(app, f"{prefix}/models/{name}")).json()
        assert (described["id"], described["object"]) == (name, "model")


async def test_models_with_a_slash_in_their_name_are_found() -> None:
    app = emulated(deployments=(Deployment(name="ai21/mini", model="jamba-mini"),))
    assert (await get(app, "/v1/models/ai21/mini")).json()["id"] == "ai21/mini"


async def test_without_a_configuration_the_emulator_answers() -> None:
    response = await post(create_app(), {**ASKED, "model": "jamba-large"})
    assert "emulator" in response.json()["choices"][0]["message"]["content"]


async def test_the_application_can_be_mounted() -> None:
    app = Starlette(routes=[Mount("/llm", emulated())])
    assert (await post(app, path="/llm/v1/chat/completions")).status_code == 200
    assert (await get(app, "/llm/nowhere")).status_code == 404


# --- Chains ----------------------------------------------------------------------------------

QA = {"chains": (ChainConfig(name="qa", kind="grounded_qa"),), "emulator": Emulator()}
QUESTION = {
    "model": "chain/qa",
    "messages": [{"role": "user", "content": "When does the museum open?"}],
    "documents": [{"content": "The museum opens at ten."}],
}


async def test_a_chain_answers_like_a_model() -> None:
    message = (await post(emulated(**QA), QUESTION)).json()["choices"][0]["message"]
    assert message["content"] == "The museum opens at ten. [1]"
    assert message["citations"][0]["quote"] == "The museum opens at ten."
    assert message["annotations"]


async def test_a_chain_streams_like_a_model() -> None:
    asked = {**QUESTION, "stream": True, "stream_options": {"include_usage": True}}
    *events, usage, done = chunks(await post(emulated(**QA), asked))
    deltas = [one["choices"][0]["delta"] for one in events]
    assert "".join(delta.get("content") or "" for delta in deltas) == "The museum opens at ten. [1]"
    assert deltas[-1]["citations"]
    assert usage["usage"]["prompt_tokens"] > 0
    assert done == "[DONE]"


async def test_a_chain_is_served_in_langserves_form_too() -> None:
    documents = ["The museum opens at ten."]
    asked = {"input": {"question": "When does the museum open?", "documents": documents}}
    app = emulated(**QA)
    response = await post(app, asked, "/chains/qa/invoke")
    assert response.json()["output"]["status"] == "answered"
    assert (await post(app, asked, "/chains/other/invoke")).status_code == 404
    figures = (await get(app, "/metrics")).text
    assert 'ai21_chains_tokens_total{kind="prompt",model="chain/qa"}' in figures


async def test_a_chain_continues_no_texts() -> None:
    response = await post(
        emulated(**QA), {"model": "chain/qa", "prompt": "Once"}, "/v1/completions"
    )
    assert (response.status_code, error(response)["param"]) == (400, "model")


async def test_what_a_chain_cannot_take_is_the_clients_fault() -> None:
    response = await post(emulated(**QA), {**QUESTION, "messages": []})
    assert response.status_code == 400


# --- Refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nowhere", None, 404, None),
        ("GET", CHAT, None, 405, None),
        ("DELETE", "/v1/models", None, 405, None),
        ("GET", "/v1/models/other", None, 404, "model_not_found"),
        ("POST", CHAT, b"{", 400, "invalid_json"),
        ("POST", CHAT, b"", 400, "invalid_json"),
        ("POST", CHAT, b'{"model": "m"}', 400, "missing_required_parameter"),
        ("POST", CHAT, json.dumps({**ASKED, "model": "o"}).encode(), 404, "model_not_found"),
        ("POST", CHAT, json.dumps({**ASKED, "api_key": "k"}).encode(), 400, None),
        ("POST", CHAT, json.dumps({**ASKED, "api_base": "http://h"}).encode(), 400, None),
        ("POST", CHAT, json.dumps({**ASKED, "temperature": 9}).encode(), 400, None),
        ("POST", "/v1/completions", b"[]", 400, None),
    ],
    ids=range(12),
)
async def test_what_cannot_be_answered_is_said_as_openai_says_it(
    method: str, path: str, body: bytes | None, status: int, code: str | None
) -> None:
    async with client(emulated()) as http:
        response = await http.request(method, path, content=body)
    assert response.status_code == status
    found = error(response)
    assert found["type"] == "invalid_request_error"
    assert code is None or found["code"] == code


async def test_a_method_that_is_not_allowed_is_told_those_that_are() -> None:
    assert (await get(emulated(), CHAT)).headers["allow"] == "POST"


async def test_unknown_parameters_are_dropped_or_refused_as_configured() -> None:
    asked = {**ASKED, "logit_bias": {"1": 2}}
    dropped = await post(emulated(), {**asked, "bad\r\nname": 1})
    assert dropped.status_code == 200
    assert dropped.headers["x-ai21-chains-dropped-params"] == "logit_bias"
    refused = await post(emulated(drop_params=False), asked)
    assert (refused.status_code, error(refused)["param"]) == (400, "logit_bias")


async def test_a_body_that_is_too_long_is_refused_before_it_is_read() -> None:
    emulator = Emulator()
    response = await post(emulated(emulator, max_body_bytes=50))
    assert (response.status_code, error(response)["code"]) == (413, "request_too_large")
    assert emulator.requests == []


async def test_a_body_whose_length_is_not_said_is_measured() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 10

    async with client(emulated(max_body_bytes=50)) as http:
        response = await http.post(CHAT, content=pieces())
    assert response.status_code == 413


async def test_more_than_can_be_worked_on_is_refused_for_the_moment() -> None:
    with scripted(answer(completion()), [HOLD]) as server:
        app = in_front_of(server, max_concurrency=1)
        await post(app)
        waiting = asyncio.create_task(post(app))
        while len(server.requests) < 2:
            await asyncio.sleep(0.005)
        refused = await post(app)
        assert (refused.status_code, error(refused)["code"]) == (429, "server_overloaded")
        assert refused.headers["retry-after"] == "1"
        assert (await get(app, "/health")).json()["in_flight"] == 1
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await get(app, "/health")).json()["in_flight"] == 0


# --- AI21's failures -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        (fails("401 Unauthorized"), 502, "upstream_authentication_error"),
        (fails("403 Forbidden"), 502, "upstream_authentication_error"),
        (fails("422 Unprocessable Entity"), 400, "invalid_value"),
        (fails("429 Too Many Requests"), 429, "rate_limit_exceeded"),
        (fails("500 Internal Server Error"), 502, "upstream_error"),
        (fails("503 Service Unavailable"), 503, "upstream_error"),
        (answer(b"<html>no JSON</html>"), 502, "upstream_format"),
        ([CUT], 502, "upstream_unreachable"),
        ([RESET], 502, "upstream_unreachable"),
    ],
    ids=["401", "403", "422", "429", "500", "503", "no JSON", "cut", "reset"],
)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_what_ai21_does_wrong_has_a_status(
    script: Any, status: int, code: str, streamed: bool
) -> None:
    with scripted(script) as server:
        response = await post(in_front_of(server), {**ASKED, "stream": streamed})
    assert (response.status_code, error(response)["code"]) == (status, code)
    assert "sk-upstream" not in response.text


async def test_what_ai21_finds_fault_with_is_named() -> None:
    detail = [{"loc": ["body", "temperature"], "msg": "too hot", "type": "value_error"}]
    with scripted(fails("422 Unprocessable Entity", {"detail": detail})) as server:
        found = error(await post(in_front_of(server)))
    assert found["param"] == "temperature"
    assert "too hot" in found["message"]


async def test_how_long_to_wait_is_passed_on() -> None:
    faults = [Fault(status=429, headers={"retry-after": "17"})]
    response = await post(emulated(Emulator(faults=faults)))
    assert response.headers["retry-after"] == "17"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_an_upstream_that_hangs_is_a_gateway_timeout(streamed: bool) -> None:
    with scripted([HOLD]) as server:
        response = await post(in_front_of(server, timeout=0.05), {**ASKED, "stream": streamed})
        assert (response.status_code, error(response)["code"]) == (504, "upstream_timeout")
        assert await asyncio.to_thread(server.left.wait, 5)


@pytest.mark.parametrize("end", [[CUT], [RESET], [HOLD]], ids=["cut", "reset", "hang"])
async def test_a_stream_that_breaks_off_ends_with_an_error(end: Any) -> None:
    with scripted(stream(ROLE, event("Hel"), *end)) as server:
        response = await post(in_front_of(server, timeout=0.05), {**ASKED, "stream": True})
    *_, said, last = chunks(response)
    assert response.status_code == 200
    assert said["choices"][0]["delta"]["content"] == "Hel"
    assert set(last) == {"error"}


async def test_a_flood_of_an_answer_is_passed_on_whole() -> None:
    words = [event("word " * 2000) for _ in range(100)]
    with scripted(stream(ROLE, *words, event("", "stop"))) as server:
        response = await post(in_front_of(server), {**ASKED, "stream": True})
    text = "".join(one["choices"][0]["delta"].get("content") or "" for one in chunks(response)[:-1])
    assert len(text) == 1_000_000


async def test_one_failure_does_not_shut_others_out() -> None:
    with scripted(fails("401 Unauthorized"), says("Hello")) as server:
        app = in_front_of(server)
        assert (await post(app)).status_code == 502
        assert (await post(app)).status_code == 200


async def test_a_fault_of_ours_says_nothing_of_the_inside(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(request: Any) -> str:
        raise RuntimeError("a secret of the inside")

    class Broken(Emulator):
        def handle(self, request: Any) -> Any:
            return broken(request)

    response = await post(emulated(Broken()))
    assert (response.status_code, error(response)["type"]) == (500, "server_error")
    assert "secret" not in response.text
    assert "a secret of the inside" in caplog.text


# --- Clients that leave ----------------------------------------------------------------------


@asynccontextmanager
async def leaving(
    app: Gateway, body: dict[str, Any]
) -> AsyncIterator[tuple[Callable[[], None], list[Any]]]:
    """Call an application as a client that leaves when it is told to."""
    gone = asyncio.Event()
    told: list[Any] = [{"type": "http.request", "body": json.dumps(body).encode()}]
    sent: list[Any] = []

    async def receive() -> Any:
        if told:
            return told.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": CHAT, "headers": [], "query_string": b""}
    calling = asyncio.create_task(app(scope, receive, send))
    yield gone.set, sent
    await asyncio.wait_for(calling, 5)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_who_hangs_up_before_the_answer_ends_the_work_upstream(streamed: bool) -> None:
    with scripted([HOLD]) as server:
        app = in_front_of(server)
        async with leaving(app, {**ASKED, "stream": streamed}) as (leave, sent):
            while not server.requests:
                await asyncio.sleep(0.005)
            leave()
        assert await asyncio.to_thread(server.left.wait, 5)
        assert sent == []
        assert 'status="499"' in (await get(app, "/metrics")).text
        assert (await get(app, "/health")).json()["in_flight"] == 0


async def test_who_hangs_up_in_a_stream_ends_the_work_upstream() -> None:
    with scripted(stream(ROLE, event("Hel"), HOLD)) as server:
        app = in_front_of(server)
        async with leaving(app, {**ASKED, "stream": True}) as (leave, sent):
            while len(sent) < 3:
                await asyncio.sleep(0.005)
            leave()
        assert await asyncio.to_thread(server.left.wait, 5)


async def test_who_hangs_up_in_a_stream_is_charged_for_it() -> None:
    with scripted(stream(ROLE, event("Hel"), HOLD)) as server:
        app = in_front_of(server)
        async with leaving(app, {**ASKED, "stream": True}) as (leave, sent):
            while len(sent) < 3:
                await asyncio.sleep(0.005)
            leave()
        figures = (await get(app, "/metrics")).text
        assert 'ai21_chains_tokens_total{kind="completion",model="m"} 2.0' in figures


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_connection_that_is_closed_ends_the_work_upstream(streamed: bool) -> None:
    with scripted([HOLD]) as server, serving(in_front_of(server)) as url:
        async with httpx.AsyncClient(base_url=url) as http:
            asking = asyncio.create_task(http.post(CHAT, json={**ASKED, "stream": streamed}))
            while not server.requests:
                await asyncio.sleep(0.005)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        assert await asyncio.to_thread(server.left.wait, 5)


async def test_who_sends_too_slowly_is_refused() -> None:
    from ai21_chains.serving._middleware import BodyLimit

    async def forever() -> Any:
        await asyncio.sleep(30)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    limited = BodyLimit(app, 100, seconds=0.01)
    with pytest.raises(Exception, match="did not arrive within 0"):
        await limited({"type": "http", "headers": []}, forever, forever)


# --- Who is let in ---------------------------------------------------------------------------

LOCKED = {"master_key": "sk-master", "database_url": "sqlite://"}


@pytest.mark.parametrize(
    "headers",
    [MASTER, {"x-api-key": "sk-master"}, {"authorization": "bearer  sk-master "}],
    ids=["bearer", "x-api-key", "loosely"],
)
async def test_the_master_key_opens(headers: dict[str, str]) -> None:
    app = emulated(**LOCKED)
    async with client(app, headers=headers) as http:
        assert (await http.post(CHAT, json=ASKED)).status_code == 200
        assert (await http.get("/v1/models")).status_code == 200
        assert (await http.get("/metrics")).status_code == 200
    await closed(app)


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer sk-other"}, {"authorization": "Basic sk-master"}],
    ids=["none", "another", "no bearer"],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", CHAT),
        ("POST", "/completions"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/m"),
        ("GET", "/metrics"),
        ("POST", "/chains/qa/invoke"),
    ],
    ids=["chat", "text", "models", "model", "metrics", "chains"],
)
async def test_without_a_good_key_nothing_is_said(
    method: str, path: str, headers: dict[str, str]
) -> None:
    app = emulated(**LOCKED)
    async with client(app, headers=headers) as http:
        response = await http.request(method, path)
    assert (response.status_code, error(response)["code"]) == (401, "invalid_api_key")
    assert response.headers["www-authenticate"] == "Bearer"
    await closed(app)


async def test_health_needs_no_key() -> None:
    app = emulated(**LOCKED)
    for path in ("/health", "/health/liveliness", "/health/readiness", "/openapi.json"):
        assert (await get(app, path)).status_code == 200
    await closed(app)


async def test_a_key_has_its_models_and_its_limits() -> None:
    app = emulated(
        **LOCKED,
        deployments=tuple(Deployment(name=name, model="jamba-mini") for name in "mn"),
    )
    await get(app, "/health")
    _, token = await app.keys.create("alice", models=["m"], rpm=1)
    async with client(app, headers={"authorization": f"Bearer {token}"}) as http:
        assert [one["id"] for one in (await http.get("/v1/models")).json()["data"]] == ["m"]
        refused = await http.post(CHAT, json={**ASKED, "model": "n"})
        assert (refused.status_code, error(refused)["code"]) == (403, "model_not_allowed")
        assert (await http.get("/v1/models/n")).status_code == 404
        assert (await http.post(CHAT, json=ASKED)).status_code == 200
        limited = await http.post(CHAT, json=ASKED)
        assert (limited.status_code, error(limited)["code"]) == (429, "rate_limit_exceeded")
        assert int(limited.headers["retry-after"]) > 0
        assert (await http.get("/metrics")).status_code == 403
    await closed(app)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_what_is_used_is_written_down(streamed: bool) -> None:
    app = emulated(**LOCKED)
    async with client(app, headers=MASTER) as http:
        await http.post(CHAT, json={**ASKED, "stream": streamed})
    (spend,) = await app.keys.today()
    assert (spend.key_name, spend.model, spend.requests) == ("master", "m", 1)
    assert spend.prompt_tokens > 0
    assert spend.completion_tokens > 0
    assert spend.cost_usd > 0
    await closed(app)


async def closed(app: Gateway) -> None:
    await app.close()


async def test_without_a_master_key_everybody_is_let_in_and_counted() -> None:
    app = emulated()
    assert (await post(app, headers={"authorization": "Bearer sk-1234"})).status_code == 200
    assert [(one.key_name, one.requests) for one in await app.keys.today()] == [("open", 1)]


# --- Operation -------------------------------------------------------------------------------


async def test_a_request_keeps_its_id_or_gets_one() -> None:
    app = emulated()
    given = await get(app, "/health", headers={"x-request-id": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    for bad in ("a b", "x" * 200, 'a"b'):
        made = await get(app, "/nowhere", headers={"x-request-id": bad})
        assert len(made.headers["x-request-id"]) == 32


async def test_the_log_has_a_line_of_json_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ai21_chains.access")
    app = emulated()
    await post(app, headers={"authorization": "Bearer sk-client", "x-request-id": "abc-1"})
    line = json.loads(caplog.messages[-1])
    assert line["request_id"] == "abc-1"
    assert (line["method"], line["path"], line["status"]) == ("POST", CHAT, 200)
    assert (line["model"], line["key"]) == ("m", "open")
    assert line["completion_tokens"] > 0
    assert "sk-client" not in caplog.text


async def test_health_asks_nobody() -> None:
    emulator = Emulator()
    found = (await get(emulated(emulator), "/health")).json()
    assert found["status"] == "ok"
    assert found["emulated"] is True
    assert found["models"] == {"m": {"deployments": 1, "resting": 0}}
    assert emulator.requests == []


async def test_a_server_that_is_to_end_says_so_and_closes_its_connections() -> None:
    app = emulated()
    assert (await get(app, "/health/readiness")).status_code == 200
    app.draining = True
    assert (await get(app, "/health/readiness")).status_code == 503
    assert (await get(app, "/health")).json()["status"] == "draining"
    response = await post(app)
    assert (response.status_code, response.headers["connection"]) == (200, "close")


async def test_figures_have_few_labels() -> None:
    app = emulated(Emulator(faults=[Fault(status=500)]))
    for number in range(5):
        await get(app, f"/nowhere/{number}")
        await post(app, {**ASKED, "model": f"other-{number}"})
    await post(app, {**ASKED, "stream": True})
    figures = (await get(app, "/metrics")).text
    assert "nowhere" not in figures
    assert "other-" not in figures
    assert 'ai21_chains_requests_total{model="",route="other",status="404"} 5.0' in figures
    assert 'ai21_chains_upstream_errors_total{error="500",model="m"} 1.0' in figures
    assert 'ai21_chains_first_token_seconds_count{model="m"}' not in figures
    assert "ai21_chains_requests_in_flight 0.0" in figures


async def test_other_origins_are_let_in_only_if_configured() -> None:
    asked = {"origin": "https://a.example", "access-control-request-method": "POST"}
    async with client(emulated()) as http:
        assert (await http.options(CHAT, headers=asked)).status_code == 405
    async with client(emulated(cors_origins=("https://a.example",))) as http:
        response = await http.options(CHAT, headers=asked)
        assert response.headers["access-control-allow-origin"] == "https://a.example"
        other = await http.options(CHAT, headers={**asked, "origin": "https://b.example"})
        assert "access-control-allow-origin" not in other.headers


async def test_the_description_is_small_and_names_the_endpoints() -> None:
    response = await get(emulated(), "/openapi.json")
    assert len(response.content) < 50_000
    schemas = response.json()["components"]["schemas"]
    assert schemas["ChatCompletionRequest"]["properties"]["model"]["enum"] == ["m"]
    assert {CHAT, "/v1/completions", "/v1/models", "/health"} <= response.json()["paths"].keys()


# --- Life ------------------------------------------------------------------------------------


async def test_another_configuration_is_taken_without_losing_what_has_begun() -> None:
    with scripted(stream(ROLE, event("Hel"), 0.05, event("lo", "stop")), says("Other")) as server:
        app = in_front_of(server)
        begun = asyncio.create_task(post(app, {**ASKED, "stream": True}))
        while not server.requests:
            await asyncio.sleep(0.005)
        one = Deployment(name="other", model="jamba-mini", base_url=server.url, api_key="k")
        await app.reload(ServerConfig(deployments=(one,)))
        assert (await post(app)).status_code == 404
        assert (await post(app, {**ASKED, "model": "other"})).status_code == 200
        assert chunks(await begun)[-1] == "[DONE]"
        await app.close()


async def test_a_configuration_that_cannot_be_used_changes_nothing() -> None:
    app = emulated()
    bad = ServerConfig(database_url="nonsense://", master_key="k")
    with pytest.raises(Exception, match="nonsense"):
        await app.reload(bad)
    assert (await post(app)).status_code == 200


async def test_the_life_of_the_server_is_that_of_the_database() -> None:
    app = emulated(**LOCKED)
    messages = asyncio.Queue[Any]()
    sent: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    living = asyncio.create_task(app({"type": "lifespan"}, messages.get, send))
    messages.put_nowait({"type": "lifespan.startup"})
    while not sent:
        await asyncio.sleep(0.005)
    messages.put_nowait({"type": "lifespan.shutdown"})
    await living
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    app = emulated(master_key="k", database_url=f"sqlite:///{tmp_path}/file/keys.db")
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "lifespan"}, receive, send)
    assert sent[0]["type"] == "lifespan.startup.failed"
    assert "file/keys.db" in sent[0]["message"]


async def test_other_protocols_are_not_spoken() -> None:
    with pytest.raises(NotImplementedError, match="websocket"):
        await emulated()({"type": "websocket"}, None, None)  # type: ignore[arg-type]


# --- Readiness -------------------------------------------------------------------------------


async def test_ready_is_asked_of_the_upstream_server_now_and_then() -> None:
    with scripted(fails("401 Unauthorized")) as server:
        app = in_front_of(server)
        assert [(await get(app, "/ready")).status_code for _ in range(3)] == [200] * 3
        assert [one.target for one in server.requests] == ["/studio/v1/models"]
        app.draining = True
        assert (await get(app, "/ready")).status_code == 503


@pytest.mark.parametrize("script", [fails("503 Service Unavailable"), [CUT]], ids=["503", "cut"])
async def test_not_ready_while_the_upstream_server_fails(script: Any) -> None:
    with scripted(script) as server:
        app = in_front_of(server)
        assert (await get(app, "/ready")).status_code == 503
        assert (await get(app, "/health/readiness")).status_code == 200


async def test_a_chain_that_cannot_be_made_is_told_at_the_start() -> None:
    app = emulated(chains=(ChainConfig(name="x", kind="extraction"),))
    with pytest.raises(ConfigurationError, match="x"):
        await app.open()
