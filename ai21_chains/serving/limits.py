"""Requests and tokens a minute, counted in this process or, for many of them, in Redis.

A moving window, exact for both: what was admitted in the last 60 seconds is on a log, with the
running total of tokens, so that a request costs the same whatever its tokens and whatever the
limits. Both limits are decided in one step, in Redis in one round trip and by Redis's clock.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple

from ai21_chains._extras import import_extra
from ai21_chains.errors import ConfigurationError

__all__ = ["RateLimiter", "Wait"]

_log = logging.getLogger(__name__)

_PAUSE = 1.0
"""Seconds for which Redis is left alone after it failed, and that it has for an answer."""

_SCRIPT = """
local log, window = KEYS[1], tonumber(ARGV[1])
local tokens, rpm, tpm = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local requests = tonumber(ARGV[5])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

local function entry(index)
    local text = redis.call('LINDEX', log, index)
    if not text then return nil end
    local at, before, after = string.match(text, '(%d+) (%d+) (%d+)')
    return tonumber(at), tonumber(before), tonumber(after)
end

local first, before = entry(0)
while first and first <= now - window do
    redis.call('LPOP', log)
    first, before = entry(0)
end
local count = redis.call('LLEN', log)
local _, _, total = entry(-1)
before, total = before or 0, total or 0

local requests_wait, tokens_wait = 0, 0
if rpm >= 0 and count + requests > rpm then
    requests_wait = entry(count + requests - rpm - 1) + window - now
end
local excess = tpm >= 0 and total - before + tokens - tpm or 0
if excess > 0 then
    local low, high = 0, count - 1
    while low < high do
        local middle = math.floor((low + high) / 2)
        local _, _, after = entry(middle)
        if after - before >= excess then high = middle else low = middle + 1 end
    end
    tokens_wait = entry(low) + window - now
end
if requests_wait == 0 and tokens_wait == 0 then
    for _ = 1, requests do
        redis.call('RPUSH', log, string.format('%.0f %.0f %.0f', now, total, total + tokens))
        total, tokens = total + tokens, 0
    end
    redis.call('PEXPIRE', log, math.ceil(window / 1000))
end
return {requests_wait, tokens_wait}
"""
"""`_Logs.take`, in Redis. Times are in microseconds, a limit of -1 is none."""


class Wait(NamedTuple):
    """Seconds until each limit admits the requests; both 0: they are admitted, and counted."""

    requests: float = 0.0
    tokens: float = 0.0


class RateLimiter:
    """Admits so many requests and tokens a minute under each name.

    With Redis the limits hold for all processes together. While Redis does not answer they hold
    for each process by itself, which is logged: an outage neither opens the door nor shuts it.

    Args:
        redis_url: Where to count, such as `redis://localhost:6379/0`; None for in this process.
        clock: Seconds; for tests. Redis has its own.
        window: Seconds that the limits look back; for tests.

    Raises:
        ConfigurationError: `redis_url` is no such address.
        MissingExtraError: `redis_url` is given and `ai21-chains[redis]` is not installed.

    Example:
        >>> import asyncio
        >>> from ai21_chains.serving.limits import RateLimiter
        >>> async def two_requests() -> None:
        ...     limiter = RateLimiter(clock=lambda: 0.0)
        ...     for _ in range(2):
        ...         print(await limiter.take("a-key", tokens=10, rpm=1, tpm=None))
        >>> asyncio.run(two_requests())
        Wait(requests=0.0, tokens=0.0)
        Wait(requests=60.0, tokens=0.0)
    """

    def __init__(
        self,
        redis_url: str | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        window: float = 60.0,
    ) -> None:
        self._clock = clock
        self._window = window
        self._logs = _Logs(window)
        self._redis = None if redis_url is None else _client(redis_url)
        self._script: Any = self._redis and self._redis.register_script(_SCRIPT)
        self._redis_again_at = -inf

    async def take(
        self, name: str, *, tokens: int, rpm: int | None, tpm: int | None, requests: int = 1
    ) -> Wait:
        """Count requests that come together, unless they are over a limit: all, or none.

        Args:
            name: Whose requests they are.
            tokens: How many tokens they may use.
            rpm: Requests a minute; None for any number.
            tpm: Tokens a minute; None for any number.
            requests: How many they are, from 1 on.

        Returns:
            How long to wait; `inf` for what alone is more than `rpm` or `tpm`.
        """
        if rpm is None:
            requests = 1  # nobody counts them
        never = Wait(
            requests=inf if rpm is not None and requests > rpm else 0.0,
            tokens=inf if tpm is not None and tokens > tpm else 0.0,
        )
        if any(never):
            return never
        if self._redis and self._clock() >= self._redis_again_at:
            try:
                return await self._shared(name, tokens, rpm, tpm, requests)
            except _redis_errors() as error:
                self._redis_again_at = self._clock() + _PAUSE
                _log.warning("Redis does not count (%s): each process does", type(error).__name__)
        return self._logs.take(name, self._clock(), tokens, rpm, tpm, requests)

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self._redis:
            await self._redis.aclose()

    async def _shared(
        self, name: str, tokens: int, rpm: int | None, tpm: int | None, requests: int
    ) -> Wait:
        limits = [-1 if limit is None else limit for limit in (rpm, tpm)]
        waits = await self._script(
            keys=[f"ai21-chains:limits:{name}"],
            args=[int(self._window * 1e6), tokens, *limits, requests],
        )
        return Wait(*(wait / 1e6 for wait in waits))


class _Entry(NamedTuple):
    """An admitted request: when, and the total of tokens before it and after it.

    Of requests that came together the first has all their tokens.
    """

    at: float
    before: int
    after: int


class _Logs:
    """What was admitted within the window, by name."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._logs: defaultdict[str, deque[_Entry]] = defaultdict(deque)

    def take(
        self,
        name: str,
        now: float,
        tokens: int,
        rpm: int | None,
        tpm: int | None,
        requests: int,
    ) -> Wait:
        log = self._logs[name]
        while log and log[0].at <= now - self._window:
            log.popleft()
        free_again = (_requests_leave(log, requests, rpm), _tokens_leave(log, tokens, tpm))
        wait = Wait(*(0.0 if at is None else at + self._window - now for at in free_again))
        if not any(wait):
            total = log[-1].after if log else 0
            log.append(_Entry(now, total, total + tokens))
            log.extend([_Entry(now, total + tokens, total + tokens)] * (requests - 1))
        return wait


def _requests_leave(log: deque[_Entry], requests: int, rpm: int | None) -> float | None:
    """Return when the request was made that has to leave the window; None if none has to."""
    excess = 0 if rpm is None else len(log) + requests - rpm
    return log[excess - 1].at if excess > 0 else None


def _tokens_leave(log: deque[_Entry], tokens: int, tpm: int | None) -> float | None:
    if tpm is None or not log:
        return None
    excess = log[-1].after - log[0].before + tokens - tpm
    if excess <= 0:
        return None
    return log[bisect_left(log, log[0].before + excess, key=lambda entry: entry.after)].at


def _client(url: str) -> Any:
    redis = import_extra("redis.asyncio", "redis_url", "redis")
    backoff = import_extra("redis.backoff", "redis_url", "redis")
    try:
        # One more try is for a connection that has died in the pool.
        retry = redis.retry.Retry(backoff.NoBackoff(), 1)
        return redis.Redis.from_url(
            url, socket_timeout=_PAUSE, socket_connect_timeout=_PAUSE, retry=retry
        )
    except ValueError:  # its words have the URL, which may have a password
        raise ConfigurationError(
            "redis_url: should start with redis://, rediss:// or unix://"
        ) from None


def _redis_errors() -> tuple[type[Exception], ...]:
    from redis.exceptions import RedisError

    return RedisError, OSError
