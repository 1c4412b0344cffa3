"""The least that a LangChain chat model can be: what it answers is ready before it is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from canned_server import ANSWER, WORDS
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr


class BareModel(BaseChatModel):
    """Says what it was given; `langchain_core`'s own cost and nothing else."""

    _streams: list[list[ChatGenerationChunk]] = PrivateAttr(default_factory=list)

    def make_ready(self, streams: int) -> None:
        """Make the chunks of that many streams beforehand, so that no stream pays for them."""
        self._streams = [[_chunk(word) for word in WORDS] for _ in range(streams)]

    @property
    def _llm_type(self) -> str:
        return "bare"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=_MESSAGE)])

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=_MESSAGE)])

    def _stream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> Iterator[ChatGenerationChunk]:
        yield from self._streams.pop()

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._streams.pop():
            yield chunk


class BuildingModel(BareModel):
    """Makes its messages and chunks when they are asked for, as every real model has to."""

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=ANSWER))])

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=ANSWER))])

    def _stream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> Iterator[ChatGenerationChunk]:
        for word in WORDS:
            yield _chunk(word)

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for word in WORDS:
            yield _chunk(word)


_MESSAGE = AIMessage(content=ANSWER)


def _chunk(word: str) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=word))
