"""What OpenAI's clients send: the bodies of its two completion endpoints, as pydantic models.

Names are those of OpenAI's API reference (Chat Completions and Completions, create). Only what has
a counterpart in AI21's API is here; any other parameter is left in `model_extra`, and `_openai`
decides what becomes of it. Types are strict, as OpenAI's are: "1" is no number.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from ai21_chains._options import Choices, MaxTokens, Temperature, TopP

_T = TypeVar("_T")
_Many: TypeAlias = Annotated[list[_T], Field(fail_fast=True)]
"""A list of which the first fault is told: a body may have millions, each with a report."""


_MOST_MESSAGES = 16_384
"""More do not fit into a model's window, but into a body, and each takes time to be read."""

_MOST_PARTS = 2_048
"""Likewise, of one message."""


class Part(BaseModel):
    """What all parts of a body have in common."""

    # Clients send a whole answer back as history, with keys that mean nothing here.
    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)


# --- Messages --------------------------------------------------------------------------------


class TextPart(Part):
    """A piece of text. AI21's models read no images, audio or files."""

    type: Literal["text"]
    text: str


class RefusalPart(Part):
    """A refusal that a model gave as a part of its answer."""

    type: Literal["refusal"]
    refusal: str


def _form(content: object) -> str:
    return "parts" if isinstance(content, list) else "text"


_Text: TypeAlias = Annotated[str, Tag("text")]
_SaidPart: TypeAlias = Annotated[TextPart | RefusalPart, Field(discriminator="type")]
Content: TypeAlias = Annotated[
    _Text | Annotated[_Many[TextPart], Field(min_length=1, max_length=_MOST_PARTS), Tag("parts")],
    Discriminator(_form),
]
SaidContent: TypeAlias = Annotated[
    _Text | Annotated[_Many[_SaidPart], Field(max_length=_MOST_PARTS), Tag("parts")],
    Discriminator(_form),
]


class CalledFunction(Part):
    """A function that a model called; `arguments` is a string that holds JSON."""

    name: Annotated[str, Field(min_length=1)]
    arguments: str


class CalledTool(Part):
    """A call in an answer of an earlier turn."""

    id: Annotated[str, Field(min_length=1)]
    type: Literal["function"]
    function: CalledFunction


class InstructionMessage(Part):
    """Instructions to the model. AI21 calls both of OpenAI's roles `system`."""

    role: Literal["system", "developer"]
    content: Content


class UserMessage(Part):
    """What a person said."""

    role: Literal["user"]
    content: Content


class AssistantMessage(Part):
    """What a model answered in an earlier turn."""

    role: Literal["assistant"]
    content: SaidContent | None = None
    tool_calls: _Many[CalledTool] | None = None
    function_call: CalledFunction | None = None


class ToolMessage(Part):
    """The result of a tool call."""

    role: Literal["tool"]
    content: Content
    tool_call_id: Annotated[str, Field(min_length=1)]


class FunctionMessage(Part):
    """The result of a function call, in OpenAI's form before there were tools."""

    role: Literal["function"]
    content: str | None
    name: str


AnyMessage: TypeAlias = Annotated[
    InstructionMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage,
    Field(discriminator="role"),
]


# --- Tools -----------------------------------------------------------------------------------


class Function(Part):
    """A function that a model may call; `parameters` is a JSON schema of an object."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(Part):
    """A tool. OpenAI's custom tools have no counterpart in AI21's API."""

    type: Literal["function"]
    function: Function


class FunctionName(Part):
    """A function, by its name."""

    name: Annotated[str, Field(min_length=1)]


class NamedTool(Part):
    """The tool that has to be called."""

    type: Literal["function"]
    function: FunctionName


class AllowedSet(Part):
    """Some of the tools, and whether one of them has to be called."""

    mode: Literal["auto", "required"]
    tools: Annotated[_Many[NamedTool], Field(min_length=1)]


class AllowedTools(Part):
    """The tools that may be called, of all that are described."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedSet


def _way(choice: object) -> str:
    kind = choice.get("type") if isinstance(choice, dict) else getattr(choice, "type", None)
    return str(kind) if kind in ("function", "allowed_tools") else "word"


ToolChoice: TypeAlias = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("word")]
    | Annotated[NamedTool, Tag("function")]
    | Annotated[AllowedTools, Tag("allowed_tools")],
    Discriminator(_way),
]


# --- The form of the answer, and what it is grounded in --------------------------------------


class PlainFormat(Part):
    """Any text, or any JSON object."""

    type: Literal["text", "json_object"]


class NamedSchema(Part):
    """A JSON schema. With `strict` the answer is held to it, or an error is returned."""

    name: str
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class SchemaFormat(Part):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat: TypeAlias = Annotated[PlainFormat | SchemaFormat, Field(discriminator="type")]


class Pair(Part):
    """A piece of metadata, as AI21's guides write it."""

    key: str
    value: str


class GroundingDocument(Part):
    """AI21's form of a document to answer from."""

    content: str
    metadata: dict[str, Any] | _Many[Pair] | None = None
    id: str | None = None


class StreamOptions(Part):
    """What a stream holds besides the answer."""

    include_usage: bool | None = None


# --- The two bodies --------------------------------------------------------------------------

_StopWord: TypeAlias = Annotated[str, Field(min_length=1)]


def _whole(number: object) -> object:
    # JSON has one kind of number, and some clients write 100.0.
    return int(number) if isinstance(number, float) and number.is_integer() else number


_Whole = BeforeValidator(_whole)
_MaxTokens: TypeAlias = Annotated[MaxTokens, _Whole]


class Body(BaseModel):
    """What both bodies have."""

    model_config = ConfigDict(extra="allow", strict=True, hide_input_in_errors=True)

    model: Annotated[str, Field(min_length=1, max_length=200)]
    max_tokens: _MaxTokens | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    n: Annotated[Choices, _Whole] | None = None
    stop: _StopWord | _Many[_StopWord] | None = None
    seed: Annotated[int, _Whole] | None = None
    user: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None


class ChatCompletionRequest(Body):
    """The body of `POST /v1/chat/completions`; `documents` is AI21's own parameter."""

    messages: Annotated[_Many[AnyMessage], Field(min_length=1, max_length=_MOST_MESSAGES)]
    max_completion_tokens: _MaxTokens | None = None
    tools: Annotated[_Many[Tool], Field(max_length=128)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[_Many[Function], Field(max_length=128)] | None = None
    function_call: Literal["none", "auto"] | FunctionName | None = None
    response_format: ResponseFormat | None = None
    documents: _Many[str | GroundingDocument] | None = None


class CompletionRequest(Body):
    """The body of `POST /v1/completions`: each prompt is a user's turn of a chat of its own."""

    prompt: Annotated[
        _Text | Annotated[_Many[str], Field(min_length=1, max_length=64), Tag("parts")],
        Discriminator(_form),
    ]
    echo: bool | None = None
