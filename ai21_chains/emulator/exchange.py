"""The emulator's own request and response values: no sockets, no HTTP library.

Every door turns what it received into a `Request` and carries out the `Response` it gets back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

from .multipart import Form, read_form


class Headers(Mapping[str, str]):
    """HTTP headers whose names are looked up in any case; names are kept in lower case.

    Args:
        pairs: Name and value of each header; a repeated name keeps its last value.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._values = {name.lower(): value for name, value in pairs}

    def __getitem__(self, name: str) -> str:
        """Return the value of a header.

        Args:
            name: The header's name in any case.

        Raises:
            KeyError: There is no such header.
        """
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, in lower case."""
        return iter(self._values)

    def __len__(self) -> int:
        """Return the number of headers."""
        return len(self._values)

    def __repr__(self) -> str:
        """Show the headers as a dictionary."""
        return f"Headers({self._values!r})"


@dataclass(frozen=True)
class Request:
    """One HTTP request as the emulator saw it; the entries of `Emulator.requests`.

    Attributes:
        method: The HTTP method in capitals.
        path: The path of the URL, without the query.
        headers: The request's headers.
        body: The raw bytes of the body.
        query: What follows the `?` of the URL.
    """

    method: str
    path: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    query: str = ""

    @cached_property
    def params(self) -> dict[str, list[str]]:
        """The query, taken apart: for each name its values."""
        return parse_qs(self.query, keep_blank_values=True)

    @cached_property
    def form(self) -> Form:
        """The body as a form with files (`multipart/form-data`); empty if it is none."""
        return read_form(self.headers.get("content-type", ""), self.body)

    @cached_property
    def json(self) -> Any:
        """The body parsed as JSON, or None when it is empty or is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(frozen=True)
class Wait:
    """A step of a response: be silent for this many seconds."""

    seconds: float


@dataclass(frozen=True)
class Cut:
    """A step of a response: break the connection off here."""


Step = bytes | Wait | Cut
"""What a door does next: send these bytes, wait, or break off."""


@dataclass(frozen=True)
class Response:
    """One HTTP response as a plan that a door carries out step by step.

    Attributes:
        status: The HTTP status code.
        headers: The headers in the order in which they are sent.
        steps: The body. Each `bytes` step is sent by itself, so that chunks keep their borders.
        delay: Seconds to wait before anything is sent.
        dropped: Close the connection without sending anything at all.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    steps: tuple[Step, ...] = ()
    delay: float = 0.0
    dropped: bool = False

    @property
    def body(self) -> bytes:
        """All bytes of the body, joined."""
        return b"".join(step for step in self.steps if isinstance(step, bytes))

    @property
    def streamed(self) -> bool:
        """Whether the body is sent in chunks, without a `content-length`."""
        return not any(name == "content-length" for name, _ in self.headers)
