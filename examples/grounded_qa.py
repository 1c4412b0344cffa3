"""An answer from documents, with quotes that were looked up in them."""

from pathlib import Path

from common import chat_model

from ai21_chains import create_grounded_qa_chain, load_documents

DOCUMENTS = Path(__file__).parent / "documents"


def main() -> None:
    chain = create_grounded_qa_chain(chat_model(temperature=0))
    documents = load_documents(DOCUMENTS)

    answer = chain.invoke({"question": "How long does descaling take?", "documents": documents})

    print(answer.answer)
    for citation in answer.citations:
        document = answer.documents[citation.document_index]
        assert document.page_content[citation.start : citation.end] == citation.quote
        print(f"[{citation.id}] {citation.title}, page {citation.page}: {citation.quote!r}")


if __name__ == "__main__":
    main()
