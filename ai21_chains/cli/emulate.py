"""`ai21-chains emulate`: the emulator as a server."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import Annotated

import typer

from ai21_chains.cli._shared import Debug, new_app, one_line_errors
from ai21_chains.emulator.__main__ import run
from ai21_chains.errors import AI21Error

app = new_app()


@app.command()
def emulate(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any.")] = 8021,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    debug: Debug = False,
) -> None:
    """Serve an emulation of AI21's API, for tests and demonstrations."""
    with one_line_errors(debug), suppress(KeyboardInterrupt):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        try:
            run(host, port)
        except OSError as error:
            raise AI21Error(
                f"Cannot listen on port {port} of {host} ({error.strerror}); choose another with "
                "--port"
            ) from error
