"""LangChain's standard suite for `ChatOpenAI`, pointed at the server, with the emulator behind it.

Left to the suite's own switches is what AI21 has not: images, audio and PDFs, and what OpenAI alone
reports of usage.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from openai import DefaultAsyncHttpxClient, DefaultHttpxClient

from ai21_chains import Emulator
from ai21_chains.serving import Deployment, ServerConfig, create_app
from tests.serving.apps import serving

NAMES = ("my-model", "other-model")


# ChatOpenAI's own warnings: of parsed answers that it dumps, and of pydantic's first version.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
@pytest.mark.filterwarnings("ignore:Received a Pydantic BaseModel V1 schema:UserWarning")
class TestThroughGateway(ChatModelIntegrationTests):
    url: str
    clients: dict[str, Any]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _served(cls) -> Iterator[None]:
        deployments = tuple(Deployment(name=name, model="jamba-mini") for name in NAMES)
        with serving(create_app(ServerConfig(deployments=deployments, emulator=Emulator()))) as url:
            cls.url = url
            yield

    @pytest.fixture(autouse=True)
    async def _connected(self, _served: None) -> AsyncIterator[None]:
        # ChatOpenAI's own clients outlive their event loop.
        with DefaultHttpxClient(verify=False) as http:
            async with DefaultAsyncHttpxClient(verify=False) as ahttp:
                self.clients = {"http_client": http, "http_async_client": ahttp}
                yield

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": NAMES[0],
            "api_key": "sk-1234",
            "base_url": f"{self.url}/v1",
            **self.clients,
            "max_retries": 0,
            "stream_usage": True,
        }

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return NAMES[1]


@pytest.fixture(scope="session")
def vcr_config() -> dict[str, Any]:
    return {}
