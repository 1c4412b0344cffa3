"""What hosts have in common that speak OpenAI's protocol and want a key, if anything."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import SecretStr

from ai21_chains._host import Host
from ai21_chains._keys import APIKey, akey_of, key_of
from ai21_chains._protocol import CHAT_PATH
from ai21_chains._wire import ChatRequest, Document, JSONObject, Message
from ai21_chains.errors import MissingAPIKeyError


@dataclass(frozen=True, kw_only=True)
class KeyHost(Host):
    """A host with a chat endpoint at a fixed address, and a key."""

    personal: ClassVar[tuple[str, ...]] = ("api_key",)
    variables: ClassVar[tuple[str, ...]]
    """Environment variables that may hold the key."""

    api_key: APIKey | None = field(default=None, repr=False)
    """The key, or a callable without arguments, sync or async, that returns it and is asked for
    each request. A sync one may block: async calls ask it in a thread."""

    def __post_init__(self) -> None:
        """Hide the key."""
        if isinstance(self.api_key, str):
            object.__setattr__(self, "api_key", SecretStr(self.api_key))

    def credentials(self) -> str:
        """Return the key."""
        return self._present(key_of(self._given()))

    async def acredentials(self) -> str:
        """Async form of `credentials`."""
        return self._present(await akey_of(self._given()))

    def _given(self) -> APIKey | None:
        return self.api_key

    def _present(self, key: str) -> str:
        key = key or next(filter(None, map(os.environ.get, self.variables)), "")
        if not key and self._wants_key():
            raise MissingAPIKeyError(
                f"There is no key for {self.name}: pass api_key=… to {type(self).__name__} or set "
                f"{' or '.join(self.variables)}"
            )
        return key

    def _wants_key(self) -> bool:
        return True

    def headers(self, url: str, content: bytes, credentials: Any) -> Mapping[str, str]:
        """Return the header with the key."""
        return {"Authorization": f"Bearer {credentials}"} if credentials else {}


def chat_url(base_url: str) -> str:
    """Return the address of the chat endpoint."""
    return base_url + CHAT_PATH


def counted(body: Mapping[str, Any]) -> JSONObject:
    """Ask for the usage at the end of a stream, which OpenAI's protocol gives on request only."""
    usage = {"stream_options": {"include_usage": True}} if body.get("stream") else {}
    return {**usage, **body}


def without_documents(body: ChatRequest) -> JSONObject:
    """Move the documents into the system message, for a host that has no field for them.

    They are written as Jamba's own chat template writes them.
    """
    given = body.get("documents")
    if not given:
        return {**body}
    rest: JSONObject = {name: value for name, value in body.items() if name != "documents"}
    text = "\n\n".join(
        [
            "# Documents",
            "You can use the following documents for reference:",
            *(_written(number, document) for number, document in enumerate(given)),
        ]
    )
    first, *others = body["messages"]
    said = first["content"] if first["role"] == "system" else ""
    system: Message = {
        "role": "system",
        "content": f"{said}\n\n<documents>\n{text}\n</documents>".lstrip(),
    }
    return {**rest, "messages": [system, *(others if said else body["messages"])]}


def _written(number: int, document: Document) -> str:
    about = {name.capitalize(): text for name, text in document["metadata"].items()}
    lines = [f"{name}: {text}" for name, text in {**about, "Text": document["content"]}.items()]
    return "\n".join([f"## Document ID: {number}", *lines])
