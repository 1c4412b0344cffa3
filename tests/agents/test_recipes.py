"""Recipes of LangChain's and LangGraph's documentation, typed in with our model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NotRequired, TypeAlias

import pytest
from langchain.agents import AgentState, create_agent
from langchain.agents.middleware import (
    ModelRequest,
    ModelResponse,
    before_model,
    dynamic_prompt,
    wrap_model_call,
)
from langchain.agents.structured_output import ToolStrategy
from langchain.messages import AIMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from langchain.tools import ToolRuntime, tool
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph, add_messages
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from ai21_chains import ChatAI21, Emulator
from ai21_chains.emulator import Reply, ToolCall, extractive

Made: TypeAlias = Callable[..., tuple[ChatAI21, Emulator]]
THREAD: Any = {"configurable": {"thread_id": "1"}}


def says(text: str) -> Any:
    return {"messages": [{"role": "user", "content": text}]}


def calls(name: str, **arguments: Any) -> Reply:
    return Reply(tool_calls=[ToolCall(name, arguments)])


# --- LangChain: quickstart, retrieval, memory, context ---------------------------------------


def test_the_quickstart(made: Made) -> None:
    def get_weather(city: str) -> str:
        """Get weather for a given city."""
        return f"It's always sunny in {city}!"

    model, _ = made(brain=extractive)
    agent = create_agent(model, [get_weather], system_prompt="You are a helpful assistant")

    messages = agent.invoke(says("what is the weather in sf"))["messages"]

    assert "always sunny in sf" in messages[-1].text


@dataclass
class Context:
    user_id: str


@dataclass
class Punny:
    """Response schema for the agent."""

    punny_response: str
    weather_conditions: str | None = None


@pytest.mark.filterwarnings("ignore:Deserializing unregistered type")
def test_the_second_quickstart_with_context_memory_and_a_dataclass(made: Made) -> None:
    @tool
    def get_user_location(runtime: ToolRuntime[Context]) -> str:
        """Retrieve user information based on user ID."""
        return "Florida" if runtime.context.user_id == "1" else "SF"

    model, emulator = made(
        calls("get_user_location"),
        calls("Punny", punny_response="Sun-derful!", weather_conditions="sunny"),
        calls("Punny", punny_response="You're thunder-fully welcome!"),
    )
    agent = create_agent(
        model,
        [get_user_location],
        context_schema=Context,
        response_format=ToolStrategy(Punny),
        checkpointer=InMemorySaver(),
    )

    first = agent.invoke(says("what is the weather outside?"), THREAD, context=Context("1"))
    second = agent.invoke(says("thank you!"), THREAD, context=Context("1"))

    assert first["structured_response"] == Punny("Sun-derful!", "sunny")
    assert second["structured_response"].weather_conditions is None
    assert emulator.requests[1].json["messages"][-1]["content"] == "Florida"


def test_retrieval_as_a_tool_with_an_artifact(made: Made) -> None:
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=16))
    store.add_documents([Document("Task decomposition splits a task.", metadata={"page": 1})])

    @tool(response_format="content_and_artifact")
    def retrieve_context(query: str) -> tuple[str, list[Document]]:
        """Retrieve information to help answer a query."""
        found = store.similarity_search(query, k=2)
        return "\n\n".join(document.page_content for document in found), found

    model, emulator = made(calls("retrieve_context", query="decomposition"), "It splits a task.")
    *_, last = create_agent(model, [retrieve_context]).stream(
        says("What is task decomposition?"), stream_mode="values"
    )

    assert last["messages"][-2].artifact[0].metadata == {"page": 1}
    assert emulator.requests[1].json["messages"][-1]["content"].startswith("Task decomposition")


def test_retrieval_by_a_dynamic_prompt(made: Made) -> None:
    @dynamic_prompt
    def prompt_with_context(request: ModelRequest) -> str:
        return f"Use this context: It splits. Asked: {request.state['messages'][-1].text}"

    model, emulator = made("It splits a task.")
    create_agent(model, [], middleware=[prompt_with_context]).invoke(says("What is it?"))

    system = emulator.requests[0].json["messages"][0]
    assert system == {
        "role": "system",
        "content": "Use this context: It splits. Asked: What is it?",
    }


def test_long_term_memory_in_a_store(made: Made) -> None:
    store = InMemoryStore()
    store.put(("users",), "user_123", {"name": "Ada"})

    @tool
    def get_user_info(runtime: ToolRuntime[Context]) -> str:
        """Look up user info."""
        assert runtime.store is not None
        found = runtime.store.get(("users",), runtime.context.user_id)
        return str(found.value) if found else "unknown"

    model, _ = made(calls("get_user_info"), "Ada.")
    agent = create_agent(model, [get_user_info], store=store, context_schema=Context)
    messages = agent.invoke(says("look up user"), context=Context("user_123"))["messages"]

    assert messages[-2].content == "{'name': 'Ada'}"


def test_short_term_memory_is_trimmed(made: Made) -> None:
    @before_model
    def trim(state: AgentState[Any], runtime: Any) -> dict[str, Any] | None:
        first, *rest = state["messages"]
        return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), first, *rest[-2:]]}

    model, emulator = made("1", "2", "3", "4")
    agent = create_agent(model, [], middleware=[trim], checkpointer=InMemorySaver())
    for text in ("I am Ada.", "A poem.", "About dogs.", "My name?"):
        agent.invoke(says(text), THREAD)

    sent = [one["content"] for one in emulator.requests[-1].json["messages"]]
    assert sent == ["I am Ada.", "3", "My name?"]


def test_a_model_is_chosen_for_each_request(made: Made) -> None:
    basic, _ = made("basic")
    advanced, _ = made("advanced")

    @wrap_model_call
    def choose(
        request: ModelRequest, handler: Callable[[ModelRequest], ModelResponse]
    ) -> ModelResponse:
        return handler(request.override(model=advanced))

    assert create_agent(basic, [], middleware=[choose]).invoke(says("Hi"))["messages"][-1].text == (
        "advanced"
    )


class SupportState(AgentState[Any]):
    step: NotRequired[str]


def test_customer_support_hands_over_from_step_to_step(made: Made) -> None:
    @tool
    def record_warranty(status: str, runtime: ToolRuntime) -> Command[Any]:
        """Record the customer's warranty status."""
        told = ToolMessage(f"Recorded: {status}", tool_call_id=runtime.tool_call_id or "")
        return Command(update={"messages": [told], "step": "solution"})

    @tool
    def provide_solution(solution: str) -> str:
        """Provide a solution to the customer's issue."""
        return f"Solution provided: {solution}"

    @wrap_model_call
    def step(
        request: ModelRequest, handler: Callable[[ModelRequest], ModelResponse]
    ) -> ModelResponse:
        tools = [provide_solution] if request.state.get("step") else [record_warranty]
        return handler(request.override(tools=tools))

    model, emulator = made(
        calls("record_warranty", status="in"), calls("provide_solution", solution="repair"), "Done."
    )
    agent = create_agent(
        model, [record_warranty, provide_solution], state_schema=SupportState, middleware=[step]
    )

    assert agent.invoke(says("My screen is cracked."))["messages"][-1].text == "Done."
    offered = [request.json["tools"][0]["function"]["name"] for request in emulator.requests]
    assert offered == ["record_warranty", "provide_solution", "provide_solution"]


def test_a_tool_writes_to_the_stream(made: Made) -> None:
    def get_weather(city: str) -> str:
        """Get weather for a given city."""
        get_stream_writer()(f"Looking up {city}")
        return "sunny"

    model, _ = made(calls("get_weather", city="SF"), "Fine.")
    chunks = create_agent(model, [get_weather]).stream(
        says("Weather?"), stream_mode=["updates", "custom", "messages"]
    )

    told = [chunk for mode, chunk in chunks if mode == "custom"]
    assert told == ["Looking up SF"]


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_a_chain_is_a_tool(made: Made) -> None:
    inner, _ = made("A joke.")
    outer, _ = made(calls("joker", topic="cats"), "Ha.")
    chain = ChatPromptTemplate.from_template("{topic}") | inner | StrOutputParser()

    joker = chain.as_tool(name="joker", description="Tell a joke")
    messages = create_agent(outer, [joker]).invoke(says("Joke!"))["messages"]

    assert messages[2].content == "A joke."


# --- LangChain: models -----------------------------------------------------------------------


def test_tokens_are_counted_across_calls(made: Made) -> None:
    model, _ = made("One.", "Two.")

    with get_usage_metadata_callback() as used:
        answer = model.invoke("Hi")
        (usage,) = filter(None, (chunk.usage_metadata for chunk in model.stream("Hi")))

    both = used.usage_metadata["jamba-mini"]
    assert answer.usage_metadata is not None
    assert both["total_tokens"] == answer.usage_metadata["total_tokens"] + usage["total_tokens"]


def test_a_batch_as_it_is_completed(made: Made) -> None:
    model, _ = made("1", "2", "3")

    done = model.batch_as_completed(["a", "b", "c"], {"max_concurrency": 2})

    assert sorted(answer.text for _, answer in done) == ["1", "2", "3"]


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning")
def test_a_chain_with_a_history(made: Made) -> None:
    model, emulator = made("1", "2")
    prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{q}")])
    histories: dict[str, InMemoryChatMessageHistory] = {}
    chain = RunnableWithMessageHistory(
        prompt | model,
        lambda session: histories.setdefault(session, InMemoryChatMessageHistory()),
        input_messages_key="q",
        history_messages_key="history",
    )
    for question in ("a", "b"):
        chain.invoke({"q": question}, {"configurable": {"session_id": "s"}})

    assert [one["content"] for one in emulator.requests[1].json["messages"]] == ["a", "1", "b"]


# --- LangGraph -------------------------------------------------------------------------------


def test_the_functional_api(made: Made) -> None:
    @tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    made_model, _ = made(calls("add", a=3, b=4), "It is 7.")
    model = made_model.bind_tools([add])

    @task
    def call_model(messages: list[Any]) -> Any:
        return model.invoke([SystemMessage("You do arithmetic."), *messages])

    @task
    def call_tool(call: Any) -> Any:
        return add.invoke(call)

    @entrypoint()
    def agent(messages: list[Any]) -> Any:
        answer = call_model(messages).result()
        while answer.tool_calls:
            told = [call_tool(call).result() for call in answer.tool_calls]
            messages = add_messages(messages, [answer, *told])
            answer = call_model(messages).result()
        return add_messages(messages, answer)

    messages = agent.invoke([HumanMessage("Add 3 and 4.")])

    assert [one.text for one in messages] == ["Add 3 and 4.", "", "7", "It is 7."]


def test_time_travel(made: Made) -> None:
    model, _ = made("First.", "Second.")
    agent = create_agent(model, [], checkpointer=InMemorySaver())
    agent.invoke(says("Hi"), THREAD)
    (before,) = [one for one in agent.get_state_history(THREAD) if one.next == ("model",)]

    again = agent.invoke(None, before.config)

    assert again["messages"][-1].text == "Second."


def test_a_handover_to_another_node_of_the_parent(made: Made) -> None:
    @tool
    def transfer_to_sales(runtime: ToolRuntime) -> Command[Any]:
        """Transfer to the sales agent."""
        said = [one for one in runtime.state["messages"] if isinstance(one, AIMessage)][-1]
        told = ToolMessage("Transferred", tool_call_id=runtime.tool_call_id or "")
        update = {"messages": [said, told]}
        return Command(goto="sales", update=update, graph=Command.PARENT)

    support = create_agent(made(calls("transfer_to_sales"))[0], [transfer_to_sales])
    model, emulator = made("Buy one.")
    graph = StateGraph(AgentState)
    graph.add_node("support", support)
    graph.add_node("sales", create_agent(model, []))
    graph.add_edge(START, "support")

    messages = graph.compile().invoke(says("How much?"))["messages"]

    assert messages[-1].text == "Buy one."
    roles = [one["role"] for one in emulator.requests[0].json["messages"]]
    assert roles == ["user", "assistant", "tool"]
