"""Measure `ai21-chains serve` beside LiteLLM's proxy and a bare forwarder.

python benchmarks/gateway.py [--peers [NAME …]] [--rounds 4] [--starts 2] [--json FILE]

All of them stand in front of the same canned server and are asked in turns by the same clients.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

from environments import cache_folder, child_environment, peer_python, versions
from report import OURS, Spread

HERE = Path(__file__).parent
DIRECT, FORWARDER, LITELLM = "direct", "forwarder", "litellm"
PEERS = {
    FORWARDER: ["starlette", "uvicorn[standard]", "aiohttp"],
    LITELLM: ["litellm[proxy]"],
}
OUR_OWN = ["--editable", f"{HERE.parent}[serve]"]
KEY = "sk-" + "benchmark" * 4
CHAT = "/v1/chat/completions"
LONGEST_START = 120.0

CONFIG = """\
model_list:
  - model_name: plain
    litellm_params:
      model: ai21/jamba-large-1.7
      api_key: key
      api_base: {url}/studio/v1
  - model_name: stamped
    litellm_params:
      model: ai21/jamba-large-1.7
      api_key: key
      api_base: {url}/stamped-3/studio/v1
general_settings: {{master_key: {key}}}
"""
"""Read by our server and by LiteLLM's."""


class Stage(NamedTuple):
    """What the clients do in a round.

    Attributes:
        name: What the rows are called.
        connections: How many ask at once.
        seconds: For how long they begin new requests.
        streamed: Whether answers are streamed.
        model: `plain`, or `stamped` for pieces that say when they were sent.
    """

    name: str
    connections: int
    seconds: float
    streamed: bool = False
    model: str = "plain"


STAGES = [
    Stage("1 at once", 1, 1.5),
    Stage("16 at once", 16, 1.5),
    Stage("64 at once", 64, 2.0),
    Stage("a stream", 1, 0.5, streamed=True),
    Stage("16 streams", 16, 1.0, streamed=True),
    Stage("a slow stream", 1, 0.1, streamed=True, model="stamped"),
]

Row = tuple[str, str]
"""What was measured, and its unit."""

Figures = dict[Row, dict[str, list[float]]]
"""Of each row, the figures of each contestant, round by round."""


# --- Servers ---------------------------------------------------------------------------------


class Server:
    """A contestant in a process of its own.

    Args:
        name: Its name.
        command: How it is started; `{port}` stands for the port.
        environment: Its environment variables.
        folder: Where it runs, and where its log goes.
    """

    def __init__(
        self, name: str, command: list[str], environment: dict[str, str], folder: Path
    ) -> None:
        self.name = name
        self._command, self._environment, self._folder = command, environment, folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> float:
        """Start it, again if it runs, and return the seconds until it says that it is well."""
        self.end()
        self.port = _free_port()
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [part.format(port=self.port) for part in self._command],
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / f"{self.name}.log").open("ab"),
            env=self._environment,
            cwd=self._folder,
        )
        while not self._is_well():
            if self._process.poll() is not None or time.perf_counter() - began > LONGEST_START:
                log = (self._folder / f"{self.name}.log").read_text()[-2000:]
                raise SystemExit(f"{self.name} does not start:\n{log}")
            time.sleep(0.01)
        return time.perf_counter() - began

    def _is_well(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        url = f"http://127.0.0.1:{self.port}/health/liveliness"
        with suppress(OSError), opener.open(url, timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    def end(self) -> None:
        """End the process."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def cpu(self) -> float:
        """Seconds of CPU that it and its children have used."""
        ticks = sum(
            int(text)
            for process in self._processes()
            for text in _after_name(f"/proc/{process}/stat")[11:13]
        )
        return ticks / os.sysconf("SC_CLK_TCK")

    @property
    def memory(self) -> float:
        """Resident memory of it and its children, in MB."""
        pages = sum(
            int(Path(f"/proc/{process}/statm").read_text().split()[1])
            for process in self._processes()
        )
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _processes(self) -> list[int]:
        found = [self._process.pid] if self._process else []
        for process in found:
            children = Path(f"/proc/{process}/task/{process}/children")
            found += map(int, children.read_text().split())
        return found


def _after_name(path: str) -> list[str]:
    return Path(path).read_text().rpartition(")")[2].split()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _servers(
    pythons: dict[str, str], upstream: str, environment: dict[str, str], folder: Path
) -> list[Server]:
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(url=upstream, key=KEY))
    # Where our keys are kept; nothing is left behind.
    ours = {**environment, "AI21_CHAINS_DATABASE_URL": f"sqlite:///{folder / 'keys.db'}"}
    port = ["--port", "{port}"]
    commands = {
        FORWARDER: [str(HERE / "gateway_forwarder.py"), "{port}", upstream],
        OURS: ["-m", "ai21_chains", "serve", "--config", str(config), *port],
        LITELLM: ["litellm", "--config", str(config), "--host", "127.0.0.1", *port],
    }
    made = []
    for name, command in commands.items():
        if name not in {OURS, *pythons}:
            continue
        python = pythons.get(name, sys.executable)
        if name == LITELLM:
            command[0] = str(Path(python).with_name("litellm"))
        else:
            command.insert(0, python)
        made.append(Server(name, command, ours if name == OURS else environment, folder))
    return made


# --- Clients ---------------------------------------------------------------------------------


class Clients:
    """The load generator, in a process of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "gateway_load.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def ask(self, port: int, stage: Stage, path: str = CHAT) -> dict[str, Any]:
        """Carry out a stage, and return the result."""
        process = self._process
        assert process.stdin
        assert process.stdout
        order = {**stage._asdict(), "port": port, "path": path, "key": KEY}
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"The clients failed at {stage.name}; see above")
        result: dict[str, Any] = json.loads(line)
        return result

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


# --- Rounds ----------------------------------------------------------------------------------


def _round(
    clients: Clients, servers: list[Server], upstream: int, figures: Figures, number: int
) -> None:
    """Carry out each stage with all contestants, one after the other."""
    turned = number % len(servers)
    for stage in STAGES:
        path = "/stamped-3" if stage.model == "stamped" else ""
        direct = _latencies(stage, clients.ask(upstream, stage, path + CHAT))
        _add(figures, DIRECT, direct)
        for server in servers[turned:] + servers[:turned]:
            before = server.cpu
            result = clients.ask(server.port, stage)
            used = server.cpu - before
            found = _latencies(stage, result)
            _add(figures, server.name, {row: found[row] - direct[row] for row in found})
            _add(figures, server.name, _rates(stage, result, used))


def _latencies(stage: Stage, result: dict[str, Any]) -> dict[Row, float]:
    values = result["lags"] if stage.model == "stamped" else result["latencies"]
    if stage.streamed and stage.model == "plain":
        return {}
    cuts = quantiles(values, n=100) if len(values) > 1 else values * 99
    return {
        (f"{stage.name}: added, {name}", "ms"): 1e3 * cuts[percent - 1]
        for name, percent in (("p50", 50), ("p99", 99))
    }


def _rates(stage: Stage, result: dict[str, Any], cpu: float) -> dict[Row, float]:
    if stage.model == "stamped":
        return {}
    done, what = (
        (result["pieces"], "token") if stage.streamed else (len(result["latencies"]), "request")
    )
    return {
        (f"{stage.name}: {what}s", "/s"): done / result["seconds"],
        (f"{stage.name}: a {what}", "ms CPU"): 1e3 * cpu / done,
    }


def _add(figures: Figures, name: str, found: dict[Row, float]) -> None:
    for row, value in found.items():
        figures.setdefault(row, {}).setdefault(name, []).append(value)


def _starts(servers: list[Server], times: int, figures: Figures) -> None:
    """Start all servers several times; those of the last time keep running."""
    for number in range(-1, times):  # the first time writes the bytecode
        for server in servers:
            seconds = server.start()
            if number >= 0:
                idle = ("memory before the first request", "MB")
                _add(figures, server.name, {("start", "s"): seconds, idle: server.memory})


# --- The table -------------------------------------------------------------------------------


def _table(figures: Figures, names: list[str]) -> str:
    peers = [name for name in names if name != OURS]
    heads = ["What", *peers, f"**{OURS}**", *(f"{OURS} ÷ {name}" for name in peers[1:])]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for (what, unit), found in figures.items():
        ratios = [_ratio(found, name) for name in peers[1:]]
        medians = [f"{_short(median(found[name]))}" if name in found else "–" for name in peers]
        lines.append([f"{what}, {unit}", *medians, Spread.of(found[OURS]).show(), *ratios])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _ratio(found: dict[str, list[float]], name: str) -> str:
    """Return our figure as a multiple of a peer's, the median of the rounds."""
    pairs = zip(found[OURS], found.get(name, ()), strict=False)
    ratios = [ours / theirs for ours, theirs in pairs if theirs]
    return f"{_short(median(ratios))} ×" if ratios else "–"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def main() -> None:
    """Run everything and print the table."""
    options = _options()
    figures: Figures = {}
    load = os.getloadavg()[0]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = child_environment(options.cache / "pycache")
        pythons = _pythons(options.peers, options.cache)
        upstream = stack.enter_context(_upstream(environment))
        servers = _servers(pythons, f"http://127.0.0.1:{upstream}", environment, folder)
        clients = Clients(environment)
        for ended in (*servers, clients):
            stack.callback(ended.end)
        _starts(servers, options.starts, figures)
        for server in servers:
            for stage in (STAGES[0], STAGES[3]):  # what is loaded with the first requests
                clients.ask(server.port, stage._replace(seconds=0.2))
        for number in range(options.rounds):
            _round(clients, servers, upstream, figures, number)
        for server in servers:
            _add(figures, server.name, {("memory after all of it", "MB"): server.memory})
    loads = f"load average {load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end"
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {loads}.")
    for name, python in {OURS: sys.executable, **pythons}.items():
        print(f"{name}: {versions(python, name, 'starlette', 'uvicorn', 'aiohttp')}", end="")
    print(f"\nMedians of {options.rounds} rounds and {options.starts} starts (ours: min–max).\n")
    print(_table(figures, [DIRECT, *(server.name for server in servers)]))
    if options.json:
        rows = [{"row": row, "unit": unit, **found} for (row, unit), found in figures.items()]
        options.json.write_text(json.dumps(rows, indent=1))


def _pythons(peers: list[str], cache: Path) -> dict[str, str]:
    """Return the interpreters of the contestants, each with what it needs and nothing else."""
    needed = {**PEERS, OURS: OUR_OWN}
    return {name: peer_python(name, cache, needed) for name in [*peers, OURS] if peers}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--starts", type=int, default=2)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=None)
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    if options.peers is not None and not options.peers:
        options.peers = list(PEERS)
    options.peers = options.peers or []
    return options


@contextmanager
def _upstream(environment: dict[str, str]) -> Iterator[int]:
    command = [sys.executable, str(HERE / "canned_server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


if __name__ == "__main__":
    main()
