"""Text in, text out, as AI21's retired Contextual Answers did; only what the context proves."""

from common import chat_model

from ai21_chains import create_contextual_answers_chain

CONTEXT = """\
The reading room is open from Tuesday to Saturday. Lockers cost nothing and are emptied every
evening. Photographs may be taken without a flash."""


def main() -> None:
    chain = create_contextual_answers_chain(chat_model(temperature=0))

    for question in ("What do lockers cost?", "Who founded the library?"):
        print(question, "->", chain.invoke({"context": CONTEXT, "question": question}))


if __name__ == "__main__":
    main()
