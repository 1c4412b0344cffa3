"""The gateway's own connection, parsed by httptools: what it makes of good and of bad answers."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

from ai21_chains.serving._connection import MOST_UNREAD, Connection
from tests.servers.scripted import CHUNKED, CUT, END, HOLD, Step, piece, scripted

GET = "GET"
OK = b"HTTP/1.1 200 OK\r\n"
SHORT = OK + b"content-length: 5\r\n\r\nhi"


async def ask(steps: list[Step], read: float = 5.0, **settings: Any) -> httpx.Response:
    timeout = httpx.Timeout(5.0, read=read)
    with scripted(steps) as server:
        try:
            async with httpx.AsyncClient(transport=Connection(), timeout=timeout) as http:
                return await http.post(server.url, **settings)
        finally:
            while server.open:  # it learns a little later that its client has gone
                await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([OK + b"content-length: 2\r\n\r\nhi"], "hi"),
        ([OK + b"\r\nhi", CUT], "hi"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", OK + b"content-length: 2\r\n\r\nhi"], "hi"),
        ([OK + CHUNKED, piece(b"h"), piece(b"i") + END], "hi"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], ""),
        ([bytes([byte]) for byte in OK + b"content-length: 2\r\n\r\nhi"], "hi"),
    ],
    ids=["length", "until the end", "continue", "chunked", "nothing", "byte by byte"],
)
async def test_an_answer_is_read_to_its_end(steps: list[Step], text: str) -> None:
    assert (await ask(steps)).text == text


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        ([CUT], httpx.RemoteProtocolError),
        ([b"nonsense\r\n\r\n"], httpx.RemoteProtocolError),
        ([SHORT, CUT], httpx.RemoteProtocolError),
        (
            [OK + b"transfer-encoding: chunked\r\n\r\n", piece(b"hi"), CUT],
            httpx.RemoteProtocolError,
        ),
        ([SHORT, HOLD], httpx.ReadTimeout),
        ([HOLD], httpx.ReadTimeout),
    ],
    ids=["nothing", "no HTTP", "cut", "cut chunks", "stopped", "silent"],
)
async def test_what_breaks_off_is_an_error_of_httpx(
    steps: list[Step], kind: type[httpx.TransportError]
) -> None:
    with pytest.raises(kind):
        await ask(steps, read=0.1)


@pytest.mark.parametrize("headers", [{"x": "a\r\nb: c"}, {"x y": "z"}], ids=["value", "name"])
async def test_a_header_cannot_smuggle_in_another(headers: dict[str, str]) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        await ask([OK + b"content-length: 0\r\n\r\n"], headers=headers)


async def test_an_answer_that_nobody_asked_for_is_nobodys() -> None:
    first, second = (OK + b"content-length: 1\r\n\r\n" + said for said in (b"1", b"2"))
    with scripted([first + second], [OK + b"content-length: 1\r\n\r\n3"]) as server:
        async with httpx.AsyncClient(transport=Connection()) as http:
            texts = [(await http.post(server.url)).text for _ in range(2)]
        while server.open:
            await asyncio.sleep(0.001)
    assert texts == ["1", "3"]
    assert server.connections == 2


async def test_an_endless_head_is_refused() -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="too long"):
        await ask([OK + b"x: y\r\n" * 20_000, CUT])


async def test_nobody_there_is_an_error_of_httpx() -> None:
    async with httpx.AsyncClient(transport=Connection()) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get("http://127.0.0.1:1/")


async def test_a_body_without_a_length_is_sent_in_pieces() -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    received = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.readuntil(b"\r\n0\r\n\r\n"))
        writer.write(OK + b"content-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, httpx.AsyncClient(transport=Connection()) as http:
        port = server.sockets[0].getsockname()[1]
        await http.post(f"http://127.0.0.1:{port}/", content=parts())
    assert received.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_an_answer_that_nobody_reads_is_not_taken_in() -> None:
    flood = b"x" * 65536
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"\r\n")
        for _ in range(1000):
            writer.write(flood)
            await writer.drain()
            sent += len(flood)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, httpx.AsyncClient(transport=Connection()) as http:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with http.stream(GET, url) as response:
            before = -1
            while sent > before:
                before = sent
                await asyncio.sleep(0.02)
            # What is in the kernel's buffers counts as sent.
            assert sent < MOST_UNREAD + 20_000_000
            assert len(await response.aread()) == 1000 * len(flood)


# --- TLS -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for `localhost` together with its key, made by openssl."""
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    assert shutil.which("openssl"), "this test needs openssl"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    out = ["-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(["openssl", "req", "-x509", *key, *name, *out], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


async def over_tls(certificate: Path, trusted: ssl.SSLContext) -> str:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"content-length: 2\r\n\r\nhi")
        await writer.drain()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server, httpx.AsyncClient(transport=Connection(trusted)) as http:
        port = server.sockets[0].getsockname()[1]
        return (await http.get(f"https://localhost:{port}/")).text


Run = Callable[[Coroutine[Any, Any, str]], str]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_certificate_is_checked(run: Run, certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=certificate)
    assert run(over_tls(certificate, trusting)) == "hi"
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        run(over_tls(certificate, ssl.create_default_context()))
