"""The sockets that clients come in by: one for each worker, closed without losing anybody."""

from __future__ import annotations

import os
import socket
import struct
import sys
from array import array
from contextlib import ExitStack, suppress

from ai21_chains.errors import AI21Error

LONGEST_QUEUE = 2048
"""Connections that may wait to be accepted."""

_ATTACH_FILTER, _DETACH_FILTER = 26, 27
"""Linux's SO_ATTACH_FILTER and SO_DETACH_FILTER, which Python does not name."""

_NO_MORE = (
    (0x30, 0, 0, 13),  # load the byte of a TCP packet that has its flags
    (0x45, 0, 1, 0x02),  # if it has SYN (a client asks for a connection), go on; else skip one
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # keep all of it
)
"""A program for the kernel's packet filter: code, jumps if true and if not, operand."""


def open_doors(host: str, port: int, workers: int) -> list[socket.socket]:
    """Listen at an address: from now on clients may come, who wait until a worker is ready.

    Linux spreads connections evenly over sockets that share a port. Elsewhere all workers have the
    same socket, and a connection is whose it is first.

    Args:
        host: The address.
        port: The port; 0 takes any free one.
        workers: How many processes answer.

    Returns:
        The socket of each worker.

    Raises:
        AI21Error: The port cannot be had.
    """
    with ExitStack() as closed_on_failure:
        try:
            doors = _bound(host, port, workers, closed_on_failure)
            for door in doors:
                door.listen(LONGEST_QUEUE)
        except OSError as error:
            raise AI21Error(
                f"Cannot listen on port {port} of {host} ({error.strerror}); "
                "choose another with --port"
            ) from None
        closed_on_failure.pop_all()
    return doors


def _bound(host: str, port: int, workers: int, opened: ExitStack) -> list[socket.socket]:
    first = opened.enter_context(_socket(host))
    first.bind((host, port))
    if workers == 1 or sys.platform != "linux":
        return [first] * workers
    # Only now: who shares a port from the start also shares it with another server.
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    others = [opened.enter_context(_socket(host)) for _ in range(1, workers)]
    for other in others:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(first.getsockname())
    return [first, *others]


def _socket(host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if os.name != "nt":
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.set_inheritable(True)
    return made


def bar(door: socket.socket) -> None:
    """Let nobody else begin to connect; who has begun comes in as before.

    Only Linux can do this. Its clients try again after a second, and are then refused.
    """
    if sys.platform == "linux":
        program = array("B", b"".join(struct.pack("=HBBI", *step) for step in _NO_MORE))
        option = struct.pack("HP", len(_NO_MORE), program.buffer_info()[0])
        with suppress(OSError):  # not all that call themselves Linux can
            door.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, option)


def unbar(door: socket.socket) -> None:
    """Let clients connect again, if a worker that had this socket before has barred it."""
    if sys.platform == "linux":
        with suppress(OSError):  # there is no filter
            door.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)


def accept_all(door: socket.socket) -> list[socket.socket]:
    """Return the connections that wait; the socket must not block."""
    accepted: list[socket.socket] = []
    with suppress(OSError):  # BlockingIOError: there are no more
        while len(accepted) < LONGEST_QUEUE:
            accepted.append(door.accept()[0])
    return accepted
