"""A chain asked as a model: what it reads of OpenAI's messages, and what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import Runnable

from ai21_chains import Emulator, create_grounded_qa_chain, create_summarize_chain
from ai21_chains._json_schema import model_from_json_schema
from ai21_chains.answers import GroundedAnswer
from ai21_chains.chains.extraction import create_extraction_chain
from ai21_chains.emulator import Fault, Reply
from ai21_chains.errors import RateLimitError
from ai21_chains.serving._chain_models import ChainAnswer, answer_chat, chain_input, stream_chat
from ai21_chains.serving._refusals import Refused
from tests.serving.apps import DOCUMENTS, model_on, ready_made

CHAINS = ready_made(model_on(Emulator()))
QUESTION = {"role": "user", "content": "When does it open?"}
CHECKED = {"role": "user", "content": "It opens at ten."}


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


ASKED: dict[str, dict[str, Any]] = {
    "grounded_qa": {"messages": [QUESTION], "documents": DOCUMENTS},
    "conversational_qa": {
        "messages": [user("Is there a museum?"), {"role": "assistant", "content": "Yes"}, QUESTION]
    },
    "contextual_answers": {"messages": [QUESTION], "documents": DOCUMENTS},
    "grounding_check": {"messages": [CHECKED], "documents": DOCUMENTS},
    "summarize": {"messages": [user(" ".join(DOCUMENTS))]},
    "extraction": {"messages": [user("The museum opens at ten.")]},
    "classification": {"messages": [user("The museum opens at ten.")]},
}

SAID = {
    "grounded_qa": "The museum opens at ten. [1]",
    "conversational_qa": "The museum opens at ten. [1]",
    "contextual_answers": "The museum opens at ten.",
    "summarize": "The museum opens at ten. [1] Dogs must stay outside. [2]",
}


@pytest.mark.parametrize("name", list(CHAINS))
async def test_a_chain_answers_as_a_model_whole_and_in_pieces(name: str) -> None:
    chain, request = CHAINS[name], ASKED[name]
    answer = await answer_chat(chain, request)
    *pieces, last = [piece async for piece in stream_chat(chain, request)]

    assert isinstance(last, ChainAnswer)
    assert "".join(map(str, pieces)) == last.text == answer.text
    assert last.result == answer.result
    assert answer.finish_reason == "stop"
    if name in SAID:
        assert answer.text == SAID[name]
    else:
        assert json.loads(answer.text).keys() == type(answer.result).model_fields.keys() - {"usage"}
    assert answer.usage == last.usage
    assert answer.usage
    assert answer.usage["total_tokens"] > 0


async def test_the_result_has_the_citations() -> None:
    result = (await answer_chat(CHAINS["grounded_qa"], ASKED["grounded_qa"])).result

    assert isinstance(result, GroundedAnswer)
    assert result.citations[0].quote == "The museum opens at ten."


async def test_text_streams_word_by_word() -> None:
    pieces = [piece async for piece in stream_chat(CHAINS["grounded_qa"], ASKED["grounded_qa"])]

    assert pieces[:3] == ["The", " museum", " opens"]


def test_turns_before_the_question_are_the_conversation_and_instructions_are_not_read() -> None:
    messages = [
        {"role": "system", "content": "Answer in verse"},
        {"role": "developer", "content": "Answer in prose"},
        user("Is there a museum?"),
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "Nothing", "tool_call_id": "1"},
        {"role": "assistant", "content": [{"type": "text", "text": "Yes"}]},
        QUESTION,
    ]
    given = chain_input(CHAINS["grounded_qa"], {"messages": messages, "documents": DOCUMENTS})

    assert given == {
        "question": "When does it open?",
        "documents": DOCUMENTS,
        "chat_history": [("user", "Is there a museum?"), ("assistant", "Yes")],
    }


def test_documents_in_ai21s_form_keep_their_metadata() -> None:
    documents = [{"content": "The museum opens at ten.", "metadata": {"title": "Guide"}}]
    request = {"messages": [QUESTION], "documents": documents}
    answer = CHAINS["grounded_qa"].invoke(chain_input(CHAINS["grounded_qa"], request))

    assert answer.citations[0].title == "Guide"


def test_documents_are_what_is_summarized_or_read_if_there_are_any() -> None:
    request = {"messages": [user("Please")], "documents": DOCUMENTS}

    assert chain_input(CHAINS["summarize"], request) == {"documents": DOCUMENTS}
    assert chain_input(CHAINS["extraction"], request)["documents"] == DOCUMENTS


REFUSED = {
    "no messages": ("grounded_qa", {}, "messages"),
    "none": ("grounded_qa", {"messages": []}, "messages"),
    "not last": (
        "grounded_qa",
        {"messages": [QUESTION, {"role": "assistant", "content": "x"}]},
        "messages",
    ),
    "blank": ("grounded_qa", {"messages": [user("  ")]}, "messages"),
    "no object": ("grounded_qa", {"messages": ["Hi"]}, "messages"),
    "image": ("grounded_qa", {"messages": [user([{"type": "image_url"}])]}, "messages"),
    "no list": ("grounded_qa", {"messages": [QUESTION], "documents": "text"}, "documents"),
    "no text": ("grounded_qa", {"messages": [QUESTION], "documents": [{"id": "1"}]}, "documents"),
    "needed": ("contextual_answers", {"messages": [QUESTION]}, "documents"),
    "not read": ("classification", {"messages": [QUESTION], "documents": DOCUMENTS}, "documents"),
}


@pytest.mark.parametrize("name", list(REFUSED))
async def test_a_request_that_does_not_fit_is_refused(name: str) -> None:
    chain, request, param = REFUSED[name]

    with pytest.raises(Refused) as refused:
        await answer_chat(CHAINS[chain], request)
    with pytest.raises(Refused):
        _ = [piece async for piece in stream_chat(CHAINS[chain], request)]

    assert (refused.value.status, refused.value.param) == (400, param)
    assert str(refused.value).startswith(f"{param}: ")


async def test_a_failure_is_the_chains_own() -> None:
    chain = create_grounded_qa_chain(model_on(Emulator(faults=[Fault(status=429)])))

    with pytest.raises(RateLimitError):
        await answer_chat(chain, ASKED["grounded_qa"])


CUT = Reply('{"citations": [], "answer": "The museum op', finish_reason="length")


@pytest.mark.parametrize(
    ("make", "request_"),
    [
        (create_grounded_qa_chain, ASKED["grounded_qa"]),
        (create_summarize_chain, ASKED["summarize"]),
    ],
    ids=["grounded_qa", "summarize"],
)
async def test_an_answer_that_was_cut_off_is_too_long(
    make: Any, request_: Mapping[str, Any]
) -> None:
    chain: Runnable[Any, Any] = make(model_on(Emulator(brain=lambda request: CUT)))

    assert (await answer_chat(chain, request_)).finish_reason == "length"


async def test_a_value_is_named_as_in_its_json_schema() -> None:
    schema = model_from_json_schema({"properties": {"opening hours": {"type": "string"}}}, "Museum")
    chain = create_extraction_chain(model_on(Emulator()), schema)
    answer = await answer_chat(chain, {"messages": [user("The museum opens at ten.")]})

    assert json.loads(answer.text)["value"].keys() == {"opening hours"}


def test_a_conversation_is_understood_by_the_chain() -> None:
    given = chain_input(CHAINS["conversational_qa"], ASKED["conversational_qa"])
    history = CHAINS["conversational_qa"].get_input_schema().model_validate(given)

    assert history.model_dump()["chat_history"][0]["content"] == "Is there a museum?"
    assert [type(turn) for turn in vars(history)["chat_history"]] == [HumanMessage, AIMessage]
