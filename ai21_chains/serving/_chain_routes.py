"""Chains over HTTP, in LangServe's wire format and without LangServe.

`langserve.RemoteRunnable` calls them as it calls LangServe. What is different: a failure keeps the
status of its cause, rows of a batch can fail alone, what runs at once and what is sent at once is
bounded, and a client that hangs up ends its work upstream.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, TypeAlias, cast
from uuid import uuid4
from weakref import WeakKeyDictionary

from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import BaseModel, PydanticUserError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ai21_chains.errors import ConfigurationError
from ai21_chains.serving import _langserve_wire as wire
from ai21_chains.serving._aside import aside
from ai21_chains.serving._hangup import EventStream, HungUp, unless_hung_up
from ai21_chains.serving._refusals import Refused

__all__ = ["chain_routes"]

_JSON = "application/json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that went; nobody receives it but logs and metrics."""

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
Configs: TypeAlias = Mapping[str, Any] | None
Admit: TypeAlias = Callable[[Request, bytes, int], Awaitable[None]]
"""Lets so many runs of a chain begin, which came in one body, or raises."""


class _NotAdmitted(Exception):
    """It is answered where it was decided, in the form of all that is refused there."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(reason)
        self.reason = reason


def chain_routes(
    chains: Mapping[str, Runnable[Any, Any]],
    *,
    max_concurrency: int = 64,
    max_batch: int = 100,
    max_body_bytes: int = 10_000_000,
    configurable: Collection[str] = (),
) -> list[BaseRoute]:
    """Make routes that serve chains: `/NAME/{invoke,batch,stream,input_schema,output_schema}`.

    They belong in any Starlette or FastAPI application, best under a prefix, and are called by
    `langserve.RemoteRunnable` or by any client that speaks JSON over HTTP. They ask for no key:
    put a middleware in front where others can reach them.

    `POST invoke` takes `{"input": …}` and answers `{"output": …, "metadata": {"run_id": …}}`.
    `POST batch` takes `{"inputs": […]}` and answers with a list under `output`, or as its first
    failed row does. With `"return_exceptions": true` in the request the others are answered: a
    failed row is null, and `errors` has its `index`, `status_code`, `message` and perhaps
    `retry_after`. `POST stream` sends server-sent events: `metadata`, `data` for each piece,
    `error` (like an item of `errors`, without the index) if it fails, and `end`.

    A body that does not fit is answered 422 with FastAPI's list of problems under `detail`; what
    fails later with the status of its cause and one line under `detail`: 429 with `Retry-After`
    when AI21 is overloaded, 502 when it refuses the server's own key, 504 when it is too slow.

    Of the `config` that clients send only `configurable` is read, and only as far as it is allowed
    here; `kwargs` are refused.

    Args:
        chains: The chains by name.
        max_concurrency: Most chains that run at once, and most requests to the model at once that
            each of them makes; further ones wait.
        max_batch: Most inputs of a batch.
        max_body_bytes: Longest request body; a longer one is answered 413.
        configurable: Names of configurable fields that clients may set.

    Raises:
        ConfigurationError: A name cannot stand in an address, or a limit is less than 1.

    Example:
        >>> from ai21_chains import ChatAI21, Emulator, create_grounded_qa_chain
        >>> from ai21_chains.serving import chain_routes
        >>> from starlette.applications import Starlette
        >>> from starlette.testclient import TestClient
        >>> import httpx
        >>> http = httpx.AsyncClient(transport=Emulator().transport())
        >>> model = ChatAI21(api_key="any", http_async_client=http)
        >>> app = Starlette(routes=chain_routes({"qa": create_grounded_qa_chain(model)}))
        >>> asked = {"question": "When does it open?", "documents": ["The museum opens at ten."]}
        >>> answer = TestClient(app).post("/qa/invoke", json={"input": asked}).json()
        >>> answer["output"]["answer"]
        'The museum opens at ten. [1]'
    """
    limits = Limits(max_concurrency, max_body_bytes, max_batch, frozenset(configurable))
    return limited_routes(chains, limits)


def limited_routes(chains: Mapping[str, Runnable[Any, Any]], limits: Limits) -> list[BaseRoute]:
    """Make the routes of `chain_routes`, within limits."""
    return [route for name, chain in chains.items() for route in _routes(name, chain, limits)]


async def _everything(request: Request, body: bytes, runs: int) -> None:
    """Let everything begin."""


@dataclass(frozen=True)
class Limits:
    """What all chains share; the arguments of `chain_routes`, and who may ask what.

    Attributes:
        admit: Is asked before chains run for a request.
    """

    max_concurrency: int
    max_body_bytes: int
    max_batch: int = 100
    configurable: frozenset[str] = frozenset()
    admit: Admit = _everything
    _turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = field(
        default_factory=WeakKeyDictionary
    )

    def __post_init__(self) -> None:
        for name in ("max_concurrency", "max_batch", "max_body_bytes"):
            if (size := getattr(self, name)) < 1:
                raise ConfigurationError(f"chain_routes: {name} must be 1 or more, got {size}")

    def turn(self) -> asyncio.Semaphore:
        """Return what lets so many chains run at once; each event loop has its own."""
        loop = asyncio.get_running_loop()
        if loop not in self._turns:
            self._turns[loop] = asyncio.Semaphore(self.max_concurrency)
        return self._turns[loop]

    def config(self, given: Configs) -> RunnableConfig:
        """Return what a chain is run with, and no more of what the client wants than it may."""
        config = RunnableConfig(run_id=uuid4(), max_concurrency=self.max_concurrency)
        wanted = (given or {}).get("configurable")
        if self.configurable and isinstance(wanted, Mapping):
            config["configurable"] = {k: wanted[k] for k in self.configurable & wanted.keys()}
        return config

    async def body(self, request: Request) -> bytes:
        """Return the body of a request, unless it is too long or may come from a page's form."""
        kind, _, _ = request.headers.get("content-type", "").partition(";")
        if kind.strip().lower() != _JSON:
            # Other types may be sent from any page in the web to a server on the user's machine.
            raise Refused("Send JSON, with the header Content-Type: application/json", status=415)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self.max_body_bytes:
                problem = f"The body may be {self.max_body_bytes} bytes long (max_body_bytes)"
                raise Refused(problem, status=413)
        return bytes(body)


def _routes(name: str, chain: Runnable[Any, Any], limits: Limits) -> list[BaseRoute]:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"chain_routes: the name {name!r} must consist of letters, digits, '_', '.' and '-'"
        )
    served = _Served(chain, cast(type[BaseModel], chain.get_input_schema()), limits)
    schemas = {
        "input_schema": chain.get_input_jsonschema,
        "output_schema": chain.get_output_jsonschema,
    }
    calls = {"invoke": served.invoke, "batch": served.batch, "stream": served.stream}
    return [
        *(Route(f"/{name}/{call}", _answering(calls[call]), methods=["POST"]) for call in calls),
        *(Route(f"/{name}/{kind}", _showing(schemas[kind])) for kind in schemas),
    ]


@dataclass(frozen=True)
class _Served:
    """A chain, and what clients may do with it."""

    chain: Runnable[Any, Any]
    form: type[BaseModel]
    limits: Limits

    async def invoke(self, request: Request) -> Response:
        """Run the chain once."""
        value, config = await self._admitted(request)
        output = await unless_hung_up(request.receive, self._run(value, config))
        return _json({"output": output, "metadata": {"run_id": config.get("run_id")}})

    async def batch(self, request: Request) -> Response:
        """Run the chain once for each row."""
        body = await self.limits.body(request)
        batch = await aside(len(body), self._read_batch, body)
        await self._admit(request, body, len(batch.values) or 1)
        indexed = zip(range(len(batch.values)), batch.values, batch.configs, strict=True)
        rows = [self._row(*row) for row in indexed]
        answer = await unless_hung_up(
            request.receive, _apart(rows) if batch.apart else _together(rows)
        )
        ids = [config.get("run_id") for config in batch.configs]
        metadata = {"run_ids": ids, "responses": [{"run_id": one} for one in ids]}
        return _json({**answer, "metadata": metadata})

    async def stream(self, request: Request) -> Response:
        """Run the chain once and send the pieces of its result."""
        return EventStream(self._events(*await self._admitted(request)))

    async def _admitted(self, request: Request) -> tuple[Any, RunnableConfig]:
        """Return the input of one run, and its configuration."""
        body = await self.limits.body(request)
        value, config = await aside(len(body), self._read, body)
        await self._admit(request, body, 1)
        return value, config

    async def _admit(self, request: Request, body: bytes, runs: int) -> None:
        try:
            await self.limits.admit(request, body, runs)
        except Exception as error:
            raise _NotAdmitted(error) from error

    def _read(self, body: bytes) -> tuple[Any, RunnableConfig]:
        asked = wire.read_body(wire.Invocation, body)
        value = wire.read_value(self.form, asked.input, ("body", "input"))
        return value, self.limits.config(asked.config)

    def _read_batch(self, body: bytes) -> _Batch:
        asked = wire.read_body(wire.Batch, body)
        if len(asked.inputs) > self.limits.max_batch:
            problem = f"A batch may have {self.limits.max_batch} inputs (max_batch)"
            raise wire.Unprocessable.at(("body", "inputs"), problem, kind="too_long")
        values = [self._checked(index, value) for index, value in enumerate(asked.inputs)]
        wrong = next((one for one in values if isinstance(one, wire.Unprocessable)), None)
        if wrong and not asked.return_exceptions:
            raise wrong
        configs = [self.limits.config(config) for config in asked.configs()]
        return _Batch(values, configs, asked.return_exceptions)

    def _checked(self, index: int, value: Any) -> Any:
        try:
            return wire.read_value(self.form, value, ("body", "inputs", index))
        except wire.Unprocessable as error:
            return error

    async def _run(self, value: Any, config: RunnableConfig) -> Any:
        async with self.limits.turn():
            return await self.chain.ainvoke(value, config)

    async def _row(self, index: int, value: Any, config: RunnableConfig) -> Any:
        try:
            if isinstance(value, wire.Unprocessable):
                raise value
            return await self._run(value, config)
        except Exception as error:
            raise wire.RowError(index, error) from error

    async def _events(self, value: Any, config: RunnableConfig) -> AsyncGenerator[bytes]:
        yield wire.event("metadata", {"run_id": config.get("run_id")})
        try:
            pieces = cast(AsyncGenerator[Any], self.chain.astream(value, config))
            async with self.limits.turn(), aclosing(pieces):
                async for piece in pieces:
                    yield wire.event("data", piece)
        except Exception as error:
            yield wire.event("error", wire.noted(error).as_data())
        yield wire.event("end")


class _Batch(NamedTuple):
    """The rows of a batch: what to run the chain with, or why it cannot be run."""

    values: Sequence[Any]
    configs: Sequence[RunnableConfig]
    apart: bool
    """Whether a row may fail alone."""


async def _together(rows: Iterable[Coroutine[Any, Any, Any]]) -> dict[str, Any]:
    """Run rows; when one fails, all do."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(row) for row in rows]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return {"output": [task.result() for task in tasks]}


async def _apart(rows: Iterable[Coroutine[Any, Any, Any]]) -> dict[str, Any]:
    """Run rows, and say of each that failed why."""
    done = await asyncio.gather(*rows, return_exceptions=True)
    errors = [row for row in done if isinstance(row, wire.RowError)]
    return {
        "output": [None if isinstance(row, wire.RowError) else row for row in done],
        "errors": [{"index": row.index, **wire.noted(row).as_data()} for row in errors],
    }


def _answering(handler: Handler) -> Handler:
    async def endpoint(request: Request) -> Response:
        try:
            return await handler(request)
        except (HungUp, ClientDisconnect):
            return Response(status_code=_CLIENT_CLOSED_REQUEST)
        except _NotAdmitted as refused:
            raise refused.reason from None
        except Exception as error:
            said = wire.noted(error)
            return _json({"detail": said.detail}, said.status, said.headers)

    return endpoint


def _described(describe: Callable[[], Mapping[str, Any]]) -> bytes:
    try:
        return wire.dump(describe())
    except PydanticUserError:
        return b"{}"  # a type that JSON Schema has no words for may be anything


def _showing(describe: Callable[[], Mapping[str, Any]]) -> Handler:
    described = cache(lambda: _described(describe))  # takes some 20 ms, and few ever ask

    async def endpoint(request: Request) -> Response:
        return Response(described(), media_type=_JSON)

    return endpoint


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(wire.dump(value), status, headers, media_type=_JSON)
