"""A LangGraph graph written by hand: the model and its tools take turns, and each step is shown.

Needs `pip install langgraph`.
"""

from common import chat_model
from langchain_core.messages import HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition


def get_weather(city: str) -> str:
    """Look up today's weather in a city."""
    return f"{city}: 24 °C, light wind from the sea."


TOOLS = [get_weather]


def build():
    model = chat_model(temperature=0).bind_tools(TOOLS)

    def ask_model(state: MessagesState) -> dict:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", ask_model)
    graph.add_node("tools", ToolNode(TOOLS))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile()


def main() -> None:
    asked = {"messages": [HumanMessage("What is the weather in Haifa?")]}

    for step in build().stream(asked, stream_mode="updates"):
        for node, update in step.items():
            update["messages"][-1].pretty_print()
            print(f"(after {node})")


if __name__ == "__main__":
    main()
