"""Measure what `ChatAI21` costs, beside httpx, langchain-core and other packages.

python benchmarks/run.py [--peers [NAME …]] [--rounds 9] [--only WORD …] [--json FILE]

Everything runs on this machine, interleaved: each round asks every contestant once, each in a
process of its own, in an order that changes from round to round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from contestants import IMPORTS, ONE_LOOP
from environments import PEERS, cache_folder, child_environment, peer_python, versions
from report import BOTH, CORE, HTTPX, OURS, Row, table

HERE = Path(__file__).parent
LONGEST_ANSWER = 600
"""Seconds after which a contestant is given up."""

_TIMED_IMPORT = (
    "import time; c, w = time.process_time(), time.perf_counter(); {code}; "
    "print(time.process_time() - c, time.perf_counter() - w)"
)


class Task(NamedTuple):
    """What a worker is asked in each round.

    Attributes:
        name: How the table calls it.
        what: The measurement's name in `worker`.
        times: How often in one round.
        unit: Unit of the CPU figure, with its factor from seconds.
        path: How the server is to answer.
    """

    name: str
    what: str
    times: int
    unit: tuple[str, float] = ("µs CPU", 1e6)
    path: str = ""


TASKS = [
    Task("constructor", "construct", 50),
    Task("`invoke`", "invoke", 60),
    Task("`ainvoke`", "ainvoke", 60),
    Task("`stream`, a chunk", "stream", 3),
    Task("`astream`, a chunk", "astream", 3),
    Task("`stream`, a chunk each ms", "stream", 1, path="/gap-1"),
    Task("`astream`, a chunk each ms", "astream", 1, path="/gap-1"),
    Task("400 at once, a call", "at_once", 400, ("ms CPU", 1e3), "/wait-200"),
    Task("1000 at once, a call", "at_once", 1000, ("ms CPU", 1e3), "/wait-200"),
]


class Worker:
    """A contestant in a process of its own."""

    def __init__(self, name: str, python: str, environment: dict[str, str], folder: Path) -> None:
        """Take note of how to start; the process starts with its first order."""
        self.name = name
        self._python, self._environment, self._folder = python, environment, folder
        self._process: subprocess.Popen[str] | None = None

    def measure(self, task: Task, address: str) -> dict[str, float] | None:
        """Return the figures of one round, or None if the contestant failed or hangs."""
        process = self._process = self._process or self._start()
        assert process.stdin
        assert process.stdout
        url = f"{address}{task.path}/studio/v1"
        process.stdin.write(json.dumps({"what": task.what, "url": url, "count": task.times}) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], LONGEST_ANSWER)
        line = process.stdout.readline() if ready else ""
        if not line:
            print(f"{self.name} failed at {task.name}", file=sys.stderr)
        if not line or self.name in ONE_LOOP:
            self.end()
        figures: dict[str, float] | None = json.loads(line) if line else None
        return figures

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self._python, str(HERE / "worker.py"), self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self._folder / f"{self.name}.log").open("a"),
            env=self._environment,
            cwd=self._folder,
            text=True,
        )

    def end(self) -> None:
        """End the process."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


def main() -> None:
    """Run everything and print the table and the JSON."""
    options = _options()
    load = os.getloadavg()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = child_environment(folder / "pycache")
        pythons = {peer: peer_python(peer, options.cache) for peer in options.peers}
        rows = _rows_of_imports(pythons, options.rounds, environment, folder)
        address = stack.enter_context(_server(environment))
        names = [HTTPX, CORE, BOTH, OURS, *options.peers]
        workers = []
        for name in names:
            worker = Worker(name, pythons.get(name, sys.executable), environment, folder)
            stack.callback(worker.end)
            workers.append(worker)
        for task in TASKS:
            if any(word in task.name for word in options.only):
                rows += _rows_of_task(task, workers, address, options)
                if task.what == "at_once":
                    rows += _row_against_a_lone_call(rows, task)
    loads = f"{load[0]:.1f} at the start, {os.getloadavg()[0]:.1f} at the end"
    about = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": loads,
        "rounds": options.rounds,
        "versions": {
            OURS: json.loads(versions(sys.executable, OURS)),
            **{peer: json.loads(versions(python, peer)) for peer, python in pythons.items()},
        },
    }
    print(f"Python {about['python']}, {about['cores']} cores, load average {loads}.")
    print(f"Medians (min–max) of {options.rounds} rounds.\n")
    print(table(rows, options.peers))
    text = json.dumps({**about, "rows": [row.as_json() for row in rows]}, indent=1)
    if options.json:
        options.json.write_text(text)
    else:
        print(f"\n{text}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=None)
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument("--json", type=Path, help="write the JSON to this file")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds a row and contestant")
    parser.add_argument("--only", nargs="*", default=[""], help="words in the names of rows")
    options = parser.parse_args()
    if options.peers is None:
        options.peers = []
    elif not options.peers:
        options.peers = ["langchain-openai", "langchain-ai21"]
    return options


@contextmanager
def _server(environment: dict[str, str]) -> Iterator[str]:
    command = [sys.executable, str(HERE / "canned_server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def _rows_of_imports(
    pythons: dict[str, str], rounds: int, environment: dict[str, str], folder: Path
) -> list[Row]:
    cpu = Row("import", "ms CPU", floor=("floor",))
    wall = Row("import", "ms", floor=("floor",))
    names = ["floor", OURS, *pythons]
    for number in range(-1, rounds):  # round -1 writes the bytecode
        for name in _turned(names, number):
            command = [pythons.get(name, sys.executable), "-c"]
            command.append(_TIMED_IMPORT.format(code=IMPORTS[name]))
            done = subprocess.run(
                command, check=True, capture_output=True, text=True, env=environment, cwd=folder
            )
            used, passed = map(float, done.stdout.split()[-2:])
            if number >= 0:
                cpu.add(name, used * 1e3)
                wall.add(name, passed * 1e3)
    return [cpu, wall]


def _rows_of_task(
    task: Task, workers: list[Worker], address: str, options: argparse.Namespace
) -> list[Row]:
    unit, factor = task.unit
    cpu = Row(task.name, unit)
    many = task.what == "at_once"
    wall = Row(f"{task.times} at once, all", "s", ideal=0.2)
    most = Row(f"{task.times} at once, most in flight", "calls", ideal=task.times)
    spent = dict.fromkeys((worker.name for worker in workers), 0.0)
    for number in range(options.rounds):
        for worker in _turned(workers, number):
            if spent[worker.name] > options.budget:
                continue
            _most_in_flight(address)
            figures = worker.measure(task, address)
            if figures is None:
                spent[worker.name] = float("inf")
                continue
            spent[worker.name] += figures["wall"]
            cpu.add(worker.name, figures["cpu"] / figures["units"] * factor)
            if many:
                wall.add(worker.name, figures["wall"])
                most.add(worker.name, _most_in_flight(address))
    return [cpu, wall, most] if many else [cpu]


def _row_against_a_lone_call(rows: list[Row], task: Task) -> list[Row]:
    named = {row.name: row for row in rows}
    lone = named.get("`ainvoke`")
    if lone is None or not lone.floors():
        return []
    name, floor = f"{task.name}, against one `ainvoke`'s floor", median(lone.floors()) / 1e3
    return [replace(named[task.name], name=name, ideal=floor)]


def _most_in_flight(address: str) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{address}/most-in-flight") as answer:
        return int(answer.read())


def _turned(items: list[Any], by: int) -> list[Any]:
    by %= len(items)
    return items[by:] + items[:by]


if __name__ == "__main__":
    main()
