"""Clients of a gateway, in a process of their own: orders come in as JSON, a line each.

An order says where to ask, for how many seconds, and over how many connections; each asks again as
soon as it is answered. The result has all latencies, the number of pieces of text, and of stamped
pieces (see `canned_server`) the time they took. Nothing is parsed but what has to be: the bytes are
searched.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import dataclass, field
from typing import Any

PIECE = re.compile(rb'"content": ?"[^"]')
STAMP = re.compile(rb'"content": ?"(\d{9,})"')
END_OF_CHUNKS = b"0\r\n\r\n"


@dataclass
class Result:
    """What all connections of an order have seen."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    pieces: int = 0
    lags: list[float] = field(default_factory=list)


class Client(asyncio.Protocol):
    """One connection: it asks until the time is over."""

    def __init__(self, request: bytes, until: float, result: Result) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request, self._until, self._result = request, until, result

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._received = bytearray()
        self._end: int | None = None
        self._searched = 0
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take a piece of the answer, and ask again after the last one."""
        now = time.perf_counter_ns()
        self._received += data
        for stamp in STAMP.finditer(self._received, self._searched):
            self._result.lags.append((now - int(stamp[1])) / 1e9)
            self._searched = stamp.end()
        if self._is_complete():
            self._note()
            if time.perf_counter() < self._until:
                self._ask()
            else:
                self._transport.close()

    def _is_complete(self) -> bool:
        if self._end is None:
            head, found, _ = self._received.partition(b"\r\n\r\n")
            if not found:
                return False
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            self._end = len(head) + 4 + int(length[1]) if length else -1
        if self._end < 0:
            return self._received.endswith(END_OF_CHUNKS)
        return len(self._received) >= self._end

    def _note(self) -> None:
        if not self._received.startswith(b"HTTP/1.1 200") or b'"error"' in self._received:
            self._fail(bytes(self._received[:500]))
        self._result.latencies.append(time.perf_counter() - self._began)
        self._result.pieces += len(PIECE.findall(self._received))

    def _fail(self, why: bytes) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(f"no good answer: {why!r}"))

    def connection_lost(self, error: Exception | None) -> None:
        """Be done."""
        if not self.done.done():
            self.done.set_result(None)


async def carry_out(order: dict[str, Any]) -> Result:
    """Ask over all connections until the time is over."""
    content = "When does the harbour open on a Sunday, and which ferry is the first?"
    body: dict[str, Any] = {
        "model": order["model"],
        "messages": [{"role": "user", "content": content}],
    }
    if order["streamed"]:
        body["stream"] = True
    content_bytes = json.dumps(body).encode()
    head = (
        f"POST {order['path']} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {order['key']}\r\ncontent-length: {len(content_bytes)}\r\n\r\n"
    )
    result, began = Result(), time.perf_counter()
    loop = asyncio.get_running_loop()
    clients = [
        Client(head.encode() + content_bytes, began + order["seconds"], result)
        for _ in range(order["connections"])
    ]
    for client in clients:
        await loop.create_connection(lambda made=client: made, "127.0.0.1", order["port"])
    async with asyncio.timeout(120):
        await asyncio.gather(*(client.done for client in clients))
    result.seconds = time.perf_counter() - began
    return result


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(vars(asyncio.run(carry_out(json.loads(line))))), flush=True)
