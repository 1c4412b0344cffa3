"""What an OpenAI client asks for, in AI21's terms, and what is refused with its name."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai21_chains._wire import JSONObject
from ai21_chains.errors import ConfigurationError
from ai21_chains.serving._openai import FORBIDDEN, IGNORED, NEUTRAL, Asked, read_chat, read_text
from ai21_chains.serving._openai_errors import error_reply
from ai21_chains.serving._refusals import Refused

USER = {"role": "user", "content": "Hi"}
TOOL = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {}}},
}
OTHER = {"type": "function", "function": {"name": "sub"}}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def chat(drop_params: bool = True, **body: Any) -> Asked:
    whole = {"model": "jamba-mini", "messages": [USER], **body}
    return read_chat(json.dumps(whole).encode(), drop_params=drop_params)


def refusal(body: bytes | JSONObject, drop_params: bool = True, read: Any = read_chat) -> Any:
    """Return OpenAI's error for a body that has to be refused."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises((Refused, ConfigurationError)) as caught:
        read(data, drop_params=drop_params)
    reply = error_reply(caught.value)
    assert reply.status == 400
    assert reply.body["error"]["type"] == "invalid_request_error"
    return reply.body["error"]


# --- What is honoured ------------------------------------------------------------------------


def test_only_what_was_set_is_sent() -> None:
    asked = chat()

    assert asked.request == {"model": "jamba-mini", "messages": [USER]}
    assert (asked.stream, asked.include_usage, asked.schema, asked.dropped) == (
        False,
        False,
        None,
        (),
    )


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"temperature": 0}, {"temperature": 0.0}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"n": 3}, {"n": 3}),
        ({"seed": -(2**53)}, {"seed": -(2**53)}),
        ({"user": "ann"}, {"user": "ann"}),
        ({"stop": "END"}, {"stop": ["END"]}),
        ({"stop": ["a", "b"]}, {"stop": ["a", "b"]}),
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_completion_tokens": 6}, {"max_tokens": 6}),
        ({"max_tokens": 5, "max_completion_tokens": 6}, {"max_tokens": 6}),
        ({"response_format": {"type": "text"}}, {}),
        (
            {"response_format": {"type": "json_object"}},
            {"response_format": {"type": "json_object"}},
        ),
        (
            {"documents": ["a", {"content": "b", "metadata": {"page": 2}, "id": "x"}]},
            {
                "documents": [
                    {"content": "a", "metadata": {}},
                    {"content": "b", "metadata": {"page": "2"}, "id": "x"},
                ]
            },
        ),
        (
            {"documents": [{"content": "b", "metadata": [{"key": "k", "value": "v"}]}]},
            {"documents": [{"content": "b", "metadata": {"k": "v"}}]},
        ),
        ({"tools": [TOOL]}, {"tools": [TOOL]}),
        ({"tools": [OTHER], "tool_choice": "auto"}, {"tools": [OTHER], "tool_choice": "auto"}),
        (
            {"tools": [TOOL], "parallel_tool_calls": False},
            {"tools": [TOOL], "parallel_tool_calls": False},
        ),
        ({"tools": [TOOL], "tool_choice": "none"}, {}),
        ({"functions": [TOOL["function"]]}, {"tools": [TOOL]}),
        ({"functions": [TOOL["function"]], "function_call": "none"}, {}),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_what_has_a_counterpart_is_sent(given: JSONObject, sent: JSONObject) -> None:
    assert chat(**given).request == {"model": "jamba-mini", "messages": [USER], **sent}


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        (
            {"role": "developer", "content": "Be brief"},
            {"role": "system", "content": "Be brief"},
        ),
        ({"role": "system", "content": "s", "name": "x"}, {"role": "system", "content": "s"}),
        (
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
            {"role": "user", "content": "ab"},
        ),
        (
            {
                "role": "assistant",
                "content": [{"type": "refusal", "refusal": "No"}],
                "annotations": [],
                "refusal": None,
            },
            {"role": "assistant", "content": "No"},
        ),
        ({"role": "assistant"}, {"role": "assistant", "content": ""}),
        (
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "c",
                        "type": "function",
                        "function": {"name": "add", "arguments": "{}"},
                    }
                ],
            },
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {
                        "id": "c",
                        "type": "function",
                        "function": {"name": "add", "arguments": "{}"},
                    }
                ],
            },
        ),
        (
            {"role": "tool", "content": [{"type": "text", "text": "4"}], "tool_call_id": "c"},
            {"role": "tool", "content": "4", "tool_call_id": "c"},
        ),
    ],
    ids=[
        "developer",
        "name",
        "parts",
        "refusal",
        "empty-answer",
        "calls",
        "tool",
    ],
)
def test_each_role_has_its_place(message: JSONObject, sent: JSONObject) -> None:
    assert chat(messages=[message]).request["messages"] == [sent]


def test_a_result_of_a_function_belongs_to_the_call_before_it() -> None:
    call = {"name": "add", "arguments": "{}"}
    messages = [
        USER,
        {"role": "assistant", "content": None, "function_call": call},
        {"role": "function", "name": "add", "content": "4"},
    ]

    sent: Any = chat(messages=messages).request["messages"]

    assert sent[1]["tool_calls"][0]["function"] == call
    assert sent[2]["tool_call_id"] == sent[1]["tool_calls"][0]["id"]


@pytest.mark.parametrize(
    ("choice", "words", "names"),
    [
        ("required", "at least one of the tools", ["add", "sub"]),
        ({"type": "function", "function": {"name": "sub"}}, "call the tool sub", ["sub"]),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "add"}}],
                },
            },
            "at least one of the tools",
            ["add"],
        ),
    ],
    ids=["required", "named", "allowed"],
)
def test_a_tool_choice_is_said_in_words_as_well(choice: Any, words: str, names: list[str]) -> None:
    asked = chat(tools=[TOOL, OTHER], tool_choice=choice)

    assert words in asked.request["messages"][0]["content"]
    assert [tool["function"]["name"] for tool in asked.request["tools"]] == names
    assert asked.conversation == [USER]


def test_a_named_function_is_chosen() -> None:
    asked = chat(functions=[TOOL["function"], OTHER["function"]], function_call={"name": "sub"})

    assert asked.legacy_functions
    assert asked.request["tools"] == [OTHER]


def test_an_empty_schema_of_parameters_gets_what_ai21_wants() -> None:
    bare = {"type": "function", "function": {"name": "now", "description": "d", "parameters": {}}}

    assert chat(tools=[bare]).request["tools"][0]["function"] == {
        "name": "now",
        "description": "d",
        "parameters": {"type": "object", "properties": {}},
    }


@pytest.mark.parametrize("strict", [True, False, None], ids=str)
def test_a_json_schema_is_json_mode_and_instructions(strict: bool | None) -> None:
    wanted = {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": SCHEMA, "strict": strict},
    }

    asked = chat(response_format=wanted)

    assert asked.request["response_format"] == {"type": "json_object"}
    assert json.dumps(SCHEMA) in asked.request["messages"][0]["content"]
    assert asked.schema == (SCHEMA if strict else None)


def test_a_json_schema_without_a_schema_is_json_mode() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "strict": True}}

    asked = chat(response_format=wanted)

    assert asked.request["response_format"] == {"type": "json_object"}
    assert asked.schema is None


@pytest.mark.parametrize(
    ("body", "streams", "upstream", "usage"),
    [
        ({}, False, False, False),
        ({"stream": True}, True, True, False),
        ({"stream": True, "n": 2}, True, False, False),
        (
            {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": 1}},
            True,
            True,
            True,
        ),
        ({"stream": None, "stream_options": None}, False, False, False),
    ],
    ids=["whole", "stream", "several", "usage", "null"],
)
def test_how_to_stream(body: JSONObject, streams: bool, upstream: bool, usage: bool) -> None:
    asked = chat(**body)

    assert (asked.stream, asked.streams_upstream, asked.include_usage) == (streams, upstream, usage)
    assert "stream" not in asked.request


# --- What is left out, and what is refused ---------------------------------------------------


@pytest.mark.parametrize("name", sorted(IGNORED))
def test_openais_bookkeeping_is_left_out(name: str) -> None:
    asked = chat(drop_params=False, **{name: "x"})

    assert asked.request == {"model": "jamba-mini", "messages": [USER]}
    assert asked.dropped == ()


@pytest.mark.parametrize("name", sorted(NEUTRAL))
def test_a_parameter_that_asks_for_nothing_is_no_matter(name: str) -> None:
    for value in (*NEUTRAL[name], None):
        assert chat(drop_params=False, **{name: value}).dropped == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("logprobs", True),
        ("logit_bias", {"50256": -100}),
        ("frequency_penalty", 0.5),
        ("modalities", ["text", "audio"]),
        ("reasoning_effort", "high"),
        ("a_parameter_of_tomorrow", 1),
    ],
)
def test_what_would_change_the_answer_is_refused_or_left_out(name: str, value: Any) -> None:
    body = {"model": "m", "messages": [USER], name: value}

    assert chat(**{name: value}).dropped == (name,)
    assert name not in chat(**{name: value}).request
    assert refusal(body, drop_params=False)["param"] == name


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
@pytest.mark.parametrize("value", ["sk-secret-1", None], ids=["set", "null"])
def test_an_address_or_a_credential_is_always_refused(name: str, value: str | None) -> None:
    error = refusal({"model": "m", "messages": [USER], name: value})

    assert error["param"] == name
    assert "sk-secret-1" not in error["message"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [USER, {"role": "robot", "content": "x"}]}, "messages[1]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"n": 0}, "n"),
        ({"n": 2, "temperature": 0}, "n"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"stop": [""]}, "stop[0]"),
        ({"top_p": 0}, "top_p"),
        ({"stream": "yes"}, "stream"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [TOOL], "tool_choice": "maybe"}, "tool_choice"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "tool_choice",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"documents": "text"}, "documents"),
        ({"documents": [{"metadata": {}}]}, "documents[0].content"),
        ({"documents": [7]}, "documents[0]"),
    ],
    ids=lambda value: json.dumps(value)[:50],
)
def test_what_cannot_be_sent_is_refused_by_name(change: JSONObject, param: str) -> None:
    error = refusal({"model": "jamba-mini", "messages": [USER], **change})

    assert error["param"] == param
    assert param.split("[", 1)[0].split(".", 1)[0] in error["message"]


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file"])
def test_what_is_no_text_is_refused_with_the_reason(kind: str) -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": kind, kind: {"url": "x"}}]

    error = refusal({"model": "m", "messages": [USER, {"role": "user", "content": parts}]})

    assert error["param"] == "messages[1].content[1].type"
    assert "text only" in error["message"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nothing", b'{"model": "\\ud83d"}', b"\xff", b"[" * 5000],
    ids=["empty", "cut", "word", "surrogate", "bytes", "deep"],
)
def test_a_body_that_is_not_json_is_refused(body: bytes) -> None:
    assert refusal(body)["code"] == "invalid_json"


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"1"], ids=["list", "null", "text", "1"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    assert refusal(body)["param"] is None


def test_more_than_any_model_reads_is_refused_before_it_is_looked_at() -> None:
    part = {"type": "text", "text": ""}
    parts = {"model": "m", "messages": [{"role": "user", "content": [part] * 2_049}]}
    messages = {"model": "m", "messages": [{"role": "user", "content": ""}] * 16_385}
    prompts = {"model": "m", "prompt": ["One,"] * 65}
    for body, read, param, most in (
        (parts, read_chat, "messages[0].content", "2048"),
        (messages, read_chat, "messages", "16384"),
        (prompts, read_text, "prompt", "64"),
    ):
        said = refusal(body, read=read)
        assert said["param"] == param
        assert f"at most {most} items" in said["message"], param


def test_a_missing_parameter_is_told_from_a_wrong_one() -> None:
    assert refusal({"messages": [USER]})["code"] == "missing_required_parameter"
    assert refusal({"model": 1, "messages": [USER]})["code"] == "invalid_value"


# --- Text completions ------------------------------------------------------------------------


def test_each_prompt_is_a_chat_of_its_own() -> None:
    body = {"model": "m", "prompt": ["a", "b"], "n": 2, "temperature": 1, "echo": True, "stop": "."}

    asked = read_text(json.dumps({**body, "stream": True}).encode())

    assert asked.prompts == ("a", "b")
    assert asked.requests[1] == {
        "model": "m",
        "messages": [{"role": "user", "content": "b"}],
        "n": 2,
        "temperature": 1.0,
        "stop": ["."],
    }
    assert (asked.n, asked.echo, asked.stream, asked.streams_upstream) == (2, True, True, False)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"prompt": [1, 2, 3]}, "prompt[0]"),
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"suffix": "end"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"base_url": "https://example.com"}, "base_url"),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_what_a_text_completion_cannot_do_is_refused(change: JSONObject, param: str) -> None:
    body = {"model": "m", "prompt": "Hi", **change}

    assert refusal(body, drop_params=False, read=read_text)["param"] == param


def test_a_suffix_is_left_out_where_parameters_are_dropped() -> None:
    asked = read_text(b'{"model": "m", "prompt": "Hi", "suffix": "end", "best_of": 2}')

    assert asked.dropped == ("suffix", "best_of")


# --- Anything at all -------------------------------------------------------------------------

NAMES = ["model", "messages", "tools", "tool_choice", "response_format", "n", "stop", "documents"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "type", "content", "function", "name"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), JSON), st.sampled_from([read_chat, read_text]))
def test_any_json_is_read_or_refused(body: JSONObject, read: Any) -> None:
    try:
        read(json.dumps({"model": "m", "messages": [USER], **body}).encode())
    except (Refused, ConfigurationError) as error:
        reply = error_reply(error)
        assert reply.status == 400
        assert len(reply.body["error"]["message"].splitlines()) == 1
