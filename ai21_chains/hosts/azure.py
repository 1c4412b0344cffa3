"""Jamba as a serverless deployment on Azure AI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar

from pydantic import SecretStr

from ai21_chains._keys import APIKey
from ai21_chains._wire import ChatRequest
from ai21_chains.errors import (
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
)
from ai21_chains.hosts._checks import keep_address, settings
from ai21_chains.hosts._openai import KeyHost, chat_url


@settings
class Azure(KeyHost):
    """A serverless deployment, which speaks AI21's protocol at `{endpoint}/v1/chat/completions`.

    How sure this is: address and headers are those of AI21's own SDK and of Microsoft's article on
    Jamba (medium to high); the deployment decides which `model` it takes. Nothing was tried
    against Azure.

    Args:
        endpoint: The deployment's address, `https://….inference.ai.azure.com`, without `/v1`.
        api_key: The deployment's key. Default: the environment's `AZURE_INFERENCE_CREDENTIAL`.
        token: Instead of a key, a callable that returns a Microsoft Entra token, such as
            `azure.identity.get_bearer_token_provider` makes; it is asked for each request.

    Raises:
        ConfigurationError: An argument is not what it should be.

    Example:
        >>> Azure(endpoint="https://jamba.eastus2.inference.ai.azure.com", api_key="…")
        Azure(endpoint='https://jamba.eastus2.inference.ai.azure.com')
    """

    name: ClassVar[str] = "Azure AI"
    place: ClassVar[str] = "endpoint"
    personal: ClassVar[tuple[str, ...]] = ("api_key", "token")
    variables: ClassVar[tuple[str, ...]] = ("AZURE_INFERENCE_CREDENTIAL",)
    hints: ClassVar[Mapping[type[APIStatusError], str]] = {
        AuthenticationError: "Check the api_key or token of Azure, or AZURE_INFERENCE_CREDENTIAL",
        NotFoundError: "Check endpoint (the deployment's address, without /v1) and model",
    }

    endpoint: str
    token: APIKey | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check the address."""
        super().__post_init__()
        if self.api_key is not None and self.token is not None:
            raise ConfigurationError("Azure: pass api_key or token, not both")
        keep_address(self, "endpoint", "https://jamba.eastus2.inference.ai.azure.com")
        object.__setattr__(self, "endpoint", self.endpoint.removesuffix("/v1"))
        if isinstance(self.token, str):
            object.__setattr__(self, "token", SecretStr(self.token))

    def url(self, body: ChatRequest, credentials: Any) -> str:
        """Return the address of the deployment's chat endpoint."""
        return chat_url(f"{self.endpoint}/v1")

    def headers(self, url: str, content: bytes, credentials: Any) -> Mapping[str, str]:
        """Return the key in both headers that deployments know, or the token."""
        bearer = super().headers(url, content, credentials)
        return bearer if self.token is not None else {**bearer, "api-key": credentials}

    def _given(self) -> APIKey | None:
        return self.api_key if self.token is None else self.token
