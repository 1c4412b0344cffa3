"""Work that takes several requests, written once for blocking and for async code.

Such work is a generator: it yields what is to be done next, a request or a pause, and is resumed
with the answer, or with the error. `run` and `arun` do what it asks for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from ai21_chains.client import AI21Client, RequestOptions
from ai21_chains.errors import APIError, ConfigurationError

Result = TypeVar("Result")


class Ask(NamedTuple):
    """A request to be sent."""

    method: str
    path: str
    options: RequestOptions = RequestOptions()


Steps: TypeAlias = Generator[Ask | float, Any, Result]
"""Yields requests and seconds to wait; returns the result."""


def run(client: AI21Client, steps: Steps[Result]) -> Result:
    """Do the work with blocking calls."""
    go: Callable[[], Ask | float] = partial(next, steps)
    while True:
        try:
            step = go()
        except StopIteration as end:
            result: Result = end.value
            return result
        try:
            if isinstance(step, Ask):
                go = partial(steps.send, client.request(step.method, step.path, **step.options))
            else:
                client.sleep(step)
                go = partial(next, steps)
        except APIError as error:
            go = partial(steps.throw, error)


async def arun(client: AI21Client, steps: Steps[Result]) -> Result:
    """Do the work in async code."""
    go: Callable[[], Ask | float] = partial(next, steps)
    while True:
        try:
            step = go()
        except StopIteration as end:
            result: Result = end.value
            return result
        try:
            if isinstance(step, Ask):
                answer = await client.arequest(step.method, step.path, **step.options)
                go = partial(steps.send, answer)
            else:
                await client.async_sleep(step)
                go = partial(next, steps)
        except APIError as error:
            go = partial(steps.throw, error)


GROWTH = 1.5
LONGEST_PAUSE = 10.0
"""Seconds between two looks, at the most, unless more are asked for."""


class Pace(NamedTuple):
    """How soon to look again at something that takes time, and for how long, in seconds.

    Each pause is half as long again as the one before it.
    """

    poll_interval_sec: float
    poll_timeout_sec: float

    def checked(self, owner: str) -> Pace:
        """Return the pace.

        Args:
            owner: What was called, for the error message.

        Raises:
            ConfigurationError: It is none.
        """
        for name, value in self._asdict().items():
            if not 0 < value < float("inf"):
                raise ConfigurationError(f"{owner}: {name} should be above 0, got {value}")
        return self

    def times(self, clock: Callable[[], float] = time.monotonic) -> Iterator[float]:
        """Yield how long to wait before each further look; the last one is when time is up.

        The time runs from this call on.

        Args:
            clock: Tells the time, in seconds.
        """
        return self._pauses(clock, clock() + self.poll_timeout_sec)

    def _pauses(self, clock: Callable[[], float], end: float) -> Iterator[float]:
        pause = self.poll_interval_sec
        longest = max(pause, LONGEST_PAUSE)
        while (left := end - clock()) > 0:
            yield min(pause, left)
            pause = min(pause * GROWTH, longest)
