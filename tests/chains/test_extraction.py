"""The extraction chain as its users call it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

import httpx
import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.runnables import RunnableLambda
from pydantic import BaseModel, Field, RootModel, field_validator

from ai21_chains import ChatAI21
from ai21_chains.chains.extraction import (
    INSTRUCTIONS,
    ExtractionInput,
    ExtractionResult,
    create_extraction_chain,
)
from ai21_chains.emulator import Emulator, Reply, scripted
from ai21_chains.errors import ConfigurationError
from tests.cases import each


class Invoice(BaseModel):
    """An invoice."""

    number: str
    total: float = Field(description="Amount in euros")
    due: date | None = None
    paid: bool | None = None
    items: list[str] = Field(default_factory=list)


LETTER = "Invoice R-17 over EUR 1,200. It is due on 1 May 2026. We sent 3 cups and 2 pots."
DOCUMENTS = [Document("Dear Sir.", metadata={"source": "a"}), Document(LETTER, id="letter")]
FOUND: dict[str, Any] = {
    "number": {"value": "R-17", "quotes": [{"doc": 1, "quote": "Invoice R-17"}]},
    "total": {"value": 1200, "quotes": [{"doc": 1, "quote": "over EUR 1,200"}]},
    "due": {"value": "2026-05-01", "quotes": [{"doc": 1, "quote": "due on 1 May 2026"}]},
    "paid": {"value": None, "quotes": []},
    "items": [
        {"value": "cups", "quotes": [{"doc": 1, "quote": "We sent 3 cups"}]},
        {"value": "pots", "quotes": [{"doc": 1, "quote": "and 2 pots"}]},
    ],
}
Call = Callable[[Any, Any], Awaitable[ExtractionResult[Any]]]


async def _invoke(chain: Any, asked: Any) -> ExtractionResult[Any]:
    return chain.invoke(asked)


async def _ainvoke(chain: Any, asked: Any) -> ExtractionResult[Any]:
    return await chain.ainvoke(asked)


async def _stream(chain: Any, asked: Any) -> ExtractionResult[Any]:
    first, *rest = chain.stream(asked)
    return ExtractionResult.model_validate(sum(rest, first))


async def _astream(chain: Any, asked: Any) -> ExtractionResult[Any]:
    first, *rest = [piece async for piece in chain.astream(asked)]
    return ExtractionResult.model_validate(sum(rest, first))


in_each_way = each("call", [_invoke, _ainvoke, _stream, _astream])


def on(emulator: Emulator) -> ChatAI21:
    transport = emulator.transport()
    return ChatAI21(
        api_key="k",
        http_client=httpx.Client(transport=transport),
        http_async_client=httpx.AsyncClient(transport=transport),
    )


def chain_that_hears(*replies: Any, schema: type[BaseModel] = Invoice, **settings: Any) -> Any:
    texts = [reply if isinstance(reply, str | Reply) else json.dumps(reply) for reply in replies]
    return create_extraction_chain(on(Emulator(brain=scripted(*texts))), schema, **settings)


def extracted(*replies: Any, **settings: Any) -> ExtractionResult[Any]:
    return chain_that_hears(*replies, **settings).invoke(DOCUMENTS)


@in_each_way
async def test_an_object_is_read_and_each_field_has_its_quotes(call: Call) -> None:
    result = await call(chain_that_hears(FOUND), DOCUMENTS)

    assert result.value == Invoice(
        number="R-17", total=1200, due=date(2026, 5, 1), items=["cups", "pots"]
    )
    assert isinstance(result.value, Invoice)
    assert {name: [c.quote for c in quotes] for name, quotes in result.evidence.items()} == {
        "number": ["Invoice R-17"],
        "total": ["over EUR 1,200"],
        "due": ["due on 1 May 2026"],
        "items": ["We sent 3 cups", "and 2 pots"],
    }
    (citation,) = result.evidence["number"]
    assert (citation.document_index, citation.document_id) == (1, "letter")
    assert result.missing == ["paid"]
    assert (result.unverified, result.rejected, result.problems) == ({}, [], [])
    assert (result.conflicts, result.unsupported_numbers) == ({}, {})
    assert result.documents == DOCUMENTS
    assert result.usage is not None


@in_each_way
async def test_a_value_whose_quote_is_in_no_document_is_kept_apart(call: Call) -> None:
    found = {**FOUND, "due": {"value": "2026-06-01", "quotes": [{"quote": "due on 1 June 2026"}]}}
    result = await call(chain_that_hears(found), DOCUMENTS)

    assert result.value is not None
    assert result.value.due is None
    assert result.unverified == {"due": "2026-06-01"}
    assert [(one.quote, one.reason) for one in result.rejected] == [
        ("due on 1 June 2026", "altered_number")
    ]
    assert "due" not in result.missing


def test_without_required_evidence_it_is_taken_and_still_named() -> None:
    found = {
        **FOUND,
        "due": {"value": "2026-06-01", "quotes": []},
        "items": [*FOUND["items"], {"value": "pans", "quotes": []}],
    }
    result = extracted(found, require_evidence=False)

    assert result.value.due == date(2026, 6, 1)
    assert result.value.items == ["cups", "pots", "pans"]
    assert result.unverified == {"due": "2026-06-01", "items": ["pans"]}


def test_an_item_of_a_list_stands_or_falls_by_its_own_quotes() -> None:
    items = [*FOUND["items"], {"value": "pans", "quotes": [{"quote": "and 9 pans"}]}]
    result = extracted({**FOUND, "items": items})

    assert result.value.items == ["cups", "pots"]
    assert result.unverified == {"items": ["pans"]}


def test_a_number_that_stands_in_no_quote_is_named() -> None:
    total = {"value": 1300, "quotes": [{"doc": 1, "quote": "over EUR 1,200"}]}

    assert extracted({**FOUND, "total": total}).unsupported_numbers == {"total": ["1300"]}


def test_missing_required_fields_leave_no_object_and_nothing_is_lost() -> None:
    result = extracted({"number": FOUND["number"], "total": {"value": None, "quotes": []}})

    assert result.value is None
    assert result.verified == {"number": "R-17"}
    assert result.missing == ["total", "due", "paid", "items"]
    assert result.problems == ["total: Field required"]


def test_an_optional_field_of_the_wrong_type_is_left_out_and_reported() -> None:
    due = {"value": "soon", "quotes": [{"doc": 1, "quote": "It is due"}]}
    result = extracted({**FOUND, "due": due})

    assert result.value is not None
    assert result.value.due is None
    (problem,) = result.problems
    assert problem.startswith("due: Input should be a valid date")


def test_a_required_field_of_the_wrong_type_is_reported_once() -> None:
    result = extracted(
        {**FOUND, "total": {"value": "much", "quotes": [{"quote": "over EUR 1,200"}]}}
    )

    assert result.value is None
    (problem,) = result.problems
    assert problem.startswith("total: Input should be a valid number")


class Picky(BaseModel):
    number: str

    @field_validator("number")
    @classmethod
    def _refuse(cls, value: str) -> str:
        raise KeyError("no\nsuch")


def test_a_validator_may_raise_anything() -> None:
    result = extracted(FOUND, schema=Picky)

    assert result.value is None
    assert result.problems == ["Picky: KeyError: 'no\\nsuch'"]


# --- What models say -----------------------------------------------------------------------------

ODD = {
    "empty": "",
    "prose": "I could not find an invoice.",
    "list": "[1, 2]",
    "null": "null",
    "other object": '{"a": 1}',
    "fields of other shapes": {"number": 5, "total": [], "due": {}, "items": {"a": [None]}},
    "quotes of other shapes": {"number": {"value": "x", "quotes": {"doc": [], "quote": 5}}},
    "quotes as numbers": {"number": {"value": "x", "quotes": [1, None, [], {"doc": "z"}]}},
    "odd documents": {"number": {"value": "x", "quotes": [{"doc": 1e9, "quote": "R-1"}]}},
    "lone surrogate": '{"number": {"value": "\\ud800", "quotes": ["\\ud800"]}}',
    "not a number": '{"total": {"value": NaN, "quotes": ["over EUR 1,200"]}}',
}


@in_each_way
@each("reply", ODD.values(), ids=ODD)
async def test_no_reply_raises(call: Call, reply: Any) -> None:
    result = await call(chain_that_hears(reply), DOCUMENTS)

    assert result.value is None
    assert result.problems


def test_a_reply_without_the_fields_is_a_problem() -> None:
    result = extracted("Nothing.")

    assert result.problems[0] == "reply: no JSON object with the keys that were asked for"
    assert result.missing == list(Invoice.model_fields)


def test_what_came_before_a_cut_counts() -> None:
    whole = json.dumps(FOUND)
    result = extracted(Reply(whole[: whole.index('"due"')], finish_reason="length"))

    assert result.verified == {"number": "R-17", "total": 1200}
    assert result.value is not None
    assert result.problems == ["reply: not complete"]


def test_values_without_the_wrapping_have_no_quotes() -> None:
    result = extracted({"number": "R-17", "items": ["cups"], "total": 1200})

    assert result.value is None
    assert result.unverified == {"number": "R-17", "total": 1200, "items": ["cups"]}


def test_quotes_may_be_plain_text_and_a_list_may_share_them() -> None:
    result = extracted(
        {
            "number": {"value": "R-17", "quotes": "Invoice R-17"},
            "items": {"value": ["cups", "pots"], "quotes": ["We sent 3 cups and 2 pots"]},
        }
    )

    assert result.verified == {"number": "R-17", "items": ["cups", "pots"]}
    assert len(result.evidence["items"]) == 1


# --- Long documents ------------------------------------------------------------------------------

LONG = Document("Filler words without end. " * 40 + LETTER + " Filler words." * 30, id="long")


def by_window(said: Callable[[str], dict[str, Any]]) -> Any:
    """Return a chain whose model answers from what each window shows it."""
    model: Any = RunnableLambda(lambda messages: json.dumps(said(messages[-1].content)))
    return create_extraction_chain(model, Invoice, max_context_tokens=200)


def _one(value: Any, quote: str) -> dict[str, Any]:
    return {"value": value, "quotes": [{"doc": 0, "quote": quote}]}


@in_each_way
async def test_a_value_in_the_middle_of_a_long_document_is_found_and_placed(call: Call) -> None:
    chain = by_window(lambda text: FOUND if "Invoice R-17" in text else {"number": None})
    result = await call(chain, [LONG])

    assert result.verified["number"] == "R-17"
    (citation,) = result.evidence["number"]
    assert LONG.page_content[citation.start : citation.end] == "Invoice R-17"


def test_of_different_values_the_first_counts_and_the_others_are_conflicts() -> None:
    documents = [LONG, "Invoice R-18 of May. " * 30]

    def said(text: str) -> dict[str, Any]:
        if "R-18" in text:
            return {"number": _one("R-18", "Invoice R-18 of May.")}
        return {"number": _one("R-17", "Invoice R-17" if "R-17" in text else "R-99")}

    result = by_window(said).invoke(documents)

    assert result.verified["number"] == "R-17"
    (conflict,) = result.conflicts["number"]
    assert (conflict.value, conflict.citations[0].document_index) == ("R-18", 1)
    assert [one.quote for one in result.rejected] == ["R-99"]
    assert result.unverified == {"number": "R-17"}


def test_the_same_value_in_another_spelling_is_further_evidence() -> None:
    documents = ["Pay ACME Ltd. " * 50, "Pay Acme ltd now. " * 50]

    def said(text: str) -> dict[str, Any]:
        name = "ACME Ltd" if "ACME" in text else "Acme  ltd"
        return {"number": _one(name, "Pay ACME Ltd" if "ACME" in text else "Pay Acme ltd now")}

    result = by_window(said).invoke(documents)

    assert result.conflicts == {}
    assert result.verified == {"number": "ACME Ltd"}
    assert {citation.document_index for citation in result.evidence["number"]} == {0, 1}


def test_a_number_is_the_same_with_and_without_a_point() -> None:
    documents = ["Pay 12 euros. " * 50, "Pay 12.0 euros. " * 50]

    def said(text: str) -> dict[str, Any]:
        if "12.0" in text:
            return {"total": _one(12.0, "Pay 12.0 euros")}
        return {"total": _one(12, "Pay 12 euros")}

    result = by_window(said).invoke(documents)

    assert (result.verified, result.conflicts) == ({"total": 12}, {})


def test_lists_are_united_without_repetition() -> None:
    documents = ["We sent cups and pots. " * 30, "We sent pots and pans. " * 30]

    def said(text: str) -> dict[str, Any]:
        names = [name for name in ("cups", "pots", "pans") if name in text]
        return {"items": [_one(name, name) for name in names]}

    assert by_window(said).invoke(documents).verified == {"items": ["cups", "pots", "pans"]}


def test_a_broken_reply_spoils_its_own_window_only() -> None:
    documents = ["Nothing at all. " * 45, LETTER]
    model: Any = RunnableLambda(
        lambda m: json.dumps(FOUND) if "Invoice R-17" in m[-1].content else "Sorry."
    )
    chain = create_extraction_chain(model, Invoice, max_context_tokens=240)
    result = chain.invoke(documents)

    assert result.value is not None
    assert result.problems == ["reply 1 of 2: no JSON object with the keys that were asked for"]


# --- Input ---------------------------------------------------------------------------------------

INPUTS = {
    "text": LETTER,
    "document": DOCUMENTS[1],
    "documents": DOCUMENTS,
    "texts": [LETTER],
    "dict of documents": {"documents": DOCUMENTS, "session": 5},
    "dict of text": {"text": LETTER},
    "AI21's dicts": {"documents": [{"content": LETTER}]},
    "model": ExtractionInput(text=LETTER),
    "JSON": json.loads(ExtractionInput(documents=DOCUMENTS).model_dump_json()),
}


@each("asked", INPUTS.values(), ids=INPUTS)
def test_each_form_of_the_input_is_understood(asked: Any) -> None:
    assert chain_that_hears(FOUND).invoke(asked).value.number == "R-17"


WRONG = {
    "nothing": (None, "Extraction: input: "),
    "number": (5, "Extraction: input: "),
    "neither": ({"question": "?"}, "Extraction: documents or text is missing"),
    "text as documents": ({"documents": "x"}, "Extraction: documents: Input should be a valid li"),
    "number as document": (["a", 5], "Extraction: documents[1]: a document must be a Document"),
    "no text": ([{"metadata": {}}], "Extraction: documents[0]: a document needs text"),
    "odd metadata": (
        [{"content": "x", "metadata": 5}],
        "Extraction: documents[0]: a document's metadata",
    ),
    "number as text": ({"text": 5}, "Extraction: text: Input should be a valid string"),
}


@in_each_way
@each(("asked", "message"), WRONG.values(), ids=WRONG)
async def test_wrong_input_is_one_line_that_names_it(call: Call, asked: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await call(chain_that_hears(), asked)

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


class Handler(BaseModel):
    call: Callable[[], None]


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "dict": ({"type": "object"}, {}, "schema must be a pydantic model class"),
    "object": (Picky.model_construct(), {}, "schema must be a pydantic model class"),
    "no fields": (type("Empty", (BaseModel,), {}), {}, "schema has no fields"),
    "root model": (RootModel[list[str]], {}, "schema has no fields"),
    "no JSON form": (Handler, {}, "schema has no JSON form"),
    "small window": (Invoice, {"max_context_tokens": 10}, "max_context_tokens must be"),
}


@each(("schema", "settings", "message"), REFUSED.values(), ids=REFUSED)
def test_wrong_arguments_are_refused_at_once(schema: Any, settings: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^(Extraction: )?{message}"):
        create_extraction_chain(ChatAI21(api_key="k"), schema, **settings)


@in_each_way
@each("documents", [[], ["", " \n"]])
async def test_without_text_the_model_is_not_asked(call: Call, documents: list[Any]) -> None:
    result = await call(chain_that_hears(), documents)

    assert result.missing == list(Invoice.model_fields)
    assert result.value is None


# --- What the model is asked ---------------------------------------------------------------------


def test_the_form_names_each_field_with_its_quotes_and_no_default() -> None:
    emulator = Emulator(brain=lambda request: json.dumps(FOUND))
    create_extraction_chain(on(emulator), Invoice).invoke(DOCUMENTS)

    body = emulator.requests[-1].json
    system = body["messages"][0]["content"]
    form = json.loads(system.removeprefix(INSTRUCTIONS))
    assert list(form["properties"]) == list(Invoice.model_fields) == form["required"]
    assert form["properties"]["items"]["type"] == "array"
    total = form["properties"]["total"]["properties"]["value"]
    assert total == {
        "anyOf": [{"description": "Amount in euros", "type": "number"}, {"type": "null"}],
        "description": "Total. Amount in euros",
    }
    assert '"default": null' not in system
    assert [document["content"] for document in body["documents"]] == ["Dear Sir.", LETTER]
    assert body["response_format"] == {"type": "json_object"}


@in_each_way
async def test_any_chat_model_finds_the_documents_in_the_prompt(call: Call) -> None:
    model = FakeListChatModel(responses=[json.dumps(FOUND)])

    assert (await call(create_extraction_chain(model, Invoice), DOCUMENTS)).verified[
        "total"
    ] == 1200


WRAPPED: dict[str, tuple[Callable[[Any], Any], bool]] = {
    "bound": (lambda model: model.bind(temperature=0), True),
    "with retry": (lambda model: model.with_retry(), True),
    "with its like to fall back to": (lambda model: model.with_fallbacks([model]), True),
    "with another to fall back to": (
        lambda model: model.with_fallbacks([FakeListChatModel(responses=["{}"])]),
        False,
    ),
}


@each(("wrap", "request_has_them"), WRAPPED.values(), ids=WRAPPED)
def test_a_wrapped_model_finds_the_documents_where_it_can_read_them(
    wrap: Any, request_has_them: bool
) -> None:
    emulator = Emulator(brain=lambda request: json.dumps(FOUND))
    result = create_extraction_chain(wrap(on(emulator)), Invoice).invoke(DOCUMENTS)

    assert result.value is not None
    assert ("documents" in emulator.requests[-1].json) is request_has_them


class Line(BaseModel):
    name: str
    value: int


class Order(BaseModel):
    number: str = Field(alias="orderNumber")
    lines: list[Line]


def test_fields_are_named_as_in_json_and_may_be_nested() -> None:
    lines = [_one({"name": "cups", "value": 3}, "We sent 3 cups"), {"name": "pots", "value": 2}]
    result = extracted({"orderNumber": _one("R-17", "Invoice R-17"), "lines": lines}, schema=Order)

    assert result.value == Order(orderNumber="R-17", lines=[Line(name="cups", value=3)])
    assert list(result.evidence) == ["orderNumber", "lines"]
    assert result.unverified == {"lines": [{"name": "pots", "value": 2}]}


# --- As a runnable -------------------------------------------------------------------------------


def test_the_result_comes_back_from_json_with_its_type() -> None:
    result = extracted(FOUND)
    copy = ExtractionResult[Invoice].model_validate_json(result.model_dump_json())

    assert copy.value == result.value
    assert copy.evidence == result.evidence


async def test_a_batch_returns_exceptions_in_their_place() -> None:
    chain = chain_that_hears(*[FOUND] * 4)
    for results in (
        chain.batch([LETTER, 5, LETTER], return_exceptions=True),
        await chain.abatch([LETTER, 5, LETTER], return_exceptions=True),
    ):
        kinds = [type(result) for result in results]
        assert kinds == [ExtractionResult, ConfigurationError, ExtractionResult]


def test_the_schemas_carry_our_names() -> None:
    chain = create_extraction_chain(ChatAI21(api_key="k"), Invoice)

    assert chain.get_name() == "Extraction"
    assert chain.get_input_jsonschema()["title"] == "ExtractionInput"
    assert chain.get_output_jsonschema()["title"] == "ExtractionResult"


def test_a_chain_and_its_result_can_be_pickled() -> None:
    chain = pickle.loads(pickle.dumps(create_extraction_chain(ChatAI21(api_key="k"), Invoice)))

    assert pickle.loads(pickle.dumps(chain.invoke([]))).missing == list(Invoice.model_fields)


def test_the_emulator_fills_the_form_without_a_key() -> None:
    class Terms(BaseModel):
        payment: str = Field(description="When invoices are payable")

    result = create_extraction_chain(on(Emulator()), Terms).invoke(
        ["Dogs stay outside.", "Invoices are payable within 45 days."]
    )

    assert result.value == Terms(payment="Invoices are payable within 45 days.")
