"""Requests and tokens a minute."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai21_chains.errors import ConfigurationError, MissingExtraError
from ai21_chains.serving.limits import RateLimiter, Wait

REDIS = os.environ.get("AI21_CHAINS_TEST_REDIS")
ADMITTED = Wait(0.0, 0.0)
NOBODY = "redis://127.0.0.1:1/0"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def here(clock: Clock) -> RateLimiter:
    """A limiter of this process, under a clock of ours."""
    return RateLimiter(clock=clock)


@pytest.fixture(params=["memory", *(["redis"] if REDIS else [])])
async def limiter(request: pytest.FixtureRequest) -> AsyncIterator[RateLimiter]:
    """A limiter of each kind, under its real clock, that looks back 50 ms."""
    limiter = RateLimiter(REDIS if request.param == "redis" else None, window=0.05)
    yield limiter
    await limiter.close()


@pytest.fixture
def name() -> str:
    return secrets.token_hex(6)


async def test_so_many_requests_are_admitted_and_no_more(limiter: RateLimiter, name: str) -> None:
    waits = [await limiter.take(name, tokens=1, rpm=3, tpm=None) for _ in range(4)]

    assert waits[:3] == [ADMITTED] * 3
    assert 0 < waits[3].requests <= 0.05
    assert waits[3].tokens == 0


async def test_so_many_tokens_are_admitted_and_no_more(limiter: RateLimiter, name: str) -> None:
    waits = [await limiter.take(name, tokens=40, rpm=None, tpm=100) for _ in range(3)]

    assert waits[:2] == [ADMITTED] * 2
    assert waits[2].requests == 0
    assert 0 < waits[2].tokens <= 0.05


async def test_what_has_left_the_window_no_longer_counts(limiter: RateLimiter, name: str) -> None:
    await limiter.take(name, tokens=100, rpm=1, tpm=100)
    await asyncio.sleep(0.06)

    assert await limiter.take(name, tokens=100, rpm=1, tpm=100) == ADMITTED


async def test_at_once_no_more_are_admitted_than_one_by_one(
    limiter: RateLimiter, name: str
) -> None:
    limiter_calls = (limiter.take(name, tokens=2, rpm=30, tpm=20) for _ in range(40))

    assert (await asyncio.gather(*limiter_calls)).count(ADMITTED) == 10


async def test_a_request_that_is_refused_does_not_count(limiter: RateLimiter, name: str) -> None:
    await limiter.take(name, tokens=60, rpm=2, tpm=100)
    refused = await limiter.take(name, tokens=60, rpm=2, tpm=100)

    assert refused.tokens > 0
    assert await limiter.take(name, tokens=40, rpm=2, tpm=100) == ADMITTED


async def test_a_request_larger_than_the_limit_can_only_wait_for_ever(
    limiter: RateLimiter, name: str
) -> None:
    assert await limiter.take(name, tokens=101, rpm=None, tpm=100) == Wait(0, inf)


async def test_requests_that_come_together_are_admitted_together_or_not_at_all(
    limiter: RateLimiter, name: str
) -> None:
    async def take(requests: int, tokens: int = 9) -> Wait:
        return await limiter.take(name, tokens=tokens, rpm=5, tpm=100, requests=requests)

    assert await take(3) == ADMITTED
    assert 0 < (await take(3)).requests <= 0.05
    assert await take(6) == Wait(inf, 0)
    assert await take(2, tokens=91) == ADMITTED
    assert min(await take(1)) > 0
    await asyncio.sleep(0.06)
    assert await take(5) == ADMITTED


async def test_names_are_counted_apart(limiter: RateLimiter, name: str) -> None:
    await limiter.take(name, tokens=1, rpm=1, tpm=None)

    assert await limiter.take(f"{name}-other", tokens=1, rpm=1, tpm=None) == ADMITTED


async def test_without_limits_everything_is_admitted(limiter: RateLimiter, name: str) -> None:
    waits = [await limiter.take(name, tokens=10**9, rpm=None, tpm=None) for _ in range(3)]

    assert waits == [ADMITTED] * 3


async def test_the_wait_is_until_the_oldest_request_leaves(here: RateLimiter, clock: Clock) -> None:
    for _ in range(2):
        await here.take("a", tokens=1, rpm=2, tpm=None)
        clock.now += 10

    assert await here.take("a", tokens=1, rpm=2, tpm=None) == Wait(requests=40)
    clock.now += 40
    assert await here.take("a", tokens=1, rpm=2, tpm=None) == ADMITTED
    assert await here.take("a", tokens=1, rpm=2, tpm=None) == Wait(requests=10)


async def test_the_wait_for_tokens_is_until_enough_have_left(
    here: RateLimiter, clock: Clock
) -> None:
    for tokens in (10, 20, 70):
        await here.take("a", tokens=tokens, rpm=None, tpm=100)
        clock.now += 10

    assert await here.take("a", tokens=10, rpm=None, tpm=100) == Wait(tokens=30)
    assert await here.take("a", tokens=30, rpm=None, tpm=100) == Wait(tokens=40)
    assert await here.take("a", tokens=31, rpm=None, tpm=100) == Wait(tokens=50)


async def test_a_lower_limit_holds_at_once(here: RateLimiter, clock: Clock) -> None:
    for _ in range(3):
        await here.take("a", tokens=1, rpm=3, tpm=None)
        clock.now += 10

    assert await here.take("a", tokens=1, rpm=1, tpm=None) == Wait(requests=50)


_Request = st.tuples(st.integers(0, 30), st.integers(0, 60))


@given(
    st.lists(_Request, max_size=30),
    st.none() | st.integers(1, 5),
    st.none() | st.integers(60, 150),
)
async def test_the_log_admits_what_a_sum_over_the_window_admits(
    requests: list[tuple[int, int]], rpm: int | None, tpm: int | None
) -> None:
    clock = Clock()
    limiter = RateLimiter(clock=clock)
    admitted: list[tuple[float, int]] = []

    for pause, tokens in requests:
        clock.now += pause
        inside = [size for at, size in admitted if at > clock.now - 60]
        fits = (rpm is None or len(inside) < rpm) and (tpm is None or sum(inside) + tokens <= tpm)
        wait = await limiter.take("a", tokens=tokens, rpm=rpm, tpm=tpm)
        assert (wait == ADMITTED) is fits
        if fits:
            admitted.append((clock.now, tokens))


async def test_while_redis_is_away_each_process_counts_for_itself(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    limiter = RateLimiter(NOBODY, clock=clock)
    waits = [await limiter.take("a", tokens=1, rpm=2, tpm=None) for _ in range(3)]
    await limiter.close()

    assert waits == [ADMITTED, ADMITTED, Wait(requests=60)]
    assert caplog.messages == ["Redis does not count (ConnectionError): each process does"]


async def test_redis_is_tried_again_after_a_second(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    limiter = RateLimiter(NOBODY, clock=clock)
    for pause in (0.5, 0.5, 0.0):
        await limiter.take("a", tokens=1, rpm=9, tpm=None)
        clock.now += pause
    await limiter.close()

    assert len(caplog.messages) == 2


@pytest.mark.parametrize("url", ["http://secret@host", "localhost:6379"])
def test_another_address_than_redis_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="redis_url: should start with redis://") as raised:
        RateLimiter(url)

    assert "secret" not in str(raised.value)


def test_without_redis_installed_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)

    with pytest.raises(MissingExtraError, match=r"ai21-chains\[redis\]"):
        RateLimiter(NOBODY)
