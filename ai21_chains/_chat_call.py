"""A request to `POST /chat/completions`, whose answer is one object or a stream of events."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from ai21_chains import _protocol
from ai21_chains._call import Call, Reader, Settings, WholeReader
from ai21_chains._streams import StreamReader
from ai21_chains._wire import ChatRequest, Completion
from ai21_chains.errors import APIError, BadRequestError, UnprocessableEntityError

logger = logging.getLogger("ai21_chains")


class ChatCall(Call[Completion]):
    """A chat request, whose answer may come in events."""

    _events = "text/event-stream"

    def __init__(self, url: str, body: ChatRequest, settings: Settings) -> None:
        """Encode the request.

        Args:
            url: Where it goes.
            body: The request.
            settings: Key, headers, timeout and retries.

        Raises:
            ConfigurationError: The request cannot be sent.
        """
        self._body = body
        self._streaming = bool(body.get("stream"))
        super().__init__(
            "POST",
            url,
            {"content": self._content()},
            _protocol.read_completion,
            settings=settings,
            accept=self._events if self._streaming else "application/json",
            model=body.get("model", ""),
        )

    def _answer_reader(self) -> Reader[Completion] | None:
        # Neither the request nor the content type says for sure what a stream is.
        return None if self._streaming else super()._answer_reader()

    def feed(self, chunk: bytes) -> Iterator[Completion]:
        """Yield what a piece of an answer's body completes."""
        if self._reader is None:
            whole = chunk.lstrip()[:1] in (b"{", b"[", b"<")
            self._reader = (
                WholeReader(_read_as_event, self._where) if whole else self._stream_reader()
            )
        return self._reader.feed(chunk)

    def _content(self) -> bytes:
        return _protocol.encode(self._body)

    def _stream_reader(self) -> Reader[Completion]:
        return StreamReader(self._where)

    def pause_after(self, error: APIError) -> float:
        """Return the seconds to wait before the next try."""
        return 0.0 if self._give_up_streaming(error) else super().pause_after(error)

    def _give_up_streaming(self, error: APIError) -> bool:
        # AI21's documentation says that tools cannot be streamed, its schema that they can.
        refused = isinstance(error, BadRequestError | UnprocessableEntityError)
        if not (refused and "tools" in self._body and "stream" in self._body):
            return False
        if "stream" not in error.detail.lower():
            return False
        logger.warning("%s does not stream tools; asking without streaming", self.url)
        self._body = self._body.copy()
        del self._body["stream"]
        self._sent = {"content": self._content()}
        if self._headers.get("Accept") == self._events:
            self._headers["Accept"] = "application/json"
        return True


def _read_as_event(body: bytes, where: str) -> Completion:
    return _protocol.as_event(_protocol.read_completion(body, where))
