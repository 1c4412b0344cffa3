"""A chain where a model is expected: `model: chain/NAME` on OpenAI's endpoint, and its usage."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.messages.ai import UsageMetadata
from langchain_core.runnables import Runnable
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ai21_chains._wire import Usage
from ai21_chains.answers import GroundedAnswer
from ai21_chains.serving._chain_models import ChainAnswer, answer_chat, stream_chat
from ai21_chains.serving._hangup import unless_hung_up
from ai21_chains.serving._openai import Asked
from ai21_chains.serving._openai_answers import grounded_completion, text_answer
from ai21_chains.serving._openai_routes import json_response, stream
from ai21_chains.serving._openai_stream import ChunkWriter
from ai21_chains.serving._service import CHAIN, Service
from ai21_chains.serving._visits import Visit
from ai21_chains.serving.chain_routes import chain_routes


async def chain_answer(request: Request, visit: Visit, asked: Asked, created: int) -> Response:
    """Answer a chat completion with a chain.

    Args:
        request: The request.
        visit: Its account.
        asked: What was asked for; `model` is `chain/NAME`.
        created: When it was, in seconds since 1970.
    """
    chain = (await visit.service.chains())[asked.model.removeprefix(CHAIN)]
    given: dict[str, Any] = {"messages": asked.conversation}
    if documents := asked.request.get("documents"):
        given["documents"] = documents
    if asked.stream:
        writer = ChunkWriter(asked, created=created)
        result: list[GroundedAnswer] = []
        pieces = _pieces(visit, chain, given, writer, result)
        return await stream(request, visit, pieces, lambda: writer.close(*result))
    answer = await unless_hung_up(request.receive, answer_chat(chain, given))
    usage = _count(visit, answer)
    await visit.settle()
    if isinstance(answer.result, GroundedAnswer):
        return json_response(grounded_completion(answer.result, asked, created=created))
    return json_response(text_answer(answer.text, asked, created=created, usage=usage))


async def _pieces(
    visit: Visit,
    chain: Runnable[Any, Any],
    given: dict[str, Any],
    writer: ChunkWriter,
    result: list[GroundedAnswer],
) -> AsyncGenerator[bytes, None]:
    async with aclosing(stream_chat(chain, given)) as items:
        async for item in items:
            if isinstance(item, str):
                yield writer.feed_text(item)
                continue
            writer.usage = _count(visit, item)
            if isinstance(item.result, GroundedAnswer):
                result.append(item.result)


def _count(visit: Visit, answer: ChainAnswer) -> Usage | None:
    if answer.usage is None:
        return None
    usage = _wire(answer.usage)
    visit.used(visit.service.upstream(visit.model), usage)
    return usage


def _wire(usage: UsageMetadata) -> Usage:
    return {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
    }


# --- /chains ---------------------------------------------------------------------------------


async def chain_app(service: Service) -> ASGIApp:
    """Return the application that serves the chains by name, with its usage on the account."""
    config = service.config
    routes = chain_routes(
        await service.chains(),
        max_concurrency=config.max_concurrency,
        max_body_bytes=config.max_body_bytes,
    )
    router = Router(routes)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with _counting(scope["state"]["visit"]):
            await router(scope, receive, send)

    return app


@contextmanager
def _counting(visit: Visit) -> Iterator[None]:
    with get_usage_metadata_callback() as counted:
        try:
            yield
        finally:
            for model, usage in counted.usage_metadata.items():
                visit.used(model, _wire(usage))
