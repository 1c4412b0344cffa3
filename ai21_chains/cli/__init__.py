"""The command line: every chain without a line of Python.

Results go to stdout, everything else to stderr. Exit codes: 0 fine, 1 the work failed, 2 wrong
usage. A question that the documents do not answer is fine.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from langchain_core.documents import Document
from pydantic import BaseModel
from rich.console import Console
from rich.progress import Progress
from typer.core import TyperGroup

from ai21_chains._version import __version__
from ai21_chains.answers import GroundedAnswer, place
from ai21_chains.chains.grounded_qa import create_grounded_qa_chain
from ai21_chains.chains.summarize import Summary, create_summarize_chain
from ai21_chains.chat_models import ADDRESSES, ChatAI21
from ai21_chains.citations import Citation, RejectedQuote
from ai21_chains.client import AsyncHTTPClient, HTTPClient
from ai21_chains.documents import load_documents
from ai21_chains.emulator import Emulator
from ai21_chains.emulator.__main__ import run as run_emulator
from ai21_chains.errors import AI21Error, ConfigurationError
from ai21_chains.evaluation import evaluate_grounded_qa, load_evaluation_set

_UsageError: Any = typer.BadParameter.__base__
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Characters by which a document could give orders to the terminal."""


class _Commands(TyperGroup):
    """The commands; wrong usage is one line, as every other error."""

    def main(self, *args: Any, **options: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            # What the terminal's encoding lacks is escaped: it must not end the program.
            getattr(stream, "reconfigure", dict)(errors="backslashreplace")
        try:
            code = super().main(*args, **{**options, "standalone_mode": False})
        except _UsageError as error:
            path = error.ctx.command_path if error.ctx else "ai21-chains"
            _say(f"Error: {error.format_message()} Try '{path} --help'.")
            code = 2
        sys.exit(code)


app = typer.Typer(
    cls=_Commands,
    help="AI21's models in LangChain, and answers from documents with citations that are checked.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Paths = Annotated[list[Path], typer.Argument(help="Files, or folders to read files from.")]
Model = Annotated[str, typer.Option(help="Model id.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


class Given(StrEnum):
    """What the questions of an evaluation are asked with."""

    relevant = "relevant"
    all = "all"


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"ai21-chains {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


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
        asked = {"question": question, "documents": _load(paths)}
        chain = create_grounded_qa_chain(_chat_model(model))
        if as_json:
            _print_json(chain.invoke(asked))
        else:
            answer = GroundedAnswer.model_validate(_shown(chain.stream(asked), "answer"))
            _print("".join(_sources(answer)))


@app.command()
def summarize(
    paths: Paths,
    words: Annotated[int, typer.Option(min=1, help="Length of the summary, about.")] = 200,
    model: Model = "jamba-mini",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Summarize documents, with key points whose quotes were looked up in them."""
    with _one_line_errors(debug):
        documents = _load(paths)
        chain = create_summarize_chain(_chat_model(model), words=words)
        if as_json:
            _print_json(chain.invoke(documents))
        else:
            summary = Summary.model_validate(_shown(chain.stream(documents), "text"))
            _print("".join(_key_points(summary)))


@app.command()
def evaluate(
    folder: Annotated[
        Path, typer.Argument(help="Folder with NAME_questions.jsonl, NAME_docs.jsonl.")
    ],
    name: Annotated[str | None, typer.Option("--set", help="Set, if there are several.")] = None,
    documents: Annotated[Given, typer.Option(help="What to ask with.")] = Given.relevant,
    limit: Annotated[int, typer.Option(min=1, help="How many questions to ask.")] = 100,
    seed: Annotated[int, typer.Option(help="Which of the questions.")] = 0,
    concurrency: Annotated[int, typer.Option(min=1, help="Questions asked at once.")] = 8,
    model: Model = "jamba-mini",
    items: Annotated[Path | None, typer.Option(help="JSON Lines file for the results.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure the grounded answers to questions whose answers are known."""
    with _one_line_errors(debug):
        given = load_evaluation_set(folder, name)
        if items is not None:
            items.touch()  # that it cannot be written is better known before the work than after
        chain = create_grounded_qa_chain(_chat_model(model))
        with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
            bar = progress.add_task("Asking", total=None)
            report = evaluate_grounded_qa(
                chain,
                given.questions,
                given.documents,
                documents_for=documents.value,
                limit=limit,
                seed=seed,
                max_concurrency=concurrency,
                on_progress=lambda now: progress.update(
                    bar, total=now.total, completed=now.done, description=_failed(now.failed)
                ),
                name=given.name,
                model=None if _on_ai21() else "emulator, extractive (no language model)",
            )
        if items is not None:
            report.write_jsonl(items)
        _print_json(report) if as_json else _print(report.to_markdown())
        if len(report.failures) == len(report.items):
            raise AI21Error(f"Every call failed, the first with {report.failures[0].error}")


@app.command()
def emulate(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any.")] = 8021,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    debug: Debug = False,
) -> None:
    """Serve an emulation of AI21's API on this machine, for tests and demonstrations."""
    with _one_line_errors(debug), suppress(KeyboardInterrupt):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        try:
            run_emulator(host, port)
        except OSError as error:
            raise AI21Error(
                f"Cannot listen on port {port} of {host} ({error.strerror}); choose another with "
                "--port"
            ) from error


@contextmanager
def _one_line_errors(debug: bool) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        # Whoever read has enough (`| head`). What is still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (AI21Error, OSError) as error:
        if debug:
            raise
        _say(f"Error: {' '.join(str(error).split())}")
        raise typer.Exit(2 if isinstance(error, ConfigurationError) else 1) from None


def _on_ai21() -> bool:
    return any(map(os.environ.get, ("AI21_API_KEY", *ADDRESSES)))


def _chat_model(model: str) -> ChatAI21:
    if _on_ai21():
        return ChatAI21(model=model, temperature=0)
    _say("No AI21_API_KEY: the embedded emulator answers, extractively, without a language model.")
    transport = Emulator().transport()
    return ChatAI21(
        model=model,
        api_key="emulator",
        temperature=0,
        http_client=HTTPClient(transport=transport),
        http_async_client=AsyncHTTPClient(transport=transport),
    )


def _load(paths: list[Path]) -> list[Document]:
    with Console(stderr=True).status("Reading the documents …"):
        return load_documents(paths)


def _shown(pieces: Iterable[Any], key: str) -> Any:
    """Print the text as it grows and return the sum of the pieces."""
    total: Any = None
    try:
        for piece in pieces:
            _print(piece.get(key, ""))
            total = piece if total is None else total + piece
    finally:
        if total and total.get(key):
            _print("\n")
    return total


def _sources(answer: GroundedAnswer) -> Iterator[str]:
    if answer.status == "truncated":
        yield "\nThe answer was cut off: the model may not say more at once.\n"
    if answer.status == "unverified":
        yield "\nNo quote from the documents supports this answer.\n"
    yield from _quotes(answer.citations, answer.rejected)


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
    yield from _quotes(sorted(citations, key=lambda citation: citation.id), summary.rejected)


def _quotes(citations: Iterable[Citation], rejected: Iterable[RejectedQuote]) -> Iterator[str]:
    for citation in citations:
        yield f"\n[{citation.id}] {place(citation)}\n“{citation.quote}”\n"
    for quote in rejected:
        yield f"\nNot verified, so not cited: “{quote.quote}” {quote.message}\n"


def _print(text: str) -> None:
    typer.echo(_CONTROL.sub("\ufffd", text.replace("\r\n", "\n")), nl=False)


def _print_json(result: BaseModel) -> None:
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    data = result.model_dump(mode="json")
    typer.echo(json.dumps(data, indent=2, ensure_ascii=not unicode))


def _failed(calls: int) -> str:
    return f"Asking, {calls} failed" if calls else "Asking"


def _say(line: str) -> None:
    typer.echo(line, err=True)
