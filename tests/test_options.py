"""Options: types, ranges and names are checked before anything is sent."""

import math

import httpx
import pytest
from langchain_core.documents import Document
from pydantic import SecretStr

from ai21_chains._options import CallOptions, canonical, check_call
from ai21_chains.errors import ConfigurationError
from tests.cases import each


def refusal(**options: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        check_call(options, "ChatAI21")
    return str(caught.value)


@each(
    ("name", "value"),
    [
        ("model", "jamba-mini"),
        ("model", "a-model-of-tomorrow"),
        ("temperature", 0),
        ("temperature", 0.4),
        ("temperature", 2),
        ("temperature", None),
        ("top_p", 0.0001),
        ("top_p", 1),
        ("top_p", None),
        ("max_tokens", 0),
        ("max_tokens", 1),
        ("max_tokens", 1_000_000),
        ("max_tokens", None),
        ("n", 1),
        ("n", 16),
        ("n", None),
        ("stop", []),
        ("stop", ["a", "b"]),
        ("stop", None),
        ("seed", 0),
        ("seed", -1),
        ("user", ""),
        ("timeout", 0.001),
        ("timeout", 1e9),
        ("timeout", None),
        ("max_retries", 0),
        ("max_retries", 100),
        ("documents", [Document("a"), "b", {"content": "c"}]),
        ("documents", None),
        ("response_format", {"type": "json_object"}),
        ("tools", []),
        ("tool_choice", "any"),
        ("parallel_tool_calls", False),
        ("model_kwargs", {"top_k": 5}),
        ("stream", True),
        ("base_url", "https://api.ai21.com/studio/v1"),
        ("proxy", "http://user:password@proxy.example:8080"),
        ("default_headers", {"X-Team": "a"}),
        ("extra_headers", None),
    ],
)
def test_what_is_in_range_is_kept(name: str, value: object) -> None:
    assert check_call({name: value}, "ChatAI21") == {name: value}


@each(
    ("name", "value", "problem"),
    [
        ("model", "", "model should name a model, such as 'jamba-mini', got ''"),
        ("model", "ai21/", "model should name a model, such as 'jamba-mini', got 'ai21/'"),
        ("model", 5, "model should be a valid string, got 5"),
        ("model", None, "model should be a valid string, got None"),
        ("temperature", -0.001, "temperature should be greater than or equal to 0, got -0.001"),
        ("temperature", 2.001, "temperature should be less than or equal to 2, got 2.001"),
        ("temperature", math.nan, "temperature should be a finite number, got nan"),
        ("temperature", math.inf, "temperature should be a finite number, got inf"),
        ("temperature", "hot", "temperature should be a valid number"),
        ("temperature", [1], "temperature should be a valid number"),
        ("temperature", True, "temperature should be a number, not true or false, got True"),
        ("top_p", 0, "top_p should be greater than 0, got 0"),
        ("top_p", 1.001, "top_p should be less than or equal to 1, got 1.001"),
        ("top_p", math.nan, "top_p should be a finite number, got nan"),
        ("max_tokens", -1, "max_tokens should be greater than or equal to 0, got -1"),
        ("max_tokens", 1.5, "max_tokens should be a valid integer"),
        ("max_tokens", True, "max_tokens should be a number, not true or false, got True"),
        ("n", 0, "n should be greater than or equal to 1, got 0"),
        ("n", 17, "n should be less than or equal to 16, got 17"),
        ("n", True, "n should be a number, not true or false, got True"),
        ("stop", "", "stop should hold no empty string, got ''"),
        ("stop", ["a", ""], "stop should hold no empty string"),
        ("stop", ["a", 5], "stop should be a valid string"),
        ("stop", 5, "stop should be a valid string, got 5"),
        ("seed", 1.5, "seed should be a valid integer"),
        ("user", 5, "user should be a valid string, got 5"),
        ("timeout", 0, "timeout should be greater than 0"),
        ("timeout", -1, "timeout should be greater than 0"),
        ("timeout", math.inf, "timeout should be a finite number, got inf"),
        ("timeout", math.nan, "timeout should be a finite number, got nan"),
        ("timeout", "soon", "timeout should be a valid number"),
        ("timeout", {"a": 1}, "timeout should be seconds, or an httpx.Timeout"),
        ("timeout", True, "timeout should be a number, not true or false, got True"),
        ("max_retries", -1, "max_retries should be greater than or equal to 0, got -1"),
        ("max_retries", None, "max_retries should be a valid integer, got None"),
        ("tools", 5, "tools should be"),
        ("model_kwargs", [1], "model_kwargs should be a valid dictionary"),
        ("stream", "perhaps", "stream should be a valid boolean"),
        ("parallel_tool_calls", "x" * 100, "parallel_tool_calls should be a valid boolean"),
        ("http_client", httpx.AsyncClient(), "http_client should be an instance of Client"),
    ],
)
def test_what_is_out_of_range_is_named(name: str, value: object, problem: str) -> None:
    message = refusal(**{name: value})

    assert message.startswith(f"ChatAI21: {problem}")
    assert "\n" not in message
    assert len(message) < 250


@each(
    ("name", "value", "kept"),
    [
        ("model", "ai21/jamba-mini", "jamba-mini"),
        ("model", " jamba-mini\n", "jamba-mini"),
        ("stop", "END", ["END"]),
        ("stop", ("a", "b"), ["a", "b"]),
        ("temperature", "0.5", 0.5),
        ("max_tokens", "100", 100),
        ("timeout", "30", 30.0),
        ("timeout", {"timeout": 5, "connect": 1}, httpx.Timeout(5, connect=1)),
        ("documents", iter(["read", "once"]), ["read", "once"]),
        ("api_key", "key", SecretStr("key")),
    ],
)
def test_other_spellings_are_understood(name: str, value: object, kept: object) -> None:
    assert check_call({name: value}, "ChatAI21") == {name: kept}


def test_a_timeout_of_httpx_and_a_key_that_rotates_are_kept() -> None:
    timeout, key = httpx.Timeout(5, connect=1), lambda: "key"

    assert check_call({"timeout": timeout, "api_key": key}, "ChatAI21") == {
        "timeout": timeout,
        "api_key": key,
    }


def test_http_clients_are_kept_as_they_are() -> None:
    with httpx.Client() as http:
        assert check_call({"http_client": http}, "ChatAI21")["http_client"] is http


def test_documents_are_kept_as_they_are() -> None:
    documents = [{"page_content": "a"}, 5]

    assert check_call({"documents": documents}, "ChatAI21")["documents"] is documents


@each(
    ("name", "near"),
    [
        ("temprature", "temperature"),
        ("max_token", "max_tokens"),
        ("stops", "stop"),
        ("modelname", "model_name"),
        ("apikey", "api_key"),
        ("base_ulr", "base_url"),
        ("tool_choise", "tool_choice"),
        ("timeouts", "timeout"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest(name: str, near: str) -> None:
    assert refusal(**{name: 1}) == f"ChatAI21: unknown argument {name!r}. Did you mean {near!r}?"


def test_a_name_like_no_other_is_answered_with_model_kwargs() -> None:
    assert refusal(zzz=1) == (
        "ChatAI21: unknown argument 'zzz'. To send a field that this library does not know, put "
        "it into model_kwargs"
    )


def test_other_clients_names_mean_ours() -> None:
    given = {"model_name": "m", "api_host": "https://x.example"}

    assert canonical(given) == {"model": "m", "base_url": "https://x.example"}
    assert canonical({"api_base": "https://x.example"}) == {"base_url": "https://x.example"}
    assert check_call({"model_name": "ai21/m"}, "ChatAI21") == {"model": "m"}
    assert given == {"model_name": "m", "api_host": "https://x.example"}


@each(
    ("given", "name"),
    [
        ({"model": "a", "model_name": "b"}, "model"),
        ({"api_base": "https://a.example", "api_host": "https://b.example"}, "base_url"),
    ],
)
def test_an_argument_under_two_names_is_refused(given: dict[str, object], name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is given twice"):
        canonical(given)


@each(
    ("url", "kept"),
    [
        ("https://api.ai21.com/studio/v1", "https://api.ai21.com/studio/v1"),
        ("https://api.ai21.com/studio/v1/", "https://api.ai21.com/studio/v1"),
        (" https://api.ai21.com/studio/v1//\n", "https://api.ai21.com/studio/v1"),
        ("https://api.ai21.com", "https://api.ai21.com/studio/v1"),
        ("https://api.ai21.com/", "https://api.ai21.com/studio/v1"),
        ("HTTPS://API.AI21.com", "https://API.AI21.com/studio/v1"),
        ("https://api-stage.ai21.com", "https://api-stage.ai21.com/studio/v1"),
        ("https://notai21.com", "https://notai21.com"),
        ("https://ai21.com.evil.example", "https://ai21.com.evil.example"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("https://jamba.example/a@b/v1", "https://jamba.example/a@b/v1"),
    ],
)
def test_an_address_is_brought_into_one_form(url: str, kept: str) -> None:
    assert check_call({"base_url": url}, "ChatAI21") == {"base_url": kept}


@each(
    "url",
    [
        "",
        "api.ai21.com",
        "api.ai21.com/studio/v1",
        "ftp://api.ai21.com",
        "file:///etc/passwd",
        "https://",
        "https:///v1",
        "http://[::1",
        "http://localhost:port",
        "http://localhost:99999",
        "http://localhost:0",
        "https://user:hunter2/x@jamba.example",
        5,
        None,
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(url: object) -> None:
    message = refusal(base_url=url)

    assert message.startswith("ChatAI21: base_url should be ")
    assert "got" not in message
    assert "hunter2" not in message


@each(
    "url",
    [
        "https://user:hunter2@jamba.example",
        "https://hunter2@jamba.example/v1",
        "https://jamba.example/v1?key=hunter2",
        "https://jamba.example/v1#hunter2",
    ],
)
def test_an_address_with_a_secret_is_refused_without_repeating_it(url: str) -> None:
    assert refusal(base_url=url) == (
        "ChatAI21: base_url should be an address without credentials, query and fragment"
    )


@each(
    "options",
    [
        {"api_key": ["hunter2"]},
        {"api_key": {"key": "hunter2"}},
        {"default_headers": "hunter2"},
        {"default_headers": {"Authorization": ["hunter2"]}},
        {"extra_headers": {5: "hunter2"}},
        {"proxy": ["hunter2"]},
        {"ai21_api_key": "hunter2"},
        {"api_keys": "hunter2"},
        {"model_kwargs": "hunter2" * 9, "api_key": 5},
    ],
)
def test_a_secret_is_never_repeated(options: dict[str, object]) -> None:
    assert "hunter2" not in refusal(**options).partition("model_kwargs")[0]


def test_every_option_of_a_call_is_known_here() -> None:
    assert check_call({}, "ChatAI21") == {}
    assert {"model", "temperature", "documents", "api_key"} <= set(CallOptions.__annotations__)
