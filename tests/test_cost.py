"""What an answer costs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage

from ai21_chains import ChatAI21, create_grounded_qa_chain
from ai21_chains._cost import cost
from ai21_chains.errors import ConfigurationError
from tests.cases import each

USAGE = {"input_tokens": 1_000_000, "output_tokens": 1_000_000, "total_tokens": 2_000_000}


def _message(usage: Any = USAGE, **metadata: str) -> AIMessage:
    return AIMessage("Hello", usage_metadata=usage, response_metadata=metadata)


@each(
    ("model", "dollars"),
    [
        ("jamba-mini", "0.6"),
        ("ai21/jamba-mini", "0.6"),
        ("jamba-large-1.7", "10"),
        ("jamba-1.5-large", "10"),
        ("jamba-instruct", "1.2"),
        ("j2-ultra", "30"),
    ],
)
def test_a_message_costs_what_its_models_tokens_do(model: str, dollars: str) -> None:
    assert cost(_message(model_name=model)) == Decimal(dollars)


def test_the_smallest_answer_is_not_rounded_to_nothing() -> None:
    usage = {"input_tokens": 1, "output_tokens": 0, "total_tokens": 1}

    assert cost(usage, "jamba-mini") == Decimal("0.0000002")


def test_an_answer_of_the_model_has_its_cost(model: ChatAI21) -> None:
    answer = model.invoke("Hello")
    usage = answer.usage_metadata
    assert usage

    expected = (usage["input_tokens"] * 20 + usage["output_tokens"] * 40) / Decimal(100_000_000)
    assert cost(answer) == expected > 0


def test_the_sum_of_a_stream_costs_what_the_answer_does(model: ChatAI21) -> None:
    pieces = list(model.stream("Hello"))
    total = pieces[0]
    for piece in pieces[1:]:
        total += piece

    assert isinstance(total, AIMessageChunk)
    assert cost(total) == cost(model.invoke("Hello"))


def test_a_grounded_answers_usage_has_its_cost(model: ChatAI21) -> None:
    documents = [Document("Descaling takes 25 minutes.")]
    answer = create_grounded_qa_chain(model).invoke(
        {"question": "How long does descaling take?", "documents": documents}
    )
    assert answer.usage

    assert cost(answer.usage, "jamba-mini") > 0


def test_the_usage_of_the_wire_has_its_cost() -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}

    assert cost(usage, model="jamba-large") == Decimal("0.006")


def test_a_model_that_is_given_takes_the_place_of_the_messages() -> None:
    assert cost(_message(model_name="my-deployment"), model="jamba-mini") == Decimal("0.6")


def test_an_unknown_price_is_an_error_and_not_nothing() -> None:
    with pytest.raises(ConfigurationError, match="price of model 'gpt-5' is not known; known are"):
        cost(_message(model_name="gpt-5"))


def test_a_usage_without_its_model_asks_for_it() -> None:
    with pytest.raises(ConfigurationError, match="pass model="):
        cost(USAGE)


@each(
    "answer",
    [
        _message(usage=None),
        HumanMessage("Hello"),
        {},
        {"input_tokens": 1},
        {"input_tokens": "1", "output_tokens": 2},
        {"input_tokens": True, "output_tokens": 2},
        {"input_tokens": -1, "output_tokens": 2},
    ],
)
def test_an_answer_without_usage_is_refused(answer: Any) -> None:
    with pytest.raises(ConfigurationError, match="no usage"):
        cost(answer, model="jamba-mini")
