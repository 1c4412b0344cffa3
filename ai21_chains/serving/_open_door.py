"""Keys for a server that asks for none: everybody may come in.

What is used is counted in memory, so that such a server needs no database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

from ai21_chains.serving._keys_records import Caller, Spend

_EVERYBODY = Caller("open", "open")


class OpenDoor:
    """Has the methods of `KeyStore` that a server needs."""

    def __init__(self) -> None:
        self._day = date.min
        self._spent: dict[str, Spend] = {}

    async def open(self) -> None:
        """Do nothing: there is no database."""

    async def close(self) -> None:
        """Do nothing: there is no database."""

    async def caller(self, token: str | None) -> Caller:
        """Let everybody in, whatever their key."""
        return _EVERYBODY

    async def admit(
        self,
        caller: Caller,
        model: str,
        tokens: int,
        *,
        requests: int = 1,
        cost_usd: Decimal | None = None,
    ) -> None:
        """Let everything pass."""

    def release(self, caller: Caller, cost_usd: Decimal) -> None:
        """Do nothing: nothing is held back."""

    async def charge(
        self,
        caller: Caller,
        model: str,
        *,
        prompt_tokens: int,
        completion_tokens: int,
        cost_usd: Decimal | None,
    ) -> None:
        """Count what a request has used."""
        self._turn_the_page()
        before = self._spent.get(model) or Spend(caller.id, caller.name, model, 0, 0, 0, Decimal(0))
        self._spent[model] = replace(
            before,
            requests=before.requests + 1,
            prompt_tokens=before.prompt_tokens + prompt_tokens,
            completion_tokens=before.completion_tokens + completion_tokens,
            cost_usd=before.cost_usd + (cost_usd or 0),
            unpriced=before.unpriced + (cost_usd is None),
        )

    async def today(self, key_id: str | None = None) -> Sequence[Spend]:
        """Return what was used of each model today (UTC), dearest first."""
        self._turn_the_page()
        return sorted(self._spent.values(), key=lambda one: (-one.cost_usd, one.model))

    def _turn_the_page(self) -> None:
        today = datetime.now(UTC).date()
        if today != self._day:
            self._day, self._spent = today, {}
