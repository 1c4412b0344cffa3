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
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import cache, lru_cache, partial
from http.cookiejar import DefaultCookiePolicy
from socket import SHUT_RDWR
from threading import Lock, Timer
from typing import Any, Generic, TypeVar
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

LONGEST_END = 0.5
"""Seconds that a server gets to end a response of which nothing more is wanted."""

_Transport = TypeVar("_Transport", httpx.BaseTransport, httpx.AsyncBaseTransport)


class IdleConnections(Generic[_Transport]):
    """Transports that wait for the next request to the same host; the one used last is first.

    There is no lock: the garbage collector may close a response, and so put its connection back, in
    the middle of anything. Each step by itself is one that no other thread can see half done.
    """

    def __init__(self, most: int, longest: float) -> None:
        """Start empty.

        Args:
            most: How many are kept for each host.
            longest: Seconds for which one is kept.
        """
        self._most = most
        self._longest = longest
        self._stacks: dict[object, deque[tuple[float, _Transport]]] = {}

    def take(self, request: httpx.Request) -> _Transport | None:
        """Return a transport that is connected to where the request goes, if there is one."""
        with suppress(KeyError, IndexError):
            return self._stacks[_origin(request)].pop()[1]
        return None

    def put(self, request: httpx.Request, transport: _Transport) -> list[_Transport]:
        """Keep a transport for later, and return those that are to be closed instead."""
        now = time.monotonic()
        self._stacks.setdefault(_origin(request), deque()).append((now, transport))
        return self._superfluous(now - self._longest)

    def close(self) -> list[_Transport]:
        """Keep none from now on, and return those that are to be closed."""
        self._most = 0
        return self._superfluous(0.0)

    def _superfluous(self, oldest: float) -> list[_Transport]:
        found = []
        for stack in list(self._stacks.values()):
            with suppress(IndexError):
                while len(stack) > self._most or stack[0][0] < oldest:
                    found.append(stack.popleft()[1])
        return found


class ConnectionPool(httpx.BaseTransport):
    """A stack of transports with one connection each. Safe to use from several threads."""

    def __init__(
        self,
        connect: Callable[[], httpx.BaseTransport],
        most_idle: int = MOST_IDLE,
        longest_idle: float = LONGEST_IDLE,
    ) -> None:
        """Start empty.

        Args:
            connect: Makes a transport with a single connection.
            most_idle: How many connections to a host are kept for later.
            longest_idle: Seconds for which they are kept.
        """
        self._connect = connect
        self._idle = IdleConnections[httpx.BaseTransport](most_idle, longest_idle)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request over an idle connection, or over a new one."""
        transport = self._idle.take(request) or self._connect()
        try:
            response = transport.handle_request(request)
        except BaseException:
            transport.close()
            raise
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Borrowed(response.stream, partial(self._idle.put, request, transport))
        return response

    def close(self) -> None:
        """Close the idle connections; those in use are closed with their responses."""
        for transport in self._idle.close():
            transport.close()


class AsyncConnectionPool(httpx.AsyncBaseTransport):
    """The same for one event loop."""

    def __init__(
        self,
        connect: Callable[[], httpx.AsyncBaseTransport],
        most_idle: int = MOST_IDLE,
        longest_idle: float = LONGEST_IDLE,
    ) -> None:
        """Start empty.

        Args:
            connect: Makes a transport with a single connection.
            most_idle: How many connections to a host are kept for later.
            longest_idle: Seconds for which they are kept.
        """
        self._connect = connect
        self._idle: IdleConnections[httpx.AsyncBaseTransport] = IdleConnections(
            most_idle, longest_idle
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request over an idle connection, or over a new one."""
        transport = self._idle.take(request) or self._connect()
        try:
            response = await transport.handle_async_request(request)
        except BaseException:
            await transport.aclose()
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        put_back = partial(self._idle.put, request, transport)
        response.stream = _AsyncBorrowed(response.stream, put_back)
        return response

    async def aclose(self) -> None:
        """Close the idle connections; those in use are closed with their responses."""
        for transport in self._idle.close():
            await transport.aclose()


class _Borrowed(httpx.SyncByteStream):
    """A response's bytes; closing them puts the connection back."""

    def __init__(
        self, stream: httpx.SyncByteStream, put_back: Callable[[], list[httpx.BaseTransport]]
    ) -> None:
        self._stream = stream
        self._put_back: Callable[[], list[httpx.BaseTransport]] | None = put_back

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        self._stream.close()
        put_back, self._put_back = self._put_back, None
        for superfluous in put_back() if put_back else ():
            superfluous.close()


class _AsyncBorrowed(httpx.AsyncByteStream):
    def __init__(
        self,
        stream: httpx.AsyncByteStream,
        put_back: Callable[[], list[httpx.AsyncBaseTransport]],
    ) -> None:
        self._stream = stream
        self._put_back: Callable[[], list[httpx.AsyncBaseTransport]] | None = put_back

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        await self._stream.aclose()
        put_back, self._put_back = self._put_back, None
        for superfluous in put_back() if put_back else ():
            await superfluous.aclose()


def _origin(request: httpx.Request) -> object:
    return request.url.raw_scheme, request.url.netloc


# --- The end of a response -------------------------------------------------------------------


def read_to_the_end(response: httpx.Response, chunks: Iterator[bytes]) -> None:
    """Wait a moment for the end of a response: only then can its connection be used again."""
    stream = response.extensions.get("network_stream")
    if stream is None:
        return
    # A blocking read can be ended from outside only: by taking its socket away.
    timer = Timer(LONGEST_END, _shut_down, [stream.get_extra_info("socket")])
    timer.daemon = True
    timer.start()
    try:
        for _ in chunks:
            pass
    finally:
        timer.cancel()


async def aread_to_the_end(chunks: AsyncIterator[bytes]) -> None:
    """Async form of `read_to_the_end`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LONGEST_END):
            async for _ in chunks:
                pass


def _shut_down(socket: Any) -> None:
    with suppress(OSError):
        socket.shutdown(SHUT_RDWR)


# --- Shared clients --------------------------------------------------------------------------

direct_connection: Callable[[ssl.SSLContext | None], httpx.AsyncBaseTransport] | None = None
"""What makes the async connections that go through no proxy; None for httpx. The gateway's program
sets it before its first request. In other people's programs it stays as it is."""

_Key = tuple[bool, str | None]
_clients: dict[_Key, httpx.Client] = {}
_async_clients: WeakKeyDictionary[
    asyncio.AbstractEventLoop, dict[_Key, tuple[httpx.AsyncClient, AsyncGenerator[None, None]]]
] = WeakKeyDictionary()
_lock = Lock()
_abandoned: list[object] = []


def client(url: str, proxy: str | None) -> httpx.Client:
    """Return the process's client for this kind of address, made on first use.

    Args:
        url: The address that will be called.
        proxy: The proxy to go through; None for what the environment says.

    Raises:
        ConfigurationError: The proxy's URL is not one.
    """
    key = _key(url, proxy)
    found = _clients.get(key)
    if found is None:
        connect = partial(httpx.HTTPTransport, **_options(key))
        made = httpx.Client(transport=ConnectionPool(connect))
        _refuse_cookies(made)
        found = _clients.setdefault(key, made)
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
    if key not in clients or clients[key][0].is_closed:
        made = httpx.AsyncClient(transport=AsyncConnectionPool(_connect(key)))
        _refuse_cookies(made)
        closer = _close_with_the_loop(made)
        clients[key] = made, closer
        await anext(closer)
    return clients[key][0]


def _connect(key: _Key) -> Callable[[], httpx.AsyncBaseTransport]:
    options = _options(key)
    if direct_connection is not None and options["proxy"] is None:
        return partial(direct_connection, options["verify"] if key[0] else None)
    return partial(httpx.AsyncHTTPTransport, **options)


async def _close_with_the_loop(made: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    # Before an event loop stops it closes the async generators that began in it: the one moment
    # at which its connections can still be closed in good order.
    try:
        yield
    finally:
        await made.aclose()


def _key(url: str, proxy: str | None) -> _Key:
    scheme, host = urlsplit(url)[:2]
    environment = tuple(map(os.environ.get, _PROXY_VARIABLES))
    return scheme == "https", proxy or _environment_proxy(scheme, host, environment)


_PROXY_VARIABLES = tuple(
    spelling
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    for spelling in (name, name.upper())
)


@lru_cache(maxsize=64)
def _environment_proxy(scheme: str, host: str, environment: tuple[str | None, ...]) -> str | None:
    # Looking through the environment takes long, so the answer is kept as long as that is the same.
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or proxy_bypass(host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _options(key: _Key) -> dict[str, Any]:
    encrypted, proxy = key
    try:
        via = httpx.Proxy(proxy) if proxy else None
    except (ValueError, httpx.InvalidURL):
        # Not even a part of it is shown: it may hold a password.
        raise ConfigurationError(
            "proxy (or HTTPS_PROXY, HTTP_PROXY, ALL_PROXY) is not the URL of a proxy, such as "
            "'http://proxy.example:3128'"
        ) from None
    return {
        "verify": _tls_context(encrypted),
        "proxy": via,
        "limits": ONE_CONNECTION,
    }


@cache
def _tls_context(encrypted: bool) -> ssl.SSLContext:
    # Reading the certificates takes some 80 ms, and a context without any, which httpx makes for
    # plain HTTP too, one or two: once a process, not once a connection.
    return httpx.create_ssl_context(verify=encrypted)


def _refuse_cookies(shared: httpx.Client | httpx.AsyncClient) -> None:
    # Whoever shares this client must not share a session.
    shared.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))


@atexit.register
def _close_all() -> None:
    for shared in _clients.values():
        shared.close()


def _begin_again() -> None:
    # A forked child has copies of its parent's connections, which are of no use to it. Those of an
    # event loop cannot be closed without the loop: they are kept, unused.
    _lock.release()
    _abandoned.append(dict(_async_clients))
    _async_clients.clear()
    _close_all()
    _clients.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_begin_again
    )
