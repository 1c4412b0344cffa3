"""LangChain's agents and LangGraph's graphs with our model, as their documentation writes them."""

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, ToolMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition
from pydantic import BaseModel
from typing_extensions import TypedDict

from ai21_chains import ChatAI21, Emulator
from ai21_chains.emulator import Reply, ToolCall
from tests.cases import each

Made: TypeAlias = Callable[..., tuple[ChatAI21, Emulator]]


def get_weather(city: str) -> str:
    """Look up the weather in a city."""
    return f"Sunny in {city}."


def get_time() -> str:
    """Tell the time."""
    return "12:00"


class Forecast(BaseModel):
    """A forecast."""

    city: str
    degrees: int


def weather(city: str) -> ToolCall:
    return ToolCall("get_weather", {"city": city})


HAIFA = Reply(tool_calls=[weather("Haifa")])


def ask(text: str = "How is the weather?") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def test_an_agent_calls_a_tool_and_answers(made: Made) -> None:
    model, emulator = made(HAIFA, "It is sunny.")

    messages = create_agent(model, [get_weather]).invoke(ask())["messages"]

    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    assert messages[2].content == "Sunny in Haifa."
    assert messages[2].tool_call_id == messages[1].tool_calls[0]["id"]
    assert messages[3].content == "It is sunny."
    sent = emulator.requests[1].json["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]


async def test_an_agent_works_without_blocking(made: Made) -> None:
    model, _ = made(HAIFA, "It is sunny.")

    messages = (await create_agent(model, [get_weather]).ainvoke(ask()))["messages"]

    assert messages[-1].content == "It is sunny."


def test_tools_are_called_in_parallel(made: Made) -> None:
    both = Reply(tool_calls=[weather("Haifa"), weather("Eilat"), ToolCall("get_time", {})])
    model, _ = made(both, "Sunny in both.")

    messages = create_agent(model, [get_weather, get_time]).invoke(ask())["messages"]

    results = [message.content for message in messages if isinstance(message, ToolMessage)]
    assert results == ["Sunny in Haifa.", "Sunny in Eilat.", "12:00"]


def test_a_call_whose_arguments_are_no_json_is_repaired_in_the_next_turn(made: Made) -> None:
    broken = Reply(tool_calls=[ToolCall("get_weather", '{"city": "Hai')])
    model, emulator = made(broken, HAIFA, "It is sunny.")
    agent = create_agent(model, [get_weather])

    begun = agent.invoke(ask())["messages"]
    ended = agent.invoke({"messages": [*begun, ("user", "Try again.")]})["messages"]

    (call,) = begun[-1].invalid_tool_calls
    assert call["args"] == '{"city": "Hai'
    _, assistant, error, _ = emulator.requests[1].json["messages"]
    assert assistant["tool_calls"][0]["id"] == error["tool_call_id"] == call["id"]
    assert ended[-1].content == "It is sunny."


@each("strategy", [ToolStrategy, ProviderStrategy])
def test_an_agent_answers_in_a_schema(made: Made, strategy: Any) -> None:
    fields = {"city": "Haifa", "degrees": 24}
    answer = {
        ToolStrategy: Reply(tool_calls=[ToolCall("Forecast", fields)]),
        ProviderStrategy: Reply('{"city": "Haifa", "degrees": 24}'),
    }
    model, _ = made(HAIFA, answer[strategy])

    agent = create_agent(model, [get_weather], response_format=strategy(Forecast))

    assert agent.invoke(ask())["structured_response"] == Forecast(**fields)


def test_a_bare_schema_is_answered_by_the_strategy_that_the_profile_allows(made: Made) -> None:
    model, emulator = made(
        Reply(tool_calls=[ToolCall("Forecast", {"city": "Haifa", "degrees": 24})])
    )

    agent = create_agent(model, response_format=Forecast)

    assert agent.invoke(ask())["structured_response"].degrees == 24
    assert "tools" in emulator.requests[0].json


def test_a_wrong_structured_answer_is_sent_back_and_repaired(made: Made) -> None:
    model, _ = made(
        Reply(tool_calls=[ToolCall("Forecast", {"city": "Haifa", "degrees": "warm"})]),
        Reply(tool_calls=[ToolCall("Forecast", {"city": "Haifa", "degrees": 24})]),
    )

    agent = create_agent(model, response_format=ToolStrategy(Forecast))

    assert agent.invoke(ask())["structured_response"].degrees == 24


def test_the_model_s_words_are_streamed_as_they_come(made: Made) -> None:
    model, _ = made(HAIFA, "It is sunny in Haifa today.")
    agent = create_agent(model, [get_weather])

    chunks = [chunk for chunk, _ in agent.stream(ask(), stream_mode="messages")]

    said = [chunk for chunk in chunks if isinstance(chunk, AIMessageChunk) and chunk.content]
    assert "".join(chunk.text for chunk in said) == "It is sunny in Haifa today."
    assert len(said) > 1


@each("mode", ["values", "updates", "messages", "custom", "debug", "tasks"])
async def test_every_stream_mode_comes_to_its_end(made: Made, mode: Any) -> None:
    model, _ = made(HAIFA, "It is sunny.")
    agent = create_agent(model, [get_weather])

    events = [event async for event in agent.astream(ask(), stream_mode=mode)]

    assert events or mode == "custom"


async def test_events_name_the_model_and_its_tokens(made: Made) -> None:
    model, _ = made(HAIFA, "It is sunny.")
    agent = create_agent(model, [get_weather])

    events = [event async for event in agent.astream_events(ask(), version="v2")]

    ends = [event for event in events if event["event"] == "on_chat_model_end"]
    assert [event["data"]["output"].usage_metadata["total_tokens"] > 0 for event in ends] == [
        True,
        True,
    ]
    assert ends[0]["metadata"]["ls_provider"] == "ai21"


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


def test_a_graph_written_by_hand_calls_tools(made: Made) -> None:
    model, _ = made(HAIFA, "It is sunny.")
    bound = model.bind_tools([get_weather])
    graph = StateGraph(State)
    graph.add_node("model", lambda state: {"messages": [bound.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([get_weather]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition, {"tools": "tools", END: END})
    graph.add_edge("tools", "model")

    messages = graph.compile().invoke(ask())["messages"]

    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]


@pytest.mark.filterwarnings("ignore:create_react_agent has been moved")
def test_langgraph_s_ready_made_agent_takes_the_model(made: Made) -> None:
    from langgraph.prebuilt import create_react_agent

    model, _ = made(HAIFA, "It is sunny.")

    messages = create_react_agent(model, [get_weather]).invoke(ask())["messages"]

    assert messages[-1].content == "It is sunny."


def test_fifty_tool_results_in_one_history_arrive_in_order(made: Made) -> None:
    model, emulator = made("Done.")
    history: list[AnyMessage] = []
    for number in range(50):
        call = {"name": "get_weather", "args": {"city": f"c{number}"}, "id": f"id-{number}"}
        history += [
            AIMessage("", tool_calls=[call]),
            ToolMessage(f"result {number}", tool_call_id=f"id-{number}"),
        ]

    create_agent(model, [get_weather]).invoke({"messages": [("user", "Go."), *history]})

    sent = [one for one in emulator.requests[0].json["messages"] if one["role"] == "tool"]
    assert [one["content"] for one in sent] == [f"result {number}" for number in range(50)]
    assert [one["tool_call_id"] for one in sent] == [f"id-{number}" for number in range(50)]


def test_a_conversation_begun_with_another_model_is_carried_on(made: Made) -> None:
    model, emulator = made("It was sunny.")
    foreign = AIMessage(
        [
            {"type": "text", "text": "I look it up."},
            {
                "type": "tool_use",
                "id": "toolu_01",
                "name": "get_weather",
                "input": {"city": "Haifa"},
            },
        ],
        tool_calls=[{"name": "get_weather", "args": {"city": "Haifa"}, "id": "toolu_01"}],
        response_metadata={"model_provider": "anthropic"},
    )
    history = [("user", "Weather?"), foreign, ToolMessage("Sunny.", tool_call_id="toolu_01")]

    create_agent(model, [get_weather]).invoke({"messages": [*history, ("user", "And?")]})

    _, assistant, result, _ = emulator.requests[0].json["messages"]
    assert assistant["content"] == "I look it up."
    assert assistant["tool_calls"][0]["function"]["name"] == "get_weather"
    assert result["tool_call_id"] == assistant["tool_calls"][0]["id"] == "toolu_01"


def test_arguments_in_any_script_reach_the_tool_whole(made: Made) -> None:
    city = "חיפה — 海法 🏖"
    model, _ = made(Reply(tool_calls=[weather(city)]), "Done.")
    agent = create_agent(model, [get_weather])

    chunks = [chunk for chunk, _ in agent.stream(ask(), stream_mode="messages")]

    results = [chunk.content for chunk in chunks if isinstance(chunk, ToolMessage)]
    assert results == [f"Sunny in {city}."]
