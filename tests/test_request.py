"""The body of a request: what is asked, in the API's terms, and nothing that was not set."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import BaseTool, tool
from pydantic import BaseModel, Field
from pydantic.v1 import BaseModel as BaseModelV1
from typing_extensions import TypedDict

from ai21_chains._options import CallOptions
from ai21_chains._request import build, format_tool_choice, format_tools
from ai21_chains._wire import ChatRequest, JSONObject
from ai21_chains.errors import ConfigurationError, UnsupportedContentError
from tests.cases import each

HI: list[BaseMessage] = [HumanMessage("Hi")]
USER = {"role": "user", "content": "Hi"}


def body(messages: list[BaseMessage] | None = None, **options: Any) -> ChatRequest:
    return build(messages or HI, CallOptions(model="jamba-mini", **options))


def system_message(request: ChatRequest) -> str:
    first = request["messages"][0]
    return first["content"] if first["role"] == "system" else ""


# --- What is sent ----------------------------------------------------------------------------


def test_only_what_was_set_is_sent() -> None:
    unset = dict.fromkeys(CallOptions.__annotations__)

    assert body() == {"model": "jamba-mini", "messages": [USER]}
    assert build(HI, CallOptions(**{**unset, "model": "m"})) == {"model": "m", "messages": [USER]}  # type: ignore[typeddict-item]


@each(
    "options",
    [
        {"temperature": 0.0},
        {"top_p": 0.5},
        {"max_tokens": 0},
        {"n": 1},
        {"n": 3, "temperature": 0.1},
        {"seed": 0},
        {"user": "ann"},
        {"stop": ["END"]},
    ],
)
def test_what_was_set_is_sent(options: JSONObject) -> None:
    assert body(**options) == {"model": "jamba-mini", "messages": [USER], **options}


@each("options", [{"stop": []}, {"documents": []}, {"tools": []}, {"model_kwargs": {}}])
def test_empty_lists_are_not_sent(options: JSONObject) -> None:
    assert body(**options) == {"model": "jamba-mini", "messages": [USER]}


def test_how_the_request_travels_is_not_in_the_body() -> None:
    request = body(timeout=5, max_retries=1, extra_headers={"a": "b"}, stream=True, api_key="key")

    assert request == {"model": "jamba-mini", "messages": [USER]}


def test_documents_are_sent_in_the_apis_form() -> None:
    request = body(documents=[Document("Text", metadata={"page": 3}), "More"])

    assert request["documents"] == [
        {"content": "Text", "metadata": {"page": "3"}},
        {"content": "More", "metadata": {}},
    ]


def test_what_no_model_can_read_is_refused() -> None:
    with pytest.raises(UnsupportedContentError):
        body([HumanMessage([{"type": "image", "base64": "aGk="}])])


@each("temperature", [0, 0.0])
def test_several_answers_need_a_temperature(temperature: float) -> None:
    with pytest.raises(ConfigurationError, match="n above 1 needs a temperature above 0"):
        body(n=2, temperature=temperature)

    assert body(n=1, temperature=temperature)["n"] == 1
    assert body(n=2)["n"] == 2


def test_model_kwargs_go_into_the_body() -> None:
    assert body(model_kwargs={"top_k": 5, "guided_json": {}}) == {
        "model": "jamba-mini",
        "messages": [USER],
        "top_k": 5,
        "guided_json": {},
    }


@each("name", ["temperature", "messages", "model", "stream", "tools", "n"])
def test_model_kwargs_do_not_replace_arguments(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"model_kwargs holds '{name}': pass {name}=…"):
        body(model_kwargs={name: 1})


# --- Tools -----------------------------------------------------------------------------------


class Weather(BaseModel):
    """Look up the weather."""

    city: str = Field(description="Name of the city")


class WeatherV1(BaseModelV1):
    """Look up the weather."""

    city: str


class WeatherDict(TypedDict):
    """Look up the weather."""

    city: str


def weather_function(city: str) -> str:
    """Look up the weather."""
    return f"sunny in {city}"


@tool
def weather_tool(city: str) -> str:
    """Look up the weather."""
    return f"sunny in {city}"


CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
OPENAI = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
OPENAI_FUNCTION = {"name": "weather", "description": "Look up.", "parameters": CITY}
ANTHROPIC = {"name": "weather", "description": "Look up.", "input_schema": CITY}
JSON_SCHEMA = {"title": "weather", "description": "Look up.", **CITY}

ALL_KINDS = [
    pytest.param(OPENAI, "weather", id="openai"),
    pytest.param(OPENAI_FUNCTION, "weather", id="openai-function"),
    pytest.param(ANTHROPIC, "weather", id="anthropic"),
    pytest.param(JSON_SCHEMA, "weather", id="json-schema"),
    pytest.param(Weather, "Weather", id="pydantic"),
    pytest.param(WeatherV1, "WeatherV1", id="pydantic-v1"),
    pytest.param(WeatherDict, "WeatherDict", id="typed-dict"),
    pytest.param(weather_function, "weather_function", id="function"),
    pytest.param(weather_tool, "weather_tool", id="base-tool"),
]

Kind = JSONObject | type | Callable[..., str] | BaseTool


@each(("kind", "name"), ALL_KINDS)
def test_tools_of_all_kinds_have_one_form(kind: Kind, name: str) -> None:
    before = copy.deepcopy(kind)

    (formatted,) = format_tools([kind])

    assert formatted["type"] == "function"
    assert formatted["function"]["name"] == name
    assert formatted["function"]["parameters"]["required"] == ["city"]
    assert formatted["function"]["parameters"]["properties"]["city"]["type"] == "string"
    assert format_tools([formatted]) == [formatted]
    assert body(tools=[kind])["tools"] == [formatted]
    assert not isinstance(kind, dict) or kind == before


@each("strict", [True, False])
def test_strict_is_passed_on(strict: bool) -> None:
    (formatted,) = format_tools([weather_function], strict=strict)

    assert formatted["function"]["strict"] is strict


def unknown_types(city: "NoSuchType") -> str:  # type: ignore[name-defined]  # noqa: F821
    """Look up the weather."""
    return str(city)


def unwritable_types(city: Callable[[int], int]) -> str:
    """Look up the weather."""
    return str(city)


@each(
    "thing",
    [
        pytest.param(5, id="number"),
        pytest.param(None, id="null"),
        pytest.param("weather", id="name"),
        pytest.param({}, id="empty-dict"),
        pytest.param({"x": 1}, id="other-dict"),
        pytest.param({"type": 5}, id="type-number"),
        pytest.param({"type": "function"}, id="no-function"),
        pytest.param({"type": "function", "function": {}}, id="no-name"),
        pytest.param({"type": "function", "function": {"name": 5}}, id="name-number"),
        pytest.param({"type": "function", "function": "weather"}, id="function-string"),
        pytest.param({"type": "web_search_preview"}, id="openais-own"),
        pytest.param({"type": "file_search", "name": "x"}, id="openais-file-search"),
        pytest.param(unknown_types, id="unknown-types"),
        pytest.param(unwritable_types, id="unwritable-types"),
    ],
)
def test_what_is_no_function_is_refused_in_one_line(thing: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        format_tools([OPENAI, thing])

    message = str(caught.value)
    assert message.startswith("tools holds what is no function: ")
    assert "\n" not in message
    assert len(message) < 400


TOOLS = format_tools([OPENAI, weather_function])
NAMED: JSONObject = {"type": "function", "function": {"name": "weather"}}


@each(
    ("choice", "sent"),
    [
        pytest.param(None, None, id="null"),
        pytest.param(False, None, id="false"),
        pytest.param("auto", "auto", id="auto"),
        pytest.param("none", "none", id="none"),
        pytest.param("any", "required", id="any"),
        pytest.param("required", "required", id="required"),
        pytest.param(True, "required", id="true"),
        pytest.param("weather", NAMED, id="name"),
        pytest.param(NAMED, NAMED, id="openai"),
        pytest.param({"type": "tool", "name": "weather"}, NAMED, id="anthropic"),
        pytest.param({"type": "any"}, "required", id="anthropic-any"),
        pytest.param({"type": "auto"}, "auto", id="anthropic-auto"),
        pytest.param({"type": "none"}, "none", id="anthropic-none"),
        pytest.param({}, None, id="empty-dict"),
    ],
)
def test_each_way_to_choose_a_tool_has_its_form(choice: object, sent: object) -> None:
    assert format_tool_choice(choice, TOOLS) == sent


@each(
    "choice",
    [
        "wether",
        "",
        5,
        ["weather"],
        {"type": "function"},
        {"type": "function", "function": {"name": "wether"}},
        {"type": "function", "function": "weather"},
        {"type": "tool", "name": "wether"},
    ],
)
def test_a_tool_that_does_not_exist_is_refused_with_those_that_do(choice: object) -> None:
    with pytest.raises(ConfigurationError, match="the tools are weather, weather_function"):
        format_tool_choice(choice, TOOLS)
    with pytest.raises(ConfigurationError, match="the tools are weather, weather_function"):
        body(tools=TOOLS, tool_choice=choice)


@each("choice", ["any", "required", True])
def test_a_required_call_is_said_in_words_too(choice: object) -> None:
    request = body(tools=TOOLS, tool_choice=choice)

    assert request["tool_choice"] == "required"
    assert request["tools"] == TOOLS
    assert system_message(request) == "You must call at least one of the tools."


@each("choice", ["weather", NAMED])
def test_a_named_tool_is_the_only_one_that_is_sent(choice: object) -> None:
    request = body(tools=TOOLS, tool_choice=choice)

    assert request["tool_choice"] == NAMED
    assert request["tools"] == [OPENAI]
    assert system_message(request) == "You must call the tool weather."


@each("choice", [None, False])
def test_no_choice_is_not_sent(choice: object) -> None:
    request = body(tools=TOOLS, tool_choice=choice)

    assert request == {"model": "jamba-mini", "messages": [USER], "tools": TOOLS}


def test_a_free_choice_is_sent_without_words() -> None:
    request = body(tools=TOOLS, tool_choice="auto")

    assert request["tool_choice"] == "auto"
    assert system_message(request) == ""


@each(
    "options",
    [
        {"tools": TOOLS, "tool_choice": "none", "parallel_tool_calls": False},
        {"tools": [], "tool_choice": "any", "parallel_tool_calls": True},
        {"tools": [], "tool_choice": "weather"},
        {"tool_choice": "weather"},
    ],
)
def test_without_tools_to_call_nothing_is_said_about_them(options: JSONObject) -> None:
    assert body(**options) == {"model": "jamba-mini", "messages": [USER]}


@each("parallel", [True, False])
def test_parallel_tool_calls_is_sent_with_tools(parallel: bool) -> None:
    assert body(tools=TOOLS, parallel_tool_calls=parallel)["parallel_tool_calls"] is parallel


# --- Response formats ------------------------------------------------------------------------


@each("wanted", [{"type": "json_object"}, {"type": "text"}, {"type": "grammar"}])
def test_a_format_of_the_api_is_sent_as_it_is(wanted: JSONObject) -> None:
    request = body(response_format=wanted)

    assert request["response_format"] == wanted
    assert request["messages"] == [USER]


@each(
    "wanted",
    [
        pytest.param(
            {"type": "json_schema", "json_schema": {"name": "weather", "schema": JSON_SCHEMA}},
            id="openai",
        ),
        pytest.param(JSON_SCHEMA, id="json-schema"),
        pytest.param(Weather, id="pydantic"),
        pytest.param(WeatherV1, id="pydantic-v1"),
        pytest.param(WeatherDict, id="typed-dict"),
    ],
)
def test_a_schema_is_said_in_words_with_json_mode(wanted: JSONObject | type) -> None:
    request = body(response_format=wanted)

    words, _, schema = system_message(request).partition("JSON schema:\n")
    assert request["response_format"] == {"type": "json_object"}
    assert words.startswith("Give your answer as a single JSON object and nothing else")
    assert json.loads(schema)["required"] == ["city"]
    assert request["messages"][1:] == [USER]


def test_beside_tools_json_mode_stays_off_so_that_they_can_be_called() -> None:
    request = body(response_format=Weather, tools=TOOLS, tool_choice="any")

    assert "response_format" not in request
    assert system_message(request).startswith("You must call at least one of the tools.\n\nGive ")


def test_json_mode_stays_on_when_no_tool_may_be_called() -> None:
    request = body(response_format=Weather, tools=TOOLS, tool_choice="none")

    assert request["response_format"] == {"type": "json_object"}


@each(
    "wanted",
    [
        pytest.param("json_object", id="word"),
        pytest.param(5, id="number"),
        pytest.param({"type": "json_schema"}, id="no-schema"),
        pytest.param({"type": "json_schema", "json_schema": {}}, id="empty-schema"),
        pytest.param({"type": "json_schema", "json_schema": Weather}, id="class"),
        pytest.param({"type": "object", "default": {1, 2}}, id="no-json"),
    ],
)
def test_what_is_no_schema_is_refused_in_one_line(wanted: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        body(response_format=wanted)

    assert str(caught.value).startswith("response_format is no JSON schema: ")
    assert "\n" not in str(caught.value)


# --- Instructions ----------------------------------------------------------------------------


def test_instructions_come_after_the_callers_own() -> None:
    messages = [SystemMessage("Be brief."), SystemMessage("Be kind."), *HI]

    request = body(messages, tools=TOOLS, tool_choice="any")

    assert request["messages"] == [
        {"role": "system", "content": "Be brief.\n\nYou must call at least one of the tools."},
        {"role": "system", "content": "Be kind."},
        USER,
    ]
    assert messages[0].content == "Be brief."


def test_an_empty_system_message_is_filled() -> None:
    request = body([SystemMessage(""), *HI], tools=TOOLS, tool_choice="any")

    assert system_message(request) == "You must call at least one of the tools."


def test_a_later_system_message_is_left_alone() -> None:
    request = body([*HI, SystemMessage("Be brief.")], tools=TOOLS, tool_choice="any")

    assert [message["role"] for message in request["messages"]] == ["system", "user", "system"]
