"""The page for people: what is served, what was used today, and a box to try it.

Its files are read once and need nothing from elsewhere. Whoever can reach the server can see them;
what they show is asked for with the key of the one who looks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ai21_chains.serving._service import CHAIN, Service
from ai21_chains.serving.config import ServerConfig

if TYPE_CHECKING:
    from ai21_chains.serving._keys_records import Spend

_FILES = {
    "/": ("index.html", "text/html"),
    "/page/page.css": ("page.css", "text/css"),
    "/page/page.js": ("page.js", "text/javascript"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}

_HEADERS = {
    "Cache-Control": "no-cache",  # a browser may keep it, and asks by its ETag whether it is new
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def page_routes(service: Service) -> list[BaseRoute]:
    """Return the routes of the page: its files, and `/page/status`.

    Args:
        service: What is served.
    """

    async def status(request: Request) -> Response:
        caller = await request.state.visit.identify(request, "/page")
        # Clients with keys of their own do not see what others use.
        whose = None if caller.id in {"master", "open"} else caller.id
        usage = [_row(one) for one in await service.keys.today(whose)]
        answer = {**_served(service.config, caller.models), "usage": usage}
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})

    shown = [Route(path, _showing(*file)) for path, file in _FILES.items()]
    return [*shown, Route("/page/status", status)]


def _served(config: ServerConfig, allowed: frozenset[str] | None) -> dict[str, Any]:
    chains = [
        {"name": one.name, "kind": one.kind, "documents": one.documents is not None}
        for one in config.chains
        if allowed is None or CHAIN + one.name in allowed
    ]
    models = [one for one in config.models if allowed is None or one in allowed]
    return {"models": models, "chains": chains}


def _row(spend: Spend) -> dict[str, Any]:
    return {**asdict(spend), "cost_usd": f"{spend.cost_usd:f}"}


def _showing(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def show(request: Request) -> Response:
        request.state.visit.route = "/page"
        body, tag = _read(name)
        headers = {**_HEADERS, "ETag": tag}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=media_type)

    return show


@cache
def _read(name: str) -> tuple[bytes, str]:
    """Return a file of the page and its ETag."""
    body = (files("ai21_chains.serving") / "page" / name).read_bytes()
    return body, f'"{sha256(body).hexdigest()[:16]}"'
