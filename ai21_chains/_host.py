"""What a place that serves Jamba decides, other than AI21 Studio. The places are in `hosts`.

A host says where a request goes, who is asking, what its body looks like there, and how a streamed
answer is packed. It does no input or output but for its credentials: `client` sends the bytes.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Self

from ai21_chains._streams import Decoder, EventDecoder
from ai21_chains._wire import ChatRequest, JSONObject
from ai21_chains.errors import APIStatusError, ConfigurationError


class EventError(Exception):
    """A host reports, in a stream, what it would otherwise answer with an error status."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Keep what the answer would have been.

        Args:
            status: Its status.
            headers: Its headers.
            body: Its body.
        """
        super().__init__(status, headers, body)
        self.status = status
        self.headers = headers
        self.body = body


class Host(ABC):
    """A place that serves Jamba: a frozen dataclass of settings. Holds no sockets.

    Copies are the same object. A pickle holds no credentials; what would be in it is refused.
    """

    name: ClassVar[str]
    """What it is called, for messages."""

    place: ClassVar[str]
    """The argument that says where it is, for messages."""

    personal: ClassVar[tuple[str, ...]] = ()
    """Arguments that are or hold credentials."""

    obeys: ClassVar[bool] = False
    """Whether it enforces `tool_choice` and JSON schemas, so that the model need not be told."""

    accepts: ClassVar[str] = "text/event-stream"
    """Media type of a streamed answer."""

    final: ClassVar[frozenset[int]] = frozenset()
    """Statuses after which the model may have been paid for: not tried again."""

    hints: ClassVar[Mapping[type[APIStatusError], str]] = {}
    """What to do next after an error, where that is not what it would be with AI21 Studio."""

    @abstractmethod
    def credentials(self) -> Any:
        """Return what the other methods need to know of who is asking; may block.

        Raises:
            ConfigurationError: There are none.
        """

    async def acredentials(self) -> Any:
        """Async form of `credentials`: what may block does so in a thread."""
        return await asyncio.to_thread(self.credentials)

    @abstractmethod
    def url(self, body: ChatRequest, credentials: Any) -> str:
        """Return where a request goes.

        Args:
            body: The request.
            credentials: Who is asking.

        Raises:
            ConfigurationError: The model cannot be there.
        """

    @abstractmethod
    def headers(self, url: str, content: bytes, credentials: Any) -> Mapping[str, str]:
        """Return the headers that say who is asking, anew for each try.

        Args:
            url: Where the request goes.
            content: Its body as it is sent.
            credentials: Who is asking.
        """

    def body(self, body: ChatRequest) -> Mapping[str, Any]:
        """Return the request as it is written here."""
        return body

    def decoder(self) -> Decoder:
        """Return what takes a streamed answer apart."""
        return EventDecoder()

    def kind_of(self, status: int, headers: Mapping[str, str]) -> type[APIStatusError] | None:
        """Return the class of an error where the status alone would not tell.

        Args:
            status: The answer's status.
            headers: The answer's headers.
        """
        return None

    def as_dict(self) -> JSONObject:
        """Return the settings without credentials, for dumps; `hosts.from_dict` reads them."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        kept = {k: v for k, v in given.items() if v is not None and k not in self.personal}
        return {"type": type(self).__name__, **kept}

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __getstate__(self) -> JSONObject:
        """Return the settings for pickling."""
        state = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        for name in self.personal:
            if state[name] is not None and not callable(state[name]):
                raise ConfigurationError(
                    f"{type(self).__name__} with {name} cannot be pickled: credentials belong to "
                    "one process. Leave them to the environment, or make it where it is used"
                )
        return state
