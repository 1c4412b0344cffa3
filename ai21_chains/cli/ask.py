"""`ai21-chains ask`: an answer from documents, with its citations."""

from __future__ import annotations

from typing import Annotated

import typer

from ai21_chains.answers import GroundedAnswer
from ai21_chains.chains.grounded_qa import create_grounded_qa_chain
from ai21_chains.cli._answering import chat_model, load, show_stream, sources
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
from ai21_chains.errors import ConfigurationError

app = new_app()


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What you want to know.", metavar="QUESTION")],
    paths: Paths,
    model: Model = "jamba-mini",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Answer a question from documents, with quotes that were looked up in them."""
    with one_line_errors(debug):
        if not question.strip():
            raise ConfigurationError("The question is empty")
        asked = {"question": question, "documents": load(paths)}
        chain = create_grounded_qa_chain(chat_model(model))
        if as_json:
            show_json(chain.invoke(asked))
        else:
            answer = GroundedAnswer.model_validate(show_stream(chain.stream(asked), "answer"))
            show("".join(sources(answer)))
