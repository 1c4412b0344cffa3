"""Keys of clients: who is calling, what they may use, and what they have spent.

A key is 256 random bits, shown once. Kept is its SHA-256: unlike a password it cannot be guessed,
so that a slow hash (bcrypt, Argon2) would make nothing safer and each request 100 ms dearer. The
master key is never kept.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from hmac import compare_digest
from math import ceil, inf
from typing import NamedTuple, NoReturn

from pydantic import SecretStr

from ai21_chains.errors import AI21Error, ConfigurationError
from ai21_chains.serving._keys_database import (
    connect,
    default_database_url,
    keys,
    migrate,
    reading,
    writing,
)
from ai21_chains.serving._keys_ledger import Ledger
from ai21_chains.serving._keys_records import (
    Caller,
    Key,
    Period,
    Spend,
    check_new_key,
    over_budget,
    to_key,
    to_nanos,
)
from ai21_chains.serving._refusals import Refused
from ai21_chains.serving.limits import RateLimiter

__all__ = ["Caller", "Key", "KeyStore", "Period", "Spend", "default_database_url"]

_log = logging.getLogger(__name__)

_REMEMBERED = 5.0
"""Seconds for which a key is not looked up again."""

_MOST_REMEMBERED = 10_000
"""Tokens remembered at the most, so that guesses cannot fill the memory."""

_MASTER = Caller("master", "master")
_OPEN = Caller("open", "open")


class _Remembered(NamedTuple):
    """A key that was looked up, or that there is none, and until when that is believed."""

    key: Key | None
    until: float


class KeyStore:
    """The keys in a database, and the spend of each.

    Several processes, also on several machines, may use one database. What a key without a budget
    uses is written each second and on `close`; what a key with one uses is written before `charge`
    returns, and until then the price of the prompt is held back, so that a budget is overspent at
    most by the answers, and by what other processes have in flight when it runs out. A key that is
    revoked is refused within 5 seconds.

    Args:
        database_url: `sqlite:///FILE`, or `postgresql://…` (extra `postgres`); None for
            `default_database_url()`.
        master_key: The key that may do everything. If None, everybody may.
        redis_url: Where the requests of all processes are counted (extra `redis`); None to count
            those of each process by itself.
        clock: Seconds since 1970; for tests.

    Raises:
        ConfigurationError: An address is wrong.
        MissingExtraError: An extra is not installed.

    Example:
        >>> import asyncio
        >>> from pydantic import SecretStr
        >>> from ai21_chains.serving.keys import KeyStore
        >>> async def a_key() -> None:
        ...     async with KeyStore("sqlite://", master_key=SecretStr("sk-master")) as store:
        ...         key, token = await store.create("alice", models=["jamba-mini"], rpm=60)
        ...         caller = await store.caller(token)
        ...         print(caller.name, sorted(caller.models), caller.rpm)
        >>> asyncio.run(a_key())
        alice ['jamba-mini'] 60
    """

    def __init__(
        self,
        database_url: str | None,
        *,
        master_key: SecretStr | None,
        redis_url: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = connect(database_url or default_database_url())
        self._ledger = Ledger(self._engine)
        self._limiter = RateLimiter(redis_url, clock=clock)
        self._master = None if master_key is None else _hash(_filled(master_key))
        self._clock = clock
        self._remembered: dict[str, _Remembered] = {}
        self._held: defaultdict[str, Decimal] = defaultdict(Decimal)

    # --- Life ----------------------------------------------------------------------------------

    async def open(self) -> None:
        """Bring the database up to date and begin to write what is used.

        Raises:
            AI21Error: The database cannot be reached, or is of a newer version.
        """
        try:
            await migrate(self._engine)
        except BaseException:
            await self._engine.dispose()
            raise
        self._ledger.open()

    async def close(self) -> None:
        """Write what is not written yet, and close the connections.

        Raises:
            AI21Error: The database fails, so that some usage is lost.
        """
        try:
            await self._ledger.close()
        finally:
            await self._limiter.close()
            await self._engine.dispose()

    async def __aenter__(self) -> KeyStore:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- A request -----------------------------------------------------------------------------

    async def caller(self, token: str | None) -> Caller:
        """Return who has sent a token.

        Raises:
            Refused: 401, the token is no key, or one that was revoked or has expired; 503, the
                database cannot be asked.
        """
        if self._master is None:
            return _OPEN
        if not token:
            _unauthorized("There is no API key: send it as 'Authorization: Bearer KEY'.")
        digest = _hash(token)
        if compare_digest(digest, self._master):
            return _MASTER
        key = await self._key(digest)
        if key is None:
            _unauthorized("This API key is not known.")
        if key.revoked:
            _unauthorized(f"The API key {key.name!r} was revoked.")
        if key.expires and key.expires.timestamp() <= self._clock():
            _unauthorized(f"The API key {key.name!r} expired on {key.expires:%Y-%m-%d}.")
        return key

    async def admit(
        self,
        caller: Caller,
        model: str,
        tokens: int,
        *,
        requests: int = 1,
        cost_usd: Decimal | None = Decimal(0),
    ) -> Decimal | None:
        """Let a request pass, or refuse it.

        What its prompt costs is held back from the caller's budget until `release`, so that
        requests that are under way at the same time do not spend the same dollars.

        Args:
            caller: Who is calling.
            model: The model, by the name that was asked for.
            tokens: How many tokens the request may use, for `tpm`.
            requests: How many requests to models come of it, for `rpm`; all are let in, or none.
            cost_usd: What its prompt costs, about, in US dollars; None if no price is known: a
                budget does not admit that.

        Returns:
            What is left of the caller's budget, in US dollars; None if there is none.

        Raises:
            Refused: 403, the key may not use the model; 429, its budget is spent or it is over a
                limit (with `retry_after`); 503, the database cannot be asked.
        """
        if caller.models is not None and model not in caller.models:
            raise Refused(
                f"The API key {caller.name!r} may not use the model {model!r}; it may use "
                f"{', '.join(sorted(caller.models))}.",
                status=403,
                code="model_not_allowed",
                param="model",
            )
        if caller.rpm is not None or caller.tpm is not None:
            await self._check_rate(caller, tokens, requests)
        if caller.budget_usd is None:
            return None
        return await self._take_from_budget(caller, caller.budget_usd, model, cost_usd)

    def release(self, caller: Caller, cost_usd: Decimal) -> None:
        """Give back what `admit` held back: the request has been charged, or has cost nothing.

        Args:
            caller: Whose request it was.
            cost_usd: As it was given to `admit`.
        """
        if caller.budget_usd is None:
            return
        self._held[caller.id] -= cost_usd
        if not self._held[caller.id]:
            del self._held[caller.id]

    async def charge(
        self,
        caller: Caller,
        model: str,
        *,
        prompt_tokens: int,
        completion_tokens: int,
        cost_usd: Decimal | None,
    ) -> None:
        """Write down what a request has used.

        Args:
            caller: Who has called.
            model: The model, by the name that was asked for.
            prompt_tokens: Tokens read.
            completion_tokens: Tokens written.
            cost_usd: US dollars; None where the price is not known.
        """
        day = self._today()
        self._ledger.add(caller.id, day, model, prompt_tokens, completion_tokens, cost_usd)
        if caller.budget_usd is not None:
            await self._ledger.flush_or_keep()

    async def today(self, key_id: str | None = None) -> Sequence[Spend]:
        """Return what each key has used of each model today (UTC), dearest first.

        Args:
            key_id: The key whose usage is wanted; None for all keys.

        Raises:
            AI21Error: The database fails.
        """
        return await self._ledger.on(self._today(), key_id)

    # --- Administration ------------------------------------------------------------------------

    async def create(
        self,
        name: str,
        *,
        models: Iterable[str] | None = None,
        budget_usd: Decimal | None = None,
        budget_period: Period | None = None,
        rpm: int | None = None,
        tpm: int | None = None,
        expires_in: timedelta | None = None,
    ) -> tuple[Key, str]:
        """Make a key.

        Args:
            name: Whose it is, or what for.
            models: Names of the models that may be used; None for all.
            budget_usd: What may be spent, above 0; None for any amount.
            budget_period: "day" or "month" (UTC): the budget begins anew with each.
            rpm: Requests a minute, from 1; None for any number. Each row of a batch, and each of
                several prompts, is one.
            tpm: Tokens a minute, from 1; None for any number.
            expires_in: How long it works; None for good.

        Returns:
            The key, and the token that a client sends: it is not kept, and cannot be shown again.

        Raises:
            ConfigurationError: An argument is wrong.
            AI21Error: The database fails.
        """
        if isinstance(models, str):
            raise ConfigurationError("models should be a list of names, not a string")
        named = None if models is None else sorted({model.strip() for model in models})
        check_new_key(name, named, budget_usd, budget_period, expires_in, rpm=rpm, tpm=tpm)
        token = f"sk-{secrets.token_urlsafe(32)}"
        now = datetime.fromtimestamp(self._clock(), UTC)
        row = {
            "id": secrets.token_hex(6),
            "name": name.strip(),
            "hash": _hash(token),
            "prefix": token[:7],
            "models": named,
            "budget_nanos": None if budget_usd is None else to_nanos(budget_usd),
            "budget_period": budget_period,
            "rpm": rpm,
            "tpm": tpm,
            "created": now,
            "expires": expires_in and now + expires_in,
            "revoked": None,
        }
        async with writing(self._engine) as connection:
            await connection.execute(keys.insert(), row)
        return to_key(row), token

    async def list(self) -> Sequence[Key]:
        """Return all keys, also the revoked ones, oldest first.

        Raises:
            AI21Error: The database fails.
        """
        query = keys.select().order_by(keys.c.created, keys.c.id)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query)).mappings()
        found = [to_key(dict(row)) for row in rows]
        spent = [await self._spent(key) for key in found]
        return [replace(key, spent_usd=amount) for key, amount in zip(found, spent, strict=True)]

    async def revoke(self, id: str) -> None:
        """Make a key useless, within 5 seconds in all processes. Its usage is kept.

        Raises:
            ConfigurationError: There is no such key, or it is revoked already.
            AI21Error: The database fails.
        """
        now = datetime.fromtimestamp(self._clock(), UTC)
        change = keys.update().where(keys.c.id == id, keys.c.revoked.is_(None))
        async with writing(self._engine) as connection:
            result = await connection.execute(change.values(revoked=now))
        if not result.rowcount:
            raise ConfigurationError(f"There is no key with the id {id!r} to revoke")
        self._remembered.clear()

    # --- Within --------------------------------------------------------------------------------

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock(), UTC).date()

    async def _key(self, digest: str) -> Key | None:
        remembered = self._remembered.get(digest)
        now = self._clock()
        if remembered is None or remembered.until <= now:
            remembered = _Remembered(await self._look_up(digest), now + _REMEMBERED)
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[digest] = remembered
        return remembered.key

    async def _look_up(self, digest: str) -> Key | None:
        with _unavailable():
            async with reading(self._engine) as connection:
                found = await connection.execute(keys.select().where(keys.c.hash == digest))
        row = found.mappings().first()
        return to_key(dict(row)) if row and compare_digest(row["hash"], digest) else None

    async def _check_rate(self, caller: Caller, tokens: int, requests: int) -> None:
        wait = await self._limiter.take(
            caller.id, tokens=tokens, rpm=caller.rpm, tpm=caller.tpm, requests=requests
        )
        seconds = max(wait)
        if not seconds:
            return
        tokens_decide = wait.tokens > wait.requests
        limit, kind = (caller.tpm, "tokens") if tokens_decide else (caller.rpm, "requests")
        size = tokens if tokens_decide else requests
        again = f"try again in {ceil(seconds)} s" if seconds < inf else f"this one counts as {size}"
        raise Refused(
            f"The API key {caller.name!r} is limited to {limit} {kind} a minute; {again}.",
            status=429,
            code="rate_limit_exceeded",
            type=kind,
            retry_after=seconds if seconds < inf else None,
        )

    async def _take_from_budget(
        self, caller: Caller, budget: Decimal, model: str, cost: Decimal | None
    ) -> Decimal:
        if cost is None:
            raise Refused(
                f"The price of the model {model!r} is not known, and the API key {caller.name!r} "
                "has a budget; use another model, or a key without a budget.",
                status=403,
                code="model_not_allowed",
                param="model",
            )
        with _unavailable():
            spent = await self._spent(caller)
        left = budget - spent - self._held.get(caller.id, 0)
        if left <= 0 or cost > left:
            raise over_budget(caller, spent >= budget)
        self._held[caller.id] += cost
        return left

    async def _spent(self, caller: Caller) -> Decimal:
        return await self._ledger.spent(caller.id, caller.budget_begins(self._today()))


def _hash(token: str) -> str:
    return sha256(token.encode(errors="backslashreplace")).hexdigest()


def _filled(master_key: SecretStr) -> str:
    text = master_key.get_secret_value().strip()
    if not text:
        raise ConfigurationError("master_key is empty; leave it out to let everybody in")
    return text


def _unauthorized(message: str) -> NoReturn:
    raise Refused(message, status=401, code="invalid_api_key")


@contextmanager
def _unavailable() -> Iterator[None]:
    """Keep the database's address, which is in its errors, from clients."""
    try:
        yield
    except AI21Error as error:
        _log.error("%s", error)
        raise Refused(
            "Keys cannot be checked at the moment; try again.",
            status=503,
            code="database_unavailable",
            type="server_error",
            retry_after=1.0,
        ) from error
