"""LangChain's standard suites, against the emulator."""

from typing import Any

import httpx
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from ai21_chains import ChatAI21
from ai21_chains.emulator import Emulator


class TestUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatAI21

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "jamba-mini"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        environment = {"AI21_API_KEY": "key-of-env", "AI21_API_HOST": "https://jamba.example/v1"}
        expected = {"api_key": "key-of-env", "base_url": "https://jamba.example/v1"}
        return environment, {"model": "jamba-mini"}, expected


class TestIntegration(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatAI21

    @property
    def chat_model_params(self) -> dict[str, Any]:
        transport = Emulator().transport()
        return {
            "model": "jamba-mini",
            "api_key": "test-key",
            "http_client": httpx.Client(transport=transport),
            "http_async_client": httpx.AsyncClient(transport=transport),
        }

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "jamba-large"
