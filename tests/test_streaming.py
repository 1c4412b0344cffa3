"""Streams over a real connection: every legal form, and every way in which one can end."""

from __future__ import annotations

import asyncio
import gc
import gzip
import time

import pytest
from langchain_core.messages import AIMessageChunk

from ai21_chains import ChatAI21
from ai21_chains.client import AI21Client
from ai21_chains.errors import (
    APIError,
    APITimeoutError,
    ResponseFormatError,
    StreamInterruptedError,
)
from tests.cases import each
from tests.servers import calls
from tests.servers.calls import Ask
from tests.servers.scripted import (
    CHUNKED,
    CUT,
    DONE,
    END,
    EVENTS,
    HELLO,
    HOLD,
    RESET,
    ROLE,
    STOP,
    ScriptedServer,
    event,
    every_byte,
    piece,
    says,
    scripted,
    stream,
)


def client(server: ScriptedServer, **settings) -> AI21Client:
    return AI21Client(base_url=server.url, api_key="k", max_retries=0, **settings)


def chat(server: ScriptedServer, **settings) -> ChatAI21:
    return ChatAI21(base_url=server.url, api_key="k", max_retries=0, **settings)


# --- Forms -----------------------------------------------------------------------------------

JOINED = b"".join(HELLO)
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


@each("ask", calls.STREAMED)
@each(
    "script",
    [
        pytest.param(stream(*HELLO), id="as-AI21-sends-it"),
        pytest.param(stream(JOINED), id="all-at-once"),
        pytest.param(stream(*every_byte(*HELLO)), id="byte-by-byte"),
        pytest.param(stream(JOINED.replace(b"\n", b"\r\n")), id="CRLF"),
        pytest.param(stream(*every_byte(JOINED.replace(b"\n", b"\r\n"))), id="CRLF-byte-by-byte"),
        pytest.param(stream(JOINED.replace(b"\n", b"\r")), id="CR"),
        pytest.param(stream(b": hi\n\n", ROLE, b":\n", *HELLO[1:]), id="comments"),
        pytest.param(stream(JOINED.replace(b"data:", b"event: x\nid: 1\ndata:")), id="names"),
        pytest.param(stream(b"event: ping\ndata: {}\n\n", *HELLO), id="pings"),
        pytest.param(stream(JOINED.replace(b"data: ", b"data:")), id="no-space"),
        pytest.param(stream(b"\xef\xbb\xbf" + JOINED), id="byte-order-mark"),
        pytest.param(stream(b"retry: 5\n\n\n\n", *HELLO), id="blank-lines"),
        pytest.param(stream(*HELLO[:-1]), id="no-DONE"),
        pytest.param(stream(JOINED.removesuffix(b"\n\n")), id="no-blank-line-at-the-end"),
        pytest.param(stream(*HELLO, event(" and more"), b"rubbish\n\n"), id="data-after-DONE"),
        pytest.param(stream(*HELLO, head=b"HTTP/1.1 200 OK\r\n"), id="no-content-type"),
        pytest.param(
            stream(*HELLO, head=b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"),
            id="wrong-content-type",
        ),
        pytest.param(
            stream(gzip.compress(JOINED), head=EVENTS + b"content-encoding: gzip\r\n"), id="gzip"
        ),
        pytest.param([PLAIN, JOINED, CUT], id="until-the-connection-closes"),
        pytest.param(
            stream(ROLE, event("Hel"), event("lo", "stop"), DONE), id="text-in-the-last-event"
        ),
    ],
)
def test_a_stream_may_come_in_the_form(ask: Ask, script) -> None:
    with scripted(script) as server:
        assert ask(client(server)) == "Hello"


@each("ask", calls.STREAMED)
@each("size", [1, 2, 3, 7])
def test_characters_of_several_bytes_survive_any_split(ask: Ask, size: int) -> None:
    data = event("שלום 🌍 naïve").replace(rb"\u05e9", "ש".encode()) + STOP + DONE
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    with scripted(stream(*parts)) as server:
        assert ask(client(server)) == "שלום 🌍 naïve"


@each("call", [calls.streamed, calls.astreamed])
def test_thousands_of_chunks(call: calls.Call) -> None:
    words = [event(f"{number} ") for number in range(3000)]
    with scripted(stream(ROLE, b"".join(words), STOP, DONE)) as server:
        message = call(chat(server))

    assert message.content == "".join(f"{number} " for number in range(3000))


def test_chunks_are_delivered_as_they_arrive() -> None:
    with scripted(stream(ROLE, event("one"), 0.4, event("two"), STOP, DONE)) as server:
        start = time.monotonic()
        arrived = [(chunk.text, time.monotonic() - start) for chunk in chat(server).stream("Hi")]

    assert dict(arrived)["one"] < 0.3 < dict(arrived)["two"]


# --- Ends ------------------------------------------------------------------------------------


@each("call", [calls.streamed, calls.astreamed])
@each(
    "end",
    [
        pytest.param([STOP, CUT], id="cut"),
        pytest.param([STOP, RESET], id="reset"),
        pytest.param([STOP, b"data: {", CUT], id="cut-in-the-next-event"),
        pytest.param([STOP, HOLD], id="silence"),
        pytest.param([DONE], id="DONE-without-finish-reason"),
    ],
)
def test_after_the_finish_reason_nothing_can_be_lost(call: calls.Call, end) -> None:
    with scripted(stream(ROLE, event("Hello"), *end)) as server:
        assert call(chat(server, timeout=0.3)).content == "Hello"


@each("call", [calls.streamed, calls.astreamed])
def test_a_connection_kept_open_after_done_keeps_nobody_waiting(call: calls.Call) -> None:
    with scripted(stream(*HELLO, HOLD)) as server:
        start = time.monotonic()
        message = call(chat(server, timeout=30))

        assert time.monotonic() - start < 3
        assert message.content == "Hello"
        assert message.usage_metadata["total_tokens"] == 5
        assert server.left.wait(5)


@each("call", [calls.streamed, calls.astreamed])
def test_a_server_that_talks_on_after_done_is_left(call: calls.Call) -> None:
    with scripted(stream(*HELLO, *[b": ping\n\n", 0.1] * 100)) as server:
        start = time.monotonic()
        assert call(chat(server)).content == "Hello"

    assert time.monotonic() - start < 3


@each("call", [calls.streamed, calls.astreamed])
@each(
    ("rest", "error"),
    [
        pytest.param([CUT], StreamInterruptedError, id="cut"),
        pytest.param([RESET], StreamInterruptedError, id="reset"),
        pytest.param([b""], StreamInterruptedError, id="ended-in-good-order"),
        pytest.param([HOLD], APITimeoutError, id="silence"),
        pytest.param([b'data: {"detail": "engine died"}\n\n'], StreamInterruptedError, id="event"),
        pytest.param(
            [b'event: error\ndata: {"error": {"message": "engine died"}}\n\n'],
            StreamInterruptedError,
            id="named-event",
        ),
        pytest.param([b"data: {oh\n\n"], ResponseFormatError, id="no-JSON"),
        pytest.param([b"data: []\n\n"], ResponseFormatError, id="a-list"),
    ],
)
def test_a_stream_that_breaks_off_raises_after_what_had_arrived(call, rest, error) -> None:
    said: list[str] = []

    with scripted(stream(ROLE + event("Hel") + event("lo") + b"".join(rest[:-1]), *rest)) as server:
        model = chat(server, timeout=0.3)
        with pytest.raises(error):
            _collect(call, model, said)

    assert said == ["Hel", "lo"]


@each("call", [calls.streamed, calls.astreamed])
@each("size", [20, 10_000])
def test_good_events_count_though_a_bad_one_shares_their_packet(call, size: int) -> None:
    said: list[str] = []
    data = ROLE + event("Hel") + event("lo") + b'data: {"detail": "engine died"}\n\n'
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    with scripted(stream(*parts)) as server, pytest.raises(APIError, match="engine died"):
        _collect(call, chat(server), said)

    assert said == ["Hel", "lo"]


def _collect(call: calls.Call, model: ChatAI21, into: list[str]) -> None:
    async def run() -> None:
        async for chunk in model.astream("Hi"):
            into.append(chunk.text)

    if call is calls.astreamed:
        asyncio.run(run())
    else:
        for chunk in model.stream("Hi"):
            into.append(chunk.text)


@each("ask", calls.STREAMED)
def test_gzip_cut_short_is_an_interruption(ask: Ask) -> None:
    packed = gzip.compress(JOINED)
    script = stream(packed[: len(packed) // 2], CUT, head=EVENTS + b"content-encoding: gzip\r\n")
    with scripted(script) as server, pytest.raises(APIError):
        ask(client(server))


@each("ask", calls.STREAMED)
def test_damaged_gzip_is_an_interruption(ask: Ask) -> None:
    head = EVENTS + b"content-encoding: gzip\r\n"
    with scripted(stream(JOINED, head=head)) as server, pytest.raises(APIError, match="damaged"):
        ask(client(server))


@each("ask", calls.STREAMED)
@each(
    "body",
    [
        pytest.param(b"<html><body><h1>Bad gateway</h1></body></html>", id="HTML"),
        pytest.param(b'{"detail": "Bad gateway"}', id="JSON"),
        pytest.param(b'["Bad gateway"]', id="list"),
    ],
)
def test_what_is_no_stream_says_what_it_is(ask: Ask, body: bytes) -> None:
    with (
        scripted(stream(body)) as server,
        pytest.raises(ResponseFormatError, match="Bad gateway"),
    ):
        ask(client(server))


# --- Leaving early ---------------------------------------------------------------------------


@pytest.fixture
def endless():
    with scripted(stream(ROLE, event("one"), event("two"), HOLD)) as server:
        yield server


def test_leaving_the_loop_closes_the_connection(endless) -> None:
    for _ in chat(endless).stream("Hi"):
        break
    gc.collect()

    assert endless.left.wait(2)


def test_closing_the_generator_closes_the_connection(endless) -> None:
    chunks = chat(endless).stream("Hi")
    next(chunks)
    chunks.close()

    assert endless.left.wait(2)


async def test_leaving_the_async_loop_closes_the_connection(endless) -> None:
    async for _ in chat(endless).astream("Hi"):
        break

    assert await asyncio.to_thread(endless.left.wait, 2)


async def test_closing_the_async_generator_closes_the_connection(endless) -> None:
    chunks = chat(endless).astream("Hi")
    await anext(chunks)
    await chunks.aclose()

    assert await asyncio.to_thread(endless.left.wait, 2)


@each("way", ["ainvoke", "astream"])
async def test_cancelling_the_task_closes_the_connection(way: str) -> None:
    script = [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", HOLD]
    with scripted(script if way == "ainvoke" else stream(ROLE, event("one"), HOLD)) as server:
        model = chat(server)

        async def run() -> None:
            if way == "ainvoke":
                await model.ainvoke("Hi")
            async for _ in model.astream("Hi"):
                pass

        task = asyncio.create_task(run())
        while not server.requests:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert await asyncio.to_thread(server.left.wait, 2)


async def test_a_deadline_around_a_call_holds() -> None:
    with scripted([HOLD]) as server:
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await chat(server).ainvoke("Hi")

        assert time.monotonic() - start < 1
        assert await asyncio.to_thread(server.left.wait, 2)


# --- Connections -----------------------------------------------------------------------------


@each("end", [[DONE, END], [DONE + b"\n"]])
def test_streams_one_after_another_share_a_connection(end) -> None:
    last = b"".join([piece(STOP), piece(DONE), END])
    script = (
        stream(*HELLO)
        if len(end) == 2
        else [EVENTS + CHUNKED, piece(ROLE), piece(event("Hello")), last]
    )
    with scripted(script) as server:
        for _ in range(5):
            assert calls.streamed(chat(server)).content == "Hello"

        assert server.connections == 1


async def test_async_streams_one_after_another_share_a_connection() -> None:
    with scripted(says()) as server:
        for _ in range(5):
            async for _chunk in chat(server).astream("Hi"):
                pass

        assert server.connections == 1


def test_the_last_chunk_carries_usage_and_finish_reason_once() -> None:
    with scripted(stream(*HELLO)) as server:
        chunks = list(chat(server).stream("Hi"))

    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    assert [chunk.usage_metadata is not None for chunk in chunks] == [False, False, True]
    assert chunks[-1].response_metadata["finish_reason"] == "stop"
    assert chunks[-1].chunk_position == "last"
