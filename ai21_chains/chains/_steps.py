"""How a chain runs: its steps are decided without input or output, and driven from outside.

A chain is a generator that yields *steps* and is sent their results: `Retrieve` gets documents,
`Ask` the model's message, `Call` what a runnable returns. What it yields besides, `AddableDict`s,
are the pieces of its result. So a chain is written once; the drivers run it with blocking calls or
with `await`, streamed or not. With `await`, steps about much text are decided in a thread: to pack
megabytes, and to look quotes up in them, takes seconds for which all else would stand still.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any, TypeAlias, TypeVar, cast

from langchain_core.documents import Document
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import get_executor_for_config
from langchain_core.runnables.utils import AddableDict, gather_with_concurrency
from pydantic import BaseModel

Model: TypeAlias = Runnable[LanguageModelInput, BaseMessage] | Runnable[LanguageModelInput, str]
Retriever: TypeAlias = Runnable[str, list[Document]]


@dataclass(frozen=True)
class Retrieve:
    """Look documents up. The result is a list of `Document`."""

    retriever: Retriever
    query: str

    @property
    def runnable(self) -> Retriever:
        """The retriever, as what is called."""
        return self.retriever

    @property
    def value(self) -> str:
        """The query, as its input."""
        return self.query


@dataclass(frozen=True)
class Ask:
    """Ask the model. The result is its whole message.

    Attributes:
        model: The model, with its options bound.
        messages: The prompt.
        read: Turns each new piece of the answer's text into pieces of the chain's result.
    """

    model: Model
    messages: Sequence[BaseMessage]
    read: Callable[[str], Iterable[AddableDict]] = field(default=lambda text: ())


@dataclass(frozen=True)
class Call:
    """Call any runnable. The result is what it returns; nothing of it is streamed.

    Attributes:
        runnable: The runnable.
        value: Its input.
    """

    runnable: Runnable[Any, Any]
    value: Any


@dataclass(frozen=True)
class AskAll:
    """Ask the model several things at once. The result is the list of its messages, in order.

    How many are under way at a time is the configuration's `max_concurrency`.
    """

    questions: Sequence[Ask]


Result = TypeVar("Result")
Output = TypeVar("Output")

StepsTo: TypeAlias = Generator[Retrieve | Ask | AskAll | Call | AddableDict, Any, Result]
"""Some of a chain's steps, which come to a result of their own."""

Steps: TypeAlias = StepsTo[None]

_MUCH = 100_000
"""Characters from which on steps are decided in a thread: what is less takes some 10 ms."""


class Chain(Runnable[Any, Output]):
    """A runnable made of steps.

    `invoke` returns the output type; `stream` yields dictionaries whose sum has the same content.

    Args:
        name: The runnable's name, in traces and in served schemas.
        steps: Makes the steps for one input.
        input_type: What the input may be.
        output_type: The class of the result: a model, or a `TypedDict` for a plain dict.
    """

    def __init__(
        self,
        name: str,
        steps: Callable[[Any], Steps],
        input_type: type[BaseModel],
        output_type: type[Output],
    ) -> None:
        self.name = name
        self._steps = steps
        self._input_type = input_type
        self._output_type = output_type

    @property
    def InputType(self) -> type[BaseModel]:
        """The type of the input; a string or a dict will do as well."""
        return self._input_type

    @property
    def OutputType(self) -> type[Output]:
        """The type of the result."""
        return self._output_type

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Run the chain and return its result."""

        def run(value: Any, run_manager: object, config: RunnableConfig) -> Output:
            return self._result(drive(self._steps(value), config, streaming=False))

        return self._call_with_config(run, input, config)

    async def ainvoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Output:
        """Run the chain and return its result."""

        async def run(value: Any, run_manager: object, config: RunnableConfig) -> Output:
            pieces = adrive(self._steps(value), config, streaming=False, much=_is_much(value))
            return self._result([piece async for piece in pieces])

        return await self._acall_with_config(run, input, config)

    def transform(
        self, input: Iterator[Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Any]:
        """Run the chain and yield the pieces of its result as they come."""

        def run(
            values: Iterator[Any], run_manager: object, config: RunnableConfig
        ) -> Iterator[Any]:
            yield from drive(self._steps(_sum(values)), config, streaming=True)

        yield from self._transform_stream_with_config(input, run, config)

    async def atransform(
        self, input: AsyncIterator[Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Run the chain and yield the pieces of its result as they come."""

        async def run(
            values: AsyncIterator[Any], run_manager: object, config: RunnableConfig
        ) -> AsyncIterator[Any]:
            value = _sum([value async for value in values])
            steps, much = self._steps(value), _is_much(value)
            async for piece in adrive(steps, config, streaming=True, much=much):
                yield piece

        async for piece in self._atransform_stream_with_config(input, run, config):
            yield piece

    def stream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Any]:
        """Run the chain and yield the pieces of its result as they come."""
        return self.transform(iter([input]), config, **kwargs)

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Run the chain and yield the pieces of its result as they come."""

        async def once() -> AsyncIterator[Any]:
            yield input

        async for piece in self.atransform(once(), config, **kwargs):
            yield piece

    def _result(self, pieces: Iterable[AddableDict]) -> Output:
        total = _sum(pieces)
        if issubclass(self._output_type, BaseModel):
            return self._output_type.model_validate(total)
        return cast(Output, dict(total))


def drive(steps: Steps, config: RunnableConfig, *, streaming: bool) -> Iterator[AddableDict]:
    """Run the steps with blocking calls and yield the pieces of the result."""
    result: Any = None
    while (step := _next(steps, result)) is not None:
        result = None
        if isinstance(step, AddableDict):
            yield step
        elif isinstance(step, Retrieve | Call):
            result = step.runnable.invoke(step.value, config)
        elif isinstance(step, AskAll):
            with get_executor_for_config(config) as executor:
                result = list(executor.map(partial(_message, config=config), step.questions))
        else:
            whole = _Whole()
            for chunk in _chunks(step, config, streaming):
                yield from step.read(whole.add(chunk))
            result = whole.message


async def adrive(
    steps: Steps, config: RunnableConfig, *, streaming: bool, much: bool = False
) -> AsyncIterator[AddableDict]:
    """Run the steps with `await` and yield the pieces of the result.

    Args:
        steps: The steps.
        config: What the runnables are called with.
        streaming: Whether the model is to stream.
        much: Whether there is much text in the input, so that threads are worth their while.
    """
    result: Any = None
    while (step := await _decided(much, _next, steps, result)) is not None:
        result = None
        if isinstance(step, AddableDict):
            yield step
        elif isinstance(step, Retrieve | Call):
            result = await step.runnable.ainvoke(step.value, config)
            much = much or _is_much(result)
        elif isinstance(step, AskAll):
            asked = [_amessage(question, config) for question in step.questions]
            result = await gather_with_concurrency(config.get("max_concurrency"), *asked)
        else:
            whole = _Whole()
            # Whoever stops reading ends the request at once.
            async with aclosing(_achunks(step, config, streaming)) as chunks:
                async for chunk in chunks:
                    for piece in await _decided(much, _pieces, step, whole.add(chunk)):
                        yield piece
            result = whole.message


def _next(steps: Steps, result: Any) -> Retrieve | Ask | AskAll | Call | AddableDict | None:
    """Return the next step, or None after the last one."""
    try:
        return steps.send(result)
    except StopIteration:
        return None


def _pieces(question: Ask, text: str) -> list[AddableDict]:
    return list(question.read(text))


async def _decided(much: bool, decide: Callable[..., Result], *arguments: Any) -> Result:
    return await asyncio.to_thread(decide, *arguments) if much else decide(*arguments)


def _is_much(value: object) -> bool:
    """Say whether there is much text in an input, or in what was found for it."""
    left, rest = _MUCH, [value]
    while rest and left > 0:
        one = rest.pop()
        left -= 10 + (len(one) if isinstance(one, str) else 0)
        if isinstance(one, BaseModel):
            rest += vars(one).values()
        elif isinstance(one, Mapping):
            rest += one.values()
        elif isinstance(one, list | tuple):
            rest += one
    return left <= 0


def _chunks(question: Ask, config: RunnableConfig, streaming: bool) -> Iterator[BaseMessage | str]:
    messages = list(question.messages)
    if streaming:
        yield from question.model.stream(messages, config)
    else:
        yield question.model.invoke(messages, config)


async def _achunks(
    question: Ask, config: RunnableConfig, streaming: bool
) -> AsyncGenerator[BaseMessage | str]:
    messages = list(question.messages)
    if not streaming:
        yield await question.model.ainvoke(messages, config)
        return
    chunks = question.model.astream(messages, config)
    async with aclosing(cast(AsyncGenerator[BaseMessage | str], chunks)):
        async for chunk in chunks:
            yield chunk


def _message(question: Ask, config: RunnableConfig) -> BaseMessage:
    whole = _Whole()
    whole.add(question.model.invoke(list(question.messages), config))
    return whole.message


async def _amessage(question: Ask, config: RunnableConfig) -> BaseMessage:
    whole = _Whole()
    whole.add(await question.model.ainvoke(list(question.messages), config))
    return whole.message


def usage_of(messages: Iterable[object]) -> UsageMetadata | None:
    """Return the tokens of several calls together; None when no model reports them."""
    reported = [getattr(message, "usage_metadata", None) for message in messages]
    return reduce(add_usage, (usage for usage in reported if usage), None)


class _Whole:
    """A message from its chunks."""

    def __init__(self) -> None:
        self._chunks: list[BaseMessage] = []

    def add(self, chunk: BaseMessage | str) -> str:
        """Add a chunk and return its text; a completion model's is no more than text."""
        message = AIMessageChunk(content=chunk) if isinstance(chunk, str) else chunk
        self._chunks.append(message)
        return message.text

    @property
    def message(self) -> BaseMessage:
        """The whole message."""
        if not self._chunks:
            return AIMessage("")
        first, *rest = self._chunks
        return first + rest if rest and isinstance(first, AIMessageChunk) else first


def _sum(values: Iterable[Any]) -> Any:
    total: Any = None
    for value in values:
        total = value if total is None else total + value
    return total
