"""Several processes that serve the same address, and the one that looks after them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, NamedTuple

from ai21_chains.errors import AI21Error
from ai21_chains.serving.config import ServerConfig
from ai21_chains.serving.run import Options, hold_signals, load, work

_log = logging.getLogger("ai21_chains.serving")

_SHORTEST_LIFE = 5.0
"""A worker that ends by itself sooner than this after its start would do so again."""


class _Worker(NamedTuple):
    """A process that answers: which of them it is, and since when."""

    number: int
    began: float


class Workers:
    """Starts the workers, hands signals on to them, and replaces one that dies.

    Args:
        options: What the command line says.
        doors: The socket that each of them accepts connections from.
        config: What they serve at first; each of them reads it for itself.
    """

    def __init__(self, options: Options, doors: list[socket.socket], config: ServerConfig) -> None:
        self._options = options
        self._config = config
        self._doors = doors
        # A process that is forked shares the memory of what is loaded. This one has no threads yet.
        forks = "fork" in multiprocessing.get_all_start_methods()
        self._context: Any = multiprocessing.get_context("fork" if forks else "spawn")
        self._workers: dict[BaseProcess, _Worker] = {}
        self._ending = False

    def run(self) -> None:
        """Serve until told to end, and until all workers have ended.

        Raises:
            AI21Error: A worker cannot start.
        """
        hold_signals(True)  # until there are workers to hand them on to
        with tempfile.TemporaryDirectory(prefix="ai21-chains-") as figures:
            # Where prometheus-client adds up the figures of all workers.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = figures
            load(self._config)
            signals = [signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGTERM)]
            before = {number: signal.signal(number, self._hand_on) for number in signals}
            try:
                for number in range(self._options.workers):
                    self._start(number)
                hold_signals(False)
                self._watch()
            finally:
                hold_signals(False)
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _start(self, number: int) -> None:
        process = self._context.Process(target=work, args=(self._options, self._doors, number))
        process.start()
        self._workers[process] = _Worker(number, time.monotonic())

    def _watch(self) -> None:
        while self._workers:
            wait([one.sentinel for one in self._workers], timeout=1.0)
            for process in [one for one in self._workers if not one.is_alive()]:
                worker = self._workers.pop(process)
                self._forget(process)
                hold_signals(True)
                if not self._ending:
                    self._replace(worker, process.exitcode or 0)
                hold_signals(False)

    def _replace(self, worker: _Worker, code: int) -> None:
        if time.monotonic() - worker.began < _SHORTEST_LIFE and code > 0:
            self._hand_on(signal.SIGTERM, None)
            raise AI21Error(
                f"A worker ended with code {code} when it had hardly started; what it said is above"
            )
        _log.error("A worker ended with code %s; another takes over", code)
        self._start(worker.number)

    def _forget(self, process: BaseProcess) -> None:
        """Take a worker's requests in flight out of the figures."""
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(process.pid)  # type: ignore[no-untyped-call]

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        if number != getattr(signal, "SIGHUP", None):
            self._ending = True
            for door in self._doors:
                door.close()  # the workers shut theirs
        for process in self._workers:
            if process.pid and process.is_alive():
                os.kill(process.pid, number)
