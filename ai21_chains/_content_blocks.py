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


def translate(message: AIMessage) -> list[ContentBlock]:
    """Return the standard content blocks of a whole message."""
    return cast(list[ContentBlock], [*_said(message), *_calls(message)])


def translate_chunk(chunk: AIMessageChunk) -> list[ContentBlock]:
    """Return the standard content blocks of a piece of a stream, or of the sum of all pieces."""
    blocks = _said(chunk)
    for block in blocks:
        prefix = "lc_rs" if block["type"] == "reasoning" else "lc_txt"
        block.setdefault("index", f"{prefix}_0")
    if chunk.chunk_position == "last":
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
    citations = message.additional_kwargs.get("citations")
    texts = [block for block in blocks if block["type"] == "text"]
    if citations and texts:
        texts[-1]["annotations"] = [*texts[-1].get("annotations", ()), *citations]
    return blocks


def _calls(message: AIMessage) -> list[dict[str, Any]]:
    return [
        {"type": "tool_call", "name": call["name"], "args": call["args"], "id": call["id"]}
        for call in message.tool_calls
    ]


register_translator(PROVIDER, translate, translate_chunk)
