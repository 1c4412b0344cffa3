"""Asking a model on somebody's account: what an answer took is counted where the answer is given.

All requests to AI21 go this way, those of plain models and those that chains make.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from contextvars import ContextVar
from typing import TYPE_CHECKING

from ai21_chains._wire import ChatRequest, Completion, Usage
from ai21_chains._wire_parts import usage_metadata
from ai21_chains.serving._visits import Visit

if TYPE_CHECKING:
    from ai21_chains.serving.config import Deployment

current: ContextVar[Visit | None] = ContextVar("current", default=None)
"""For whom a chain works: it is made once, and cannot be told with each request."""


async def complete(visit: Visit, model: str, body: ChatRequest) -> Completion:
    """Ask a model for a whole answer.

    Args:
        visit: On whose account.
        model: The name of a plain model.
        body: The request.

    Raises:
        AI21Error: As `Router.complete`.
        Refused: The caller's budget is spent.
    """
    visit.check_budget()
    try:
        completion, deployment = await visit.service.router.complete(model, body)
    except asyncio.CancelledError:
        # AI21 takes money for what it has read, whether or not anybody waits for the answer.
        visit.used(visit.service.upstream(model), _usage(None, body, 0))
        raise
    written = _tokens(completion.get("choices"))
    visit.used(deployment.model, _usage(completion.get("usage"), body, written))
    return completion


async def stream(visit: Visit, model: str, body: ChatRequest) -> AsyncGenerator[Completion, None]:
    """Ask a model, and yield the events of its answer as they arrive.

    Args:
        visit: On whose account.
        model: The name of a plain model.
        body: The request.

    Raises:
        AI21Error: As `Router.stream`.
        Refused: The caller's budget is spent.
    """
    visit.check_budget()
    upstream = visit.service.upstream(model)
    usage: Usage | None = None
    pieces = 0
    gone = False

    def chosen(deployment: Deployment) -> None:
        nonlocal upstream
        upstream = deployment.model

    try:
        async with aclosing(visit.service.router.stream(model, body, chosen=chosen)) as events:
            async for event in events:
                pieces += 1
                usage = event.get("usage") or usage
                yield event
    except asyncio.CancelledError:
        gone = True
        raise
    finally:
        if pieces or gone:
            # The last event has the figures; who hangs up before it is charged all the same.
            visit.used(upstream, _usage(usage, body, pieces))


def _usage(given: Usage | None, body: ChatRequest, written: int) -> Usage:
    """Return what the server says of it, or where it says nothing of use, a guess."""
    if given and usage_metadata(given):
        return given
    read = _tokens(body)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _tokens(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False)) // 4
