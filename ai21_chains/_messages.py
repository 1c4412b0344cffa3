"""LangChain's messages to AI21's JSON and back. The only module that speaks both.

Nothing here does input or output, and nothing that is passed in is changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import singledispatch
from typing import Any, cast
from uuid import uuid4

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    InvalidToolCall,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import (
    ToolCallChunk,
    invalid_tool_call,
    tool_call,
    tool_call_chunk,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk
from langchain_core.utils.json import parse_partial_json

from ai21_chains import _wire
from ai21_chains._wire_parts import ToolCallReader, as_text, identity, usage_metadata
from ai21_chains.errors import ConfigurationError, UnsupportedContentError

PROVIDER = "ai21"
"""`model_provider` of each message, and `ls_provider` of each trace. LangChain compares the two."""

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
}


# --- LangChain to AI21 -----------------------------------------------------------------------


def to_wire(messages: Iterable[BaseMessage]) -> list[_wire.Message]:
    """Convert a conversation to AI21's messages.

    Raises:
        UnsupportedContentError: A message holds something other than text.
        ConfigurationError: There is no message, or AI21 has no such kind of message.
    """
    converted = [_to_wire(message) for message in messages]
    if not converted:
        raise ConfigurationError("messages is empty: there is nothing to answer")
    return converted


@singledispatch
def _to_wire(message: BaseMessage) -> _wire.Message:
    kind = type(message).__name__
    raise ConfigurationError(
        f"A {kind} has no counterpart in AI21's API. Use a SystemMessage, HumanMessage, AIMessage "
        "or ToolMessage"
    )


@_to_wire.register
def _(message: HumanMessage) -> _wire.Message:
    return {"role": "user", "content": text_of(message)}


@_to_wire.register
def _(message: SystemMessage) -> _wire.Message:
    return {"role": "system", "content": text_of(message)}


@_to_wire.register
def _(message: ToolMessage) -> _wire.Message:
    return {"role": "tool", "content": text_of(message), "tool_call_id": message.tool_call_id}


@_to_wire.register
def _(message: ChatMessage) -> _wire.Message:
    role = _ROLES.get(message.role.lower())
    if role is None:
        roles = ", ".join(sorted(_ROLES))
        raise ConfigurationError(f"A ChatMessage has the role {message.role!r}; AI21 knows {roles}")
    return cast(_wire.Message, {"role": role, "content": text_of(message)})


@_to_wire.register
def _(message: AIMessage) -> _wire.Message:
    # What a model has said besides text (reasoning, citations, another provider's tool blocks)
    # has no place in AI21's history; the calls themselves stand in tool_calls.
    text = "".join(filter(None, map(_text_in, _blocks(message))))
    wire: _wire.Message = {"role": "assistant", "content": text}
    calls: list[_wire.ToolCall] = [
        {
            "id": call["id"] or f"call_{number}",
            "type": "function",
            "function": {"name": call["name"] or "", "arguments": as_text(call["args"])},
        }
        for number, call in enumerate((*message.tool_calls, *message.invalid_tool_calls))
    ]
    if calls:
        wire["tool_calls"] = calls
    return wire


def text_of(message: BaseMessage) -> str:
    """Return a message's text; parts are joined as LangChain's `message.text` joins them.

    Raises:
        UnsupportedContentError: The message holds something other than text.
    """
    texts: list[str] = []
    for block in _blocks(message):
        text = _text_in(block)
        if text is None:
            kind = block.get("type") if isinstance(block, dict) else None
            raise UnsupportedContentError(
                f"A {message.type} message holds a content block of type {kind!r}; AI21's models "
                "read text only. Convert it to text, or leave it out"
            )
        texts.append(text)
    return "".join(texts)


def _blocks(message: BaseMessage) -> Sequence[str | dict[str, Any]]:
    return [message.content] if isinstance(message.content, str) else message.content


def _text_in(block: str | dict[str, Any]) -> str | None:
    if isinstance(block, str):
        return block
    text = block.get("text")
    return text if block.get("type", "text") == "text" and isinstance(text, str) else None


# --- AI21 to LangChain -----------------------------------------------------------------------


def generations(completion: _wire.Completion, model: str) -> list[ChatGeneration]:
    """Convert an answer to one generation for each of its `n` choices, in the order of `index`.

    Args:
        completion: The answer, checked by `_protocol.read_completion`.
        model: The model that was asked for: AI21's answers name none.
    """
    choices = sorted(completion["choices"], key=lambda choice: choice.get("index") or 0)
    usage = usage_metadata(completion.get("usage"))
    found: list[ChatGeneration] = []
    for choice in choices:
        message = choice["message"]
        more: dict[str, Any] = {}
        if calls := message.get("tool_calls"):
            more["tool_calls"], more["invalid_tool_calls"] = _read_calls(calls)
        if extras := _extras(message):
            more["additional_kwargs"] = extras
        found.append(
            ChatGeneration(
                # LangChain makes up an id that no other message has. A server may repeat its own,
                # and LangGraph would overwrite one message with the next.
                message=AIMessage(
                    content=message.get("content") or "",
                    response_metadata=_metadata(completion, model, choice.get("finish_reason")),
                    # The usage is that of the whole request: counted once.
                    usage_metadata=usage if not found else None,
                    **more,
                )
            )
        )
    return found


class ChunkReader:
    """Turns the events of one streamed answer into LangChain's chunks.

    LangChain joins chunks by adding them up: strings are concatenated and numbers summed. So the
    id, name and position of a tool call, the finish reason, the model's name and the usage are each
    given once, however often the server repeats them.
    """

    def __init__(self, model: str) -> None:
        """Start before the first event.

        Args:
            model: The model that was asked for.
        """
        self._model = model
        self._id: str | None = None
        self._finish_reason: str | None = None
        self.usage: UsageMetadata | None = None
        self._calls = ToolCallReader()
        self._arguments: dict[int, str] = {}

    def read(self, event: _wire.Completion) -> ChatGenerationChunk | None:
        """Return the chunk for one event, or None if the event adds nothing to the message."""
        if self._id is None:
            self._id = identity(event)
        if usage := event.get("usage"):
            self.usage = usage_metadata(usage) or self.usage
        for choice in event["choices"]:
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
            delta = choice["delta"]
            content = delta.get("content")
            calls = delta.get("tool_calls")
            more: dict[str, Any] = {}
            if extras := _extras(delta):
                more["additional_kwargs"] = extras
            if calls:
                more["tool_call_chunks"] = [self._piece(call) for call in calls]
            if content or more:
                return ChatGenerationChunk(
                    message=AIMessageChunk(
                        content=content or "",
                        response_metadata={"model_provider": PROVIDER},
                        **more,
                    )
                )
        return None

    def last(self) -> ChatGenerationChunk:
        """Return the closing chunk: no text, but the usage and what is known of the answer."""
        metadata = _metadata({"id": self._id or ""}, self._model, self._finish_reason)
        return ChatGenerationChunk(
            message=AIMessageChunk(
                content="",
                response_metadata=metadata,
                usage_metadata=self.usage,
                tool_call_chunks=list(self._spoilers()),
                chunk_position="last",
            )
        )

    def _piece(self, delta: _wire.ToolCallDelta) -> ToolCallChunk:
        piece = self._calls.read(delta)
        place = piece["index"] or 0
        self._arguments[place] = self._arguments.get(place, "") + (piece["args"] or "")
        return piece

    def _spoilers(self) -> Iterator[ToolCallChunk]:
        """Yield a piece for each call that was cut off, which makes an invalid one of it.

        LangChain completes what is left of its arguments, and an agent would act on half a path.
        """
        for place, arguments in self._arguments.items() if self._finish_reason == "length" else ():
            if not _is_json(arguments):
                yield tool_call_chunk(args=_spoiler(arguments), index=place)


def _is_json(text: str) -> bool:
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def _spoiler(arguments: str) -> str:
    """Return a bracket that closes what is not open, outside of any string."""
    ends = [quotes + bracket for quotes in ("", '"', '""') for bracket in "]}"]
    return next((end for end in ends if not _is_completed(arguments + end)), "]")


def _is_completed(arguments: str) -> bool:
    """Whether LangChain makes valid arguments of these."""
    try:
        return isinstance(parse_partial_json(arguments), dict)
    except (ValueError, RecursionError):
        return False


def _metadata(
    completion: _wire.Completion, model: str, finish_reason: str | None
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"model_provider": PROVIDER, "model_name": model}
    if finish_reason:
        metadata["finish_reason"] = finish_reason
    if answer_id := identity(completion):
        metadata["id"] = answer_id
    return metadata


def _extras(message: _wire.AssistantMessage) -> dict[str, Any]:
    reasoning = message.get("reasoning_content")
    return {"reasoning_content": reasoning} if reasoning else {}


def _read_calls(
    calls: list[_wire.ToolCallDelta],
) -> tuple[list[Any], list[InvalidToolCall]]:
    valid, invalid = [], []
    for call in calls:
        function = call.get("function") or {}
        name = function.get("name") or ""
        call_id = identity(call) or f"call_{uuid4().hex}"
        # The API's schema says that it is a string of JSON; some servers send the object itself.
        text = as_text(function.get("arguments"))
        try:
            # strict=False: models write raw line breaks into strings.
            arguments = json.loads(text, strict=False) if text.strip() else {}
        except (ValueError, RecursionError) as error:
            problem = f"The arguments of {name} are not JSON: {error}"
        else:
            if isinstance(arguments, dict):
                valid.append(tool_call(name=name, args=arguments, id=call_id))
                continue
            problem = f"The arguments of {name} are not a JSON object"
        invalid.append(invalid_tool_call(name=name, args=text, id=call_id, error=problem))
    return valid, invalid
