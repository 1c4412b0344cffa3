"""Retrieval from a vector store: FAISS, with a small embedding that needs no download.

`pip install faiss-cpu "langchain-community<0.4.2"`. Any LangChain vector store and any embedding
model go in the same way: `store.as_retriever()` is all that the chain sees.
"""

import re
import zlib
from pathlib import Path

import numpy as np
from common import chat_model
from langchain_community.vectorstores import FAISS
from langchain_core.embeddings import Embeddings

from ai21_chains import create_grounded_qa_chain, load_documents
from ai21_chains.documents import split_documents


class HashedWords(Embeddings):
    """The beginnings of long words, hashed into 1,024 numbers: crude, but quick and offline."""

    def embed_query(self, text: str) -> list[float]:
        """Embed a question."""
        vector = np.zeros(1024)
        for word in re.findall(r"\w{5,}", text.lower()):
            vector[zlib.crc32(word[:6].encode()) % 1024] = 1
        return (vector / (np.linalg.norm(vector) or 1)).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts."""
        return [self.embed_query(text) for text in texts]


def main() -> None:
    documents = load_documents(Path(__file__).parent / "documents")
    store = FAISS.from_documents(split_documents(documents, chunk_size=500), HashedWords())
    retriever = store.as_retriever(search_kwargs={"k": 6})
    chain = create_grounded_qa_chain(chat_model(temperature=0), retriever=retriever)

    answer = chain.invoke("May vinegar be used for descaling?")
    print(answer.answer)
    for citation in answer.citations:
        print(
            f"[{citation.id}] {Path(citation.source).name}, page {citation.page}: {citation.quote}"
        )


if __name__ == "__main__":
    main()
