"""The JSON of AI21's API as typed dictionaries, named as AI21 names things. No behaviour.

Answers carry more keys than these, and new ones appear without notice: what is not named here
passes through unread.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

JSONObject: TypeAlias = dict[str, Any]
"""A decoded JSON object of which nothing is known yet."""


class FunctionCall(TypedDict):
    """What a model wants to call; `arguments` is a string that holds JSON."""

    name: str
    arguments: str


class ToolCall(TypedDict):
    """A call in an assistant message."""

    id: str
    type: Literal["function"]
    function: FunctionCall


class Message(TypedDict):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: NotRequired[list[ToolCall]]
    tool_call_id: NotRequired[str]


class Document(TypedDict):
    """A grounding document."""

    content: str
    metadata: dict[str, str]
    id: NotRequired[str]


class ChatRequest(TypedDict, total=False):
    """The body of `POST /chat/completions`. Only what was set is sent."""

    model: str
    messages: list[Message]
    tools: list[JSONObject]
    tool_choice: str | JSONObject
    parallel_tool_calls: bool
    n: int
    max_tokens: int
    temperature: float
    top_p: float
    stop: str | list[str]
    seed: int
    user: str
    documents: list[Document]
    response_format: JSONObject
    stream: bool


class Usage(TypedDict):
    """Token counts of one answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class FunctionDelta(TypedDict, total=False):
    """A piece of a call; pieces of `arguments` are to be joined."""

    name: str
    arguments: str


class ToolCallDelta(TypedDict, total=False):
    """A piece of a tool call; pieces with the same `index` belong together."""

    index: int
    id: str
    function: FunctionDelta


class AssistantMessage(TypedDict, total=False):
    """The message of an answer, or, in a stream, the next piece of it (a delta)."""

    role: str
    content: str | None
    reasoning_content: str | None
    tool_calls: list[ToolCallDelta] | None


class Choice(TypedDict, total=False):
    """One of an answer's `n` alternatives: `message` in a whole answer, `delta` in a stream."""

    index: int
    message: AssistantMessage
    delta: AssistantMessage
    finish_reason: str | None
    logprobs: Any


class Completion(TypedDict, total=False):
    """An answer of `POST /chat/completions`, or one event of a streamed answer."""

    id: str
    choices: list[Choice]
    usage: Usage | None
