"""`ai21-chains summarize`: a summary of documents, and key points with their quotes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from ai21_chains.chains.summarize import Summary, create_summarize_chain
from ai21_chains.cli._answering import chat_model, load, quotes, show_stream
from ai21_chains.cli._shared import (
    Debug,
    Json,
    Model,
    Paths,
    new_app,
    one_line_errors,
    show,
    show_json,
)

app = new_app()


@app.command()
def summarize(
    paths: Paths,
    words: Annotated[int, typer.Option(min=1, help="Length of the summary, about.")] = 200,
    model: Model = "jamba-mini",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Summarize documents, with key points whose quotes were looked up in them."""
    with one_line_errors(debug):
        documents = load(paths)
        chain = create_summarize_chain(chat_model(model), words=words)
        if as_json:
            show_json(chain.invoke(documents))
        else:
            summary = Summary.model_validate(show_stream(chain.stream(documents), "text"))
            show("".join(_key_points(summary)))


def _key_points(summary: Summary) -> Iterator[str]:
    if summary.status == "partly":
        yield "\nThe summary is not whole: a reply was cut off, or had no summary in it.\n"
    if summary.status == "empty":
        yield "\nThe model gave no summary.\n"
    if summary.key_points:
        yield "\nKey points:\n"
    for point in summary.key_points:
        yield f"- {point.text} {''.join(f'[{citation.id}]' for citation in point.citations)}\n"
    citations = [citation for point in summary.key_points for citation in point.citations]
    yield from quotes(sorted(citations, key=lambda citation: citation.id), summary.rejected)
