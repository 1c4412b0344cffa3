"""Jamba as an NVIDIA NIM: in NVIDIA's API catalogue, or a container of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ai21_chains._wire import ChatRequest, JSONObject
from ai21_chains.errors import APIStatusError, AuthenticationError, NotFoundError
from ai21_chains.hosts._checks import keep_address, settings
from ai21_chains.hosts._openai import KeyHost, chat_url, counted, without_documents

CATALOGUE = "https://integrate.api.nvidia.com/v1"
"""NVIDIA's hosted API."""


@settings
class Nvidia(KeyHost):
    """NVIDIA NIM; models such as `ai21labs/jamba-1.5-large-instruct`.

    How sure this is: address, key and model ids are those of LiteLLM's and NVIDIA's own clients;
    that the rest is OpenAI's protocol is all that is known, so documents are put into the system
    message, and a JSON schema or `tool_choice` is said in words as well.

    Args:
        api_key: The key, `nvapi-…`. Default: the environment's `NVIDIA_API_KEY`. A container of
            one's own needs none.
        base_url: Address of the API, up to and with `/v1`.

    Raises:
        ConfigurationError: An argument is not what it should be.

    Example:
        >>> Nvidia(api_key="nvapi-…")
        Nvidia(base_url='https://integrate.api.nvidia.com/v1')
    """

    name: ClassVar[str] = "NVIDIA NIM"
    place: ClassVar[str] = "base_url"
    variables: ClassVar[tuple[str, ...]] = ("NVIDIA_API_KEY",)
    hints: ClassVar[Mapping[type[APIStatusError], str]] = {
        AuthenticationError: "Check the api_key of Nvidia, or NVIDIA_API_KEY",
        NotFoundError: "Check model; NVIDIA's ids look like 'ai21labs/jamba-1.5-large-instruct'",
    }

    base_url: str = CATALOGUE

    def __post_init__(self) -> None:
        """Check the address."""
        super().__post_init__()
        keep_address(self, "base_url", CATALOGUE)

    def url(self, body: ChatRequest, credentials: Any) -> str:
        """Return the address of the chat endpoint."""
        return chat_url(self.base_url)

    def body(self, body: ChatRequest) -> JSONObject:
        """Return the request without a field for documents."""
        return counted(without_documents(body))

    def _wants_key(self) -> bool:
        return self.base_url == CATALOGUE
