"""Two doors into the emulator without a socket: an httpx transport and an ASGI application."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import httpx

from .core import Emulator
from .exchange import Cut, Headers, Request, Response, Wait

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_DROPPED = "Server disconnected without sending a response."
_CUT = "peer closed connection without sending complete message body (incomplete chunked read)"


class EmulatorTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A transport for `httpx.Client` and `httpx.AsyncClient` that ends at an emulator.

    Chunks arrive with their borders. Waiting is real, and a wait longer than the client's read
    timeout ends as it would on a socket: with `httpx.ReadTimeout`.

    Args:
        emulator: The emulator behind the door.
    """

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request of a synchronous client.

        Args:
            request: The request as httpx made it.

        Raises:
            httpx.ReadTimeout: The emulator was silent for longer than the client waits.
            httpx.RemoteProtocolError: A fault closed the connection.
        """
        response = self._emulator.handle(_received(request, request.read()))
        _sleep(response.delay, request)
        return _answered(response, request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request of an asynchronous client.

        Args:
            request: The request as httpx made it.

        Raises:
            httpx.ReadTimeout: The emulator was silent for longer than the client waits.
            httpx.RemoteProtocolError: A fault closed the connection.
        """
        response = self._emulator.handle(_received(request, await request.aread()))
        await _asleep(response.delay, request)
        return _answered(response, request)


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a response, carried out step by step while the client reads."""

    def __init__(self, response: Response, request: httpx.Request) -> None:
        self._response = response
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        for step in self._response.steps:
            if isinstance(step, bytes):
                yield step
            elif isinstance(step, Wait):
                _sleep(step.seconds, self._request)
            else:
                raise httpx.RemoteProtocolError(_CUT, request=self._request)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self._response.steps:
            if isinstance(step, bytes):
                yield step
            elif isinstance(step, Wait):
                await _asleep(step.seconds, self._request)
            else:
                raise httpx.RemoteProtocolError(_CUT, request=self._request)


def _received(request: httpx.Request, body: bytes) -> Request:
    headers, query = Headers(request.headers.items()), request.url.query.decode("ascii")
    return Request(request.method, request.url.path, headers, body, query)


def _answered(response: Response, request: httpx.Request) -> httpx.Response:
    if response.dropped:
        raise httpx.RemoteProtocolError(_DROPPED, request=request)
    return httpx.Response(
        response.status,
        headers=list(response.headers),
        stream=_Body(response, request),
        request=request,
    )


def _sleep(seconds: float, request: httpx.Request) -> None:
    patience = _read_timeout(request)
    time.sleep(min(seconds, patience))
    if seconds > patience:
        raise httpx.ReadTimeout("The read operation timed out", request=request)


async def _asleep(seconds: float, request: httpx.Request) -> None:
    patience = _read_timeout(request)
    await asyncio.sleep(min(seconds, patience))
    if seconds > patience:
        raise httpx.ReadTimeout("The read operation timed out", request=request)


def _read_timeout(request: httpx.Request) -> float:
    read = request.extensions.get("timeout", {}).get("read")
    return float("inf") if read is None else float(read)


def asgi_app(emulator: Emulator) -> ASGIApp:
    """Return an emulator as an ASGI application, to be mounted or served by any ASGI server.

    A fault that breaks the connection off raises `ConnectionAbortedError` out of the application,
    which makes a server close the connection.

    Args:
        emulator: The emulator behind the door.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            raise NotImplementedError(f"the emulator speaks HTTP, not {scope['type']}")
        pairs = (
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        )
        query = scope.get("query_string", b"").decode("ascii")
        body = await _body(receive)
        request = Request(scope["method"], scope["path"], Headers(pairs), body, query)
        await _send_response(emulator.handle(request), send)

    return app


async def _live(receive: Receive, send: Send) -> None:
    """Say yes to the start and to the end of the server."""
    kind = ""
    while kind != "lifespan.shutdown":
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _send_response(response: Response, send: Send) -> None:
    await asyncio.sleep(response.delay)
    if response.dropped:
        raise ConnectionAbortedError(_DROPPED)
    headers = [
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    for step in response.steps:
        if isinstance(step, bytes):
            await send({"type": "http.response.body", "body": step, "more_body": True})
        elif isinstance(step, Wait):
            await asyncio.sleep(step.seconds)
        elif isinstance(step, Cut):
            raise ConnectionAbortedError(_CUT)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
