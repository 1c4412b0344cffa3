"""Replies as the bytes of AI21's answers (AI21 API reference, chat completions, response)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from .brains import Reply, ToolCall

CHARACTERS_PER_TOKEN = 4
MAX_OUTPUT_TOKENS = 4096
ARGUMENT_FRAGMENT = 7

_PIECES = re.compile(r"\s*\S{1,12}|\s+")

NewId = Callable[[], UUID]


def count_tokens(text: str) -> int:
    """Estimate the number of tokens in a text, at four characters a token, rounded up.

    Args:
        text: Any text.
    """
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def count_prompt_tokens(body: Mapping[str, Any]) -> int:
    """Estimate the tokens of a whole request, with what Jamba's chat template adds.

    The template opens with one token, puts three around each message, always has a system message,
    and ends with the two that open the model's own turn.

    Args:
        body: The JSON of a chat request.
    """
    messages = body["messages"]
    total = 1 + 2 + 3 * len(messages)
    if not any(message["role"] == "system" for message in messages):
        total += 3
    for message in messages:
        total += count_tokens(message.get("content") or "")
        total += sum(count_tokens(_compact(call)) for call in message.get("tool_calls") or ())
    extras = (*(body.get("tools") or ()), *(body.get("documents") or ()))
    return total + sum(count_tokens(_compact(extra)) for extra in extras)


def limited(reply: Reply, body: Mapping[str, Any]) -> Reply:
    """Cut a reply at the request's stop sequences and `max_tokens`, and settle its finish reason.

    Args:
        reply: What the brain said.
        body: The JSON of the chat request.
    """
    text = reply.content
    reason = "tool_calls" if reply.tool_calls else "stop"
    if text is not None:
        stop = body.get("stop") or []
        for sequence in [stop] if isinstance(stop, str) else stop:
            if sequence:
                text = text.split(sequence, 1)[0]
        asked = body.get("max_tokens")
        limit = MAX_OUTPUT_TOKENS if asked is None else min(asked, MAX_OUTPUT_TOKENS)
        if count_tokens(text) > limit:
            text, reason = text[: limit * CHARACTERS_PER_TOKEN], "length"
    return replace(reply, content=text, finish_reason=reply.finish_reason or reason)


def completion(replies: Sequence[Reply], prompt_tokens: int, new_id: NewId) -> bytes:
    """Return the body of an answer that is not streamed: compact JSON, AI21's order of keys.

    Args:
        replies: One reply for each choice.
        prompt_tokens: The size of the prompt, in tokens.
        new_id: Makes the ids.
    """
    answer = {
        "id": f"chatcmpl-{new_id()}",
        "choices": [_choice(index, reply, new_id) for index, reply in enumerate(replies)],
        "usage": _usage(prompt_tokens, replies),
    }
    return _compact(answer).encode()


def events(reply: Reply, prompt_tokens: int, new_id: NewId) -> Iterator[bytes]:
    """Yield the server-sent events of a streamed answer, each with the blank line that ends it.

    First comes the role, then text piece by piece, then each tool call's name and its arguments in
    fragments; the last event carries the finish reason and the usage.

    Args:
        reply: The one reply; AI21 streams a single choice.
        prompt_tokens: The size of the prompt, in tokens.
        new_id: Makes the ids.
    """
    name = f"chatcmpl-{new_id()}"
    for delta in _deltas(reply, new_id):
        yield _event({"id": name, "choices": [_chunk(delta, None)]})
    last = _chunk({"content": ""}, reply.finish_reason)
    yield _event({"id": name, "choices": [last], "usage": _usage(prompt_tokens, [reply])})
    yield b"data: [DONE]\n\n"


def _deltas(reply: Reply, new_id: NewId) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant"}
    for piece in _PIECES.findall(reply.reasoning_content or ""):
        yield {"reasoning_content": piece}
    for piece in _PIECES.findall(reply.content or ""):
        yield {"content": piece}
    for index, call in enumerate(reply.tool_calls):
        head = {"id": _call_id(call, new_id), "index": index, "type": "function"}
        yield {"tool_calls": [{**head, "function": {"name": call.name}}]}
        text = call.arguments_text
        for start in range(0, len(text), ARGUMENT_FRAGMENT):
            fragment = {"arguments": text[start : start + ARGUMENT_FRAGMENT]}
            yield {"tool_calls": [{"index": index, "function": fragment}]}


def _chunk(delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _event(data: dict[str, Any]) -> bytes:
    # AI21 streams with spaces after separators, unlike its other answers. Whether it escapes
    # non-ASCII characters is not known; unescaped is the harder case for a client.
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def _choice(index: int, reply: Reply, new_id: NewId) -> dict[str, Any]:
    calls = [
        {
            "id": _call_id(call, new_id),
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments_text},
        }
        for call in reply.tool_calls
    ]
    message: dict[str, Any] = {"role": "assistant", "content": reply.content}
    message["tool_calls"] = calls or None
    if reply.reasoning_content is not None:
        message["reasoning_content"] = reply.reasoning_content
    return {
        "index": index,
        "message": message,
        "logprobs": None,
        "finish_reason": reply.finish_reason,
    }


def _call_id(call: ToolCall, new_id: NewId) -> str:
    return call.id or f"chatcmpl-tool-{new_id().hex}"


def _usage(prompt_tokens: int, replies: Sequence[Reply]) -> dict[str, int]:
    completion_tokens = sum(
        count_tokens(reply.content or "")
        + count_tokens(reply.reasoning_content or "")
        + sum(count_tokens(call.name + call.arguments_text) for call in reply.tool_calls)
        for reply in replies
    )
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def _compact(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
