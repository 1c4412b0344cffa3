"""From LlamaIndex's AI21 integration: each old call in a comment, its new form below.

Who stays with LlamaIndex can use our model inside it, through LlamaIndex's own LangChain adapter,
as `adapted` shows. Beside LangChain 1.x the adapter needs two older packages:
`pip install llama-index-llms-langchain langchain-classic "langchain-community<0.4.2"`
"""

from langchain_core.messages import HumanMessage, SystemMessage
from studio import studio

# from llama_index.llms.ai21 import AI21
from ai21_chains import AI21LLM, ChatAI21


def main() -> None:
    # AI21(model="jamba-mini", api_key=…).complete("Paul Graham is ")
    print(AI21LLM(model="jamba-mini").invoke("Paul Graham is "))

    # llm.stream_complete("Paul Graham is ")
    print("".join(AI21LLM(model="jamba-mini").stream("Paul Graham is ")))

    # llm.chat([ChatMessage(role="user", …)], preamble_override="You are a pirate")
    chat = ChatAI21(model="jamba-mini", temperature=0.7)
    messages = [SystemMessage("You are a pirate"), HumanMessage("What is your name?")]
    print(chat.invoke(messages).content)

    # llm.stream_chat(messages)
    print("".join(chunk.text for chunk in chat.stream(messages)))

    # llm.predict_and_call([tool], user_msg=…)
    print(chat.bind_tools([get_weather]).invoke("Weather in Haifa?").tool_calls)

    # AI21(model="jamba-mini", api_key=key_1), AI21(model="j2-mid", api_key=key_2)
    print(ChatAI21(model="jamba-large", api_key="another key").invoke("Hi").content)

    adapted(chat)


def get_weather(city: str) -> str:
    """Look up the weather in a city."""
    return f"Sunny in {city}."


def adapted(chat: ChatAI21) -> None:
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.langchain import LangChainLLM

    llm = LangChainLLM(llm=chat)
    print(llm.complete("Name a port.").text)
    print(llm.chat([ChatMessage(role="user", content="Name a pier.")]).message.content)


if __name__ == "__main__":
    with studio():
        main()
