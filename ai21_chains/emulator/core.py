"""The emulator itself: requests in, responses out, without sockets, sleeping or a clock."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast
from uuid import UUID

from . import batches, chat, jurassic, library, maestro, models
from .brains import Brain, BrainError, EmulatorError, Reply
from .completions import limited
from .exchange import Request, Response
from .extractive import extractive
from .faults import Fault
from .routes import Routes, find, refusal

if TYPE_CHECKING:
    from .doors import ASGIApp, EmulatorTransport
    from .server import Server

logger = logging.getLogger(__name__)

Era = Literal["2024", "2026"]

FAMILIES: dict[Era, tuple[ModuleType, ...]] = {
    "2024": (chat, jurassic),
    "2026": (
        chat,
        models,
        maestro,
        library,
        batches,
    ),
}
"""The families of endpoints of each era: modules with `ROUTES`, and perhaps `BODIES`."""

State = TypeVar("State")

_PREFIX = re.compile(r"(?:.*/studio)?/v1(?=/)")


class Emulator:
    """AI21's HTTP API in process, for tests and for demos without a key.

    One emulator can be entered through several doors at once: `transport`, `app` and `serve`. It is
    thread-safe.

    Example:
        >>> import httpx
        >>> emulator = Emulator(brain=lambda request: "Hello from the emulator.")
        >>> http = httpx.Client(transport=emulator.transport())
        >>> answer = http.post(
        ...     "https://api.ai21.com/studio/v1/chat/completions",
        ...     headers={"Authorization": "Bearer anything"},
        ...     json={"model": "jamba-mini", "messages": [{"role": "user", "content": "Hi"}]},
        ... )
        >>> answer.json()["choices"][0]["message"]["content"]
        'Hello from the emulator.'

    Args:
        brain: What the model says: a function from the request's JSON to a `Reply` or a text, or
            "extractive", a deterministic program that answers from the documents in the request.
        faults: What goes wrong with the coming requests, in order.
        api_keys: The keys that are let in; None lets in any key that is not empty.
        new_id: Makes the ids of answers and tool calls; for tests that compare whole bodies.
        era: Which server is played: "2026" is today's; "2024" is that of autumn 2024, which knows
            Jurassic-2 and the first Jamba models, and nothing that came later.
        pending_looks: How often work that takes time, such as a Maestro run, is seen in progress
            before it is seen to have ended.
        keep_requests: How many requests to keep in `requests`, the latest ones; None for all. A
            server that runs for long keeps none. Of Maestro's runs the last 10,000 are kept, of
            batches the last 100, of files 1 GB.

    Attributes:
        requests: The requests seen so far, oldest first.
        faults: The faults still to come; it may be added to at any time.
        new_id: Makes ids.
        era: Which server is played.
        pending_looks: How often work that takes time is seen in progress.
    """

    def __init__(
        self,
        *,
        brain: Brain | Literal["extractive"] = "extractive",
        faults: Iterable[Fault] = (),
        api_keys: Collection[str] | None = None,
        new_id: Callable[[], UUID] = uuid.uuid4,
        era: Era = "2026",
        pending_looks: int = 0,
        keep_requests: int | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self._keep_requests = keep_requests
        self.faults: list[Fault] = list(faults)
        self._brain: Brain = extractive if brain == "extractive" else brain
        self._api_keys = api_keys
        self.new_id = new_id
        self.era = era
        self.pending_looks = pending_looks
        self._states: dict[object, object] = {}
        self._lock = Lock()

    def transport(self) -> EmulatorTransport:
        """Return a transport for `httpx.Client` and `httpx.AsyncClient`."""
        from .doors import EmulatorTransport

        return EmulatorTransport(self)

    def app(self) -> ASGIApp:
        """Return the emulator as an ASGI application."""
        from .doors import asgi_app

        return asgi_app(self)

    def serve(self, *, host: str = "127.0.0.1", port: int = 0) -> AbstractContextManager[Server]:
        """Return a server on a thread of its own, to be used in a `with` statement.

        Args:
            host: The address to listen on.
            port: The port; 0 takes any free one.
        """
        from .server import Server

        return Server(self, host, port)

    def handle(self, request: Request) -> Response:
        """Answer one request; this is all that the doors use.

        Args:
            request: The request as it came through a door.

        Returns:
            The plan of the response, with the damage of the fault that is due.
        """
        with self._lock:
            self.requests.append(request)
            if self._keep_requests is not None:
                del self.requests[: max(0, len(self.requests) - self._keep_requests)]
            fault = self._due_fault(request.path)
        if fault is None:
            return self._route(request)
        return fault.damage(fault.answer() if fault.answers else self._route(request))

    def _due_fault(self, path: str) -> Fault | None:
        for index, fault in enumerate(self.faults):
            if path.endswith(fault.path):
                left = fault.spent()
                self.faults[index : index + 1] = [] if left is None else [left]
                return fault
        return None

    def _route(self, request: Request) -> Response:
        prefix = _PREFIX.match(request.path)
        found = find(ROUTES[self.era], request.path[prefix.end() :]) if prefix else None
        if found is None:
            return refusal(404, "Not Found")
        methods, values = found
        if request.method not in methods:
            return refusal(405, "Method Not Allowed", ("allow", ", ".join(methods)))
        try:
            return methods[request.method](self, request, **values)
        except EmulatorError as problem:
            return refusal(problem.status, f"Emulator: {problem}")

    def knows(self, request: Request) -> bool:
        """Whether a request came with a key that is let in.

        Args:
            request: The request.
        """
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            return False
        return self._api_keys is None or key.strip() in self._api_keys

    def ask(self, body: dict[str, Any]) -> Reply:
        """Ask the brain, and cut what it says at the request's stop words and `max_tokens`.

        Args:
            body: The JSON of a chat request.

        Raises:
            EmulatorError: The brain has no answer.
        """
        try:
            reply = self._brain(body)
        except EmulatorError:
            raise
        except Exception as problem:
            # A brain is anybody's function; a served client must get an answer all the same.
            logger.exception("the emulator's brain failed")
            raise BrainError(f"the brain raised {type(problem).__name__}: {problem}") from problem
        return limited(Reply(reply) if isinstance(reply, str) else reply, body)

    def state(self, kind: Callable[[], State]) -> State:
        """Return this emulator's one object of a class, made when it is first asked for.

        A family of endpoints keeps here what it has to remember from one request to the next.

        Args:
            kind: The class.
        """
        with self._lock:
            if kind not in self._states:
                self._states[kind] = kind()
            return cast(State, self._states[kind])


ROUTES: dict[Era, Routes] = {
    era: {path: methods for family in families for path, methods in family.ROUTES.items()}
    for era, families in FAMILIES.items()
}
"""What is emulated, below the prefix: the path, the method, and what answers."""
