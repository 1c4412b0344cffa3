"""A summary of documents, with key points that are proven by quotes from them."""

from pathlib import Path

from common import chat_model

from ai21_chains import create_summarize_chain, load_documents

DOCUMENTS = Path(__file__).parent / "documents"


def main() -> None:
    chain = create_summarize_chain(chat_model(temperature=0), words=100)
    documents = load_documents(DOCUMENTS / "staff_handbook.md")

    summary = chain.invoke(documents)

    print(summary.text)
    for point in summary.key_points:
        print(f"- {point.text}")
        for citation in point.citations:
            document = documents[citation.document_index]
            assert document.page_content[citation.start : citation.end] == citation.quote
            print(f"  [{citation.id}] {citation.title or citation.source}: {citation.quote!r}")


if __name__ == "__main__":
    main()
