"""How `message.content_blocks` reads AI21's messages: LangChain's standard content blocks.

LangChain looks this translator up by `model_provider`, for whole messages and for each chunk of a
stream. Pieces of text and of tool calls get string indices of their own (`lc_txt_0`, `lc_tc_1`), so
that joining chunks never fuses a text with a tool call that the server numbered alike.
"""

from __future__ import annotations

from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.block_translators import register_translator
from langchain_core.messages.content import ContentBlock

from ai21_chains._messages import PROVIDER

_STANDARD = frozenset({"text", "reasoning", "non_standard"})
_CALLS = frozenset({"tool_call", "tool_call_chunk", "invalid_tool_call"})
_INDICES = {"text": "lc_txt_0", "reasoning": "lc_rs_0"}


def translate(message: AIMessage) -> list[ContentBlock]:
    """Return the standard content blocks of a whole message."""
    return cast(list[ContentBlock], [*_said(message), *_calls(message)])


def translate_chunk(chunk: AIMessageChunk) -> list[ContentBlock]:
    """Return the standard content blocks of a piece of a stream, or of the sum of all pieces."""
    blocks = _said(chunk)
    for block in blocks:
        if block["type"] in _INDICES:
            block.setdefault("index", _INDICES[block["type"]])
    # The last piece may be one of a call, without its id; in the sum of all each call has its own.
    if chunk.chunk_position == "last" and all(piece["id"] for piece in chunk.tool_call_chunks):
        return cast(list[ContentBlock], [*blocks, *_calls(chunk)])
    for piece in chunk.tool_call_chunks:
        block = {"type": "tool_call_chunk", **piece}
        block["index"] = f"lc_tc_{piece['index'] or 0}"
        blocks.append(block)
    return cast(list[ContentBlock], blocks)


def _said(message: AIMessage) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    reasoning = message.additional_kwargs.get("reasoning_content")
    if reasoning:
        blocks.append({"type": "reasoning", "reasoning": reasoning})
    content = message.content
    parts = [content] if isinstance(content, str) else content
    for part in parts:
        if isinstance(part, str):
            if part:
                blocks.append({"type": "text", "text": part})
        elif part.get("type") in _STANDARD:
            blocks.append(dict(part))
        elif part.get("type") not in _CALLS:
            blocks.append({"type": "non_standard", "value": part})
    if citations := message.additional_kwargs.get("citations"):
        # In a stream they come after the text, in a chunk of their own.
        if not blocks or blocks[-1]["type"] != "text":
            blocks.append({"type": "text", "text": ""})
        blocks[-1]["annotations"] = [*blocks[-1].get("annotations", ()), *citations]
    return blocks


def _calls(message: AIMessage) -> list[dict[str, Any]]:
    calls = [{**call, "type": "tool_call"} for call in message.tool_calls]
    return [*calls, *({**call, "type": "invalid_tool_call"} for call in message.invalid_tool_calls)]


register_translator(PROVIDER, translate, translate_chunk)
