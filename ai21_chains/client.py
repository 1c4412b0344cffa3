"""The HTTP client for AI21's API: the only module of the client side that does input and output.

Everything that can be decided without a connection is decided in `_call`, and of what kind a
request is in `_chat_call`, `_host_call` and `_endpoint`; here the bytes are sent and fetched, once
with blocking calls and once with `await`. Only the modules that serve this one know httpx (`_call`,
`_host_call`, `_pool` and what it uses): another HTTP library is a change in these.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar

import httpx
from typing_extensions import Unpack

from ai21_chains import _pool, _protocol
from ai21_chains._call import Call, Settings, merge_headers
from ai21_chains._chat_call import ChatCall
from ai21_chains._endpoint import File, RequestOptions, endpoint_call, path
from ai21_chains._host import Host
from ai21_chains._keys import APIKey, akey_of, key_of
from ai21_chains._wire import ChatRequest, Completion
from ai21_chains.errors import APIError, ConfigurationError, MissingAPIKeyError

__all__ = [
    "ADDRESSES",
    "STUDIO",
    "AI21Client",
    "APIKey",
    "AsyncHTTPClient",
    "ChatClient",
    "File",
    "HTTPClient",
    "Host",
    "RequestOptions",
    "Timeout",
    "default_address",
    "merge_headers",
    "path",
]

Timeout: TypeAlias = httpx.Timeout
HTTPClient: TypeAlias = httpx.Client
AsyncHTTPClient: TypeAlias = httpx.AsyncClient
_Answer = TypeVar("_Answer")
_Given = TypeVar("_Given", httpx.Client, httpx.AsyncClient)

STUDIO = "https://api.ai21.com/studio/v1"
"""Base URL of AI21 Studio."""

ADDRESSES = ("AI21_API_HOST", "AI21_API_BASE", "AI21_API_URL")
"""Environment variables for the base URL: those of AI21's SDK, LiteLLM and langchain-ai21."""


def default_address() -> str:
    """Return the base URL that the environment names, else AI21 Studio's."""
    return next(filter(None, map(os.environ.get, ADDRESSES)), STUDIO)


class ChatClient(Protocol):
    """What sends chat requests, in whichever protocol."""

    def complete(self, body: ChatRequest) -> Completion:
        """Send a request and return the whole answer."""

    async def acomplete(self, body: ChatRequest) -> Completion:
        """Async form of `complete`."""

    def stream(self, body: ChatRequest) -> Generator[Completion, None, None]:
        """Send a request and yield the events of the answer as they arrive."""

    def astream(self, body: ChatRequest) -> AsyncGenerator[Completion, None]:
        """Async form of `stream`."""


@dataclass(frozen=True, kw_only=True)
class AI21Client:
    """A server that speaks AI21's protocol, and how to reach it. Holds settings, no sockets.

    Connections are shared by all clients of the process, so that a client costs nothing to make
    and can be copied, pickled, and used from any thread and event loop.

    Attributes:
        base_url: Address of the API, such as `STUDIO`.
        api_key: The key, or a callable without arguments, sync or async, that returns it.
        timeout: Seconds for each connection, write and read, or an `httpx.Timeout`. In a stream
            the read timeout bounds the silence between two chunks.
        max_retries: Extra tries after a failed one.
        headers: Further request headers; they replace ours of the same name.
        proxy: URL of a proxy. Without it the environment's proxy variables count.
        http_client: An `httpx.Client` to use as it is. It is never closed here.
        http_async_client: An `httpx.AsyncClient` to use as it is. It is never closed here.
        host: Where chat requests go instead of `base_url`, with its own credentials.
        sleep: How to wait before a retry.
        async_sleep: How to wait before a retry in async code.
    """

    base_url: str = STUDIO
    api_key: APIKey | None = field(default=None, repr=False)
    timeout: float | httpx.Timeout | None = None
    max_retries: int = 2
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    proxy: str | None = field(default=None, repr=False)
    http_client: httpx.Client | None = None
    http_async_client: httpx.AsyncClient | None = None
    host: Host | None = None
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    async_sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep, repr=False)

    def complete(self, body: ChatRequest) -> Completion:
        """Send a chat request and return the whole answer (`POST /chat/completions`).

        Raises:
            ConfigurationError: The request cannot be sent; nothing was.
            APIError: No usable answer came back, after `max_retries` further tries where they help.
        """
        with closing(self._exchange(self._chat(body, self._key()))) as answers:
            return next(answers)

    async def acomplete(self, body: ChatRequest) -> Completion:
        """Async form of `complete`."""
        async with aclosing(self._aexchange(self._chat(body, await self._akey()))) as answers:
            return await anext(answers)

    def stream(self, body: ChatRequest) -> Generator[Completion, None, None]:
        """Send a chat request and yield the events of the answer as they arrive.

        Until the first event has arrived a failure is tried again like one of `complete`; after
        it nothing is, and what had arrived has been yielded when the error is raised.

        Raises:
            ConfigurationError: The request cannot be sent; nothing was.
            APIError: No usable answer came back.
            StreamInterruptedError: The answer broke off.
        """
        return self._exchange(self._chat({**body, "stream": True}, self._key()))

    async def astream(self, body: ChatRequest) -> AsyncGenerator[Completion, None]:
        """Async form of `stream`."""
        call = self._chat({**body, "stream": True}, await self._akey())
        async with aclosing(self._aexchange(call)) as events:
            async for event in events:
                yield event

    def request(self, method: str, path: str, **options: Unpack[RequestOptions]) -> Any:
        """Send a request to any endpoint but chat, and return the decoded JSON of the answer.

        Args:
            method: The HTTP method, in capitals.
            path: The path below `base_url`, from the slash on; see `path`.
            **options: What the request carries; see `RequestOptions`.

        Returns:
            Whatever JSON the answer is, None for an empty one, or bytes with `as_bytes`.

        Raises:
            ConfigurationError: The request cannot be sent; nothing was.
            APIError: No usable answer came back, after `max_retries` further tries where they help
                and do no harm.
        """
        with closing(self._exchange(self._call(method, path, options, self._key()))) as answers:
            return next(answers)

    async def arequest(self, method: str, path: str, **options: Unpack[RequestOptions]) -> Any:
        """Async form of `request`."""
        call = self._call(method, path, options, await self._akey())
        async with aclosing(self._aexchange(call)) as answers:
            return await anext(answers)

    def _exchange(self, call: Call[_Answer]) -> Generator[_Answer, None, None]:
        http = self._usable(self.http_client) or _pool.client(call.url, self.proxy)
        while True:
            try:
                with (
                    call.translating_errors(),
                    closing(http.send(call.request(http), stream=True)) as response,
                ):
                    call.receive(response)
                    chunks = response.iter_bytes()
                    for chunk in chunks:
                        yield from call.feed(chunk)
                        if call.is_done:
                            _pool.read_to_the_end(response, chunks)
                            return
                    yield from call.close()
                return
            except APIError as error:
                pause = call.pause_after(error)
            self.sleep(pause)

    async def _aexchange(self, call: Call[_Answer]) -> AsyncGenerator[_Answer, None]:
        http = self._usable(self.http_async_client)
        http = http or await _pool.async_client(call.url, self.proxy)
        while True:
            try:
                with call.translating_errors():
                    sent = await http.send(call.request(http), stream=True)
                    async with aclosing(sent) as response:
                        call.receive(response)
                        chunks = response.aiter_bytes()
                        async for chunk in chunks:
                            for event in call.feed(chunk):
                                yield event
                            if call.is_done:
                                await _pool.aread_to_the_end(chunks)
                                return
                        for event in call.close():
                            yield event
                return
            except APIError as error:
                pause = call.pause_after(error)
            await self.async_sleep(pause)

    def _usable(self, given: _Given | None) -> _Given | None:
        if given is not None and given.is_closed:
            raise ConfigurationError("The http client that was passed in is closed")
        if given is not None and self.proxy is not None:
            raise ConfigurationError(
                "proxy does not go with an http client of your own: give the proxy to that client"
            )
        return given

    def _chat(self, body: ChatRequest, key: Any) -> ChatCall:
        if self.host is not None:
            from ai21_chains._host_call import HostCall  # who asks AI21 needs none

            return HostCall(self.host, body, self._settings(None), key)
        return ChatCall(self.base_url.rstrip("/") + _protocol.CHAT_PATH, body, self._settings(key))

    def _call(self, method: str, path: str, options: RequestOptions, key: str) -> Call[Any]:
        if self.host is not None:
            raise ConfigurationError(
                f"{method} {path} is an endpoint of AI21 Studio; {self.host.name} serves chat only"
            )
        return endpoint_call(self.base_url, method, path, options, self._settings(key))

    def _settings(self, key: str | None) -> Settings:
        return Settings(
            key=key, headers=self.headers, timeout=self.timeout, max_retries=self.max_retries
        )

    def _key(self) -> Any:
        if self.host is not None:
            return self.host.credentials()
        return self._present(key_of(self.api_key))

    async def _akey(self) -> Any:
        if self.host is not None:
            return await self.host.acredentials()
        return self._present(await akey_of(self.api_key))

    def _present(self, key: str) -> str:
        if not key and not any(name.lower() == "authorization" for name in self.headers):
            raise MissingAPIKeyError(
                "There is no API key: set AI21_API_KEY or pass api_key=… (keys are made in AI21 "
                "Studio under Settings, API Keys). To try things out without one, use "
                "ai21_chains.emulator.Emulator"
            )
        return key
