"""`ai21-chains mcp`: the chains as tools for MCP clients, over stdin and stdout."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from ai21_chains.cli._shared import Debug, Model, new_app, one_line_errors

app = new_app()


@app.command()
def mcp(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Files, or folders to read files from.", metavar="PATH"),
    ] = None,
    model: Model = "jamba-mini",
    debug: Debug = False,
) -> None:
    """Offer answers from documents, checks and summaries as tools to MCP clients."""
    with one_line_errors(debug):
        from ai21_chains.cli._answering import chat_model, load
        from ai21_chains.serving.mcp_server import create_mcp_server

        documents = load(paths) if paths else ()
        server = create_mcp_server(chat_model(model), documents)
        # The official server would wait for the next line on stdin before it heeds a Ctrl-C.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        server.run()
