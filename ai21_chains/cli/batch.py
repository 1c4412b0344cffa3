"""`ai21-chains batch`: many chat requests as one batch that AI21 works off within hours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ai21_chains.cli._shared import Debug, new_app, one_line_errors, say, show, show_json
from ai21_chains.errors import DocumentError

if TYPE_CHECKING:
    from ai21_chains.batches import AI21Batch

app = new_app(help="Submit a batch of chat requests to AI21, and get its results.")

Id = Annotated[str, typer.Argument(metavar="ID", help="The batch's id, as submit prints it.")]


@app.command()
def submit(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="JSON Lines, each with custom_id, method, url and body."
        ),
    ],
    debug: Debug = False,
) -> None:
    """Start a batch from a file of requests, and print its id."""
    with one_line_errors(debug):
        try:
            content = file.read_bytes()
        except OSError as error:
            raise DocumentError(f"{file} cannot be read: {error.strerror}") from error
        from ai21_chains.batches import AI21Batch
        from ai21_chains.chat_models import ChatAI21

        batch = AI21Batch.submit_lines(ChatAI21(), content)
        say(f"{batch.rows} rows. Get their answers with: ai21-chains batch results {batch.id}")
        show(f"{batch.id}\n")


@app.command()
def status(batch_id: Id, debug: Debug = False) -> None:
    """Print how far a batch is, as JSON."""
    with one_line_errors(debug):
        show_json(_batch(batch_id).status())


@app.command()
def results(batch_id: Id, debug: Debug = False) -> None:
    """Wait for the end of a batch, and print its rows as JSON Lines, failed ones first."""
    with one_line_errors(debug):
        for line in _batch(batch_id).lines(progress=lambda status: say(f"{status}")):
            show(json.dumps(line) + "\n")


def _batch(batch_id: str) -> AI21Batch:
    from ai21_chains.batches import AI21Batch
    from ai21_chains.chat_models import ChatAI21

    return AI21Batch(ChatAI21(), batch_id)
