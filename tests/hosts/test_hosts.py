"""What all hosts have in common."""

from __future__ import annotations

import copy
import json
import pickle
import re
import sys
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.load import dumps, load

from ai21_chains import ChatAI21, hosts
from ai21_chains.client import AI21Client
from ai21_chains.errors import ConfigurationError, MissingExtraError
from ai21_chains.hosts import Azure, Bedrock, Host, Nvidia, SelfHosted, Snowflake, Vertex
from ai21_chains.llms import AI21LLM
from tests.servers.scripted import says, scripted

ALL = [
    Azure(endpoint="https://x.inference.ai.azure.com"),
    Bedrock(region="us-east-1", profile="a"),
    Nvidia(),
    SelfHosted(base_url="http://gpu:8000/v1", chat_template_kwargs={"a": 1}),
    Snowflake(account="a", token_type="OAUTH"),
    Vertex(project="p", location="global"),
]
each = pytest.mark.parametrize("host", ALL, ids=lambda host: type(host).__name__)


def local(server: Any, **settings: Any) -> SelfHosted:
    return SelfHosted(base_url=f"http://127.0.0.1:{server.port}/v1", **settings)


@each
def test_a_host_is_settings_that_can_be_compared_and_carried(host: Host) -> None:
    assert pickle.loads(pickle.dumps(host)) == host
    assert copy.copy(host) is copy.deepcopy(host) is host
    assert hosts.from_dict(host.as_dict()) == host
    with pytest.raises(FrozenInstanceError):
        host.name = "x"  # type: ignore[misc]


@each
@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_a_model_with_a_host_can_be_dumped_and_loaded(host: Host) -> None:
    again = load(
        json.loads(dumps(ChatAI21(model="jamba", host=host))),
        allowed_objects=[ChatAI21],
        valid_namespaces=["ai21_chains"],
    )

    assert again.host == host


@each
def test_a_host_can_be_given_for_one_call_and_survives_copies(host: Host) -> None:
    model = ChatAI21(host=host)

    assert model.model_copy(update={"temperature": 0.5}).host is host
    assert copy.deepcopy(model).host is host
    assert model._identifying_params["host"] == host.as_dict()
    assert AI21LLM(host=host)._identifying_params["host"] == host.as_dict()


def test_a_call_can_go_to_another_host() -> None:
    with scripted(says("there")) as there, scripted(says("here")) as here:
        model = ChatAI21(host=local(here))
        assert model.invoke("Hi", host=local(there)).content == "there"
        assert model.bind(host=local(there)).invoke("Hi").content == "there"
        assert model.invoke("Hi").content == "here"


def test_answers_of_one_host_are_not_taken_for_those_of_another() -> None:
    cache = InMemoryCache()
    with scripted(says("one")) as one, scripted(says("two")) as two:
        for server, said in ((one, "one"), (two, "two"), (one, "one")):
            assert ChatAI21(host=local(server), cache=cache).invoke("Hi").content == said
            assert AI21LLM(host=local(server), cache=cache).invoke("Hi") == said
        assert ChatAI21(cache=cache).invoke("Hi", host=local(one)).content == "one"
    assert (len(one.requests), len(two.requests)) == (3, 2)


def test_the_key_for_ai21_goes_to_no_other_host(monkeypatch) -> None:
    monkeypatch.setenv("AI21_API_KEY", "a-key-for-ai21-alone")
    with scripted(says()) as server:
        ChatAI21(host=local(server)).invoke("Hi")
        ChatAI21(host=local(server), api_key="another-key-for-ai21").invoke("Hi")

    assert "for-ai21" not in repr(server.requests)


def test_headers_of_ones_own_replace_the_hosts() -> None:
    with scripted(says()) as server:
        model = ChatAI21(host=local(server, api_key="k"))
        model.invoke("Hi", extra_headers={"authorization": "Basic abc"})
    assert server.requests[0].header("authorization") == ["Basic abc"]


async def test_a_host_serves_chat_only() -> None:
    client = AI21Client(host=SelfHosted())
    words = "GET /library/files is an endpoint of AI21 Studio; the self-hosted server serves chat"

    with pytest.raises(ConfigurationError, match=words):
        client.request("GET", "/library/files")
    with pytest.raises(ConfigurationError, match=words):
        await client.arequest("GET", "/library/files")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("azure", "`from ai21_chains.hosts import Azure`, host=Azure(…), got 'azure'"),
        (Vertex, "`from ai21_chains.hosts import Vertex`, host=Vertex(…)"),
        ("moon", "`from ai21_chains.hosts import Bedrock`"),
        ({"type": "Moon"}, "type is 'Moon'; the hosts are Azure, Bedrock, Nvidia"),
        ({}, "type is None; the hosts are"),
        ({"type": "Bedrock", "regoin": "x"}, "Bedrock: unknown argument 'regoin'."),
        ({"type": "Azure"}, "Azure: endpoint is missing"),
    ],
    ids=["name", "class", "other-name", "unknown", "empty", "misspelt", "missing"],
)
def test_what_is_no_host_is_refused(given: object, message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        ChatAI21(host=given)
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        ChatAI21(api_key="k").invoke("Hi", host=given)


def test_a_hosts_arguments_are_named_when_they_are_missing_or_misspelt() -> None:
    wrong = {
        "Azure: endpoint is missing": lambda: Azure(),  # type: ignore[call-arg]
        "Snowflake: account is missing": lambda: Snowflake(token_type="OAUTH"),  # type: ignore[call-arg]
        "Azure: unknown argument 'endpiont'. Did you mean 'endpoint'?": lambda: Azure(endpiont="x"),  # type: ignore[call-arg]
        "Nvidia: unknown argument 'moon'. It takes api_key, base_url": lambda: Nvidia(moon=1),  # type: ignore[call-arg]
        "Bedrock: give the arguments by name; it takes region, profile": lambda: Bedrock("eu"),  # type: ignore[misc]
    }
    for message, make in wrong.items():
        with pytest.raises(ConfigurationError, match=re.escape(message)):
            make()


@pytest.mark.parametrize(
    ("module", "host", "words"),
    [
        ("botocore.session", Bedrock(region="us-east-1"), r"ai21-chains\[aws\]"),
        ("google.auth", Vertex(project="p"), r"ai21-chains\[vertex\]"),
    ],
    ids=["aws", "vertex"],
)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, module, host, words) -> None:
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(MissingExtraError, match=words):
        ChatAI21(model="ai21.jamba", host=host).invoke("Hi")


def test_the_hosts_are_listed_and_no_others() -> None:
    # That they are loaded when they are used is seen in tests/test_public_api.py.
    assert dir(hosts) == hosts.__all__
    with pytest.raises(AttributeError, match="no attribute 'Moon'"):
        hosts.Moon  # noqa: B018
