"""`ai21-chains chat`: a conversation about documents."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

import typer
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableLambda

from ai21_chains.answers import GroundedAnswer
from ai21_chains.chains.conversational_qa import create_conversational_qa_chain
from ai21_chains.chat_models import ChatAI21
from ai21_chains.cli._answering import chat_model, load, show_stream, sources
from ai21_chains.cli._shared import (
    Debug,
    Model,
    Paths,
    new_app,
    one_line_errors,
    say,
    say_error,
    show,
)
from ai21_chains.documents import split_documents
from ai21_chains.errors import AI21Error
from ai21_chains.retrievers import BM25Retriever

app = new_app()

_FEW = 20_000
"""Characters of documents that go with each question as a whole, some 5,000 tokens. In more than
that, what belongs to the question is searched for."""


@app.command()
def chat(paths: Paths, model: Model = "jamba-mini", debug: Debug = False) -> None:
    """Talk about documents: questions, and answers with their quotes, until /quit.

    Follow-up questions may refer to what was said before. Ctrl-D and Ctrl-C end the conversation,
    too. Questions can be piped in, a line each; then the exit code is 1 if one of them failed.
    """
    with one_line_errors(debug):
        documents = load(paths)
        chain = _chain(chat_model(model), documents)
        try:
            failed = _talk(chain, debug)
        except KeyboardInterrupt:
            say("")
            raise typer.Exit from None
        raise typer.Exit(1 if failed and not sys.stdin.isatty() else 0)


def _chain(model: ChatAI21, documents: list[Document]) -> Runnable[Any, Any]:
    if sum(len(document.page_content) for document in documents) <= _FEW:
        everything: Runnable[str, list[Document]] = RunnableLambda(lambda query: documents)
        return create_conversational_qa_chain(model, retriever=everything, condense="never")
    retriever = BM25Retriever.from_documents(split_documents(documents), k=10)
    return create_conversational_qa_chain(model, retriever=retriever)


def _talk(chain: Runnable[Any, Any], debug: bool) -> int:
    """Answer what is asked and return how many questions failed."""
    history: list[BaseMessage] = []
    failed = 0
    for question in _questions():
        asked = {"question": question, "chat_history": history}
        try:
            pieces = _with_search(chain.stream(asked), question)
            answer = GroundedAnswer.model_validate(show_stream(pieces, "answer"))
        except AI21Error as error:
            if debug:
                raise
            say_error(error)
            failed += 1
        else:
            show("".join(sources(answer)) + "\n")
            history += [HumanMessage(question), answer.to_message()]
    return failed


def _questions() -> Iterator[str]:
    if sys.stdin is None:
        return
    terminal = sys.stdin.isatty()
    if terminal:
        with suppress(ImportError):  # Windows has its own line editing
            import_module("readline")
    while True:
        try:
            question = input("> " if terminal else "").strip()
        except EOFError:
            if terminal:
                say("")
            return
        if question == "/quit":
            return
        if question:
            yield question


def _with_search(pieces: Iterable[Any], question: str) -> Iterator[Any]:
    """Pass the pieces of an answer on, and say what was searched for if it is not the question."""
    for piece in pieces:
        query = piece.get("search_query")
        if query not in (None, question):
            say(f"(Searched for: {query})")
        yield piece
