"""An agent that searches documents and reads in them; its answer's quotes are looked up there.

The first quote here is wrong, so the answer is sent back once. Without a key the replies are given.
"""

import json
from pathlib import Path

from common import chat_model
from langchain.agents import create_agent

from ai21_chains import load_documents
from ai21_chains.agents import GroundedAnswerMiddleware, create_document_tools
from ai21_chains.emulator import Reply, ToolCall, scripted

DOCUMENTS = Path(__file__).parent / "documents"
QUESTION = "How long does descaling take?"


def answer(minutes: int) -> str:
    quote = f"Descaling takes {minutes} minutes and cannot be interrupted."
    cited = [{"id": 1, "quote": quote}]
    return json.dumps({"found": True, "citations": cited, "answer": f"{minutes} minutes. [1]"})


def main() -> None:
    search = Reply(tool_calls=[ToolCall("search_documents", {"query": "descaling duration"})])
    agent = create_agent(
        chat_model(brain=scripted(search, answer(15), answer(25)), temperature=0),
        create_document_tools(load_documents(DOCUMENTS)),
        middleware=[GroundedAnswerMiddleware()],
    )

    state = agent.invoke({"messages": [("user", QUESTION)]})

    grounded = state["grounded_answer"]
    print(f"{grounded.answer} ({grounded.status})")
    for citation in grounded.citations:
        print(f"[{citation.id}] {citation.title}, page {citation.page}: {citation.quote!r}")
    for block in state["messages"][-1].content_blocks:
        print([annotation["cited_text"] for annotation in block["annotations"]])


if __name__ == "__main__":
    main()
