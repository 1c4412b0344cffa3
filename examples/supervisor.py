"""A supervisor and two agents, which it asks as tools. Without a key its words are given below."""

from common import chat_model
from langchain.agents import create_agent

from ai21_chains.emulator import Reply, ToolCall


def get_weather(city: str) -> str:
    """Look up today's weather in a city."""
    return f"{city}: 24 °C, light wind from the sea."


def get_departures(city: str) -> str:
    """Look up the next departures in a city."""
    return f"{city}: 10:04 to the coast, 10:30 to the airport."


weather = create_agent(chat_model(), [get_weather])
trains = create_agent(chat_model(), [get_departures])


def ask_weather_expert(question: str) -> str:
    """Ask the expert for weather."""
    return weather.invoke({"messages": [("user", question)]})["messages"][-1].text


def ask_train_expert(question: str) -> str:
    """Ask the expert for trains."""
    return trains.invoke({"messages": [("user", question)]})["messages"][-1].text


def brain(request: dict) -> object:
    told = [one["content"] for one in request["messages"] if one["role"] == "tool"]
    weather = ToolCall("ask_weather_expert", {"question": "What is the weather in Haifa?"})
    trains = ToolCall("ask_train_expert", {"question": "What are the departures in Haifa?"})
    return "\n".join(told) or Reply(tool_calls=[weather, trains])


def main() -> None:
    boss = create_agent(chat_model(brain=brain), [ask_weather_expert, ask_train_expert])
    question = "How is the weather in Haifa, and when is there a train?"
    for message in boss.invoke({"messages": [("user", question)]})["messages"]:
        message.pretty_print()


if __name__ == "__main__":
    main()
