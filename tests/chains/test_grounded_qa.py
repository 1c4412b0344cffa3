"""The grounded QA chain as its users call it."""

from __future__ import annotations

import asyncio
import json
import pickle
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from operator import itemgetter
from typing import Any

import httpx
import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableGenerator, RunnableLambda

from ai21_chains import AI21Error, ChatAI21, GroundedAnswer, create_grounded_qa_chain
from ai21_chains.chains._grounding import INSTRUCTIONS
from ai21_chains.chains.grounded_qa import GroundedQAInput
from ai21_chains.emulator import Emulator, Fault, Reply, scripted
from ai21_chains.errors import AuthenticationError, ConfigurationError
from tests.cases import each

DOCUMENTS = [
    Document("Annual leave is 30 days.", metadata={"source": "handbook.md", "secret": "x"}),
    Document("Descaling takes 25 minutes.", metadata={"source": "manual.pdf", "page": 4}),
]
QUESTION = "How long does descaling take?"
ASKED = {"question": QUESTION, "documents": DOCUMENTS}
SAID = json.dumps(
    {
        "found": True,
        "citations": [{"id": 1, "doc": 0, "quote": "Descaling takes 25 minutes."}],
        "answer": "It takes 25 minutes [1].",
    }
)
Call = Callable[[Runnable[Any, Any], Any], Awaitable[GroundedAnswer]]


async def _invoke(chain: Runnable[Any, Any], asked: Any) -> GroundedAnswer:
    return chain.invoke(asked)


async def _ainvoke(chain: Runnable[Any, Any], asked: Any) -> GroundedAnswer:
    return await chain.ainvoke(asked)


async def _stream(chain: Runnable[Any, Any], asked: Any) -> GroundedAnswer:
    first, *rest = chain.stream(asked)
    return GroundedAnswer.model_validate(sum(rest, first))


async def _astream(chain: Runnable[Any, Any], asked: Any) -> GroundedAnswer:
    first, *rest = [piece async for piece in chain.astream(asked)]
    return GroundedAnswer.model_validate(sum(rest, first))


in_each_way = each("call", [_invoke, _ainvoke, _stream, _astream])


@pytest.fixture
def emulator() -> Emulator:
    return Emulator(brain=lambda request: SAID)


@pytest.fixture
def chain(model: ChatAI21) -> Runnable[Any, GroundedAnswer]:
    return create_grounded_qa_chain(model)


@in_each_way
async def test_the_answer_cites_the_document_that_holds_the_quote(chain: Any, call: Call) -> None:
    answer = await call(chain, ASKED)

    assert (answer.answer, answer.status) == ("It takes 25 minutes [1].", "answered")
    (citation,) = answer.citations
    assert (citation.document_index, citation.source, citation.page) == (1, "manual.pdf", 4)
    assert answer.documents == DOCUMENTS
    assert answer.usage is not None
    assert answer.search_query is None


def test_the_sum_of_a_stream_is_the_dict_of_the_answer(chain: Any) -> None:
    for asked in (ASKED, {"question": "?", "documents": []}):
        first, *rest = chain.stream(asked)
        total = dict(sum(rest, first))
        answer = chain.invoke(asked)

        assert total.keys() == GroundedAnswer.model_fields.keys()
        assert GroundedAnswer.model_validate(total) == answer


@in_each_way
async def test_the_request_is_this_and_no_more(chain: Any, call: Call, emulator: Emulator) -> None:
    await call(chain, {**ASKED, "chat_history": [HumanMessage("Hi"), AIMessage("Hello")]})

    body = emulator.requests[-1].json
    body.pop("stream", None)
    body.pop("stream_options", None)
    assert body == {
        "model": "jamba-mini",
        "messages": [
            {"role": "system", "content": INSTRUCTIONS},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": QUESTION},
        ],
        "documents": [
            {"content": "Annual leave is 30 days.", "metadata": {"source": "handbook.md"}},
            {
                "content": "Descaling takes 25 minutes.",
                "metadata": {"source": "manual.pdf", "page": "4"},
            },
        ],
        "response_format": {"type": "json_object"},
    }


INPUTS = {
    "dict": ASKED,
    "alias": {"input": QUESTION, "documents": DOCUMENTS},
    "more keys than asked for": {**ASKED, "session_id": 7, "user": "me"},
    "model": GroundedQAInput(question=QUESTION, documents=DOCUMENTS),
    "JSON": json.loads(GroundedQAInput(question=QUESTION, documents=DOCUMENTS).model_dump_json()),
    "strings": {"question": QUESTION, "documents": [d.page_content for d in DOCUMENTS]},
    "AI21's dicts": {"question": QUESTION, "documents": [{"content": DOCUMENTS[1].page_content}]},
    "repeated": {"question": QUESTION, "documents": [*DOCUMENTS, *DOCUMENTS, Document(" \n")]},
    "history as pairs": {**ASKED, "chat_history": [("human", "Hi"), ("ai", "Hello")]},
    "history as dicts": {**ASKED, "chat_history": [{"role": "user", "content": "Hi"}]},
    "an answer in the history": {
        **ASKED,
        "chat_history": [HumanMessage("Hi"), GroundedAnswer(answer="Hello").to_message()],
    },
}


@each("asked", INPUTS.values(), ids=INPUTS)
def test_each_form_of_the_input_is_understood(chain: Any, asked: Any) -> None:
    answer = chain.invoke(asked)

    assert answer.citations[0].quote == "Descaling takes 25 minutes."
    assert len(answer.documents) <= 2


WRONG = {
    "no question": ({"documents": []}, "question: Field required"),
    "empty question": ({**ASKED, "question": ""}, "question: String should have at least"),
    "blank question": ({**ASKED, "question": " \n"}, "question is empty"),
    "number as question": ({**ASKED, "question": 5}, "question: Input should be a valid string"),
    "no dict": (5, "input: Input should be a valid dictionary"),
    "nothing": (None, "input: Input should be a valid dictionary"),
    "no documents": (QUESTION, "nothing to answer from"),
    "other key": ({"question": "?", "context": "x"}, "(context in the input is not read)"),
    "misspelt key": ({"question": "?", "document": []}, "document is unknown; did you mean docume"),
    "one document": ({"question": "?", "documents": "x"}, "documents: Input should be a valid"),
    "document a number": ({"question": "?", "documents": ["a", 5]}, "documents[1]: a document"),
    "document without text": ({"question": "?", "documents": [{}]}, "documents[0]: a document"),
    "odd metadata": (
        {"question": "?", "documents": [{"content": "x", "metadata": 5}]},
        "documents[0]: a document's metadata must be a dict",
    ),
    "odd message": ({**ASKED, "chat_history": [5]}, "chat_history[0]: a message must have"),
    "odd role": ({**ASKED, "chat_history": [("boss", "x")]}, "chat_history[0]"),
}  # fmt: skip


@in_each_way
@each(("asked", "message"), WRONG.values(), ids=WRONG)
async def test_wrong_input_is_one_line_that_names_it(
    chain: Any, call: Call, asked: Any, message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await call(chain, asked)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@in_each_way
@each("documents", [[], [""], [" \n\t", Document("")]])
async def test_without_text_the_model_is_not_asked(
    chain: Any, call: Call, emulator: Emulator, documents: list[Any]
) -> None:
    answer = await call(chain, {"question": QUESTION, "documents": documents})

    assert (answer.status, answer.answerable) == ("no_documents", False)
    assert emulator.requests == []


@in_each_way
async def test_a_retriever_finds_what_the_question_comes_without(
    model: ChatAI21, call: Call
) -> None:
    found: list[str] = []

    def search(query: str) -> list[Document]:
        found.append(query)
        return DOCUMENTS

    answer = await call(create_grounded_qa_chain(model, retriever=RunnableLambda(search)), QUESTION)

    assert found == [QUESTION]
    assert (answer.search_query, answer.status) == (QUESTION, "answered")


@in_each_way
async def test_one_true_document_among_sixty_and_a_long_one_are_cited(
    chain: Any, call: Call
) -> None:
    others = [Document(f"Filler number {number}. " * 20) for number in range(59)]
    long = Document("Nothing here. " * 22_000 + "Descaling takes\r\n25 minutes.")

    answer = await call(chain, {"question": QUESTION, "documents": [*others, long]})

    (citation,) = answer.citations
    assert citation.document_index == 59
    assert long.page_content[citation.start : citation.end] == "Descaling takes\r\n25 minutes."


@in_each_way
async def test_an_error_of_the_model_comes_through_as_it_is(
    chain: Any, call: Call, emulator: Emulator
) -> None:
    emulator.faults.append(Fault(status=401))

    with pytest.raises(AuthenticationError):
        await call(chain, ASKED)


# --- Other models --------------------------------------------------------------------------------


@in_each_way
async def test_any_chat_model_finds_the_documents_in_the_prompt(call: Call) -> None:
    seen: list[Any] = []
    model = FakeListChatModel(responses=[SAID])
    chain = create_grounded_qa_chain(RunnableLambda(lambda m: seen.append(m) or m) | model)

    answer = await call(chain, ASKED)

    assert answer.status == "answered"
    assert "\nDescaling takes 25 minutes.\n</document-" in seen[-1][-1].content
    assert seen[-1][-1].content.endswith(f"\n\nQuestion: {QUESTION}")


WRAPPED: dict[str, tuple[Callable[[Any], Any], bool]] = {
    "bound": (lambda model: model.bind(temperature=0), True),
    "with retry": (lambda model: model.with_retry(), True),
    "bound, with retry": (lambda model: model.bind(stop=["x"]).with_retry(), True),
    "with config": (lambda model: model.with_config(tags=["a"]), True),
    "with its like to fall back to": (lambda model: model.with_fallbacks([model]), True),
    "with another to fall back to": (
        lambda model: model.with_fallbacks([FakeListChatModel(responses=[SAID])]),
        False,
    ),
}


@each(("wrap", "request_has_them"), WRAPPED.values(), ids=WRAPPED)
async def test_a_wrapped_model_finds_the_documents_where_it_can_read_them(
    model: ChatAI21, emulator: Emulator, wrap: Any, request_has_them: bool
) -> None:
    answer = await _ainvoke(create_grounded_qa_chain(wrap(model)), ASKED)

    assert answer.status == "answered"
    assert ("documents" in emulator.requests[-1].json) is request_has_them


def test_a_completion_model_will_do() -> None:
    model: Any = RunnableLambda(lambda messages: SAID)

    assert create_grounded_qa_chain(model).invoke(ASKED).status == "answered"


# --- As a runnable -------------------------------------------------------------------------------


async def test_async_calls_use_no_thread(chain: Any) -> None:
    before = threading.active_count()
    await asyncio.gather(*(chain.ainvoke(ASKED) for _ in range(5)))

    assert threading.active_count() == before


async def test_who_stops_reading_a_stream_ends_the_request() -> None:
    ended: list[bool] = []

    async def say(messages: AsyncIterator[Any]) -> AsyncIterator[str]:
        try:
            for letter in '{"answer": "A long answer':
                yield letter
        finally:
            ended.append(True)

    model: Any = RunnableGenerator(_nothing, say)
    async for piece in create_grounded_qa_chain(model).astream(ASKED):
        if piece.get("answer"):
            break
    await asyncio.sleep(0)
    await asyncio.get_running_loop().shutdown_asyncgens()

    assert ended == [True]


def _nothing(messages: Iterator[Any]) -> Iterator[str]:
    yield from ()


async def test_a_batch_returns_exceptions_in_their_place(chain: Any) -> None:
    asked = [ASKED, "", ASKED]
    for results in (
        chain.batch(asked, return_exceptions=True),
        await chain.abatch(asked, return_exceptions=True),
    ):
        kinds = [type(result) for result in results]
        assert kinds == [GroundedAnswer, ConfigurationError, GroundedAnswer]


async def test_events_show_the_chain_and_the_model_with_their_tags(chain: Any) -> None:
    config = {"run_name": "mine", "tags": ["t"]}
    events = [event async for event in chain.astream_events(ASKED, config, version="v2")]

    names = {(event["event"], event["name"]) for event in events}
    assert {("on_chain_start", "mine"), ("on_chat_model_stream", "ChatAI21")} <= names
    assert all("t" in event["tags"] for event in events)


@each("read", [itemgetter("answer"), lambda a: a["answer"]], ids=["get", "lambda"])
def test_what_follows_in_a_pipeline_reads_it_invoked_and_streamed(chain: Any, read: Any) -> None:
    pipeline = chain.with_retry() | RunnableLambda(read)

    assert pipeline.invoke(ASKED) == "It takes 25 minutes [1]."
    assert "".join((chain | read).stream(ASKED)) == "It takes 25 minutes [1]."


def test_the_schemas_carry_our_names(chain: Any) -> None:
    assert chain.get_name() == "GroundedQA"
    assert chain.get_input_jsonschema()["title"] == "GroundedQAInput"
    assert chain.get_output_jsonschema()["title"] == "GroundedAnswer"
    assert set(chain.get_input_jsonschema()["properties"]) == {
        "question",
        "documents",
        "chat_history",
    }
    assert [node.name for node in chain.get_graph().nodes.values()][1] == "GroundedQA"


def test_a_chain_can_be_pickled() -> None:
    chain = create_grounded_qa_chain(ChatAI21(api_key="k"), abstain_message="No.")

    copy = pickle.loads(pickle.dumps(chain))

    assert copy.invoke({"question": "?", "documents": []}).answer == "No."


def test_usage_is_what_the_model_reported(http: dict[str, Any]) -> None:
    emulator = Emulator(brain=scripted(Reply(SAID)))
    model = ChatAI21(**{**http, "http_client": httpx.Client(transport=emulator.transport())})

    usage = create_grounded_qa_chain(model).invoke(ASKED).usage

    assert usage is not None
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0


def test_every_error_of_the_chain_is_an_ai21_error() -> None:
    assert issubclass(ConfigurationError, AI21Error)
