"""Chunks of documents, found by their words for a question and cited where they stand."""

from pathlib import Path

from common import chat_model

from ai21_chains import create_grounded_qa_chain, load_documents
from ai21_chains.documents import read_text, split_documents
from ai21_chains.retrievers import BM25Retriever

DOCUMENTS = Path(__file__).parent / "documents"
QUESTION = "How long does descaling take?"


def main() -> None:
    chunks = split_documents(load_documents(DOCUMENTS), chunk_size=800)
    retriever = BM25Retriever.from_documents(chunks, k=3)

    for chunk, score in retriever.search(QUESTION):
        print(f"{score:5.2f}  {chunk.metadata['title']}, from {chunk.metadata['start_index']}")

    chain = create_grounded_qa_chain(chat_model(temperature=0), retriever=retriever)
    answer = chain.invoke(QUESTION)

    print(answer.answer)
    for citation in answer.citations:
        text = read_text(citation.source)
        assert text[citation.source_start : citation.source_end] == citation.quote
        print(f"[{citation.id}] {citation.title}, page {citation.page}: {citation.quote!r}")


if __name__ == "__main__":
    main()
