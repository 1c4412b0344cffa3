"""The HTTP client for AI21's API: the only module of the client side that does input and output.

Everything that can be decided without a connection is decided in `_protocol` and `_retry`; here
the bytes are sent and fetched, once with blocking calls and once with `await`. Apart from `_pool`,
which serves this module alone, no other one imports httpx: another HTTP library is a change here.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import platform
import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Mapping,
)
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import httpx
from pydantic import SecretStr

from ai21_chains import _pool, _protocol, _retry
from ai21_chains._version import __version__
from ai21_chains._wire import ChatRequest, Completion
from ai21_chains.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    ConfigurationError,
    MissingAPIKeyError,
    ResponseFormatError,
    StreamInterruptedError,
    UnprocessableEntityError,
)

logger = logging.getLogger(__name__)

__all__ = ["STUDIO", "AI21Client", "APIKey", "AsyncHTTPClient", "HTTPClient", "Timeout"]

Timeout: TypeAlias = httpx.Timeout
HTTPClient: TypeAlias = httpx.Client
AsyncHTTPClient: TypeAlias = httpx.AsyncClient
_Given = TypeVar("_Given", httpx.Client, httpx.AsyncClient)
APIKey: TypeAlias = str | SecretStr | Callable[[], str] | Callable[[], Awaitable[str]]

STUDIO = "https://api.ai21.com/studio/v1"
"""Base URL of AI21 Studio."""

DEFAULT_TIMEOUT = httpx.Timeout(300.0, connect=10.0)
"""AI21's own SDK waits 300 s too; a host that does not answer at all is noticed sooner."""

_USER_AGENT = f"ai21-chains/{__version__} python/{platform.python_version()}"


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
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    async_sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep, repr=False)

    def complete(self, body: ChatRequest) -> Completion:
        """Send a chat request and return the whole answer (`POST /chat/completions`).

        Raises:
            ConfigurationError: The request cannot be sent; nothing was.
            APIError: No usable answer came back, after `max_retries` further tries where they help.
        """
        with closing(self._exchange(_Call(self, body, self._key()))) as answers:
            return next(answers)

    async def acomplete(self, body: ChatRequest) -> Completion:
        """Async form of `complete`."""
        async with aclosing(self._aexchange(_Call(self, body, await self._akey()))) as answers:
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
        return self._exchange(_Call(self, {**body, "stream": True}, self._key()))

    async def astream(self, body: ChatRequest) -> AsyncGenerator[Completion, None]:
        """Async form of `stream`."""
        call = _Call(self, {**body, "stream": True}, await self._akey())
        async with aclosing(self._aexchange(call)) as events:
            async for event in events:
                yield event

    def _exchange(self, call: _Call) -> Generator[Completion, None, None]:
        http = _usable(self.http_client) or _pool.client(call.url, self.proxy)
        while True:
            try:
                with (
                    call.translating_errors(),
                    closing(http.send(call.request(http), stream=True)) as response,
                ):
                    reader = call.reader_for(response)
                    for chunk in response.iter_bytes():
                        yield from reader.feed(chunk)
                    yield from reader.close()
                return
            except APIError as error:
                pause = call.pause_after(error)
            self.sleep(pause)

    async def _aexchange(self, call: _Call) -> AsyncGenerator[Completion, None]:
        http = _usable(self.http_async_client) or await _pool.async_client(call.url, self.proxy)
        while True:
            try:
                with call.translating_errors():
                    sent = await http.send(call.request(http), stream=True)
                    async with aclosing(sent) as response:
                        reader = call.reader_for(response)
                        async for chunk in response.aiter_bytes():
                            for event in reader.feed(chunk):
                                yield event
                        for event in reader.close():
                            yield event
                return
            except APIError as error:
                pause = call.pause_after(error)
            await self.async_sleep(pause)

    def _key(self) -> str:
        key = self._called_key()
        if inspect.isawaitable(key):
            if inspect.iscoroutine(key):
                key.close()
            raise ConfigurationError(
                "api_key is an async callable: it works with ainvoke, astream and abatch only"
            )
        return self._checked(key)

    async def _akey(self) -> str:
        key = self._called_key()
        return self._checked(await key if inspect.isawaitable(key) else key)

    def _called_key(self) -> object:
        if self.api_key is None or isinstance(self.api_key, str | SecretStr):
            return self.api_key
        try:
            return self.api_key()
        except Exception as error:
            raise ConfigurationError(
                f"The api_key callable failed with {type(error).__name__}"
            ) from error

    def _checked(self, key: object) -> str:
        text = key.get_secret_value() if isinstance(key, SecretStr) else key
        text = text.strip() if isinstance(text, str) else ""
        if not text and not any(name.lower() == "authorization" for name in self.headers):
            raise MissingAPIKeyError(
                "There is no API key: set AI21_API_KEY or pass api_key=… (keys are made in AI21 "
                "Studio under Settings, API Keys). To try things out without one, use "
                "ai21_chains.emulator.Emulator"
            )
        if not (text.isascii() and text.isprintable()):
            raise ConfigurationError("api_key holds characters that no API key has")
        return text


class _Call:
    """One request, from the first try to the last."""

    def __init__(self, client: AI21Client, body: ChatRequest, key: str) -> None:
        self.url = client.base_url.rstrip("/") + _protocol.CHAT_PATH
        self._where = f"POST {self.url}"
        self._streaming = bool(body.get("stream"))
        self._model = body.get("model", "")
        self._body = body
        self._content = _protocol.encode(body)
        self._key = key
        self._max_retries = client.max_retries
        self._failures = 0
        self._reader: _Reader | None = None
        self._timeout = client.timeout
        self._headers = {
            "Accept": "text/event-stream" if self._streaming else "application/json",
            "Content-Type": "application/json",
            "User-Agent": _USER_AGENT,
        }
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        replaced = {name.lower() for name in client.headers}
        kept = {name: text for name, text in self._headers.items() if name.lower() not in replaced}
        self._headers = {**kept, **client.headers}

    def request(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """Build the request for the next try."""
        self._reader = None
        timeout = self._timeout
        return http.build_request(
            "POST",
            self.url,
            content=self._content,
            headers=self._headers,
            timeout=DEFAULT_TIMEOUT if timeout is None else timeout,
        )

    def reader_for(self, response: httpx.Response) -> _Reader:
        """Choose how to read an answer by its status and type."""
        if not response.is_success:
            self._reader = _FailureReader(self, response)
        elif self._streaming and not _is_whole(response):
            self._reader = _protocol.StreamReader(self._where)
        else:
            self._reader = _WholeReader(self._where, self._streaming)
        return self._reader

    def pause_after(self, error: APIError) -> float:
        """Return the seconds to wait before the next try.

        Raises:
            APIError: The error itself, when there is to be no next try.
        """
        if self._give_up_streaming(error):
            return 0.0
        self._failures += 1
        started = self._reader is not None and self._reader.started
        if started or self._failures > self._max_retries or not _retry.should_retry(error):
            raise error
        return _retry.delay(error, self._failures)

    def _give_up_streaming(self, error: APIError) -> bool:
        # AI21's documentation says that tools cannot be streamed, its schema that they can.
        refused = isinstance(error, BadRequestError | UnprocessableEntityError)
        if not (refused and "tools" in self._body and "stream" in self._body):
            return False
        if "stream" not in error.detail.lower():
            return False
        logger.warning("%s does not stream tools; asking without streaming", self.url)
        self._body = {name: value for name, value in self._body.items() if name != "stream"}
        self._content = _protocol.encode(self._body)
        return True

    @contextmanager
    def translating_errors(self) -> Iterator[None]:
        """Turn httpx's errors into ours."""
        try:
            yield
        except (ResponseFormatError, StreamInterruptedError) as error:
            # A server may echo what it was sent.
            error.args = (self._without_key(str(error)),)
            error.detail, error.body = self._without_key(error.detail), None
            raise
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"base_url is not a URL: {error}") from error
        except httpx.HTTPError as error:
            reader = self._reader
            if isinstance(reader, _FailureReader):
                # The body was cut short; the status is known all the same.
                raise reader.error() from error
            if reader is None or not reader.finished:
                raise self._interruption(error) from error

    def status_error(self, response: httpx.Response, body: bytes) -> APIStatusError:
        """Return the error for an answer with an error status, with the key taken out."""
        headers = {name: self._without_key(text) for name, text in response.headers.items()}
        headers.pop("content-encoding", None)
        body = self._without_key(body.decode("utf-8", "replace")).encode()
        status = response.status_code
        error = _protocol.error_from_response(self._where, status, headers, body, self._model)
        request = httpx.Request("POST", self.url)
        error.response = httpx.Response(status, headers=headers, content=body, request=request)
        return error

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "**********") if self._key else text

    def _interruption(self, error: httpx.HTTPError) -> APIError:
        words = self._without_key(_protocol.quote(str(error))) or type(error).__name__
        if isinstance(error, httpx.TimeoutException):
            return APITimeoutError(
                f"{self._where} timed out ({_what_timed_out(error)}). Raise timeout, or try again"
            )
        if isinstance(error, httpx.DecodingError):
            return StreamInterruptedError(f"{self._where} sent a damaged answer: {words}")
        if self._reader is not None and self._reader.started:
            return StreamInterruptedError(
                f"The stream from {self._where} broke off: {words}. The answer is incomplete"
            )
        return APIConnectionError(
            f"{self._where} failed: {words}. Check base_url, the network and any proxy"
        )


class _WholeReader:
    """Reads an answer that is not a stream, even where one was asked for."""

    def __init__(self, where: str, as_event: bool) -> None:
        self.started = self.finished = False
        self._where = where
        self._as_event = as_event
        self._body: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[Completion]:
        self._body.append(chunk)
        return iter(())

    def close(self) -> Iterator[Completion]:
        completion = _protocol.read_completion(b"".join(self._body), self._where)
        self.started = self.finished = True
        yield _protocol.as_event(completion) if self._as_event else completion


class _FailureReader:
    """Reads an answer with an error status."""

    LONGEST_BODY = 1_000_000

    def __init__(self, call: _Call, response: httpx.Response) -> None:
        self.started = self.finished = False
        self._call = call
        self._response = response
        self._body = b""

    def feed(self, chunk: bytes) -> Iterator[Completion]:
        if len(self._body) < self.LONGEST_BODY:
            self._body += chunk
        return iter(())

    def close(self) -> Iterator[Completion]:
        raise self.error()

    def error(self) -> APIStatusError:
        return self._call.status_error(self._response, self._body)


_Reader: TypeAlias = _protocol.StreamReader | _WholeReader | _FailureReader


def _is_whole(response: httpx.Response) -> bool:
    kind = response.headers.get("content-type", "")
    return "json" in kind or "html" in kind


def _usable(given: _Given | None) -> _Given | None:
    if given is not None and given.is_closed:
        raise ConfigurationError("The http client that was passed in is closed")
    return given


def _what_timed_out(error: httpx.TimeoutException) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "connecting"
    return "waiting for a free connection" if isinstance(error, httpx.PoolTimeout) else "no data"
