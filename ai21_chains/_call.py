"""One request to AI21's API, from the first try to the last: all of it but the sending.

`client` sends what is built here, and hands over the bytes that come back; what they mean, whether
to try again, and what to say of a failure is the same for blocking and for async code.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import Any, Generic, Protocol, TypedDict, TypeVar

import httpx

from ai21_chains import _protocol, _retry
from ai21_chains._streams import StreamReader
from ai21_chains._version import __version__
from ai21_chains.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    MissingExtraError,
    ResponseFormatError,
    StreamInterruptedError,
)

DEFAULT_TIMEOUT = httpx.Timeout(300.0, connect=10.0)
"""AI21's own SDK waits 300 s too; a host that does not answer at all is noticed sooner."""

_HTTPX_TIMEOUT = httpx.Timeout(5.0)
_BEFORE_SENDING = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
"""What httpx raises while there is no connection: the server has seen nothing of the request."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SECRET_HEADERS = frozenset({"authorization", "api-key", "x-amz-security-token"})
_NOTHING = r"(?!)"
_USER_AGENT = f"ai21-chains/{__version__} python/{platform.python_version()}"


class Settings(TypedDict):
    """What all requests of a client have in common."""

    key: str | None
    headers: Mapping[str, str]
    timeout: float | httpx.Timeout | None
    max_retries: int


_Answer = TypeVar("_Answer")
_AnswerRead = TypeVar("_AnswerRead", covariant=True)


class Reader(Protocol[_AnswerRead]):
    """Reads the body of an answer."""

    started: bool
    finished: bool

    def feed(self, chunk: bytes) -> Iterator[_AnswerRead]: ...
    def close(self) -> Iterator[_AnswerRead]: ...


class Call(Generic[_Answer]):
    """One request, from the first try to the last."""

    _place = "base_url"
    """The setting that says where the server is, for error messages."""

    def __init__(
        self,
        method: str,
        url: str,
        sent: Mapping[str, Any],
        read: Callable[[bytes, str], _Answer],
        *,
        settings: Settings,
        accept: str = "application/json",
        idempotent: bool = True,
        model: str = "",
    ) -> None:
        """Make ready what does not change from one try to the next.

        Args:
            method: The HTTP method.
            url: Where the request goes.
            sent: What httpx is to make the query and the body from.
            read: Makes the answer from its body and the request's method and URL.
            settings: Key, headers, timeout and retries.
            accept: Which kinds of answer are wanted.
            idempotent: Whether doing it twice does no harm.
            model: The model that is asked, for error messages.

        Raises:
            ConfigurationError: The request cannot be sent.
        """
        self.url = url
        """Where the request goes."""
        self._method = method
        self._where = f"{method} {url}"
        self._sent = sent
        self._read = read
        self._idempotent = idempotent
        self._model = model
        content_type = {"Content-Type": "application/json"} if "content" in sent else {}
        ours = {"Accept": accept, **content_type}
        self._headers = _headers(ours, settings["headers"], settings["key"])
        self._timeout = settings["timeout"]
        self._max_retries = settings["max_retries"]
        self._failures = 0
        self._response: httpx.Response | None = None
        self._reader: Reader[_Answer] | None = None

    def request(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """Build the request for the next try."""
        self._response = self._reader = None
        return http.build_request(
            self._method,
            _parsed(self.url),
            headers=self._headers,
            timeout=_timeout(http) if self._timeout is None else self._timeout,
            **self._sent,
        )

    def receive(self, response: httpx.Response) -> None:
        """Take the head of an answer."""
        self._response = response
        if response.is_success:
            self._reader = self._answer_reader()
        else:
            self._reader = _FailureReader(self, response)

    def _answer_reader(self) -> Reader[_Answer] | None:
        return WholeReader(self._read, self._where)

    def feed(self, chunk: bytes) -> Iterator[_Answer]:
        """Yield what a piece of an answer's body completes."""
        assert self._reader is not None
        return self._reader.feed(chunk)

    def close(self) -> Iterator[_Answer]:
        """Yield what the end of an answer's body completes."""
        yield from self.feed(b"")
        assert self._reader is not None
        yield from self._reader.close()

    @property
    def is_done(self) -> bool:
        """Whether the server has said that nothing more will come."""
        return isinstance(self._reader, StreamReader) and self._reader.done

    def pause_after(self, error: APIError) -> float:
        """Return the seconds to wait before the next try.

        Raises:
            APIError: The error itself, when there is to be no next try.
        """
        self._failures += 1
        started = self._reader is not None and self._reader.started
        if started or not _retry.should_retry(error):
            raise error
        if not (self._idempotent or _retry.surely_not_done(error)):
            error.args = (f"{error}. The server may have done it: look before you repeat it",)
            error.is_retryable = False  # nor is LangChain to repeat it
            raise error
        if self._failures > self._max_retries:
            raise error
        return _retry.delay(error, self._failures)

    @cached_property
    def _secret(self) -> re.Pattern[str]:
        return _secret_pattern(self._headers)

    @contextmanager
    def translating_errors(self) -> Iterator[None]:
        """Turn httpx's errors into ours."""
        try:
            yield
        except (ResponseFormatError, StreamInterruptedError) as error:
            # A server may echo what it was sent.
            words = str(error).replace("Check base_url", f"Check {self._place}")
            error.args = (self._without_key(words),)
            error.detail, error.body = self._without_key(error.detail), None
            if self._response is not None:
                error.status_code = self._response.status_code
            raise
        except (httpx.InvalidURL, UnicodeError) as error:
            raise ConfigurationError(f"{self._place} is not a URL: {error}") from error
        except ImportError as error:
            raise MissingExtraError(f"The proxy needs a further package: {error}") from error
        except httpx.HTTPError as error:
            cause = None if self._secret.search(str(error)) else error
            reader = self._reader
            if isinstance(reader, _FailureReader):
                # The body was cut short; the status is known all the same.
                raise reader.error() from cause
            if reader is None or not reader.finished:
                raise self._interruption(error) from cause

    def status_error(self, response: httpx.Response, body: bytes) -> APIStatusError:
        """Return the error for an answer with an error status, with the key taken out."""
        headers = {name: self._without_key(text) for name, text in response.headers.items()}
        headers.pop("content-encoding", None)
        body = self._without_key(body.decode("utf-8", "replace")).encode()
        status = response.status_code
        error = self._error(status, headers, body)
        request = httpx.Request(self._method, self.url)
        error.response = httpx.Response(status, headers=headers, content=body, request=request)
        return error

    def _error(self, status: int, headers: Mapping[str, str], body: bytes) -> APIStatusError:
        return _protocol.error_from_response(self._where, status, headers, body, self._model)

    def _without_key(self, text: str) -> str:
        return self._secret.sub("**********", text)

    def _interruption(self, error: httpx.HTTPError) -> APIError:
        words = _protocol.quote(self._without_key(str(error))) or type(error).__name__
        if isinstance(error, httpx.TimeoutException):
            late = APITimeoutError(
                f"{self._where} timed out ({_what_timed_out(error)}). Raise timeout, or try again"
            )
            late.was_sent = not isinstance(error, _BEFORE_SENDING)
            return late
        if isinstance(error, httpx.DecodingError):
            return StreamInterruptedError(f"{self._where} sent a damaged answer: {words}")
        if self._reader is not None and self._reader.started:
            return StreamInterruptedError(
                f"The stream from {self._where} broke off: {words}. The answer is incomplete"
            )
        broken = APIConnectionError(
            f"{self._where} failed: {words}. Check {self._place}, the network and any proxy"
        )
        broken.was_sent = not isinstance(error, _BEFORE_SENDING)
        return broken


class WholeReader(Generic[_Answer]):
    """Reads an answer that is not a stream."""

    def __init__(self, read: Callable[[bytes, str], _Answer], where: str) -> None:
        self.started = self.finished = False
        self._read = read
        self._where = where
        self._body: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[_Answer]:
        self._body.append(chunk)
        return iter(())

    def close(self) -> Iterator[_Answer]:
        answer = self._read(b"".join(self._body), self._where)
        self.started = self.finished = True
        yield answer


class _FailureReader:
    """Reads an answer with an error status."""

    LONGEST_BODY = 1_000_000

    def __init__(self, call: Call[Any], response: httpx.Response) -> None:
        self.started = self.finished = False
        self._call = call
        self._response = response
        self._body = b""

    def feed(self, chunk: bytes) -> Iterator[Any]:
        self._body += chunk
        if len(self._body) > self.LONGEST_BODY:
            raise self.error()
        return iter(())

    def close(self) -> Iterator[Any]:
        raise self.error()

    def error(self) -> APIStatusError:
        return self._call.status_error(self._response, self._body)


def merge_headers(*given: Mapping[str, str] | None) -> dict[str, str]:
    """Return all headers; of those with the same name, in whatever case, the last one counts."""
    named = {name.lower(): (name, text) for more in given for name, text in (more or {}).items()}
    return dict(named.values())


# httpx takes a fifth of its time for a request to parse the URL.
_parsed = lru_cache(maxsize=64)(httpx.URL)


def _headers(ours: Mapping[str, str], given: Mapping[str, str], key: str | None) -> dict[str, str]:
    for name, text in given.items():
        if not (_HEADER_NAME.fullmatch(name) and text.isascii() and text.isprintable()):
            raise ConfigurationError(f"The header {name!r} holds characters that none may hold")
    bearer = {} if key is None else {"Authorization": f"Bearer {key}"}
    return merge_headers({**ours, "User-Agent": _USER_AGENT, **bearer}, given)


def _secret_pattern(headers: Mapping[str, str]) -> re.Pattern[str]:
    given = (text for name, text in headers.items() if name.lower() in _SECRET_HEADERS)
    secrets = (text.split(" ")[-1] for text in given)
    return re.compile("|".join(map(_pattern, filter(None, secrets))) or _NOTHING)


def _pattern(secret: str) -> str:
    exactly = re.escape(secret)
    if len(secret) < 10:
        # A key as short as "test" is found in many a word; by itself it is the key.
        return rf"(?<!\w){exactly}(?!\w)"
    # What ends in an ellipsis may have been shortened in the middle of the key.
    return rf"{exactly}|{re.escape(secret[:8])}\S*(?=…)"


def _timeout(http: httpx.Client | httpx.AsyncClient) -> httpx.Timeout:
    # Nobody who passes a client for its certificates wants httpx's 5 seconds with it.
    return DEFAULT_TIMEOUT if http.timeout == _HTTPX_TIMEOUT else http.timeout


def _what_timed_out(error: httpx.TimeoutException) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "connecting"
    return "waiting for a free connection" if isinstance(error, httpx.PoolTimeout) else "no data"
