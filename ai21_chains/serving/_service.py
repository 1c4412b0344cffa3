"""What one configuration comes to: the models, the chains, and who may use them.

A server that reads its configuration again makes another of these and takes it for new requests;
those that have begun go on with the one they have.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from ai21_chains._catalog import Price, known_model
from ai21_chains.client import AI21Client
from ai21_chains.errors import AI21Error, APIStatusError
from ai21_chains.serving._metrics import Metrics
from ai21_chains.serving._open_door import OpenDoor
from ai21_chains.serving._openai_errors import model_not_found
from ai21_chains.serving._refusals import Refused
from ai21_chains.serving._router import Router
from ai21_chains.serving._visits import Load
from ai21_chains.serving.config import ServerConfig

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable

    from ai21_chains.serving._keys_records import Caller

LOOK_EVERY_SECONDS = 15.0
"""For how long it is believed that AI21 can be reached, or cannot."""

LOOK_SECONDS = 3.0
"""How long to wait for it."""

CHAIN = "chain/"
"""What the names of chains begin with where a model is named."""


class Service:
    """A configuration at work.

    Args:
        config: The configuration.
        metrics: What counts.
        load: How many requests are worked on, also those of an earlier configuration.
    """

    def __init__(self, config: ServerConfig, metrics: Metrics, load: Load) -> None:
        self.config = config
        self.metrics = metrics
        self.load = load
        self.router = Router(config, failed=metrics.upstream_failed)
        self.keys = _keys(config)
        self.created = int(time.time())
        self._prices = {name: self._price(name) for name in self.names}
        self.visits = 0
        """Requests that have begun and not ended."""
        self._chains: Mapping[str, Runnable[Any, Any]] | None = None
        self._answers: Any = None
        self._making = asyncio.Lock()
        self._opened = False
        self._looking = asyncio.Lock()
        self._look_again_at = float("-inf")
        self._reachable = False

    @property
    def names(self) -> tuple[str, ...]:
        """All that can be named as a model."""
        return (*self.config.models, *(CHAIN + one.name for one in self.config.chains))

    def check(self, model: str) -> None:
        """Refuse a model that is not served.

        Raises:
            Refused: 404.
        """
        if model not in self.router and model not in self.names:
            raise self.not_found(model)

    def not_found(self, model: str) -> Refused:
        """Return what to say of a model that is not served."""
        return model_not_found(model, self.names)

    def upstream(self, model: str) -> str:
        """Return what AI21 calls the plain model behind a name."""
        return next(one.model for one in self.config.deployments if one.name == model)

    def prompt_usd(self, model: str, tokens: int) -> Decimal | None:
        """Return what a model takes for a prompt at the most, wherever it is answered.

        Args:
            model: The model, or chain, by its name.
            tokens: How long the prompt is.

        Returns:
            US dollars; None if a price is not known.
        """
        price = self._prices[model]
        return None if price is None else price.of(tokens, 0)

    def _price(self, name: str) -> Price | None:
        if name not in self.router:
            named = {CHAIN + one.name: one.model for one in self.config.chains}[name]
            name = named or next(iter(self.config.models), "")
        names = {name, *self.config.fallbacks.get(name, ())}
        asked = [known_model(one.model) for one in self.config.deployments if one.name in names]
        prices = [model.price for model in asked if model is not None]
        return max(prices, default=None) if len(prices) == len(asked) else None

    async def chains(self) -> Mapping[str, Runnable[Any, Any]]:
        """Return the chains. They are made when the first is asked for: LangChain is large."""
        async with self._making:
            if self._chains is None:
                self._chains = await asyncio.to_thread(_chains, self.config)
        return self._chains

    async def chain_answers(self) -> Any:
        """Return the module that answers with chains.

        To import LangChain takes seconds, for which other requests would stand still.
        """
        if self._answers is None:
            name = "ai21_chains.serving._chain_answers"
            self._answers = await asyncio.to_thread(import_module, name)
        return self._answers

    async def open(self) -> None:
        """Open the database of keys, and make the chains that have settings, once.

        Raises:
            AI21Error: The database cannot be opened, or a chain cannot be made as it is configured.
        """
        if self._opened:
            return
        if any(one.has_settings for one in self.config.chains):
            await self.chains()
        async with self._making:
            if not self._opened:
                await self.keys.open()
                self._opened = True

    async def is_reachable(self) -> bool:
        """Whether an upstream server answers at all, whatever it says; found out now and then."""
        async with self._looking:
            if self.router.clock() >= self._look_again_at:
                clients = {
                    place.deployment.base_url: place.client
                    for group in self.router.groups.values()
                    for place in group.places
                }
                found = await asyncio.gather(*map(_answers, clients.values()))
                self._reachable = any(found)
                self._look_again_at = self.router.clock() + LOOK_EVERY_SECONDS
        return self._reachable

    async def close(self) -> None:
        """Write what is not written yet, when the last request has ended."""
        while self.visits:
            await asyncio.sleep(0.05)
        if self._opened:
            self._opened = False
            await self.keys.close()


async def _answers(client: AI21Client) -> bool:
    try:
        await replace(client, timeout=LOOK_SECONDS).arequest("GET", "/models")
    except APIStatusError as error:
        return error.status_code is not None and error.status_code < 500
    except AI21Error:
        return False
    return True


def _chains(config: ServerConfig) -> Mapping[str, Runnable[Any, Any]]:
    from ai21_chains.serving._served_chains import served_chains

    return served_chains(config)


# --- Keys ------------------------------------------------------------------------------------


class Keys(Protocol):
    """What the server needs of `KeyStore`."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def caller(self, token: str | None) -> Caller: ...
    async def admit(
        self,
        caller: Caller,
        model: str,
        tokens: int,
        *,
        requests: int = 1,
        cost_usd: Decimal | None,
    ) -> Decimal | None: ...
    def release(self, caller: Caller, cost_usd: Decimal) -> None: ...
    async def charge(
        self,
        caller: Caller,
        model: str,
        *,
        prompt_tokens: int,
        completion_tokens: int,
        cost_usd: Decimal | None,
    ) -> None: ...
    async def today(self, key_id: str | None = None) -> Any: ...


def _keys(config: ServerConfig) -> Keys:
    if not config.has_keys:
        return OpenDoor()
    from ai21_chains.serving.keys import KeyStore, default_database_url

    return KeyStore(
        config.database_url or default_database_url(),
        master_key=config.master_key,
        redis_url=config.redis_url,
    )
