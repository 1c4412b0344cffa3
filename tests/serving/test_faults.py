"""Clients and upstream servers that misbehave, many at a time; single ones are in `test_app`."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from uvicorn.server import ServerState

from ai21_chains.errors import AI21Error
from ai21_chains.serving import Deployment, ServerConfig, create_app
from ai21_chains.serving._doors import accept_all, bar, open_doors, unbar
from ai21_chains.serving._heads import HeadLimit
from tests.servers.scripted import (
    CUT,
    DONE,
    HOLD,
    RESET,
    ROLE,
    STOP,
    Received,
    Script,
    ScriptedServer,
    event,
    says,
    scripted,
    stream,
)
from tests.serving.apps import serving
from tests.serving.test_serve import program

CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def in_front_of(server: ScriptedServer, **settings: Any) -> ServerConfig:
    one = Deployment(name="m", model="jamba-mini", base_url=server.url, api_key="k", **settings)
    return ServerConfig(deployments=(one,))


def request(body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


# --- Upstream --------------------------------------------------------------------------------

WAYS: dict[str, Script] = {
    "hangs": [HOLD],
    "is cut": [CUT],
    "is reset": [RESET],
    "hangs later": stream(ROLE, event("Hel"), HOLD),
    "is cut later": stream(ROLE, event("Hel"), CUT),
    "floods": stream(ROLE, *[event("word " * 2000)] * 20, STOP, DONE),
}


async def test_a_storm_of_failures_harms_nobody_else() -> None:
    def script(asked: Received) -> Script:
        said = asked.body["messages"][0]["content"]
        return WAYS[said] if said in WAYS else says("Hello")(asked)

    with (
        scripted(script) as server,
        serving(create_app(in_front_of(server, timeout=3, max_retries=0))) as url,
    ):
        async with httpx.AsyncClient(base_url=url, timeout=20) as http:

            async def ask(said: str) -> tuple[str, int, bool]:
                messages = [{"role": "user", "content": said}]
                asked = {"model": "m", "messages": messages, "stream": True}
                response = await http.post(CHAT, json=asked)
                return said, response.status_code, "[DONE]" in response.text

            await ask("is well")  # what is loaded with the first request is loaded
            seen = await asyncio.gather(*map(ask, [*WAYS, "is well", "is well"] * 2))
            assert set(seen) == {
                ("hangs", 504, False),
                ("is cut", 502, False),
                ("is reset", 502, False),
                ("hangs later", 200, False),
                ("is cut later", 200, False),
                ("floods", 200, True),
                ("is well", 200, True),
            }
            async with asyncio.timeout(5):  # an answer is read a moment before its request ends
                while (await http.get("/health")).json()["in_flight"]:
                    await asyncio.sleep(0.01)


# --- Clients ---------------------------------------------------------------------------------


async def test_clients_that_vanish_leave_nothing_behind() -> None:
    slow = stream(ROLE, event("Hel"), HOLD)
    with scripted(slow) as server, serving(create_app(in_front_of(server))) as url:
        port = int(url.rpartition(":")[2])
        for _ in range(16):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request({**ASKED, "stream": True}))
            await writer.drain()
            writer.transport.abort()
        async with httpx.AsyncClient(base_url=url) as http:
            async with asyncio.timeout(5):
                while (await http.get("/health")).json()["in_flight"] or server.busy:
                    await asyncio.sleep(0.01)


async def test_who_reads_slowly_holds_the_upstream_server_back() -> None:
    passed: list[int] = []

    def note() -> bool:
        passed.append(1)
        return True

    flood = [step for _ in range(400) for step in (event("word " * 20_000), note)]
    with (
        scripted(stream(ROLE, *flood, STOP, DONE)) as server,
        serving(create_app(in_front_of(server))) as url,
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client,
    ):
        client.sendall(request({**ASKED, "stream": True}))
        before = -1
        while len(passed) > before or not passed:
            before = len(passed)
            await asyncio.sleep(0.05)
        assert len(passed) < 300  # of 40 MB, what the kernel's buffers hold


@asynccontextmanager
async def listening(app: Any) -> AsyncIterator[int]:
    class Hasty(HeadLimit):
        longest = 0.05

    config = uvicorn.Config(app, http=Hasty, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    made = asyncio.get_running_loop().create_server(
        lambda: Hasty(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    server = await made
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("said", [b"", b"POST /v1/chat/comp"], ids=["nothing", "half a head"])
async def test_who_does_not_say_what_he_wants_is_hung_up_on(said: bytes) -> None:
    with scripted(says("Hello")) as server:
        async with listening(create_app(in_front_of(server))) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()


async def test_who_waits_for_an_answer_is_not_hung_up_on() -> None:
    slow = stream(ROLE, 0.15, event("Hello", "stop"), DONE)
    with scripted(slow) as server:
        async with listening(create_app(in_front_of(server))) as port, httpx.AsyncClient() as http:
            for _ in range(2):
                url = f"http://127.0.0.1:{port}{CHAT}"
                response = await http.post(url, json={**ASKED, "stream": True})
                assert "[DONE]" in response.text


# --- The end ---------------------------------------------------------------------------------


async def test_nobody_who_has_connected_is_lost_when_several_workers_end(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("server:\n  drain_seconds: 0\n")
    asked = b"GET /v1/models HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
    with program("--config", str(config), "--workers", "2") as running:
        url = httpx.URL(running.url)
        answers: list[bytes] = []

        async def ask_again_and_again() -> None:
            # Each time on a connection of its own, until nobody opens.
            while True:
                try:
                    reader, writer = await asyncio.open_connection(url.host, url.port)
                except ConnectionRefusedError:
                    return
                writer.write(asked)
                answers.append((await reader.read())[:15])
                writer.close()

        async with asyncio.timeout(30), asyncio.TaskGroup() as clients:
            for _ in range(16):
                clients.create_task(ask_again_and_again())
            while not answers:
                await asyncio.sleep(0.01)
            running.signal(signal.SIGTERM)
        assert set(answers) == {b"HTTP/1.1 200 OK"}
        assert await asyncio.to_thread(running.process.wait, 15) == 0


def test_a_door_that_is_barred_lets_those_in_who_have_knocked() -> None:
    (door,) = open_doors("127.0.0.1", 0, workers=1)
    door.setblocking(False)
    with door, socket.create_connection(door.getsockname()):
        bar(door)
        if sys.platform == "linux":
            with pytest.raises(TimeoutError):
                socket.create_connection(door.getsockname(), timeout=0.02)
        (accepted,) = accept_all(door)
        unbar(door)
        socket.create_connection(door.getsockname(), timeout=5).close()
        accepted.close()


def test_workers_share_a_port_with_each_other_and_nobody_else() -> None:
    doors = open_doors("127.0.0.1", 0, workers=2)
    (address,) = {door.getsockname() for door in doors}
    for workers in (1, 2):
        with pytest.raises(AI21Error, match=f"Cannot listen on port {address[1]}"):
            open_doors(*address, workers)
    for door in doors:
        door.close()
