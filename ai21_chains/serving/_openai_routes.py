"""OpenAI's endpoints: chat completions, completions and models, over the router.

What they say and understand is in the `_openai` modules; here requests and answers travel.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ai21_chains._protocol import as_event
from ai21_chains._wire import ChatRequest, Completion
from ai21_chains.serving import _asking
from ai21_chains.serving._aside import aside
from ai21_chains.serving._hangup import EventStream, unless_hung_up
from ai21_chains.serving._openai import Asked, AskedText, for_chain, read_chat, read_text
from ai21_chains.serving._openai_answers import (
    chat_completion,
    dump,
    model_list,
    model_object,
    text_completion,
)
from ai21_chains.serving._openai_stream import ChunkWriter, TextChunkWriter, failure
from ai21_chains.serving._refusals import Refused
from ai21_chains.serving._service import Service
from ai21_chains.serving._visits import Visit

if TYPE_CHECKING:
    from ai21_chains.serving._keys_records import Caller

_log = logging.getLogger("ai21_chains.serving")

PROMPTS_AT_ONCE = 8
"""Prompts of one request to `/completions` that are sent at once."""

_PARAMETER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What may stand in a header of the names that clients make up."""

_Feed = Callable[[Completion, int], bytes]


def openai_routes(service: Service) -> list[BaseRoute]:
    """Return the routes, each with and without `/v1`."""
    endpoints = _Endpoints(service)
    return [
        Route(prefix + path, endpoint, methods=[method])
        for prefix in ("/v1", "")
        for path, endpoint, method in (
            ("/chat/completions", endpoints.chat, "POST"),
            ("/completions", endpoints.text, "POST"),
            ("/models", endpoints.models, "GET"),
            ("/models/{name:path}", endpoints.model, "GET"),
        )
    ]


class _Endpoints:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._drop = service.config.drop_params

    # --- Chat --------------------------------------------------------------------------------

    async def chat(self, request: Request) -> Response:
        """Answer `POST /v1/chat/completions`."""
        visit: Visit = request.state.visit
        await visit.identify(request, "/v1/chat/completions")
        body = await request.body()
        asked = await aside(len(body), read_chat, body, drop_params=self._drop)
        self._service.check(asked.model)
        if asked.model not in self._service.router:
            asked = for_chain(asked, drop_params=self._drop)
        await visit.admit(asked.model, about_tokens(body))
        return _telling(asked.dropped, await self._chat(request, visit, asked))

    async def _chat(self, request: Request, visit: Visit, asked: Asked) -> Response:
        created = int(time.time())
        if asked.model not in self._service.router or asked.is_grounded:
            chains = await self._service.chain_answers()
            answer: Response = await chains.chain_answer(request, visit, asked, created)
            return answer
        if asked.stream:
            writer = ChunkWriter(asked, created=created)
            pieces = self._pieces(
                visit, asked, [asked.request], lambda event, number: writer.feed(event)
            )
            return await stream(request, visit, pieces, writer.close)
        completion = await unless_hung_up(
            request.receive, _asking.complete(visit, asked.model, asked.request)
        )
        whole = chat_completion(completion, asked, created=created)
        await visit.settle()
        return json_response(whole)

    # --- Text --------------------------------------------------------------------------------

    async def text(self, request: Request) -> Response:
        """Answer `POST /v1/completions`."""
        visit: Visit = request.state.visit
        await visit.identify(request, "/v1/completions")
        body = await request.body()
        asked = await aside(len(body), read_text, body, drop_params=self._drop)
        self._service.check(asked.model)
        if asked.model not in self._service.router:
            raise Refused(
                f"{asked.model} is a chain: it answers at /v1/chat/completions",
                status=400,
                param="model",
            )
        await visit.admit(asked.model, about_tokens(body), len(asked.requests))
        return _telling(asked.dropped, await self._text(request, visit, asked))

    async def _text(self, request: Request, visit: Visit, asked: AskedText) -> Response:
        created = int(time.time())
        if asked.stream:
            writer = TextChunkWriter(asked, created=created)
            pieces = self._pieces(visit, asked, asked.requests, writer.feed)
            return await stream(request, visit, pieces, writer.close)
        completions = await unless_hung_up(request.receive, self._all(visit, asked))
        answer = text_completion(completions, asked, created=created)
        await visit.settle()
        return json_response(answer)

    async def _all(self, visit: Visit, asked: AskedText) -> Sequence[Completion]:
        turn = asyncio.Semaphore(PROMPTS_AT_ONCE)

        async def one(body: ChatRequest) -> Completion:
            async with turn:
                return await _asking.complete(visit, asked.model, body)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(body)) for body in asked.requests]
        except* Exception as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    # --- Both --------------------------------------------------------------------------------

    async def _pieces(
        self,
        visit: Visit,
        asked: Asked | AskedText,
        bodies: Sequence[ChatRequest],
        feed: _Feed,
    ) -> AsyncGenerator[bytes, None]:
        """Yield the chunks of the answers, one answer after the other."""
        for number, body in enumerate(bodies):
            if not asked.streams_upstream:
                completion = await _asking.complete(visit, asked.model, body)
                yield feed(as_event(completion), number)
                continue
            async with aclosing(_asking.stream(visit, asked.model, body)) as events:
                async for event in events:
                    yield feed(event, number)

    # --- Models ------------------------------------------------------------------------------

    async def models(self, request: Request) -> Response:
        """Answer `GET /v1/models`."""
        visit: Visit = request.state.visit
        caller = await visit.identify(request, "/v1/models")
        return json_response(model_list(self._names(caller), created=self._service.created))

    async def model(self, request: Request) -> Response:
        """Answer `GET /v1/models/{id}`."""
        visit: Visit = request.state.visit
        caller = await visit.identify(request, "/v1/models")
        name: str = request.path_params["name"]
        if name not in self._names(caller):
            raise self._service.not_found(name)
        return json_response(model_object(name, created=self._service.created))

    def _names(self, caller: Caller) -> Sequence[str]:
        allowed = caller.models
        return [one for one in self._service.names if allowed is None or one in allowed]


def _telling(dropped: Sequence[str], response: Response) -> Response:
    """Say in a header which parameters were left out."""
    if names := [name for name in dropped if _PARAMETER.fullmatch(name)]:
        response.headers["x-ai21-chains-dropped-params"] = ", ".join(names[:20])
    return response


def json_response(value: dict[str, Any]) -> Response:
    """Return a response with a JSON object."""
    return Response(dump(value), media_type="application/json")


def about_tokens(body: bytes) -> int:
    """Return about how many tokens a request has, before anybody has counted them."""
    return len(body) // 4 + 1


async def stream(
    request: Request,
    visit: Visit,
    pieces: AsyncGenerator[bytes, None],
    close: Callable[[], bytes],
) -> Response:
    """Return a response with server-sent events.

    The first piece is awaited before it, so that a failure until then has its own status.

    Args:
        request: The request.
        visit: Its account.
        pieces: The events.
        close: Returns the last ones.
    """
    first = await unless_hung_up(request.receive, _first(pieces))
    visit.first_piece = visit.seconds
    return EventStream(_events(visit, first, pieces, close), source=pieces)


async def _first(pieces: AsyncGenerator[bytes, None]) -> bytes:
    try:
        return await anext(pieces, b"")
    except BaseException:
        await pieces.aclose()
        raise


async def _events(
    visit: Visit,
    first: bytes,
    pieces: AsyncGenerator[bytes, None],
    close: Callable[[], bytes],
) -> AsyncGenerator[bytes, None]:
    async with aclosing(pieces):
        try:
            yield first
            async for piece in pieces:
                if piece:
                    yield piece
            await visit.settle()
            yield close()
        except Exception as error:
            _log.error("%s: %s", visit.id, error)
            yield failure(error)
