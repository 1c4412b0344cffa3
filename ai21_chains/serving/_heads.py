"""A limit to how long a client may take for the head of a request, which uvicorn has not."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class HeadLimit(HttpToolsProtocol):
    """uvicorn's protocol; it hangs up on who connects and says nothing, or says it too slowly.

    Bodies have a limit of their own (`BodyLimit`), and so have connections that are kept open
    between two requests (uvicorn's `timeout_keep_alive`).
    """

    longest = 30.0
    """Seconds from the connection, or from a head's first byte, to the head's last one."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._begin()

    def on_message_begin(self) -> None:
        """Wait for the rest of a head."""
        super().on_message_begin()
        self._begin()

    def on_headers_complete(self) -> None:
        """Be content."""
        self._end()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._end()
        super().connection_lost(exc)

    def _begin(self) -> None:
        self._end()
        self._timer = self.loop.call_later(self.longest, self.transport.close)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
