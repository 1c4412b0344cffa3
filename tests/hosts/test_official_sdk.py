"""AI21's own SDK asks the same servers: what it sends to Bedrock and Vertex, ours sends too.

boto3, which the SDK imports for its `Session` alone, is not needed here: its place is taken by a
module with that one name.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from ai21 import AI21VertexClient, AsyncAI21VertexClient
from ai21.models.chat import ChatMessage
from botocore.credentials import Credentials

from ai21_chains import ChatAI21
from ai21_chains.hosts import Bedrock, Vertex
from tests.servers import aws, vertex
from tests.servers.scripted import Received, ScriptedServer, scripted

pytestmark = pytest.mark.filterwarnings(  # the SDK's way to call httpx, and itself
    "ignore:Use 'content=:DeprecationWarning", "ignore:The 'from_dict' method:DeprecationWarning"
)

SAID = [ChatMessage(role="user", content="Hi")]
KEYS = Credentials("AK", "secret", "token")


@pytest.fixture
def amazon(monkeypatch) -> Iterator[ScriptedServer]:
    boto3 = ModuleType("boto3")
    boto3.Session = SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "boto3", boto3)
    account = aws.Account()
    account.add("AK", "secret", "token")
    with scripted(account) as server:
        yield server


def session() -> Any:
    return SimpleNamespace(
        get_credentials=lambda: KEYS,
        region_name="us-east-1",
        get_config_variable={"region": "us-east-1"}.get,
    )


def bedrock_sdk(server: ScriptedServer, http: httpx.Client) -> Any:
    from ai21.clients.bedrock.ai21_bedrock_client import AI21BedrockClient

    return AI21BedrockClient(
        base_url=address(server), region="us-east-1", session=session(), http_client=http
    )


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(verify=False) as client:
        yield client


def address(server: ScriptedServer) -> str:
    return f"http://127.0.0.1:{server.port}"


def essence(request: Received) -> tuple[Any, ...]:
    signed = request.header("authorization")[0].partition("SignedHeaders")[0]
    return request.method, unquote(request.target), request.body, signed


@pytest.mark.parametrize("stream", [False, True])
def test_bedrock_gets_the_same_from_the_sdk_and_from_us(amazon, http, stream: bool) -> None:
    sdk = bedrock_sdk(amazon, http).chat.completions
    answer = sdk.create(
        model=aws.MINI, messages=SAID, stream=stream, max_tokens=10, temperature=0.5, top_p=0.9
    )
    if stream:
        answer = "".join(chunk.choices[0].delta.content or "" for chunk in answer)
    else:
        answer = answer.choices[0].message.content
    host = Bedrock(session=session(), endpoint=address(amazon))
    model = ChatAI21(
        model=aws.MINI, host=host, streaming=stream, max_tokens=10, temperature=0.5, top_p=0.9
    )

    assert model.invoke("Hi").content == answer == "Hello"
    first, second = map(essence, amazon.requests)
    assert first == second
    assert first[1].endswith("/invoke-with-response-stream" if stream else "/invoke")


@pytest.mark.parametrize("stream", [False, True])
def test_vertex_gets_the_same_from_the_sdk_and_from_us(http, stream: bool) -> None:
    google = vertex.Google(taken={"token-0123456789"}, projects=("team-a",))
    with scripted(google) as server:
        sdk = AI21VertexClient(
            base_url=f"{address(server)}/v1",
            access_token="token-0123456789",
            project_id="team-a",
            region="us-central1",
            http_client=http,
        )
        answer = sdk.chat.completions.create(
            model=vertex.MINI, messages=SAID, stream=stream, max_tokens=10
        )
        if stream:
            answer = "".join(chunk.choices[0].delta.content or "" for chunk in answer)
        else:
            answer = answer.choices[0].message.content
        host = Vertex(project="team-a", google_credentials=_Token(), endpoint=address(server))
        model = ChatAI21(model=vertex.MINI, host=host, streaming=stream, max_tokens=10)

        assert model.invoke("Hi").content == answer == "Hello"
    first, second = map(essence, server.requests)
    assert first == second


def test_vertex_gets_the_same_from_the_async_sdk() -> None:
    google = vertex.Google(taken={"token-0123456789"}, projects=("team-a",))

    async def run() -> None:
        async with httpx.AsyncClient(verify=False) as http:
            sdk = AsyncAI21VertexClient(
                base_url=f"{address(server)}/v1",
                access_token="token-0123456789",
                project_id="team-a",
                region="us-central1",
                http_client=http,
            )
            await sdk.chat.completions.create(model=vertex.MINI, messages=SAID)
        host = Vertex(project="team-a", google_credentials=_Token(), endpoint=address(server))
        await ChatAI21(model=vertex.MINI, host=host).ainvoke("Hi")

    with scripted(google) as server:
        asyncio.run(run())
    first, second = map(essence, server.requests)
    assert first == second


class _Token:
    """Credentials that are valid."""

    valid = True

    def apply(self, headers: dict[str, str]) -> None:
        headers["authorization"] = "Bearer token-0123456789"
