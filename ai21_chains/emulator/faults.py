"""Faults as data: what goes wrong, how often, and for which path.

A fault only changes the plan that a `Response` is; the doors do the waiting and the cutting.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from http import HTTPStatus
from typing import Any

from .exchange import Cut, Response, Step, Wait


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that goes wrong with the next matching request.

    Faults are used in the order in which they stand in `Emulator.faults`, one fault a request. With
    `status` or `body` the fault *is* the answer, and the brain is not asked; otherwise the ordinary
    answer is sent, damaged as described. Bytes are counted in the body, not in the headers.

    Example:
        >>> Fault(status=429, headers={"Retry-After": "1"}, times=2)  # doctest: +ELLIPSIS
        Fault(status=429, ...)

    Attributes:
        status: The HTTP status to answer with.
        body: The body to answer with: text, bytes, or anything else as JSON.
        headers: Headers added to the answer; they replace those of the same name.
        delay: Seconds of silence before the status line.
        drop: Close the connection without an answer.
        cut_after: Break the connection off after this many bytes.
        split: Send the body in pieces of this many bytes.
        stall_after: Fall silent after this many bytes, for `stall` seconds, and then go on.
        stall: How long `stall_after` is silent, in seconds.
        times: How many requests the fault hits; None means all of them.
        path: Only requests whose path ends in this are hit.
    """

    status: int | None = None
    body: Any = None
    headers: Mapping[str, str] | None = None
    delay: float = 0.0
    drop: bool = False
    cut_after: int | None = None
    split: int | None = None
    stall_after: int | None = None
    stall: float = 60.0
    times: int | None = 1
    path: str = ""

    def __post_init__(self) -> None:
        """Refuse values that cannot mean anything.

        Raises:
            ValueError: A number is out of its range.
        """
        for name, least in (("split", 1), ("times", 1), ("cut_after", 0), ("stall_after", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"Fault({name}={value}): must be at least {least}")
        for name in ("delay", "stall"):
            if getattr(self, name) < 0:
                raise ValueError(f"Fault({name}={getattr(self, name)}): must not be negative")

    @property
    def answers(self) -> bool:
        """Whether the fault takes the place of the ordinary answer."""
        return self.drop or self.status is not None or self.body is not None

    def answer(self) -> Response:
        """Return the answer that the fault stands for, before any damage."""
        status = 200 if self.status is None else self.status
        content, kind = _encoded(self.body, status)
        headers = (("content-length", str(len(content))), ("content-type", kind))
        return Response(status, headers, (content,))

    def damage(self, response: Response) -> Response:
        """Return the response with this fault's damage done to it.

        Args:
            response: The ordinary answer, or the fault's own.
        """
        extra = {name.lower(): value for name, value in (self.headers or {}).items()}
        kept = tuple((name, value) for name, value in response.headers if name not in extra)
        return replace(
            response,
            headers=kept + tuple(extra.items()),
            steps=tuple(self._paced(response.steps)),
            delay=response.delay + self.delay,
            dropped=self.drop,
        )

    def spent(self) -> Fault | None:
        """Return the fault with one hit less to come, or None when it is used up."""
        if self.times is None:
            return self
        return replace(self, times=self.times - 1) if self.times > 1 else None

    def _paced(self, steps: tuple[Step, ...]) -> Iterator[Step]:
        """Split the body, and put the silence and the break where they belong."""
        sent = 0
        for piece in (b"", *self._pieces(steps)):
            if piece:
                yield piece
            sent += len(piece)
            if sent == self.stall_after:
                yield Wait(self.stall)
            if sent == self.cut_after:
                break
        if self.cut_after is not None:
            yield Cut()

    def _pieces(self, steps: tuple[Step, ...]) -> Iterator[bytes]:
        """Cut the chunks every `split` bytes, and where the silence and the break are."""
        offset = 0
        for data in (step for step in steps if isinstance(step, bytes) and step):
            borders = {at - offset for at in (self.stall_after, self.cut_after) if at is not None}
            starts = sorted(
                borders & set(range(len(data))) | {*range(0, len(data), self.split or len(data))}
            )
            for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
                yield data[start:end]
            offset += len(data)


def _encoded(body: Any, status: int) -> tuple[bytes, str]:
    """Return the bytes of a fault's body and their content type."""
    if body is None and status == HTTPStatus.INTERNAL_SERVER_ERROR:
        body = "Internal Server Error"
    elif body is None:
        body = {"detail": HTTPStatus(status).phrase if status in _KNOWN else f"Error {status}"}
    if isinstance(body, bytes):
        return body, "application/octet-stream"
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return text.encode(), "application/json"


_KNOWN = frozenset(HTTPStatus)


def fault_rows() -> list[tuple[str, str]]:
    """Return the name and the meaning of each kind of fault, read from the class's own words."""
    doc = (Fault.__doc__ or "").split("Attributes:")[1]
    meanings = dict(line.strip().split(": ", 1) for line in doc.splitlines() if ": " in line)
    return [(item.name, meanings[item.name]) for item in fields(Fault)]
