"""Whole conversations of agents, replayed byte by byte by a server that follows a script."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    HumanInTheLoopMiddleware,
    ModelFallbackMiddleware,
    ToolErrorMiddleware,
)
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import ToolException, tool
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from ai21_chains import ChatAI21, Emulator
from ai21_chains.emulator import Reply, ToolCall
from ai21_chains.errors import InternalServerError
from tests.cases import each
from tests.servers.scripted import (
    DONE,
    ROLE,
    STOP,
    ScriptedServer,
    answer,
    completion,
    event,
    every_byte,
    fails,
    scripted,
    stream,
)

Made: TypeAlias = Callable[..., tuple[ChatAI21, Emulator]]
ASKED: dict[str, Any] = {"messages": [("user", "How is the weather?")]}
CALLED = event("", "tool_calls")
CITY = 'חיפה — 海法 🏖 "\\\n'


@tool
def get_weather(city: str) -> str:
    """Look up the weather in a city."""
    return f"Sunny in {city}."


@tool
def get_time() -> str:
    """Tell the time."""
    return "12:00"


def delta(index: int, arguments: str, call_id: str | None = None, name: str | None = None) -> bytes:
    """An event with a piece of a tool call."""
    function = {"arguments": arguments} | ({"name": name} if name else {})
    call = {"index": index, "function": function} | (
        {"id": call_id, "type": "function"} if call_id else {}
    )
    return event(tool_calls=[call])


def whole(*calls: tuple[str, str, str]) -> list[Any]:
    """An answer that calls tools: id, name and arguments of each."""
    wanted = [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for call_id, name, arguments in calls
    ]
    return answer(completion("", "tool_calls", tool_calls=wanted))


def says(text: str) -> list[Any]:
    return stream(ROLE, event(text), STOP, DONE)


def agent(server: ScriptedServer, **options: Any) -> Any:
    model = ChatAI21(base_url=server.url, api_key="k", max_retries=0)
    return create_agent(model, **{"tools": [get_weather, get_time], **options})


def run_streamed(server: ScriptedServer, **options: Any) -> list[Any]:
    """The messages that the agent leaves, when its words are read as they come."""
    *_, last = agent(server, **options).stream(ASKED, stream_mode=["messages", "values"])
    return last[1]["messages"]


def results(messages: Sequence[Any]) -> list[str]:
    return [str(one.content) for one in messages if isinstance(one, ToolMessage)]


# --- Calls as they are streamed --------------------------------------------------------------

ESCAPED = (
    '{"city": "\\u05d7\\u05d9\\u05e4\\u05d4 \\u2014 \\u6d77\\u6cd5 \\ud83c\\udfd6 \\"\\\\\\n"}'
)
RAW = '{"city": "חיפה — 海法 🏖 \\"\\\\\\n"}'


@each("arguments", [ESCAPED, RAW], ids=["escaped", "raw"])
@each("size", [1, 7, 1000])
def test_arguments_in_any_script_survive_being_cut_anywhere(arguments: str, size: int) -> None:
    pieces = [arguments[at : at + size] for at in range(0, len(arguments), size)]
    deltas = [delta(0, "", "c1", "get_weather"), *(delta(0, piece) for piece in pieces)]
    events = b"".join([ROLE, *deltas, CALLED, DONE])
    steps = every_byte(events) if size == 7 else [events]
    with scripted(stream(*steps), says("Fine.")) as server:
        messages = run_streamed(server)

    assert messages[1].tool_calls[0]["args"] == {"city": CITY}
    assert results(messages) == [f"Sunny in {CITY}."]
    sent = server.bodies[1]["messages"][-1]
    assert (sent["content"], sent["tool_call_id"]) == (f"Sunny in {CITY}.", "c1")


def test_bytes_of_raw_characters_may_come_one_by_one() -> None:
    function = r'{"name":"get_weather","arguments":"{\"city\":\"海🏖\"}"}'
    call = f'{{"index":0,"id":"c1","function":{function}}}'
    choice = f'{{"index":0,"delta":{{"tool_calls":[{call}]}},"finish_reason":null}}'
    raw = f'data: {{"id":"chat-1","choices":[{choice}]}}\n\n'.encode()
    with scripted(stream(*every_byte(ROLE, raw, CALLED, DONE)), says("Fine.")) as server:
        messages = run_streamed(server)

    assert results(messages) == ["Sunny in 海🏖."]


def test_parallel_calls_may_be_interleaved() -> None:
    script = stream(
        ROLE,
        event("I look: "),
        delta(0, '{"ci', "c1", "get_weather"),
        delta(1, "", "c2", "get_time"),
        delta(2, '{"city": "Ei', "c3", "get_weather"),
        delta(0, 'ty": "Hai'),
        delta(1, "{}"),
        delta(2, 'lat"}'),
        delta(0, 'fa"}'),
        CALLED,
        DONE,
    )
    with scripted(script, says("Fine.")) as server:
        messages = run_streamed(server)

    assert messages[1].content == "I look: "
    assert results(messages) == ["Sunny in Haifa.", "12:00", "Sunny in Eilat."]
    sent = server.bodies[1]["messages"]
    assert [one["tool_call_id"] for one in sent[2:]] == ["c1", "c2", "c3"]
    assert [one["id"] for one in sent[1]["tool_calls"]] == ["c1", "c2", "c3"]


@each("arguments", ["", "{}"])
def test_a_tool_without_arguments_is_called(arguments: str) -> None:
    script = stream(ROLE, delta(0, arguments, "c1", "get_time"), CALLED, DONE)
    with scripted(script, says("Noon.")) as server:
        messages = run_streamed(server)

    assert results(messages) == ["12:00"]
    assert server.bodies[1]["messages"][1]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_a_server_that_repeats_its_ids_loses_no_message() -> None:
    # LangGraph replaces a message by the next that has the same id.
    with scripted(whole(CALL), whole(CALL), answer(completion("Fine."))) as server:
        messages = agent(server).invoke(ASKED)["messages"]

    assert [one.type for one in messages] == ["human", "ai", "tool", "ai", "tool", "ai"]
    assert {one.response_metadata["id"] for one in messages[1::2]} == {"chat-1"}
    assert len({one.id for one in messages}) == 6


# --- Calls that go wrong ---------------------------------------------------------------------


def test_a_broken_call_is_repaired_after_the_error_message() -> None:
    wrong = whole(("c1", "get_weather", '{"town": "Haifa"}'))
    with scripted(
        wrong, whole(("c2", "get_weather", '{"city": "Haifa"}')), answer(completion("Fine."))
    ) as server:
        messages = agent(server).invoke(ASKED)["messages"]

    first, second = [one for one in messages if isinstance(one, ToolMessage)]
    assert (first.status, second.status) == ("error", "success")
    assert "city" in server.bodies[1]["messages"][-1]["content"]
    assert messages[-1].content == "Fine."


def test_a_tool_that_is_none_of_ours_is_answered_with_those_there_are() -> None:
    with scripted(whole(("c1", "get_rain", "{}")), answer(completion("Sorry."))) as server:
        messages = agent(server).invoke(ASKED)["messages"]

    assert "get_weather" in server.bodies[1]["messages"][-1]["content"]
    assert messages[-1].content == "Sorry."


@tool("get_weather")
def broken(city: str) -> str:
    """Look up the weather in a city."""
    raise ValueError("the station is down")


CALL = ("c1", "get_weather", '{"city": "Haifa"}')


def test_a_tool_that_raises_ends_the_run_unless_told_otherwise() -> None:
    with scripted(whole(CALL)) as server, pytest.raises(ValueError, match="station is down"):
        agent(server, tools=[broken]).invoke(ASKED)


def test_middleware_sends_the_error_of_a_tool_to_the_model() -> None:
    told = ToolErrorMiddleware(lambda error, request: f"{request.tool_call['name']}: {error}")
    with scripted(whole(CALL), answer(completion("No idea."))) as server:
        messages = agent(server, tools=[broken], middleware=[told]).invoke(ASKED)["messages"]

    sent = server.bodies[1]["messages"][-1]
    assert (sent["content"], sent["tool_call_id"]) == ("get_weather: the station is down", "c1")
    assert (messages[2].status, messages[-1].content) == ("error", "No idea.")


def test_a_tool_may_handle_its_own_errors() -> None:
    @tool("get_weather")
    def careful(city: str) -> str:
        """Look up the weather in a city."""
        raise ToolException("ask later")

    careful.handle_tool_error = True
    with scripted(whole(CALL), answer(completion("Later."))) as server:
        agent(server, tools=[careful]).invoke(ASKED)

    assert server.bodies[1]["messages"][-1]["content"] == "ask later"


# --- Runs that are interrupted and resumed ---------------------------------------------------

THREAD = {"configurable": {"thread_id": "1"}}
APPROVE = Command(resume={"decisions": [{"type": "approve"}]})


def test_a_run_is_resumed_by_another_process(tmp_path: Path) -> None:
    ask_first = {"middleware": [HumanInTheLoopMiddleware(interrupt_on={"get_weather": True})]}
    file = str(tmp_path / "memory.sqlite")

    with scripted(whole(CALL)) as server, SqliteSaver.from_conn_string(file) as memory:
        held = agent(server, checkpointer=memory, **ask_first).invoke(ASKED, THREAD)
    # All that is left is the file.
    with (
        scripted(answer(completion("Sunny."))) as later,
        SqliteSaver.from_conn_string(file) as memory,
    ):
        done = agent(later, checkpointer=memory, **ask_first).invoke(APPROVE, THREAD)

    assert held["__interrupt__"]
    assert done["messages"][-1].content == "Sunny."
    assert [one["role"] for one in later.bodies[0]["messages"]] == ["user", "assistant", "tool"]
    assert later.bodies[0]["messages"][1]["tool_calls"][0]["id"] == "c1"
    assert done["messages"][1].usage_metadata == held["messages"][1].usage_metadata


async def test_a_run_is_resumed_in_async_code(tmp_path: Path) -> None:
    ask_first = {"middleware": [HumanInTheLoopMiddleware(interrupt_on={"get_weather": True})]}
    file = str(tmp_path / "memory.sqlite")

    with scripted(whole(CALL)) as server:
        async with AsyncSqliteSaver.from_conn_string(file) as memory:
            await agent(server, checkpointer=memory, **ask_first).ainvoke(ASKED, THREAD)
    with scripted(answer(completion("Sunny."))) as later:
        async with AsyncSqliteSaver.from_conn_string(file) as memory:
            done = await agent(later, checkpointer=memory, **ask_first).ainvoke(APPROVE, THREAD)

    assert done["messages"][-1].content == "Sunny."


def test_a_run_that_failed_is_carried_on_where_it_stopped(tmp_path: Path) -> None:
    file = str(tmp_path / "memory.sqlite")

    with (
        scripted(whole(CALL), fails("500 Down")) as server,
        SqliteSaver.from_conn_string(file) as memory,
        pytest.raises(InternalServerError),
    ):
        agent(server, checkpointer=memory).invoke(ASKED, THREAD)
    with (
        scripted(answer(completion("Sunny."))) as later,
        SqliteSaver.from_conn_string(file) as memory,
    ):
        done = agent(later, checkpointer=memory).invoke(None, THREAD)

    assert results(done["messages"]) == ["Sunny in Haifa."]
    assert len(later.requests) == 1


# --- Conversations with several models -------------------------------------------------------

FOREIGN = [
    HumanMessage("How is the weather in Haifa and Eilat?"),
    AIMessage(
        [
            {"type": "thinking", "thinking": "Two calls.", "signature": "xyz"},
            {"type": "text", "text": "I look.", "cache_control": {"type": "ephemeral"}},
            {"type": "tool_use", "id": "toolu_01A", "name": "get_weather", "input": {"city": "a"}},
            {"type": "tool_use", "id": "toolu_01B", "name": "get_weather", "input": {"city": "b"}},
        ],
        tool_calls=[
            {"name": "get_weather", "args": {"city": "a"}, "id": "toolu_01A"},
            {"name": "get_weather", "args": {"city": "b"}, "id": "toolu_01B"},
        ],
        response_metadata={"model_provider": "anthropic"},
    ),
    ToolMessage([{"type": "text", "text": "Sunny in a."}], tool_call_id="toolu_01A"),
    ToolMessage("Rainy in b.", tool_call_id="toolu_01B", status="error"),
]


class Down(GenericFakeChatModel):
    """Another provider's model that answers once and then fails."""

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self

    def _generate(self, *args: Any, **options: Any) -> Any:
        try:
            return super()._generate(*args, **options)
        except StopIteration:
            raise InternalServerError("down", status_code=500) from None


def test_ours_takes_over_in_the_middle_of_a_conversation(made: Made) -> None:
    model, emulator = made("Sunny in a, rainy in b.")
    other = Down(messages=iter([FOREIGN[1]]))
    agent = create_agent(other, [get_weather], middleware=[ModelFallbackMiddleware(model)])

    messages = agent.invoke({"messages": FOREIGN[:1]})["messages"]

    assert messages[-1].content == "Sunny in a, rainy in b."
    _, assistant, *told = emulator.requests[0].json["messages"]
    assert assistant["content"] == "I look."
    ids = ["toolu_01A", "toolu_01B"]
    assert [call["id"] for call in assistant["tool_calls"]] == ids
    assert [one["tool_call_id"] for one in told] == ids


def test_another_takes_over_from_ours_in_the_middle(made: Made) -> None:
    call = Reply(tool_calls=[ToolCall("get_weather", {"city": "Haifa"})])
    model, emulator = made(call, max_retries=0)  # to a second request it has no answer
    other = Down(messages=iter([AIMessage("From elsewhere.")]))
    agent = create_agent(model, [get_weather], middleware=[ModelFallbackMiddleware(other)])

    messages = agent.invoke(ASKED)["messages"]

    assert results(messages) == ["Sunny in Haifa."]
    assert messages[-1].content == "From elsewhere."
    assert len(emulator.requests) == 2


@each("streamed", [False, True])
def test_a_history_of_another_provider_is_carried_on(streamed: bool) -> None:
    with scripted(says("Done.") if streamed else answer(completion("Done."))) as server:
        asked = {"messages": [*FOREIGN, HumanMessage("And now?")]}
        if streamed:
            list(agent(server).stream(asked, stream_mode="messages"))
        else:
            agent(server).invoke(asked)

    _, assistant, first, second, _ = server.bodies[0]["messages"]
    assert assistant["content"] == "I look."
    assert [call["id"] for call in assistant["tool_calls"]] == ["toolu_01A", "toolu_01B"]
    assert (first["content"], second["content"]) == ("Sunny in a.", "Rainy in b.")
