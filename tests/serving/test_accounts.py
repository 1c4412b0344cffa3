"""What a request counts as, and what it costs: batches, several prompts, clients that leave."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from ai21_chains import Emulator
from ai21_chains.serving import ChainConfig, Deployment, ServerConfig, create_app
from ai21_chains.serving._aside import LARGE, aside
from ai21_chains.serving.app import Gateway
from tests.servers.scripted import HOLD, ScriptedServer, answer, completion, scripted

CHAT = "/v1/chat/completions"
ROW = {"question": "When does it open?", "documents": ["The museum opens at ten."]}
LONG = "The museum opens at ten. " * 40


@asynccontextmanager
async def keyed(
    model: str = "jamba-mini", max_concurrency: int = 256, **limits: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, Gateway, list[Any]]]:
    """A client with a key of its own, the server, and what has been asked of AI21."""
    asked: list[Any] = []

    def brain(request: Any) -> str:
        asked.append(request)
        return json.dumps({"found": False, "citations": [], "answer": ""})

    config = ServerConfig(
        deployments=(Deployment(name="m", model=model, max_retries=0),),
        chains=(ChainConfig(name="qa", kind="grounded_qa"),),
        emulator=Emulator(brain=brain),
        master_key=SecretStr("sk-master"),
        database_url="sqlite://",
        max_concurrency=max_concurrency,
    )
    app = create_app(config)
    await app.open()
    _, token = await app.keys.create("alice", **limits)  # type: ignore[attr-defined]
    transport = httpx.ASGITransport(app=app)
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://gateway", headers=headers
    ) as http:
        yield http, app, asked
    await app.close()


def in_front_of(server: ScriptedServer) -> Gateway:
    key = SecretStr("sk-upstream")
    one = Deployment(name="m", model="jamba-mini", base_url=server.url, api_key=key, max_retries=0)
    return create_app(ServerConfig(deployments=(one,)))


async def test_each_row_of_a_batch_and_each_prompt_is_a_request() -> None:
    async with keyed(rpm=4) as (http, _, asked):

        async def rows(count: int) -> httpx.Response:
            return await http.post("/chains/qa/batch", json={"inputs": [ROW] * count})

        async def prompts(count: int) -> httpx.Response:
            body = {"model": "m", "prompt": ["One,"] * count}
            return await http.post("/v1/completions", json=body)

        for many in (await rows(5), await prompts(5)):
            assert (many.status_code, "retry-after" in many.headers) == (429, False)
            assert "limited to 4 requests a minute; this one counts as 5" in many.text
        assert asked == []
        assert (await rows(3)).status_code == 200
        for two in (await rows(2), await prompts(2)):
            assert two.status_code == 429
            assert 0 < int(two.headers["retry-after"]) <= 60
        assert (await prompts(1)).status_code == 200
        assert len(asked) == 4


async def test_a_chain_that_may_not_be_used_is_refused_as_a_model_is() -> None:
    async with keyed(models=["m"], rpm=1) as (http, _, asked):
        refused = await http.post("/chains/qa/invoke", json={"input": ROW})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
        assert asked == []


async def test_a_batch_ends_where_the_budget_does() -> None:
    # One row after the other. The prompts have instructions besides, which their body has not.
    limits: dict[str, Any] = {"max_concurrency": 1, "budget_usd": Decimal("0.004")}
    async with keyed("jamba-large", **limits) as (http, app, asked):
        rows = {"inputs": [ROW] * 9, "return_exceptions": True}
        answered = (await http.post("/chains/qa/batch", json=rows)).json()

        assert 0 < len(asked) < 9
        failed = [row is None for row in answered["output"]]
        assert failed == [number >= len(asked) for number in range(9)]
        assert {one["status_code"] for one in answered["errors"]} == {429}
        assert "has spent its budget of 0.004 USD" in answered["errors"][0]["message"]
        assert (await app.keys.today())[0].cost_usd >= Decimal("0.004")
        assert (await http.post("/chains/qa/invoke", json={"input": ROW})).status_code == 429


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_who_hangs_up_before_the_answer_pays_for_the_prompt(streamed: bool) -> None:
    with scripted([HOLD]) as server:
        app = in_front_of(server)
        await _leave_before_the_answer(app, server, streamed)
        (spend,) = await app.keys.today()
    assert (spend.requests, spend.completion_tokens) == (1, 0)
    assert 240 < spend.prompt_tokens < 300
    assert spend.cost_usd > 0


async def _leave_before_the_answer(app: Gateway, server: ScriptedServer, streamed: bool) -> None:
    messages = [{"role": "user", "content": LONG}]
    body = json.dumps({"model": "m", "messages": messages, "stream": streamed}).encode()
    told: list[Any] = [{"type": "http.request", "body": body}]

    async def receive() -> Any:
        if told:
            return told.pop()
        while not server.requests:
            await asyncio.sleep(0.005)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "path": CHAT, "headers": [], "query_string": b""}
    await asyncio.wait_for(app(scope, receive, send), 5)


async def test_what_is_no_count_of_tokens_is_guessed_and_no_error() -> None:
    odd: list[Any] = [
        "x",
        {"prompt_tokens": "12"},
        *({"prompt_tokens": n} for n in (-9, 0.5, 1e30)),
    ]
    odd.append({"prompt_tokens": 10**30, "completion_tokens": 3})
    with scripted(*(answer({**completion(), "usage": usage}) for usage in odd)) as server:
        app = in_front_of(server)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://gateway"
        ) as http:
            body = {"model": "m", "messages": [{"role": "user", "content": "Q"}]}
            for usage in odd:
                assert (await http.post(CHAT, json=body)).status_code == 200, usage
        (spend,) = await app.keys.today()
    assert spend.requests == len(odd)
    assert 0 < spend.prompt_tokens < 50 * len(odd)
    assert 3 < spend.completion_tokens < 50 * len(odd)


async def test_who_is_refused_upstream_pays_nothing() -> None:
    with scripted([b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"]) as server:
        app = in_front_of(server)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://gateway"
        ) as http:
            await http.post(
                CHAT, json={"model": "m", "messages": [{"role": "user", "content": "Q"}]}
            )
        assert await app.keys.today() == []


async def test_large_bodies_are_read_in_a_thread() -> None:
    here = threading.get_ident()
    assert await aside(LARGE - 1, threading.get_ident) == here
    assert await aside(LARGE, threading.get_ident) != here
