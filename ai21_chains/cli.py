"""The command line: every chain without a line of Python.

Results go to stdout, everything else to stderr. Exit codes: 0 fine, 1 the work failed, 2 wrong
usage. A question that the documents do not answer is fine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from langchain_core.documents import Document
from rich.console import Console

from ai21_chains._version import __version__
from ai21_chains.answers import GroundedAnswer, place
from ai21_chains.chains.grounded_qa import create_grounded_qa_chain
from ai21_chains.chat_models import ADDRESSES, ChatAI21
from ai21_chains.client import AsyncHTTPClient, HTTPClient
from ai21_chains.documents import load_documents
from ai21_chains.emulator import Emulator
from ai21_chains.emulator.__main__ import run as run_emulator
from ai21_chains.errors import AI21Error, ConfigurationError

app = typer.Typer(
    help="AI21's models in LangChain, and answers from documents with citations that are checked.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_stderr = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

Paths = Annotated[list[Path], typer.Argument(help="Files, or folders to read files from.")]
Model = Annotated[str, typer.Option(help="Model id.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"ai21-chains {__version__}")
        raise typer.Exit


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    paths: Paths,
    model: Model = "jamba-mini",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Answer a question from documents, with quotes that were looked up in them."""
    with _one_line_errors(debug):
        if not question.strip():
            raise ConfigurationError("The question is empty")
        chain = create_grounded_qa_chain(_chat_model(model))
        asked = {"question": question, "documents": _load(paths)}
        if as_json:
            typer.echo(chain.invoke(asked).model_dump_json(indent=2))
        else:
            answer = GroundedAnswer.model_validate(_shown(chain.stream(asked)))
            typer.echo("".join(_sources(answer)), nl=False)


@app.command()
def emulate(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any.")] = 8021,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    debug: Debug = False,
) -> None:
    """Serve an emulation of AI21's API on this machine, for tests and demonstrations."""
    with _one_line_errors(debug):
        run_emulator(host, port)


@contextmanager
def _one_line_errors(debug: bool) -> Iterator[None]:
    try:
        yield
    except (AI21Error, OSError) as error:
        if debug:
            raise
        _stderr.print(f"Error: {' '.join(str(error).split())}")
        raise typer.Exit(2 if isinstance(error, ConfigurationError) else 1) from None


def _chat_model(model: str) -> ChatAI21:
    if os.environ.get("AI21_API_KEY") or any(map(os.environ.get, ADDRESSES)):
        return ChatAI21(model=model, temperature=0)
    _stderr.print(
        "No AI21_API_KEY: the embedded emulator answers, extractively, without a language model."
    )
    transport = Emulator().transport()
    return ChatAI21(
        model=model,
        api_key="emulator",
        temperature=0,
        http_client=HTTPClient(transport=transport),
        http_async_client=AsyncHTTPClient(transport=transport),
    )


def _load(paths: list[Path]) -> list[Document]:
    with _stderr.status("Reading the documents …"):
        return load_documents(paths)


def _shown(pieces: Iterable[Any]) -> Any:
    """Print the answer as it grows and return the sum of the pieces."""
    total: Any = None
    for piece in pieces:
        typer.echo(piece.get("answer", ""), nl=False)
        total = piece if total is None else total + piece
    typer.echo()
    return total


def _sources(answer: GroundedAnswer) -> Iterator[str]:
    for citation in answer.citations:
        yield f"\n[{citation.id}] {place(citation)}\n“{citation.quote}”\n"
    for rejected in answer.rejected:
        yield f"\nNot verified, so not cited: “{rejected.quote}” {rejected.message}\n"
