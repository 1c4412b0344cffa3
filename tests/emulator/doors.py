"""The three doors of the emulator, so that one test can go through each of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx

from ai21_chains.emulator import Emulator
from tests.cases import each

BASE_URL = "https://api.ai21.com/studio/v1"
DOORS = ("transport", "async transport", "asgi", "served")


@dataclass
class Answer:
    """What came through a door: all of it, or what arrived before it broke off."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    broken: str = ""

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = self.json["choices"][0]["message"]
        return message


Send = Callable[..., Answer]
Door = Callable[[Emulator], Send]


def _request(
    path: str, method: str, body: Any, content: bytes | None, key: str | None
) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
    payload = {"json": body} if body is not None else {"content": content}
    return {"method": method, "url": path, "headers": headers, **payload}


def _read(client: httpx.Client, request: dict[str, Any]) -> Answer:
    answer = Answer()
    try:
        with client.stream(**request) as response:
            answer.status, answer.headers = response.status_code, dict(response.headers)
            answer.chunks.extend(response.iter_raw())
    except httpx.HTTPError as problem:
        answer.broken = type(problem).__name__
    return answer


async def _aread(client: httpx.AsyncClient, request: dict[str, Any]) -> Answer:
    answer = Answer()
    async with client:
        try:
            async with client.stream(**request) as response:
                answer.status, answer.headers = response.status_code, dict(response.headers)
                async for chunk in response.aiter_raw():
                    answer.chunks.append(chunk)
        except httpx.HTTPError as problem:
            answer.broken = type(problem).__name__
    return answer


async def _call_app(app: Any, request: dict[str, Any]) -> Answer:
    """Call an ASGI application as a server would, which closes the connection if it raises."""
    built = httpx.Request(**{**request, "url": BASE_URL + request["url"]})
    answer = Answer()
    incoming = [{"type": "http.request", "body": built.read(), "more_body": False}]

    async def receive() -> Any:
        return incoming.pop()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        elif message["body"]:
            answer.chunks.append(message["body"])

    path, headers = built.url.path, built.headers.raw
    scope = {"type": "http", "method": built.method, "path": path, "headers": headers}
    scope["query_string"] = built.url.query
    try:
        await app(scope, receive, send)
    except ConnectionAbortedError:
        answer.broken = "RemoteProtocolError"
    return answer


OPENED = ExitStack()
"""The doors that a test has opened; they are closed when it ends."""


def _door(kind: str) -> Door:
    def open_door(emulator: Emulator) -> Send:
        exchange = _exchange(kind, emulator, OPENED)

        def send(
            body: Any = None,
            path: str = "/chat/completions",
            method: str = "POST",
            key: str | None = "any",
            content: bytes | None = None,
        ) -> Answer:
            return exchange(_request(path, method, body, content, key))

        return send

    return open_door


def _exchange(
    kind: str, emulator: Emulator, stack: ExitStack
) -> Callable[[dict[str, Any]], Answer]:
    if kind == "async transport":

        def in_loop(request: dict[str, Any]) -> Answer:
            client = httpx.AsyncClient(transport=emulator.transport(), base_url=BASE_URL)
            return asyncio.run(_aread(client, request))

        return in_loop
    if kind == "asgi":
        return lambda request: asyncio.run(_call_app(emulator.app(), request))
    if kind == "served":
        server = stack.enter_context(emulator.serve())
        client = httpx.Client(base_url=server.base_url, verify=False, trust_env=False)
    else:
        client = httpx.Client(transport=emulator.transport(), base_url=BASE_URL)
    stack.enter_context(client)
    return lambda request: _read(client, request)


through_each_door = each("door", [_door(kind) for kind in DOORS], ids=DOORS)
"""Run the test with each of the doors: `door` opens that of an emulator."""
