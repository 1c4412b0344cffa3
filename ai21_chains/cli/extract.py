"""`ai21-chains extract`: the values that a schema asks for, each with the quotes that prove it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from ai21_chains.chains.extraction import ExtractionResult, create_extraction_chain
from ai21_chains.citations import Citation
from ai21_chains.cli._answering import chat_model, load, quotes, working
from ai21_chains.cli._schema import read_schema
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

app = new_app()


@app.command()
def extract(
    paths: Paths,
    schema: Annotated[
        str,
        typer.Option(
            help="What to look for: a file with a JSON Schema (.json, .yaml), or a pydantic model "
            "as FILE.py:CLASS or MODULE:CLASS, whose code is run.",
            metavar="FILE",
        ),
    ],
    model: Model = "jamba-mini",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Read the fields of a schema out of documents, each with the quotes that prove it.

    What the documents do not state is not found: nothing is made up for it.
    """
    with one_line_errors(debug):
        wanted = read_schema(schema)
        documents = load(paths)
        chain = create_extraction_chain(chat_model(model), wanted)
        with working("Reading the values …"):
            result = chain.invoke(documents)
        if as_json:
            show_json(result)
        else:
            show("".join(_values(result, wanted.model_json_schema()["properties"])))


def _values(result: ExtractionResult[Any], names: Iterable[str]) -> Iterator[str]:
    shown: dict[tuple[int, int, int], Citation] = {}

    def marks(citations: Iterable[Citation]) -> str:
        places = {(c.document_index, c.start, c.end): c for c in citations}
        for place, citation in places.items():
            shown.setdefault(place, citation.model_copy(update={"id": len(shown) + 1}))
        return "".join(f"[{shown[place].id}]" for place in places)

    for name in names:
        if name in result.verified:
            evidence = marks(result.evidence[name])
            yield f"{name}: {_text(result.verified[name])} {evidence}\n"
        if name in result.unsupported_numbers:
            yield f"{name}, not in its quotes: {', '.join(result.unsupported_numbers[name])}\n"
        for conflict in result.conflicts.get(name, ()):
            yield f"{name}, elsewhere: {_text(conflict.value)} {marks(conflict.citations)}\n"
        if name in result.unverified:
            yield f"{name}, without a quote that proves it: {_text(result.unverified[name])}\n"
        elif name in result.missing:
            yield f"{name}: not found\n"
    yield from (f"\nProblem: {problem}\n" for problem in result.problems)
    yield from quotes(shown.values(), result.rejected)


def _text(value: Any) -> str:
    """Return a value in one line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return " ".join(text.split())
