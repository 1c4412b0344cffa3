"""What each key has used: counted in memory for a moment, then written, and added up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from ai21_chains.errors import AI21Error
from ai21_chains.serving._keys_database import keys, reading, usage, writing
from ai21_chains.serving._keys_records import Spend, to_dollars, to_nanos

_log = logging.getLogger(__name__)

_NAMES = ("key_id", "day", "model")
_COUNTS = ("requests", "prompt_tokens", "completion_tokens", "cost_nanos", "unpriced")
_COLUMNS = (*_NAMES, *_COUNTS)

_ADD = sa.text(
    f"INSERT INTO {usage.name} AS total ({', '.join(_COLUMNS)}) "
    f"VALUES ({', '.join(f':{name}' for name in _COLUMNS)}) "
    f"ON CONFLICT ({', '.join(_NAMES)}) DO UPDATE SET "
    + ", ".join(f"{name} = total.{name} + excluded.{name}" for name in _COUNTS)
).bindparams(sa.bindparam("day", type_=sa.Date))
"""PostgreSQL and SQLite have the same words for it."""

_SPENT = sa.select(sa.func.sum(usage.c.cost_nanos)).where(
    usage.c.key_id == sa.bindparam("key_id"), usage.c.day >= sa.bindparam("since")
)


class Ledger:
    """The usage of all keys, in a database.

    Args:
        engine: Where it is written.
        interval: Seconds between two writes.
    """

    def __init__(self, engine: AsyncEngine, interval: float = 1.0) -> None:
        self._engine = engine
        self._interval = interval
        self._pending: dict[tuple[str, date, str], list[int]] = {}
        self._writing = asyncio.Lock()
        self._writes: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to write what is pending, each second."""
        self._ticker = asyncio.create_task(self._tick())

    async def close(self) -> None:
        """Write what is pending, and stop.

        Raises:
            AI21Error: The database fails; what is pending is lost.
        """
        if self._ticker:
            self._ticker.cancel()
            await asyncio.wait([self._ticker])
        await self.flush()

    def add(
        self,
        key_id: str,
        day: date,
        model: str,
        prompt_tokens: int,
        completion_tokens: int,
        cost_usd: Decimal | None,
    ) -> None:
        """Count a request. It is written within a second."""
        cost = 0 if cost_usd is None else to_nanos(cost_usd)
        counts = (1, prompt_tokens, completion_tokens, cost, int(cost_usd is None))
        self._merge((key_id, day, model), counts)

    async def flush(self) -> None:
        """Write what is pending now.

        One write serves all that wait for it, and goes on when one of them is cancelled.

        Raises:
            AI21Error: The database fails; what is pending stays so.
        """
        write = asyncio.ensure_future(self._write())
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)
        await asyncio.shield(write)

    async def flush_or_keep(self) -> None:
        """Write what is pending now; if the database fails, log it and try again in a second."""
        try:
            await self.flush()
        except AI21Error as error:
            _log.warning("%s; %d rows of usage are kept", error, len(self._pending))

    async def spent(self, key_id: str, since: date) -> Decimal:
        """Return what a key has spent since the beginning of a day, in USD.

        Raises:
            AI21Error: The database fails.
        """
        if any(pending[0] == key_id for pending in self._pending):
            await self.flush()
        async with reading(self._engine) as connection:
            spent = await connection.scalar(_SPENT, {"key_id": key_id, "since": since})
        return to_dollars(spent or 0)

    async def on(self, day: date, key_id: str | None = None) -> Sequence[Spend]:
        """Return what was used on a day, dearest first.

        Args:
            day: The day.
            key_id: Whose usage to return; None for everybody's.

        Raises:
            AI21Error: The database fails.
        """
        await self.flush()
        name = sa.func.coalesce(keys.c.name, usage.c.key_id)
        query = (
            sa.select(name.label("key_name"), usage)
            .join_from(usage, keys, usage.c.key_id == keys.c.id, isouter=True)
            .where(usage.c.day == day)
            .order_by(usage.c.cost_nanos.desc(), usage.c.key_id, usage.c.model)
        )
        if key_id is not None:
            query = query.where(usage.c.key_id == key_id)
        async with reading(self._engine) as connection:
            return [
                Spend(
                    row.key_id,
                    row.key_name,
                    row.model,
                    row.requests,
                    row.prompt_tokens,
                    row.completion_tokens,
                    to_dollars(row.cost_nanos),
                    row.unpriced,
                )
                for row in await connection.execute(query)
            ]

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self.flush_or_keep()

    async def _write(self) -> None:
        async with self._writing:
            pending, self._pending = self._pending, {}
            if not pending:
                return
            # In one order for all processes, lest two wait for each other's rows.
            rows = [
                dict(zip(_COLUMNS, (*name, *counts), strict=True))
                for name, counts in sorted(pending.items())
            ]
            try:
                async with writing(self._engine) as connection:
                    await connection.execute(_ADD, rows)
            except BaseException:
                for name, counts in pending.items():
                    self._merge(name, counts)
                raise

    def _merge(self, name: tuple[str, date, str], counts: Sequence[int]) -> None:
        sums = self._pending.setdefault(name, [0] * len(_COUNTS))
        sums[:] = map(sum, zip(sums, counts, strict=True))
