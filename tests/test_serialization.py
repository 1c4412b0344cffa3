"""Copies, pickles and dumps of a model, and the secrets that none of them shows."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import cloudpickle
import httpx
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumpd, dumps, load
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.tracers import BaseTracer
from pydantic import SecretStr

from ai21_chains import ChatAI21
from ai21_chains.errors import AI21Error, ConfigurationError
from tests.cases import each
from tests.servers import calls
from tests.servers.calls import Call
from tests.servers.scripted import fails, says, scripted

KEY = "sk-Very-Secret-Key-0123456789"
HEADER = "hdr-secret-42"
SECRETS = (KEY, HEADER)


def serving():
    return scripted(says("Hello"))


@pytest.fixture
def server():
    with serving() as running:
        yield running


def chat(server, **settings: Any) -> ChatAI21:
    return ChatAI21(**{"base_url": server.url, "api_key": KEY, "max_retries": 0, **settings})


# --- Copies ----------------------------------------------------------------------------------

COPIES = [
    pytest.param(copy.copy, id="copy"),
    pytest.param(copy.deepcopy, id="deepcopy"),
    pytest.param(lambda model: model.model_copy(), id="model_copy"),
    pytest.param(lambda model: model.model_copy(deep=True), id="model_copy-deep"),
    pytest.param(lambda model: model.model_copy(update={"seed": 1}), id="model_copy-update"),
    pytest.param(lambda model: pickle.loads(pickle.dumps(model)), id="pickle"),
    pytest.param(lambda model: cloudpickle.loads(cloudpickle.dumps(model)), id="cloudpickle"),
]


@each("call", calls.CALLED)
@each("duplicate", COPIES, server=serving)
def test_a_copy_asks_the_same(call: Call, server, duplicate) -> None:
    model = chat(server, temperature=0.5, stop="x", default_headers={"X-A": "1"})
    call(model)
    copied = duplicate(model)
    assert call(copied).content == "Hello"

    first, second = server.requests
    assert first.body == {k: v for k, v in second.body.items() if k != "seed"}
    assert first.headers[:-1] == second.headers[:-1]
    assert copied.max_retries == 0


@each("duplicate", COPIES[:5], server=serving)
def test_a_copy_shares_what_cannot_be_copied(server, duplicate) -> None:
    class Vault:
        def __deepcopy__(self, memo):
            raise TypeError("cannot be copied")

        def key(self) -> str:
            return "k"

    limiter = InMemoryRateLimiter(requests_per_second=1000)
    with httpx.Client() as http:
        model = chat(server, http_client=http, api_key=Vault().key, rate_limiter=limiter)
        copied = duplicate(model)

        assert copied.http_client is http
        assert copied.rate_limiter is limiter
        assert copied.invoke("Hi").content == "Hello"


@each("call", calls.CALLED, server=serving)
def test_a_copy_can_have_other_settings(call: Call, server) -> None:
    model = chat(server, temperature=0.5)
    other = model.model_copy(update={"api_key": "k-2", "model_name": "jamba-large"})
    call(other)

    assert server.requests[0].key == "k-2"
    assert server.bodies[0]["model"] == "jamba-large"
    assert isinstance(other.api_key, SecretStr)
    assert (model.model, model.temperature, other.temperature) == ("jamba-mini", 0.5, 0.5)


def test_a_copy_keeps_the_address_it_was_made_with(server, monkeypatch) -> None:
    monkeypatch.setenv("AI21_API_HOST", server.url)
    monkeypatch.setenv("AI21_API_KEY", "k-env")
    model = ChatAI21()
    monkeypatch.delenv("AI21_API_HOST")
    monkeypatch.delenv("AI21_API_KEY")
    model.model_copy(update={"seed": 1}).invoke("Hi")

    assert server.requests[0].key == "k-env"


def test_connections_are_no_part_of_a_pickle(server) -> None:
    with (
        httpx.Client() as http,
        pytest.raises(ConfigurationError, match="Make it where it is used"),
    ):
        pickle.dumps(chat(server, http_client=http))


# --- Dumps -----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
@each("timeout", [5, httpx.Timeout(9, read=None)], server=serving)
def test_a_dump_can_be_loaded(server, timeout) -> None:
    model = chat(server, model="jamba-large", temperature=0.5, stop=["x"], timeout=timeout)
    again = load(
        json.loads(dumps(model)),
        allowed_objects=[ChatAI21],
        valid_namespaces=["ai21_chains"],
        secrets_map={"AI21_API_KEY": "k-loaded"},
    )
    again.invoke("Hi")

    assert dumpd(again) == dumpd(model)
    assert again.timeout == timeout
    assert server.requests[0].key == "k-loaded"
    assert server.bodies[0]["temperature"] == 0.5


# --- Secrets ---------------------------------------------------------------------------------


def _bound(model: ChatAI21) -> Any:
    return ChatPromptTemplate.from_messages(["{x}"]) | model.bind(api_key=KEY)


@each("show", [repr, str, dumps, lambda one: repr(dumpd(one))])
@each("bound", [False, True])
def test_what_can_be_printed_holds_no_secret(show, bound: bool) -> None:
    model = ChatAI21(
        api_key=KEY, default_headers={"X": HEADER}, proxy=f"http://u:{HEADER}@127.0.0.1:9"
    )
    shown = show(_bound(model) if bound else model)

    assert not [secret for secret in SECRETS if secret in shown]


class Recorder(BaseCallbackHandler):
    """Keeps the text of everything that callbacks are told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.told.append(repr((args, kwargs)))

    def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
        self.told.append(repr((args, kwargs)))

    def on_llm_error(self, *args: Any, **kwargs: Any) -> None:
        self.told.append(repr((args, kwargs)))


class Tracer(BaseTracer):
    """Keeps what would be sent to a tracing service."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[str] = []

    def _persist_run(self, run: Any) -> None:
        self.runs.append(run.model_dump_json(fallback=repr))


@each("call", calls.CALLED)
@each("given", ["constructor", "call", "bound", "error"])
def test_traces_hold_no_secret(call: Call, given: str) -> None:
    echo = fails("401 Unauthorized", {"detail": KEY}, f"x-echo: {KEY}")
    recorder, tracer = Recorder(), Tracer()
    config = {"callbacks": [recorder, tracer]}
    secret = {"api_key": KEY, "extra_headers": {"X": HEADER}, "default_headers": {"Y": HEADER}}
    with scripted(echo if given == "error" else says()) as server:
        own = {"api_key": KEY, "default_headers": {"X": HEADER}}
        model = ChatAI21(base_url=server.url, max_retries=0, **(own if given != "call" else {}))
        if given == "bound":
            call(
                ChatPromptTemplate.from_messages(["{x}"]) | model.bind(**secret),
                {"x": "Hi"},
                config=config,
            )
        elif given == "error":
            with pytest.raises(AI21Error):
                call(model, config=config)
        else:
            call(model, config=config, **(secret if given == "call" else {}))
        assert server.requests[0].key == KEY

    told = "".join(recorder.told + tracer.runs)
    assert recorder.told
    assert tracer.runs
    assert not [secret for secret in SECRETS if secret in told]


def test_environment_keys_are_masked_too(monkeypatch) -> None:
    monkeypatch.setenv("AI21_API_KEY", KEY)
    model = ChatAI21()

    assert KEY not in repr(model) + str(model.model_dump()) + dumps(model) + model.model_dump_json()
