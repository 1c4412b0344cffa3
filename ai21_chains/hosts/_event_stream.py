"""AWS's event streams, in which Amazon Bedrock streams its answers."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

from pydantic_core import from_json, to_json

from ai21_chains._extras import import_extra
from ai21_chains._host import EventError
from ai21_chains._protocol import quote
from ai21_chains.errors import StreamInterruptedError

_METRICS = b'"amazon-bedrock-invocationMetrics"'

_STATUSES = {
    "InternalServer": 500,
    "ModelError": 424,
    "ModelStreamError": 424,
    "ModelTimeout": 408,
    "ServiceUnavailable": 503,
    "Throttling": 429,
    "Validation": 400,
}
"""Errors that a stream may report, and the status that an answer would have had."""


class EventStreamDecoder:
    """AWS's event stream (`application/vnd.amazon.eventstream`): any split of bytes in, JSON out.

    The checksums of each frame are checked. What the metrics of the invocation say of the tokens
    becomes `usage`, as AI21 writes it.
    """

    def __init__(self) -> None:
        """Start before the first byte."""
        module = import_extra("botocore.eventstream", "Bedrock", "aws")
        self._damage = (module.ParserError, KeyError, ValueError)
        self._frames = module.EventStreamBuffer()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the JSON of each event that this chunk completes.

        Raises:
            EventError: A frame reports an error.
            StreamInterruptedError: The stream is damaged.
        """
        self._frames.add_data(chunk)
        try:
            for frame in self._frames:
                if data := _payload(frame):
                    yield data
        except self._damage as error:
            raise StreamInterruptedError(
                f"The event stream from Amazon Bedrock is damaged: {quote(str(error))}"
            ) from error

    def close(self) -> Iterator[bytes]:
        """Yield nothing: a frame that is cut off says nothing."""
        return iter(())


def _payload(frame: Any) -> bytes | None:
    kind = frame.headers.get(":message-type")
    if kind == "exception":
        name = short_name(frame.headers.get(":exception-type", ""))
        headers = {"x-amzn-errortype": name}
        raise EventError(_STATUSES.get(name, 500), headers, frame.payload)
    if kind == "error":
        words = f"{frame.headers.get(':error-code')}: {frame.headers.get(':error-message')}"
        raise EventError(500, {}, words.encode())
    data = from_json(frame.payload).get("bytes") if frame.payload else None
    if not data:
        return None
    event = b64decode(data)
    return _with_usage(event) if _METRICS in event else event


def _with_usage(event: bytes) -> bytes:
    # The metrics come in an event of their own, or in the answer's last one.
    payload = from_json(event)
    metrics = payload.pop("amazon-bedrock-invocationMetrics")
    given, made = (int(metrics.get(name) or 0) for name in ("inputTokenCount", "outputTokenCount"))
    usage = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
    return to_json({"choices": [], **payload, "usage": usage})


def short_name(name: str) -> str:
    """Return an error's name without what AWS adds: a namespace, an address, "Exception"."""
    name = re.split(r"[:#]", name)[0]
    name = name[:1].upper() + name[1:]
    return name.removesuffix("Exception")
