"""A pydantic object out of documents, each of its fields with a quote.

The emulator has no language model: it puts whole sentences where a model would put a value.
"""

from pathlib import Path

from common import chat_model
from pydantic import BaseModel, Field

from ai21_chains import create_extraction_chain, load_documents


class Contract(BaseModel):
    """The terms of a supply agreement."""

    initial_term: str = Field(description="How long the initial term is")
    governing_law: str = Field(description="The laws that govern the agreement")
    payment: str | None = Field(None, description="When invoices are payable")


def main() -> None:
    chain = create_extraction_chain(chat_model(temperature=0), Contract)

    result = chain.invoke(
        load_documents(Path(__file__).parent / "documents" / "supply_contract.txt")
    )

    print(result.value)
    for field, citations in result.evidence.items():
        for citation in citations:
            print(f"{field}: {citation.quote!r}, from character {citation.start}")
    print("Missing:", result.missing, "Without evidence:", result.unverified)


if __name__ == "__main__":
    main()
