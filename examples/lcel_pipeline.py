"""A prompt, a model and a parser as one pipeline; the answer streams."""

from common import chat_model
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate


def main() -> None:
    prompt = ChatPromptTemplate.from_messages(
        [("system", "You are a helpful guide to {city}."), ("human", "{question}")]
    )
    pipeline = prompt | chat_model(temperature=0.4) | StrOutputParser()

    for piece in pipeline.stream({"city": "Haifa", "question": "Where can I swim?"}):
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
