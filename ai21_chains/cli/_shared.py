"""What all commands share: options, printing, and errors as one line."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ai21_chains.errors import AI21Error, ConfigurationError

if TYPE_CHECKING:
    from pydantic import BaseModel

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Characters by which a document could give orders to the terminal."""

Paths = Annotated[
    list[Path], typer.Argument(help="Files, or folders to read files from.", metavar="PATH")
]
Model = Annotated[str, typer.Option(help="Model id.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def new_app(**settings: Any) -> typer.Typer:
    """Return a Typer object for a command, or for a group of them."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, **settings)


@contextmanager
def one_line_errors(debug: bool) -> Iterator[None]:
    """End the program with one line and the right exit code where the work fails."""
    try:
        yield
    except BrokenPipeError:
        # Whoever read has enough (`| head`). What is still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (AI21Error, OSError) as error:
        if debug:
            raise
        say_error(error)
        raise typer.Exit(2 if isinstance(error, ConfigurationError) else 1) from None


def show(text: str) -> None:
    """Print a result, without what a terminal would obey."""
    typer.echo(_harmless(text), nl=False)


def show_json(result: BaseModel) -> None:
    """Print a result as JSON, which is ASCII where stdout knows no Unicode."""
    unicode = (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")
    data = result.model_dump(mode="json", by_alias=True)
    typer.echo(json.dumps(data, indent=2, ensure_ascii=not unicode))


def say(line: str) -> None:
    """Print a line about the work, to stderr."""
    typer.echo(_harmless(line), err=True)


def say_error(error: Exception) -> None:
    """Print an error as one line, to stderr."""
    say(f"Error: {' '.join(str(error).split())}")


def _harmless(text: str) -> str:
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))
