"""A chat request to another host than AI21 Studio."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ai21_chains import _protocol
from ai21_chains._call import Reader, Settings
from ai21_chains._chat_call import ChatCall
from ai21_chains._host import EventError, Host
from ai21_chains._streams import StreamReader
from ai21_chains._wire import ChatRequest, Completion
from ai21_chains.errors import APIError, APIStatusError, StreamInterruptedError

if TYPE_CHECKING:
    import httpx


class HostCall(ChatCall):
    """A chat request whose address, credentials, body and stream are the host's."""

    def __init__(self, host: Host, body: ChatRequest, settings: Settings, credentials: Any) -> None:
        """Encode the request.

        Args:
            host: Where it goes.
            body: The request.
            settings: Headers, timeout and retries.
            credentials: Who is asking.

        Raises:
            ConfigurationError: The request cannot be sent.
        """
        self._host = host
        self._credentials = credentials
        self._events = host.accepts
        self._place = host.place
        self._given = {name.lower() for name in settings["headers"]}
        super().__init__(host.url(body, credentials), body, settings)

    def request(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """Build the request for the next try, with credentials of its own."""
        request = super().request(http)
        signed = self._host.headers(str(request.url), request.content, self._credentials)
        self._headers |= {n: text for n, text in signed.items() if n.lower() not in self._given}
        self.__dict__.pop("_secret", None)
        request.headers.update(self._headers)
        return request

    def feed(self, chunk: bytes) -> Iterator[Completion]:
        """Yield what a piece of an answer's body completes."""
        try:
            yield from super().feed(chunk)
        except EventError as failure:
            raise self._failed(failure) from None

    def pause_after(self, error: APIError) -> float:
        """Return the seconds to wait before the next try."""
        if error.status_code in self._host.final:
            error.is_retryable = False  # nor is LangChain to repeat it
            raise error
        return super().pause_after(error)

    def _content(self) -> bytes:
        return _protocol.encode(self._host.body(self._body))

    def _stream_reader(self) -> Reader[Completion]:
        return StreamReader(self._where, self._host.decoder())

    def _give_up_streaming(self, error: APIError) -> bool:
        if not super()._give_up_streaming(error):
            return False
        self.url = self._host.url(self._body, self._credentials)
        self._where = f"POST {self.url}"
        return True

    def _error(self, status: int, headers: Mapping[str, str], body: bytes) -> APIStatusError:
        kind = self._host.kind_of(status, headers)
        return _protocol.error_from_response(
            self._where, status, headers, body, kind=kind, hints=self._host.hints
        )

    def _failed(self, failure: EventError) -> APIError:
        body = self._without_key(failure.body.decode("utf-8", "replace")).encode()
        error = self._error(failure.status, failure.headers, body)
        assert self._reader is not None
        if not self._reader.started:
            return error
        return StreamInterruptedError(
            f"The stream from {self._where} broke off: {error.detail}. The answer is incomplete",
            detail=error.detail,
        )
