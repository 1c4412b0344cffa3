"""The third door into the emulator: an HTTP/1.1 server on a thread, from the standard library."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from .exchange import Headers, Request, Response, Wait

if TYPE_CHECKING:
    from .core import Emulator

BASE_PATH = "/studio/v1"


class Server:
    """An emulator that listens on a port, from `start` to `close` or inside a `with` statement.

    Example:
        >>> from ai21_chains.emulator import Emulator
        >>> with Emulator().serve() as server:
        ...     print(server.base_url)  # doctest: +ELLIPSIS
        http://127.0.0.1:.../studio/v1

    Args:
        emulator: The emulator behind the door.
        host: The address to listen on.
        port: The port; 0 takes any free one.
    """

    def __init__(self, emulator: Emulator, host: str = "127.0.0.1", port: int = 0) -> None:
        self.emulator = emulator
        self._address = (host, port)
        self._http: _HTTPServer | None = None
        self._thread: Thread | None = None

    @property
    def base_url(self) -> str:
        """The base URL for clients, such as `http://127.0.0.1:8021/studio/v1`.

        Raises:
            RuntimeError: The server is not running.
        """
        if self._http is None:
            raise RuntimeError("the emulator's server is not running: use it in a `with` statement")
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}{BASE_PATH}"

    def start(self) -> Server:
        """Open the port and answer requests on a thread.

        Raises:
            OSError: The port is taken.
        """
        self._http = _HTTPServer(self._address, self.emulator)
        # The short poll only bounds how long `close` takes.
        self._thread = Thread(
            target=self._http.serve_forever, args=(0.01,), name="ai21-emulator", daemon=True
        )
        self._thread.start()
        return self

    def close(self) -> None:
        """Close the port and all connections, and wait for the threads to end."""
        if self._http is None or self._thread is None:
            return
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        self._http = self._thread = None

    def __enter__(self) -> Server:
        """Start the server."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the server."""
        self.close()


class _HTTPServer(ThreadingHTTPServer):
    # A burst of clients must fit into the queue of connections not yet accepted.
    request_queue_size = 1024
    # Threads are joined on close; a daemon thread would keep its socket open behind our back.
    daemon_threads = False

    def __init__(self, address: tuple[str, int], emulator: Emulator) -> None:
        self.emulator = emulator
        self.closing = Event()
        self._open: set[socket.socket] = set()
        self._lock = Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # The inherited method looks up the host's name, which can take seconds and is of no use.
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Wake every thread, whether it waits for a client or carries out a wait, and join them."""
        self.closing.set()
        with self._lock:
            for connection in self._open:
                # SHUT_RD would be enough for idle ones; a client that does not read needs both.
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client was faster
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away; anything else is a mistake worth seeing."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _HTTPServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Keep request lines off stderr; `Emulator.requests` has them."""

    def respond(self) -> None:
        """Hand the request to the emulator, and carry out what it answers."""
        path, _, query = self.path.partition("?")
        headers, body = Headers(self.headers.items()), self._read_body()
        request = Request(self.command, unquote(path), headers, body, query)
        response = self.server.emulator.handle(request)
        self.server.closing.wait(response.delay)
        if response.dropped or self.server.closing.is_set():
            self.close_connection = True
            return
        self._write(response)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = respond

    def _read_body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            continue

    def _write(self, response: Response) -> None:
        # The head travels with the first bytes of the body: one packet for a short answer.
        pending = self._head(response)
        frame = _chunk_frame if response.streamed else bytes
        steps = () if self.command == "HEAD" else response.steps
        for step in steps:
            if isinstance(step, bytes):
                self.wfile.write(pending + frame(step))
                pending = b""
                continue
            self.wfile.write(pending)
            pending = b""
            if not isinstance(step, Wait) or self.server.closing.wait(step.seconds):
                self.close_connection = True
                return
        if response.streamed and self.command != "HEAD":
            pending += b"0\r\n\r\n"
        self.wfile.write(pending)

    def _head(self, response: Response) -> bytes:
        lines = [f"HTTP/1.1 {response.status} {_phrase(response.status)}"]
        lines += [f"{name}: {value}" for name, value in response.headers]
        if response.streamed:
            lines.append("transfer-encoding: chunked")
        if self.close_connection:
            lines.append("connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _chunk_frame(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
