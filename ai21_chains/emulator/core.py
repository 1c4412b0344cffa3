"""The emulator itself: requests in, responses out, without sockets, sleeping or a clock."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from .brains import Brain, EmulatorError, Reply
from .completions import MAX_OUTPUT_TOKENS, completion, count_prompt_tokens, events, limited
from .exchange import Request, Response
from .extractive import extractive
from .faults import Fault
from .validation import CONTEXT_TOKENS, MODELS, check_chat_request, error

if TYPE_CHECKING:
    from .doors import ASGIApp, EmulatorTransport
    from .server import Server

logger = logging.getLogger(__name__)

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

    Attributes:
        requests: Every request seen so far, oldest first.
        faults: The faults still to come; it may be added to at any time.
    """

    def __init__(
        self,
        *,
        brain: Brain | Literal["extractive"] = "extractive",
        faults: Iterable[Fault] = (),
        api_keys: Collection[str] | None = None,
        new_id: Callable[[], UUID] = uuid.uuid4,
    ) -> None:
        self.requests: list[Request] = []
        self.faults: list[Fault] = list(faults)
        self._brain: Brain = extractive if brain == "extractive" else brain
        self._api_keys = api_keys
        self._new_id = new_id
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
        methods = ROUTES.get(request.path[prefix.end() :]) if prefix else None
        if methods is None:
            return _json(404, {"detail": "Not Found"})
        if request.method not in methods:
            allow = ("allow", ", ".join(methods))
            return _json(405, {"detail": "Method Not Allowed"}, allow)
        return methods[request.method](self, request)

    def _knows(self, request: Request) -> bool:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            return False
        return self._api_keys is None or key.strip() in self._api_keys

    def _chat(self, request: Request) -> Response:
        """Chat with a Jamba model: text, tools, documents, JSON mode, streams."""
        if not self._knows(request):
            return _json(401, {"detail": "Forbidden: Bad or missing Apikey/JWT."})
        detail = _unreadable(request.body) or check_chat_request(request.json)
        if detail:
            return _json(422, {"detail": detail})
        body = request.json
        prompt_tokens = count_prompt_tokens(body)
        if prompt_tokens > CONTEXT_TOKENS:
            text = f"Prompt has too many tokens: {prompt_tokens}, the limit is {CONTEXT_TOKENS}"
            return _json(422, {"detail": text})
        try:
            replies = [self._reply(body) for _ in range(body.get("n") or 1)]
        except EmulatorError as problem:
            return _json(400, {"detail": f"Emulator: {problem}"})
        except Exception as problem:
            # A brain is anybody's function; a served client must get an answer all the same.
            logger.exception("the emulator's brain failed")
            text = f"Emulator: the brain raised {type(problem).__name__}: {problem}"
            return _json(500, {"detail": text})
        if body.get("stream"):
            chunks = tuple(events(replies[0], prompt_tokens, self._new_id))
            return Response(200, (("content-type", "text/event-stream; charset=utf-8"),), chunks)
        return _json(200, completion(replies, prompt_tokens, self._new_id))

    def _reply(self, body: dict[str, Any]) -> Reply:
        reply = self._brain(body)
        return limited(Reply(reply) if isinstance(reply, str) else reply, body)

    def _models(self, request: Request) -> Response:
        """List the models; without a key the list is empty."""
        rows = list(_model_rows()) if self._knows(request) else []
        return _json(200, {"data": rows})


Handler = Callable[[Emulator, Request], Response]

ROUTES: dict[str, dict[str, Handler]] = {
    "/chat/completions": {"POST": Emulator._chat},
    "/models": {"GET": Emulator._models},
}
"""What is emulated, below the prefix: the path, the method, and what answers."""


def _unreadable(body: bytes) -> list[dict[str, Any]] | None:
    """Return why the body of a request is no JSON, in the words of FastAPI with pydantic 1."""
    if not body:
        return [error(("body",), "field required", "value_error.missing")]
    try:
        json.loads(body)
    except json.JSONDecodeError as problem:
        place = {"pos": problem.pos, "lineno": problem.lineno, "colno": problem.colno}
        context = {"msg": problem.msg, "doc": problem.doc, **place}
        return [error(("body", problem.pos), str(problem), "value_error.jsondecode", **context)]
    except UnicodeDecodeError:
        return [error(("body",), "value is not a valid dict", "type_error.dict")]
    return None


def _model_rows() -> Iterator[dict[str, Any]]:
    for model in MODELS:
        large = "large" in model
        prices = ("0.000002", "0.000008") if large else ("0.0000002", "0.0000004")
        yield {
            "id": model,
            "name": model.replace("-", " ").title(),
            "updated": "2025-07-01" if large else "2026-01-08",
            "context_length": CONTEXT_TOKENS,
            "quantization": "FP8",
            "max_completion_tokens": MAX_OUTPUT_TOKENS,
            "pricing": {"prompt": prices[0], "completion": prices[1]},
        }


def _json(status: int, body: Any, *headers: tuple[str, str]) -> Response:
    if not isinstance(body, bytes):
        body = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    length = ("content-length", str(len(body)))
    return Response(status, (length, ("content-type", "application/json"), *headers), (body,))
