"""Streamed answers without input or output: bytes in, events out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Protocol

from ai21_chains._protocol import read_event
from ai21_chains._wire import Completion
from ai21_chains.errors import ResponseFormatError, StreamInterruptedError

_ONE_EVENT = re.compile(rb"data: [^\r\n]+\n\n")


class Decoder(Protocol):
    """Takes a streamed answer apart: bytes in, the JSON of complete events out."""

    def feed(self, chunk: bytes) -> Iterable[bytes]: ...
    def close(self) -> Iterable[bytes]: ...


class EventDecoder:
    """Server-sent events: bytes in, the data of complete events out.

    Takes what the WHATWG standard allows: LF, CRLF and CR line ends, comments, fields that are of
    no use here, several data lines in an event, a byte-order mark, and any split of the bytes.
    Beyond the standard, the last event need not be followed by a blank line.
    """

    def __init__(self) -> None:
        """Start before the first byte."""
        self._partial = b""
        self._data: list[bytes] = []
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of each event that this chunk completes."""
        if self._after_cr and chunk:
            chunk, self._after_cr = chunk.removeprefix(b"\n"), False
        if not chunk:
            return []
        if self._between_events and _ONE_EVENT.fullmatch(chunk):
            # What servers send nearly always: one whole event.
            self._at_start = False
            return [chunk[6:-2]]
        lines = (self._partial + chunk).splitlines(keepends=True)
        self._partial = b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop()
        self._after_cr = not self._partial and lines[-1].endswith(b"\r")
        events: list[bytes] = []
        for line in lines:
            self._read(line.rstrip(b"\r\n"), events)
        return events

    @property
    def _between_events(self) -> bool:
        return not (self._partial or self._data)

    def close(self) -> list[bytes]:
        """Return the data of an event that the end of the stream completes."""
        events: list[bytes] = []
        self._read(self._partial, events)
        self._read(b"", events)
        self._partial = b""
        return events

    def _read(self, line: bytes, events: list[bytes]) -> None:
        if self._at_start and line:
            line, self._at_start = line.removeprefix(b"\xef\xbb\xbf"), False
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif not line:
            # An event without data, such as a named ping, is none.
            if any(self._data):
                events.append(b"\n".join(self._data))
            self._data = []


class StreamReader:
    """Reads a streamed answer: bytes in, events out, and knows whether the answer is complete."""

    def __init__(self, where: str, decoder: Decoder | None = None) -> None:
        """Start before the first byte.

        Args:
            where: Method and URL of the request, for error messages.
            decoder: Takes the bytes apart. Default: as server-sent events.
        """
        self.started = False
        """Whether an event has been delivered."""
        self.finished = False
        """Whether a finish reason or `[DONE]` has arrived. What fails after that loses nothing."""
        self._where = where
        self._decoder: Decoder = decoder or EventDecoder()
        self.done = False
        """Whether `[DONE]` has arrived: nothing that follows belongs to the answer."""

    def feed(self, chunk: bytes) -> Iterator[Completion]:
        """Yield the events that this chunk completes.

        Raises:
            StreamInterruptedError: The server reports an error in the stream.
            ResponseFormatError: An event is not a piece of an answer.
        """
        return self._events(self._decoder.feed(chunk))

    def close(self) -> Iterator[Completion]:
        """Yield the last event, if the stream ended without a blank line behind it.

        Raises:
            StreamInterruptedError: The stream ended before the answer did.
        """
        cut: ResponseFormatError | None = None
        try:
            yield from self._events(self._decoder.close())
        except ResponseFormatError as error:
            cut = error
        if not (self.started and self.finished):
            raise StreamInterruptedError(
                f"The stream from {self._where} ended without a finish reason: the answer is "
                "incomplete. Ask again"
            ) from cut

    def _events(self, found: Iterable[bytes]) -> Iterator[Completion]:
        for data in found:
            if data[:1] != b"{" and data.strip() == b"[DONE]":
                self.done = self.finished = True
            if self.done:
                return
            event = read_event(data, self._where)
            if event is not None:
                if any(choice.get("finish_reason") for choice in event["choices"]):
                    self.finished = True
                self.started = True
                yield event
