"""AI21's refusals: statuses and texts, through every door."""

import httpx
import pytest
from pydantic import v1

from ai21_chains.emulator import Emulator
from tests.cases import each
from tests.emulator.doors import through_each_door

UNSUPPORTED = (
    "The provided model is not supported. See "
    "https://docs.ai21.com/docs/jamba-foundation-models#api-versioning "
    "for a list of supported models"
)


def post(body, headers, prefix="/v1"):
    with httpx.Client(transport=Emulator().transport(), base_url="http://x") as client:
        return client.post(f"{prefix}/chat/completions", json=body, headers=headers)


def refusal(body):
    answer = post(body, {"Authorization": "Bearer k"})
    assert answer.status_code == 422
    return answer.json()["detail"]


def user(content):
    return {"role": "user", "content": content}


@through_each_door
def test_a_missing_key_is_refused(door, chat):
    answer = door(Emulator())(chat(), key=None)

    assert answer.status == 401
    assert answer.body == b'{"detail":"Forbidden: Bad or missing Apikey/JWT."}'


@each("authorization", ["", "Bearer", "Bearer  ", "Basic abc"])
def test_only_a_bearer_with_a_key_is_let_in(chat, authorization):
    answer = post(chat(), {"Authorization": authorization})

    assert answer.status_code == 401


@through_each_door
def test_an_unknown_key_is_refused_when_the_good_ones_are_named(door, chat):
    send = door(Emulator(api_keys={"good"}))

    assert send(chat(), key="good").status == 200
    assert send(chat(), key="bad").status == 401
    assert send(path="/models", method="GET", key="bad").json == {"data": []}


@through_each_door
@each("path", ["/chat", "/chat/completions/", "//chat/completions", "/library"])
def test_an_unknown_path_is_not_found(door, chat, path):
    answer = door(Emulator())(chat(), path=path)

    assert (answer.status, answer.body) == (404, b'{"detail":"Not Found"}')


@through_each_door
@each(
    ("path", "method", "allow"), [("/chat/completions", "GET", "POST"), ("/models", "POST", "GET")]
)
def test_a_wrong_method_is_answered_with_the_right_one(door, path, method, allow):
    answer = door(Emulator())(path=path, method=method)

    assert (answer.status, answer.body) == (405, b'{"detail":"Method Not Allowed"}')
    assert answer.headers["allow"] == allow


@each("prefix", ["/studio/v1", "/v1", "/proxy/studio/v1"])
def test_the_api_is_found_under_each_customary_prefix(chat, prefix):
    assert post(chat(), {"Authorization": "Bearer k"}, prefix).status_code == 200


@through_each_door
@each("model", ["jamba-1.5-mini", "jamba-instruct", "jamba-mini-1.7", "j2-ultra", "gpt-4", ""])
def test_a_retired_or_unknown_model_is_refused_with_ai21s_sentence(door, chat, model):
    answer = door(Emulator())(chat(model=model))

    assert (answer.status, answer.json) == (422, {"detail": UNSUPPORTED})


@through_each_door
def test_the_model_is_looked_at_before_anything_else(door):
    answer = door(Emulator())({"model": "j2-ultra", "top_p": 7})

    assert answer.json == {"detail": UNSUPPORTED}


INVALID = [
    (
        {"messages": None},
        ["messages"],
        "none is not an allowed value",
        "type_error.none.not_allowed",
    ),
    ({"messages": "Hi"}, ["messages"], "value is not a valid list", "type_error.list"),
    ({"model": None}, ["model"], "none is not an allowed value", "type_error.none.not_allowed"),
    ({"model": ["x"]}, ["model"], "str type expected", "type_error.str"),
    (
        {"messages": [{"role": "user"}]},
        ["messages", 0, "UserMessage", "content"],
        "field required",
        "value_error.missing",
    ),
    (
        {"messages": [user(None)]},
        ["messages", 0, "UserMessage", "content"],
        "none is not an allowed value",
        "type_error.none.not_allowed",
    ),
    (
        {"messages": [user([{"type": "text", "text": "Hi"}])]},
        ["messages", 0, "UserMessage", "content"],
        "str type expected",
        "type_error.str",
    ),
    (
        {"messages": [user("Hi"), {"role": "function", "content": "x"}]},
        ["messages", 1],
        "No match for discriminator 'role' and value 'function' "
        "(allowed values: 'user', 'assistant', 'tool', 'system')",
        "value_error.discriminated_union.invalid_discriminator",
    ),
    (
        {"messages": [{"content": "x"}]},
        ["messages", 0],
        "Discriminator 'role' is missing in value",
        "value_error.discriminated_union.missing_discriminator",
    ),
    (
        {"messages": [{"role": "tool", "content": "x"}]},
        ["messages", 0, "ToolMessage", "tool_call_id"],
        "field required",
        "value_error.missing",
    ),
    (
        {
            "messages": [
                {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f"}}]}
            ]
        },
        ["messages", 0, "AssistantMessage", "tool_calls", 0, "function", "arguments"],
        "field required",
        "value_error.missing",
    ),
    (
        {"top_p": 0},
        ["top_p"],
        "ensure this value is greater than 0",
        "value_error.number.not_gt",
    ),
    (
        {"top_p": 1.1},
        ["top_p"],
        "ensure this value is less than or equal to 1",
        "value_error.number.not_le",
    ),
    (
        {"n": 0},
        ["n"],
        "ensure this value is greater than or equal to 1",
        "value_error.number.not_ge",
    ),
    ({"n": "many"}, ["n"], "value is not a valid integer", "type_error.integer"),
    ({"temperature": "hot"}, ["temperature"], "value is not a valid float", "type_error.float"),
    ({"stream": "maybe"}, ["stream"], "value could not be parsed to a boolean", "type_error.bool"),
    ({"documents": [{}]}, ["documents", 0, "content"], "field required", "value_error.missing"),
    (
        {"documents": [{"content": "x", "metadata": "y"}]},
        ["documents", 0, "metadata"],
        "value is not a valid dict",
        "type_error.dict",
    ),
    ({"tools": {}}, ["tools"], "value is not a valid list", "type_error.list"),
    ({"tools": [4]}, ["tools", 0], "value is not a valid dict", "type_error.dict"),
    (
        {"tools": [{"type": "x", "function": {"name": "f"}}]},
        ["tools", 0, "type"],
        "unexpected value; permitted: 'function'",
        "value_error.const",
    ),
    (
        {"tools": [{"function": {"name": "f", "parameters": {}}}]},
        ["tools", 0, "function", "parameters", "properties"],
        "field required",
        "value_error.missing",
    ),
    (
        {"tools": [{"function": {"name": "f", "parameters": {"properties": 3}}}]},
        ["tools", 0, "function", "parameters", "properties"],
        "value is not a valid dict",
        "type_error.dict",
    ),
    ({"response_format": 3}, ["response_format"], "value is not a valid dict", "type_error.dict"),
    (
        {"response_format": {"type": "json_schema"}},
        ["response_format", "type"],
        "value is not a valid enumeration member; permitted: 'text', 'json_object'",
        "type_error.enum",
    ),
]


@each(("fields", "loc", "msg", "kind"), INVALID)
def test_a_broken_field_is_named_in_the_words_of_pydantic_1(chat, fields, loc, msg, kind):
    detail = refusal(chat(**fields))

    (entry,) = detail
    assert (entry["loc"], entry["msg"], entry["type"]) == (["body", *loc], msg, kind)


@through_each_door
def test_all_broken_fields_are_named_at_once(door, chat):
    body = chat(n=17, top_p=0)
    del body["messages"]
    answer = door(Emulator())(body)

    assert answer.status == 422
    assert [entry["loc"][1] for entry in answer.json["detail"]] == ["messages", "n", "top_p"]


def test_stop_is_a_string_or_a_list_of_strings(chat):
    kinds = [entry["type"] for entry in refusal(chat(stop=3))]

    assert kinds == ["type_error.str", "type_error.list"]
    assert [entry["loc"] for entry in refusal(chat(stop=["a", 3]))] == [
        ["body", "stop"],
        ["body", "stop", 1],
    ]


class _ResponseFormat(v1.BaseModel):
    n: int = v1.Field(1, ge=1, le=16)
    top_p: float = v1.Field(1, gt=0, le=1)
    temperature: float = v1.Field(1, ge=0, le=2)
    stream: bool = False
    stop: str | list[str] | None
    tools: list[dict] | None


@each(
    "fields",
    [
        {"n": 0},
        {"n": 17},
        {"n": "x"},
        {"top_p": 0},
        {"top_p": 2},
        {"top_p": "x"},
        {"temperature": -1},
        {"temperature": 3},
        {"stream": "maybe"},
        {"stop": {}},
        {"stop": ["a", {}]},
        {"tools": "x"},
        {"tools": ["x"]},
    ],
)
def test_the_wording_is_the_one_pydantic_1_itself_uses(chat, fields):
    with pytest.raises(v1.ValidationError) as caught:
        _ResponseFormat(**fields)

    expected = [{**entry, "loc": ["body", *entry["loc"]]} for entry in caught.value.errors()]
    assert refusal(chat(**fields)) == expected


@through_each_door
@each(
    ("fields", "text"),
    [
        ({"n": 2, "temperature": 0}, "n must be 1 when temperature is 0"),
        ({"n": 2, "stream": True}, "n must be 1 when stream is true"),
    ],
)
def test_a_broken_rule_is_answered_with_a_sentence(door, chat, fields, text):
    answer = door(Emulator())(chat(**fields))

    assert (answer.status, answer.json) == (422, {"detail": text})


@through_each_door
def test_an_endless_prompt_has_too_many_tokens(door, chat):
    answer = door(Emulator())(chat("word " * 210_000))

    assert answer.status == 422
    assert "Prompt has too many tokens" in answer.json["detail"]


@through_each_door
@each(
    ("content", "loc", "kind"),
    [
        (b"", ["body"], "value_error.missing"),
        (b"{", ["body", 1], "value_error.jsondecode"),
        (b"[]", ["body"], "type_error.dict"),
        (b"\xff", ["body"], "type_error.dict"),
    ],
)
def test_a_body_that_is_no_object_is_refused(door, content, loc, kind):
    answer = door(Emulator())(content=content)

    (entry,) = answer.json["detail"]
    assert answer.status == 422
    assert (entry["loc"], entry["type"]) == (loc, kind)


@through_each_door
def test_unknown_fields_are_ignored(door, chat):
    answer = door(Emulator())(
        chat(seed=1, user="me", tool_choice="any", stream_options={"include_usage": True}, x=None)
    )

    assert answer.status == 200


OPTIONAL = [
    "tools",
    "n",
    "max_tokens",
    "temperature",
    "top_p",
    "stop",
    "stream",
    "documents",
    "response_format",
]


@through_each_door
@each("field", OPTIONAL)
def test_null_is_accepted_for_an_optional_field(door, chat, field):
    assert door(Emulator())(chat(**{field: None})).status == 200


@through_each_door
def test_null_is_accepted_inside_an_assistant_message(door, chat):
    assistant = {"role": "assistant", "content": None, "tool_calls": None}
    answer = door(Emulator())(chat(messages=[user("Hi"), assistant, user("Hi")]))

    assert answer.status == 200


@through_each_door
@each("metadata", [{"title": "T"}, [{"key": "title", "value": "T"}], {}, [], None])
def test_metadata_of_documents_is_an_object_or_a_list(door, chat, metadata):
    answer = door(Emulator())(chat(documents=[{"content": "x", "id": "d", "metadata": metadata}]))

    assert answer.status == 200
