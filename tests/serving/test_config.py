"""What is served: LiteLLM's config.yaml as people have it, our own keys, and the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ai21_chains._catalog import LIVE
from ai21_chains.client import STUDIO
from ai21_chains.errors import ConfigurationError
from ai21_chains.serving import Deployment, ServerConfig, load_config
from tests.cases import each

PARAMS = {"model": "ai21/jamba-mini", "api_key": "sk-in-the-file"}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AI21_CHAINS_MASTER_KEY", "LITELLM_MASTER_KEY", "AI21_CHAINS_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


def load(tmp_path: Path, document: object) -> ServerConfig:
    file = tmp_path / "config.yaml"
    file.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return load_config(file)


def entry(name: str = "my-model", **params: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {**PARAMS, **params}}


# --- Without a file --------------------------------------------------------------------------


def test_without_a_file_all_live_models_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI21_API_KEY", "sk-environment")
    config = load_config()
    assert config.models == tuple(LIVE)
    assert not config.emulated
    assert {one.base_url for one in config.deployments} == {STUDIO}
    assert {one.kind for one in config.chains} >= {"grounded_qa", "summarize"}


def test_without_a_key_the_emulator_answers_and_that_is_said() -> None:
    config = load_config()
    assert config.emulated
    assert config.warnings == ("AI21_API_KEY is not set",)
    assert config.api_key(config.deployments[0]) is not None


def test_a_server_on_the_emulator_remembers_no_requests() -> None:
    config = load_config()
    assert config.http_client is not None
    config.http_client.get(f"{STUDIO}/models")
    assert config.emulator is not None
    assert config.emulator.requests == []


def test_the_environment_names_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI21_API_KEY", "sk-environment")
    monkeypatch.setenv("AI21_API_BASE", "http://127.0.0.1:9/v1")
    assert load_config().deployments[0].base_url == "http://127.0.0.1:9/v1"


def test_an_address_without_a_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI21_API_HOST", "http://127.0.0.1:9/v1")
    with pytest.raises(ConfigurationError, match="AI21_API_KEY is not set, but AI21_API_HOST"):
        load_config()


# --- LiteLLM's file --------------------------------------------------------------------------

PAGE = """
model_list:
  - model_name: my-model
    litellm_params:
      model: ai21/jamba-large  # add ai21/ prefix to route as ai21 provider
      api_key: api-key         # api key to send your model
"""


def test_the_config_of_litellms_page_is_read_as_it_stands(tmp_path: Path) -> None:
    config = load(tmp_path, PAGE)
    (one,) = config.deployments
    assert (one.name, one.model, one.base_url) == ("my-model", "jamba-large", STUDIO)
    assert one.api_key is not None
    assert one.api_key.get_secret_value() == "api-key"
    assert config.warnings == ()
    assert config.chains == ()


def test_keys_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-environment")
    config = load(tmp_path, {"model_list": [entry(api_key="os.environ/MY_KEY")]})
    assert config.deployments[0].api_key.get_secret_value() == "sk-environment"


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"api_key: .* MY_KEY is not set"):
        load(tmp_path, {"model_list": [entry(api_key="os.environ/MY_KEY")]})


def test_without_a_key_anywhere_the_way_out_is_said(tmp_path: Path) -> None:
    document = {"model_list": [{"model_name": "m", "litellm_params": {"model": "ai21/jamba-mini"}}]}
    with pytest.raises(ConfigurationError, match="emulated: true"):
        load(tmp_path, document)
    assert load(tmp_path, {**document, "server": {"emulated": True}}).emulated


def test_all_parameters_of_a_deployment_are_honoured(tmp_path: Path) -> None:
    given = {"api_base": "http://h/v1", "rpm": 6, "tpm": 7, "max_retries": 1, "timeout": 3}
    (one,) = load(tmp_path, {"model_list": [entry(**given, weight=2)]}).deployments
    assert one == Deployment(
        name="my-model",
        model="jamba-mini",
        api_key="sk-in-the-file",
        base_url="http://h/v1",
        rpm=6,
        tpm=7,
        max_retries=1,
        timeout=3,
        weight=2,
    )


def test_settings_are_found_in_litellms_sections(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        {
            "model_list": [entry("a"), entry("b")],
            "litellm_settings": {"drop_params": False, "num_retries": 4, "request_timeout": 30},
            "router_settings": {
                "fallbacks": [{"a": ["b"]}],
                "cooldown_time": 9,
                "allowed_fails": 1,
                "routing_strategy": "simple-shuffle",
            },
            "general_settings": {"master_key": "sk-master", "database_url": "sqlite:///k.db"},
        },
    )
    assert config.warnings == ()
    assert config.drop_params is False
    assert [one.max_retries for one in config.deployments] == [4, 4]
    assert config.request_timeout == 30
    assert config.fallbacks == {"a": ("b",)}
    assert (config.cooldown_seconds, config.allowed_fails) == (9, 1)
    assert config.master_key is not None
    assert config.database_url == "sqlite:///k.db"


def test_one_warning_names_every_key_that_is_not_honoured(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        {
            "model_list": [{**entry(organization="x"), "model_info": {"id": "1"}}],
            "litellm_settings": {"set_verbose": True},
            "router_settings": {"routing_strategy": "latency-based-routing"},
            "general_settings": {"alerting": ["slack"]},
            "environment_variables": {"A": "b"},
        },
    )
    (warning,) = config.warnings
    for name in (
        "environment_variables",
        "litellm_settings.set_verbose",
        "router_settings.routing_strategy",
        "general_settings.alerting",
        "model_list.model_info",
        "litellm_params.organization",
    ):
        assert name in warning


@each("model", ["openai/gpt-4", "gpt-4", "anthropic/claude", "azure/jamba"])
def test_another_providers_model_is_refused(tmp_path: Path, model: str) -> None:
    with pytest.raises(ConfigurationError, match=r"model_list\[0\] .* not a model of AI21's"):
        load(tmp_path, {"model_list": [entry(model=model)]})


@each(
    ("model", "name"),
    [
        ("ai21/jamba-mini", "jamba-mini"),
        ("ai21_chat/jamba-mini", "jamba-mini"),
        ("jamba-large", "jamba-large"),
        ("ai21/ai21labs/Jamba", "ai21labs/Jamba"),
    ],
)
def test_a_models_prefix_is_taken_off(tmp_path: Path, model: str, name: str) -> None:
    assert load(tmp_path, {"model_list": [entry(model=model)]}).deployments[0].model == name


def test_a_star_stands_for_all_models(tmp_path: Path) -> None:
    config = load(tmp_path, {"model_list": [entry("ai21/*", model="ai21/*")]})
    assert config.models == tuple(f"ai21/{model}" for model in LIVE)
    assert {one.model for one in config.deployments} == set(LIVE)


def test_a_retired_model_is_served_with_a_warning(tmp_path: Path) -> None:
    (warning,) = load(tmp_path, {"model_list": [entry(model="ai21/j2-ultra")]}).warnings
    assert "its successor is jamba-large" in warning


# --- Our own keys ----------------------------------------------------------------------------


def test_chains_are_named_or_described(tmp_path: Path) -> None:
    (tmp_path / "handbook").mkdir()
    chains = ["grounded_qa", {"name": "hr", "kind": "grounded_qa", "documents": "handbook"}]
    config = load(tmp_path, {"model_list": [entry()], "chains": chains})
    assert [(one.name, one.kind) for one in config.chains] == [
        ("grounded_qa", "grounded_qa"),
        ("hr", "grounded_qa"),
    ]
    assert config.chains[1].documents == tmp_path / "handbook"


@each(
    ("settings", "problem"),
    [
        ({"chains": [{"kind": "nonsense"}]}, r"chains\.0\.kind"),
        ({"chains": [{"kind": "grounded_qa", "model": "other"}]}, "no model is called 'other'"),
        ({"chains": ["grounded_qa", "grounded_qa"]}, "two chains are called"),
        ({"chains": [{"kind": "grounded_qa", "documents": "nowhere"}]}, r"chains\.0\.documents"),
        ({"chains": [1]}, "chains"),
        ({"router_settings": {"fallbacks": [{"my-model": ["other"]}]}}, "'other'"),
        ({"router_settings": {"fallbacks": ["other"]}}, "fallbacks"),
        ({"server": {"max_body_bytes": 0}}, "max_body_bytes"),
        ({"server": []}, "server: a mapping"),
        ({"model_list": {}}, "model_list: a list"),
        ({"model_list": [{}]}, r"model_list\[0\]"),
        ({"model_list": [{"model_name": "m"}]}, "model was expected"),
        ({"model_list": [{"model_name": "m", "litellm_params": {"model": "ai21/*"}}]}, "api_key"),
        ({"model_list": [entry(model="ai21/*")]}, "ends in"),
        ({"model_list": [entry(rpm=0)]}, "rpm"),
        ({"model_list": [entry(api_base="ftp://h")]}, "base_url"),
    ],
    ids=range(16),
)
def test_what_cannot_be_is_refused_by_name(
    tmp_path: Path, settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        load(tmp_path, {"model_list": [entry()], **settings})
    assert "\n" not in str(caught.value)
    assert "sk-in-the-file" not in str(caught.value)


@each(
    ("text", "problem"),
    [("model_list: [", "line 1"), ("- a", "a mapping"), ("", "a mapping"), ("\0", "not YAML")],
    ids=["unfinished", "a list", "empty", "no text"],
)
def test_what_is_not_such_a_file_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        load(tmp_path, text)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.yaml: No such file"):
        load_config(tmp_path / "gone.yaml")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load_config(tmp_path / "config.yaml")


# --- The environment -------------------------------------------------------------------------


def test_the_environment_overrides_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI21_CHAINS_MASTER_KEY", "12345")
    monkeypatch.setenv("AI21_CHAINS_MAX_CONCURRENCY", "7")
    monkeypatch.setenv("AI21_CHAINS_CORS_ORIGINS", "https://a.example, https://b.example")
    config = load(tmp_path, {"model_list": [entry()], "server": {"max_concurrency": 3}})
    assert config.master_key is not None
    assert config.master_key.get_secret_value() == "12345"
    assert config.max_concurrency == 7
    assert config.cors_origins == ("https://a.example", "https://b.example")


def test_litellms_variable_for_the_master_key_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_MASTER_KEY", "sk-litellm")
    config = load_config()
    assert config.master_key is not None
    assert config.master_key.get_secret_value() == "sk-litellm"


def test_no_secret_is_shown(tmp_path: Path) -> None:
    document = {
        "model_list": [entry()],
        "general_settings": {"master_key": "sk-m", "database_url": "postgresql://u:sk-p@h/d"},
    }
    shown = repr(load(tmp_path, document))
    assert "sk-" not in shown
