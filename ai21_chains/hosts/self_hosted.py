"""Jamba on a server of one's own: vLLM, or another that speaks OpenAI's protocol as vLLM does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ai21_chains._wire import ChatRequest, Document, JSONObject
from ai21_chains.errors import APIStatusError, AuthenticationError, NotFoundError
from ai21_chains.hosts._checks import keep_address, settings
from ai21_chains.hosts._openai import KeyHost, chat_url, counted


@settings
class SelfHosted(KeyHost):
    """A vLLM server (`vllm serve ai21labs/AI21-Jamba-Mini-1.7 --tool-call-parser jamba …`).

    vLLM enforces JSON schemas and `tool_choice` while it decodes, so both are sent and the model is
    not told in words. Documents go into the field that vLLM hands to the chat template; each is
    flat there: `text`, and the metadata. The model is called by the name that the server gives it
    (`--served-model-name`, or the path of the weights).

    How sure this is: the wire is vLLM's OpenAI-compatible server's (`response_format` of type
    `json_schema`, `tool_choice`, `documents`, `chat_template_kwargs`, `stream_options`); it was
    tried against a server of our own, not against vLLM.

    Args:
        base_url: Address of the server, up to and with `/v1`.
        api_key: The server's `--api-key`, if it has one. Default: the environment's `VLLM_API_KEY`.
        chat_template_kwargs: What the chat template gets with each request. That of one request is
            `model_kwargs={"chat_template_kwargs": {…}}`.

    Raises:
        ConfigurationError: An argument is not what it should be.

    Example:
        >>> from ai21_chains import ChatAI21
        >>> host = SelfHosted(base_url="http://gpu-1:8000/v1")
        >>> ChatAI21(model="jamba", host=host).model
        'jamba'
    """

    name: ClassVar[str] = "the self-hosted server"
    place: ClassVar[str] = "base_url"
    variables: ClassVar[tuple[str, ...]] = ("VLLM_API_KEY",)
    obeys: ClassVar[bool] = True
    hints: ClassVar[Mapping[type[APIStatusError], str]] = {
        AuthenticationError: "Pass the server's key: SelfHosted(api_key=…) or VLLM_API_KEY",
        NotFoundError: (
            "Check base_url (vLLM's ends in /v1) and model: GET /v1/models lists the names"
        ),
    }

    base_url: str = "http://localhost:8000/v1"
    chat_template_kwargs: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Check the address."""
        super().__post_init__()
        keep_address(self, "base_url", "http://localhost:8000/v1")

    def url(self, body: ChatRequest, credentials: Any) -> str:
        """Return the address of the chat endpoint."""
        return chat_url(self.base_url)

    def body(self, body: ChatRequest) -> JSONObject:
        """Return the request with flat documents and the template's arguments."""
        more: JSONObject = {}
        if self.chat_template_kwargs:
            more["chat_template_kwargs"] = self.chat_template_kwargs
        if documents := body.get("documents"):
            return {**more, **counted(body), "documents": [_flat(one) for one in documents]}
        return {**more, **counted(body)}

    def _wants_key(self) -> bool:
        return False


def _flat(document: Document) -> dict[str, str]:
    identity = {"id": document["id"]} if "id" in document else {}
    return {**identity, **document["metadata"], "text": document["content"]}
