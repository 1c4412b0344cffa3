"""The estimate of tokens: cautious at first, then as the API counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.tool import tool_call

from ai21_chains._tokens import CHARACTERS_PER_TOKEN, TokenEstimate, count_request
from ai21_chains._wire import ChatRequest
from ai21_chains.errors import UnsupportedContentError
from tests.cases import each


def look_up(city: str) -> str:
    """Look up the weather."""
    return city


def asked(text: str) -> ChatRequest:
    return {"messages": [{"role": "user", "content": text}]}


@each(("text", "tokens"), [("", 0), ("a", 1), ("abcd", 2), ("x" * 350, 100)])
def test_at_first_a_token_has_three_and_a_half_characters(text: str, tokens: int) -> None:
    assert TokenEstimate().text(text) == tokens


@given(st.text())
def test_every_text_has_a_count(text: str) -> None:
    tokens = TokenEstimate().text(text)

    assert (tokens == 0) == (text == "")
    assert tokens <= len(text)


@each("truth", [1.2, 2.0, 3.5, 5.0, 9.0])
def test_the_estimate_converges_to_what_the_api_counts(truth: float) -> None:
    estimate = TokenEstimate()
    text = "x" * 7_000

    for _ in range(40):
        estimate.learn(asked(text), 6 + round(len(text) / truth))

    assert estimate.ratio == pytest.approx(truth, rel=0.01)
    assert estimate.text(text) == pytest.approx(len(text) / truth, rel=0.01)


def test_one_odd_answer_moves_it_only_a_little() -> None:
    estimate = TokenEstimate()

    estimate.learn(asked("x" * 1_000), 1_000_000)

    assert 0.8 * CHARACTERS_PER_TOKEN <= estimate.ratio < CHARACTERS_PER_TOKEN


def test_documents_and_calls_count_as_text() -> None:
    estimate = TokenEstimate()
    body = asked("x" * 500)
    body["documents"] = [{"content": "y" * 500, "metadata": {}}]

    estimate.learn(body, 506)

    assert estimate.ratio == pytest.approx(CHARACTERS_PER_TOKEN + 0.2 * (2 - CHARACTERS_PER_TOKEN))


@each(
    ("body", "tokens"),
    [
        pytest.param(asked("x" * 199), 50, id="too-short"),
        pytest.param(asked(""), 0, id="empty"),
        pytest.param(asked("x" * 1_000), 0, id="no-count"),
        pytest.param(asked("x" * 1_000), 6, id="no-more-than-the-template"),
        pytest.param({**asked("x" * 1_000), "tools": [{}]}, 5_000, id="tools"),
        pytest.param({"messages": []}, 1_000, id="no-messages"),
    ],
)
def test_what_teaches_nothing_changes_nothing(body: ChatRequest, tokens: int) -> None:
    estimate = TokenEstimate()

    estimate.learn(body, tokens)

    assert estimate.ratio == CHARACTERS_PER_TOKEN


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(-10, 10**9)), max_size=20))
def test_whatever_it_learns_it_stays_plausible(lessons: list[tuple[int, int]]) -> None:
    estimate = TokenEstimate()
    for length, tokens in lessons:
        estimate.learn(asked("x" * length), tokens)

    assert 1.0 <= estimate.ratio <= 10.0


CALL = AIMessage("", tool_calls=[tool_call(name="look_up", args={"city": "Bonn"}, id="a")])


@each(
    ("messages", "overhead"),
    [([], 3), ([HumanMessage("")], 6), ([SystemMessage(""), HumanMessage("")], 9)],
)
def test_each_message_has_its_marks(messages: list[BaseMessage], overhead: int) -> None:
    assert count_request(messages, (), len) == overhead


def test_text_calls_and_tools_are_counted() -> None:
    plain = count_request([HumanMessage("12345")], (), len)
    with_call = count_request([HumanMessage("12345"), CALL], (), len)
    with_tools = count_request([HumanMessage("12345")], [look_up], len)

    assert plain == 11
    assert with_call > plain + len('{"city": "Bonn"}')
    assert with_tools > plain + len("Look up the weather.")


def test_a_tool_with_values_that_are_no_json_is_counted() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"default": {1}}}}

    assert count_request([], [tool], len) > 3


def test_what_cannot_be_sent_cannot_be_counted() -> None:
    with pytest.raises(UnsupportedContentError):
        count_request([HumanMessage([{"type": "image", "base64": "aGk="}])], (), len)
