"""Many questions as one batch, which AI21 works off within hours; resumed by the batch's id."""

import os

import httpx
from langchain_core.messages import AIMessage

from ai21_chains import ChatAI21, Emulator
from ai21_chains.batches import AI21Batch
from ai21_chains.emulator import EmulatorError

HERE = {} if os.environ.get("AI21_API_KEY") else {"poll_interval_sec": 0.01}


def chat_model() -> ChatAI21:
    """Return a model on AI21, or on the embedded emulator when there is no AI21_API_KEY."""
    if os.environ.get("AI21_API_KEY"):
        return ChatAI21(max_tokens=50)
    # The second of three questions fails, to show what becomes of the others.
    emulator = Emulator(brain=answer, pending_looks=2)
    http_client = httpx.Client(transport=emulator.transport())
    return ChatAI21(api_key="no key needed", http_client=http_client)


def answer(request: dict) -> str:
    question = request["messages"][-1]["content"]
    if "mountain" in question:
        raise EmulatorError("no mountain comes to mind")
    return f"You asked: {question}"


def main() -> None:
    model = chat_model()
    questions = ["Name a river.", "Name a mountain.", "Name a lake."]

    batch_id = AI21Batch.submit(model, questions, temperature=0).id
    # Whoever knows the id can go on from here: another process, the next day.
    results = AI21Batch(model, batch_id).results(progress=print, **HERE)

    for question, result in zip(questions, results, strict=True):
        if isinstance(result, AIMessage):
            print(question, result.content, f"({result.usage_metadata['total_tokens']} tokens)")
        else:
            print(question, "failed:", result)


if __name__ == "__main__":
    main()
