"""LangChain's standard suites for `ChatMaestro`, against the emulator."""

from typing import Any

import httpx
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from ai21_chains.emulator import Emulator
from ai21_chains.maestro import ChatMaestro


class Maestro:
    """What holds for Maestro, which has no temperature and calls no functions of the caller's."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatMaestro

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return {"max_tokens": 100, "timeout": 60, "stop": [], "max_retries": 2}

    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_tool_choice(self) -> bool:
        return False


class TestUnit(Maestro, ChatModelUnitTests):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"models": ["jamba-mini"], "requirements": ["Be brief."]}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        environment = {"AI21_API_KEY": "key-of-env", "AI21_API_HOST": "https://jamba.example/v1"}
        expected = {"api_key": "key-of-env", "base_url": "https://jamba.example/v1"}
        return environment, {}, expected


class TestIntegration(Maestro, ChatModelIntegrationTests):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        transport = Emulator(pending_looks=1).transport()
        return {
            "models": ["jamba-mini"],
            "poll_interval_sec": 0.001,
            "api_key": "test-key",
            "http_client": httpx.Client(transport=transport),
            "http_async_client": httpx.AsyncClient(transport=transport),
        }

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def returns_usage_metadata(self) -> bool:
        return False

    @property
    def model_override_value(self) -> str:
        return "jamba-large"
