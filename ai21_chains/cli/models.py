"""`ai21-chains models`: AI21's models, their limits and their prices."""

from __future__ import annotations

import os
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import typer
from pydantic import BaseModel, RootModel, ValidationError

from ai21_chains._catalog import MODELS, Model
from ai21_chains.cli._shared import Debug, Json, new_app, one_line_errors, say, show, show_json
from ai21_chains.cli._table import table

app = new_app()

_HEAD = ("MODEL", "NAME", "CONTEXT", "OUTPUT", "IN $/M", "OUT $/M")
_END = ("RETIRED", "INSTEAD")


class Line(BaseModel):
    """A model, as it is listed.

    Attributes:
        id: What to call it in a request.
        name: What to call it in a sentence.
        context_tokens: Context window.
        output_tokens: Most tokens of an answer.
        input_usd: USD for a million tokens read; None if not known.
        output_usd: USD for a million tokens written; None if not known.
        retired: The day from which AI21 no longer serves it, or None.
        successor: What to use instead of a retired one, or None.
    """

    id: str
    name: str
    context_tokens: int
    output_tokens: int
    input_usd: Decimal | None
    output_usd: Decimal | None
    retired: str | None = None
    successor: str | None = None


@app.command()
def models(
    all: Annotated[bool, typer.Option("--all", help="Retired models, too.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask AI21.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List AI21's models, limits and prices; with a key, those that AI21 itself lists."""
    with one_line_errors(debug):
        lines = (None if offline else _from_ai21()) or _of_the_catalogue(retired=False)
        if all:
            lines += _of_the_catalogue(retired=True)
        if as_json:
            show_json(RootModel[list[Line]](lines))
        else:
            show(table((*_HEAD, *_END) if all else _HEAD, [_row(line, all) for line in lines]))


def _of_the_catalogue(*, retired: bool) -> list[Line]:
    return [_known(id, model) for id, model in MODELS.items() if bool(model.retired) is retired]


def _known(id: str, model: Model) -> Line:
    return Line(
        id=id,
        name=model.name,
        context_tokens=model.context_tokens,
        output_tokens=model.output_tokens,
        input_usd=model.price.input,
        output_usd=model.price.output,
        retired=model.retired and model.retired.on.isoformat(),
        successor=model.retired and model.retired.successor,
    )


def _from_ai21() -> list[Line]:
    """Ask AI21, if there is a key to do so."""
    from ai21_chains._options import TransportOptions, check_call
    from ai21_chains.client import AI21Client, default_address
    from ai21_chains.errors import ResponseFormatError

    key = os.environ.get("AI21_API_KEY")
    if not key:
        return []
    given = {"base_url": default_address(), "api_key": key}
    client = AI21Client(**check_call(given, "ai21-chains models", TransportOptions))
    answer = client.request("GET", "/models")
    try:
        lines = [_told(model) for model in answer["data"]]
    except (KeyError, TypeError, ValidationError) as error:
        raise ResponseFormatError(
            f"{client.base_url}/models does not answer with a list of models "
            f"({type(error).__name__}); --offline lists those of the catalogue"
        ) from error
    if not lines:
        say("AI21 lists no models for this key; these are the ones of the catalogue.")
    return lines


def _told(model: dict[str, Any]) -> Line:
    prices = model.get("pricing") or {}
    return Line(
        id=model["id"],
        name=model.get("name") or model["id"],
        context_tokens=model["context_length"],
        output_tokens=model["max_completion_tokens"],
        input_usd=_per_million(prices.get("prompt")),
        output_usd=_per_million(prices.get("completion")),
    )


def _per_million(dollars: object) -> Decimal | None:
    """AI21 says what one token costs, as text."""
    try:
        return Decimal(str(dollars)) * 1_000_000
    except InvalidOperation:
        return None


def _row(line: Line, all: bool) -> Sequence[str]:
    numbers = (f"{line.context_tokens:,}", f"{line.output_tokens:,}")
    prices = (
        "" if price is None else f"{price:.2f}" for price in (line.input_usd, line.output_usd)
    )
    end = (line.retired or "", line.successor or "") if all else ()
    return (line.id, line.name, *numbers, *prices, *end)
