"""What surrounds the routes, as plain ASGI.

Each piece hands `receive` on, so that whoever works on a request learns of a client that hangs up.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ai21_chains.serving._hangup import HungUp
from ai21_chains.serving._openai_errors import error_reply
from ai21_chains.serving._refusals import Refused
from ai21_chains.serving._visits import Visit

_log = logging.getLogger("ai21_chains.serving")
_access = logging.getLogger("ai21_chains.access")

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that has gone; nobody receives it but logs and metrics."""

LONGEST_BODY_SECONDS = 60.0
"""Seconds that a client has to send its request."""

LONGEST_STALL_SECONDS = 120.0
"""Seconds for which a client may read nothing of its answer."""


def error_response(error: BaseException) -> Response:
    """Return the response that says what went wrong, in OpenAI's form."""
    reply = error_reply(error)
    content = json.dumps(reply.body, ensure_ascii=False).encode("utf-8", "replace")
    return Response(content, reply.status, reply.headers, "application/json")


class Accounts:
    """Keeps the account of a request, and says what went wrong where the application raises.

    Args:
        app: What answers.
        visit: The account.
        closing: Whether connections are to be closed after the answer.
    """

    def __init__(self, app: ASGIApp, visit: Visit, *, closing: bool) -> None:
        self._app = app
        self._visit = visit
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = self._visit
        scope.setdefault("state", {}).update(visit=visit, request_id=visit.id)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
                message = {**message, "headers": [*message["headers"], *self._headers()]}
            try:
                async with asyncio.timeout(LONGEST_STALL_SECONDS):
                    await send(message)
            except TimeoutError:
                raise HungUp from None

        try:
            await visit.service.open()
            await self._app(scope, receive, sending)
        except (HungUp, ClientDisconnect):
            visit.status = CLIENT_CLOSED_REQUEST
        except Exception as error:
            if visit.status:
                # Too late to say so: the connection is broken off, which is all that is left.
                raise
            response = error_response(error)
            if response.status_code >= 500 and not isinstance(error, Refused):
                _log.error("%s: %s", visit.id, error, exc_info=response.status_code == 500)
            await response(scope, receive, sending)
        finally:
            await asyncio.shield(self._end(scope))

    def _headers(self) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-request-id", self._visit.id.encode("latin-1"))]
        return [*headers, (b"connection", b"close")] if self._closing else headers

    async def _end(self, scope: Scope) -> None:
        visit, service = self._visit, self._visit.service
        if visit.entered:
            service.load.give_back()
            service.metrics.ended()
        await visit.settle()
        service.metrics.visited(visit, visit.seconds)
        if _access.isEnabledFor(logging.INFO):
            _access.info("%s", json.dumps(_line(visit, scope), ensure_ascii=True))


def _line(visit: Visit, scope: Scope) -> dict[str, object]:
    """Return what the log says of a request; nothing that it holds, and no key."""
    line: dict[str, object] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "request_id": visit.id,
        "method": scope["method"],
        "path": scope["path"],
        "status": visit.status,
        "seconds": round(visit.seconds, 4),
    }
    if visit.caller is not None:
        line["key"] = visit.caller.id
    if visit.model:
        line["model"] = visit.model
        line["prompt_tokens"] = visit.prompt_tokens
        line["completion_tokens"] = visit.completion_tokens
    return line


class BodyLimit:
    """Refuses what is too long, and whoever takes too long to send it.

    Args:
        app: What answers.
        most: Longest body in bytes.
        seconds: Longest time for a body.
    """

    def __init__(self, app: ASGIApp, most: int, seconds: float = LONGEST_BODY_SECONDS) -> None:
        self._app = app
        self._most = most
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > self._most:
            raise self._too_long()
        await self._app(scope, self._limited(receive), send)

    def _limited(self, receive: Receive) -> Receive:
        received, complete = 0, False
        deadline = asyncio.get_running_loop().time() + self._seconds

        async def limited() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise Refused(
                    f"The body did not arrive within {self._seconds:g} s", status=408
                ) from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > self._most:
                raise self._too_long()
            return message

        return limited

    def _too_long(self) -> Refused:
        return Refused(
            f"The body is longer than {self._most:,} bytes (max_body_bytes)",
            status=413,
            code="request_too_large",
        )
