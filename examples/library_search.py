"""Files in AI21's library: upload, wait, and search them as a retriever; then clean up."""

import os
from pathlib import Path

import httpx

from ai21_chains import Emulator
from ai21_chains.library import AI21FileLibrary, AI21LibraryRetriever

HANDBOOK = Path(__file__).parent / "documents" / "staff_handbook.md"


def file_library() -> AI21FileLibrary:
    """Return the library of AI21_API_KEY, or one on the embedded emulator without a key."""
    if os.environ.get("AI21_API_KEY"):
        return AI21FileLibrary()
    http_client = httpx.Client(transport=Emulator().transport())
    return AI21FileLibrary(api_key="no key needed", http_client=http_client)


def main() -> None:
    library = file_library()
    file_id = library.upload(
        HANDBOOK,
        labels=["example"],
        progress=lambda sent, size: print(f"{sent} of {size} bytes"),
    )
    try:
        print(library.wait_until_processed(file_id).status)

        retriever = AI21LibraryRetriever(library=library, k=2, labels=["example"])
        for document in retriever.invoke("How many days of annual leave do full-time staff have?"):
            score = document.metadata["score"]
            print(f"{document.metadata['source']} ({score:.2f}): {document.page_content[:70]!r}")
    finally:
        library.delete(file_id)
    print("left:", [file.name for file in library.list(labels=["example"])])


if __name__ == "__main__":
    main()
