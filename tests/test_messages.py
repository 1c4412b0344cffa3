"""LangChain's messages to AI21's JSON, and AI21's answers to LangChain's messages."""

import copy
import json
import operator
from datetime import date
from functools import reduce
from typing import cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    HumanMessageChunk,
    InvalidToolCall,
    RemoveMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call

from ai21_chains._messages import ChunkReader, generations, text_of, to_wire
from ai21_chains._request import documents_to_wire
from ai21_chains._wire import Completion, JSONObject
from ai21_chains._wire_parts import usage_metadata
from ai21_chains.errors import ConfigurationError, UnsupportedContentError
from tests.cases import each

# --- LangChain to AI21 -----------------------------------------------------------------------


def call_on_the_wire(call_id: str, name: str, arguments: str) -> JSONObject:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


WEATHER = tool_call(name="weather", args={"city": "Zürich"}, id="call-1")
WEATHER_ON_THE_WIRE = call_on_the_wire("call-1", "weather", '{"city": "Zürich"}')


@each(
    ("message", "wire"),
    [
        pytest.param(HumanMessage("Hi"), {"role": "user", "content": "Hi"}, id="human"),
        pytest.param(
            HumanMessage("Hi", name="Ann", id="1"), {"role": "user", "content": "Hi"}, id="named"
        ),
        pytest.param(
            HumanMessageChunk(content="Hi"), {"role": "user", "content": "Hi"}, id="chunk"
        ),
        pytest.param(HumanMessage(""), {"role": "user", "content": ""}, id="empty"),
        pytest.param(HumanMessage([]), {"role": "user", "content": ""}, id="empty-list"),
        pytest.param(
            HumanMessage(
                [
                    "One, ",
                    {"type": "text", "text": "two, ", "index": 0, "cache_control": {"type": "x"}},
                    {"type": "text", "text": "", "annotations": [], "extras": {}},
                    {"text": "three"},
                ]
            ),
            {"role": "user", "content": "One, two, three"},
            id="text-parts",
        ),
        pytest.param(
            SystemMessage("Be brief"), {"role": "system", "content": "Be brief"}, id="system"
        ),
        pytest.param(
            SystemMessage([{"type": "text", "text": "Be brief"}]),
            {"role": "system", "content": "Be brief"},
            id="system-parts",
        ),
        pytest.param(
            ToolMessage("22 °C", tool_call_id="call-1", name="weather", artifact={"raw": 22}),
            {"role": "tool", "content": "22 °C", "tool_call_id": "call-1"},
            id="tool",
        ),
        pytest.param(
            ToolMessage("No such city", tool_call_id="call-1", status="error"),
            {"role": "tool", "content": "No such city", "tool_call_id": "call-1"},
            id="tool-error",
        ),
        pytest.param(
            ToolMessage([{"type": "text", "text": "22"}, " °C"], tool_call_id="call-1"),
            {"role": "tool", "content": "22 °C", "tool_call_id": "call-1"},
            id="tool-parts",
        ),
        pytest.param(AIMessage("Hello"), {"role": "assistant", "content": "Hello"}, id="ai"),
        pytest.param(AIMessage(""), {"role": "assistant", "content": ""}, id="ai-empty"),
        pytest.param(
            AIMessage("", tool_calls=[WEATHER]),
            {"role": "assistant", "content": "", "tool_calls": [WEATHER_ON_THE_WIRE]},
            id="ai-call",
        ),
        pytest.param(
            AIMessage("Let me look.", tool_calls=[tool_call(name="now", args={}, id="call-2")]),
            {
                "role": "assistant",
                "content": "Let me look.",
                "tool_calls": [call_on_the_wire("call-2", "now", "{}")],
            },
            id="ai-text-and-call",
        ),
        pytest.param(
            AIMessage(
                [
                    {"type": "thinking", "thinking": "Hm"},
                    {"type": "text", "text": "Let me ", "index": 1},
                    {"type": "reasoning", "reasoning": "Hm"},
                    "look.",
                    {"type": "tool_use", "id": "call-1", "name": "weather", "input": {}},
                    {"type": "tool_call", "id": "call-1", "name": "weather", "args": {}},
                    {"type": "image", "url": "https://x.example/cat.png"},
                    {"type": "non_standard", "value": {}},
                    {"type": "text", "text": None},
                ],
                tool_calls=[WEATHER],
            ),
            {
                "role": "assistant",
                "content": "Let me look.",
                "tool_calls": [WEATHER_ON_THE_WIRE],
            },
            id="ai-blocks-of-all-kinds",
        ),
        pytest.param(
            AIMessage(
                "",
                tool_calls=[WEATHER],
                invalid_tool_calls=[
                    invalid_tool_call(name="weather", args='{"city"', id="call-2", error="cut"),
                    InvalidToolCall(
                        type="invalid_tool_call", name=None, args=None, id=None, error=None
                    ),
                ],
            ),
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    WEATHER_ON_THE_WIRE,
                    call_on_the_wire("call-2", "weather", '{"city"'),
                    call_on_the_wire("call_2", "", ""),
                ],
            },
            id="ai-invalid-calls",
        ),
        pytest.param(
            AIMessage(
                "",
                tool_calls=[
                    tool_call(name="now", args={}, id=None),
                    tool_call(name="now", args={}, id=None),
                ],
            ),
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    call_on_the_wire("call_0", "now", "{}"),
                    call_on_the_wire("call_1", "now", "{}"),
                ],
            },
            id="ai-calls-without-ids",
        ),
        pytest.param(
            AIMessage(
                "", tool_calls=[tool_call(name="on", args={"day": date(2026, 3, 1)}, id="a")]
            ),
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [call_on_the_wire("a", "on", '{"day": "2026-03-01"}')],
            },
            id="ai-call-with-a-date",
        ),
        pytest.param(
            AIMessageChunk(
                content="",
                tool_call_chunks=[
                    {"name": "now", "args": "{}", "id": "a", "index": 0, "type": "tool_call_chunk"}
                ],
            ),
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [call_on_the_wire("a", "now", "{}")],
            },
            id="ai-chunk",
        ),
        pytest.param(
            ChatMessage("Hi", role="user"), {"role": "user", "content": "Hi"}, id="chat-user"
        ),
        pytest.param(
            ChatMessage("Hi", role="Human"), {"role": "user", "content": "Hi"}, id="chat-human"
        ),
        pytest.param(
            ChatMessage("Hi", role="assistant"),
            {"role": "assistant", "content": "Hi"},
            id="chat-assistant",
        ),
        pytest.param(
            ChatMessage("Hi", role="ai"), {"role": "assistant", "content": "Hi"}, id="chat-ai"
        ),
        pytest.param(
            ChatMessage("Hi", role="system"), {"role": "system", "content": "Hi"}, id="chat-system"
        ),
        pytest.param(
            ChatMessage("Hi", role="developer"),
            {"role": "system", "content": "Hi"},
            id="chat-developer",
        ),
    ],
)
def test_each_message_has_its_form_on_the_wire(message: BaseMessage, wire: JSONObject) -> None:
    before = copy.deepcopy(message)

    assert to_wire([message]) == [wire]
    assert message == before


def test_a_conversation_keeps_its_order() -> None:
    turns = [SystemMessage("a"), SystemMessage("b"), HumanMessage("c"), HumanMessage("d")]

    assert [message["content"] for message in to_wire(iter(turns))] == ["a", "b", "c", "d"]


def test_the_legacy_form_of_tool_calls_is_understood() -> None:
    legacy = {"tool_calls": [call_on_the_wire("a", "now", "{}")]}

    (wire,) = to_wire([AIMessage("", additional_kwargs=legacy)])

    assert wire["tool_calls"] == legacy["tool_calls"]


@each(
    "message",
    [FunctionMessage(name="f", content="x"), RemoveMessage(id="1"), "Hi"],
)
def test_what_has_no_counterpart_is_refused(message: BaseMessage) -> None:
    with pytest.raises(ConfigurationError, match=f"A {type(message).__name__} has no counterpart"):
        to_wire([message])


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the role 'critic'; AI21 knows ai, assistant"):
        to_wire([ChatMessage("Hi", role="critic")])


def test_an_empty_conversation_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="messages is empty"):
        to_wire([])


@each("make", [HumanMessage, SystemMessage])
@each(
    ("block", "kind"),
    [
        ({"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}, "'image_url'"),
        ({"type": "image", "base64": "aGk=", "mime_type": "image/png"}, "'image'"),
        ({"type": "file", "base64": "aGk=", "mime_type": "application/pdf"}, "'file'"),
        ({"type": "audio", "base64": "aGk=", "mime_type": "audio/wav"}, "'audio'"),
        ({"type": "video", "url": "https://x.example/a.mp4"}, "'video'"),
        ({"type": "text-plain", "text": "a file"}, "'text-plain'"),
        ({"type": "text", "text": 5}, "'text'"),
        ({"type": "text"}, "'text'"),
        ({"image_url": "https://x.example/a.png"}, "None"),
    ],
)
def test_what_is_not_text_is_refused(make: type[BaseMessage], block: JSONObject, kind: str) -> None:
    message = make(content=["Look: ", block])

    with pytest.raises(UnsupportedContentError) as caught:
        to_wire([message])

    assert f"A {message.type} message holds a content block of type {kind}" in str(caught.value)
    assert "aGk=" not in str(caught.value)


def test_an_image_from_a_tool_is_refused() -> None:
    with pytest.raises(UnsupportedContentError, match="A tool message"):
        to_wire([ToolMessage([{"type": "image", "base64": "aGk="}], tool_call_id="a")])


@given(st.lists(st.text() | st.builds(lambda text: {"type": "text", "text": text}, st.text())))
def test_parts_are_joined_as_langchain_joins_them(parts: list[str | JSONObject]) -> None:
    message = HumanMessage(parts)

    assert text_of(message) == message.text


# --- Documents -------------------------------------------------------------------------------


class Opaque:
    def __str__(self) -> str:
        return "opaque"


CIRCLE: JSONObject = {}
CIRCLE["self"] = CIRCLE


@each(
    ("document", "wire"),
    [
        pytest.param("Text", {"content": "Text", "metadata": {}}, id="string"),
        pytest.param("", {"content": "", "metadata": {}}, id="empty-string"),
        pytest.param(Document("Text"), {"content": "Text", "metadata": {}}, id="document"),
        pytest.param(
            Document("Text", id="7", metadata={"source": "a.md", "page": 3}),
            {"content": "Text", "metadata": {"source": "a.md", "page": "3"}, "id": "7"},
            id="document-with-all",
        ),
        pytest.param(
            {"content": "Text", "metadata": {"topic": "revenue"}, "id": 7},
            {"content": "Text", "metadata": {"topic": "revenue"}, "id": "7"},
            id="dict",
        ),
        pytest.param(
            {"page_content": "Text", "type": "Document"},
            {"content": "Text", "metadata": {}},
            id="langchains-dict",
        ),
        pytest.param(
            {"content": "Text", "metadata": None, "id": None},
            {"content": "Text", "metadata": {}},
            id="nulls",
        ),
        pytest.param(
            {"content": "Text", "metadata": [{"key": "author", "value": "Bob"}, {"key": "year"}]},
            {"content": "Text", "metadata": {"author": "Bob"}},
            id="pairs-of-the-guides",
        ),
    ],
)
def test_each_kind_of_document_has_its_form_on_the_wire(
    document: Document | str | JSONObject, wire: JSONObject
) -> None:
    before = copy.deepcopy(document)

    assert documents_to_wire([document]) == [wire]
    assert document == before


@each(
    ("value", "text"),
    [
        pytest.param("as it is", "as it is", id="string"),
        pytest.param(3, "3", id="int"),
        pytest.param(0.5, "0.5", id="float"),
        pytest.param(True, "true", id="bool"),
        pytest.param(["ä", 1], '["ä", 1]', id="list"),
        pytest.param({"a": date(2026, 3, 1)}, '{"a": "2026-03-01"}', id="dict-with-a-date"),
        pytest.param(date(2026, 3, 1), "2026-03-01", id="date"),
        pytest.param(UUID(int=0), "00000000-0000-0000-0000-000000000000", id="uuid"),
        pytest.param(Opaque(), "opaque", id="object"),
        pytest.param({(1, 2): 3}, "{(1, 2): 3}", id="tuple-as-key"),
        pytest.param(CIRCLE, "{'self': {...}}", id="circle"),
    ],
)
def test_metadata_is_text_on_the_wire(value: object, text: str) -> None:
    (wire,) = documents_to_wire([Document("Text", metadata={"x": value, "absent": None})])

    assert wire["metadata"] == {"x": text}


@each(
    ("document", "problem"),
    [
        pytest.param(5, "is a int, not a Document", id="number"),
        pytest.param(None, "is a NoneType, not a Document", id="null"),
        pytest.param(b"Text", "is a bytes, not a Document", id="bytes"),
        pytest.param({}, "has no text under 'content'", id="no-content"),
        pytest.param({"content": None}, "has no text under 'content'", id="null-content"),
        pytest.param({"content": ["Text"]}, "has no text under 'content'", id="list-content"),
        pytest.param({"content": "Text", "metadata": "x"}, "metadata that is not a dict", id="str"),
        pytest.param({"content": "Text", "metadata": [1]}, "that is not a dict", id="list"),
        pytest.param({"content": "Text", "metadata": [{"value": 1}]}, "not a dict", id="no-key"),
    ],
)
def test_what_is_no_document_is_refused_with_its_place(document: JSONObject, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        documents_to_wire(["fine", document])

    assert str(caught.value).startswith("documents[1] ")
    assert problem in str(caught.value)


@each("single", ["Text", Document("Text"), {"content": "Text"}])
def test_a_document_that_is_not_in_a_list_is_refused(single: str | Document | JSONObject) -> None:
    with pytest.raises(ConfigurationError, match="a list is needed"):
        documents_to_wire(single)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="should be a list of documents, not a int"):
        documents_to_wire(5)  # type: ignore[arg-type]


# --- AI21 to LangChain: whole answers --------------------------------------------------------

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
USAGE_METADATA = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}


def answer(*messages: JSONObject, **more: object) -> Completion:
    choices = [
        {"index": index, "message": message, "finish_reason": "stop"}
        for index, message in enumerate(messages)
    ]
    return {"id": "chat-1", "choices": choices, "usage": USAGE, **more}  # type: ignore[return-value,typeddict-item]


def read(**message: object) -> AIMessage:
    (generation,) = generations(answer(message), "jamba-mini")
    assert isinstance(generation.message, AIMessage)
    return generation.message


def test_an_answer_becomes_a_message() -> None:
    message = read(role="assistant", content="Hello", tool_calls=None)

    assert message.content == "Hello"
    assert message.id is None  # servers repeat ids; LangChain makes one up that is unique
    assert message.usage_metadata == USAGE_METADATA
    assert message.additional_kwargs == {}
    assert message.response_metadata == {
        "model_provider": "ai21",
        "model_name": "jamba-mini",
        "finish_reason": "stop",
        "id": "chat-1",
    }


@each("content", [None, ""])
def test_an_answer_without_text_has_an_empty_string(content: str | None) -> None:
    assert read(content=content).content == ""
    assert read().content == ""


def test_reasoning_is_kept_beside_the_text() -> None:
    message = read(content="4", reasoning_content="2 + 2")

    assert message.content == "4"
    assert message.additional_kwargs == {"reasoning_content": "2 + 2"}


def test_answers_come_in_the_order_of_their_index_and_count_their_usage_once() -> None:
    completion = answer({"content": "a"}, {"content": "b"}, {"content": "c"})
    for choice, index in zip(completion["choices"], (2, None, 1), strict=True):
        choice["index"] = index  # type: ignore[typeddict-item]

    found = [generation.message for generation in generations(completion, "jamba-mini")]

    assert [message.content for message in found] == ["b", "c", "a"]
    assert [getattr(message, "usage_metadata", 0) for message in found] == [
        USAGE_METADATA,
        None,
        None,
    ]


@each(("given_", "kept"), [(7, "7"), (None, None), ("", None), ("a", "a")])
def test_an_id_is_text_or_absent(given_: object, kept: str | None) -> None:
    (generation,) = generations(answer({"content": "Hi"}, id=given_), "jamba-mini")

    assert generation.message.response_metadata.get("id") == kept


def test_an_unknown_finish_reason_is_left_out() -> None:
    completion = answer({"content": "Hi"})
    completion["choices"][0]["finish_reason"] = None

    (generation,) = generations(completion, "jamba-mini")

    assert "finish_reason" not in generation.message.response_metadata


@each(
    ("usage", "expected"),
    [
        pytest.param(USAGE, (3, 4, 7), id="all"),
        pytest.param({**USAGE, "total_tokens": 9}, (3, 4, 9), id="the-servers-total"),
        pytest.param({"prompt_tokens": 3, "completion_tokens": 4}, (3, 4, 7), id="no-total"),
        pytest.param({"prompt_tokens": 3}, (3, 0, 3), id="only-prompt"),
        pytest.param({"completion_tokens": 4}, (0, 4, 4), id="only-completion"),
        pytest.param({**USAGE, "prompt_tokens": "3"}, (0, 4, 7), id="string"),
        pytest.param({**USAGE, "total_tokens": -1}, (3, 4, 7), id="negative-total"),
        pytest.param({**USAGE, "total_tokens": 7.5}, (3, 4, 7), id="fraction"),
        pytest.param({"prompt_tokens": 0, "completion_tokens": 0}, (0, 0, 0), id="zeros"),
        pytest.param({"prompt_tokens": True, "completion_tokens": False}, None, id="bools"),
        pytest.param({"prompt_tokens": -3, "completion_tokens": "x"}, None, id="no-counts"),
        pytest.param({"prompt_tokens": None, "completion_tokens": None}, None, id="nulls"),
        pytest.param({}, None, id="empty"),
        pytest.param(None, None, id="null"),
        pytest.param("many", None, id="words"),
        pytest.param([3, 4], None, id="list"),
    ],
)
def test_usage_is_read_where_it_is_counts(
    usage: object, expected: tuple[int, int, int] | None
) -> None:
    names = ("input_tokens", "output_tokens", "total_tokens")

    assert usage_metadata(usage) == (dict(zip(names, expected, strict=True)) if expected else None)


def call(arguments: object = "{}", **more: object) -> JSONObject:
    return {
        "id": "a",
        "type": "function",
        "function": {"name": "f", "arguments": arguments},
        **more,
    }


@each(
    ("arguments", "args"),
    [
        pytest.param('{"x": 1}', {"x": 1}, id="json"),
        pytest.param('{"x": "Zürich \\ud83d\\ude42"}', {"x": "Zürich 🙂"}, id="unicode"),
        pytest.param('{"x": "two\nlines"}', {"x": "two\nlines"}, id="raw-line-break"),
        pytest.param(" { } \n", {}, id="spaces"),
        pytest.param("", {}, id="empty"),
        pytest.param("  ", {}, id="blank"),
        pytest.param(None, {}, id="null"),
        pytest.param({"x": "ü"}, {"x": "ü"}, id="object"),
        pytest.param({}, {}, id="empty-object"),
    ],
)
def test_arguments_are_read_in_every_form(arguments: object, args: JSONObject) -> None:
    message = read(content="Let me look.", tool_calls=[call(arguments)])

    assert message.content == "Let me look."
    assert message.tool_calls == [tool_call(name="f", args=args, id="a")]
    assert message.invalid_tool_calls == []


@each(
    ("arguments", "kept", "problem"),
    [
        pytest.param('{"x": 1', '{"x": 1', "are not JSON", id="cut"),
        pytest.param("{'x': 1}", "{'x': 1}", "are not JSON", id="python"),
        pytest.param("[" * 100_000, "[" * 100_000, "are not JSON", id="too-deep"),
        pytest.param("[1]", "[1]", "are not a JSON object", id="list"),
        pytest.param("null", "null", "are not a JSON object", id="null-in-a-string"),
        pytest.param(5, "5", "are not a JSON object", id="number"),
        pytest.param([1], "[1]", "are not a JSON object", id="a-real-list"),
    ],
)
def test_broken_arguments_become_invalid_tool_calls(
    arguments: object, kept: str, problem: str
) -> None:
    message = read(tool_calls=[call(arguments), call()])

    (invalid,) = message.invalid_tool_calls
    assert (invalid["name"], invalid["args"], invalid["id"]) == ("f", kept, "a")
    assert problem in (invalid["error"] or "")
    assert [valid["name"] for valid in message.tool_calls] == ["f"]


def test_tool_calls_without_ids_get_one_each() -> None:
    message = read(tool_calls=[call(id=None), call(id=""), {"function": {"name": "f"}}])

    ids = {valid["id"] for valid in message.tool_calls}
    assert len(ids) == 3
    assert all(str(call_id).startswith("call_") for call_id in ids)


@each("function", [None, {}, {"name": None}])
def test_a_call_without_a_function_has_no_name(function: JSONObject | None) -> None:
    message = read(tool_calls=[{"id": 5, "function": function}])

    assert message.tool_calls == [tool_call(name="", args={}, id="5")]


def test_a_message_survives_the_way_there_and_back() -> None:
    message = read(content="Hi", tool_calls=[call('{"x": 1}')])

    assert to_wire([message]) == [
        {
            "role": "assistant",
            "content": "Hi",
            "tool_calls": [call_on_the_wire("a", "f", '{"x": 1}')],
        }
    ]


# --- AI21 to LangChain: streams --------------------------------------------------------------


def event(finish_reason: str | None = None, **delta: object) -> JSONObject:
    return {
        "id": "chat-1",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


def piece(index: int | None = None, call_id: str | None = None, **function: object) -> JSONObject:
    return {
        **({} if index is None else {"index": index}),
        **({} if call_id is None else {"id": call_id}),
        "function": function,
    }


def calls(*pieces: JSONObject) -> JSONObject:
    return event(tool_calls=list(pieces))


def chunks(*events: JSONObject) -> list[AIMessageChunk]:
    reader = ChunkReader("jamba-mini")
    made = [reader.read(cast(Completion, event)) for event in events]
    return [cast(AIMessageChunk, chunk.message) for chunk in [*filter(None, made), reader.last()]]


def total(*events: JSONObject) -> AIMessageChunk:
    return reduce(operator.add, chunks(*events))


def test_a_stream_is_its_text_and_then_what_is_known_of_the_answer() -> None:
    hello, world, last = chunks(
        event(role="assistant"),
        event(content="Hello"),
        event(content=" world"),
        {**event("stop", content=""), "usage": USAGE},
    )

    assert [hello.content, world.content, last.content] == ["Hello", " world", ""]
    assert {hello.id, world.id, last.id} == {None}
    assert hello.response_metadata == world.response_metadata == {"model_provider": "ai21"}
    assert (hello.usage_metadata, world.usage_metadata) == (None, None)
    assert (hello.chunk_position, world.chunk_position) == (None, None)
    assert last.response_metadata == {
        "model_provider": "ai21",
        "model_name": "jamba-mini",
        "finish_reason": "stop",
        "id": "chat-1",
    }
    assert last.usage_metadata == USAGE_METADATA
    assert last.chunk_position == "last"


@each(
    "events",
    [
        pytest.param(
            [event(content="Hi"), {**event("stop"), "usage": USAGE}], id="with-the-finish"
        ),
        pytest.param(
            [event(content="Hi"), event("stop"), {"choices": [], "usage": USAGE}], id="after-it"
        ),
        pytest.param(
            [{**event(role="assistant"), "usage": USAGE}, event(content="Hi"), event("stop")],
            id="with-the-first-event",
        ),
        pytest.param(
            [
                {**event(content="H"), "usage": {**USAGE, "completion_tokens": 1}},
                {**event(content="i"), "usage": USAGE},
                {**event("stop"), "usage": USAGE},
                {**event("stop"), "usage": {}},
                {"id": "chat-1", "choices": [], "usage": None},
            ],
            id="with-each-event",
        ),
        pytest.param(
            [event(content="Hi"), {**event("stop"), "usage": USAGE}, {"choices": [], "usage": "?"}],
            id="garbage-after-it",
        ),
    ],
)
def test_usage_and_metadata_count_once_whatever_the_server_repeats(
    events: list[JSONObject],
) -> None:
    message = total(*events)

    assert message.content == "Hi"
    assert message.usage_metadata == USAGE_METADATA
    assert message.response_metadata == {
        "model_provider": "ai21",
        "model_name": "jamba-mini",
        "finish_reason": "stop",
        "id": "chat-1",
    }


@each(
    "events",
    [
        pytest.param([event(content="4", reasoning_content="2 + 2"), event("stop")], id="at-once"),
        pytest.param(
            [
                event(reasoning_content="2 "),
                event(reasoning_content="+ 2"),
                event("stop", content="4"),
            ],
            id="in-pieces",
        ),
    ],
)
def test_reasoning_is_streamed_beside_the_text(events: list[JSONObject]) -> None:
    message = total(*events)

    assert message.content == "4"
    assert message.additional_kwargs == {"reasoning_content": "2 + 2"}


def test_an_answer_of_nothing_is_one_empty_chunk() -> None:
    (last,) = chunks()

    assert (last.content, last.id, last.usage_metadata) == ("", None, None)
    assert last.response_metadata == {"model_provider": "ai21", "model_name": "jamba-mini"}


def test_an_id_that_is_a_number_is_text() -> None:
    message = total({**event(content="Hi"), "id": 7}, {**event("stop"), "id": 7})

    assert message.response_metadata["id"] == "7"


NOW = tool_call(name="now", args={}, id="b")


@each(
    ("events", "expected"),
    [
        pytest.param(
            [
                calls(piece(0, "call-1", name="weather")),
                calls(piece(0, arguments='{"city": "Zü')),
                calls(piece(0, arguments='rich"}')),
            ],
            [WEATHER],
            id="name-first-then-arguments",
        ),
        pytest.param(
            [calls(piece(0, "call-1", name="weather", arguments='{"city": "Zürich"}'))],
            [WEATHER],
            id="all-at-once",
        ),
        pytest.param(
            [calls(piece(0, "call-1", name="weather", arguments={"city": "Zürich"}))],
            [WEATHER],
            id="arguments-as-an-object",
        ),
        pytest.param(
            [
                calls(piece(0, "call-1", name="weather", arguments='{"city": ')),
                calls(piece(0, "call-1", name="weather", arguments='"Zürich"}')),
            ],
            [WEATHER],
            id="id-and-name-repeated",
        ),
        pytest.param(
            [
                calls(piece(None, "call-1", name="weather", arguments='{"city": ')),
                calls(piece(None, arguments='"Zürich"}')),
                calls(piece(None, "b", name="now")),
                calls(piece(None, arguments="{}")),
            ],
            [WEATHER, NOW],
            id="no-index",
        ),
        pytest.param(
            [
                calls(piece(0, "call-1", name="weather", arguments='{"city": "Zürich"}')),
                calls(piece(0, "b", name="now", arguments="")),
                calls(piece(0, arguments="{}")),
            ],
            [WEATHER, NOW],
            id="every-call-numbered-0",
        ),
        pytest.param(
            [
                calls(piece(0, "call-1", name="weather")),
                calls(piece(0, "made-up-1", arguments='{"city": ')),
                calls(piece(0, "made-up-2", arguments='"Zürich"}')),
            ],
            [WEATHER],
            id="another-id-in-each-delta",
        ),
        pytest.param(
            [
                calls(piece(0, "call-1", name="weather"), piece(1, "b", name="now")),
                calls(piece(1, arguments="{"), piece(0, arguments='{"city":')),
                calls(piece(0, arguments=' "Zürich"}')),
                calls(piece(1, arguments="}")),
            ],
            [WEATHER, NOW],
            id="interleaved",
        ),
        pytest.param(
            [calls(piece(3, "b", name="now")), calls(piece(3, arguments=None))],
            [NOW],
            id="no-arguments",
        ),
        pytest.param(
            [calls({"index": 0, "id": "b", "function": None}), calls(piece(0, name="now"))],
            [NOW],
            id="name-after-the-id",
        ),
    ],
)
def test_pieces_of_calls_are_put_together(
    events: list[JSONObject], expected: list[ToolCall]
) -> None:
    message = total(*events, event("tool_calls", content=""))

    assert message.tool_calls == expected
    assert message.invalid_tool_calls == []


def test_text_beside_a_call_is_kept() -> None:
    message = total(
        event(content="Let me look.", tool_calls=[piece(0, "b", name="now")]),
        event(content=None, tool_calls=[]),
    )

    assert message.content == "Let me look."
    assert message.tool_calls == [NOW]


def test_the_first_piece_of_a_call_has_its_id_and_name_and_the_others_have_not() -> None:
    first, second, _ = chunks(
        calls(piece(5, "call-1", name="weather")),
        calls(piece(5, "call-1", name="weather", arguments="{}")),
    )

    assert [dict(chunk) for chunk in first.tool_call_chunks + second.tool_call_chunks] == [
        {"name": "weather", "args": "", "id": "call-1", "index": 0, "type": "tool_call_chunk"},
        {"name": None, "args": "{}", "id": None, "index": 0, "type": "tool_call_chunk"},
    ]


def test_a_streamed_call_without_an_id_gets_one() -> None:
    message = total(calls(piece(0, name="now")), calls(piece(0, "late", arguments="{}")))

    (made,) = message.tool_calls
    assert (made["name"], made["args"]) == ("now", {})
    assert str(made["id"]).startswith("call_")


@each("arguments", ["nonsense", "[1]", "null"])
def test_broken_arguments_in_a_stream_become_invalid_tool_calls(arguments: str) -> None:
    message = total(calls(piece(0, "b", name="now")), calls(piece(0, arguments=arguments)))

    (invalid,) = message.invalid_tool_calls
    assert (invalid["name"], invalid["args"], invalid["id"]) == ("now", arguments, "b")
    assert message.tool_calls == []


def test_a_streamed_call_that_was_cut_off_is_invalid_wherever_the_cut_is() -> None:
    whole = json.dumps({"path": "/a\\b\n", 'k"]}': [1, {"x": [[], None]}, "é"], "": {}})
    first = calls(piece(0, "a", name="read", arguments="{}"), piece(1, "b", name="rm"))
    for cut in [*(whole[:at] for at in range(len(whole))), 'not "even JSON']:
        message = total(first, calls(piece(1, arguments=cut)), event("length"))
        (invalid,) = message.invalid_tool_calls
        assert [call["name"] for call in message.tool_calls] == ["read"], cut
        assert str(invalid["args"]).startswith(cut)
    message = total(first, calls(piece(1, arguments=whole)), event("length"))
    assert [call["name"] for call in message.tool_calls] == ["read", "rm"]


@given(
    st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=5), max_size=2), max_size=3),
    st.integers(min_value=1, max_value=5),
)
def test_calls_in_pieces_of_any_size_are_those_of_the_whole_answer(
    arguments: list[dict[str, str]], size: int
) -> None:
    texts = [json.dumps(args, ensure_ascii=False) for args in arguments]
    whole = [
        {"id": f"call-{number}", "function": {"name": "f", "arguments": text}}
        for number, text in enumerate(texts)
    ]
    pieces = [calls(piece(number, f"call-{number}", name="f")) for number in range(len(texts))]
    for at in range(0, max(map(len, texts), default=0), size):
        pieces += [
            calls(piece(number, arguments=text[at : at + size]))
            for number, text in enumerate(texts)
            if text[at : at + size]
        ]

    assert total(*pieces).tool_calls == read(tool_calls=whole).tool_calls
