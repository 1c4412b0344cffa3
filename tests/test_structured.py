"""Structured output: each method, each kind of schema, each way to call, and what goes wrong."""

import json
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import reduce
from itertools import repeat
from operator import add
from typing import Any, TypeAlias

import httpx
import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_core.outputs import ChatGeneration
from langchain_core.runnables import Runnable
from pydantic import BaseModel, field_validator, model_validator
from pydantic.v1 import BaseModel as BaseModelV1
from typing_extensions import TypedDict

from ai21_chains import ChatAI21
from ai21_chains._structured import StructuredOutputParser
from ai21_chains._wire import JSONObject
from ai21_chains.errors import ConfigurationError, StructuredOutputError
from tests.cases import each


class Trip(BaseModel):
    """A trip."""

    city: str
    days: int


class TripV1(BaseModelV1):
    """A trip."""

    city: str
    days: int


class TripDict(TypedDict):
    """A trip."""

    city: str
    days: int


TRIP_SCHEMA: JSONObject = {
    "title": "trip",
    "description": "A trip.",
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}

BONN = {"city": "Bonn", "days": 3}


def parser(**options: Any) -> StructuredOutputParser:
    return StructuredOutputParser(**options)


def parsed(message: AIMessage | str, **options: Any) -> Any:
    said = AIMessage(message) if isinstance(message, str) else message
    return parser(**options).parse_result([ChatGeneration(message=said)])


def problem(message: AIMessage | str, **options: Any) -> StructuredOutputError:
    with pytest.raises(StructuredOutputError) as caught:
        parsed(message, **options)
    assert "\n" not in str(caught.value)
    return caught.value


# --- JSON in a text --------------------------------------------------------------------------


@each(
    "text",
    [
        pytest.param('{"city": "Bonn", "days": 3}', id="bare"),
        pytest.param(' \n{"city":"Bonn","days":3}\n', id="spaces"),
        pytest.param('```json\n{"city": "Bonn", "days": 3}\n```', id="fence"),
        pytest.param('```\n{"city": "Bonn", "days": 3}\n```', id="fence-without-a-name"),
        pytest.param('```JSON {"city": "Bonn", "days": 3}', id="fence-left-open"),
        pytest.param('Here you are: {"city": "Bonn", "days": 3}', id="prose-before"),
        pytest.param('{"city": "Bonn", "days": 3}\n\nEnjoy {it}!', id="prose-after"),
        pytest.param('As [1] says [see below]: {"city": "Bonn", "days": 3}', id="brackets-before"),
        pytest.param(
            'For {you}:\n```json\n{"city": "Bonn", "days": 3}\n```\nEnjoy!', id="prose-around-fence"
        ),
    ],
)
def test_json_is_found_whatever_is_around_it(text: str) -> None:
    assert parsed(text) == BONN
    assert parsed(text, target=Trip) == Trip(**BONN)
    assert parser(target=Trip).parse(text) == Trip(**BONN)


def test_json_may_hold_fences_and_raw_line_breaks() -> None:
    assert parsed('{"code": "```\nx = {}\n```"}') == {"code": "```\nx = {}\n```"}


@each(
    ("text", "what"),
    [
        pytest.param("I would rather not.", "is not JSON", id="refusal"),
        pytest.param("", "is not JSON", id="empty"),
        pytest.param('{"city": "Bonn", "days": 3', "is not JSON", id="never-closed"),
        pytest.param('{"city": "Bo', "is not JSON", id="cut-in-a-string"),
        pytest.param("{'city': 'Bonn'}", "is not JSON", id="python"),
        pytest.param("[" * 100_000, "is not JSON", id="too-deep"),
        pytest.param('[{"city": "Bonn", "days": 3}]', "is not a JSON object", id="list"),
        pytest.param("3", "is not JSON", id="number"),
    ],
)
def test_what_is_no_json_object_is_an_error_with_the_models_words(text: str, what: str) -> None:
    error = problem(text)

    assert str(error).startswith(f"The answer {what}. The model said")
    assert error.llm_output == text


def test_an_answer_of_nothing_says_so() -> None:
    assert str(problem("")) == "The answer is not JSON. The model said nothing"


# --- Tool calls ------------------------------------------------------------------------------


def calling(*calls: tuple[str, JSONObject], text: str = "") -> AIMessage:
    return AIMessage(
        text, tool_calls=[tool_call(name=name, args=args, id=name) for name, args in calls]
    )


def test_the_first_call_of_the_tool_counts() -> None:
    message = calling(("other", {}), ("trip", BONN), ("trip", {}), text='{"city": "Rome"}')

    assert parsed(message, tool_name="trip") == BONN


@each(
    ("message", "words"),
    [
        pytest.param(
            AIMessage("I cannot."),
            "The answer does not call trip. The model said: I cannot.",
            id="refusal",
        ),
        pytest.param(
            calling(("other", {"x": 1})),
            "The answer does not call trip. The model said: {'x': 1}",
            id="another-tool",
        ),
        pytest.param(
            AIMessage(
                "",
                invalid_tool_calls=[
                    invalid_tool_call(name="trip", args='{"ci', id="a", error="not JSON")
                ],
            ),
            'The answer holds a broken tool call: not JSON. The model said: {"ci',
            id="broken-arguments",
        ),
        pytest.param(
            AIMessage(
                "",
                invalid_tool_calls=[invalid_tool_call(name="trip", args="[1]", id="a", error=None)],
            ),
            "The answer holds a broken tool call. The model said: [1]",
            id="broken-without-a-reason",
        ),
    ],
)
def test_an_answer_without_the_call_is_an_error(message: AIMessage, words: str) -> None:
    assert str(problem(message, tool_name="trip")) == words


def test_a_model_that_may_call_tools_has_not_answered_yet() -> None:
    message = calling(("look_up", {}), text="Let me look.")

    assert parsed(message, may_call_tools=True) is None
    assert parsed('{"city": "Bonn"}', may_call_tools=True) == {"city": "Bonn"}
    assert str(problem(message)).startswith("The answer is not JSON")


@each("options", [{}, {"tool_name": "trip"}, {"may_call_tools": True}])
def test_an_answer_that_was_cut_off_is_an_error_even_if_it_can_be_read(
    options: JSONObject,
) -> None:
    message = calling(("trip", BONN), text=json.dumps(BONN))
    message.response_metadata["finish_reason"] = "length"

    assert str(problem(message, **options)).startswith("The answer was cut off at max_tokens.")


# --- Schemas ---------------------------------------------------------------------------------


class Strange(BaseModel):
    """Refuses everything."""

    @model_validator(mode="after")
    def refuse(self) -> "Strange":
        raise ValueError("I refuse\neverything")


class Stranger(BaseModel):
    """Raises an error that is not pydantic's."""

    @classmethod
    def model_validate(cls, obj: object, **_: object) -> "Stranger":  # type: ignore[override]
        raise ValueError("not today")


@each(
    ("target", "value", "words"),
    [
        pytest.param(Trip, {"city": "Bonn"}, "Trip: days: Field required", id="missing"),
        pytest.param(
            Trip, {"city": "Bonn", "days": "x"}, "Trip: days: Input should be a valid", id="type"
        ),
        pytest.param(TripV1, {"city": "Bonn"}, "TripV1: days: field required", id="v1-missing"),
        pytest.param(Strange, {}, "Strange: Value error, I refuse everything.", id="whole"),
        pytest.param(Stranger, {}, "Stranger: not today.", id="another-error"),
    ],
)
def test_what_does_not_fit_is_named(target: type, value: JSONObject, words: str) -> None:
    error = problem(json.dumps(value), target=target)

    assert f"The answer does not fit {words}" in str(error)
    assert error.llm_output == json.dumps(value)


@each("target", [None, TripDict])
def test_a_dict_needs_its_required_keys(target: type | None) -> None:
    assert parsed('{"city": "Bonn"}', target=target, required=("city",)) == {"city": "Bonn"}

    error = problem('{"x": 1}', target=target, required=("city", "days"))
    assert str(error) == 'The answer lacks city, days. The model said: {"x": 1}'


def test_langchain_knows_the_parser_by_name() -> None:
    assert parser().asdict()["_type"] == "ai21_structured_output"


def test_the_error_can_be_pickled() -> None:
    error = problem("I cannot.")

    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)
    assert type(error.llm_output) is str


# --- Streams ---------------------------------------------------------------------------------


def pieces(text: str, size: int = 4) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def text_chunks(text: str) -> list[AIMessageChunk]:
    return [AIMessageChunk(content=piece) for piece in pieces(text)]


def call_chunks(text: str) -> list[AIMessageChunk]:
    heads = [("trip", "a"), *[(None, None)] * len(text)]
    return [
        AIMessageChunk(
            content="",
            tool_call_chunks=[
                {"name": name, "args": piece, "id": call_id, "index": 0, "type": "tool_call_chunk"}
            ],
        )
        for piece, (name, call_id) in zip(pieces(text), heads, strict=False)
    ]


STREAMS = [
    pytest.param(text_chunks, {}, id="text"),
    pytest.param(call_chunks, {"tool_name": "trip"}, id="call"),
]


@each(("chunks", "options"), STREAMS)
async def test_dicts_grow(
    chunks: Callable[[str], list[AIMessageChunk]], options: JSONObject
) -> None:
    source = chunks('{"city": "Bonn", "days": 3}')
    expected = [
        {},
        {"city": ""},
        {"city": "Bo"},
        {"city": "Bonn"},
        {"city": "Bonn", "days": 3},
    ]

    async def arriving() -> AsyncIterator[AIMessageChunk]:
        for chunk in source:
            yield chunk

    values = list(parser(**options).transform(iter(source)))
    assert [value for value in values if value in expected] == values
    assert values[-1] == BONN
    assert len(values) >= 4
    assert [value async for value in parser(**options).atransform(arriving())] == values


@each(("chunks", "options"), STREAMS)
def test_objects_come_whenever_what_has_arrived_is_valid(
    chunks: Callable[[str], list[AIMessageChunk]], options: JSONObject
) -> None:
    source = chunks('{"city": "Bonn", "days": 3, "more": "x"}')

    values = list(parser(target=Trip, **options).transform(iter(source)))

    assert values == [Trip(**BONN)]


def test_strings_can_be_streamed_too() -> None:
    values = list(parser().transform(iter(pieces("```json\n" + json.dumps(BONN) + "\n```"))))

    assert values[0] == {}
    assert values[-1] == BONN


def test_a_whole_message_in_a_stream_counts_as_it_is() -> None:
    source = iter([AIMessage(json.dumps(BONN))])

    assert list(parser(target=Trip).transform(source)) == [Trip(**BONN)]


def test_a_stream_of_nothing_has_no_value() -> None:
    assert list(parser().transform(iter([]))) == []


def test_a_stream_that_calls_tools_has_no_value() -> None:
    assert list(parser(may_call_tools=True).transform(iter(call_chunks("{}")))) == []


async def test_a_tool_call_after_json_takes_it_back() -> None:
    source = [AIMessageChunk(content='{"city": "Bonn"}'), *call_chunks("{}")]
    careful = parser(may_call_tools=True)

    async def arriving() -> AsyncIterator[AIMessageChunk]:
        for chunk in source:
            yield chunk

    assert list(careful.transform(iter(source))) == [{"city": "Bonn"}, None]
    assert [value async for value in careful.atransform(arriving())] == [{"city": "Bonn"}, None]


class Even(BaseModel):
    """Holds an even number."""

    number: int

    @field_validator("number")
    @classmethod
    def check(cls, number: int) -> int:
        if number % 2:
            raise ValueError("odd")
        return number


@each(
    ("text", "options", "words"),
    [
        pytest.param('{"city": "Bonn"', {}, "is not JSON", id="never-closed"),
        pytest.param("I cannot.", {}, "is not JSON", id="refusal"),
        pytest.param('{"city": "Bonn"}', {"required": ("days",)}, "lacks days", id="required"),
        pytest.param('{"number": 2, "number": 3}', {"target": Even}, "odd", id="validator"),
    ],
)
def test_the_end_of_a_stream_is_held_to_the_schema(
    text: str, options: JSONObject, words: str
) -> None:
    values = parser(**options).transform(iter(text_chunks(text)))

    with pytest.raises(StructuredOutputError, match=words):
        list(values)


# --- The model -------------------------------------------------------------------------------

Ask: TypeAlias = Callable[[Runnable[Any, Any]], Awaitable[Any]]


async def _invoke(runnable: Runnable[Any, Any]) -> object:
    return runnable.invoke("A trip, please")


async def _ainvoke(runnable: Runnable[Any, Any]) -> object:
    return await runnable.ainvoke("A trip, please")


async def _stream(runnable: Runnable[Any, Any]) -> object:
    return list(runnable.stream("A trip, please"))[-1]


async def _astream(runnable: Runnable[Any, Any]) -> object:
    return [value async for value in runnable.astream("A trip, please")][-1]


def answering(text: str, finish_reason: str = "stop") -> Callable[[httpx.Request], httpx.Response]:
    """A server that answers this text: as arguments of the first tool, or else as content."""

    def message(request: JSONObject) -> JSONObject:
        if "tools" not in request:
            return {"content": text}
        function = {"name": request["tools"][0]["function"]["name"], "arguments": text}
        return {"tool_calls": [{"id": "a", "index": 0, "function": function}]}

    def handler(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        choice = {"index": 0, "finish_reason": finish_reason}
        if not asked.get("stream"):
            choices = [{**choice, "message": message(asked)}]
            return httpx.Response(200, json={"id": "chat-1", "choices": choices})
        event = {"id": "chat-1", "choices": [{**choice, "delta": message(asked)}]}
        headers = {"content-type": "text/event-stream"}
        return httpx.Response(200, headers=headers, text=f"data: {json.dumps(event)}\n\n")

    return handler


@pytest.fixture
def serve() -> Iterator[Callable[..., ChatAI21]]:
    clients: list[httpx.Client] = []

    def model(text: str, finish_reason: str = "stop") -> ChatAI21:
        transport = httpx.MockTransport(answering(text, finish_reason))
        clients.append(httpx.Client(transport=transport))
        return ChatAI21(
            api_key="test-key",
            http_client=clients[-1],
            http_async_client=httpx.AsyncClient(transport=transport),
        )

    yield model
    for client in clients:
        client.close()


METHODS = ["function_calling", "json_mode", "json_schema"]


@each("ask", [_invoke, _ainvoke, _stream, _astream])
@each("method", METHODS)
@each(
    ("schema", "expected"),
    [
        pytest.param(Trip, Trip(**BONN), id="pydantic"),
        pytest.param(TripV1, TripV1(**BONN), id="pydantic-v1"),
        pytest.param(TripDict, BONN, id="typed-dict"),
        pytest.param(TRIP_SCHEMA, BONN, id="json-schema"),
    ],
)
async def test_every_method_gives_every_kind_of_schema_its_value(
    serve: Callable[..., ChatAI21], ask: Ask, method: Any, schema: Any, expected: object
) -> None:
    model = serve(json.dumps(BONN)).with_structured_output(schema, method=method)

    assert await ask(model) == expected


@each("ask", [_invoke, _ainvoke, _stream, _astream])
@each("method", METHODS)
@each(
    ("text", "finish_reason"),
    [
        pytest.param('{"city": "Bonn"}', "stop", id="invalid"),
        pytest.param(json.dumps(BONN), "length", id="cut-off"),
        pytest.param("I cannot.", "stop", id="refusal"),
    ],
)
@each("schema", [Trip, TRIP_SCHEMA])
async def test_every_method_raises_for_what_does_not_fit(
    serve: Callable[..., ChatAI21],
    ask: Ask,
    method: Any,
    schema: Any,
    text: str,
    finish_reason: str,
) -> None:
    model = serve(text, finish_reason).with_structured_output(schema, method=method)

    with pytest.raises(StructuredOutputError) as caught:
        await ask(model)
    assert "The model said: " in str(caught.value)


@each("method", METHODS)
async def test_include_raw_returns_what_went_wrong(
    serve: Callable[..., ChatAI21], method: Any
) -> None:
    options: dict[str, Any] = {"method": method, "include_raw": True}
    right = serve(json.dumps(BONN)).with_structured_output(Trip, **options)
    wrong = serve("I cannot.").with_structured_output(Trip, **options)

    for answer in (right.invoke("A trip"), await right.ainvoke("A trip")):
        assert (answer["parsed"], answer["parsing_error"]) == (Trip(**BONN), None)
        assert isinstance(answer["raw"], AIMessage)
    for answer in (wrong.invoke("A trip"), await wrong.ainvoke("A trip")):
        assert answer["parsed"] is None
        assert isinstance(answer["parsing_error"], StructuredOutputError)
        assert isinstance(answer["raw"], AIMessage)


async def test_include_raw_does_not_raise_at_the_end_of_a_stream_either() -> None:
    for text, parsed in ((json.dumps(BONN), Trip(**BONN)), (json.dumps(BONN)[:-1] + ', "x', None)):
        model = parser(target=Trip).beside(GenericFakeChatModel(messages=repeat(text)))
        for parts in (list(model.stream("A trip")), [part async for part in model.astream("A")]):
            whole = reduce(add, parts)
            assert len(parts) > 3
            assert (whole["raw"].content, whole["parsed"]) == (text, parsed)
            assert isinstance(whole["parsing_error"], StructuredOutputError) is (parsed is None)


def test_what_a_validator_of_the_callers_raises_is_an_error_of_ours(
    serve: Callable[..., ChatAI21],
) -> None:
    class Odd(BaseModel):
        """A class whose validator fails."""

        city: str

        @field_validator("city")
        @classmethod
        def _known(cls, city: str) -> str:
            return {"Haifa": city}[city]

    model = serve('{"city": "Bonn"}')
    with pytest.raises(StructuredOutputError, match="does not fit Odd: 'Bonn'"):
        model.with_structured_output(Odd, method="json_mode").invoke("A trip")


@each(
    ("arguments", "problem"),
    [
        pytest.param({"method": "magic"}, "there is no method 'magic'", id="method"),
        pytest.param({}, "function_calling needs a schema", id="no schema"),
        pytest.param({"method": "json_mode", "strict": True}, "strict does not go", id="strict"),
        pytest.param({"method": "json_mode", "tools": [print]}, "tools needs method", id="tools"),
        pytest.param({"schema": 5}, "schema is no JSON schema", id="no such schema"),
    ],
)
def test_structured_output_refuses_what_it_cannot_do(
    arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        ChatAI21(api_key="k").with_structured_output(**arguments)
