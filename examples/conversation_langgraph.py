"""A conversation as a LangGraph graph: SQLite keeps its history, which outlives the process.

Needs `pip install langgraph langgraph-checkpoint-sqlite`. Rules cannot rewrite a question: without
a key that one reply of the emulator is written below.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from common import chat_model
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph

from ai21_chains import BM25Retriever, create_conversational_qa_chain, load_documents
from ai21_chains.emulator import extractive

DOCUMENTS = Path(__file__).parent / "documents"
QUESTIONS = ["How long is the initial term of the agreement?", "Which laws govern it?"]


def brain(request: dict) -> object:
    rewrite = "Follow-up question:" in request["messages"][-1]["content"]
    return "Which laws govern the agreement?" if rewrite else extractive(request)


def conversation(memory: SqliteSaver):
    retriever = BM25Retriever.from_documents(load_documents(DOCUMENTS))
    model = chat_model(brain=brain, temperature=0)
    chain = create_conversational_qa_chain(model, retriever=retriever)

    def answer(state: MessagesState) -> dict:
        *history, question = state["messages"]
        result = chain.invoke({"question": question.text, "chat_history": history})
        print(f"{question.text}\n  searched for: {result.search_query}\n  {result.answer}")
        return {"messages": [result.to_message()]}

    return StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile(memory)


def main() -> None:
    thread = {"configurable": {"thread_id": "contract"}}
    with TemporaryDirectory() as folder:
        for question in QUESTIONS:  # as in a new process each: the file is all that is left
            with SqliteSaver.from_conn_string(f"{folder}/memory.sqlite") as memory:
                conversation(memory).invoke({"messages": [HumanMessage(question)]}, thread)


if __name__ == "__main__":
    main()
