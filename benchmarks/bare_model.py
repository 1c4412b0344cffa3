"""The least that a LangChain chat model can be: it makes messages out of ready words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from canned_server import ANSWER, WORDS
from contestants import RawHTTPX
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr


class BareModel(BaseChatModel):
    """Says what it was given; `langchain_core`'s own cost, its message objects among it."""

    @property
    def _llm_type(self) -> str:
        return "bare"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return _result(AIMessage(content=ANSWER))

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return _result(AIMessage(content=ANSWER))

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


class RelayModel(BareModel):
    """The smallest model that really asks: raw httpx below, a message for each answer above."""

    _raw: RawHTTPX = PrivateAttr()

    def relay(self, raw: RawHTTPX) -> RelayModel:
        """Ask with this client."""
        self._raw = raw
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return _result(AIMessage(content=self._raw.ask()))

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return _result(AIMessage(content=await self._raw.aask()))

    def _stream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> Iterator[ChatGenerationChunk]:
        for word in self._raw.words():
            yield _chunk(word)

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        async for word in self._raw.awords():
            yield _chunk(word)


def _result(message: AIMessage) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=message)])


def _chunk(word: str) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=word))
