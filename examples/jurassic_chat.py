"""Jurassic-2 chat: what LlamaIndex calls `preamble_override` is a system message with LangChain.

AI21 retired Jurassic-2 in November 2024, so this always asks the emulator's older server. On AI21
the same lines work with `model="jamba-large"`.
"""

import httpx
from langchain_core.messages import HumanMessage, SystemMessage

from ai21_chains import AI21Error, ChatAI21, Emulator


def chat_model(emulator: Emulator) -> ChatAI21:
    return ChatAI21(
        model="j2-ultra",
        temperature=0.7,
        api_key="no key needed",
        http_client=httpx.Client(transport=emulator.transport()),
    )


def pirate(request: dict) -> str:
    preamble, question = (message["content"] for message in request["messages"])
    return f"Arr! ({preamble!r} is what I go by, and {question!r} is what ye ask.)"


def main() -> None:
    messages = [
        SystemMessage("You are a pirate with a colorful personality"),
        HumanMessage("What is your name?"),
    ]
    print(chat_model(Emulator(era="2024", brain=pirate)).invoke(messages).content)

    try:
        chat_model(Emulator()).invoke(messages)
    except AI21Error as error:
        print("Today:", error)


if __name__ == "__main__":
    main()
