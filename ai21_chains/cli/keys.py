"""`ai21-chains keys`: make, list and revoke the keys of a server's clients."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from pydantic import RootModel

from ai21_chains.cli._shared import Debug, Json, new_app, one_line_errors, say, show, show_json
from ai21_chains.cli._table import table
from ai21_chains.errors import ConfigurationError

if TYPE_CHECKING:
    from ai21_chains.serving.keys import Key, KeyStore

_Result = TypeVar("_Result")

app = new_app(help="Make, list and revoke the keys of a server's clients.")

Database = Annotated[
    str | None,
    typer.Option(
        envvar="AI21_CHAINS_DATABASE_URL",
        show_envvar=True,
        help="Database of the keys: sqlite:///FILE or postgresql://…",
    ),
]
Config = Annotated[
    Path | None, typer.Option(help="The server's configuration file, which names the database.")
]

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Per(StrEnum):
    """What a budget is for."""

    day = "day"
    month = "month"


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is, or what for.")],
    models: Annotated[str | None, typer.Option(help="Models that it may use: a,b.")] = None,
    budget: Annotated[str | None, typer.Option(metavar="USD", help="What may be spent.")] = None,
    per: Annotated[Per | None, typer.Option(help="The budget begins anew with each.")] = None,
    rpm: Annotated[int | None, typer.Option(min=1, help="Requests a minute.")] = None,
    tpm: Annotated[int | None, typer.Option(min=1, help="Tokens a minute.")] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long it works: 12h, 30d, 52w.")
    ] = None,
    database: Database = None,
    config: Config = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a key, and print it: it cannot be shown again."""
    with one_line_errors(debug):
        settings: dict[str, Any] = {
            "models": None if models is None else models.split(","),
            "budget_usd": None if budget is None else _dollars(budget),
            "budget_period": None if per is None else per.value,
            "rpm": rpm,
            "tpm": tpm,
            "expires_in": None if expires is None else _duration(expires),
        }
        key, token = _with_store(database, config, lambda store: store.create(name, **settings))
        if as_json:
            show_json(RootModel[dict[str, Any]]({**_public(key), "key": token}))
        else:
            say(f"Key {key.id} for {key.name}; it cannot be shown again:")
            show(f"{token}\n")


@app.command(name="list")
def list_keys(
    database: Database = None, config: Config = None, as_json: Json = False, debug: Debug = False
) -> None:
    """List the keys, with what was spent."""
    with one_line_errors(debug):
        keys = _with_store(database, config, lambda store: store.list())
        if as_json:
            show_json(RootModel[list[dict[str, Any]]]([_public(key) for key in keys]))
        elif keys:
            show(table(_HEAD, [_row(key) for key in keys]))
        else:
            say("There are no keys; make one with 'ai21-chains keys create NAME'.")


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, from 'keys list'.")],
    database: Database = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Make a key useless, for running servers within 5 seconds."""
    with one_line_errors(debug):
        _with_store(database, config, lambda store: store.revoke(id))
        say(f"Key {id} is revoked.")


def _with_store(
    database: str | None, config: Path | None, work: Callable[[KeyStore], Awaitable[_Result]]
) -> _Result:
    from ai21_chains.serving.keys import KeyStore

    if database is None and config is not None:
        from ai21_chains.serving.config import load_config

        database = load_config(config).database_url

    async def run() -> _Result:
        async with KeyStore(database, master_key=None) as store:
            return await work(store)

    return asyncio.run(run())


def _dollars(text: str) -> Decimal:
    try:
        return Decimal(text.removeprefix("$"))
    except InvalidOperation:
        raise ConfigurationError(f"--budget: {text!r} is no amount of USD, such as 25") from None


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if not match:
        raise ConfigurationError(f"--expires: {text!r} is no time, such as 12h, 30d or 52w")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _public(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "models": None if key.models is None else sorted(key.models),
        "budget_usd": key.budget_usd,
        "budget_period": key.budget_period,
        "spent_usd": key.spent_usd,
        "rpm": key.rpm,
        "tpm": key.tpm,
        "created": key.created,
        "expires": key.expires,
        "revoked": key.revoked,
    }


_HEAD = ("ID", "NAME", "KEY", "MODELS", "SPENT $", "BUDGET $", "RPM", "TPM", "CREATED", "ENDS")


def _row(key: Key) -> Sequence[str]:
    period = f"/{key.budget_period}" if key.budget_period else ""
    return (
        key.id,
        key.name,
        f"{key.prefix}…",
        "all" if key.models is None else ",".join(sorted(key.models)),
        f"{key.spent_usd:.4f}",
        "" if key.budget_usd is None else f"{key.budget_usd.normalize():f}{period}",
        str(key.rpm or ""),
        str(key.tpm or ""),
        f"{key.created:%Y-%m-%d}",
        _end(key.expires, key.revoked),
    )


def _end(expires: datetime | None, revoked: datetime | None) -> str:
    if revoked:
        return f"revoked {revoked:%Y-%m-%d}"
    return f"{expires:%Y-%m-%d %H:%M}" if expires else ""
