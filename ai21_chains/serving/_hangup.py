"""Work that ends when its client goes: nothing is asked of AI21 that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

__all__ = ["EventStream", "HungUp", "unless_hung_up"]

T = TypeVar("T")

PING_SECONDS = 15.0
"""Proxies close a connection that is silent for a minute, or half of one."""


class HungUp(Exception):
    """The client closed the connection before it had its answer."""


async def unless_hung_up(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Do something while the client waits for it.

    Args:
        receive: The request's ASGI channel. Its body must have been read.
        work: What is to be done. It is cancelled when the client hangs up, and has ended when this
            function ends.

    Raises:
        HungUp: The client hung up.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_hang_up(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise HungUp
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(StreamingResponse):
    """A stream of server-sent events, which ends at once when the client hangs up.

    Starlette's own response notices that only when it sends something, with some servers, and
    leaves the generator to the garbage collector.

    Args:
        events: The events as they are sent. The generator is closed, however the stream ends.
        ping_seconds: How often a comment is sent, so that nobody in between takes the connection
            for dead.
        source: What the events are made of; it is closed even if nobody asked for the first event.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes],
        *,
        ping_seconds: float = PING_SECONDS,
        source: AsyncGenerator[bytes] | None = None,
    ) -> None:
        super().__init__(events, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._events = events
        self._ping_seconds = ping_seconds
        self._source = source or events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._source), aclosing(self._events):
            with suppress(HungUp):
                await unless_hung_up(receive, self.stream_response(send))

    async def stream_response(self, send: Send) -> None:
        """Send the events."""
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        pinging = asyncio.ensure_future(self._ping(send))
        try:
            async for event in self._events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        finally:
            pinging.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _ping(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self._ping_seconds)
            await send({"type": "http.response.body", "body": b": ping\n\n", "more_body": True})
