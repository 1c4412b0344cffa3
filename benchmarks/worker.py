"""Measures one contestant in a process of its own: orders come in on stdin, figures go out.

An order is a line of JSON, `{"what", "url", "count"}`; the answer is `{"cpu", "wall", "units"}`:
the seconds of CPU (of the whole process) and of the clock that `units` calls or chunks took.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field

from canned_server import ANSWER, WORDS
from contestants import CONTESTANTS, Contestant

Make = Callable[[str], Contestant]
TEXT = "".join(WORDS)


@dataclass
class Figures:
    """What was used since `start`."""

    units: int
    cpu: float = 0.0
    wall: float = 0.0
    _began: tuple[float, float] = field(default=(0.0, 0.0), repr=False)

    def start(self) -> None:
        """Start the clocks, behind a collection of garbage."""
        gc.collect()
        self._began = time.process_time(), time.perf_counter()

    def stop(self) -> None:
        """Stop the clocks."""
        self.cpu = time.process_time() - self._began[0]
        self.wall = time.perf_counter() - self._began[1]


def construct(make: Make, url: str, count: int) -> Figures:
    """Make `count` models."""
    make(url)
    figures = Figures(count)
    figures.start()
    for _ in range(count):
        make(url)
    figures.stop()
    return figures


def invoke(make: Make, url: str, count: int) -> Figures:
    """Ask `count` times, one after the other."""
    contestant = make(url)
    _check(contestant.ask(), ANSWER)
    figures = Figures(count)
    figures.start()
    for _ in range(count):
        contestant.ask()
    figures.stop()
    return figures


def stream(make: Make, url: str, count: int) -> Figures:
    """Read `count` streams, one after the other."""
    contestant = make(url)
    _check("".join(contestant.stream()), TEXT)
    figures = Figures(count * len(WORDS))
    figures.start()
    for _ in range(count):
        contestant.stream()
    figures.stop()
    return figures


def ainvoke(make: Make, url: str, count: int) -> Figures:
    """Ask `count` times in one event loop, one after the other."""

    async def measured(contestant: Contestant) -> Figures:
        _check(await contestant.aask(), ANSWER)
        figures = Figures(count)
        figures.start()
        for _ in range(count):
            await contestant.aask()
        figures.stop()
        return figures

    return _in_a_loop(make, url, measured)


def astream(make: Make, url: str, count: int) -> Figures:
    """Read `count` streams in one event loop, one after the other."""

    async def measured(contestant: Contestant) -> Figures:
        _check("".join(await contestant.astream()), TEXT)
        figures = Figures(count * len(WORDS))
        figures.start()
        for _ in range(count):
            await contestant.astream()
        figures.stop()
        return figures

    return _in_a_loop(make, url, measured)


def at_once(make: Make, url: str, count: int) -> Figures:
    """Ask `count` times at once; all connections but one are new."""

    async def measured(contestant: Contestant) -> Figures:
        _check(await contestant.aask(), ANSWER)
        figures = Figures(count)
        figures.start()
        answers = await contestant.ask_at_once(count)
        figures.stop()
        _check("".join(answers), ANSWER * count)
        return figures

    return _in_a_loop(make, url, measured)


def _in_a_loop(
    make: Make, url: str, measured: Callable[[Contestant], Awaitable[Figures]]
) -> Figures:
    async def main() -> Figures:
        contestant = make(url)
        try:
            return await measured(contestant)
        finally:
            await contestant.aclose()

    return asyncio.run(main())


def _check(said: str, expected: str) -> None:
    if said != expected:
        raise SystemExit(f"wrong answer: {said[:80]!r}")


MEASUREMENTS = {
    "construct": construct,
    "invoke": invoke,
    "ainvoke": ainvoke,
    "stream": stream,
    "astream": astream,
    "at_once": at_once,
}


def main() -> None:
    """Serve orders until stdin ends."""
    # Libraries may print: only figures go to the real stdout.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    make = CONTESTANTS[sys.argv[1]]
    for line in sys.stdin:
        order = json.loads(line)
        figures = MEASUREMENTS[order["what"]](make, order["url"], order["count"])
        answers.write(json.dumps(asdict(figures)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
