"""An agent whose answer is a `GroundedAnswer`."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware, ModelRetryMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, SystemMessage, ToolMessage
from langchain_core.tools import create_retriever_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from pydantic import BaseModel

from ai21_chains import BM25Retriever, ChatAI21, Emulator, GroundedAnswer, agents
from ai21_chains.agents import GroundedAnswerMiddleware, create_document_tools
from ai21_chains.emulator import Fault, Reply, ToolCall
from ai21_chains.errors import ConfigurationError, MissingExtraError
from tests.cases import each

Made: TypeAlias = Callable[..., tuple[ChatAI21, Emulator]]

DOCUMENTS = [
    Document("The museum opens at ten.", metadata={"source": "hours.md", "page": 3}),
    Document("Dogs must stay outside. Cats may come in.", id="pets"),
]
SERDE = JsonPlusSerializer(allowed_msgpack_modules=[GroundedAnswer])


def said(answer: str, *quotes: str, found: bool = True) -> str:
    """An answer as the model is told to give it."""
    citations = [{"id": number, "quote": quote} for number, quote in enumerate(quotes, start=1)]
    return json.dumps({"found": found, "citations": citations, "answer": answer})


def search(*queries: str) -> Reply:
    return Reply(tool_calls=[ToolCall("search_documents", {"query": query}) for query in queries])


SEARCH = search("museum", "dogs")
GOOD = said("At ten. [1] No dogs. [2]", "opens at ten", "Dogs must stay outside")
WRONG = said("At nine. [1] No dogs. [2]", "opens at nine", "Dogs must stay outside")
ASKED: Any = {"messages": [("user", "When does it open, and may my dog come in?")]}


def agent_of(model: ChatAI21, *middleware: Any, **options: Any) -> Any:
    checks = [*middleware, GroundedAnswerMiddleware()]
    return create_agent(model, create_document_tools(DOCUMENTS), middleware=checks, **options)


def test_an_answer_s_quotes_are_verified_in_what_the_tools_found(made: Made) -> None:
    model, emulator = made(SEARCH, GOOD)

    state = agent_of(model).invoke(ASKED)

    answer = state["grounded_answer"]
    assert isinstance(answer, GroundedAnswer)
    assert (answer.answer, answer.status) == ("At ten. [1] No dogs. [2]", "answered")
    for citation in answer.citations:
        document = answer.documents[citation.document_index]
        assert document.page_content[citation.start : citation.end] == citation.quote
    hours, pets = answer.citations
    assert (hours.source, hours.page, hours.source_start) == ("hours.md", 3, 11)
    assert pets.document_id == "pets"
    assert answer.usage
    assert answer.usage["total_tokens"] > state["messages"][-1].usage_metadata["total_tokens"]
    assert {*state} == {"messages", "grounded_answer"}
    system = emulator.requests[1].json["messages"][0]
    assert '"citations": the evidence' in system["content"]


def test_the_last_message_has_langchain_s_standard_citations(made: Made) -> None:
    model, _ = made(SEARCH, GOOD)

    state = agent_of(model, name="clerk").invoke(ASKED)

    last = state["messages"][-1]
    assert last.text == "At ten. [1] No dogs. [2]"
    (block,) = last.content_blocks
    first, second = block["annotations"]
    assert (first["type"], first["cited_text"]) == ("citation", "opens at ten")
    assert last.text[second["start_index"] : second["end_index"]] == "No dogs. [2]"
    assert last.response_metadata["model_name"] == "jamba-mini"
    assert last.name == "clerk"


@each("corrected", [GOOD, said("At ten. [1] No dogs. [2]", "opens at ten")])
def test_an_unverified_quote_is_sent_back_and_corrected(made: Made, corrected: str) -> None:
    model, emulator = made(SEARCH, WRONG, corrected)

    state = agent_of(model).invoke(ASKED)

    assert state["grounded_answer"].status == "answered"
    assert [quote.quote for quote in state["grounded_answer"].citations] == [
        "opens at ten",
        "Dogs must stay outside",
    ]
    *_, answer, request = emulator.requests[2].json["messages"]
    assert (answer["role"], answer["content"]) == ("assistant", WRONG)
    assert request["role"] == "user"
    assert '- "opens at nine": No document contains this quote.' in request["content"]
    assert ASKED["messages"][0][1] in request["content"]
    assert [one.type for one in state["messages"]] == ["human", "ai", "tool", "tool", "ai"]


def test_what_is_unverified_twice_is_dropped(made: Made) -> None:
    model, emulator = made(SEARCH, WRONG, WRONG)

    answer = agent_of(model).invoke(ASKED)["grounded_answer"]

    assert len(emulator.requests) == 3
    assert answer.answer == "At nine. No dogs. [1]"
    assert answer.status == "partly"
    assert [one.quote for one in answer.citations] == ["Dogs must stay outside"]
    assert [(one.quote, one.reason) for one in answer.rejected] == [("opens at nine", "not_found")]


def test_a_correction_that_proves_nothing_does_not_replace_what_proved_something(
    made: Made,
) -> None:
    model, _ = made(SEARCH, WRONG, "I am sorry.")

    answer = agent_of(model).invoke(ASKED)["grounded_answer"]

    assert answer.answer == "At nine. No dogs. [1]"


def test_the_model_may_search_again_before_it_corrects(made: Made) -> None:
    model, emulator = made(
        search("dogs"),
        said("At ten. [1] No dogs. [2]", "opens at ten", "Dogs must stay outside"),
        search("museum"),
        said("At ten. [1] No dogs. [2]", "opens at ten"),
    )

    state = agent_of(model).invoke(ASKED)

    assert [one.quote for one in state["grounded_answer"].citations] == [
        "opens at ten",
        "Dogs must stay outside",
    ]
    kinds = [one.type for one in state["messages"]]
    assert kinds == ["human", "ai", "tool", "ai", "tool", "ai"]
    assert len(emulator.requests) == 4


def test_it_is_sent_back_once_even_when_the_model_searches_again(made: Made) -> None:
    model, emulator = made(SEARCH, WRONG, search("cats"), WRONG)

    state = agent_of(model).invoke(ASKED)

    assert state["grounded_answer"].status == "partly"
    assert len(emulator.requests) == 4


def test_an_answer_without_quotes_from_what_was_found_is_sent_back(made: Made) -> None:
    model, emulator = made(SEARCH, "It opens at ten.", GOOD)

    state = agent_of(model).invoke(ASKED)

    assert state["grounded_answer"].status == "answered"
    assert "no quote" in emulator.requests[2].json["messages"][-1]["content"]


def test_an_answer_that_needs_no_documents_stays_as_it_is(made: Made) -> None:
    model, emulator = made("Hello! [smiles]")

    state = agent_of(model).invoke({"messages": [("user", "Hi")]})

    assert state["messages"][-1].content == "Hello! [smiles]"
    assert state["grounded_answer"].status == "unverified"
    assert state["grounded_answer"].documents == []
    assert len(emulator.requests) == 1


def test_an_answer_that_is_not_there_is_a_status(made: Made) -> None:
    model, emulator = made(SEARCH, said("", found=False))

    state = agent_of(model).invoke(ASKED)

    assert state["grounded_answer"].status == "not_found"
    assert state["messages"][-1].text == "The documents do not answer this question."
    assert len(emulator.requests) == 2


async def test_the_agent_works_without_blocking(made: Made) -> None:
    model, _ = made(SEARCH, WRONG, GOOD)

    state = await agent_of(model).ainvoke(ASKED)

    assert state["grounded_answer"].status == "answered"


@each("mode", ["values", "updates", "messages", "custom", "debug", "tasks"])
@each("asynchronous", [False, True], ids=["sync", "async"])
async def test_no_stream_shows_an_answer_before_its_quotes_are_verified(
    made: Made, mode: Any, asynchronous: bool
) -> None:
    model, _ = made(SEARCH, WRONG, GOOD)
    agent = agent_of(model)

    if asynchronous:
        events = [event async for event in agent.astream(ASKED, stream_mode=mode)]
    else:
        events = list(agent.stream(ASKED, stream_mode=mode))

    shown = repr(events)
    assert "opens at nine" not in shown
    assert '"found"' not in shown
    assert ("At ten. [1] No dogs. [2]" in shown) == (mode != "custom")


def test_the_stream_of_messages_has_the_verified_answer_once(made: Made) -> None:
    model, _ = made(SEARCH, WRONG, GOOD)

    messages = [one for one, _ in agent_of(model).stream(ASKED, stream_mode="messages")]

    answers = [one for one in messages if isinstance(one, AIMessage) and one.text]
    assert [one.text for one in answers] == ["At ten. [1] No dogs. [2]"]


@pytest.mark.filterwarnings("ignore:The v3 streaming protocol:Warning")
def test_the_third_stream_of_events_has_the_verified_answer_alone(made: Made) -> None:
    model, _ = made(SEARCH, WRONG, GOOD)

    run = agent_of(model).stream_events(ASKED, version="v3")

    assert [text for one in run.messages if (text := str(one.text))] == ["At ten. [1] No dogs. [2]"]
    assert run.output["grounded_answer"].status == "answered"


def test_a_conversation_is_kept_and_cites_what_was_found_before(made: Made, tmp_path: Path) -> None:
    again = said("Outside. [1]", "Dogs must stay outside")
    model, emulator = made(SEARCH, GOOD, again)
    config: Any = {"configurable": {"thread_id": "1"}}

    with SqliteSaver.from_conn_string(str(tmp_path / "threads.db")) as saver:
        saver.serde = SERDE
        agent_of(model, checkpointer=saver).invoke(ASKED, config)
        agent = agent_of(model, checkpointer=saver)
        assert agent.get_state(config).values["grounded_answer"].status == "answered"
        state = agent.invoke({"messages": [("user", "And my dog?")]}, config)

    assert state["grounded_answer"].citations[0].quote == "Dogs must stay outside"
    sent = emulator.requests[2].json["messages"]
    assert [one["content"] for one in sent if one["role"] == "assistant"][-1] == (
        "At ten. [1] No dogs. [2]"
    )


def test_a_run_that_was_interrupted_goes_on(made: Made) -> None:
    model, _ = made(SEARCH, WRONG, search("cats"), GOOD)
    agent = agent_of(model, checkpointer=InMemorySaver(serde=SERDE), interrupt_before=["tools"])
    config: Any = {"configurable": {"thread_id": "1"}}

    agent.invoke(ASKED, config)
    agent.invoke(None, config)
    state = agent.invoke(None, config)

    assert state["grounded_answer"].status == "answered"


def test_a_question_without_an_answer_yet_has_none(made: Made) -> None:
    model, _ = made(SEARCH, GOOD, SEARCH)
    agent = agent_of(model, checkpointer=InMemorySaver(serde=SERDE), interrupt_before=["tools"])
    config: Any = {"configurable": {"thread_id": "1"}}
    agent.invoke(ASKED, config)
    agent.invoke(None, config)

    state = agent.invoke(ASKED, config)

    assert state["grounded_answer"] is None


def test_langchain_s_own_retriever_tool_does_as_well(made: Made) -> None:
    retriever = BM25Retriever.from_documents(DOCUMENTS)
    tool = create_retriever_tool(
        retriever, "search", "Search.", response_format="content_and_artifact"
    )
    calls = Reply(tool_calls=[ToolCall("search", {"query": "museum dogs"})])
    model, _ = made(calls, GOOD)

    agent = create_agent(model, [tool], middleware=[GroundedAnswerMiddleware()])

    assert agent.invoke(ASKED)["grounded_answer"].status == "answered"


def test_quotes_may_be_looked_up_in_given_documents(made: Made) -> None:
    model, _ = made(GOOD)
    agent = create_agent(model, middleware=[GroundedAnswerMiddleware(DOCUMENTS)])

    answer = agent.invoke(ASKED)["grounded_answer"]

    assert answer.status == "answered"
    assert answer.documents == DOCUMENTS


def test_a_quote_may_go_over_the_border_of_two_readings(made: Made) -> None:
    read = [
        ToolCall("read_document", {"id": "pets", "start": a, "end": b})
        for a, b in ((0, 18), (18, 41))
    ]
    model, emulator = made(
        Reply(tool_calls=read), said("No dogs. [1]", "Dogs must stay outside. Cats may")
    )

    answer = agent_of(model).invoke(ASKED)["grounded_answer"]

    assert answer.status == "answered"
    assert (answer.citations[0].source_start, len(answer.documents)) == (0, 1)
    assert len(emulator.requests) == 2


@each(
    "prompt", ["Be brief.", SystemMessage([{"type": "text", "text": "Be brief."}])], ids=["s", "b"]
)
def test_the_agent_s_own_instructions_stay(made: Made, prompt: Any) -> None:
    model, emulator = made("Hello!")

    agent_of(model, system_prompt=prompt).invoke({"messages": [("user", "Hi")]})

    system = emulator.requests[0].json["messages"][0]["content"]
    assert system.startswith("Be brief.")
    assert '"citations"' in system


def test_answers_in_a_schema_of_the_user_s_are_left_alone(made: Made) -> None:
    class Hours(BaseModel):
        opens: str

    model, _ = made(SEARCH, Reply(tool_calls=[ToolCall("Hours", {"opens": "ten"})]))

    state = agent_of(model, response_format=ToolStrategy(Hours)).invoke(ASKED)

    assert state["structured_response"] == Hours(opens="ten")
    assert state["grounded_answer"] is None


def test_a_call_that_is_no_json_is_left_alone(made: Made) -> None:
    broken = Reply(tool_calls=[ToolCall("search_documents", '{"query": "mus')])
    model, _ = made(broken)

    state = agent_of(model).invoke(ASKED)

    assert state["messages"][-1].invalid_tool_calls
    assert state["grounded_answer"] is None


def test_other_middleware_works_beside_it(made: Made) -> None:
    model, _ = made(SEARCH, WRONG, GOOD, faults=[Fault(status=400)], max_retries=0)
    retry = ModelRetryMiddleware(initial_delay=0, max_retries=1, retry_on=lambda error: True)
    fallback = ModelFallbackMiddleware(model)

    state = agent_of(model, fallback, retry).invoke(ASKED)

    assert state["grounded_answer"].status == "answered"


def test_a_truncated_answer_says_so(made: Made) -> None:
    model, _ = made(SEARCH, Reply(GOOD[:-9], finish_reason="length"))

    answer = agent_of(model).invoke(ASKED)["grounded_answer"]

    assert answer.status == "truncated"
    assert len(answer.citations) == 2


def test_a_tool_s_text_that_is_no_artifact_proves_nothing(made: Made) -> None:
    history = [
        ("user", "Hi"),
        AIMessage("", tool_calls=[{"name": "x", "args": {}, "id": "1"}]),
        ToolMessage("opens at nine", tool_call_id="1", artifact={"page_content": "opens at nine"}),
        ("ai", "Yes?"),
        *ASKED["messages"],
    ]
    model, _ = made(SEARCH, WRONG, WRONG)

    answer = agent_of(model).invoke({"messages": history})["grounded_answer"]

    assert [one.quote for one in answer.rejected] == ["opens at nine"]


def test_documents_of_the_wrong_form_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="documents must be a sequence"):
        GroundedAnswerMiddleware("text")


def test_without_langchain_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.startswith("ai21_chains.agents."):
            monkeypatch.delitem(sys.modules, name)
            monkeypatch.delattr(agents, name.rpartition(".")[2])
        elif name.partition(".")[0] == "langchain":
            monkeypatch.setitem(sys.modules, name, None)

    assert agents.create_document_tools is not create_document_tools  # imported anew, without it
    with pytest.raises(MissingExtraError, match=r"pip install langchain$"):
        _ = agents.GroundedAnswerMiddleware
