"""A conversation about documents: a follow-up question finds what it means."""

from pathlib import Path

from common import chat_model
from langchain_core.messages import HumanMessage

from ai21_chains import BM25Retriever, create_conversational_qa_chain, load_documents

DOCUMENTS = Path(__file__).parent / "documents"
QUESTIONS = ["How long does descaling take?", "And how many days of annual leave are there?"]


def main() -> None:
    retriever = BM25Retriever.from_documents(load_documents(DOCUMENTS))
    chain = create_conversational_qa_chain(chat_model(temperature=0), retriever=retriever)
    history = []

    for question in QUESTIONS:
        answer = chain.invoke({"question": question, "chat_history": history})
        history += [HumanMessage(question), answer.to_message()]

        print(f"{question}\n  searched for: {answer.search_query}\n  {answer.answer}")
        for citation in answer.citations:
            print(f"  [{citation.id}] {citation.title}: {citation.quote!r}")


if __name__ == "__main__":
    main()
