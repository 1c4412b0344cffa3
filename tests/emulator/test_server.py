"""The served door: connections, concurrency, and a clean end."""

import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from ai21_chains.emulator import Emulator, Fault, scripted
from tests.cases import each

KEY = {"Authorization": "Bearer k"}


def connect(server):
    url = urlsplit(server.base_url)
    return socket.create_connection((url.hostname, url.port), timeout=5)


def test_400_clients_at_once_are_all_answered(chat):
    body = json.dumps(chat(stream=True)).encode()
    head = (
        "POST /studio/v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    emulator = Emulator()
    with emulator.serve() as server:
        # All connections stand before the first request is sent.
        connections = [connect(server) for _ in range(400)]

        def talk(connection):
            with connection:
                connection.sendall(head.encode() + body)
                return b"".join(iter(lambda: connection.recv(65536), b""))

        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(talk, connections))

    assert all(answer.startswith(b"HTTP/1.1 200 OK\r\n") for answer in answers)
    assert all(b"data: [DONE]" in answer for answer in answers)
    assert len(emulator.requests) == 400


def test_scripted_replies_are_given_once_each_to_concurrent_clients(chat):
    replies = [str(number) for number in range(60)]
    with Emulator(brain=scripted(*replies)).serve() as server, client_of(server) as client:

        def ask(_):
            answer = client.post("/chat/completions", json=chat())
            return answer.json()["choices"][0]["message"]["content"]

        with ThreadPoolExecutor(12) as pool:
            given = list(pool.map(ask, range(60)))

    assert sorted(given, key=int) == replies


def client_of(server):
    return httpx.Client(base_url=server.base_url, headers=KEY, verify=False, trust_env=False)


def test_a_connection_is_kept_for_the_next_request(chat):
    with Emulator().serve() as server:
        url = urlsplit(server.base_url)
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=5)
        connection.connect()
        before = connection.sock
        for _ in range(3):
            connection.request("GET", "/studio/v1/models?x=1", headers=KEY)
            assert connection.getresponse().read().startswith(b'{"data":[{')

        assert connection.sock is before
        connection.close()


def test_a_body_sent_in_chunks_is_read(chat):
    text = json.dumps(chat()).encode()
    with Emulator().serve() as server, client_of(server) as client:
        pieces = (text[start : start + 9] for start in range(0, len(text), 9))
        answers = [client.post("/chat/completions", content=pieces), client.get("/models")]

    assert [answer.status_code for answer in answers] == [200, 200]


def test_a_head_request_gets_no_body():
    with Emulator().serve() as server, client_of(server) as client:
        answers = [client.head("/models"), client.get("/models")]

    assert [answer.status_code for answer in answers] == [405, 200]


def test_nothing_is_written_to_the_terminal(chat, capfd):
    with Emulator(faults=[Fault(cut_after=3)]).serve() as server, client_of(server) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            client.post("/chat/completions", json=chat())
        client.get("/nowhere")
        with connect(server) as connection:
            connection.sendall(b"POST /studio/v1/chat/completions HTTP/1.1\r\nContent-Le")

    assert capfd.readouterr() == ("", "")


@each("fault", [Fault(delay=60), Fault(stall_after=10)], ids=["delay", "stall"])
def test_closing_ends_open_connections_and_waits_at_once(chat, fault):
    began = time.monotonic()
    threads = threading.active_count()
    with Emulator(faults=[fault]).serve() as server, ThreadPoolExecutor(1) as pool:
        idle = connect(server)

        def ask():
            with client_of(server) as client, pytest.raises(httpx.RemoteProtocolError):
                client.post("/chat/completions", json=chat(stream=True))

        waiting = pool.submit(ask)
        while not server.emulator.requests:
            time.sleep(0.001)
        server.close()
        waiting.result(timeout=5)

    assert time.monotonic() - began < 3
    assert idle.recv(1) == b""
    idle.close()
    assert threading.active_count() <= threads


def test_a_client_that_leaves_early_disturbs_nobody(chat):
    emulator = Emulator(faults=[Fault(split=1, stall_after=50, stall=0.05)])
    with emulator.serve() as server, client_of(server) as client:
        with client.stream("POST", "/chat/completions", json=chat(stream=True)) as answer:
            next(answer.iter_raw())

        assert client.post("/chat/completions", json=chat()).status_code == 200


def test_a_server_that_is_not_running_has_no_address():
    server = Emulator().serve()
    with pytest.raises(RuntimeError, match="with"):
        _ = server.base_url
    with server:
        assert server.base_url.endswith("/studio/v1")
    server.close()

    with pytest.raises(RuntimeError, match="not running"):
        _ = server.base_url


async def test_the_application_takes_part_in_the_life_of_its_server():
    incoming = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]
    sent = []

    async def receive():
        return incoming.pop()

    async def send(message):
        sent.append(message["type"])

    await Emulator().app()({"type": "lifespan"}, receive, send)

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_the_application_refuses_what_is_not_http():
    with pytest.raises(NotImplementedError, match="websocket"):
        await Emulator().app()({"type": "websocket"}, None, None)


async def test_the_application_works_behind_httpxs_own_asgi_transport(chat):
    transport = httpx.ASGITransport(Emulator().app())
    async with httpx.AsyncClient(transport=transport, base_url="http://x", headers=KEY) as client:
        answer = await client.post("/studio/v1/chat/completions", json=chat(stream=True))

    assert answer.text.endswith("data: [DONE]\n\n")
