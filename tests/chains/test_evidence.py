"""Documents beyond the window: answered from verified quotes of all of them."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import httpx
import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.runnables import Runnable, RunnableLambda

from ai21_chains import ChatAI21, GroundedAnswer, create_grounded_qa_chain
from ai21_chains.chains._evidence import Excerpts
from ai21_chains.chains._grounding import EVIDENCE_INSTRUCTIONS
from ai21_chains.chains._windows import (
    DEFAULT_TOKENS,
    Piece,
    budget_for,
    counter_for,
)
from ai21_chains.citations import Citation, PreparedDocuments, RejectedQuote
from ai21_chains.emulator import Emulator
from ai21_chains.errors import ConfigurationError
from tests.cases import each

CLAUSE = "The Distributor pays a penalty of 75 euros per pallet."
QUESTION = "What penalty does the Distributor pay per pallet?"
WORDS = ("party", "goods", "schedule", "notice", "invoice", "premises", "warranty", "term")


def paragraphs(count: int) -> list[str]:
    chance = random.Random(7)
    return [f"{' '.join(chance.choices(WORDS, k=100)).capitalize()}." for _ in range(count)]


def contract(count: int) -> Document:
    texts = paragraphs(count)
    texts[count * 2 // 3] += f" {CLAUSE}"
    return Document("\n\n".join(texts), metadata={"title": "Contract", "page": 3, "start_index": 9})


def says(**reply: Any) -> str:
    return json.dumps(reply)


def quoted(*quotes: str, answer: str | None = None) -> str:
    citations = [{"id": n, "doc": 0, "quote": quote} for n, quote in enumerate(quotes, start=1)]
    more = {} if answer is None else {"answer": answer}
    return says(found=bool(quotes), citations=citations, **more)


def is_for_evidence(request: dict[str, Any]) -> bool:
    return bool(request["messages"][0]["content"] == EVIDENCE_INSTRUCTIONS)


async def in_all_ways(chain: Runnable[Any, Any], asked: Any) -> GroundedAnswer:
    """Ask in four ways, see that the answers are equal, and return it."""
    first, *rest = chain.stream(asked)
    afirst, *arest = [piece async for piece in chain.astream(asked)]
    answers = [
        chain.invoke(asked),
        await chain.ainvoke(asked),
        GroundedAnswer.model_validate(sum(rest, first)),
        GroundedAnswer.model_validate(sum(arest, afirst)),
    ]
    # How many windows there are depends on what the model has learnt about its tokens.
    same = [answer.model_copy(update={"usage": None}) for answer in answers]
    assert same == [same[0]] * 4
    return answers[0]


def test_a_long_contract_has_the_same_answer_in_windows_of_any_size(model: ChatAI21) -> None:
    long, short = contract(520), contract(50)
    assert len(long.page_content) > 338_000

    # Windows of 300 tokens hold a paragraph each: fifty of them show what five hundred would.
    whole = [(long, budget) for budget in (300_000, None, 20_000, 2_000)]
    for document, budget in [*whole, (short, 300)]:
        asked = {"question": QUESTION, "documents": [Document("Unrelated."), document]}
        answer = create_grounded_qa_chain(model, max_context_tokens=budget).invoke(asked)

        assert (answer.answer, answer.status) == (f"{CLAUSE} [1]", "answered")
        (citation,) = answer.citations
        assert document.page_content[citation.start : citation.end] == CLAUSE
        assert (citation.document_index, citation.title, citation.page) == (1, "Contract", 3)
        assert citation.source_start == citation.start + 9
        assert answer.documents == asked["documents"]


async def test_every_way_of_asking_gives_the_same_answer(model: ChatAI21) -> None:
    chain = create_grounded_qa_chain(model, max_context_tokens=500)

    answer = await in_all_ways(chain, {"question": QUESTION, "documents": [contract(20)]})

    assert answer.answer == f"{CLAUSE} [1]"


async def test_each_window_is_asked_for_evidence_and_the_quotes_for_the_answer(
    model: ChatAI21, emulator: Emulator
) -> None:
    chain = create_grounded_qa_chain(model, max_context_tokens=500)
    history = [("human", "Hi"), ("ai", "Hello")]

    chain.invoke({"question": QUESTION, "documents": [contract(20)], "chat_history": history})

    *windows, last = [request.json for request in emulator.requests]
    assert len(windows) > 5
    assert all(map(is_for_evidence, windows))
    assert not is_for_evidence(last)
    assert last["documents"] == [
        {"content": CLAUSE, "metadata": {"title": "Contract", "page": "3"}}
    ]
    for request in (*windows, last):
        assert [m["content"] for m in request["messages"][1:]] == ["Hi", "Hello", QUESTION]


def test_usage_is_the_sum_of_all_calls() -> None:
    documents = [contract(3), Document("More. " * 60), Document("And more. " * 60)]
    calls = 0

    def counted(messages: Any) -> AIMessage:
        nonlocal calls
        calls += 1
        usage = UsageMetadata(input_tokens=10, output_tokens=1, total_tokens=11)
        return AIMessage(quoted(CLAUSE, answer="75 euros [1]."), usage_metadata=usage)

    chain = create_grounded_qa_chain(RunnableLambda(counted), max_context_tokens=200)
    usage = chain.invoke({"question": QUESTION, "documents": documents}).usage

    assert usage is not None
    assert usage["total_tokens"] == 11 * calls > 33


@each(
    "reply",
    ["no JSON", "", says(found=False, citations=[{"quote": CLAUSE}]), quoted(), "{", "[1, 2]"],
)
async def test_without_evidence_nothing_more_is_asked(http: dict[str, Any], reply: str) -> None:
    emulator = Emulator(brain=lambda request: reply)
    transport = emulator.transport()
    clients = {
        "http_client": httpx.Client(transport=transport),
        "http_async_client": httpx.AsyncClient(transport=transport),
    }
    model = ChatAI21(**{**http, **clients})
    chain = create_grounded_qa_chain(model, max_context_tokens=500, abstain_message="No.")

    answer = await in_all_ways(chain, {"question": QUESTION, "documents": [contract(10)]})

    assert (answer.answer, answer.status, answer.answerable) == ("No.", "not_found", False)
    assert answer.usage is not None
    assert all(is_for_evidence(request.json) for request in emulator.requests)


def test_a_window_whose_reply_cannot_be_read_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def answer(messages: Any) -> AIMessage:
        asked = messages[-1].text
        return AIMessage(quoted(CLAUSE, answer="75 [1].") if CLAUSE in asked else "Nothing here.")

    chain = create_grounded_qa_chain(RunnableLambda(answer), max_context_tokens=1_000)
    result = chain.invoke({"question": QUESTION, "documents": [contract(12)]})

    assert result.status == "answered"
    (record,) = caplog.records
    assert re.fullmatch(r"[2-9] of [3-9] windows: the reply was no JSON", record.getMessage())


async def test_quotes_that_no_document_has_are_no_evidence_and_are_listed() -> None:
    invented = "The Distributor pays a penalty of 99 euros per pallet."
    model = RunnableLambda(lambda messages: AIMessage(quoted(invented)))
    chain = create_grounded_qa_chain(model, max_context_tokens=1_000)

    answer = await in_all_ways(chain, {"question": QUESTION, "documents": [contract(12)]})

    assert answer.status == "not_found"
    assert {(quote.quote, quote.reason) for quote in answer.rejected} == {
        (invented, "altered_number")
    }


def test_a_window_whose_reply_was_cut_off_shows_in_the_status() -> None:
    for reply in (quoted(), quoted(CLAUSE, answer="75 euros [1].")):
        message = AIMessage(reply, response_metadata={"finish_reason": "length"})
        chain = create_grounded_qa_chain(
            RunnableLambda(lambda messages, message=message: message), max_context_tokens=1_000
        )

        answer = chain.invoke({"question": QUESTION, "documents": [contract(12)]})

        assert answer.status == "truncated"


def test_evidence_beyond_the_window_is_reduced_again() -> None:
    facts = [f"Fact {n} is here." for n in range(40)]
    documents = [Document(f"{fact} " + "filler " * 100) for fact in facts]
    sizes: list[int] = []

    def answer(messages: Any) -> AIMessage:
        told, asked = messages[0].text, messages[-1].text
        sizes.append(len(asked))
        if told != EVIDENCE_INSTRUCTIONS:
            return AIMessage(quoted("Fact 7 is here.", answer="Seven [1]."))
        if "filler" in asked:
            return AIMessage(quoted(*(fact for fact in facts if fact in asked)))
        return AIMessage(quoted(*(["Fact 7 is here."] if "Fact 7 " in asked else [])))

    chain = create_grounded_qa_chain(RunnableLambda(answer), max_context_tokens=300)
    result = chain.invoke({"question": "Which fact?", "documents": documents})

    assert result.status == "answered"
    assert result.citations[0].document_index == 7
    assert sizes[-1] < 300  # the last question is asked over the one quote that is left


@each("second", ["Quotes as much again.", "Quotes nothing."])
def test_evidence_that_does_not_shrink_is_read_at_once(second: str) -> None:
    facts = [f"Fact {n} is stated here and nowhere else." for n in range(40)]
    documents = [Document(f"{fact} " + "filler " * 100) for fact in facts]

    def answer(messages: Any) -> AIMessage:
        told, asked = messages[0].text, messages[-1].text
        if told != EVIDENCE_INSTRUCTIONS:
            assert all(fact in asked for fact in facts)
            return AIMessage(quoted(facts[7], answer="Seven [1]."))
        again = "filler" in asked or second == "Quotes as much again."
        return AIMessage(quoted(*(fact for fact in facts if again and fact in asked)))

    chain = create_grounded_qa_chain(RunnableLambda(answer), max_context_tokens=300)

    assert chain.invoke({"question": "Which?", "documents": documents}).status == "answered"


async def test_the_requests_for_evidence_have_a_tag(model: ChatAI21) -> None:
    chain = create_grounded_qa_chain(model, max_context_tokens=1_000)
    asked = {"question": QUESTION, "documents": [contract(12)]}
    events = [event async for event in chain.astream_events(asked, version="v2")]

    tags = [event["tags"] for event in events if event["event"] == "on_chat_model_start"]
    assert tags[:-1] == [["gather_evidence"]] * (len(tags) - 1)
    assert tags[-1] == []


# --- Excerpts ------------------------------------------------------------------------------------


def excerpts(texts: list[str], *places: tuple[int, int, int]) -> Excerpts:
    pieces = [
        Piece(index, Document(texts[index][start:end]), 0, start) for index, start, end in places
    ]
    return Excerpts(pieces, PreparedDocuments(texts))


def test_a_quote_that_stands_in_several_places_is_cited_where_it_was_shown() -> None:
    texts = ["Nothing.", "Notice: thirty days. " * 5]
    shown = excerpts(texts, (0, 0, 8), (1, 42, 63))

    citation = shown.verify("thirty days", claimed=1)

    assert isinstance(citation, Citation)
    assert (citation.document_index, citation.start) == (1, 50)
    assert texts[1][citation.start : citation.end] == "thirty days" == citation.quote
    assert citation.occurrences == 5


@each("claimed", [None, -1, 0, 5])
def test_what_was_not_shown_is_found_in_the_documents(claimed: int | None) -> None:
    shown = excerpts(["The fee is due. The end is near. The fee is due."], (0, 16, 32))

    for quote in ("The fee is due.", "The end is near."):
        assert isinstance(shown.verify(quote, claimed=claimed), Citation)
    rejected = shown.verify("No fee is ever due.", claimed=claimed)
    assert isinstance(rejected, RejectedQuote)


# --- The budget ----------------------------------------------------------------------------------


def test_the_budget_is_half_of_a_small_window() -> None:
    small = ChatAI21(api_key="k", profile={"max_input_tokens": 8_000})

    assert budget_for(ChatAI21(api_key="k"), None) == DEFAULT_TOKENS
    assert budget_for(small, None) == 4_000
    assert budget_for(small.bind(stop=["x"]).with_retry(), None) == 4_000
    assert budget_for(ChatAI21(api_key="k").with_fallbacks([small]), None) == 4_000
    assert budget_for(small, 5_000) == 5_000
    assert budget_for(RunnableLambda(str), None) == DEFAULT_TOKENS


def test_a_model_that_counts_is_asked() -> None:
    class Counts(FakeListChatModel):
        def get_num_tokens(self, text: str) -> int:
            return len(text.split())

    model = Counts(responses=[])
    assert counter_for(model.bind(stop=["x"]))("one two three") == 3
    for other in (FakeListChatModel(responses=[]), RunnableLambda(str)):
        assert counter_for(other)("a" * 35) == 10


@each("budget", [0, -1, 99, 1.5, True, "many"])
def test_a_budget_that_holds_nothing_is_refused(model: ChatAI21, budget: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_context_tokens must be a whole number"):
        create_grounded_qa_chain(model, max_context_tokens=budget)
