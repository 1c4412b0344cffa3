"""Several agents with our model: a supervisor, handed over or asked as tools."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command
from langgraph_supervisor import create_supervisor
from pydantic import BaseModel

from ai21_chains import ChatAI21, Emulator
from ai21_chains.emulator import Reply, ToolCall
from tests.cases import each

Made: TypeAlias = Callable[..., tuple[ChatAI21, Emulator]]
ASKED: dict[str, Any] = {"messages": [("user", "What is the weather, and what is 2 + 3?")]}

pytestmark = pytest.mark.filterwarnings(
    "ignore:create_react_agent has been moved", "ignore:create_supervisor"
)


@tool
def get_weather(city: str) -> str:
    """Look up the weather in a city."""
    return f"Sunny in {city}."


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def calls(name: str, **arguments: Any) -> Reply:
    return Reply(tool_calls=[ToolCall(name, arguments)])


WEATHER = [calls("get_weather", city="Haifa"), "It is sunny in Haifa."]
MATHS = [calls("add", a=2, b=3), "It is 5."]


def experts(made: Made) -> tuple[list[Any], list[Emulator]]:
    """Two agents, each with a model of its own, and what their models are asked."""
    weather, weather_api = made(*WEATHER)
    maths, maths_api = made(*MATHS)
    agents = [
        create_agent(weather, [get_weather], name="weather_expert"),
        create_agent(maths, [add], name="maths_expert"),
    ]
    return agents, [weather_api, maths_api]


def spoken(messages: list[BaseMessage]) -> list[tuple[str | None, str]]:
    return [
        (one.name, one.text)
        for one in messages
        if isinstance(one, AIMessage) and not one.tool_calls
    ]


@each("output_mode", ["last_message", "full_history"])
def test_a_supervisor_hands_over_to_its_agents(made: Made, output_mode: Any) -> None:
    agents, apis = experts(made)
    boss, boss_api = made(
        calls("transfer_to_weather_expert"), calls("transfer_to_maths_expert"), "Sunny, and 5."
    )
    graph = create_supervisor(agents, model=boss, output_mode=output_mode).compile()

    messages = graph.invoke(ASKED)["messages"]

    assert spoken(messages) == [
        ("weather_expert", "It is sunny in Haifa."),
        ("maths_expert", "It is 5."),
        ("supervisor", "Sunny, and 5."),
    ]
    assert [len(api.requests) for api in (*apis, boss_api)] == [2, 2, 3]
    # Each call that the model is shown has its result.
    for api in (*apis, boss_api):
        for request in api.requests:
            sent = request.json["messages"]
            wanted = [call["id"] for one in sent for call in one.get("tool_calls", ())]
            assert wanted == [one["tool_call_id"] for one in sent if one["role"] == "tool"]


async def test_a_supervisor_streams(made: Made) -> None:
    agents, _ = experts(made)
    boss, _ = made(calls("transfer_to_weather_expert"), "Sunny.")
    graph = create_supervisor(agents, model=boss).compile()

    chunks = [
        (path, chunk.text)
        async for path, (chunk, _) in graph.astream(ASKED, stream_mode="messages", subgraphs=True)
        if chunk.text and chunk.type == "AIMessageChunk"
    ]

    said = {path[0].split(":")[0]: "" for path, _ in chunks}
    for path, text in chunks:
        said[path[0].split(":")[0]] += text
    assert said == {"weather_expert": "It is sunny in Haifa.", "supervisor": "Sunny."}


def test_one_model_serves_all_agents(made: Made) -> None:
    model, emulator = made(calls("transfer_to_weather_expert"), *WEATHER, "Sunny.")
    agents = [create_agent(model, [get_weather], name="weather_expert")]
    graph = create_supervisor(agents, model=model).compile(checkpointer=InMemorySaver())

    state = graph.invoke(ASKED, {"configurable": {"thread_id": "1"}})

    assert state["messages"][-1].text == "Sunny."
    offered = [
        [tool["function"]["name"] for tool in request.json.get("tools", ())]
        for request in emulator.requests
    ]
    assert offered[0] == offered[3] == ["transfer_to_weather_expert"]
    assert offered[1] == offered[2] == ["get_weather"]


def test_agents_are_tools_of_another(made: Made) -> None:
    (weather, maths), _ = experts(made)

    @tool
    def ask_weather_expert(question: str) -> str:
        """Ask about the weather."""
        return weather.invoke({"messages": [HumanMessage(question)]})["messages"][-1].text

    @tool
    def ask_maths_expert(question: str) -> str:
        """Ask about numbers."""
        return maths.invoke({"messages": [HumanMessage(question)]})["messages"][-1].text

    both = Reply(
        tool_calls=[
            ToolCall("ask_weather_expert", {"question": "How is it in Haifa?"}),
            ToolCall("ask_maths_expert", {"question": "2 + 3?"}),
        ]
    )
    boss, api = made(both, "Sunny, and 5.")
    messages = create_agent(boss, [ask_weather_expert, ask_maths_expert]).invoke(ASKED)["messages"]

    told = [one["content"] for one in api.requests[1].json["messages"] if one["role"] == "tool"]
    assert told == ["It is sunny in Haifa.", "It is 5."]
    assert messages[-1].text == "Sunny, and 5."


class Route(BaseModel):
    """Who is to go on."""

    next: Literal["weather_expert", "maths_expert", "__end__"]


def test_a_supervisor_written_by_hand_routes_by_structured_output(made: Made) -> None:
    (weather, maths), _ = experts(made)
    boss, _ = made(
        *(calls("Route", next=name) for name in ("weather_expert", "maths_expert", "__end__"))
    )
    router = boss.with_structured_output(Route)

    def supervisor(
        state: MessagesState,
    ) -> Command[Literal["weather_expert", "maths_expert", "__end__"]]:
        route = router.invoke(state["messages"])
        assert isinstance(route, Route)
        return Command(goto=route.next)

    graph = StateGraph(MessagesState)
    graph.add_node(supervisor)
    graph.add_node("weather_expert", weather)
    graph.add_node("maths_expert", maths)
    graph.add_edge(START, "supervisor")
    graph.add_edge("weather_expert", "supervisor")
    graph.add_edge("maths_expert", "supervisor")

    messages = graph.compile().invoke(ASKED)["messages"]

    assert [text for _, text in spoken(messages)] == ["It is sunny in Haifa.", "It is 5."]
