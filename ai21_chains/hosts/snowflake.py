"""Jamba on Snowflake Cortex."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from ai21_chains._wire import ChatRequest, JSONObject
from ai21_chains.errors import (
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
)
from ai21_chains.hosts._checks import check, settings
from ai21_chains.hosts._openai import KeyHost, chat_url, without_documents

_KINDS = ("PROGRAMMATIC_ACCESS_TOKEN", "KEYPAIR_JWT", "OAUTH")


@settings
class Snowflake(KeyHost):
    """Snowflake Cortex's chat endpoint; models `jamba-instruct`, `jamba-1.5-mini` and `…-large`.

    How sure this is: address, token header and model ids are from Snowflake's pages as other
    clients' code quotes them (medium); that the limit of the answer is called
    `max_completion_tokens` and that there is no field for documents, which are put into the system
    message, is taken from OpenAI's protocol. Nothing was tried against Snowflake.

    Args:
        account: The account identifier, such as `myorg-myaccount`.
        api_key: A token of the kind that `token_type` says; a JWT lives for an hour at most, so
            pass a callable that makes one. Default: the environment's `SNOWFLAKE_TOKEN`.
        token_type: What Snowflake is told about the token.

    Raises:
        ConfigurationError: An argument is not what it should be.

    Example:
        >>> Snowflake(account="myorg-myaccount", api_key="…")
        Snowflake(account='myorg-myaccount', token_type='PROGRAMMATIC_ACCESS_TOKEN')
    """

    name: ClassVar[str] = "Snowflake Cortex"
    place: ClassVar[str] = "account"
    variables: ClassVar[tuple[str, ...]] = ("SNOWFLAKE_TOKEN",)
    hints: ClassVar[Mapping[type[APIStatusError], str]] = {
        AuthenticationError: (
            "Check the token (api_key of Snowflake, or SNOWFLAKE_TOKEN), whether it has expired, "
            "and token_type"
        ),
        PermissionDeniedError: "The token's role needs SNOWFLAKE.CORTEX_USER",
        NotFoundError: "Check account, and whether its region has the model",
    }

    account: str
    token_type: Literal["PROGRAMMATIC_ACCESS_TOKEN", "KEYPAIR_JWT", "OAUTH"] = (
        "PROGRAMMATIC_ACCESS_TOKEN"
    )

    def __post_init__(self) -> None:
        """Check the account."""
        super().__post_init__()
        check(self, "account", r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", "myorg-myaccount")
        if self.token_type not in _KINDS:
            raise ConfigurationError(
                f"Snowflake: token_type should be {', '.join(_KINDS[:2])} or {_KINDS[2]}, "
                f"got {self.token_type!r:.60}"
            )

    def url(self, body: ChatRequest, credentials: Any) -> str:
        """Return the address of the account's chat endpoint."""
        # An underscore is allowed in the name of an account, not in that of a server.
        server = self.account.lower().replace("_", "-")
        return chat_url(f"https://{server}.snowflakecomputing.com/api/v2/cortex/v1")

    def headers(self, url: str, content: bytes, credentials: Any) -> Mapping[str, str]:
        """Return the token, and of which kind it is."""
        kind = {"X-Snowflake-Authorization-Token-Type": self.token_type}
        return {**super().headers(url, content, credentials), **kind}

    def body(self, body: ChatRequest) -> JSONObject:
        """Return the request with OpenAI's newer name for the answer's limit."""
        sent = without_documents(body)
        if "max_tokens" in sent:
            sent["max_completion_tokens"] = sent.pop("max_tokens")
        return sent
