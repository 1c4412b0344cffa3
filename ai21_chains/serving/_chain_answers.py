"""A chain where a model is expected: `model: chain/NAME` on OpenAI's endpoint, and its usage."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from langchain_core.messages.ai import UsageMetadata
from langchain_core.runnables import Runnable
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ai21_chains._wire import Completion, Usage
from ai21_chains.answers import GroundedAnswer
from ai21_chains.chains.grounded_qa import create_grounded_qa_chain
from ai21_chains.serving import _asking
from ai21_chains.serving._chain_models import answer_chat, stream_chat
from ai21_chains.serving._chain_routes import Limits, limited_routes
from ai21_chains.serving._hangup import unless_hung_up
from ai21_chains.serving._openai import Asked
from ai21_chains.serving._openai_answers import grounded_completion, text_answer
from ai21_chains.serving._openai_routes import about_tokens, json_response, stream
from ai21_chains.serving._openai_stream import ChunkWriter
from ai21_chains.serving._served_chains import chat_model_for
from ai21_chains.serving._service import CHAIN, Service
from ai21_chains.serving._visits import Visit


async def chain_answer(request: Request, visit: Visit, asked: Asked, created: int) -> Response:
    """Answer a chat completion with a chain.

    Args:
        request: The request.
        visit: Its account.
        asked: What was asked for; `model` is `chain/NAME`, or a plain one that is asked about
            documents.
        created: When it was, in seconds since 1970.
    """
    _asking.current.set(visit)
    chain = await _chain(visit.service, asked)
    given: dict[str, Any] = {"messages": asked.conversation}
    if documents := asked.request.get("documents"):
        given["documents"] = documents
    if asked.stream:
        writer = ChunkWriter(asked, created=created)
        result: list[GroundedAnswer] = []
        pieces = _pieces(chain, given, writer, result)
        return await stream(request, visit, pieces, lambda: writer.close(*result))
    answer = await unless_hung_up(request.receive, answer_chat(chain, given))
    await visit.settle()
    if isinstance(answer.result, GroundedAnswer):
        return json_response(grounded_completion(answer.result, asked, created=created))
    usage, reason = _wire(answer.usage), answer.finish_reason
    text = text_answer(answer.text, asked, created=created, reason=reason, usage=usage)
    return json_response(text)


async def _chain(service: Service, asked: Asked) -> Runnable[Any, Any]:
    if asked.model not in service.router:
        return (await service.chains())[asked.model.removeprefix(CHAIN)]
    model = chat_model_for(service.config, asked.model, **asked.sampling)
    return create_grounded_qa_chain(model, prompt=asked.instructions or None)


async def _pieces(
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
            writer.usage = _wire(item.usage)
            yield writer.feed(_ended(item.finish_reason))
            if isinstance(item.result, GroundedAnswer):
                result.append(item.result)


def _ended(reason: str) -> Completion:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


def _wire(usage: UsageMetadata | None) -> Usage | None:
    return usage and {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
    }


# --- /chains ---------------------------------------------------------------------------------


async def chain_app(service: Service) -> ASGIApp:
    """Return the application that serves the chains by name, with its usage on the account."""
    config = service.config
    limits = Limits(config.max_concurrency, config.max_body_bytes, admit=_admit)
    router = Router(limited_routes(await service.chains(), limits), redirect_slashes=False)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        _asking.current.set(scope["state"]["visit"])
        await router(scope, receive, send)

    return app


async def _admit(request: Request, body: bytes, runs: int) -> None:
    visit: Visit = request.state.visit
    await visit.admit(visit.model, about_tokens(body), runs)
