"""Connections: shared, reused, as many as are asked for, and each closed in the end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ai21_chains import ChatAI21, _pool
from ai21_chains.client import AI21Client
from ai21_chains.errors import AI21Error, APIConnectionError, ConfigurationError
from tests.servers import calls
from tests.servers.calls import Ask
from tests.servers.proxy import proxying
from tests.servers.scripted import CUT, Received, answer, completion, says, scripted


@pytest.fixture(params=calls.ASKED, ids=lambda way: way.__name__)
def ask(request: pytest.FixtureRequest) -> Ask:
    return request.param


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _pool._PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def together(number: int):
    """Answer when so many requests are waiting, and from then on at once."""
    waiting = []

    def script(request: Received):
        waiting.append(request)
        return [lambda: len(waiting) >= number, *answer(completion())]

    return script


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


def test_connections_that_were_idle_too_long_are_closed(monkeypatch) -> None:
    monkeypatch.setattr(_pool, "LONGEST_IDLE", 0.0)
    with scripted(says()) as server:
        for _ in range(2):
            calls.complete(AI21Client(base_url=server.url, api_key="k"))
            time.sleep(0.05)

        assert server.open <= 1


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
        answers = list(threads.map(lambda _: calls.complete(client), range(400)))

        assert answers == ["Hello"] * 400
        assert server.connections <= 16


def test_only_so_many_connections_are_kept(monkeypatch) -> None:
    monkeypatch.setattr(_pool, "MOST_IDLE", 3)
    with scripted(together(10)) as server:
        model = ChatAI21(base_url=server.url, api_key="k")
        model.batch(["Hi"] * 10, config={"max_concurrency": 10})
        time.sleep(0.1)

        assert server.open == 3


# --- Event loops -----------------------------------------------------------------------------


def test_one_model_serves_several_loops_one_after_another() -> None:
    with scripted(says()) as server:
        model = ChatAI21(base_url=server.url, api_key="k")
        for _ in range(3):
            assert asyncio.run(model.ainvoke("Hi")).content == "Hello"
            assert calls.astreamed(ChatAI21(base_url=server.url, api_key="k")).content == "Hello"
            time.sleep(0.02)

            assert server.open == 0


def test_one_model_serves_several_loops_at_once() -> None:
    with scripted(together(80)) as server:
        model = ChatAI21(base_url=server.url, api_key="k")

        async def several() -> list[str]:
            return [message.content for message in await model.abatch(["Hi"] * 10)]

        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda _: asyncio.run(several()), range(8)))

    assert found == [["Hello"] * 10] * 8


def test_a_loop_goes_on_after_its_generators_were_shut_down() -> None:
    with scripted(says()) as server:
        model = ChatAI21(base_url=server.url, api_key="k")
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(model.ainvoke("Hi"))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop._asyncgens_shutdown_called = False
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


def test_a_process_leaves_nothing_open() -> None:
    program = """
import asyncio, sys
from ai21_chains import ChatAI21
model = ChatAI21(base_url=sys.argv[1], api_key="k")
model.invoke("Hi")
list(model.stream("Hi"))
for _ in range(2):
    async def main():
        await model.abatch(["Hi"] * 5)
        async for chunk in model.astream("Hi"):
            break
    asyncio.run(main())
"""
    with scripted(says()) as server:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program, server.url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert (done.returncode, done.stderr) == (0, "")


# --- Forks -----------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
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


def test_a_proxy_that_was_given_is_used(ask: Ask) -> None:
    with scripted(says()) as server, proxying() as proxy:
        assert ask(AI21Client(base_url=server.url, api_key="k", proxy=proxy.url)) == "Hello"

        assert proxy.seen == [f"POST {server.url}/chat/completions"]


@pytest.mark.parametrize("spelling", ["{}", "http://127.0.0.1:{}"])
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
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


def test_an_encrypted_address_is_reached_through_a_tunnel(ask: Ask) -> None:
    with scripted([CUT]) as server, proxying() as proxy:
        url = server.url.replace("http:", "https:")
        with pytest.raises(APIConnectionError):
            ask(AI21Client(base_url=url, api_key="k", proxy=proxy.url, max_retries=0, timeout=0.3))

        assert proxy.seen == [f"CONNECT 127.0.0.1:{server.port}"]


def test_a_proxys_password_is_sent_to_it_and_shown_to_nobody(ask: Ask) -> None:
    with scripted([CUT]) as server, proxying() as proxy:
        url = proxy.url.replace("//", "//user:p-secret@")
        with pytest.raises(AI21Error) as caught:
            ask(AI21Client(base_url=server.url, api_key="k", proxy=url, max_retries=0))

        assert len(proxy.credentials) == 1
        assert "p-secret" not in repr(caught.value)


@pytest.mark.parametrize(
    "url", ["ftp://u:p-secret@x", "http://u:p-secret", "x:p-secret", "socks9://u:p-secret@x"]
)
def test_what_is_no_proxy_is_named_and_not_repeated(ask: Ask, url: str) -> None:
    with pytest.raises(ConfigurationError, match="proxy") as caught:
        ask(AI21Client(base_url="http://127.0.0.1:9/v1", api_key="k", proxy=url, max_retries=0))

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_socks_proxy_names_the_package_that_it_needs(ask: Ask) -> None:
    with pytest.raises(ConfigurationError, match="socks"):
        ask(AI21Client(base_url="http://127.0.0.1:9/v1", api_key="k", proxy="socks5://x:1"))


def test_threads_are_gone_after_streams() -> None:
    with scripted(says()) as server:
        before = threading.active_count()
        for _ in range(5):
            calls.stream(AI21Client(base_url=server.url, api_key="k"))
        time.sleep(0.05)

        assert threading.active_count() <= before
