"""Content blocks: LangChain's three ways to stream tell the same story of an answer."""

import operator
from collections.abc import Iterator
from functools import reduce
from typing import Any, cast

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream

from ai21_chains import _content_blocks as _content_blocks  # registers the translator
from ai21_chains._messages import ChunkReader, generations, to_wire
from ai21_chains._wire import Completion, JSONObject
from tests.cases import each

CITATION = {"type": "citation", "title": "a.md", "cited_text": "sunny", "start_index": 0}
CLOSING = {"model_provider": "ai21"}


class Player(BaseChatModel):
    """Streams the events that it is given, as `ChatAI21` does."""

    events: list[JSONObject]

    @property
    def _llm_type(self) -> str:
        return "player"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> ChatResult:
        raise NotImplementedError

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> Iterator[ChatGenerationChunk]:
        reader = ChunkReader("jamba-mini")
        for event in self.events:
            chunk = reader.read(cast(Completion, event))
            if chunk is not None:
                yield chunk
        yield reader.last()


def event(**delta: object) -> JSONObject:
    return {"id": "chat-1", "choices": [{"index": 0, "delta": delta}]}


def call(index: int, call_id: str | None = None, **function: str) -> JSONObject:
    return {"index": index, "id": call_id, "function": function}


FINISH = {
    "id": "chat-1",
    "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
}

ANSWERS = [
    pytest.param([event(content="Hel"), event(content="lo")], [("text", "Hello")], id="text"),
    pytest.param(
        [event(reasoning_content="2 +"), event(reasoning_content=" 2"), event(content="4")],
        [("reasoning", "2 + 2"), ("text", "4")],
        id="reasoning-and-text",
    ),
    pytest.param(
        [event(tool_calls=[call(0, "a", name="f", arguments='{"x": 1}')])],
        [("tool_call", {"x": 1})],
        id="call",
    ),
    pytest.param(
        [
            event(content="Let me ", tool_calls=[call(0, "a", name="f")]),
            event(content="look.", tool_calls=[call(0, arguments='{"x": 1}')]),
        ],
        [("text", "Let me look."), ("tool_call", {"x": 1})],
        id="text-and-call-in-one-chunk",
    ),
    pytest.param(
        [
            event(role="assistant"),
            event(reasoning_content="Two calls."),
            event(content="Let me look."),
            event(tool_calls=[call(0, "a", name="f"), call(1, "b", name="g")]),
            event(tool_calls=[call(1, arguments='{"y":')]),
            event(tool_calls=[call(0, arguments='{"x": 1}')]),
            event(tool_calls=[call(1, arguments=" 2}")]),
        ],
        [
            ("reasoning", "Two calls."),
            ("text", "Let me look."),
            ("tool_call", {"x": 1}),
            ("tool_call", {"y": 2}),
        ],
        id="reasoning-text-and-two-calls",
    ),
    pytest.param(
        [event(tool_calls=[call(0, "a", name="f"), call(1, "b", name="g", arguments="oops")])],
        [("tool_call", {}), ("invalid_tool_call", "oops")],
        id="broken-arguments",
    ),
]


in_beta = pytest.mark.filterwarnings(
    "ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"
)


def told(blocks: list[Any]) -> list[tuple[str, object]]:
    """Each block's type, and what it says."""
    keys = {"tool_call": "args", "invalid_tool_call": "args", "tool_call_chunk": "args"}
    return [(block["type"], block[keys.get(block["type"], block["type"])]) for block in blocks]


def streamed(events: list[JSONObject], **options: str) -> AIMessageChunk:
    chunks = Player(events=[*events, FINISH], **options).stream("Hi")
    return cast(AIMessageChunk, reduce(operator.add, chunks))


@each(("events", "story"), ANSWERS)
def test_the_sum_of_a_stream_tells_the_story(
    events: list[JSONObject], story: list[tuple[str, object]]
) -> None:
    message = streamed(events)

    assert isinstance(message.content, str)
    assert told(message.content_blocks) == story


@each(("events", "story"), ANSWERS)
def test_output_version_v1_tells_it_in_the_content(
    events: list[JSONObject], story: list[tuple[str, object]]
) -> None:
    message = streamed(events, output_version="v1")

    # LangChain leaves a call with broken arguments as the piece that it was.
    expected = [("tool_call_chunk" if kind[0] == "i" else kind, said) for kind, said in story]
    assert message.content == message.content_blocks
    assert told(message.content_blocks) == expected


@in_beta
@each(("events", "story"), ANSWERS)
def test_version_3_of_the_events_tells_it_and_keeps_the_protocol(
    events: list[JSONObject], story: list[tuple[str, object]]
) -> None:
    model = Player(events=[*events, FINISH])

    assert_valid_event_stream(list(model.stream_events("Hi", version="v3")))
    output = model.stream_events("Hi", version="v3").output
    assert told(output.content_blocks) == story
    assert output.usage_metadata == {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    assert output.response_metadata["finish_reason"] == "stop"


@in_beta
@each(("events", "story"), ANSWERS)
async def test_it_is_the_same_story_in_async_code(
    events: list[JSONObject], story: list[tuple[str, object]]
) -> None:
    model = Player(events=[*events, FINISH])
    stream = await model.astream_events("Hi", version="v3")

    assert_valid_event_stream([event async for event in stream])
    assert told((await stream.output).content_blocks) == story


@in_beta
def test_a_call_that_was_cut_off_is_one_invalid_call_in_each_of_the_ways() -> None:
    cut = [event(tool_calls=[call(0, "a", name="rm", arguments='{"path": "/ho')])]
    cut[0]["choices"][0]["finish_reason"] = "length"
    model = Player(events=cut)
    whole = reduce(operator.add, model.stream("Hi"))
    parts = reduce(operator.add, Player(events=cut, output_version="v1").stream("Hi"))
    events = list(model.stream_events("Hi", version="v3"))
    output = model.stream_events("Hi", version="v3").output

    assert_valid_event_stream(events)
    assert told(whole.content_blocks) == [("invalid_tool_call", '{"path": "/ho"]')]
    assert told(parts.content_blocks) == [("tool_call_chunk", '{"path": "/ho"]')]
    assert told(output.content_blocks) == [("invalid_tool_call", '{"path": "/ho"]')]
    assert [*whole.tool_calls, *parts.tool_calls, *output.tool_calls] == []


def test_the_pieces_of_a_stream_have_blocks_of_their_own() -> None:
    reader = ChunkReader("jamba-mini")
    chunk = reader.read(
        cast(
            Completion,
            event(reasoning_content="Hm", content="Hi", tool_calls=[call(7, "a", name="f")]),
        )
    )

    assert chunk is not None
    assert chunk.message.content_blocks == [
        {"type": "reasoning", "reasoning": "Hm", "index": "lc_rs_0"},
        {"type": "text", "text": "Hi", "index": "lc_txt_0"},
        {
            "type": "tool_call_chunk",
            "id": "a",
            "name": "f",
            "args": "",
            "index": "lc_tc_0",
        },
    ]


def test_a_whole_answer_tells_the_same_as_its_stream() -> None:
    message = {
        "reasoning_content": "Hm",
        "content": "Let me look.",
        "tool_calls": [
            {"id": "a", "function": {"name": "f", "arguments": '{"x": 1}'}},
            {"id": "b", "function": {"name": "g", "arguments": "oops"}},
        ],
    }
    completion = cast(Completion, {"choices": [{"index": 0, "message": message}]})

    (generation,) = generations(completion, "jamba-mini")

    assert told(generation.message.content_blocks) == [
        ("reasoning", "Hm"),
        ("text", "Let me look."),
        ("tool_call", {"x": 1}),
        ("invalid_tool_call", "oops"),
    ]


@each("options", [{}, {"output_version": "v1"}])
@each(("events", "story"), ANSWERS)
def test_what_was_streamed_can_be_sent_back(
    events: list[JSONObject], story: list[tuple[str, object]], options: dict[str, str]
) -> None:
    (wire,) = to_wire([streamed(events, **options)])

    assert wire["content"] == "".join(str(said) for kind, said in story if kind == "text")
    assert len(wire.get("tool_calls", [])) == sum("call" in kind for kind, _ in story)


# --- Citations -------------------------------------------------------------------------------


def test_citations_become_annotations_of_the_text() -> None:
    message = AIMessage(
        "It is sunny.", additional_kwargs={"citations": [CITATION]}, response_metadata=CLOSING
    )

    assert message.content_blocks == [
        {"type": "text", "text": "It is sunny.", "annotations": [CITATION]}
    ]
    assert message.additional_kwargs == {"citations": [CITATION]}


def test_citations_are_added_to_annotations_that_are_there() -> None:
    text = {"type": "text", "text": "It is sunny.", "annotations": [{"type": "other"}]}
    message = AIMessage(
        [text], additional_kwargs={"citations": [CITATION]}, response_metadata=CLOSING
    )

    assert message.content_blocks[0].get("annotations") == [{"type": "other"}, CITATION]
    assert text["annotations"] == [{"type": "other"}]


def test_citations_after_the_text_of_a_stream_belong_to_it() -> None:
    chunks = [
        AIMessageChunk(content="It is sunny.", response_metadata=CLOSING),
        AIMessageChunk(
            content="", additional_kwargs={"citations": [CITATION]}, response_metadata=CLOSING
        ),
    ]
    in_v1 = [chunk.model_copy(update={"content": chunk.content_blocks}) for chunk in chunks]
    expected = {
        "type": "text",
        "text": "It is sunny.",
        "annotations": [CITATION],
        "index": "lc_txt_0",
    }

    assert (chunks[0] + chunks[1]).content_blocks == [expected]
    assert (in_v1[0] + in_v1[1]).content == [expected]


# --- Contents that are lists -----------------------------------------------------------------


@each(
    ("content", "blocks"),
    [
        pytest.param("", [], id="empty"),
        pytest.param(["", "Hi"], [{"type": "text", "text": "Hi"}], id="strings"),
        pytest.param(
            [{"type": "text", "text": "Hi", "index": 3}],
            [{"type": "text", "text": "Hi", "index": 3}],
            id="text",
        ),
        pytest.param(
            [{"type": "reasoning", "reasoning": "Hm"}],
            [{"type": "reasoning", "reasoning": "Hm"}],
            id="reasoning",
        ),
        pytest.param(
            [{"type": "thinking", "thinking": "Hm"}, {"x": 1}],
            [
                {"type": "non_standard", "value": {"type": "thinking", "thinking": "Hm"}},
                {"type": "non_standard", "value": {"x": 1}},
            ],
            id="unknown",
        ),
        pytest.param(
            [{"type": "tool_call", "id": "a", "name": "f", "args": {}}], [], id="calls-stand-beside"
        ),
    ],
)
def test_contents_that_are_lists_are_read_too(
    content: str | list[str | JSONObject], blocks: list[JSONObject]
) -> None:
    assert AIMessage(content, response_metadata=CLOSING).content_blocks == blocks


def test_calls_stand_after_the_content() -> None:
    message = AIMessage(
        "Hi",
        tool_calls=[tool_call(name="f", args={}, id="a")],
        invalid_tool_calls=[invalid_tool_call(name="g", args="oops", id="b", error="cut")],
        response_metadata=CLOSING,
    )

    assert message.content_blocks == [
        {"type": "text", "text": "Hi"},
        {"type": "tool_call", "name": "f", "args": {}, "id": "a"},
        {"type": "invalid_tool_call", "name": "g", "args": "oops", "id": "b", "error": "cut"},
    ]


def test_only_text_and_reasoning_of_a_chunk_get_an_index() -> None:
    content = [{"type": "text", "text": "Hi"}, {"type": "thinking", "thinking": "Hm"}]
    chunk = AIMessageChunk(content=content, response_metadata=CLOSING)

    assert [block.get("index") for block in chunk.content_blocks] == ["lc_txt_0", None]
