"""The summarize chain as its users call it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.runnables import Runnable, RunnableLambda

from ai21_chains import ChatAI21
from ai21_chains.chains.summarize import (
    INSTRUCTIONS,
    SummarizeInput,
    Summary,
    create_summarize_chain,
)
from ai21_chains.emulator import Emulator, Fault, Reply, scripted
from ai21_chains.errors import AuthenticationError, ConfigurationError
from tests.cases import each

DOCUMENTS = [
    Document("Annual leave is 30 days.", metadata={"source": "handbook.md"}),
    Document("Descaling takes\n25 minutes.", metadata={"source": "manual.pdf", "page": 4}),
]
POINTS: list[dict[str, Any]] = [
    {"id": 1, "doc": 1, "quote": "Descaling takes 25 minutes.", "point": "It descales in 25."},
    {"id": 2, "doc": 0, "quote": "Annual leave is 30 days.", "point": "Leave is 30 days."},
]
TEXT = "Leave is 30 days [2]. Descaling takes 25 minutes [1]."
Call = Callable[[Runnable[Any, Any], Any], Awaitable[Summary]]


def reply(points: Any = POINTS, text: Any = TEXT, **more: Any) -> str:
    return json.dumps({"citations": points, "answer": text, **more})


async def _invoke(chain: Runnable[Any, Any], given: Any) -> Summary:
    return chain.invoke(given)


async def _ainvoke(chain: Runnable[Any, Any], given: Any) -> Summary:
    return await chain.ainvoke(given)


async def _stream(chain: Runnable[Any, Any], given: Any) -> Summary:
    first, *rest = chain.stream(given)
    return Summary.model_validate(sum(rest, first))


async def _astream(chain: Runnable[Any, Any], given: Any) -> Summary:
    first, *rest = [piece async for piece in chain.astream(given)]
    return Summary.model_validate(sum(rest, first))


in_each_way = each("call", [_invoke, _ainvoke, _stream, _astream])


def saying(brain: Any, **options: Any) -> tuple[Any, Emulator]:
    emulator = Emulator(brain=brain)
    transport = emulator.transport()
    model = ChatAI21(
        api_key="k",
        http_client=httpx.Client(transport=transport),
        http_async_client=httpx.AsyncClient(transport=transport),
    )
    return create_summarize_chain(model, **options), emulator


@in_each_way
async def test_a_point_cites_the_document_that_holds_its_quote(call: Call) -> None:
    chain, _ = saying(lambda request: reply())
    summary = await call(chain, DOCUMENTS)

    assert summary.text == "Leave is 30 days [1]. Descaling takes 25 minutes [2]."
    assert [point.text for point in summary.key_points] == [
        "It descales in 25.",
        "Leave is 30 days.",
    ]
    (citation,) = summary.key_points[0].citations
    assert (citation.id, citation.document_index, citation.page) == (2, 1, 4)
    assert citation.quote == "Descaling takes\n25 minutes."
    assert summary.text[citation.answer_start : citation.answer_end].startswith("Descaling")
    assert (summary.status, summary.rejected, summary.unsupported_numbers) == ("complete", [], [])
    assert summary.usage is not None


def test_the_request_has_the_documents_and_asks_for_the_length() -> None:
    chain, emulator = saying(lambda request: reply(), words=70)
    chain.invoke(DOCUMENTS)

    (request,) = emulator.requests
    assert request.json["messages"] == [
        {"role": "system", "content": INSTRUCTIONS},
        {"role": "user", "content": "Summarize the documents in at most 70 words."},
    ]
    assert [d["content"] for d in request.json["documents"]] == [d.page_content for d in DOCUMENTS]
    assert request.json["response_format"] == {"type": "json_object"}


def test_the_text_streams_as_it_grows_and_everything_else_comes_last() -> None:
    chain, _ = saying(lambda request: reply())
    pieces = list(chain.stream(DOCUMENTS))

    assert len([piece for piece in pieces if piece.get("text")]) > 3
    assert pieces[-2].keys() == Summary.model_fields.keys() - {"usage"}
    assert pieces[-1].keys() == {"usage"}


INPUTS: dict[str, Any] = {
    "documents": DOCUMENTS,
    "dict": {"documents": DOCUMENTS, "session": 7},
    "model": SummarizeInput(documents=DOCUMENTS),
    "JSON": json.loads(SummarizeInput(documents=DOCUMENTS).model_dump_json()),
    "texts": [document.page_content for document in DOCUMENTS],
    "one document": DOCUMENTS[1],
    "one text": DOCUMENTS[1].page_content,
    "with blank ones": ["", *DOCUMENTS, " \n"],
}


@each("given", INPUTS.values(), ids=INPUTS)
def test_each_form_of_the_input_is_understood(given: Any) -> None:
    chain, _ = saying(lambda request: reply())
    summary = chain.invoke(given)

    assert summary.key_points[0].citations[0].quote == "Descaling takes\n25 minutes."


WRONG = {
    "nothing": (None, "input: Input should be"),
    "number": (5, "input: Input should be"),
    "no documents": ({}, "documents: Field required"),
    "misspelt": ({"document": []}, "document is unknown; did you mean documents?"),
    "number among them": (["a", 5], "documents[1]: a document must be"),
    "without text": ([{}], "documents[0]: a document needs text"),
    "odd metadata": (
        [{"content": "x", "metadata": 5}],
        "documents[0]: a document's metadata must be",
    ),
}


@in_each_way
@each(("given", "message"), WRONG.values(), ids=WRONG)
async def test_wrong_input_is_one_line_that_names_it(call: Call, given: Any, message: str) -> None:
    chain, _ = saying(lambda request: reply())
    with pytest.raises(ConfigurationError) as caught:
        await call(chain, given)

    assert str(caught.value).startswith(f"Summarize: {message}")
    assert "\n" not in str(caught.value)


@each(("name", "value"), [("words", 0), ("max_context_tokens", 10)])
def test_an_argument_out_of_range_is_named(model: ChatAI21, name: str, value: int) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be"):
        create_summarize_chain(model, **{name: value})


@in_each_way
@each("documents", [[], [""], [" \n\t", Document("")]])
async def test_without_text_the_model_is_not_asked(call: Call, documents: list[Any]) -> None:
    chain, emulator = saying(lambda request: reply())
    summary = await call(chain, documents)

    assert summary == Summary(status="no_documents")
    assert emulator.requests == []


# --- What models say -----------------------------------------------------------------------------


@in_each_way
async def test_a_point_without_a_verified_quote_is_none(call: Call) -> None:
    altered = {"id": 3, "doc": 0, "quote": "Annual leave is 45 days.", "point": "Leave is 45."}
    said = reply([*POINTS, altered], "Leave is 45 days [3]. Descaling takes 25 minutes [1].")
    chain, _ = saying(lambda request: said)
    summary = await call(chain, DOCUMENTS)

    assert summary.text == "Leave is 45 days. Descaling takes 25 minutes [1]."
    assert summary.unsupported_points == ["Leave is 45."]
    assert [quote.reason for quote in summary.rejected] == ["altered_number"]
    assert summary.unsupported_numbers == ["45"]


def test_a_number_of_a_point_must_stand_in_its_own_quote() -> None:
    swapped = [{**POINTS[0], "point": "It descales in 30 minutes."}, POINTS[1]]
    chain, _ = saying(lambda request: reply(swapped))

    assert chain.invoke(DOCUMENTS).unsupported_numbers == ["30"]


def test_several_quotes_of_one_point_stand_together() -> None:
    one = [{**point, "point": "Both."} for point in POINTS]
    chain, _ = saying(lambda request: reply(one))
    (point,) = chain.invoke(DOCUMENTS).key_points

    assert (point.text, [citation.id for citation in point.citations]) == ("Both.", [2, 1])


ODD: dict[str, tuple[str, str, int, str]] = {
    "nothing": ("", "", 0, "empty"),
    "prose": ("Just a summary.", "Just a summary.", 0, "complete"),
    "fenced": (f"```json\n{reply(text='Fine.')}\n```", "Fine.", 2, "complete"),
    "text first": (json.dumps({"answer": "A [2].", "citations": POINTS}), "A [1].", 2, "complete"),
    "no points": (reply([], "Fine."), "Fine.", 0, "complete"),
    "points null": (reply(None, "Fine."), "Fine.", 0, "complete"),
    "bare quotes": (reply(["Annual leave is 30 days."], "A [1]."), "A [1].", 1, "complete"),
    "one object": (reply(POINTS[0], "A [1]."), "A [1].", 1, "complete"),
    "ids as words": (reply([{**POINTS[0], "id": "[7]"}], "A [7]."), "A [1].", 1, "complete"),
    "same id twice": (reply([{**p, "id": 1} for p in POINTS], "A [1]."), "A [1].", 2, "complete"),
    "odd items": (reply([5, None, {"quote": 5}, {}, POINTS[0]], "A [1]."), "A [1].", 1, "complete"),
    "text a list": (reply(text=["A"]), "", 2, "empty"),
    "broken off": (reply()[:-20], "Leave is 30 days [1]. Descaling tak", 2, "partly"),
    "broken off early": (reply()[:30], "", 0, "empty"),
}


@in_each_way
@each(("said", "text", "points", "status"), ODD.values(), ids=ODD)
async def test_a_reply_never_raises(
    call: Call, said: str, text: str, points: int, status: str
) -> None:
    chain, _ = saying(lambda request: said)
    summary = await call(chain, DOCUMENTS)

    assert (summary.text, len(summary.key_points), summary.status) == (text, points, status)


def test_a_reply_that_was_cut_off_at_the_limit_is_not_complete() -> None:
    chain, _ = saying(lambda request: Reply(reply()[:-30], finish_reason="length"))

    assert chain.invoke(DOCUMENTS).status == "partly"


@in_each_way
async def test_an_error_of_the_model_comes_through_as_it_is(call: Call) -> None:
    chain, emulator = saying(lambda request: reply())
    emulator.faults.append(Fault(status=401))

    with pytest.raises(AuthenticationError):
        await call(chain, DOCUMENTS)


# --- More than fits into one request ------------------------------------------------------------

LONG = [
    Document(f"Clause {number} grants {number + 100} acres. " + "Nothing else is said here. " * 12)
    for number in range(12)
]


def first_sentence(request: dict[str, Any]) -> str:
    """Quote the first sentence of each document, and of a note the first quote."""
    quotes = [
        text.partition("“")[2].partition("”")[0] or text.partition(".")[0] + "."
        for text in (document["content"] for document in request["documents"])
    ]
    points = [
        {"id": number, "doc": place, "quote": quote, "point": f"Point: {quote}"}
        for place, (number, quote) in enumerate(enumerate(quotes, 1))
    ]
    return reply(points, " ".join(f"{quote} [{n}]" for n, quote in enumerate(quotes, 1)))


@in_each_way
async def test_parts_are_summarized_and_then_the_whole(call: Call) -> None:
    chain, emulator = saying(first_sentence, max_context_tokens=600)
    summary = await call(chain, LONG)
    requests = [request.json for request in emulator.requests]
    read = [d["content"] for request in requests for d in request["documents"]]

    assert all(document.page_content in read for document in LONG)
    assert "part 1 of" in str([request["messages"][-1] for request in requests])
    assert "Copy your quotes from those quotes" in requests[-1]["messages"][-1]["content"]
    assert summary.status == "complete"
    assert summary.key_points
    for point in summary.key_points:
        for citation in point.citations:
            source = LONG[citation.document_index].page_content
            assert source[citation.start : citation.end] == citation.quote
    assert summary.usage is not None
    assert summary.usage["total_tokens"] > 1000


def test_notes_that_do_not_fit_are_summarized_in_parts_again() -> None:
    chain, emulator = saying(first_sentence, max_context_tokens=160)
    summary = chain.invoke(LONG)
    asked = [request.json["messages"][-1]["content"] for request in emulator.requests]

    assert len([text for text in asked if "Copy" in text and "part 1 of" in text]) >= 1
    assert len(asked) < 40
    assert summary.status == "complete"


def test_notes_that_do_not_shrink_come_to_an_end() -> None:
    chain, emulator = saying(
        lambda request: reply([], "More and more words. " * 60), max_context_tokens=100
    )
    summary = chain.invoke(LONG[:4])

    assert summary.status == "complete"
    assert len(emulator.requests) < 60


def test_what_was_proven_is_not_lost_when_the_last_reply_has_no_quotes() -> None:
    def brain(request: dict[str, Any]) -> str:
        last = "Copy your quotes" in request["messages"][-1]["content"]
        return reply([], "Acres are granted.") if last else first_sentence(request)

    chain, _ = saying(brain, max_context_tokens=600)
    summary = chain.invoke(LONG)

    assert summary.text == "Acres are granted."
    ids = [citation.id for point in summary.key_points for citation in point.citations]
    assert ids == list(range(1, 13))


def test_a_part_that_got_no_summary_is_not_passed_over() -> None:
    def brain(request: dict[str, Any]) -> str:
        return "" if "part 2 of" in request["messages"][-1]["content"] else first_sentence(request)

    chain, _ = saying(brain, max_context_tokens=600)

    assert chain.invoke(LONG).status == "partly"


def test_parts_that_all_got_none_are_no_summary() -> None:
    chain, _ = saying(lambda request: "", max_context_tokens=600)

    assert chain.invoke(LONG).status == "empty"


async def test_no_more_parts_are_asked_at_once_than_the_configuration_says() -> None:
    # A chain for each: where a window ends depends on what its model has learnt about tokens.
    one, two, three = (saying(first_sentence, max_context_tokens=600) for _ in range(3))

    summary = await one[0].ainvoke(LONG, {"max_concurrency": 1})

    assert await two[0].ainvoke(LONG) == three[0].invoke(LONG) == summary
    assert len(one[1].requests) == len(two[1].requests) == len(three[1].requests)


# --- Other models --------------------------------------------------------------------------------


@in_each_way
async def test_any_chat_model_finds_the_documents_in_the_prompt(call: Call) -> None:
    seen: list[Any] = []
    model = FakeListChatModel(responses=[reply()])
    chain: Any = create_summarize_chain(RunnableLambda(lambda m: seen.append(m) or m) | model)
    summary = await call(chain, DOCUMENTS)

    assert summary.status == "complete"
    assert "\nAnnual leave is 30 days.\n</document-" in seen[-1][-1].content


def test_a_batch_returns_exceptions_in_their_place() -> None:
    chain, _ = saying(scripted(reply(), reply()))
    results = chain.batch([DOCUMENTS, 5, DOCUMENTS], return_exceptions=True)

    assert [type(result) for result in results] == [Summary, ConfigurationError, Summary]


def test_the_emulator_summarizes_with_the_documents_own_sentences(model: ChatAI21) -> None:
    summary = create_summarize_chain(model).invoke(DOCUMENTS)

    assert {point.text for point in summary.key_points} == {
        "Annual leave is 30 days.",
        "Descaling takes 25 minutes.",
    }


def test_the_chain_has_a_name_and_named_types(model: ChatAI21) -> None:
    chain = create_summarize_chain(model)

    assert chain.get_name() == "Summarize"
    assert chain.get_input_schema().__name__ == "SummarizeInput"
    assert chain.get_output_schema().__name__ == "Summary"
