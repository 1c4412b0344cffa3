"""AI21's whole answers as OpenAI's objects, checked by the types of OpenAI's own package."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from openai.types import Completion as OpenAICompletion
from openai.types import Model
from openai.types.chat import ChatCompletion
from pydantic import TypeAdapter

from ai21_chains import GroundedAnswer, verify_quote
from ai21_chains._wire import Completion, JSONObject
from ai21_chains.citations import Citation
from ai21_chains.errors import StructuredOutputError
from ai21_chains.serving._openai import Asked, AskedText, read_chat, read_text
from ai21_chains.serving._openai_answers import (
    chat_completion,
    dump,
    grounded_completion,
    model_list,
    model_object,
    text_answer,
    text_completion,
    tokens,
)
from ai21_chains.serving._openai_description import openapi_components
from ai21_chains.serving._openai_errors import error_reply
from ai21_chains.serving._openai_schema import first_problem
from tests.cases import each

USER = {"role": "user", "content": "Hi"}
USAGE = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
COMPONENTS = openapi_components()


def fits(name: str, value: Any) -> None:
    """Hold a value to our own OpenAPI description."""
    root = {"components": COMPONENTS, "$ref": f"#/components/schemas/{name}"}
    assert first_problem(json.loads(dump(value)), root) == ""


def asked(**body: Any) -> Asked:
    return read_chat(json.dumps({"model": "my-model", "messages": [USER], **body}).encode())


def asked_text(**body: Any) -> AskedText:
    return read_text(json.dumps({"model": "my-model", "prompt": "Hi", **body}).encode())


def answer(*messages: JSONObject, reason: str | None = "stop", **more: Any) -> Completion:
    choices = [
        {"index": number, "message": {"role": "assistant", **message}, "finish_reason": reason}
        for number, message in enumerate(messages)
    ]
    return {"id": "chatcmpl-1", "choices": choices, "usage": USAGE, **more}  # type: ignore[typeddict-item]


def checked(completion: Completion, request: Asked | None = None) -> ChatCompletion:
    whole = chat_completion(completion, request or asked(), created=7)
    fits("ChatCompletion", whole)
    for choice in whole["choices"]:
        # Required by OpenAI's schema, and optional in its package's types.
        assert choice["logprobs"] is None
        assert choice["message"].keys() >= {"role", "content", "refusal"}
    return ChatCompletion.model_validate(whole, strict=True)


# --- Chat ------------------------------------------------------------------------------------


def test_an_answer_has_all_that_openai_promises() -> None:
    whole = chat_completion(answer({"content": "Hello"}), asked(), created=7)

    assert whole == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 7,
        "model": "my-model",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    }
    checked(answer({"content": "Hello"}))


def test_several_answers_are_in_the_order_of_their_index() -> None:
    completion = answer({"content": "a"}, {"content": "b"})
    completion["choices"].reverse()

    found = checked(completion, asked(n=2))

    assert [(choice.index, choice.message.content) for choice in found.choices] == [
        (0, "a"),
        (1, "b"),
    ]


def test_tool_calls_are_openais_whatever_the_finish_reason_says() -> None:
    bare = {"function": {"name": "now", "arguments": {"at": 1}}}

    found = checked(answer({"content": None, "tool_calls": [CALL, bare]}))

    choice = found.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    first, second = choice.message.tool_calls or []
    assert first.model_dump() == CALL
    assert second.id.startswith("call_")
    assert second.type == "function"
    assert second.function.arguments == '{"at":1}'


def test_text_beside_tool_calls_is_kept() -> None:
    assert checked(answer({"content": "Wait", "tool_calls": [CALL]})).choices[0].message.content


def test_a_client_that_gave_functions_gets_a_function_call() -> None:
    request = asked(functions=[{"name": "add"}])

    choice = checked(answer({"tool_calls": [CALL]}), request).choices[0]

    assert choice.finish_reason == "function_call"
    assert choice.message.tool_calls is None
    assert choice.message.function_call is not None
    assert choice.message.function_call.name == "add"


@each(
    ("given", "told"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("max_tokens", "length"),
        ("eos_token", "stop"),
        (None, "stop"),
    ],
)
def test_a_finish_reason_is_one_of_openais(given: str | None, told: str) -> None:
    found = checked(answer({"content": "x"}, reason=given))

    assert found.choices[0].finish_reason == told


def test_a_call_that_was_cut_off_says_so() -> None:
    found = checked(answer({"tool_calls": [CALL]}, reason="length"))

    assert found.choices[0].finish_reason == "length"


def test_what_the_server_leaves_out_is_made_up_or_left_out() -> None:
    found = checked({"choices": [{"message": {"content": None}}], "usage": None})

    assert found.id.startswith("chatcmpl-")
    assert found.usage is None
    assert found.choices[0].message.content == ""


def test_reasoning_is_passed_on() -> None:
    found = checked(answer({"content": "4", "reasoning_content": "2 + 2"}))

    assert found.choices[0].message.to_dict()["reasoning_content"] == "2 + 2"


@each("usage", [None, {}, [], {"prompt_tokens": "2"}])
def test_counts_that_are_none_are_not_told(usage: Any) -> None:
    assert tokens(usage) is None


# --- Answers that are held to a schema -------------------------------------------------------

STRICT = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}


@each(
    ("text", "told"),
    [
        ('{"n": 1}', '{"n": 1}'),
        ('Sure:\n```json\n{"n": 1}\n```', '{"n":1}'),
    ],
    ids=["bare", "fenced"],
)
def test_an_answer_that_fits_its_schema_is_json_alone(text: str, told: str) -> None:
    found = checked(answer({"content": text}), asked(response_format=STRICT))

    assert found.choices[0].message.content == told


@each(
    ("text", "problem"),
    [
        ("I cannot", "not JSON"),
        ("", "not JSON"),
        ('{"n": "1"}', "n is no integer"),
        ("{}", "n is missing"),
    ],
    ids=["prose", "empty", "type", "missing"],
)
def test_an_answer_that_breaks_its_schema_is_an_error_of_the_upstream(
    text: str, problem: str
) -> None:
    with pytest.raises(StructuredOutputError, match=problem) as caught:
        chat_completion(answer({"content": text}), asked(response_format=STRICT), created=0)

    reply = error_reply(caught.value)
    assert (reply.status, reply.body["error"]["code"]) == (502, "invalid_structured_output")


@each(
    ("message", "reason"),
    [({"content": '{"n": '}, "length"), ({"tool_calls": [CALL]}, "stop")],
    ids=["cut", "calls"],
)
def test_what_says_itself_that_it_is_no_whole_answer_is_not_held_to_a_schema(
    message: JSONObject, reason: str
) -> None:
    checked(answer(message, reason=reason), asked(response_format=STRICT))


# --- Answers from documents ------------------------------------------------------------------

ANSWER = "Notice is thirty days [1]. It is written [2]."


def cited(*documents: Document) -> GroundedAnswer:
    citations = []
    for number, document in enumerate(documents, start=1):
        found = verify_quote(document.page_content, list(documents))
        assert isinstance(found, Citation)
        where = {"answer_start": 0, "answer_end": 26} if number == 1 else {}
        citations.append(found.model_copy(update={"id": number, **where}))
    return GroundedAnswer(
        answer=ANSWER,
        status="answered",
        answerable=True,
        citations=citations,
        documents=list(documents),
        usage={"input_tokens": 2, "output_tokens": 3, "total_tokens": 5},
    )


WEB = Document("Thirty days' notice is due.", metadata={"source": "https://a.example/x?y=1#z"})
FILE = Document("All of it in writing.", metadata={"source": "my files/a.pdf", "page": 3})
BARE = Document("The parties have signed it.", metadata={})


def test_a_grounded_answer_has_its_quotes_as_annotations() -> None:
    whole = grounded_completion(cited(WEB, FILE, BARE), asked(), created=7)

    fits("ChatCompletion", whole)
    found = ChatCompletion.model_validate(whole, strict=True)
    message = found.choices[0].message
    annotations = [annotation.url_citation for annotation in message.annotations or []]
    assert [annotation.url for annotation in annotations] == [
        "https://a.example/x?y=1#z",
        "file:my%20files/a.pdf#page=3",
        "urn:document:3",
    ]
    assert [annotation.title for annotation in annotations][1:] == [
        "my files/a.pdf, page 3",
        "document 3",
    ]
    assert (annotations[0].start_index, annotations[0].end_index) == (0, 26)
    assert (annotations[1].start_index, annotations[1].end_index) == (0, len(ANSWER))
    assert found.usage is not None
    assert found.usage.total_tokens == 5


def test_a_grounded_answer_has_the_places_in_the_sources() -> None:
    message = grounded_completion(cited(WEB, FILE), asked(), created=7)["choices"][0]["message"]

    citations = TypeAdapter(list[Citation]).validate_python(message["citations"])
    assert [citation.quote for citation in citations] == [WEB.page_content, FILE.page_content]
    assert message["grounding"]["status"] == "answered"
    assert "documents" not in message["grounding"]


def test_an_answer_that_was_cut_off_says_so() -> None:
    whole = grounded_completion(GroundedAnswer(status="truncated"), asked(), created=0)

    assert whole["choices"][0]["finish_reason"] == "length"
    assert "usage" not in whole


def test_any_chains_text_is_an_answer() -> None:
    whole = text_answer("Short.", asked(), created=7)

    fits("ChatCompletion", whole)
    assert ChatCompletion.model_validate(whole, strict=True).choices[0].message.content == "Short."


# --- Text completions and models -------------------------------------------------------------


def test_text_completions_are_numbered_through_all_prompts() -> None:
    request = asked_text(prompt=["One", "Two"], n=2, echo=True)
    completions = [answer({"content": " a"}, {"content": " b"}, reason="length")] * 2

    whole = text_completion(completions, request, created=7)

    fits("Completion", whole)
    found = OpenAICompletion.model_validate(whole, strict=True)
    assert [(choice.index, choice.text) for choice in found.choices] == [
        (0, "One a"),
        (1, "One b"),
        (2, "Two a"),
        (3, "Two b"),
    ]
    assert {choice.finish_reason for choice in found.choices} == {"length"}
    assert found.usage is not None
    assert found.usage.total_tokens == 10


def test_a_text_completion_without_echo_is_the_answer_alone() -> None:
    whole = text_completion([answer({"content": None}, reason=None)], asked_text(), created=7)

    assert whole["choices"][0] == {
        "index": 0,
        "text": "",
        "logprobs": None,
        "finish_reason": "stop",
    }


def test_models_are_openais_objects() -> None:
    listed = model_list(["a", "chain/b"], created=7)

    fits("ModelList", listed)
    assert [Model.model_validate(model, strict=True).id for model in listed["data"]] == [
        "a",
        "chain/b",
    ]
    assert model_object("a", created=7) == listed["data"][0]


# --- Anything at all -------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=[])), min_size=1, max_size=3),
    st.none() | st.text(max_size=4),
)
def test_any_text_is_an_answer_in_valid_json(texts: list[str], reason: str | None) -> None:
    whole = chat_completion(
        answer(*({"content": text} for text in texts), reason=reason), asked(), created=0
    )

    found = ChatCompletion.model_validate_json(dump(whole), strict=True)
    assert len(found.choices) == len(texts)
