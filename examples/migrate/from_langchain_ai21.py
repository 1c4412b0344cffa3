"""From langchain-ai21: each old call in a comment, its new form below."""

from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel
from studio import studio

# from langchain_ai21 import AI21LLM, AI21ContextualAnswers, ChatAI21
from ai21_chains import AI21LLM, ChatAI21, create_contextual_answers_chain


class City(BaseModel):
    """A city."""

    name: str
    country: str


def main() -> None:
    # ChatAI21(model="jamba-mini", num_retries=3, timeout_sec=60, api_host="https://…")
    chat = ChatAI21(model="jamba-mini", max_retries=3, timeout=60)

    # (prompt | chat).invoke({"place": "Haifa"}).content: unchanged, and its usage arrives now
    prompt = ChatPromptTemplate.from_messages([("user", "Say one sentence about {place}.")])
    answer = (prompt | chat).invoke({"place": "Haifa"})
    print(answer.content, answer.usage_metadata)

    # chat.invoke("…", stop=["."]): went out as stop_sequences, which the API does not know
    print(chat.invoke("Count to three.", stop=["three"]).content)

    # chat.stream(…) with tools: the calls were lost; agenerate ran in a thread
    for chunk in chat.bind_tools([City]).stream("Which city is Haifa?"):
        print(chunk.tool_call_chunks, end=" ")
    print()

    # chat.with_structured_output(City, method="json_mode"): the method was ignored
    print(chat.with_structured_output(City).invoke("The city is Haifa, the country is Israel."))

    # AI21LLM(model="j2-ultra").invoke("…"): Jurassic-2 is retired; Jamba ids work the same way
    print(AI21LLM(model="jamba-mini").invoke("Name a port."))

    # AI21ContextualAnswers().invoke({"context": …, "question": …}): the API behind it is retired
    answers = create_contextual_answers_chain(chat)
    print(answers.invoke({"context": "The pier opens at 8.", "question": "When does it open?"}))


if __name__ == "__main__":
    with studio():
        main()
