"""The conversational QA chain: what is searched for, and what is answered."""

from __future__ import annotations

import pickle
from typing import Any

import httpx
import pytest
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from ai21_chains import ChatAI21, Emulator, GroundedAnswer
from ai21_chains.chains._grounding import CONDENSE_INSTRUCTIONS
from ai21_chains.chains.conversational_qa import (
    ConversationalQAInput,
    create_conversational_qa_chain,
)
from ai21_chains.emulator.extractive import extractive
from ai21_chains.errors import ConfigurationError
from tests.cases import each

DOCUMENTS = [Document("The museum opens at ten."), Document("Dogs must stay outside.")]
HISTORY = [HumanMessage("Is there a museum?"), AIMessage("Yes, on the hill [1].")]
QUESTION = "When does it open?"
ASKED = {"question": QUESTION, "chat_history": HISTORY}
REWRITE = "When does the museum open?"


def search(query: str) -> list[Document]:
    return DOCUMENTS


def chain_that_rewrites(
    rewrite: str, **options: Any
) -> tuple[Runnable[Any, GroundedAnswer], Emulator]:
    def brain(request: dict[str, Any]) -> Any:
        condenses = request["messages"][0]["content"] == CONDENSE_INSTRUCTIONS
        return rewrite if condenses else extractive(request)

    emulator = Emulator(brain=brain)
    transport = emulator.transport()
    model = ChatAI21(
        api_key="k",
        http_client=httpx.Client(transport=transport),
        http_async_client=httpx.AsyncClient(transport=transport),
    )
    retriever = RunnableLambda(search)
    return create_conversational_qa_chain(model, retriever=retriever, **options), emulator


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
    assert answers == [answers[0]] * 4
    return answers[0]


async def test_a_follow_up_is_rewritten_for_the_search_only() -> None:
    chain, emulator = chain_that_rewrites(f' "{REWRITE}"\n')

    answer = await in_all_ways(chain, ASKED)

    assert answer.search_query == REWRITE
    assert answer.answer == "The museum opens at ten. [1]"
    condense, ask = [request.json for request in emulator.requests[:2]]
    assert "Human: Is there a museum?\nAI: Yes" in condense["messages"][-1]["content"]
    assert condense["messages"][-1]["content"].endswith(f"Follow-up question: {QUESTION}")
    assert "documents" not in condense
    assert [m["content"] for m in ask["messages"][1:]] == [*(m.text for m in HISTORY), QUESTION]
    assert answer.usage is not None
    assert len(emulator.requests) == 8


def test_the_rewrite_is_never_in_the_stream_of_the_answer() -> None:
    chain, _ = chain_that_rewrites(REWRITE)

    pieces = list(chain.stream(ASKED))

    assert "".join(piece.get("answer") or "" for piece in pieces) == "The museum opens at ten. [1]"


async def test_the_run_that_rewrites_has_a_tag() -> None:
    chain, _ = chain_that_rewrites(REWRITE)
    events = [event async for event in chain.astream_events(ASKED, version="v2")]

    tags = [event["tags"] for event in events if event["event"] == "on_chat_model_start"]
    assert tags == [["condense_question"], []]


UNFIT = {"empty": "", "blank": " \n", "only marks": '""', "long": "why " * 60}


@each("rewrite", UNFIT.values(), ids=UNFIT)
async def test_an_unfit_rewrite_is_not_searched_for(rewrite: str) -> None:
    chain, _ = chain_that_rewrites(rewrite)

    assert (await in_all_ways(chain, ASKED)).search_query == QUESTION


def test_a_long_question_may_have_a_long_rewrite() -> None:
    rewrite = "w" * 240
    chain, _ = chain_that_rewrites(rewrite)

    assert chain.invoke({**ASKED, "question": "q" * 80}).search_query == rewrite
    assert chain.invoke({**ASKED, "question": "q" * 79}).search_query == "q" * 79


NO_REWRITE: dict[str, tuple[Any, dict[str, Any], str | None]] = {
    "no history": ({"question": QUESTION}, {}, QUESTION),
    "documents in the call": ({**ASKED, "documents": DOCUMENTS}, {}, None),
    "never": (ASKED, {"condense": "never"}, QUESTION),
}


@each(("asked", "options", "query"), NO_REWRITE.values(), ids=NO_REWRITE)
async def test_nothing_is_rewritten_where_it_is_not_needed(
    asked: Any, options: Any, query: str | None
) -> None:
    chain, emulator = chain_that_rewrites(REWRITE, **options)

    answer = await in_all_ways(chain, asked)

    assert answer.search_query == query
    assert answer.status == "answered"
    assert len(emulator.requests) == 4


@each("result", [REWRITE, AIMessage(REWRITE)], ids=["text", "message"])
async def test_a_runnable_of_the_users_may_rewrite(result: Any) -> None:
    given: list[Any] = []
    chain, emulator = chain_that_rewrites(
        "", condense=RunnableLambda(lambda value: given.append(value) or result)
    )

    answer = await in_all_ways(chain, ASKED)

    assert answer.search_query == REWRITE
    assert given[0] == {"question": QUESTION, "input": QUESTION, "chat_history": HISTORY}
    assert len(emulator.requests) == 4


def test_a_runnable_that_returns_something_else_is_an_error() -> None:
    chain, _ = chain_that_rewrites("", condense=RunnableLambda(lambda value: value))

    with pytest.raises(ConfigurationError, match="must return a string or a message, got dict"):
        chain.invoke(ASKED)


def test_an_unknown_way_to_condense_is_an_error(model: ChatAI21) -> None:
    condense: Any = "always"
    with pytest.raises(ConfigurationError, match='"auto", "never" or a runnable'):
        create_conversational_qa_chain(model, retriever=RunnableLambda(search), condense=condense)


async def test_the_options_of_the_grounded_chain_are_there() -> None:
    options: dict[str, Any] = {"top_k": 1, "on_unverified": "keep", "prompt": "Be brief."}
    chain, emulator = chain_that_rewrites(REWRITE, **options)

    answer = await in_all_ways(chain, ASKED)

    assert answer.documents == DOCUMENTS[:1]
    assert answer.answer == "The museum opens at ten. [1]"
    assert "\n\nBe brief.\n\n" in emulator.requests[-1].json["messages"][0]["content"]


def test_wrong_input_is_an_error_in_the_chains_name() -> None:
    with pytest.raises(ConfigurationError, match="ConversationalQA: question is empty"):
        chain_that_rewrites("")[0].invoke(" ")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LangChain 2 will not have it
async def test_a_message_history_makes_a_conversation() -> None:
    made, emulator = chain_that_rewrites(REWRITE, output="dict")
    history = InMemoryChatMessageHistory()
    chain = RunnableWithMessageHistory(
        made,
        lambda: history,
        input_messages_key="input",
        history_messages_key="chat_history",
        output_messages_key="answer",
    )

    first = chain.invoke({"input": "When does the museum open?"})
    second = await chain.ainvoke({"input": QUESTION})

    assert first["search_query"] == first["input"] == "When does the museum open?"
    assert second["search_query"] == REWRITE
    assert len(history.messages) == 4
    assert len(emulator.requests) == 3


def test_the_schemas_carry_our_names() -> None:
    chain, _ = chain_that_rewrites("")

    assert chain.get_name() == "ConversationalQA"
    assert chain.InputType is ConversationalQAInput
    assert chain.get_input_jsonschema()["title"] == "ConversationalQAInput"
    assert chain.get_output_jsonschema()["title"] == "GroundedAnswer"


def test_a_chain_can_be_pickled() -> None:
    chain = create_conversational_qa_chain(
        ChatAI21(api_key="k"), retriever=RunnableLambda(search), abstain_message="No."
    )

    copy = pickle.loads(pickle.dumps(chain))

    assert copy.invoke({"question": "?", "documents": []}).answer == "No."
