"""LangServe's client, unchanged, on LangServe and on our own routes: each chain, every call."""

import asyncio
import functools
import operator
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from langchain_core.documents import Document
from langserve import RemoteRunnable
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.routing import Mount

from ai21_chains import Emulator, create_grounded_qa_chain
from ai21_chains.emulator import Fault
from ai21_chains.serving import chain_routes
from ai21_chains.serving.langserve import add_ai21_routes
from tests.serving.apps import ASKED, INPUTS, model_on, ready_made, serving

pytestmark = pytest.mark.filterwarnings(
    # LangServe asks instances of pydantic models for their fields.
    "ignore:Accessing the 'model_fields' attribute:pydantic.warnings.PydanticDeprecatedSince211",
)

CHAINS = ready_made(model_on(Emulator()))


ODD = "The museum opens\u2028at\x85ten\u2029."
"""Characters at which httpx ends a line."""


OVERLOADED = create_grounded_qa_chain(
    model_on(Emulator(faults=[Fault(status=429, headers={"Retry-After": "7"}, times=None)]))
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    langserve = FastAPI()
    for name, chain in CHAINS.items():
        add_ai21_routes(langserve, chain, path=f"/{name}")
    add_ai21_routes(langserve, OVERLOADED, path="/overloaded")
    ours = Mount("/ours", routes=chain_routes({**CHAINS, "overloaded": OVERLOADED}))
    with serving(Starlette(routes=[ours, Mount("/langserve", app=langserve)])) as url:
        yield url


@pytest.fixture(params=["langserve", "ours"])
def server(request: pytest.FixtureRequest, address: str) -> str:
    return f"{address}/{request.param}"


@pytest.fixture(params=list(CHAINS))
async def called(
    request: pytest.FixtureRequest, server: str
) -> AsyncIterator[tuple[RemoteRunnable[Any, Any], Any, Any]]:
    """A chain behind a server, an input for it, and what it returns here."""
    name = request.param
    async with client(f"{server}/{name}") as remote:
        yield remote, INPUTS[name], CHAINS[name].invoke(INPUTS[name])


async def test_a_chain_far_away_answers_as_it_does_here(
    called: tuple[RemoteRunnable[Any, Any], Any, Any],
) -> None:
    remote, asked, expected = called

    def in_a_thread() -> list[Any]:
        pieces = list(remote.stream(asked))
        return [
            remote.invoke(asked),
            *remote.batch([asked, asked]),
            functools.reduce(operator.add, pieces),
        ]

    answers = await asyncio.to_thread(in_a_thread)
    answers += [await remote.ainvoke(asked), *await remote.abatch([asked, asked])]
    pieces = [piece async for piece in remote.astream(asked)]
    answers.append(functools.reduce(operator.add, pieces))

    assert len(answers) == 8
    for answer in answers:
        assert _as_data(answer) == _as_data(expected)


async def test_no_character_breaks_a_stream(server: str) -> None:
    async with client(f"{server}/grounded_qa") as remote:
        asked = {"question": "When does it open?", "documents": [ODD]}
        pieces = [piece async for piece in remote.astream(asked)]

    assert pieces[0]["documents"] == [Document(ODD)]


async def test_overload_is_seen_as_such(server: str) -> None:
    async with client(f"{server}/overloaded") as remote:
        with pytest.raises(httpx.HTTPStatusError) as invoked:
            await remote.ainvoke(ASKED)
        with pytest.raises(httpx.HTTPStatusError) as batched:
            await remote.abatch([ASKED])

    for error in (invoked, batched):
        assert error.value.response.status_code == 429
        assert error.value.response.headers["retry-after"] == "7"


async def test_a_stream_of_ours_fails_with_the_status_of_its_cause(address: str) -> None:
    async with client(f"{address}/ours/overloaded") as remote:
        with pytest.raises(httpx.HTTPStatusError, match="AI21 limits the rate") as streamed:
            _ = [piece async for piece in remote.astream(ASKED)]

    assert streamed.value.response.status_code == 429


@asynccontextmanager
async def client(url: str) -> AsyncIterator[RemoteRunnable[Any, Any]]:
    remote = RemoteRunnable[Any, Any](url, verify=False)
    try:
        yield remote
    finally:
        remote.sync_client.close()
        await remote.async_client.aclose()


def _as_data(result: Any) -> Any:
    if isinstance(result, BaseModel) and not isinstance(result, Document):
        result = dict(result)
    if isinstance(result, dict):
        return {name: _as_data(value) for name, value in result.items()}
    return [_as_data(item) for item in result] if isinstance(result, list) else result
