"""A key as a value, and as a row of the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from ai21_chains.errors import ConfigurationError
from ai21_chains.serving._refusals import Refused

Period: TypeAlias = Literal["day", "month"]

NANOS = 1_000_000_000
"""Money is kept in whole nano-dollars: a token of the cheapest model costs 200 of them, so that
sums are exact, and a database column holds nine billion dollars."""

_PERIODS = (None, "day", "month")

_MOST = 2**31 - 1
"""The largest limit that a database's column holds."""


@dataclass(frozen=True)
class Caller:
    """Who is calling.

    Attributes:
        id: Id of the key, or "master", or "open" where no master key is set.
        name: Name of the key.
        models: Names of the models that may be used; None for all.
        budget_usd: What may be spent; None for any amount.
        budget_period: The budget is for each "day" or "month" (UTC), or, if None, for good.
        rpm: Requests a minute, of which each row of a batch is one; None for any number.
        tpm: Tokens a minute; None for any number.
    """

    id: str
    name: str
    models: frozenset[str] | None = None
    budget_usd: Decimal | None = None
    budget_period: Period | None = None
    rpm: int | None = None
    tpm: int | None = None

    def budget_begins(self, today: date) -> date:
        """Return the first day whose spend counts toward the budget."""
        if self.budget_period is None:
            return date.min
        return today if self.budget_period == "day" else today.replace(day=1)


@dataclass(frozen=True, kw_only=True)
class Key(Caller):
    """A key, as an administrator sees it.

    Attributes:
        prefix: The first characters of the key, to know it by.
        created: When it was made.
        expires: When it ceases to work, or None.
        revoked: When it was revoked, or None.
        spent_usd: What was spent with it, in the present period if its budget has one.
    """

    prefix: str
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None
    spent_usd: Decimal = Decimal(0)


@dataclass(frozen=True)
class Spend:
    """What a key has used of a model.

    Attributes:
        key_id: Id of the key, or "master" or "open".
        key_name: Its name; "master" or "open" for these.
        model: The model, by the name that was asked for.
        requests: Number of requests.
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written.
        cost_usd: US dollars, without the requests whose price is not known.
        unpriced: How many requests these are.
    """

    key_id: str
    key_name: str
    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: Decimal
    unpriced: int = 0


def to_key(row: Mapping[str, Any]) -> Key:
    """Return the key that a row of the database is."""
    return Key(
        id=row["id"],
        name=row["name"],
        models=None if row["models"] is None else frozenset(row["models"]),
        budget_usd=None if row["budget_nanos"] is None else to_dollars(row["budget_nanos"]),
        budget_period=row["budget_period"],
        rpm=row["rpm"],
        tpm=row["tpm"],
        prefix=row["prefix"],
        created=_utc(row["created"]),
        expires=row["expires"] and _utc(row["expires"]),
        revoked=row["revoked"] and _utc(row["revoked"]),
    )


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def to_nanos(usd: Decimal) -> int:
    """Return an amount of US dollars in nano-dollars."""
    return round(usd * NANOS)


def to_dollars(nanos: int | Decimal) -> Decimal:
    """Return an amount of nano-dollars in US dollars."""
    return Decimal(nanos) / NANOS


def over_budget(caller: Caller, spent: bool = True) -> Refused:
    """Return what to say when a budget does not suffice.

    Args:
        caller: Whose budget it is.
        spent: Whether there is nothing left of it. Else the rest is too little for the request,
            beside others that are under way.
    """
    period = f" for this {caller.budget_period}" if caller.budget_period else ""
    budget = f"its budget of {caller.budget_usd:f} USD{period}"
    return Refused(
        f"The API key {caller.name!r} has spent {budget}."
        if spent
        else f"The API key {caller.name!r} has not enough left of {budget} for this request and "
        "those that are under way.",
        status=429,
        code="insufficient_quota",
        type="insufficient_quota",
    )


def check_new_key(
    name: str,
    models: Sequence[str] | None,
    budget_usd: Decimal | None,
    budget_period: str | None,
    expires_in: timedelta | None,
    **limits: int | None,
) -> None:
    """Refuse what makes no sense for a key.

    Raises:
        ConfigurationError: It names the argument.
    """
    problems = {
        "name: a key needs a name, of printable characters": not _is_name(name),
        "models: name at least one, or leave it out for all": models == [],
        "models: the name of a model is empty": not all(models or ()),
        f"budget_usd should be a Decimal above 0 and at most {NANOS}": not _is_amount(budget_usd),
        'budget_period should be "day", "month" or None': budget_period not in _PERIODS,
        "budget_period: there is no budget_usd that it could go with": (
            budget_period is not None and budget_usd is None
        ),
        "expires_in should be above 0 and at most 100 years": not _is_duration(expires_in),
        **{
            f"{limit} should be from 1 to {_MOST}": not _is_limit(limits[limit]) for limit in limits
        },
    }
    for problem, is_there in problems.items():
        if is_there:
            raise ConfigurationError(problem)


def _is_name(name: str) -> bool:
    return name.isprintable() and bool(name.strip())


def _is_amount(usd: object) -> bool:
    if usd is None:
        return True
    # A float is not exact, NaN and infinity are no amounts, and less than a nano-dollar is nothing.
    return isinstance(usd, Decimal) and usd.is_finite() and 1 <= to_nanos(usd) <= NANOS * NANOS


def _is_duration(time: timedelta | None) -> bool:
    return time is None or timedelta(0) < time <= timedelta(days=36_500)


def _is_limit(number: int | None) -> bool:
    return number is None or 1 <= number <= _MOST
