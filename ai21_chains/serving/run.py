"""The server as a program: uvicorn around the application, signals, and workers.

SIGTERM ends it in good order: it says that it is not ready, still takes requests for
`drain_seconds`, so that a load balancer can look elsewhere, and finishes what has begun. SIGINT
does the same without that pause, a second one without finishing. SIGHUP reads the configuration
again.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from ai21_chains import _pool
from ai21_chains.errors import AI21Error, ConfigurationError
from ai21_chains.serving._doors import accept_all, bar, open_doors, unbar
from ai21_chains.serving.config import ServerConfig, load_config

if TYPE_CHECKING:
    from ai21_chains.serving.app import Gateway

_log = logging.getLogger("ai21_chains.serving")

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept: longer than the clients' own, so that these close it."""

LAST_CALL_SECONDS = 0.2
"""How long a server that ends lets those in who have begun to connect."""

LONGEST_TURN_SECONDS = 0.001
"""For how long a thread that works, such as one that loads chains, may hold up all answers."""

LONGEST_SILENCE_SECONDS = 1.0
"""How long a server that ends waits for the first request of a new connection."""


@dataclass(frozen=True)
class Options:
    """What the command line says.

    Attributes:
        config: The file with the configuration, if there is one.
        host: The address to listen on.
        port: The port; 0 takes any free one.
        workers: How many processes answer.
    """

    config: Path | None = None
    host: str = "127.0.0.1"
    port: int = 4000
    workers: int = 1


def run(options: Options, say: Callable[[str], None]) -> None:
    """Serve until the process is told to end.

    Args:
        options: What the command line says.
        say: Takes the lines that are said at the start.

    Raises:
        ConfigurationError: The configuration cannot be used, or not at this address.
        AI21Error: The port cannot be had, or the server cannot start.
    """
    config = load_config(options.config)
    check_exposure(config, options.host)
    doors = open_doors(options.host, options.port, options.workers)
    for line in start_lines(config, doors[0], options):
        say(line)
    _log_to_stderr()
    if options.workers == 1:
        _serve(options, doors[0], config)
    else:
        from ai21_chains.serving._workers import Workers

        Workers(options, doors, config).run()


def check_exposure(config: ServerConfig, host: str) -> None:
    """Refuse to let everybody in from everywhere.

    Raises:
        ConfigurationError: There is no master key, and the address can be reached from elsewhere.
    """
    if config.master_key is None and not is_loopback(host):
        raise ConfigurationError(
            f"Listening on {host} lets everybody in who can reach it: set AI21_CHAINS_MASTER_KEY "
            "or general_settings.master_key, or listen on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def start_lines(config: ServerConfig, door: socket.socket, options: Options) -> Iterator[str]:
    """Say what is served, where, and what to mind."""
    host, port = door.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    yield f"ai21-chains serves on http://{shown}:{port} (OpenAI's API; docs at /openapi.json)"
    yield f"Models: {', '.join(config.models) or 'none'}"
    if config.chains:
        yield f"Chains: {', '.join(one.name for one in config.chains)}"
    if config.emulated:
        yield "EMULATED: no model answers, but the embedded emulator. Set AI21_API_KEY for AI21"
    if config.master_key is None:
        yield "Warning: there is no master key: whoever is on this machine is let in, with any key"
    for warning in config.warnings:
        yield f"Warning: {warning}"
    if options.workers > 1:
        yield f"{options.workers} workers"


def _log_to_stderr() -> None:
    """Write the access log as it is, a JSON object a line, and all else with time and level."""
    for name, form in (
        ("ai21_chains.access", "%(message)s"),
        ("ai21_chains", "%(asctime)s %(levelname)s %(message)s"),
        ("uvicorn.error", "%(asctime)s %(levelname)s %(message)s"),
    ):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(form))
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.WARNING if name == "uvicorn.error" else logging.INFO)


def work(options: Options, doors: list[socket.socket], number: int) -> None:
    """Serve, as one of several processes, until the one that began them ends."""
    if hasattr(os, "setpgrp"):
        # What a terminal sends is for the first process, which hands it on.
        os.setpgrp()
    door = doors[number]
    unbar(door)
    for other in doors:
        if other is not door:
            other.close()
    try:
        _serve(options, door, load_config(options.config), parent=os.getppid())
    except AI21Error as error:
        _log.error("%s", error)
        sys.exit(1)


def hold_signals(hold: bool) -> None:
    """Have signals wait, or not any more: who may have clients must end in good order.

    A process that is forked has the handlers of its parent until it sets its own.

    Args:
        hold: Whether they are to wait, as they also do in processes that are begun meanwhile.
    """
    if hasattr(signal, "pthread_sigmask"):
        how = signal.SIG_BLOCK if hold else signal.SIG_UNBLOCK
        signal.pthread_sigmask(how, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


def load(config: ServerConfig) -> None:
    """Load what a configuration needs. It takes a second: mistakes in it are told before.

    What is loaded stays, so the garbage collector need not look at it again: it would hold up
    answers, and write to memory that workers share.
    """
    # httpx loads httpcore with the first request, which would wait for it.
    for name in ("app", "_connection", "_heads", *(["keys"] if config.has_keys else [])):
        import_module(f"ai21_chains.serving.{name}")
    import_module("httpcore")
    gc.freeze()


def _serve(
    options: Options, door: socket.socket, config: ServerConfig, parent: int | None = None
) -> None:
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to read again
    hold_signals(True)  # until `Server` listens to them: clients may wait at the door already
    sys.setswitchinterval(LONGEST_TURN_SECONDS)
    load(config)
    from ai21_chains.serving._connection import Connection
    from ai21_chains.serving._heads import HeadLimit
    from ai21_chains.serving.app import Gateway

    _pool.direct_connection = Connection
    gateway = Gateway(config)
    settings = uvicorn.Config(
        gateway,
        http=HeadLimit,
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ws="none",
    )
    Server(settings, gateway, options, parent).run(sockets=[door])


class Server(uvicorn.Server):
    """uvicorn's server, with a slower end and a configuration that can be read again."""

    def __init__(
        self, settings: uvicorn.Config, gateway: Gateway, options: Options, parent: int | None
    ) -> None:
        super().__init__(settings)
        self._gateway = gateway
        self._options = options
        self._parent = parent
        self._stop_at = float("inf")
        self._reloading: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; SIGTERM may come twice, from the first process and whoever ends all."""
        if not self._gateway.draining:
            self._gateway.draining = True
            pause = 0.0 if sig == signal.SIGINT else self._gateway.config.drain_seconds
            self._stop_at = time.monotonic() + pause
        elif sig == signal.SIGINT:
            self.should_exit = self.force_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Look after the time, every tenth of a second."""
        orphaned = self._parent is not None and os.getppid() != self._parent
        if orphaned or time.monotonic() >= self._stop_at:
            self.should_exit = True
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, to clients and to SIGHUP.

        Raises:
            AI21Error: What the configuration wants cannot be had.
        """
        hold_signals(False)
        await self._gateway.open()
        await super().startup(sockets)
        if hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hang_up)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut the door, answer who is inside, and leave."""
        for door in sockets or ():
            await self._shut(door)
        fresh = asyncio.get_running_loop().time() + LONGEST_SILENCE_SECONDS
        while self._is_waiting() and asyncio.get_running_loop().time() < fresh:
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)

    async def _shut(self, door: socket.socket) -> None:
        """Stop listening, without losing who has connected and was not accepted yet.

        The kernel resets the connections that wait in a socket when it is closed. So first no
        others may begin, then those are accepted that have begun; a second handle keeps the socket
        open until none are left.
        """
        bar(door)
        await asyncio.sleep(LAST_CALL_SECONDS)
        with door.dup() as last:
            last.setblocking(False)
            for server in self.servers:
                server.close()
            await asyncio.sleep(0)
            door.close()
            accepted = accept_all(last)
        for connection in accepted:
            with suppress(OSError):  # its client has gone, which some systems say here
                await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    def _is_waiting(self) -> bool:
        """Whether there is a connection whose first request has not arrived yet."""
        return any(
            getattr(one, "cycle", None) is None for one in self.server_state.connections.copy()
        )

    def _hang_up(self) -> None:
        self._reloading = asyncio.create_task(self._reload())

    async def _reload(self) -> None:
        try:
            config = await asyncio.to_thread(load_config, self._options.config)
            check_exposure(config, self._options.host)
            await self._gateway.reload(config)
        except AI21Error as error:
            _log.error("The configuration is kept as it was: %s", error)
        else:
            _log.info("The configuration was read again: %s", ", ".join(config.models))
            for warning in config.warnings:
                _log.warning("%s", warning)
