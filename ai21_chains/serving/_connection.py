"""One connection to a server, for httpx, parsed by httptools: a third of the cost of httpx's own.

Those are generic: a pool in each, locks, cancel scopes, a parser written in Python. Here asyncio
hands the bytes to the parser as they come. Only the gateway's own program uses it (see `run`), for
connections that go through no proxy: a gateway spends most of its time in them.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from ipaddress import ip_address
from typing import cast

import httptools
import httpx

MOST_UNREAD = 256 * 1024
"""Bytes of an answer that are taken in before anybody asks for them."""

LONGEST_HEAD = 100_000
"""Bytes of the head of an answer."""

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ILLEGAL = re.compile(rb"[\0\r\n]")

LONGEST_TRY = 2.0
"""Seconds for an address of a host that has others."""


class Connection(httpx.AsyncBaseTransport):
    """A transport with a single connection, which is made anew when it has been closed.

    Args:
        tls: How to encrypt; None for not at all.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._wire: _Wire | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return the answer once its head has arrived."""
        head = _head(request)
        seconds = request.extensions.get("timeout", {})
        if self._wire is None or not self._wire.is_open:
            self._wire = await self._connected(request.url, seconds.get("connect"))
        wire = self._wire
        wire.begin()
        await wire.send(head, request, seconds.get("write"))
        while not wire.has_head:
            await wire.more(seconds.get("read"))
        body = _Body(wire, seconds.get("read"))
        return httpx.Response(
            wire.status, headers=wire.headers, stream=body, extensions={"http_version": b"HTTP/1.1"}
        )

    async def _connected(self, url: httpx.URL, seconds: float | None) -> _Wire:
        port = url.port or (443 if self._tls else 80)
        try:
            async with asyncio.timeout(seconds):
                return await _connected(url.raw_host.decode("ascii"), port, self._tls)
        except TimeoutError:
            raise httpx.ConnectTimeout("") from None
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error

    async def aclose(self) -> None:
        """Close the connection."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()


def _head(request: httpx.Request) -> bytes:
    """Return the head of a request.

    Raises:
        LocalProtocolError: A header holds what would end it.
    """
    lines = [request.method.encode(), b" ", request.url.raw_path, b" HTTP/1.1\r\n"]
    for name, value in request.headers.raw:
        if not _NAME.fullmatch(name) or _ILLEGAL.search(value):
            raise httpx.LocalProtocolError("Illegal header name or value")
        lines += (name, b": ", value, b"\r\n")
    return b"".join([*lines, b"\r\n"])


async def _connected(host: str, port: int, tls: ssl.SSLContext | None) -> _Wire:
    """Connect to the first of a host's addresses that answers."""
    *others, last = await _addresses(host, port)
    for address in others:
        with suppress(OSError):  # TimeoutError is one
            async with asyncio.timeout(LONGEST_TRY):
                return await _connected_to(address, host, port, tls)
    return await _connected_to(last, host, port, tls)


async def _connected_to(address: str, host: str, port: int, tls: ssl.SSLContext | None) -> _Wire:
    name = host if tls else None
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_connection(_Wire, address, port, ssl=tls, server_hostname=name)
    return wire


async def _addresses(host: str, port: int) -> list[str]:
    with suppress(ValueError):
        return [str(ip_address(host))]
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


class _Wire(asyncio.Protocol):
    """What goes over a connection: one request and one answer at a time."""

    def __init__(self) -> None:
        self.is_open = False
        self._waiter: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.begin()

    def begin(self) -> None:
        """Get ready for the next answer."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.has_head = self.is_complete = self.stays = False
        self._has_length = self._is_paused = False
        self._parts: deque[bytes] = deque()
        self._unread = self._head_size = 0
        self._error: httpx.TransportError | None = None
        self._parser = httptools.HttpResponseParser(self)

    # --- What is asked for -------------------------------------------------------------------

    async def send(self, head: bytes, request: httpx.Request, seconds: float | None) -> None:
        """Send a request.

        Raises:
            WriteTimeout: The server takes nothing for so long.
        """
        chunked = "transfer-encoding" in request.headers
        assert isinstance(request.stream, httpx.AsyncByteStream)
        async for part in request.stream:
            self._transport.write(head + (b"%x\r\n%b\r\n" % (len(part), part) if chunked else part))
            head = b""
            if not self._writable.is_set():
                await self._drained(seconds)
        self._transport.write(head + (b"0\r\n\r\n" if chunked else b""))

    async def _drained(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._writable.wait()
        except TimeoutError:
            raise httpx.WriteTimeout("") from None

    async def more(self, seconds: float | None) -> None:
        """Wait for something to happen.

        Raises:
            TransportError: The answer broke off, is no HTTP, or nothing came for so long.
        """
        if self._error:
            raise self._error
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self._give_up)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer:
                timer.cancel()

    def take(self) -> bytes:
        """Return what has arrived of the body since the last time."""
        data = b"".join(self._parts)
        self._parts.clear()
        self._unread = 0
        if self._is_paused and self.is_open:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    def close(self) -> None:
        """Close the connection, whatever was still to come."""
        if self.is_open:
            self.is_open = False
            self._transport.abort()

    def _give_up(self) -> None:
        self._fail(httpx.ReadTimeout(""))

    def _fail(self, error: httpx.TransportError) -> None:
        self._error = self._error or error
        self.close()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- What asyncio says -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's encrypted ones are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if not self.has_head:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(httpx.RemoteProtocolError(str(error)))
        if not self.has_head and self._head_size > LONGEST_HEAD:
            self._fail(httpx.RemoteProtocolError("the head of the answer is too long"))
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._writable.set()
        if self.has_head and not self._has_length and error is None:
            self.is_complete = True  # that was how its end is told
        if not self.is_complete:
            self._fail(self._what_broke(error))
        self._wake()

    def _what_broke(self, error: Exception | None) -> httpx.TransportError:
        if error is not None:
            return httpx.ReadError(str(error))
        if self.has_head:
            return httpx.RemoteProtocolError("peer closed connection without sending all of it")
        return httpx.RemoteProtocolError("Server disconnected without sending a response.")

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # --- What the parser says ----------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.is_complete:
            raise ValueError("an answer that nobody asked for")  # the parser's user is told

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._has_length = True

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.has_head = self.status >= 200
        if not self.has_head:  # such as 100 (Continue): the answer is still to come
            self.headers, self._has_length = [], False

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)
        self._unread += len(data)
        if self._unread > MOST_UNREAD and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self.has_head:
            self.is_complete = True
            self.stays = self._parser.should_keep_alive()


class _Body(httpx.AsyncByteStream):
    """The body of an answer. Who closes it before its end closes the connection."""

    def __init__(self, wire: _Wire, seconds: float | None) -> None:
        self._wire = wire
        self._seconds = seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        wire = self._wire
        while True:
            if data := wire.take():
                yield data
            elif wire.is_complete:
                return
            else:
                await wire.more(self._seconds)

    async def aclose(self) -> None:
        if not (self._wire.is_complete and self._wire.stays):
            self._wire.close()
