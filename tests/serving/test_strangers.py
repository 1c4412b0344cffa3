"""What the server makes of clients that mean no good, or write badly."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx

from ai21_chains import Emulator
from ai21_chains.serving import ChainConfig, Deployment
from tests.cases import each
from tests.serving.test_app import ASKED, CHAT, LOCKED, MASTER, client, emulated, error

QA = {"chains": (ChainConfig(name="qa", kind="grounded_qa"),)}
INVOKED = {"input": {"question": "When?", "documents": ["It opens at ten."]}}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


# --- Pages in the web, and a server without keys ---------------------------------------------

NEAR = {
    "localhost": "http://localhost:3000",
    "its subdomain": "http://app.localhost",
    "loopback": "http://127.0.0.1:4000",
    "loopback 6": "http://[::1]:4000",
    "own number": "http://192.168.1.7:4000",
    "application": "app://obsidian.md",
}
FAR = {
    "page": "https://evil.example",
    "rebound name": "http://gateway:4000",
    "lookalike": "http://localhost.evil.example",
    "another number": "http://192.168.1.8:4000",
    "another port": "http://192.168.1.7:5000",
    "sandbox": "null",
    "no address": "http://[",
}


@each("name", [*NEAR, *FAR])
@each("path", [CHAT, "/v1/completions", "/chains/qa/invoke"])
async def test_a_page_from_elsewhere_cannot_use_a_server_without_keys(path: str, name: str) -> None:
    body = {CHAT: ASKED, "/v1/completions": {"model": "m", "prompt": "Hi"}}.get(path, INVOKED)
    host = "gateway:4000" if name == "rebound name" else "192.168.1.7:4000"
    headers = {"origin": {**NEAR, **FAR}[name], "host": host}
    emulator = Emulator()
    async with client(emulated(emulator, **QA), headers=headers) as http:
        response = await http.post(path, json=body)

    assert response.status_code == (200 if name in NEAR else 403)
    assert len(emulator.requests) == (name in NEAR)


@each("origins", [("https://a.example",), ("*",)], ids=["one", "all"])
async def test_pages_that_are_configured_can(origins: tuple[str, ...]) -> None:
    app = emulated(cors_origins=origins)
    async with client(app, headers={"origin": "https://a.example"}) as http:
        assert (await http.post(CHAT, json=ASKED)).status_code == 200


async def test_where_there_are_keys_they_decide_whoever_asks() -> None:
    app = emulated(**LOCKED)
    async with client(app, headers={**MASTER, "origin": "https://a.example"}) as http:
        assert (await http.post(CHAT, json=ASKED)).status_code == 200
    await app.close()


async def test_a_page_that_is_let_in_can_read_what_went_wrong() -> None:
    app = emulated(**LOCKED, cors_origins=("https://a.example",))
    async with client(app, headers={"origin": "https://a.example"}) as http:
        responses = [
            await http.post(CHAT, json=ASKED),
            await http.post(CHAT, json={}, headers=MASTER),
            await http.get("/nowhere"),
        ]
        asked = {"access-control-request-method": "POST", "access-control-request-headers": "x-1"}
        preflight = await http.options(CHAT, headers=asked)
    await app.close()

    assert [one.status_code for one in responses] == [401, 400, 404]
    for one in responses:
        assert one.headers["access-control-allow-origin"] == "https://a.example"
        assert one.headers["x-request-id"]
    assert preflight.status_code == 400  # no such header may be sent


# --- Keys and chains -------------------------------------------------------------------------


async def test_a_key_finds_the_chains_that_it_may_use() -> None:
    app = emulated(Emulator(), **LOCKED, **QA)
    await app.open()
    _, model = await app.keys.create("model", models=["m"])  # type: ignore[attr-defined]
    _, chain = await app.keys.create("chain", models=["chain/qa"])  # type: ignore[attr-defined]
    seen = {}
    async with client(app) as http:
        for name, token in {"model": model, "chain": chain}.items():
            asked = [
                await http.post("/chains/qa/invoke", json=INVOKED, headers=bearer(token)),
                await http.get("/chains/qa/input_schema", headers=bearer(token)),
                await http.post(CHAT, json=ASKED, headers=bearer(token)),
            ]
            seen[name] = [one.status_code for one in asked]
    await app.close()

    assert seen == {"model": [403, 404, 200], "chain": [200, 200, 403]}


async def test_a_body_whose_length_is_not_said_counts_toward_the_tokens_of_a_minute() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield json.dumps({"input": {"question": "x" * 500, "documents": ["y"]}}).encode()

    app = emulated(Emulator(), **LOCKED, **QA)
    await app.open()
    _, token = await app.keys.create("small", tpm=100)  # type: ignore[attr-defined]
    async with client(app, headers={**bearer(token), "content-type": "application/json"}) as http:
        response = await http.post("/chains/qa/invoke", content=pieces())
    await app.close()

    assert (response.status_code, error(response)["type"]) == (429, "tokens")


# --- Bodies and addresses --------------------------------------------------------------------

BODIES = {
    "deep": '{"model": "m", "messages": ' + "[" * 100_000,
    "no number": '{"model": "m", "messages": [{"role": "user", "content": "Hi"}], "seed": 1e999}',
    "endless number": '{"model": "m", "messages": [], "seed": ' + "9" * 9_999 + "}",
    "no number within": '{"model": "m", "messages": [{"role": "user", "content": "Hi"}], "tools": '
    '[{"type": "function", "function": {"name": "a", "parameters": {"x": NaN}}}]}',
    "half a character": '{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}',
    "a key twice": '{"model": "m", "messages": [{"role": "user", "content": "Hi"}], '
    '"base_url": "http://evil.example", "base_url": null}',
}


@each("name", list(BODIES))
async def test_a_body_that_makes_no_sense_is_the_clients_fault(name: str) -> None:
    emulator = Emulator()
    async with client(emulated(emulator)) as http:
        response = await http.post(CHAT, content=BODIES[name])

    assert (response.status_code, error(response)["type"]) == (400, "invalid_request_error")
    assert emulator.requests == []


async def test_a_number_that_is_none_never_reaches_a_client() -> None:
    asked = '{"model": "m", "messages": [{"role": "user", "content": "When does it open?"}], '
    documents = '"documents": [{"content": "It opens at ten.", "metadata": {"page": NaN}}]}'
    async with client(emulated(Emulator())) as http:
        response = await http.post(CHAT, content=asked + documents)

    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    answer = json.loads(response.text, parse_constant=refuse)
    assert answer["choices"][0]["message"]["citations"]


@each(
    "path",
    ["/v1/models/", "/v1//models", "/chains", "/chains/", "/chains/qa", "/chains/qa/invoke/"],
)
async def test_an_address_that_is_nearly_right_is_none(path: str) -> None:
    async with client(emulated(**QA)) as http:
        assert (await http.get(path)).status_code == 404
        assert (await http.post(path, json={})).status_code in (404, 405)


async def test_models_may_have_any_name() -> None:
    names = ("模型 é", "a?b#c", "a%2Fb", "../../metrics")
    app = emulated(deployments=tuple(Deployment(name=one, model="jamba-mini") for one in names))
    async with client(app) as http:
        for name in names:
            answer = (await http.post(CHAT, json={**ASKED, "model": name})).json()
            assert answer["model"] == name
        found = await http.get(httpx.URL("/v1/models/%E6%A8%A1%E5%9E%8B%20%C3%A9"))
        assert found.json()["id"] == "模型 é"


MANY = 100_000
WRONG_LISTS = {
    "messages": (CHAT, {"model": "m", "messages": [1] * MANY}, 400),
    "documents": (CHAT, {**ASKED, "documents": [1] * MANY}, 400),
    "prompts": ("/v1/completions", {"model": "m", "prompt": [1] * MANY}, 400),
    "chain": ("/chains/qa/invoke", {"input": {"question": "x", "documents": [1] * MANY}}, 422),
    "history": (
        "/chains/qa/invoke",
        {"input": {"question": "x", "documents": ["x"], "chat_history": [1] * MANY}},
        422,
    ),
}


@each("name", list(WRONG_LISTS))
async def test_of_very_many_faults_one_is_told(name: str) -> None:
    path, body, status = WRONG_LISTS[name]
    async with client(emulated(**QA)) as http:
        response = await http.post(path, json=body)

    assert response.status_code == status
    assert len(response.content) < 1_000


PRICED = {
    "known": ((("m", "jamba-mini"), ("m", "jamba-large")), {}, 200),
    "second unknown": ((("m", "jamba-mini"), ("m", "my-own")), {}, 403),
    "fallback unknown": ((("m", "jamba-mini"), ("other", "my-own")), {"m": ["other"]}, 403),
    "another unknown": ((("m", "jamba-mini"), ("other", "my-own")), {}, 200),
}


@each("name", list(PRICED))
@each("model", ["m", "chain/qa"])
async def test_a_budget_admits_nothing_that_may_be_answered_where_no_price_is_known(
    name: str, model: str
) -> None:
    served, fallbacks, status = PRICED[name]
    deployments = tuple(Deployment(name=one, model=upstream) for one, upstream in served)
    app = emulated(Emulator(), **LOCKED, **QA, deployments=deployments, fallbacks=fallbacks)
    await app.open()
    _, token = await app.keys.create("alice", budget_usd=Decimal(1))  # type: ignore[attr-defined]
    async with client(app, headers=bearer(token)) as http:
        asked = {**ASKED, "model": model, "documents": ["It opens at ten."]}
        response = await http.post(CHAT, json=asked)
    await app.close()

    assert response.status_code == status
