"""Azure AI, Snowflake Cortex and NVIDIA NIM: address, headers, and what the body has."""

from __future__ import annotations

import asyncio
import json
import pickle
from typing import Any

import httpx
import pytest
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, SystemMessage

from ai21_chains import ChatAI21
from ai21_chains.errors import (
    AuthenticationError,
    ConfigurationError,
    MissingAPIKeyError,
    NotFoundError,
)
from ai21_chains.hosts import Azure, Host, Nvidia, Snowflake
from tests.servers import calls
from tests.servers.calls import Call
from tests.servers.scripted import HELLO, completion, says, scripted

KEY = "key-0123456789-abcdef"
ENDPOINT = "https://jamba.eastus2.inference.ai.azure.com"
HOSTS = {
    "azure": Azure(endpoint=ENDPOINT, api_key=KEY),
    "snowflake": Snowflake(account="my_Org-account", api_key=KEY),
    "nvidia": Nvidia(api_key=KEY),
}


@pytest.fixture(params=calls.CALLED, ids=lambda way: way.__name__)
def call(request: pytest.FixtureRequest) -> Call:
    return request.param


class Recorder:
    """Stands where the network would be: keeps each request, and gives an answer."""

    def __init__(self, status: int = 200, body: object = None) -> None:
        self.asked: list[httpx.Request] = []
        self.status = status
        self.body = completion("Hello") if body is None else body

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if json.loads(request.content).get("stream") and self.status == 200:
            return httpx.Response(200, content=b"".join(HELLO))
        return httpx.Response(self.status, json=self.body, headers={"x-echo": KEY})

    def clients(self) -> dict[str, Any]:
        transport = httpx.MockTransport(self)
        return {
            "http_client": httpx.Client(transport=transport),
            "http_async_client": httpx.AsyncClient(transport=transport),
        }


def ask(call: Call, host: Host, *said: Any, **settings: Any) -> httpx.Request:
    """Ask a host, and return the request that it would have got."""
    recorder = Recorder()
    model = ChatAI21(host=host, **{"model": "jamba-1.5-mini", **settings, **recorder.clients()})
    assert call(model, *said).content == "Hello"
    [request] = recorder.asked
    return request


@pytest.mark.parametrize(
    ("name", "url", "headers"),
    [
        (
            "azure",
            f"{ENDPOINT}/v1/chat/completions",
            {"authorization": f"Bearer {KEY}", "api-key": KEY},
        ),
        (
            "snowflake",
            "https://my-org-account.snowflakecomputing.com/api/v2/cortex/v1/chat/completions",
            {
                "authorization": f"Bearer {KEY}",
                "x-snowflake-authorization-token-type": "PROGRAMMATIC_ACCESS_TOKEN",
            },
        ),
        (
            "nvidia",
            "https://integrate.api.nvidia.com/v1/chat/completions",
            {"authorization": f"Bearer {KEY}"},
        ),
    ],
    ids=HOSTS,
)
def test_requests_go_there_with_the_key(call: Call, name: str, url: str, headers) -> None:
    request = ask(call, HOSTS[name])

    assert str(request.url) == url
    assert {header: request.headers[header] for header in headers} == headers


def sent(host: Host, *said: Any, **settings: Any) -> Any:
    return json.loads(ask(calls.invoke, host, *said, **settings).content)


def test_azure_gets_what_ai21_would() -> None:
    body = sent(HOSTS["azure"], "Hi", documents=["a"], max_tokens=5)

    assert body == {
        "model": "jamba-1.5-mini",
        "messages": [{"role": "user", "content": "Hi"}],
        "documents": [{"content": "a", "metadata": {}}],
        "max_tokens": 5,
    }


def test_snowflake_gets_openais_name_for_the_limit() -> None:
    body = sent(HOSTS["snowflake"], "Hi", max_tokens=5)

    assert body == {
        "model": "jamba-1.5-mini",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_completion_tokens": 5,
    }


@pytest.mark.parametrize("name", ["snowflake", "nvidia"])
@pytest.mark.parametrize("system", ["", "Be brief."])
def test_documents_are_put_into_the_system_message(name: str, system: str) -> None:
    said = [SystemMessage(system)] * bool(system) + [HumanMessage("Hi")]
    documents = [Document("First.", metadata={"title": "One"}), "Second."]
    body = sent(HOSTS[name], said, documents=documents)

    text = (
        "<documents>\n# Documents\n\nYou can use the following documents for reference:\n\n"
        "## Document ID: 0\nTitle: One\nText: First.\n\n"
        "## Document ID: 1\nText: Second.\n</documents>"
    )
    assert body["messages"] == [
        {"role": "system", "content": f"{system}\n\n{text}".strip()},
        {"role": "user", "content": "Hi"},
    ]
    assert "documents" not in body


def test_nvidia_is_asked_for_the_usage_of_a_stream() -> None:
    request = ask(calls.streamed, HOSTS["nvidia"])

    assert b'"stream_options":{"include_usage":true}' in request.content


def test_a_container_of_ones_own_needs_no_key(call: Call) -> None:
    with scripted(says("Hello")) as server:
        host = Nvidia(base_url=f"http://127.0.0.1:{server.port}/v1")
        assert call(ChatAI21(model="ai21labs/jamba", host=host)).content == "Hello"
    assert server.requests[0].header("authorization") == []


# --- Keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "variable"),
    [
        (Azure(endpoint=ENDPOINT), "AZURE_INFERENCE_CREDENTIAL"),
        (Snowflake(account="a"), "SNOWFLAKE_TOKEN"),
        (Nvidia(), "NVIDIA_API_KEY"),
    ],
    ids=HOSTS,
)
def test_keys_come_from_the_environment(call: Call, monkeypatch, host: Host, variable: str) -> None:
    monkeypatch.setenv("AI21_API_KEY", "a-key-for-ai21-alone")
    with pytest.raises(MissingAPIKeyError, match=f"or set {variable}"):
        call(ChatAI21(host=host))

    monkeypatch.setenv(variable, KEY)
    assert ask(call, host).headers["authorization"] == f"Bearer {KEY}"


def test_a_token_of_entra_is_sent_as_a_token_only(call: Call) -> None:
    request = ask(call, Azure(endpoint=ENDPOINT, token=lambda: "entra-token"))

    assert request.headers["authorization"] == "Bearer entra-token"
    assert "api-key" not in request.headers


def test_a_token_may_be_text_and_is_not_shown() -> None:
    host = Azure(endpoint=ENDPOINT, token="entra-token")

    assert ask(calls.invoke, host).headers["authorization"] == "Bearer entra-token"
    assert "entra-token" not in repr(vars(host))


def test_a_callable_is_asked_for_each_request() -> None:
    keys = iter(["one", "two"])
    host = Snowflake(account="a", token_type="KEYPAIR_JWT", api_key=lambda: next(keys))

    first, second = ask(calls.invoke, host), ask(calls.ainvoke, host)
    assert first.headers["authorization"] == "Bearer one"
    assert second.headers["authorization"] == "Bearer two"
    assert second.headers["x-snowflake-authorization-token-type"] == "KEYPAIR_JWT"


async def test_an_async_callable_is_awaited() -> None:
    async def fetch() -> str:
        await asyncio.sleep(0)
        return "fetched"

    host = Nvidia(api_key=fetch)
    assert await host.acredentials() == "fetched"
    with pytest.raises(ConfigurationError, match="async callable"):
        host.credentials()


# --- Errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AuthenticationError), (404, NotFoundError)],
)
def test_errors_say_what_to_check_there_and_hold_no_key(name: str, status: int, kind: type) -> None:
    recorder = Recorder(status, {"error": {"message": f"No: {KEY}"}})
    with pytest.raises(kind) as caught:
        ChatAI21(host=HOSTS[name], max_retries=2, **recorder.clients()).invoke("Hi")

    error = caught.value
    assert len(recorder.asked) == 1
    assert KEY not in f"{error} {error.detail} {error.body} {error.response.headers}"
    assert "AI21" not in str(error)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Azure(endpoint="x"), "Azure: endpoint should be an address such as"),
        (lambda: Azure(endpoint=ENDPOINT, api_key="a", token="b"), "api_key or token, not both"),
        (lambda: Nvidia(base_url="x"), "Nvidia: base_url should be an address such as"),
        (lambda: Snowflake(account="a/b"), "Snowflake: account should look like"),
        (lambda: Snowflake(account="https://a.b"), "Snowflake: account should look like"),
        (
            lambda: Snowflake(account="a", token_type="JWT"),  # type: ignore[arg-type]
            "Snowflake: token_type should be PROGRAMMATIC_ACCESS_TOKEN, KEYPAIR_JWT or OAUTH, got",
        ),
    ],
    ids=["azure", "azure-both", "nvidia", "snowflake", "snowflake-url", "token_type"],
)
def test_arguments_are_checked(make: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


@pytest.mark.parametrize(
    "endpoint", [ENDPOINT, f"{ENDPOINT}/", f"{ENDPOINT}/v1", f"{ENDPOINT}/v1/"]
)
def test_azures_endpoint_may_be_copied_with_the_version(endpoint: str) -> None:
    assert Azure(endpoint=endpoint).endpoint == ENDPOINT


@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
def test_keys_are_not_shown_and_not_pickled(host: Host) -> None:
    model = ChatAI21(host=host)

    assert KEY not in repr(host) + repr(vars(host)) + repr(model) + model.model_dump_json()
    with pytest.raises(ConfigurationError, match="with api_key cannot be pickled"):
        pickle.dumps(model)
