"""`ai21-chains serve`: OpenAI's API and the chains, from one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ai21_chains.cli._shared import Debug, new_app, one_line_errors, say
from ai21_chains.errors import MissingExtraError

app = new_app()


@app.command()
def serve(
    config: Annotated[
        Path | None,
        typer.Option(help="A file like LiteLLM's config.yaml; without one, all models."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any.")] = 4000,
    workers: Annotated[int, typer.Option(min=1, help="Processes that answer.")] = 1,
    debug: Debug = False,
) -> None:
    """Serve models and chains over OpenAI's API."""
    with one_line_errors(debug):
        try:
            from ai21_chains.serving.run import Options, run
        except ModuleNotFoundError as error:
            if error.name and error.name.startswith("ai21_chains"):
                raise
            raise MissingExtraError(
                f"Serving needs an extra ({error.name} is not there): "
                'pip install "ai21-chains[serve]"'
            ) from None
        run(Options(config, host, port, workers), say)
