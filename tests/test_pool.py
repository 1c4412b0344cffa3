"""Connections: shared, reused, as many as are asked for, and each closed in the end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack

import cloudpickle
import httpx
import pytest

from ai21_chains import ChatAI21, _pool
from ai21_chains.client import AI21Client
from ai21_chains.errors import AI21Error, APIConnectionError, ConfigurationError
from tests.cases import each
from tests.servers import calls
from tests.servers.calls import Ask
from tests.servers.proxy import proxying
from tests.servers.scripted import CUT, Received, answer, completion, says, scripted


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _pool._PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def together(number: int):
    """Answer when so many requests are waiting, and from then on at once."""
    waiting = []
    all_there = asyncio.Event()

    def script(request: Received):
        waiting.append(request)
        if len(waiting) >= number:
            all_there.set()
        return [all_there, *answer(completion())]

    return script


def until(met: Callable[[], bool]) -> None:
    """Wait for the server's thread to have seen it."""
    deadline = time.monotonic() + 5
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# --- Reuse -----------------------------------------------------------------------------------


def test_calls_one_after_another_share_a_connection() -> None:
    with scripted(says()) as server:
        for _ in range(5):
            calls.complete(AI21Client(base_url=server.url, api_key="k"))
            calls.stream(AI21Client(base_url=server.url, api_key="k"))

        assert server.connections == 1


async def test_async_calls_one_after_another_share_a_connection() -> None:
    with scripted(says()) as server:
        for _ in range(5):
            await ChatAI21(base_url=server.url, api_key="k").ainvoke("Hi")

        assert server.connections == 1


def test_calls_to_two_servers_in_turn_keep_a_connection_to_each() -> None:
    with scripted(says()) as one, scripted(says()) as other:
        for _ in range(3):
            calls.complete(AI21Client(base_url=one.url, api_key="k"))
            calls.complete(AI21Client(base_url=other.url, api_key="k"))

        assert (one.connections, other.connections) == (1, 1)


def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    with scripted([*answer(completion()), CUT]) as server:
        client = AI21Client(base_url=server.url, api_key="k", max_retries=0)
        for _ in range(3):
            assert calls.complete(client) == "Hello"
            time.sleep(0.05)

        assert server.connections == 3


class Transport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """One of our connections, without a network behind it."""

    def __init__(self) -> None:
        self.is_closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(b"ok"))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(b"ok"))

    def close(self) -> None:
        self.is_closed = True

    async def aclose(self) -> None:
        self.is_closed = True


class Connecting(list[Transport]):
    def __call__(self) -> Transport:
        self.append(Transport())
        return self[-1]

    @property
    def kept(self) -> int:
        return sum(not transport.is_closed for transport in self)


def test_only_so_many_connections_are_kept() -> None:
    connect = Connecting()
    pool = _pool.ConnectionPool(connect, most_idle=3)
    with httpx.Client(transport=pool) as client:
        with ExitStack() as stack:
            for _ in range(10):
                stack.enter_context(client.stream("GET", "http://x"))
        assert connect.kept == 3

    assert connect.kept == 0


async def test_only_so_many_async_connections_are_kept() -> None:
    connect = Connecting()
    pool = _pool.AsyncConnectionPool(connect, most_idle=3)
    async with httpx.AsyncClient(transport=pool) as client:
        async with AsyncExitStack() as stack:
            for _ in range(10):
                await stack.enter_async_context(client.stream("GET", "http://x"))
        assert connect.kept == 3

    assert connect.kept == 0


def test_connections_that_were_idle_too_long_are_closed() -> None:
    connect = Connecting()
    with httpx.Client(transport=_pool.ConnectionPool(connect, longest_idle=0.05)) as client:
        client.get("http://one")
        time.sleep(0.1)
        client.get("http://other")

        assert [transport.is_closed for transport in connect] == [True, False]


def test_a_connection_that_comes_back_to_a_closed_pool_is_closed() -> None:
    connect = Connecting()
    pool = _pool.ConnectionPool(connect)
    response = pool.handle_request(httpx.Request("GET", "http://x"))
    pool.close()
    response.stream.close()

    assert connect.kept == 0


# --- Many at once ----------------------------------------------------------------------------


async def test_400_async_calls_at_once() -> None:
    with scripted(together(400)) as server:
        model = ChatAI21(base_url=server.url, api_key="k")
        answers = await model.abatch(["Hi"] * 400)

        assert {message.content for message in answers} == {"Hello"}
        assert server.most_at_once == server.connections == 400

        await model.abatch(["Hi"] * 20)
        assert server.connections == 400


def test_200_calls_at_once_from_threads() -> None:
    with scripted(together(200)) as server:
        model = ChatAI21(base_url=server.url, api_key="k")
        answers = model.batch(["Hi"] * 200, config={"max_concurrency": 200})

        assert {message.content for message in answers} == {"Hello"}
        assert server.most_at_once == 200


def test_threads_that_take_and_put_back_do_not_trip_over_each_other() -> None:
    with scripted(says()) as server, ThreadPoolExecutor(16) as threads:
        client = AI21Client(base_url=server.url, api_key="k", max_retries=0)
        answers = list(threads.map(lambda _: calls.complete(client), range(160)))

        assert answers == ["Hello"] * 160
        assert server.connections <= 16


# --- Event loops -----------------------------------------------------------------------------


def test_one_model_serves_several_loops_one_after_another() -> None:
    with scripted(says()) as server:
        model = ChatAI21(base_url=server.url, api_key="k")
        for _ in range(3):
            assert asyncio.run(model.ainvoke("Hi")).content == "Hello"
            assert calls.astreamed(ChatAI21(base_url=server.url, api_key="k")).content == "Hello"
            until(lambda: server.open == 0)


def test_one_model_serves_several_loops_at_once() -> None:
    with scripted(together(80)) as server:
        model = ChatAI21(base_url=server.url, api_key="k")

        async def several() -> list[str]:
            return [message.content for message in await model.abatch(["Hi"] * 10)]

        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda _: asyncio.run(several()), range(8)))

    assert found == [["Hello"] * 10] * 8


@pytest.mark.filterwarnings("ignore:asynchronous generator:ResourceWarning")
def test_a_loop_goes_on_after_its_generators_were_shut_down() -> None:
    with scripted(says()) as server:
        model = ChatAI21(base_url=server.url, api_key="k")
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(model.ainvoke("Hi"))
            loop.run_until_complete(loop.shutdown_asyncgens())
            assert loop.run_until_complete(model.ainvoke("Hi")).content == "Hello"
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()


def test_loops_that_are_gone_are_forgotten() -> None:
    with scripted(says()) as server:
        model = ChatAI21(base_url=server.url, api_key="k")
        for _ in range(5):
            asyncio.run(model.ainvoke("Hi"))

    assert sum(loop.is_closed() for loop in list(_pool._async_clients)) <= 1


async def test_sync_calls_work_inside_a_running_loop() -> None:
    with scripted(says()) as server:
        assert ChatAI21(base_url=server.url, api_key="k").invoke("Hi").content == "Hello"


PROGRAM = """
import asyncio, sys
import cloudpickle

model = cloudpickle.load(sys.stdin.buffer)
print(model.invoke("Hi").text)
list(model.stream("Hi"))

async def main():
    await model.abatch(["Hi"] * 5)
    async for chunk in model.astream("Hi"):
        break

asyncio.run(main())
asyncio.run(main())
"""


def test_another_process_can_unpickle_a_model_and_leaves_nothing_open() -> None:
    with scripted(says()) as server:
        timeout = httpx.Timeout(9, read=5)
        model = ChatAI21(base_url=server.url, api_key=lambda: "k-called", timeout=timeout)
        model.invoke("Hi")
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM],
            input=cloudpickle.dumps(model),
            capture_output=True,
            timeout=60,
            check=False,
        )

    assert (done.stdout, done.stderr) == (b"Hello\n", b"")
    assert {request.key for request in server.requests} == {"k-called"}


# --- Forks -----------------------------------------------------------------------------------


if hasattr(os, "fork"):

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_a_forked_child_makes_connections_of_its_own() -> None:
        with scripted(says()) as server:
            client = AI21Client(base_url=server.url, api_key="k", max_retries=0)
            calls.complete(client)
            child = os.fork()
            if child == 0:
                signal.alarm(10)
                os._exit(0 if calls.complete(client) == "Hello" else 1)
            _, status = os.waitpid(child, 0)

            assert status == 0
            assert calls.complete(client) == "Hello"
            assert [request.connection for request in server.requests] == [1, 2, 1]


# --- Proxies ---------------------------------------------------------------------------------


@each("ask", calls.ASKED)
def test_a_proxy_that_was_given_is_used(ask: Ask) -> None:
    with scripted(says()) as server, proxying() as proxy:
        assert ask(AI21Client(base_url=server.url, api_key="k", proxy=proxy.url)) == "Hello"

        assert proxy.seen == [f"POST {server.url}/chat/completions"]


@each("ask", calls.ASKED)
@each("spelling", ["{}", "http://127.0.0.1:{}"])
@each("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"], monkeypatch=pytest.MonkeyPatch.context)
def test_the_environments_proxy_is_used(ask: Ask, monkeypatch, name: str, spelling: str) -> None:
    with scripted(says()) as server, proxying() as proxy:
        client = AI21Client(base_url=server.url, api_key="k")
        ask(client)
        assert not proxy.seen

        url = spelling.format(proxy.port) if "//" in spelling else f"127.0.0.1:{proxy.port}"
        monkeypatch.setenv(name, url)
        ask(client)
        assert len(proxy.seen) == 1

        monkeypatch.setenv("NO_PROXY", "example.com,127.0.0.1")
        ask(client)
        assert len(proxy.seen) == 1


@each("ask", calls.ASKED)
def test_an_encrypted_address_is_reached_through_a_tunnel(ask: Ask) -> None:
    with scripted([CUT]) as server, proxying() as proxy:
        url = server.url.replace("http:", "https:")
        with pytest.raises(APIConnectionError):
            ask(AI21Client(base_url=url, api_key="k", proxy=proxy.url, max_retries=0, timeout=0.3))

        assert proxy.seen == [f"CONNECT 127.0.0.1:{server.port}"]


@each("ask", calls.ASKED)
def test_a_proxys_password_is_sent_to_it_and_shown_to_nobody(ask: Ask) -> None:
    with scripted([CUT]) as server, proxying() as proxy:
        url = proxy.url.replace("//", "//user:p-secret@")
        with pytest.raises(AI21Error) as caught:
            ask(AI21Client(base_url=server.url, api_key="k", proxy=url, max_retries=0))

        assert len(proxy.credentials) == 1
        assert "p-secret" not in repr(caught.value)


@each("ask", calls.ASKED)
@each("url", ["ftp://u:p-secret@x", "http://u:p-secret", "x:p-secret", "socks9://u:p-secret@x"])
def test_what_is_no_proxy_is_named_and_not_repeated(ask: Ask, url: str) -> None:
    with pytest.raises(ConfigurationError, match="proxy") as caught:
        ask(AI21Client(base_url="http://127.0.0.1:9/v1", api_key="k", proxy=url, max_retries=0))

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@each("ask", calls.ASKED)
def test_a_socks_proxy_names_the_package_that_it_needs(ask: Ask) -> None:
    with pytest.raises(ConfigurationError, match="socks"):
        ask(AI21Client(base_url="http://127.0.0.1:9/v1", api_key="k", proxy="socks5://x:1"))


def test_threads_are_gone_after_streams() -> None:
    with scripted(says()) as server:
        before = threading.active_count()
        for _ in range(5):
            calls.stream(AI21Client(base_url=server.url, api_key="k"))

        until(lambda: threading.active_count() <= before)
