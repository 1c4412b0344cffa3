"""What the commands share that put a model to documents: both of them, and how to show results."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from rich.console import Console

from ai21_chains.answers import GroundedAnswer, place
from ai21_chains.chat_models import ChatAI21
from ai21_chains.citations import Citation, RejectedQuote
from ai21_chains.cli._shared import say, show
from ai21_chains.client import ADDRESSES, AsyncHTTPClient, HTTPClient
from ai21_chains.documents import load_documents
from ai21_chains.emulator import Emulator


def on_ai21() -> bool:
    """Return whether a key or an address is set; else the emulator answers."""
    return any(map(os.environ.get, ("AI21_API_KEY", *ADDRESSES)))


def chat_model(model: str) -> ChatAI21:
    """Return the model on AI21, or on the embedded emulator, which is said on stderr then."""
    if on_ai21():
        return ChatAI21(model=model, temperature=0)
    say("No AI21_API_KEY: the embedded emulator answers, extractively, without a language model.")
    transport = Emulator().transport()
    return ChatAI21(
        model=model,
        api_key="emulator",
        temperature=0,
        http_client=HTTPClient(transport=transport),
        http_async_client=AsyncHTTPClient(transport=transport),
    )


def load(paths: list[Path]) -> list[Document]:
    """Load documents."""
    with working("Reading the documents …"):
        return load_documents(paths)


def working(what: str) -> AbstractContextManager[object]:
    """Show on a terminal, by stderr, what takes a while."""
    return Console(stderr=True).status(what)


def show_stream(pieces: Iterable[Any], key: str) -> Any:
    """Print the text as it grows and return the sum of the pieces."""
    total: Any = None
    try:
        for piece in pieces:
            show(piece.get(key, ""))
            total = piece if total is None else total + piece
    finally:
        if total and total.get(key):
            show("\n")
    return total


def sources(answer: GroundedAnswer) -> Iterator[str]:
    """Yield what follows an answer: what is wrong with it, and its quotes."""
    if answer.status == "truncated":
        yield "\nThe answer was cut off: the model may not say more at once.\n"
    if answer.status == "unverified":
        yield "\nNo quote from the documents supports this answer.\n"
    yield from quotes(answer.citations, answer.rejected)


def quotes(citations: Iterable[Citation], rejected: Iterable[RejectedQuote]) -> Iterator[str]:
    """Yield the quotes as a reader wants to see them, and what could not be verified."""
    for citation in citations:
        yield f"\n[{citation.id}] {place(citation)}\n“{citation.quote}”\n"
    for quote in rejected:
        yield f"\nNot verified, so not cited: “{quote.quote}” {quote.message}\n"
