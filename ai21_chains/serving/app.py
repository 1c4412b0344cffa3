"""The server as an ASGI application: OpenAI's endpoints, the chains, health and figures."""

from __future__ import annotations

import asyncio
import logging
from functools import cache
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ai21_chains.errors import AI21Error
from ai21_chains.serving._metrics import CONTENT_TYPE, Metrics
from ai21_chains.serving._middleware import Accounts, BodyLimit
from ai21_chains.serving._openai_routes import openai_routes
from ai21_chains.serving._page import page_routes
from ai21_chains.serving._refusals import Refused
from ai21_chains.serving._service import CHAIN, Keys, Service
from ai21_chains.serving._visits import Load, Visit, request_id
from ai21_chains.serving.config import ServerConfig, load_config

__all__ = ["Gateway", "create_app"]

_log = logging.getLogger("ai21_chains.serving")


def create_app(config: ServerConfig | str | Path | None = None) -> Gateway:
    """Make the server as an ASGI application.

    It has OpenAI's endpoints (`/v1/chat/completions`, `/v1/completions`, `/v1/models`, also without
    `/v1`), the chains (`/chains/NAME/invoke`, `batch`, `stream`, …, and `model: chain/NAME`),
    `/health`, `/metrics` and `/openapi.json`, and a page for people at `/`. Any ASGI server runs
    it, and it can be mounted in another application; what it needs is opened with the first
    request, if not before.

    Args:
        config: What is served; a path to a file like LiteLLM's `config.yaml`; or None for all
            models that AI21 serves, with the key in `AI21_API_KEY` or on the embedded emulator.

    Raises:
        ConfigurationError: The configuration cannot be read, or says something that cannot be.

    Example:
        >>> from ai21_chains import Emulator
        >>> from ai21_chains.serving import Deployment, ServerConfig, create_app
        >>> from starlette.testclient import TestClient
        >>> config = ServerConfig(
        ...     deployments=(Deployment(name="mini", model="jamba-mini"),),
        ...     emulator=Emulator(brain=lambda request: "Hello."),
        ... )
        >>> http = TestClient(create_app(config))
        >>> asked = {"model": "mini", "messages": [{"role": "user", "content": "Hi"}]}
        >>> answer = http.post("/v1/chat/completions", json=asked).json()
        >>> answer["choices"][0]["message"]["content"]
        'Hello.'
    """
    return Gateway(config if isinstance(config, ServerConfig) else load_config(config))


class Gateway:
    """The application. What it serves can be exchanged while it runs.

    Args:
        config: What is served.

    Attributes:
        draining: Whether it has been told to end: `/health/readiness` says so, and connections are
            closed after their answers.
    """

    def __init__(self, config: ServerConfig) -> None:
        self.draining = False
        self._metrics = Metrics()
        self._load = Load()
        self._service, self._app = self._made(config)
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def config(self) -> ServerConfig:
        """What is served now."""
        return self._service.config

    @property
    def keys(self) -> Keys:
        """Who is let in, and what was used."""
        return self._service.keys

    async def open(self) -> None:
        """Open what is needed; the first request does so otherwise.

        Raises:
            AI21Error: The database cannot be opened, or a chain cannot be made as it is configured.
        """
        await self._service.open()

    async def close(self) -> None:
        """Finish what has begun, and write what is not written yet."""
        await asyncio.gather(self._service.close(), *self._closing)

    async def reload(self, config: ServerConfig) -> None:
        """Serve something else from now on; what has begun is finished as it was.

        Args:
            config: What to serve.

        Raises:
            AI21Error: It cannot be; all stays as it was.
        """
        service, app = self._made(config)
        await service.open()
        before = self._service
        self._service, self._app = service, app
        closing = asyncio.create_task(before.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._visit(scope, receive, send)
        else:
            raise NotImplementedError(f"this application speaks HTTP, not {scope['type']}")

    async def _visit(self, scope: Scope, receive: Receive, send: Send) -> None:
        service, app = self._service, self._app
        scope["app"] = self  # Starlette's routes then raise what they would answer in their own way
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        visit = Visit(service, request_id(given))
        service.visits += 1
        accounts: ASGIApp = Accounts(app, visit, closing=self.draining)
        if service.config.cors_origins:
            # Around all the rest: a page is to read what went wrong, too.
            accounts = _with_cors(accounts, service.config)
        try:
            await accounts(scope, receive, send)
        finally:
            service.visits -= 1

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.open()
        except AI21Error as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})

    def _made(self, config: ServerConfig) -> tuple[Service, ASGIApp]:
        service = Service(config, self._metrics, self._load)
        return service, _application(self, service)

    # --- Operation ---------------------------------------------------------------------------

    async def health(self, request: Request) -> Response:
        """Answer `GET /health`: what is served, and how the deployments do. Asks nobody else."""
        request.state.visit.route = "/health"
        service = self._service
        now = service.router.clock()
        models = {
            name: {
                "deployments": len(group.places),
                "resting": sum(one.resting_until > now for one in group.places),
            }
            for name, group in service.router.groups.items()
        }
        return JSONResponse(
            {
                "status": "draining" if self.draining else "ok",
                "emulated": service.config.emulated,
                "models": models,
                "chains": [one.name for one in service.config.chains],
                "in_flight": self._load.count,
            }
        )

    async def alive(self, request: Request) -> Response:
        """Answer `GET /health/liveliness`."""
        request.state.visit.route = "/health"
        return JSONResponse({"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """Answer `GET /health/readiness`: 503 once the server is to end. Asks nobody else."""
        request.state.visit.route = "/health"
        if self.draining:
            return JSONResponse({"status": "draining"}, 503)
        return JSONResponse({"status": "ready"})

    async def reachable(self, request: Request) -> Response:
        """Answer `GET /ready`: 503 also while no upstream server can be reached."""
        if not self.draining and not await self._service.is_reachable():
            request.state.visit.route = "/health"
            return JSONResponse({"status": "upstream unreachable"}, 503)
        return await self.ready(request)


def _application(gateway: Gateway, service: Service) -> ASGIApp:
    routes: list[BaseRoute] = [
        *openai_routes(service),
        *page_routes(service),
        Route("/health", gateway.health),
        Route("/health/liveliness", gateway.alive),
        Route("/health/liveness", gateway.alive),
        Route("/health/readiness", gateway.ready),
        Route("/ready", gateway.reachable),
        Route("/metrics", _figures(service)),
        Route("/openapi.json", _described(service)),
        Mount("/chains", _Chains(service)),
    ]
    most = service.config.max_body_bytes
    return BodyLimit(Router(routes, redirect_slashes=False), most=most)


def _with_cors(app: ASGIApp, config: ServerConfig) -> ASGIApp:
    from starlette.middleware.cors import CORSMiddleware

    return CORSMiddleware(
        app,
        allow_origins=list(config.cors_origins),
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "X-Api-Key", "X-Request-Id"],
        expose_headers=["X-Request-Id", "Retry-After", "X-AI21-Chains-Dropped-Params"],
    )


def _figures(service: Service) -> Any:
    async def metrics(request: Request) -> Response:
        caller = await request.state.visit.identify(request, "/metrics")
        if caller.id not in {"master", "open"}:
            raise Refused("Only the master key may see the figures", status=403)
        return Response(service.metrics.page(), media_type=CONTENT_TYPE)

    return metrics


def _described(service: Service) -> Any:
    @cache
    def content() -> bytes:
        # Made when somebody asks for it, in some 20 ms.
        from ai21_chains.serving._openapi import description

        return description(service.config)

    async def openapi(request: Request) -> Response:
        request.state.visit.route = "/openapi.json"
        return Response(content(), media_type="application/json")

    return openapi


class _Chains:
    """The chains' own routes, made when the first of them is called."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit: Visit = scope["state"]["visit"]
        request = Request(scope, receive)
        caller = await visit.identify(request, "/chains")
        name = scope["path"].removeprefix(scope.get("root_path", "")).split("/")[1:2]
        model = CHAIN + "".join(name)
        if model not in self._service.names:
            raise HTTPException(404)
        if scope["method"] == "POST":
            visit.model = model  # and is admitted when it is known how many rows it has
        elif caller.models is not None and model not in caller.models:
            raise HTTPException(404)
        if self._app is None:
            answers = await self._service.chain_answers()
            self._app = await answers.chain_app(self._service)
        await self._app(scope, receive, send)
