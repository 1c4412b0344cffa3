"""The contextual answers chain as users of AI21's retired class call it."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser

from ai21_chains import ChatAI21
from ai21_chains.chains.contextual_answers import (
    ContextualAnswersInput,
    create_contextual_answers_chain,
)
from ai21_chains.emulator import Emulator, scripted
from ai21_chains.errors import ConfigurationError
from tests.cases import each

CONTEXT = "The museum opens at ten. Plan B costs 5 euros."
ASKED = {"context": CONTEXT, "question": "When does it open?"}
Call = Callable[[Any, Any], Awaitable[str]]


def said(answer: str, *quotes: str, found: bool = True) -> str:
    citations = [{"id": n, "doc": 0, "quote": quote} for n, quote in enumerate(quotes, start=1)]
    return json.dumps({"found": found, "citations": citations, "answer": answer})


def chain_that_hears(*replies: str, **settings: Any) -> Any:
    http = Emulator(brain=scripted(*replies)).transport()
    return create_contextual_answers_chain(_model(http), **settings)


def _model(transport: Any) -> ChatAI21:
    return ChatAI21(
        api_key="k",
        http_client=httpx.Client(transport=transport),
        http_async_client=httpx.AsyncClient(transport=transport),
    )


async def _invoke(chain: Any, asked: Any) -> str:
    return chain.invoke(asked)


async def _ainvoke(chain: Any, asked: Any) -> str:
    return await chain.ainvoke(asked)


async def _stream(chain: Any, asked: Any) -> str:
    return "".join(chain.stream(asked))


async def _astream(chain: Any, asked: Any) -> str:
    return "".join([piece async for piece in chain.astream(asked)])


in_each_way = each("call", [_invoke, _ainvoke, _stream, _astream])


@in_each_way
async def test_the_answer_is_plain_text_without_marks(call: Call) -> None:
    chain = chain_that_hears(
        said("It opens at ten [1]. Plan B [2].", "The museum opens at ten.", "Plan B costs")
    )

    assert await call(chain, ASKED) == "It opens at ten. Plan B."


@in_each_way
@each(
    "reply",
    [
        said("It opens at nine [1].", "The museum opens at nine."),
        said("It opens at ten."),
        said("", found=False),
        "It opens at ten.",
        "",
    ],
    ids=["altered quote", "no quote", "not found", "prose", "nothing"],
)
async def test_without_a_verified_quote_the_answer_is_not_in_the_context(
    call: Call, reply: str
) -> None:
    assert await call(chain_that_hears(reply), ASKED) == "Answer not in context"


@in_each_way
async def test_what_it_says_without_an_answer_can_be_chosen(call: Call) -> None:
    chain = chain_that_hears(said("", found=False), answer_not_in_context="Who knows?")

    assert await call(chain, ASKED) == "Who knows?"


async def test_the_retired_class_chose_it_in_each_call() -> None:
    chain = chain_that_hears(*[said("", found=False)] * 2)

    assert chain.invoke(ASKED, response_if_no_answer_found="No.") == "No."
    assert await chain.ainvoke(ASKED, response_if_no_answer_found="No.") == "No."


@each(
    "context",
    [CONTEXT, [CONTEXT], [Document(CONTEXT)], ["Nothing here.", Document(CONTEXT)]],
    ids=["text", "texts", "documents", "both"],
)
def test_each_form_of_the_context_is_understood(context: Any) -> None:
    chain = chain_that_hears(said("At ten [1].", "opens at ten"))

    assert chain.invoke({"context": context, "question": "?"}) == "At ten."


@in_each_way
async def test_without_context_the_model_is_not_asked(call: Call) -> None:
    chain = chain_that_hears()

    assert await call(chain, {"context": "", "question": "?"}) == "Answer not in context"


WRONG = {
    "no context": ({"question": "?"}, "ContextualAnswers: context: Field required"),
    "no question": ({"context": "x"}, "ContextualAnswers: question: Field required"),
    "blank question": ({"context": "x", "question": " "}, "ContextualAnswers: question: String"),
    "text alone": ("When?", "ContextualAnswers: input: "),
    "number as context": ({"context": 5, "question": "?"}, "ContextualAnswers: context"),
    "number in context": ({"context": [5], "question": "?"}, "ContextualAnswers: context"),
}


@in_each_way
@each(("asked", "message"), WRONG.values(), ids=WRONG)
async def test_wrong_input_is_one_line_that_names_it(call: Call, asked: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await call(chain_that_hears(), asked)

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


async def test_it_composes_like_any_source_of_text() -> None:
    replies = [said("At ten [1].", "opens at ten")] * 3
    pipeline = chain_that_hears(*replies) | StrOutputParser()

    assert pipeline.invoke(ASKED) == "At ten."
    assert await pipeline.ainvoke(ASKED) == "At ten."
    assert "".join(pipeline.stream(ASKED)) == "At ten."


async def test_a_batch_returns_exceptions_in_their_place() -> None:
    chain = chain_that_hears(*[said("At ten [1].", "opens at ten")] * 4)
    for results in (
        chain.batch([ASKED, {}, ASKED], return_exceptions=True),
        await chain.abatch([ASKED, {}, ASKED], return_exceptions=True),
    ):
        assert [type(result) for result in results] == [str, ConfigurationError, str]


async def test_async_calls_use_no_thread() -> None:
    chain = chain_that_hears(*[said("At ten [1].", "opens at ten")] * 2)
    before = threading.active_count()
    await chain.abatch([ASKED] * 2)

    assert threading.active_count() == before


def test_the_schemas_carry_our_names() -> None:
    chain = create_contextual_answers_chain(ChatAI21(api_key="k"))

    assert chain.get_name() == "ContextualAnswers"
    assert chain.get_input_jsonschema()["title"] == ContextualAnswersInput.__name__
    assert chain.get_output_jsonschema() == {"title": "ContextualAnswersOutput", "type": "string"}


def test_a_chain_can_be_pickled() -> None:
    chain = create_contextual_answers_chain(ChatAI21(api_key="k"), answer_not_in_context="No.")

    assert pickle.loads(pickle.dumps(chain)).invoke({"context": "", "question": "?"}) == "No."
