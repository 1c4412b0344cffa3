"""Which deployment answers a request, and what happens when one fails.

There is one layer of retries, this one: the clients are told not to try again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import TypeVar

from ai21_chains import _retry
from ai21_chains._wire import ChatRequest, Completion
from ai21_chains._wire_parts import usage_metadata
from ai21_chains.client import AI21Client
from ai21_chains.errors import (
    APIError,
    APITimeoutError,
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from ai21_chains.serving._refusals import Refused
from ai21_chains.serving.config import Deployment, ServerConfig

_T = TypeVar("_T")

MINUTE = 60.0

_ELSEWHERE = (AuthenticationError, PermissionDeniedError, NotFoundError)
"""Failures of a deployment's key or model: the same request may succeed at another one."""


class _Window:
    """What was counted in the last minute, against a limit."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._entries: deque[tuple[float, int]] = deque()
        self._sum = 0

    def add(self, now: float, amount: int) -> None:
        if self._limit is not None:
            self._entries.append((now, amount))
            self._sum += amount

    def wait(self, now: float) -> float:
        """Seconds until there is room; 0 for now."""
        if self._limit is None:
            return 0.0
        while self._entries and self._entries[0][0] <= now - MINUTE:
            self._sum -= self._entries.popleft()[1]
        return self._entries[0][0] + MINUTE - now if self._sum >= self._limit else 0.0


class Place:
    """A deployment, the client for it, and how it is doing.

    Args:
        deployment: The deployment.
        client: The client for it.
        share: Its part of the requests, relative to the others of its name.
    """

    def __init__(self, deployment: Deployment, client: AI21Client, share: float) -> None:
        self.deployment = deployment
        self.client = client
        self.share = share
        self.in_flight = 0
        self.turn = 0.0
        """When it is next among those that are equally busy (weighted fair queueing)."""
        self.failures = 0
        """Failures since the last answer."""
        self.resting_until = 0.0
        self.requests = _Window(deployment.rpm)
        self.tokens = _Window(deployment.tpm)

    def wait(self, now: float) -> float:
        """Seconds until its limits let another request in; 0 for now."""
        return max(self.requests.wait(now), self.tokens.wait(now))

    @contextmanager
    def busy(self, now: float) -> Iterator[None]:
        """Count a request while it lasts."""
        self.requests.add(now, 1)
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def answered(self, now: float, answer: Completion) -> None:
        """Count an answer, or an event of one."""
        self.failures = 0
        if counts := usage_metadata(answer.get("usage")):
            self.tokens.add(now, counts["total_tokens"])


class _Group:
    """The deployments of one name."""

    def __init__(self, deployments: Sequence[Deployment], config: ServerConfig) -> None:
        weighted = any(one.weight != 1 for one in deployments)
        limits = [one.rpm for one in deployments if one.rpm is not None]
        by_rpm = len(limits) == len(deployments) and not weighted
        self.places = [
            Place(one, _client(one, config), float(one.rpm or 1 if by_rpm else one.weight))
            for one in deployments
        ]
        self.retries = max(one.max_retries for one in deployments)
        self._time = 0.0

    def choose(self, now: float, avoided: set[Place], useless: set[Place]) -> Place | None:
        """Return the least busy place, or None if the limits leave none.

        One that rests is better than none: nobody is refused because the only one has failed.

        Args:
            now: The time.
            avoided: Where this request failed before; they are taken if there is nothing else.
            useless: Where this request cannot succeed.
        """
        able = [one for one in self.places if one not in useless and not one.wait(now)]
        awake = [one for one in able if one.resting_until <= now]
        if not awake:
            return min(able, key=lambda one: one.resting_until, default=None)
        fresh = [one for one in awake if one not in avoided] or awake
        chosen = min(fresh, key=lambda one: (one.in_flight / one.share, one.turn))
        # Who comes back after a rest does not make up for what it has missed.
        self._time = max(self._time, chosen.turn)
        chosen.turn = self._time + 1 / chosen.share
        return chosen

    def has_fresh(self, now: float, avoided: set[Place]) -> bool:
        """Whether there is a place that is awake, and where this request has not failed."""
        return any(
            one.resting_until <= now and not one.wait(now)
            for one in self.places
            if one not in avoided
        )


class Router:
    """The models of a server, by the names that clients use.

    Args:
        config: The deployments, the fallbacks, and when to leave a deployment alone.
        failed: Is told of each failure of a deployment.
        clock: Seconds, monotonic.
        sleep: How to wait before another try.
    """

    def __init__(
        self,
        config: ServerConfig,
        *,
        failed: Callable[[Deployment, APIError], None] = lambda deployment, error: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.config = config
        self.failed = failed
        self.clock = clock
        self._sleep = sleep
        self.groups: Mapping[str, _Group] = {
            name: _Group([one for one in config.deployments if one.name == name], config)
            for name in config.models
        }

    def __contains__(self, name: str) -> bool:
        return name in self.groups

    async def complete(self, name: str, body: ChatRequest) -> tuple[Completion, Deployment]:
        """Ask a model for a whole answer.

        Args:
            name: A model's name; one of the configured ones.
            body: The request; its `model` does not matter.

        Raises:
            APIError: No deployment gave an answer.
            ConfigurationError: The request cannot be sent; nothing was.
            Refused: All deployments are at the limit of their `rpm` or `tpm`.
        """
        tries = _Tries(self, name)
        while True:
            place = tries.next_place()
            with place.busy(self.clock()):
                try:
                    asked: ChatRequest = {**body, "model": place.deployment.model}
                    answer = await tries.in_time(place.client.acomplete(asked))
                    place.answered(self.clock(), answer)
                    return answer, place.deployment
                except APIError as error:
                    pause = tries.pause_after(place, error)
            await self._sleep(pause)

    async def stream(
        self,
        name: str,
        body: ChatRequest,
        *,
        chosen: Callable[[Deployment], None] = lambda deployment: None,
    ) -> AsyncGenerator[Completion, None]:
        """Ask a model, and yield the events of its answer as they arrive.

        Until the first event a failure is tried again, and elsewhere; after it nothing is.

        Args:
            name: A model's name; one of the configured ones.
            body: The request; its `model` and `stream` do not matter.
            chosen: Is told which deployment answers, before the first event.

        Raises:
            APIError: No deployment gave an answer.
            ConfigurationError: The request cannot be sent; nothing was.
            Refused: All deployments are at the limit of their `rpm` or `tpm`.
            StreamInterruptedError: The answer broke off.
        """
        tries = _Tries(self, name)
        while True:
            place = tries.next_place()
            asked: ChatRequest = {**body, "model": place.deployment.model}
            with place.busy(self.clock()):
                async with aclosing(place.client.astream(asked)) as events:
                    try:
                        event = await tries.in_time(anext(events))
                    except APIError as error:
                        pause = tries.pause_after(place, error)
                    else:
                        chosen(place.deployment)
                        yield event
                        try:
                            async for event in events:
                                yield event
                        except APIError as error:
                            self.note(place, error)
                            raise
                        place.answered(self.clock(), event)
                        return
            await self._sleep(pause)

    def note(self, place: Place, error: APIError) -> None:
        """Keep in mind that a deployment has failed, and let it rest if that is called for."""
        self.failed(place.deployment, error)
        if not _retry.should_retry(error):
            return
        place.failures += 1
        limited = isinstance(error, RateLimitError)
        if limited or place.failures > self.config.allowed_fails:
            asked = min(error.retry_after or 0.0, _retry.LONGEST_RETRY_AFTER)
            place.resting_until = self.clock() + max(self.config.cooldown_seconds, asked)


class _Tries:
    """The tries of one request, from the first deployment to the last."""

    def __init__(self, router: Router, name: str) -> None:
        self._router = router
        self._name = name
        self._deadline = router.clock() + router.config.request_timeout
        self._fallbacks = iter(router.config.fallbacks.get(name, ()))
        self._begin(name)

    def _begin(self, name: str) -> None:
        self._group = self._router.groups[name]
        self._failures = 0
        self._avoided: set[Place] = set()
        self._useless: set[Place] = set()

    def next_place(self) -> Place:
        """Return where to try next.

        Raises:
            Refused: The limits of all deployments, and those of the fallbacks, are reached.
        """
        while True:
            now = self._router.clock()
            place = self._group.choose(now, self._avoided, self._useless)
            if place is not None:
                return place
            waits = [one.wait(now) for one in self._group.places if one not in self._useless]
            if not self._falls_back():
                raise Refused(
                    f"{self._name}: the limit of requests or tokens a minute is reached. "
                    f"Try again in {max(min(waits), 1):.0f} s",
                    status=429,
                    type="rate_limit_error",
                    code="rate_limit_exceeded",
                    retry_after=min(waits),
                )

    async def in_time(self, work: Awaitable[_T]) -> _T:
        """Wait for something until the deadline.

        Raises:
            APITimeoutError: The deadline has passed.
        """
        try:
            async with asyncio.timeout(self._deadline - self._router.clock()):
                return await work
        except TimeoutError:
            limit = self._router.config.request_timeout
            raise APITimeoutError(f"{self._name} gave no answer within {limit:g} s") from None

    def pause_after(self, place: Place, error: APIError) -> float:
        """Return the seconds to wait before the next try.

        Raises:
            APIError: The error itself, when there is to be no next try.
        """
        self._router.note(place, error)
        now = self._router.clock()
        if isinstance(error, _ELSEWHERE):
            self._useless.add(place)
            if len(self._useless) < len(self._group.places) or self._falls_back():
                return 0.0
            raise error
        if not _retry.should_retry(error) or now >= self._deadline:
            raise error
        self._failures += 1
        self._avoided.add(place)
        if self._failures > self._group.retries:
            if self._falls_back():
                return 0.0
            raise error
        if self._group.has_fresh(now, self._avoided | self._useless):
            return 0.0
        pause = _retry.delay(error, self._failures)
        if now + pause >= self._deadline:
            raise error
        return pause

    def _falls_back(self) -> bool:
        name = next(self._fallbacks, None)
        if name is None:
            return False
        self._begin(name)
        return True


def _client(deployment: Deployment, config: ServerConfig) -> AI21Client:
    return AI21Client(
        base_url=deployment.base_url,
        api_key=config.api_key(deployment),
        timeout=deployment.timeout,
        max_retries=0,
        http_async_client=config.http_async_client,
    )
