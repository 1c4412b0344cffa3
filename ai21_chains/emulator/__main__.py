"""`python -m ai21_chains.emulator`: the emulator as a server, until Ctrl-C."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from threading import Event
from typing import get_args

from . import Emulator, coverage_table
from .core import Era


def run(
    host: str = "127.0.0.1",
    port: int = 8021,
    *,
    era: Era = "2026",
    stop: Event | None = None,
) -> None:
    """Serve the emulator until Ctrl-C, and print how to use it.

    Args:
        host: The address to listen on.
        port: The port; 0 takes any free one.
        era: Which server is played; see `Emulator`.
        stop: Ends the server, too, when it is set.

    Raises:
        OSError: The port is taken.
    """
    with Emulator(era=era, keep_requests=0).serve(host=host, port=port) as server:
        print(f"AI21 emulator at {server.base_url} (no language model inside). Ctrl-C ends it.")
        print(f"Use it with: AI21_API_HOST={server.base_url} AI21_API_KEY=anything", flush=True)
        try:
            (stop or Event()).wait()
        except KeyboardInterrupt:
            print("\nThe emulator has ended.")


def main(arguments: Sequence[str] | None = None, *, stop: Event | None = None) -> None:
    """Read the command line and do what it says.

    Args:
        arguments: The command line, without the program's name; None reads the real one.
        stop: Ends the server, too, when it is set.
    """
    parser = argparse.ArgumentParser(
        prog="python -m ai21_chains.emulator",
        description="Emulate AI21's HTTP API on this machine. Answers come from a deterministic "
        "program that quotes the documents in the request, not from a language model.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8021, help="port, 0 for any (%(default)s)")
    parser.add_argument(
        "--era",
        choices=get_args(Era),
        default="2026",
        help="which server to play: today's, or that of autumn 2024 with Jurassic-2 (%(default)s)",
    )
    parser.add_argument("--coverage", action="store_true", help="print what is emulated and leave")
    options = parser.parse_args(arguments)
    if options.coverage:
        print(coverage_table())
    else:
        run(options.host, options.port, era=options.era, stop=stop)


if __name__ == "__main__":
    main()
