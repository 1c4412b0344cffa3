"""Several processes that serve the same socket, and the one that looks after them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from importlib import import_module
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from ai21_chains.errors import AI21Error
from ai21_chains.serving.run import Options, work

_log = logging.getLogger("ai21_chains.serving")

_SHORTEST_LIFE = 5.0
"""A worker that ends by itself sooner than this after its start would do so again."""


class Workers:
    """Starts the workers, hands signals on to them, and replaces one that dies.

    Args:
        options: What the command line says.
        listener: The socket that all of them accept connections from.
    """

    def __init__(self, options: Options, listener: socket.socket) -> None:
        self._options = options
        self._listener = listener
        # A process that is forked shares the memory of what is loaded. This one has no threads yet.
        forks = "fork" in multiprocessing.get_all_start_methods()
        self._context: Any = multiprocessing.get_context("fork" if forks else "spawn")
        self._workers: dict[BaseProcess, float] = {}
        self._ending = False

    def run(self) -> None:
        """Serve until told to end, and until all workers have ended.

        Raises:
            AI21Error: A worker cannot start.
        """
        with tempfile.TemporaryDirectory(prefix="ai21-chains-") as figures:
            # Where prometheus-client adds up the figures of all workers.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = figures
            import_module("ai21_chains.serving.app")
            signals = [signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGTERM)]
            before = {number: signal.signal(number, self._hand_on) for number in signals}
            try:
                for _ in range(self._options.workers):
                    self._start()
                self._watch()
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _start(self) -> None:
        worker = self._context.Process(target=work, args=(self._options, self._listener))
        worker.start()
        self._workers[worker] = time.monotonic()

    def _watch(self) -> None:
        while self._workers:
            wait([one.sentinel for one in self._workers], timeout=1.0)
            for worker in [one for one in self._workers if not one.is_alive()]:
                lived = time.monotonic() - self._workers.pop(worker)
                self._forget(worker)
                if self._ending:
                    continue
                if lived < _SHORTEST_LIFE and (worker.exitcode or 0) > 0:
                    self._hand_on(signal.SIGTERM, None)
                    raise AI21Error(
                        f"A worker ended with code {worker.exitcode} when it had hardly started; "
                        "what it said is above"
                    )
                _log.error("A worker ended with code %s; another takes over", worker.exitcode)
                self._start()

    def _forget(self, worker: BaseProcess) -> None:
        """Take a worker's requests in flight out of the figures."""
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        if number != getattr(signal, "SIGHUP", None):
            self._ending = True
            self._listener.close()  # the last worker shuts the door
        for worker in self._workers:
            if worker.pid and worker.is_alive():
                os.kill(worker.pid, number)
