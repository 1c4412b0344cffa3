"""The four ways to ask, each with the same arguments and the same kind of result.

A test that takes one of them as a parameter holds for all four.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable

from ai21_chains.client import AI21Client

# --- AI21Client: (client, **fields of the body) -> the answer's text --------------------------

Ask = Callable[..., str]


def _body(fields: dict[str, Any]) -> Any:
    return {"model": "jamba-mini", "messages": [{"role": "user", "content": "Hi"}], **fields}


def complete(client: AI21Client, **fields: Any) -> str:
    return client.complete(_body(fields))["choices"][0]["message"]["content"] or ""


def acomplete(client: AI21Client, **fields: Any) -> str:
    async def run() -> str:
        return (await client.acomplete(_body(fields)))["choices"][0]["message"]["content"] or ""

    return asyncio.run(run())


def stream(client: AI21Client, *, into: list[str] | None = None, **fields: Any) -> str:
    said = [] if into is None else into
    for event in client.stream(_body(fields)):
        said += [choice["delta"].get("content") or "" for choice in event["choices"]]
    return "".join(said)


def astream(client: AI21Client, *, into: list[str] | None = None, **fields: Any) -> str:
    said = [] if into is None else into

    async def run() -> str:
        async for event in client.astream(_body(fields)):
            said.extend(choice["delta"].get("content") or "" for choice in event["choices"])
        return "".join(said)

    return asyncio.run(run())


ASKED = (complete, acomplete, stream, astream)
STREAMED = (stream, astream)
WHOLE = (complete, acomplete)


# --- A runnable that answers with a message: (runnable, input, **options) -> AIMessage ---------

Call = Callable[..., AIMessage]


def invoke(model: Runnable[Any, Any], said: object = "Hi", /, **options: Any) -> AIMessage:
    return model.invoke(said, **options)


def ainvoke(model: Runnable[Any, Any], said: object = "Hi", /, **options: Any) -> AIMessage:
    return asyncio.run(model.ainvoke(said, **options))


def streamed(model: Runnable[Any, Any], said: object = "Hi", /, **options: Any) -> AIMessage:
    first, *chunks = model.stream(said, **options)
    return sum(chunks, first)


def astreamed(model: Runnable[Any, Any], said: object = "Hi", /, **options: Any) -> AIMessage:
    async def run() -> AIMessage:
        first, *chunks = [chunk async for chunk in model.astream(said, **options)]
        return sum(chunks, first)

    return asyncio.run(run())


CALLED = (invoke, ainvoke, streamed, astreamed)


# --- An object with methods and their async forms: (object, name, *arguments) -> the result -------

Do = Callable[..., Any]


def do(owner: Any, what: str, *arguments: Any, **options: Any) -> Any:
    result = getattr(owner, what)(*arguments, **options)
    return list(result) if isinstance(result, Iterator) else result


def ado(owner: Any, what: str, *arguments: Any, **options: Any) -> Any:
    async def run() -> Any:
        result = getattr(owner, f"a{what}")(*arguments, **options)
        if isinstance(result, AsyncIterator):
            return [each async for each in result]
        assert inspect.isawaitable(result)
        return await result

    return asyncio.run(run())


DONE = (do, ado)
