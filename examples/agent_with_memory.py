"""An agent that remembers: what was said in a thread is kept in SQLite, for the next process too.

Needs `pip install langchain langgraph-checkpoint-sqlite`. Without a key, rules choose the tool, and
whoever asks for a name gets it from the history.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from common import chat_model
from langchain.agents import create_agent
from langgraph.checkpoint.sqlite import SqliteSaver

from ai21_chains.emulator import extractive


def get_weather(city: str) -> str:
    """Look up today's weather in a city."""
    return f"{city}: 24 °C, light wind from the sea."


def brain(request: dict) -> object:
    said = [one["content"] for one in request["messages"] if one["role"] == "user"]
    if said[-1] == "What is my name?":
        return f"You said it at the beginning: {said[0]}"
    return extractive(request)


def ask(memory: Path, question: str, thread: str = "monday") -> None:
    with SqliteSaver.from_conn_string(str(memory)) as checkpointer:
        agent = create_agent(
            chat_model(brain=brain, temperature=0),
            tools=[get_weather],
            system_prompt="You are a helpful assistant.",
            checkpointer=checkpointer,
        )
        asked = {"messages": [{"role": "user", "content": question}]}
        answered = agent.invoke(asked, {"configurable": {"thread_id": thread}})
        print(f"{question}\n  {answered['messages'][-1].text}")


def main() -> None:
    with TemporaryDirectory() as folder:
        memory = Path(folder) / "memory.sqlite"
        ask(memory, "I am Ada. What is the weather in Haifa?")
        ask(memory, "What is my name?")  # as in a new process: the file is all that is left


if __name__ == "__main__":
    main()
