"""A server on loopback that does as little as possible: AI21's answers, byte for byte, made once.

The path says how to answer: `/wait-200/…` waits 200 ms first, `/gap-1/…` waits 1 ms before each
event of a stream, and `/stamped-1/…` does so with the time as the text (`perf_counter_ns`).
`GET /most-in-flight` returns the largest number of requests that waited at once since it was last
asked. Run as a program, it prints its port and serves until it is ended.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import time

CHUNKS = 512
"""Pieces of text in a streamed answer."""

WORDS = [f" word{number % 100}" for number in range(CHUNKS)]
"""The pieces of the streamed answer."""

ANSWER = "The harbour opens at six, except on Sundays, when the ferry leaves at eight."
"""The text of the answer that is not streamed."""

_WHOLE = json.dumps(
    {
        "id": "chatcmpl-37a38daa-ffdc-44df-cade-49098f9def8a",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": ANSWER, "tool_calls": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 40, "completion_tokens": 19, "total_tokens": 59},
    },
    separators=(",", ":"),
).encode()


def _with_head(kind: str, length: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{length}\r\n\r\n"
    return head.encode() + body


def _event(data: str) -> bytes:
    text = f"data: {data}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(text), text)


def _events() -> list[bytes]:
    deltas: list[dict[str, str]] = [{"role": "assistant"}, *({"content": word} for word in WORDS)]
    payloads = [_payload(delta, None) for delta in deltas]
    usage = {"prompt_tokens": 40, "completion_tokens": CHUNKS, "total_tokens": 40 + CHUNKS}
    payloads.append({**_payload({"content": ""}, "stop"), "usage": usage})
    return [*(_event(json.dumps(payload)) for payload in payloads), _event("[DONE]") + b"0\r\n\r\n"]


def _stamped() -> bytes:
    delta = {"content": str(time.perf_counter_ns())}
    return _event(json.dumps(_payload(delta, None)))


def _payload(delta: dict[str, str], finish_reason: str | None) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return {"id": "chat-aedc1b2f6c0d4a64b6a5d4d0a4c3f1e2", "choices": [choice]}


WHOLE = _with_head("application/json", f"content-length: {len(_WHOLE)}", _WHOLE)
STREAM_HEAD = _with_head("text/event-stream", "transfer-encoding: chunked", b"")
EVENTS = _events()


class Connection(asyncio.Protocol):
    """One client's connection: reads just enough of a request to know when and how to answer."""

    in_flight = 0
    most_in_flight = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start reading."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head, after = self.received[:end], end + 4
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            after += int(length[1]) if length else 0
            if len(self.received) < after:
                return
            body, self.received = self.received[end + 4 : after], self.received[after:]
            self._begin(head.split(b" ", 2)[1], body)

    def _begin(self, path: bytes, body: bytes) -> None:
        if path == b"/most-in-flight":
            count, Connection.most_in_flight = str(Connection.most_in_flight).encode(), 0
            kind, length = "application/json", f"content-length: {len(count)}"
            self.transport.write(_with_head(kind, length, count))
            return
        Connection.in_flight += 1
        Connection.most_in_flight = max(Connection.most_in_flight, Connection.in_flight)
        streamed = re.search(rb'"stream": *true', body) is not None
        wait = re.search(rb"/wait-(\d+)/", path)
        if wait:
            asyncio.get_running_loop().call_later(int(wait[1]) / 1000, self._answer, path, streamed)
        else:
            self._answer(path, streamed)

    def _answer(self, path: bytes, streamed: bool) -> None:
        Connection.in_flight -= 1
        if not streamed:
            self.transport.write(WHOLE)
            return
        self.transport.write(STREAM_HEAD)
        gap = re.search(rb"/(gap|stamped)-(\d+)/", path)
        if gap:
            self._send_slowly(0, int(gap[2]) / 1000, gap[1] == b"stamped")
        else:
            for event in EVENTS:
                self.transport.write(event)

    def _send_slowly(self, number: int, gap: float, stamped: bool) -> None:
        stamp = stamped and 0 < number <= CHUNKS
        self.transport.write(_stamped() if stamp else EVENTS[number])
        if number + 1 < len(EVENTS):
            loop = asyncio.get_running_loop()
            loop.call_later(gap, self._send_slowly, number + 1, gap, stamped)


async def serve() -> None:
    """Serve on a free port of 127.0.0.1 until the process is ended."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
