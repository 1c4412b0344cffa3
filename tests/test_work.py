"""Work of several requests: the same for blocking and for async code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ai21_chains._work import Ask, Pace, Steps, arun, run
from ai21_chains.client import AI21Client
from ai21_chains.emulator import Emulator
from ai21_chains.errors import APIError, ConfigurationError, NotFoundError
from tests.cases import each

Go = Callable[[AI21Client, Steps[Any]], Any]


def go(client: AI21Client, steps: Steps[Any]) -> Any:
    return run(client, steps)


def ago(client: AI21Client, steps: Steps[Any]) -> Any:
    return asyncio.run(arun(client, steps))


WORKED = (go, ago)


def client(slept: list[float]) -> AI21Client:
    async def async_sleep(seconds: float) -> None:
        slept.append(seconds)

    transport = Emulator().transport()
    return AI21Client(
        api_key="k",
        http_client=httpx.Client(transport=transport),
        http_async_client=httpx.AsyncClient(transport=transport),
        sleep=slept.append,
        async_sleep=async_sleep,
    )


@each("work", WORKED)
def test_answers_come_back_to_the_steps_that_asked(work: Go) -> None:
    def steps() -> Steps[list[str]]:
        before = yield Ask("GET", "/library/files")
        yield 0.5
        found = yield Ask("POST", "/library/search", {"json": {"query": "x"}})
        return [*before, *found["results"], "done"]

    slept: list[float] = []

    assert work(client(slept), steps()) == ["done"]
    assert slept == [0.5]


@each("work", WORKED)
def test_an_error_can_be_met_by_the_steps(work: Go) -> None:
    def steps() -> Steps[str]:
        try:
            yield Ask("GET", "/library/files/none")
        except NotFoundError:
            answer = yield Ask("GET", "/library/files")
        return f"then {answer}"

    assert work(client([]), steps()) == "then []"


@each("work", WORKED)
def test_an_error_that_is_not_met_ends_the_work(work: Go) -> None:
    def steps() -> Steps[None]:
        yield Ask("GET", "/library/files/none")

    with pytest.raises(APIError, match="File not found"):
        work(client([]), steps())


@each("work", WORKED)
def test_work_without_requests_is_done_at_once(work: Go) -> None:
    def steps() -> Steps[int]:
        return 7
        yield

    assert work(client([]), steps()) == 7


def pauses(pace: Pace) -> list[float]:
    """The pauses, if nothing but they takes time."""
    now = [100.0]
    waited = []
    for pause in pace.times(lambda: now[0]):
        waited.append(pause)
        now[0] += pause
    return waited


def test_the_last_look_is_when_time_is_up() -> None:
    assert pauses(Pace(2, 6)) == [2, 3, 1]


def test_the_pauses_grow_up_to_ten_seconds() -> None:
    assert pauses(Pace(1, 50))[:8] == [1.0, 1.5, 2.25, 3.375, 5.0625, 7.59375, 10.0, 10.0]


def test_a_longer_interval_stays_as_it_is() -> None:
    assert pauses(Pace(30, 90)) == [30, 30, 30]


@each("timeout", [0.5, 1, 33.3])
def test_the_pauses_come_to_the_time_there_is(timeout: float) -> None:
    assert sum(pauses(Pace(1, timeout))) == pytest.approx(timeout)


def test_a_look_that_takes_long_leaves_less_to_wait() -> None:
    now = [0.0]
    times = Pace(2, 5).times(lambda: now[0])
    now[0] = 4.5
    assert next(times) == 0.5
    now[0] = 9.0
    assert next(times, None) is None


@each("value", [0, -1.5, float("inf"), float("nan")])
def test_a_pace_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ConfigurationError, match="it: poll_timeout_sec should be above 0"):
        Pace(1, value).checked("it")
