"""The classification chain as its users call it."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.runnables import Runnable, RunnableLambda

from ai21_chains import ChatAI21
from ai21_chains.chains.classification import (
    Classification,
    ClassificationInput,
    create_classification_chain,
)
from ai21_chains.emulator import Emulator, Fault
from ai21_chains.errors import AuthenticationError, ConfigurationError
from tests.cases import each

MAIL = "The grinder broke after two days. I want my money back. Your hotline was friendly."
LABELS = {
    "Refund": "The writer asks for money.",
    "Defect": "Something does not work.",
    "Praise": "The writer is content.",
}
REFUND = {"label": "Refund", "quote": "I want my money back."}
DEFECT = {"label": "Defect", "quote": "The grinder broke after two days."}
Call = Callable[[Runnable[Any, Any], Any], Awaitable[Classification]]


async def _invoke(chain: Runnable[Any, Any], given: Any) -> Classification:
    return chain.invoke(given)


async def _ainvoke(chain: Runnable[Any, Any], given: Any) -> Classification:
    return await chain.ainvoke(given)


async def _stream(chain: Runnable[Any, Any], given: Any) -> Classification:
    first, *rest = chain.stream(given)
    return Classification.model_validate(sum(rest, first))


async def _astream(chain: Runnable[Any, Any], given: Any) -> Classification:
    first, *rest = [piece async for piece in chain.astream(given)]
    return Classification.model_validate(sum(rest, first))


in_each_way = each("call", [_invoke, _ainvoke, _stream, _astream])


def saying(said: Any, labels: Any = LABELS, **options: Any) -> tuple[Any, Emulator]:
    """Return a chain whose model says this: a text, what stands under "labels", or a function."""
    text = said if isinstance(said, str) else json.dumps({"labels": said}, default=str)
    emulator = Emulator(brain=said if callable(said) else lambda request: text)
    transport = emulator.transport()
    model = ChatAI21(
        api_key="k",
        http_client=httpx.Client(transport=transport),
        http_async_client=httpx.AsyncClient(transport=transport),
    )
    return create_classification_chain(model, labels, **options), emulator


@in_each_way
async def test_a_label_comes_with_the_passage_that_is_the_reason(call: Call) -> None:
    chain, _ = saying([REFUND])
    result = await call(chain, MAIL)

    assert (result.labels, result.abstained) == (["Refund"], False)
    (citation,) = result.citations
    assert MAIL[citation.start : citation.end] == citation.quote == "I want my money back."
    assert result.usage is not None


def test_the_request_has_the_text_as_a_document_and_the_labels_with_their_meaning() -> None:
    chain, emulator = saying([REFUND])
    chain.invoke(MAIL)
    (request,) = emulator.requests
    system, user = request.json["messages"]

    assert request.json["documents"] == [{"content": MAIL, "metadata": {}}]
    assert system["content"].endswith(json.dumps(LABELS, indent=1))
    assert "At most one label fits" in system["content"]
    assert user["content"] == "Which label fits the document?"


@in_each_way
async def test_of_several_labels_only_the_first_counts_unless_several_may(call: Call) -> None:
    one, _ = saying([REFUND, DEFECT])
    several, emulator = saying([REFUND, DEFECT], multi_label=True)
    first, both = await call(one, MAIL), await call(several, MAIL)

    assert first.labels == ["Refund"]
    assert [(r.label, r.reason) for r in first.refused] == [("Defect", "not_first")]
    assert (both.labels, both.refused) == (["Refund", "Defect"], [])
    assert [citation.id for citation in both.citations] == [1, 2]
    assert [c.quote for c in both.reasons("Defect")] == ["The grinder broke after two days."]
    assert both.reasons("Praise") == []
    assert "Several labels may fit" in emulator.requests[0].json["messages"][0]["content"]


@in_each_way
async def test_a_label_outside_the_set_is_refused(call: Call) -> None:
    chain, _ = saying([{**REFUND, "label": "Lawsuit"}])
    result = await call(chain, MAIL)

    assert (result.labels, result.citations, result.abstained) == ([], [], True)
    assert [(r.label, r.reason) for r in result.refused] == [("Lawsuit", "unknown")]


@in_each_way
async def test_a_label_without_a_verified_quote_is_no_label(call: Call) -> None:
    invented = [{"label": "Refund", "quote": "I want my money back within 14 days."}]
    strict, _ = saying(invented)
    lenient, _ = saying(invented, require_citation=False)
    refused, kept = await call(strict, MAIL), await call(lenient, MAIL)

    assert (refused.labels, refused.abstained) == ([], True)
    assert [(r.label, r.reason) for r in refused.refused] == [("Refund", "no_quote")]
    assert [quote.quote for quote in refused.rejected] == ["I want my money back within 14 days."]
    assert (kept.labels, kept.citations, kept.abstained) == (["Refund"], [], False)
    assert kept.rejected == refused.rejected


def test_the_first_label_that_was_proven_counts() -> None:
    chain, _ = saying([{"label": "Praise"}, REFUND])
    result = chain.invoke(MAIL)

    assert result.labels == ["Refund"]
    assert [(r.label, r.reason) for r in result.refused] == [("Praise", "no_quote")]


ODD: dict[str, tuple[Any, list[str]]] = {
    "nothing": ("", []),
    "prose": ("Refund, I think.", []),
    "none fits": ([], []),
    "null": (None, []),
    "another spelling": ([{**REFUND, "label": " REFUND "}], ["Refund"]),
    "one object": (json.dumps({"labels": REFUND}), ["Refund"]),
    "without the list": (json.dumps(REFUND), ["Refund"]),
    "fenced": (f"```json\n{json.dumps({'labels': [REFUND]})}\n```", ["Refund"]),
    "broken off": (json.dumps({"labels": [REFUND, DEFECT]})[:-30], ["Refund"]),
    "bare names": (["Refund"], []),
    "odd items": ([5, None, {}, {"label": 5}, {"label": " "}, REFUND], ["Refund"]),
    "odd quote": ([{**REFUND, "quote": 5}], []),
    "an answer of another kind": (json.dumps({"found": False, "answer": ""}), []),
}


@in_each_way
@each(("said", "labels"), ODD.values(), ids=ODD)
async def test_a_reply_never_raises(call: Call, said: Any, labels: list[str]) -> None:
    chain, _ = saying(said)
    result = await call(chain, MAIL)

    assert (result.labels, result.abstained) == (labels, not labels)


INPUTS: dict[str, Any] = {
    "text": MAIL,
    "document": Document(MAIL),
    "document as JSON": json.loads(Document(MAIL).model_dump_json()),
    "dict": {"document": MAIL},
    "more keys": {"document": Document(MAIL), "session": 7},
    "as text": {"text": MAIL},
    "as input": {"input": MAIL},
    "model": ClassificationInput(document=MAIL),
    "model as JSON": json.loads(ClassificationInput(document=MAIL).model_dump_json()),
}


@each("given", INPUTS.values(), ids=INPUTS)
def test_each_form_of_the_input_is_understood(given: Any) -> None:
    chain, _ = saying([REFUND])

    assert chain.invoke(given).labels == ["Refund"]


WRONG = {
    "nothing": (None, "input: Input should be"),
    "number": (5, "input: Input should be"),
    "no document": ({}, "document: Field required"),
    "misspelt": ({"documents": []}, "documents is unknown; did you mean document?"),
    "odd document": ({"document": 5}, "document: a document must be"),
}


@in_each_way
@each(("given", "message"), WRONG.values(), ids=WRONG)
async def test_wrong_input_is_one_line_that_names_it(call: Call, given: Any, message: str) -> None:
    chain, _ = saying([REFUND])
    with pytest.raises(ConfigurationError) as caught:
        await call(chain, given)

    assert str(caught.value).startswith(f"Classification: {message}")
    assert "\n" not in str(caught.value)


LABELLINGS: dict[str, tuple[Any, str]] = {
    "none": ([], "there must be at least one"),
    "a text": ("Refund", "must be a list of names"),
    "a set": ({"Refund"}, "must be a list of names"),
    "a number": ([5], "5 and its definition must be texts"),
    "blank": ([" "], "' ' and its definition must be texts"),
    "odd definition": ({"a": 5}, "'a' and its definition must be texts"),
    "twice": (["Refund", "refund"], "two have the same name"),
}


@each(("labels", "message"), LABELLINGS.values(), ids=LABELLINGS)
def test_wrong_labels_are_refused_in_one_line(model: ChatAI21, labels: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        create_classification_chain(model, labels)

    assert str(caught.value).startswith("labels")


def test_names_without_definitions_will_do() -> None:
    chain, emulator = saying([REFUND], list(LABELS))

    assert chain.invoke(MAIL).labels == ["Refund"]
    assert '"Refund": ""' in emulator.requests[0].json["messages"][0]["content"]


@in_each_way
@each("text", ["", " \n"])
async def test_without_text_the_model_is_not_asked(call: Call, text: str) -> None:
    chain, emulator = saying([REFUND])

    assert await call(chain, text) == Classification()
    assert emulator.requests == []


@in_each_way
async def test_a_text_of_many_parts_has_the_label_with_the_most_quotes(call: Call) -> None:
    long = "".join(f"Grinder {n} broke. " + "So it goes. " * 4000 for n in range(6))

    def brain(request: dict[str, Any]) -> str:
        (document,) = request["documents"]
        broken = re.findall(r"Grinder \d broke\.", document["content"])
        said = [{"label": "Defect", "quote": quote} for quote in broken]
        return json.dumps({"labels": [{"label": "Praise", "quote": "So it goes."}, *said]})

    chain, emulator = saying(brain)
    result = await call(chain, long)

    assert len(emulator.requests) > 1
    assert result.labels == ["Defect"]
    assert all(long[c.start : c.end] == c.quote for c in result.citations)


def test_a_batch_returns_exceptions_in_their_place() -> None:
    chain, _ = saying([REFUND])
    results = chain.batch([MAIL, 5, MAIL], return_exceptions=True)

    assert [type(result) for result in results] == [
        Classification,
        ConfigurationError,
        Classification,
    ]


@in_each_way
async def test_an_error_of_the_model_comes_through_as_it_is(call: Call) -> None:
    chain, emulator = saying([REFUND])
    emulator.faults.append(Fault(status=401))

    with pytest.raises(AuthenticationError):
        await call(chain, MAIL)


@in_each_way
async def test_any_chat_model_finds_the_text_in_the_prompt(call: Call) -> None:
    seen: list[Any] = []
    model = FakeListChatModel(responses=[json.dumps({"labels": [REFUND]})])
    chain: Any = create_classification_chain(
        RunnableLambda(lambda m: seen.append(m) or m) | model, LABELS
    )
    result = await call(chain, MAIL)

    assert result.labels == ["Refund"]
    assert f"\n{MAIL}\n</document-" in seen[-1][-1].content


def test_the_emulator_abstains_as_it_has_no_language_model(model: ChatAI21) -> None:
    assert create_classification_chain(model, LABELS).invoke(MAIL).abstained


def test_the_chain_has_a_name_and_named_types(model: ChatAI21) -> None:
    chain = create_classification_chain(model, LABELS)

    assert chain.get_name() == "Classification"
    assert chain.get_input_schema().__name__ == "ClassificationInput"
    assert chain.get_output_schema().__name__ == "Classification"
