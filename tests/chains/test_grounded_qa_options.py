"""What can be chosen about a grounded QA chain: unverified quotes, order, output."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.vectorstores import InMemoryVectorStore

from ai21_chains import ChatAI21, GroundedAnswer, create_grounded_qa_chain
from ai21_chains.answers import GroundedDict
from ai21_chains.chains._grounding import INSTRUCTIONS, instructions
from ai21_chains.emulator import Emulator, scripted
from ai21_chains.errors import ConfigurationError, StructuredOutputError
from ai21_chains.retrievers import BM25Retriever, fuse_retrievers
from tests.cases import each

DOCUMENTS = [
    Document("Annual leave is 30 days.", metadata={"source": "handbook.md"}),
    Document("Descaling takes 25 minutes."),
]
ASKED = {"question": "How long?", "documents": DOCUMENTS}
LEAVE, WRONG, RIGHT = "Annual leave is 30 days.", "Descaling takes 95 minutes.", "takes 25 minutes"
Make = Callable[..., tuple[Runnable[Any, Any], Emulator]]


def said(answer: str, *, found: bool = True, **quotes: str) -> str:
    """Return a reply whose quotes have the numbers q1, q2 …"""
    citations = [{"id": int(n[1:]), "quote": quote} for n, quote in quotes.items()]
    return json.dumps({"found": found, "citations": citations, "answer": answer})


FIRST = said("Leave is 30 days [1]. It takes 95 minutes [2].", q1=LEAVE, q2=WRONG)
SECOND = said("Leave is 30 days [1]. It takes 25 minutes [2].", q2=RIGHT)


@pytest.fixture
def make() -> Iterator[Make]:
    clients: list[httpx.Client] = []

    def chain(*replies: str, **options: Any) -> tuple[Runnable[Any, Any], Emulator]:
        emulator = Emulator(brain=scripted(*replies * 4))
        transport = emulator.transport()
        clients.append(httpx.Client(transport=transport))
        model = ChatAI21(
            api_key="k",
            http_client=clients[-1],
            http_async_client=httpx.AsyncClient(transport=transport),
        )
        return create_grounded_qa_chain(model, **options), emulator

    yield chain
    for client in clients:
        client.close()


async def in_all_ways(chain: Runnable[Any, Any], asked: Any = ASKED) -> GroundedAnswer:
    """Ask in four ways, see that the answers are equal, and return it."""
    first, *rest = chain.stream(asked)
    afirst, *arest = [piece async for piece in chain.astream(asked)]
    answers = [
        chain.invoke(asked),
        await chain.ainvoke(asked),
        GroundedAnswer.model_validate(sum(rest, first)),
        GroundedAnswer.model_validate(sum(arest, afirst)),
    ]
    same = [answer.model_copy(update={"usage": None}) for answer in answers]
    assert same == [same[0]] * 4
    return answers[0]


async def collect(chain: Runnable[Any, Any], shown: list[Any]) -> None:
    async for piece in chain.astream(ASKED):
        shown.append(piece)


# --- on_unverified -------------------------------------------------------------------------------


async def test_a_wrong_quote_is_dropped_and_listed(make: Make) -> None:
    chain, _ = make(FIRST)

    answer = await in_all_ways(chain)

    assert answer.status == "partly"
    assert [citation.quote for citation in answer.citations] == [LEAVE]
    assert [quote.quote for quote in answer.rejected] == [WRONG]


async def test_a_wrong_quote_raises_before_a_word_is_streamed(make: Make) -> None:
    chain, _ = make(FIRST, on_unverified="raise")

    for call in (chain.invoke, lambda asked: list(chain.stream(asked))):
        with pytest.raises(StructuredOutputError, match=r"95 minutes.*number") as caught:
            call(ASKED)
        assert caught.value.llm_output == FIRST
    with pytest.raises(StructuredOutputError):
        await chain.ainvoke(ASKED)
    shown: list[Any] = []
    with pytest.raises(StructuredOutputError):
        await collect(chain, shown)
    assert not any("answer" in piece for piece in shown)


@each("mode", ["raise", "repair"])
async def test_where_every_quote_is_right_nothing_is_raised_or_asked_again(
    make: Make, mode: str
) -> None:
    chain, emulator = make(said("It takes 25 minutes [1].", q1=RIGHT), on_unverified=mode)

    answer = await in_all_ways(chain)

    assert (answer.status, answer.rejected) == ("answered", [])
    assert len(emulator.requests) == 4


async def test_a_wrong_quote_is_corrected_and_what_was_right_is_kept(make: Make) -> None:
    chain, emulator = make(FIRST, SECOND, on_unverified="repair")

    answer = await in_all_ways(chain)

    assert answer.answer == "Leave is 30 days [1]. It takes 25 minutes [2]."
    assert [citation.quote for citation in answer.citations] == [LEAVE, RIGHT]
    assert (answer.status, answer.rejected) == ("answered", [])
    assert len(emulator.requests) == 8
    first, again = emulator.requests[0].json, emulator.requests[1].json
    assert again["documents"] == first["documents"]
    told = again["messages"][-1]["content"]
    assert again["messages"][-2]["content"] == FIRST
    assert f'- "{WRONG}": A number' in told
    assert told.endswith("\n\nQuestion: How long?")


def test_usage_has_both_calls_of_a_repair(make: Make) -> None:
    chain, _ = make(FIRST, SECOND, on_unverified="repair")

    usage = chain.invoke(ASKED).usage

    single = make(FIRST)[0].invoke(ASKED).usage
    assert usage["total_tokens"] > 2 * single["total_tokens"]


USELESS = {
    "prose": "I am sorry.",
    "nothing": "",
    "not found": said("", found=False),
    "denied with words": said("The documents say nothing.", found=False),
    "no answer": said("", q2=RIGHT),
}


@each("second", USELESS.values(), ids=USELESS)
async def test_a_correction_that_proves_nothing_does_not_cost_the_answer(
    make: Make, second: str
) -> None:
    chain, _ = make(FIRST, second, on_unverified="repair")

    answer = await in_all_ways(chain)

    assert answer.answer == "Leave is 30 days [1]. It takes 95 minutes."
    assert [quote.quote for quote in answer.rejected] == [WRONG]


async def test_what_is_wrong_twice_is_listed_once(make: Make) -> None:
    wrong = said("It takes 95 minutes [1].", q1=WRONG)
    chain, _ = make(wrong, wrong, on_unverified="repair")

    answer = await in_all_ways(chain)

    assert answer.status == "unverified"
    assert [quote.quote for quote in answer.rejected] == [WRONG]


async def test_a_repair_does_not_depend_on_the_order_of_the_reply(make: Make) -> None:
    turned = json.dumps(dict(reversed(json.loads(FIRST).items())))
    chain, _ = make(turned, SECOND, on_unverified="repair")

    assert (await in_all_ways(chain)).status == "answered"


async def test_a_wrong_quote_that_is_kept_is_marked_and_no_citation(make: Make) -> None:
    first = said("It takes 95 minutes [2]. Leave is 30 days [1].", q1=LEAVE, q2=WRONG)
    chain, emulator = make(first, on_unverified="keep")

    answer = await in_all_ways(chain)

    assert answer.answer == "It takes 95 minutes [unverified 1]. Leave is 30 days [1]."
    assert [quote.quote for quote in answer.rejected] == [WRONG]
    assert [citation.quote for citation in answer.citations] == [LEAVE]
    assert (answer.status, answer.answerable, answer.support) == ("partly", True, 0.5)
    assert [span.text for span in answer.unsupported_sentences] == [
        "It takes 95 minutes [unverified 1]."
    ]
    assert answer.unsupported_numbers == ["95"]
    assert len(emulator.requests) == 4
    (block,) = answer.to_message().content_blocks
    assert [note["cited_text"] for note in block["annotations"]] == [LEAVE]
    assert answer.to_markdown().endswith(
        "[^unverified-1]: Unverified: “Descaling takes 95 minutes.” (A number or its unit is not "
        'the one in the source (the quote has "95" where the source has "25").)'
    )


async def test_a_sentence_with_a_kept_quote_beside_a_right_one_is_answered_partly(
    make: Make,
) -> None:
    chain, _ = make(said("Both [1, 2].", q1=LEAVE, q2=WRONG), on_unverified="keep")

    answer = await in_all_ways(chain)

    assert (answer.answer, answer.status) == ("Both [1][unverified 1].", "partly")
    assert answer.support == 1.0


async def test_an_answer_of_kept_quotes_alone_is_unverified(make: Make) -> None:
    chain, _ = make(said("It takes 95 minutes. [7]", q7=WRONG), on_unverified="keep")

    answer = await in_all_ways(chain)

    assert answer.answer == "It takes 95 minutes. [unverified 1]"
    assert (answer.status, answer.answerable, answer.citations) == ("unverified", False, [])
    assert len(answer.unsupported_sentences) == 1


async def test_what_is_marked_as_unverified_streams_in_any_order(make: Make) -> None:
    turned = json.dumps(dict(reversed(json.loads(FIRST).items())))
    chain, _ = make(turned, on_unverified="keep")

    answer = await in_all_ways(chain)

    assert answer.answer == "Leave is 30 days [1]. It takes 95 minutes [unverified 1]."


def test_a_model_does_not_mark_by_itself(make: Make) -> None:
    chain, _ = make(said("Leave [unverified 1] is 30 days [1].", q1=LEAVE))

    answer = chain.invoke(ASKED)

    assert (answer.status, answer.rejected) == ("answered", [])


# --- What a retriever finds ----------------------------------------------------------------------


def page(start: int, text: str, **about: Any) -> Document:
    return Document(text, metadata={"source": "handbook.md", "start_index": start, **about})


def found(*documents: Any, **options: Any) -> list[Document]:
    """Return what is read of what a retriever has found."""
    emulator = Emulator(brain=scripted(said("", found=False)))
    with httpx.Client(transport=emulator.transport()) as client:
        model = ChatAI21(api_key="k", http_client=client)
        search: Any = RunnableLambda(lambda query: list(documents))
        chain = create_grounded_qa_chain(model, retriever=search, **options)
        answer = chain.invoke("How long?")
    sent = [document["content"] for document in emulator.requests[0].json["documents"]]
    assert [document.page_content for document in answer.documents] == sent
    return answer.documents


def test_no_more_is_read_than_the_best_k_of_what_was_found() -> None:
    texts = ["first", "second", "second", "third"]

    assert [document.page_content for document in found(*texts, top_k=2)] == texts[:2]
    assert len(found(*texts, top_k=9)) == len(found(*texts)) == 3


RETRIEVERS: dict[str, Callable[[], Any]] = {
    "BM25": lambda: BM25Retriever.from_documents(DOCUMENTS),
    "vector store": lambda: InMemoryVectorStore.from_documents(
        DOCUMENTS, DeterministicFakeEmbedding(size=8)
    ).as_retriever(),
    "fused": lambda: fuse_retrievers([BM25Retriever.from_documents(DOCUMENTS)]),
    "function": lambda: RunnableLambda(lambda query: DOCUMENTS),
    "strings": lambda: RunnableLambda(lambda query: [d.page_content for d in DOCUMENTS]),
}


@each("make_retriever", RETRIEVERS.values(), ids=RETRIEVERS)
async def test_any_retriever_will_do(make: Make, make_retriever: Callable[[], Any]) -> None:
    chain, _ = make(said("It takes 25 minutes [1].", q1=RIGHT), retriever=make_retriever())

    answer = await in_all_ways(chain, "How long does descaling take?")

    assert answer.search_query == "How long does descaling take?"
    assert [citation.quote for citation in answer.citations] == [RIGHT]


@each("nothing", [[], None, ["", " "]])
async def test_where_nothing_is_found_the_model_is_not_asked(make: Make, nothing: Any) -> None:
    chain, emulator = make(FIRST, retriever=RunnableLambda(lambda query: nothing))

    answer = await in_all_ways(chain, "How long?")

    assert (answer.status, answer.search_query) == ("no_documents", "How long?")
    assert emulator.requests == []


def test_documents_that_come_with_the_question_are_all_read(make: Make) -> None:
    chain, _ = make(said("Leave [1].", q1=LEAVE), top_k=1)

    assert chain.invoke(ASKED).documents == DOCUMENTS


def test_chunks_that_overlap_or_touch_are_read_as_one() -> None:
    first = page(20, "takes 25 min")
    others = [page(26, "25 minutes."), page(6, "Des"), page(9, "caling"), page(17, "it takes")]

    documents = found(first, "Other.", *others, page(20, "takes"))

    assert documents == [
        page(17, "it takes 25 minutes."),
        Document("Other."),
        page(6, "Descaling"),
    ]


def test_chunks_are_joined_although_a_vector_store_gave_each_an_id() -> None:
    first, second = (
        Document(**{**page(start, text).model_dump(), "id": text})
        for start, text in [(0, "It takes 25 "), (9, "25 minutes.")]
    )

    (document,) = found(first, second)

    assert document.page_content == "It takes 25 minutes."


APART = {
    "a gap": (page(0, "One."), page(5, "Two.")),
    "other words": (page(0, "One. Two."), page(5, "Six. Seven.")),
    "another page": (page(0, "One.", page=1), page(4, "Two.", page=2)),
    "another source": (page(0, "One."), page(4, "Two.", source="manual.md")),
    "no source": (page(0, "One.", source=None), page(4, "Two.", source=None)),
    "no place": (page(-1, "One."), page(3, "Two.")),
    "another id, no source": (
        Document("One.", id="a", metadata={"start_index": 0}),
        Document("Two.", id="b", metadata={"start_index": 4}),
    ),
}


@each("documents", APART.values(), ids=APART)
def test_what_may_not_belong_together_stays_apart(documents: tuple[Document, ...]) -> None:
    assert found(*documents) == [*documents]


def test_a_quote_across_two_chunks_is_cited_at_its_place_in_the_file() -> None:
    reply = said("Leave is 30 days [1].", q1=LEAVE)
    emulator = Emulator(brain=scripted(reply))
    with httpx.Client(transport=emulator.transport()) as client:
        search: Any = RunnableLambda(
            lambda query: [page(106, "30 days."), page(90, "Annual leave is 30")]
        )
        chain = create_grounded_qa_chain(
            ChatAI21(api_key="k", http_client=client), retriever=search
        )
        (citation,) = chain.invoke("How long?").citations

    assert (citation.source_start, citation.source_end) == (90, 90 + len(LEAVE))


# --- order ---------------------------------------------------------------------------------------


def test_the_order_is_that_of_the_keys_in_the_instructions(make: Make) -> None:
    chain, emulator = make(said("It takes 25 minutes [1].", q1=RIGHT), order="answer_first")
    chain.invoke(ASKED)

    told = emulator.requests[0].json["messages"][0]["content"]
    assert told.index('"found":') < told.index('"answer":') < told.index('"citations":')
    assert sorted(told) == sorted(INSTRUCTIONS)
    assert instructions("evidence_first") == INSTRUCTIONS


# --- prompt --------------------------------------------------------------------------------------


def test_a_prompt_is_told_before_the_rule_that_documents_are_data(make: Make) -> None:
    chain, emulator = make(said("Leave [1].", q1=LEAVE), prompt="Use three sentences at most.")
    chain.invoke(ASKED)

    told = emulator.requests[0].json["messages"][0]["content"]
    rules, _, last = INSTRUCTIONS.rpartition("\n\n")
    assert told == f"{rules}\n\nUse three sentences at most.\n\n{last}"


# --- Refusals ------------------------------------------------------------------------------------

REFUSED = {
    "unknown rule": ({"on_unverified": "ignore"}, '"drop", "keep", "raise", "repair"; got'),
    "unknown order": ({"order": "any"}, "order must be one of"),
    "unknown place": ({"documents_in": "system"}, "documents_in must be one of"),
    "unknown output": ({"output": "json"}, "output must be one of"),
    "no documents": ({"top_k": 0}, "top_k must be a whole number from 1 on, got 0"),
    "half a document": ({"top_k": 1.5}, "top_k must be a whole number"),
    "yes": ({"top_k": True}, "top_k must be a whole number"),
    "no text": ({"prompt": ["short"]}, "prompt must be a text that adds to the instructions"),
}


@each(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_an_option_that_is_none_is_refused_at_once(options: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        create_grounded_qa_chain(ChatAI21(api_key="k"), **options)


# --- output --------------------------------------------------------------------------------------


async def test_a_dict_has_the_keys_of_langchains_retrieval_chain(model: ChatAI21) -> None:
    search = RunnableLambda(lambda query: DOCUMENTS)
    chain = create_grounded_qa_chain(model, retriever=search, output="dict")
    asked = {"input": "How long does descaling take?"}

    result = chain.invoke(asked)

    assert type(result) is dict
    assert result.keys() == GroundedDict.__annotations__.keys()
    assert result["input"] == asked["input"]
    assert result["context"] == DOCUMENTS
    assert result["answer"] == "Descaling takes 25 minutes. [1]"
    assert result["citations"][0].quote == "Descaling takes 25 minutes."
    assert await chain.ainvoke(asked) == result
    first, *rest = chain.stream(asked)
    assert sum(rest, first) == result
    afirst, *arest = [piece async for piece in chain.astream(asked)]
    assert sum(arest, afirst) == result


def test_a_dict_has_all_its_keys_where_nothing_is_found(model: ChatAI21) -> None:
    chain = create_grounded_qa_chain(model, output="dict")

    for documents in ([], ["Something else."]):
        result = chain.invoke({"question": "Who is Ada?", "documents": documents})
        assert result.keys() == GroundedDict.__annotations__.keys()
    assert "GroundedDict" in chain.get_output_jsonschema()["$defs"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LangChain 2 will not have it
async def test_a_dict_goes_into_a_message_history(model: ChatAI21) -> None:
    histories: dict[str, InMemoryChatMessageHistory] = {}
    chain = RunnableWithMessageHistory(
        create_grounded_qa_chain(model, output="dict"),
        lambda session: histories.setdefault(session, InMemoryChatMessageHistory()),
        input_messages_key="input",
        history_messages_key="chat_history",
        output_messages_key="answer",
    )
    config: Any = {"configurable": {"session_id": "a"}}
    asked = {"input": "How long does descaling take?", "documents": DOCUMENTS}

    chain.invoke(asked, config)
    await chain.ainvoke(asked, config)
    list(chain.stream(asked, config))

    texts = [message.text for message in histories["a"].messages]
    assert texts == [asked["input"], "Descaling takes 25 minutes. [1]"] * 3
    assert all(isinstance(m, AIMessage) for m in histories["a"].messages[1::2])
