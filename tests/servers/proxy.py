"""A forward proxy in a few lines: absolute URIs and CONNECT, with a note of what passed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.servers.scripted import in_a_thread


@dataclass
class Proxy:
    port: int = 0
    seen: list[str] = field(default_factory=list)
    """The first line of each request."""
    credentials: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")
            method, target, _ = first.split(" ")
            self.seen.append(f"{method} {target}")
            self.credentials += [
                line for line in lines if line.lower().startswith("proxy-authorization")
            ]
            connect = method == "CONNECT"
            host, _, port = (target if connect else urlsplit(target).netloc).rpartition(":")
            there, onward = await asyncio.open_connection(host, int(port))
            if connect:
                writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                onward.write(head.replace(target, urlsplit(target).path, 1).encode("latin-1"))
            try:
                await asyncio.gather(_pass_on(reader, onward), _pass_on(there, writer))
            finally:
                onward.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()


@contextmanager
def proxying() -> Iterator[Proxy]:
    """Run a proxy."""
    proxy = Proxy()
    with in_a_thread(proxy.serve) as proxy.port:
        yield proxy
