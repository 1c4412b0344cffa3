"""A server on loopback that does exactly what a test tells it, byte by byte. It knows no HTTP but
where a request ends."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

HOLD = "hold"
"""Say nothing more, and wait until the client closes the connection."""
CUT = "cut"
"""Close the connection."""
RESET = "reset"
"""Break the connection off with an error (TCP RST)."""

Step = bytes | float | str | asyncio.Event | Callable[[], bool]
"""Bytes to send, seconds to wait, one of the words above, or an event of the server's thread or a
condition to wait for."""
Script = Sequence[Step]


@dataclass(frozen=True)
class Received:
    """A request as it came over the wire."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    content: bytes
    connection: int

    def header(self, name: str) -> list[str]:
        return [text for known, text in self.headers if known.lower() == name]

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.content)

    @property
    def key(self) -> str:
        return self.header("authorization")[0].removeprefix("Bearer ")


@dataclass
class ScriptedServer:
    """Answers the first request with the first script, and so on; the last one again and again.

    A script is a list of steps, or a function that makes one from the request.
    """

    scripts: list[Script | Callable[[Received], Script]]
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    most_at_once: int = 0
    busy: int = 0
    left: threading.Event = field(default_factory=threading.Event)
    """Set when a client has closed a connection on which an answer was still to come."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/studio/v1"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [request.body for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        number = self.connections
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._answer(reader, writer, number):
                    pass
        finally:
            self.open -= 1

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        headers = [(name, text) for name, text in (line.split(": ", 1) for line in lines)]
        length = next((int(text) for name, text in headers if name.lower() == "content-length"), 0)
        content = await reader.readexactly(length)
        request = Received(method, target, headers, content, number)
        script = self.scripts[min(len(self.requests), len(self.scripts) - 1)]
        self.requests.append(request)
        self.busy += 1
        self.most_at_once = max(self.most_at_once, self.busy)
        try:
            return await self._play(script(request) if callable(script) else script, reader, writer)
        finally:
            self.busy -= 1

    async def _play(
        self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        for step in script:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, int | float):
                await asyncio.sleep(step)
            elif isinstance(step, asyncio.Event):
                await step.wait()
            elif callable(step):
                while not step():
                    await asyncio.sleep(0.01)
            elif step == HOLD:
                with suppress(ConnectionError):
                    await reader.read()
                self.left.set()
                return False
            else:
                if step == RESET:
                    raw = writer.get_extra_info("socket")
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
        return True


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@contextmanager
def in_a_thread(serve: Serve) -> Iterator[int]:
    """Run a server on loopback in an event loop of its own, and give its port."""
    loop = asyncio.new_event_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()
            tasks.discard(task)

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(10)

    async def stop() -> None:
        listening.close()
        for _ in range(5):  # who was accepted at the last moment has a task after a few turns
            await asyncio.sleep(0)
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # for transports that are closing

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        listening = run(asyncio.start_server(connected, "127.0.0.1", 0, backlog=1000))
        try:
            yield listening.sockets[0].getsockname()[1]
        finally:
            run(stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextmanager
def scripted(*scripts: Script | Callable[[Received], Script]) -> Iterator[ScriptedServer]:
    """Run a server with these scripts."""
    server = ScriptedServer(list(scripts))
    with in_a_thread(server.serve) as server.port:
        yield server


# --- Scripts ---------------------------------------------------------------------------------


def answer(
    body: object,
    status: str = "200 OK",
    headers: Sequence[str] = ("content-type: application/json",),
) -> list[Step]:
    """A whole answer: JSON, or bytes as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", *headers, f"content-length: {len(content)}"]
    return ["\r\n".join(lines).encode() + b"\r\n\r\n" + content]


def completion(text: str = "Hello", finish_reason: str = "stop", **message: Any) -> dict[str, Any]:
    return {
        "id": "chat-1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "logprobs": None,
                "finish_reason": finish_reason,
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


def event(content: str | None = None, finish_reason: str | None = None, **delta: Any) -> bytes:
    """One event of a stream, as AI21 sends it."""
    said = {} if content is None else {"content": content}
    payload: dict[str, Any] = {
        "id": "chat-1",
        "choices": [
            {
                "index": 0,
                "delta": {**said, **delta},
                "logprobs": None,
                "finish_reason": finish_reason,
            }
        ],
    }
    if finish_reason:
        payload["usage"] = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


ROLE = event(role="assistant")
STOP = event("", "stop")
DONE = b"data: [DONE]\n\n"
HELLO = [ROLE, event("Hel"), event("lo"), STOP, DONE]

EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"


def piece(data: bytes) -> bytes:
    """A piece of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


END = b"0\r\n\r\n"


def stream(*steps: Step, head: bytes = EVENTS) -> list[Step]:
    """A streamed answer that ends in good order, unless a step is HOLD, CUT or RESET."""
    played: list[Step] = [piece(step) if isinstance(step, bytes) else step for step in steps]
    return [head + CHUNKED, *played, END]


def every_byte(*parts: bytes) -> list[Step]:
    """The bytes one by one, each in a piece of its own."""
    return [bytes([byte]) for byte in b"".join(parts)]


def says(text: str = "Hello") -> Callable[[Received], Script]:
    """Answer with a text, streamed if the request asks for that."""

    def script(request: Received) -> Script:
        if request.body.get("stream"):
            return stream(ROLE, event(text[:3]), event(text[3:]), STOP, DONE)
        return answer(completion(text))

    return script


def fails(
    status: str, body: object = None, *headers: str, kind: str = "application/json"
) -> list[Step]:
    """An error answer; it asks to be tried again at once."""
    given = {"detail": f"It is {status}."} if body is None else body
    return answer(given, status, [f"content-type: {kind}", "retry-after: 0", *headers])
