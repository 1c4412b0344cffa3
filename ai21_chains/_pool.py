"""Shared HTTP connections whose cost does not grow with their number.

httpx's own pool looks through all its connections and waiting requests whenever one begins or ends:
at 400 requests in flight it spends more time on that than on the requests. Here each connection is
an httpx transport of its own, which is taken from a stack for one request and put back when the
response is closed. There is no upper limit: who asks for 400 requests at once gets 400 connections.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import ssl
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sized
from functools import cache, lru_cache, partial
from http.cookiejar import DefaultCookiePolicy
from threading import Lock
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary

import httpx

from ai21_chains.errors import ConfigurationError

MOST_IDLE = 128
"""Connections that are kept open for later requests."""

LONGEST_IDLE = 30.0
"""Seconds after which an idle connection is closed rather than reused."""

ONE_CONNECTION = httpx.Limits(
    max_connections=1, max_keepalive_connections=1, keepalive_expiry=LONGEST_IDLE
)
"""Limits of each transport in a pool."""


class ConnectionPool(httpx.BaseTransport):
    """A stack of transports with one connection each. Safe to use from several threads."""

    def __init__(self, connect: Callable[[], httpx.BaseTransport]) -> None:
        """Start empty.

        Args:
            connect: Makes a transport with a single connection.
        """
        self._connect = connect
        self._idle: deque[tuple[float, httpx.BaseTransport]] = deque()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request over an idle connection, or over a new one."""
        try:
            _, transport = self._idle.pop()
        except IndexError:
            transport = self._connect()
        try:
            response = transport.handle_request(request)
        except BaseException:
            transport.close()
            raise
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Borrowed(response.stream, lambda: self._put_back(transport))
        return response

    def close(self) -> None:
        """Close the idle connections; those in use are closed with their responses."""
        while self._idle:
            self._idle.popleft()[1].close()

    def _put_back(self, transport: httpx.BaseTransport) -> None:
        self._idle.append((time.monotonic(), transport))
        if too_many(self._idle, self._idle[0][0]):
            self._idle.popleft()[1].close()


class AsyncConnectionPool(httpx.AsyncBaseTransport):
    """The same for one event loop."""

    def __init__(self, connect: Callable[[], httpx.AsyncBaseTransport]) -> None:
        """Start empty.

        Args:
            connect: Makes a transport with a single connection.
        """
        self._connect = connect
        self._idle: deque[tuple[float, httpx.AsyncBaseTransport]] = deque()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request over an idle connection, or over a new one."""
        transport = self._idle.pop()[1] if self._idle else self._connect()
        try:
            response = await transport.handle_async_request(request)
        except BaseException:
            await transport.aclose()
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _AsyncBorrowed(response.stream, lambda: self._put_back(transport))
        return response

    async def aclose(self) -> None:
        """Close the idle connections; those in use are closed with their responses."""
        while self._idle:
            await self._idle.popleft()[1].aclose()

    def _put_back(self, transport: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport | None:
        self._idle.append((time.monotonic(), transport))
        return self._idle.popleft()[1] if too_many(self._idle, self._idle[0][0]) else None


def too_many(idle: Sized, idle_since: float) -> bool:
    """Whether the connection that has been idle for longest should be closed."""
    return len(idle) > MOST_IDLE or time.monotonic() - idle_since > LONGEST_IDLE


class _Borrowed(httpx.SyncByteStream):
    """A response's bytes; closing them puts the connection back."""

    def __init__(self, stream: httpx.SyncByteStream, put_back: Callable[[], None]) -> None:
        self._stream = stream
        self._put_back: Callable[[], None] | None = put_back

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        self._stream.close()
        put_back, self._put_back = self._put_back, None
        if put_back:
            put_back()


class _AsyncBorrowed(httpx.AsyncByteStream):
    def __init__(
        self,
        stream: httpx.AsyncByteStream,
        put_back: Callable[[], httpx.AsyncBaseTransport | None],
    ) -> None:
        self._stream = stream
        self._put_back: Callable[[], httpx.AsyncBaseTransport | None] | None = put_back

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        await self._stream.aclose()
        put_back, self._put_back = self._put_back, None
        superfluous = put_back() if put_back else None
        if superfluous:
            await superfluous.aclose()


# --- Shared clients --------------------------------------------------------------------------

_Key = tuple[bool, str | None]
_clients: dict[_Key, httpx.Client] = {}
_async_clients: WeakKeyDictionary[
    asyncio.AbstractEventLoop, dict[_Key, tuple[httpx.AsyncClient, AsyncGenerator[None, None]]]
] = WeakKeyDictionary()
_lock = Lock()


def client(url: str, proxy: str | None) -> httpx.Client:
    """Return the process's client for this kind of address, made on first use.

    Args:
        url: The address that will be called.
        proxy: The proxy to go through; None for what the environment says.

    Raises:
        ConfigurationError: The proxy's URL is not one.
    """
    key = _key(url, proxy)
    with _lock:
        found = _clients.get(key)
        if found is None:
            connect = partial(httpx.HTTPTransport, **_options(key))
            found = httpx.Client(transport=ConnectionPool(connect))
            _refuse_cookies(found)
            atexit.register(found.close)
            _clients[key] = found
    return found


async def async_client(url: str, proxy: str | None) -> httpx.AsyncClient:
    """Return the running event loop's client for this kind of address, made on first use."""
    key = _key(url, proxy)
    loop = asyncio.get_running_loop()
    with _lock:
        clients = _async_clients.get(loop)
        if clients is None:
            for other in [other for other in _async_clients if other.is_closed()]:
                del _async_clients[other]
            clients = _async_clients[loop] = {}
    if key not in clients:
        connect = partial(httpx.AsyncHTTPTransport, **_options(key))
        made = httpx.AsyncClient(transport=AsyncConnectionPool(connect))
        _refuse_cookies(made)
        closer = _close_with_the_loop(made)
        clients[key] = made, closer
        await anext(closer)
    return clients[key][0]


async def _close_with_the_loop(made: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    # Before an event loop stops it closes the async generators that began in it: the one moment
    # at which its connections can still be closed in good order.
    try:
        yield
    finally:
        await made.aclose()


def _key(url: str, proxy: str | None) -> _Key:
    scheme, host = urlsplit(url)[:2]
    return scheme == "https", proxy or _environment_proxy(scheme, host)


@lru_cache(maxsize=64)
def _environment_proxy(scheme: str, host: str) -> str | None:
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    return proxy if proxy and not proxy_bypass(host) else None


def _options(key: _Key) -> dict[str, Any]:
    encrypted, proxy = key
    try:
        via = httpx.Proxy(proxy) if proxy else None
    except (ValueError, httpx.InvalidURL) as error:
        raise ConfigurationError(f"proxy is not the URL of a proxy: {error}") from None
    return {
        "verify": _tls_context() if encrypted else False,
        "proxy": via,
        "limits": ONE_CONNECTION,
    }


@cache
def _tls_context() -> ssl.SSLContext:
    # Reading the certificates takes some 80 ms: once a process, not once a connection.
    return httpx.create_ssl_context()


def _refuse_cookies(shared: httpx.Client | httpx.AsyncClient) -> None:
    # Whoever shares this client must not share a session.
    shared.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))


def _forget_all() -> None:
    # Connections that a forked child would share with its parent are of no use to either.
    _clients.clear()
    _async_clients.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
