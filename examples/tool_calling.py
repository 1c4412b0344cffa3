"""The model asks for a tool, the program runs it, the model reads the result."""

from common import chat_model
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool


@tool
def get_weather(city: str) -> str:
    """Look up today's weather in a city."""
    return f"{city}: 24 °C, light wind from the sea."


def main() -> None:
    model = chat_model().bind_tools([get_weather])
    messages = [HumanMessage("What is the weather in Haifa?")]

    request = model.invoke(messages)
    messages.append(request)
    for call in request.tool_calls:
        print(f"{call['name']}({call['args']})")
        messages.append(get_weather.invoke(call))

    print(model.invoke(messages).content)


if __name__ == "__main__":
    main()
