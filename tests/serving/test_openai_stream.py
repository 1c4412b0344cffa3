"""AI21's events as OpenAI's chunks, checked by the types of OpenAI's own package."""

import json
import timeit
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from openai.types.chat import ChatCompletionChunk

from ai21_chains import GroundedAnswer, verify_quote
from ai21_chains._protocol import as_event
from ai21_chains._wire import Completion, JSONObject
from ai21_chains.citations import Citation
from ai21_chains.errors import StreamInterruptedError, StructuredOutputError
from ai21_chains.serving._openai import read_chat, read_text
from ai21_chains.serving._openai_description import openapi_components
from ai21_chains.serving._openai_schema import first_problem
from ai21_chains.serving._openai_stream import DONE, ChunkWriter, TextChunkWriter, failure
from tests.cases import each

USER = {"role": "user", "content": "Hi"}
USAGE = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
CHUNK = {"components": openapi_components(), "$ref": "#/components/schemas/ChatCompletionChunk"}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
STRICT = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}


def writer(**body: Any) -> ChunkWriter:
    whole = {"model": 'my "content":"" model', "messages": [USER], "stream": True, **body}
    return ChunkWriter(read_chat(json.dumps(whole).encode()), created=7)


def event(delta: JSONObject, reason: str | None = None, index: int = 0, **more: Any) -> Completion:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
    return {"id": "chatcmpl-1", "choices": [choice], **more}  # type: ignore[typeddict-item]


def said(*texts: str) -> list[Completion]:
    """Return the events with which AI21 says a text."""
    return [
        event({"role": "assistant"}),
        *(event({"content": text}) for text in texts),
        event({"content": ""}, "stop", usage=USAGE),
    ]


def values(data: bytes) -> list[JSONObject]:
    """Return the JSON of each event; what else there may be is `[DONE]`, at the end."""
    events = data.decode().removesuffix(DONE.decode()).split("\n\n")
    assert events.pop() == ""
    assert all(one.startswith("data: ") and "\n" not in one for one in events)
    return [json.loads(one.removeprefix("data: ")) for one in events]


def chunks(events: Sequence[Completion], **body: Any) -> list[JSONObject]:
    """Write a whole stream, check each chunk, and return them."""
    out = writer(**body)
    data = b"".join(map(out.feed, events)) + out.close()
    assert data.endswith(DONE)
    found = values(data)
    for chunk in found:
        assert first_problem(chunk, CHUNK) == ""
        ChatCompletionChunk.model_validate(chunk, strict=True)
        assert all(choice.keys() >= {"logprobs", "finish_reason"} for choice in chunk["choices"])
    return found


def deltas(found: Sequence[JSONObject]) -> list[JSONObject]:
    return [chunk["choices"][0]["delta"] for chunk in found if chunk["choices"]]


# --- Text ------------------------------------------------------------------------------------


def test_a_stream_is_role_then_text_then_finish_reason() -> None:
    found = chunks(said("Hel", "lo \n“é”"))

    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7}
    assert found == [
        {
            **head,
            "model": 'my "content":"" model',
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}],
        }
        for delta, reason in [
            ({"role": "assistant", "content": ""}, None),
            ({"content": "Hel"}, None),
            ({"content": "lo \n“é”"}, None),
            ({}, "stop"),
        ]
    ]


def test_the_usage_comes_last_and_only_when_asked_for() -> None:
    found = chunks(said("Hi"), stream_options={"include_usage": True})

    assert (found[-1]["choices"], found[-1]["usage"]) == ([], USAGE)
    assert all(chunk["usage"] is None for chunk in found[:-1])
    assert all("usage" not in chunk for chunk in chunks(said("Hi")))


def test_a_server_that_counts_nothing_has_no_usage_chunk() -> None:
    found = chunks(said("Hi")[:-1], stream_options={"include_usage": True})

    assert all(chunk["choices"] for chunk in found)


def test_the_writer_knows_the_usage_for_the_bill() -> None:
    out = writer()
    for one in said("Hi"):
        out.feed(one)

    assert out.usage == USAGE


def test_text_in_the_first_event_and_in_the_last_is_kept() -> None:
    events = [event({"role": "assistant", "content": "a"}), event({"content": "b"}, "length")]

    found = chunks(events)

    assert deltas(found) == [{"role": "assistant", "content": "a"}, {"content": "b"}, {}]
    assert found[-1]["choices"][0]["finish_reason"] == "length"


def test_a_stream_without_events_is_an_empty_answer() -> None:
    found = chunks([])

    assert deltas(found) == [{"role": "assistant", "content": ""}, {}]
    assert found[0]["id"] == found[1]["id"]


def test_several_answers_have_a_finish_reason_each() -> None:
    whole: Completion = {
        "id": "x",
        "choices": [
            {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"},
            {"index": 1, "message": {"content": "b"}, "finish_reason": "length"},
        ],
        "usage": USAGE,  # type: ignore[typeddict-item]
    }

    found = chunks([as_event(whole)], n=2)

    told = [chunk["choices"][0] for chunk in found]
    assert [(choice["index"], choice["finish_reason"]) for choice in told] == [
        (0, None),
        (1, None),
        (0, "stop"),
        (1, "length"),
    ]
    assert [choice["delta"].get("content") for choice in told[:2]] == ["a", "b"]


def test_interleaved_answers_keep_their_index() -> None:
    events = [event({"content": text}, index=at) for text, at in [("a", 0), ("b", 1), ("c", 0)]]

    found = chunks(events, n=2)

    assert [chunk["choices"][0]["index"] for chunk in found] == [0, 1, 0, 0, 1]


def test_reasoning_is_passed_on() -> None:
    assert {"reasoning_content": "hm"} in deltas(
        chunks([*said("")[:1], event({"reasoning_content": "hm"})])
    )


# --- Tools -----------------------------------------------------------------------------------


def call(**piece: Any) -> Completion:
    return event({"tool_calls": [piece]})


CALLS = [
    event({"role": "assistant"}),
    call(index=0, id="c1", type="function", function={"name": "add"}),
    call(index=0, function={"arguments": '{"a"'}),
    call(index=0, function={"arguments": ": 1}"}),
    call(index=1, id="c2", type="function", function={"name": "now", "arguments": "{}"}),
    event({"content": ""}, "stop"),
]


def test_tool_calls_stream_in_pieces() -> None:
    found = chunks(CALLS)

    assert [delta.get("tool_calls") for delta in deltas(found)[1:-1]] == [
        [
            {
                "index": 0,
                "id": "c1",
                "type": "function",
                "function": {"name": "add", "arguments": ""},
            }
        ],
        [{"index": 0, "function": {"arguments": '{"a"'}}],
        [{"index": 0, "function": {"arguments": ": 1}"}}],
        [
            {
                "index": 1,
                "id": "c2",
                "type": "function",
                "function": {"name": "now", "arguments": "{}"},
            }
        ],
    ]
    assert found[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_where_tools_may_be_called_there_is_no_empty_text() -> None:
    tools = [{"type": "function", "function": {"name": "now"}}]

    for events in (CALLS, CALLS[4:], []):
        assert deltas(chunks(events, tools=tools))[0]["content"] is None
    assert deltas(chunks(said("a"), tools=tools))[1] == {"content": "a"}


def test_a_client_that_gave_functions_gets_a_function_call() -> None:
    found = chunks(CALLS, functions=[{"name": "add"}])

    assert [delta["function_call"] for delta in deltas(found)[1:-1]] == [
        {"name": "add", "arguments": ""},
        {"arguments": '{"a"'},
        {"arguments": ": 1}"},
    ]
    assert found[-1]["choices"][0]["finish_reason"] == "function_call"


# --- Held to a schema ------------------------------------------------------------------------


def test_a_stream_that_fits_its_schema_ends_as_any() -> None:
    found = chunks(said('{"n"', ": 1}"), response_format=STRICT)

    assert [delta.get("content") for delta in deltas(found)] == ["", '{"n"', ": 1}", None]


@each("text", ["no", '{"n": "1"}', '```\n{"n": 1}\n```'])
def test_a_stream_that_breaks_its_schema_is_not_finished(text: str) -> None:
    out = writer(response_format=STRICT)
    for one in said(text):
        assert b'"finish_reason":"stop"' not in out.feed(one)

    with pytest.raises(StructuredOutputError):
        out.close()


# --- Chains ----------------------------------------------------------------------------------


def test_a_grounded_answer_has_its_citations_in_the_last_chunk() -> None:
    document = Document("Thirty days' notice is due.", metadata={"source": "a.txt"})
    citation = verify_quote("Thirty days' notice", [document])
    assert isinstance(citation, Citation)
    answer = GroundedAnswer(
        answer="Thirty days [1].",
        status="truncated",
        citations=[citation],
        usage={"input_tokens": 2, "output_tokens": 3, "total_tokens": 5},
    )
    out = writer(stream_options={"include_usage": True})

    found = values(out.feed_text("Thirty days") + out.feed_text(" [1].") + out.close(answer))

    assert [delta.get("content") for delta in deltas(found)] == ["Thirty days", " [1].", None]
    last = found[-2]["choices"][0]
    ChatCompletionChunk.model_validate(found[-2], strict=True)
    assert last["finish_reason"] == "length"
    assert last["delta"]["citations"][0]["quote"] == "Thirty days' notice"
    assert last["delta"]["annotations"][0]["url_citation"]["url"] == "file:a.txt"
    assert last["delta"]["grounding"]["status"] == "truncated"
    assert found[-1]["usage"] == USAGE


# --- Failures and cost -----------------------------------------------------------------------


def test_a_failure_is_an_event_with_openais_error_and_nothing_follows_it() -> None:
    found = values(failure(StreamInterruptedError("cut", detail="out of memory")))

    assert found[0]["error"].keys() == {"message", "type", "param", "code"}
    assert "out of memory" in found[0]["error"]["message"]


def test_a_piece_of_text_is_cheap() -> None:
    out = writer()
    out.feed(event({"role": "assistant"}))
    piece = event({"content": " token"})

    # 1 µs on the machine that this was written on; the bar is that of a loaded one.
    assert min(timeit.repeat(lambda: out.feed(piece), number=200, repeat=5)) / 200 < 20e-6


# --- Text completions ------------------------------------------------------------------------


def text_writer(**body: Any) -> TextChunkWriter:
    whole = {"model": "m", "prompt": ["One", "Two"], "stream": True, **body}
    return TextChunkWriter(read_text(json.dumps(whole).encode()), created=7)


def test_a_text_stream_has_text_and_a_finish_reason_for_each_prompt() -> None:
    out = text_writer(stream_options={"include_usage": True})
    data = b"".join(out.feed(one, prompt) for prompt in (0, 1) for one in said("a", "b"))

    found = values(data + out.close())

    told = [chunk["choices"][0] for chunk in found[:-1]]
    assert [(choice["index"], choice["text"], choice["finish_reason"]) for choice in told] == [
        (0, "a", None),
        (0, "b", None),
        (1, "a", None),
        (1, "b", None),
        (0, "", "stop"),
        (1, "", "stop"),
    ]
    assert {chunk["object"] for chunk in found} == {"text_completion"}
    assert (found[-1]["choices"], found[-1]["usage"]["total_tokens"]) == ([], 10)


def test_an_echo_is_the_first_piece_of_text() -> None:
    out = text_writer(echo=True)

    found = values(b"".join(out.feed(one, 1) for one in said("a")))

    assert [chunk["choices"][0]["text"] for chunk in found] == ["Two", "a"]


def test_a_text_stream_without_usage_ends_with_the_finish_reason() -> None:
    out = text_writer()
    for one in said("a")[:-1]:
        out.feed(one)

    assert [chunk["choices"][0]["finish_reason"] for chunk in values(out.close())] == ["stop"]
    assert out.usage is None


# --- Anything at all -------------------------------------------------------------------------

PIECES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=6)


@settings(max_examples=60, deadline=None)
@given(PIECES, st.sampled_from([{}, {"response_format": {"type": "json_object"}}]))
def test_the_pieces_of_a_stream_are_the_text(pieces: list[str], body: JSONObject) -> None:
    found = chunks(said(*pieces), **body)

    assert "".join(delta.get("content") or "" for delta in deltas(found)) == "".join(pieces)


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(exclude_categories=[]), min_size=1))
def test_half_a_surrogate_pair_does_not_break_a_stream(text: str) -> None:
    assert len(chunks(said(text))) == 3
