"""Counting tokens without a tokenizer: an estimate that learns from what the API reports.

Jamba's tokenizer cannot be had without an account at a model hub, and AI21 has no endpoint that
counts. So text is counted by its length, and the ratio follows the `usage` of the answers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence

from langchain_core.messages import BaseMessage

from ai21_chains._messages import to_wire
from ai21_chains._request import format_tools
from ai21_chains._wire import ChatRequest, Message

CHARACTERS_PER_TOKEN = 3.5
"""Before anything was learnt: a cautious figure for English."""

# Jamba's chat template: a start token, three marks around each message, two before the answer.
_PER_REQUEST = 3
_PER_MESSAGE = 3

_ENOUGH_TO_LEARN_FROM = 200
_WEIGHT_OF_ONE_ANSWER = 0.2
_PLAUSIBLE = (1.0, 10.0)


class TokenEstimate:
    """The number of tokens in a text, judged by its length."""

    def __init__(self) -> None:
        """Start with the cautious figure."""
        self.ratio = CHARACTERS_PER_TOKEN
        """Characters in a token."""

    def text(self, text: str) -> int:
        """Return the number of tokens in a text: at least 1 unless it is empty."""
        return math.ceil(len(text) / self.ratio)

    def learn(self, body: ChatRequest, prompt_tokens: int) -> None:
        """Correct the ratio by a request whose tokens the API has counted."""
        messages = body["messages"]
        length = sum(len(_text(message)) for message in messages)
        length += sum(len(document["content"]) for document in body.get("documents", ()))
        tokens = prompt_tokens - _overhead(messages)
        if length < _ENOUGH_TO_LEARN_FROM or tokens <= 0 or "tools" in body:
            return
        smallest, largest = _PLAUSIBLE
        observed = min(max(length / tokens, smallest), largest)
        self.ratio += _WEIGHT_OF_ONE_ANSWER * (observed - self.ratio)


def count_request(
    messages: Sequence[BaseMessage], tools: Iterable[object], count: Callable[[str], int]
) -> int:
    """Return the number of tokens that a request with these messages and tools has.

    Args:
        messages: The conversation.
        tools: Its tools, of any kind that LangChain knows.
        count: Counts the tokens in a text.
    """
    wire = to_wire(messages) if messages else []
    texts = [_text(message) for message in wire]
    texts += [json.dumps(tool, ensure_ascii=False, default=str) for tool in format_tools(tools)]
    return sum(map(count, texts)) + _overhead(wire)


def _overhead(messages: Sequence[Message]) -> int:
    return _PER_REQUEST + _PER_MESSAGE * len(messages)


def _text(message: Message) -> str:
    calls = message.get("tool_calls")
    return message["content"] + (json.dumps(calls, ensure_ascii=False) if calls else "")
