"""`ai21-chains evaluate`: grounded answers measured on questions whose answers are known."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from ai21_chains.chains.grounded_qa import create_grounded_qa_chain
from ai21_chains.cli._answering import chat_model, on_ai21
from ai21_chains.cli._shared import Debug, Json, Model, new_app, one_line_errors, show, show_json
from ai21_chains.errors import AI21Error
from ai21_chains.evaluation import evaluate_grounded_qa, load_evaluation_set

app = new_app()


class Given(StrEnum):
    """What the questions of an evaluation are asked with."""

    relevant = "relevant"
    all = "all"


@app.command()
def evaluate(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder with NAME_questions.jsonl, NAME_docs.jsonl.", metavar="FOLDER"),
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
    with one_line_errors(debug):
        given = load_evaluation_set(folder, name)
        if items is not None:
            items.touch()  # that it cannot be written is better known before the work than after
        chain = create_grounded_qa_chain(chat_model(model))
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
                model=None if on_ai21() else "emulator, extractive (no language model)",
            )
        if items is not None:
            report.write_jsonl(items)
        show_json(report) if as_json else show(report.to_markdown())
        if len(report.failures) == len(report.items):
            raise AI21Error(f"Every call failed, the first with {report.failures[0].error}")


def _failed(calls: int) -> str:
    return f"Asking, {calls} failed" if calls else "Asking"
