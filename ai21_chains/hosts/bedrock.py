"""Jamba on Amazon Bedrock: requests signed with SigV4, answers in binary event streams."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field
from functools import cache, cached_property
from typing import Any, ClassVar, NamedTuple
from urllib.parse import quote

from ai21_chains._catalog import MODELS
from ai21_chains._extras import import_extra
from ai21_chains._host import Host
from ai21_chains._protocol import quote as shortened
from ai21_chains._wire import ChatRequest, JSONObject
from ai21_chains.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    InternalServerError,
    MissingAPIKeyError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
)
from ai21_chains.hosts._checks import keep_address, settings
from ai21_chains.hosts._event_stream import EventStreamDecoder, short_name

_SERVICE = "bedrock"

# Bedrock may refuse what is not in a model's schema; AI21 Studio ignores it.
_NOT_SENT = frozenset({"model", "stream", "tool_choice", "parallel_tool_calls", "seed", "user"})

_UNKNOWN_CREDENTIALS = (
    "ExpiredToken",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignature",
    "MissingAuthenticationToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClient",
)
_KINDS: dict[str, type[APIStatusError]] = {
    **dict.fromkeys(_UNKNOWN_CREDENTIALS, AuthenticationError),
    "ModelError": InternalServerError,
    "ModelStreamError": InternalServerError,
    "ServiceQuotaExceeded": RateLimitError,
}
"""Errors whose status says less than their name."""


class _Signer(NamedTuple):
    """Who is asking, and where: a bearer token, or credentials to sign with."""

    region: str
    token: str | None
    keys: Any


@settings
class Bedrock(Host):
    """Amazon Bedrock's InvokeModel; needs `pip install "ai21-chains[aws]"`.

    `model` is an id such as `ai21.jamba-1-5-mini-v1:0`, an inference profile's id
    (`us.ai21.…`) or an ARN. Credentials come from where AWS's tools look for them: the
    environment (`AWS_BEARER_TOKEN_BEDROCK`, `AWS_ACCESS_KEY_ID`, …), profiles, SSO, and the role
    of the container or the machine; what expires is renewed, in async code in a thread.

    How sure this is: signature, event stream and errors are those of botocore's model of the
    service; the chat's fields are AI21's without `model` and `stream`, as AI21's own SDK sends
    them (high). What AI21's models ignore (`tool_choice`, `seed`, …) is left out, as Bedrock may
    refuse it (medium). Nothing was tried against AWS.

    Args:
        region: The region. Default: that of the session, or the environment's `AWS_REGION`.
        profile: A profile of AWS's configuration files.
        session: A `botocore` or `boto3` session to take credentials and region from.
        endpoint: Address of the service, for a VPC endpoint of one's own.

    Raises:
        ConfigurationError: An argument is not what it should be.

    Example:
        >>> Bedrock(region="us-east-1", profile="team-a")
        Bedrock(region='us-east-1', profile='team-a', endpoint=None)
    """

    name: ClassVar[str] = "Amazon Bedrock"
    place: ClassVar[str] = "region"
    personal: ClassVar[tuple[str, ...]] = ("session",)
    accepts: ClassVar[str] = "application/vnd.amazon.eventstream"
    # A model that ran into its time limit has run, and will again.
    final: ClassVar[frozenset[int]] = frozenset({408})
    hints: ClassVar[Mapping[type[APIStatusError], str]] = {
        AuthenticationError: (
            "Check the AWS credentials and whether they have expired: "
            "`aws sts get-caller-identity` says who they are"
        ),
        PermissionDeniedError: (
            "The credentials may not invoke this model: check the policy "
            "(bedrock:InvokeModel, bedrock:InvokeModelWithResponseStream) and the account's "
            "access to the model"
        ),
        BadRequestError: (
            "The request cannot succeed unchanged; if it is the model that Bedrock does not know, "
            "its ids look like 'ai21.jamba-1-5-mini-v1:0', and not each region has each"
        ),
        NotFoundError: "Check model and region: not each region has each model",
        RequestTimeoutError: "The model took too long: ask for less (max_tokens)",
        InternalServerError: "The fault is the server's: try again later",
    }

    region: str | None = None
    profile: str | None = None
    session: Any = field(default=None, repr=False)
    endpoint: str | None = None

    def __post_init__(self) -> None:
        """Check the address."""
        if self.endpoint is not None:
            keep_address(self, "endpoint", "https://bedrock-runtime.us-east-1.amazonaws.com")
        if self.session is not None and self.profile is not None:
            raise ConfigurationError("Bedrock: pass session or profile, not both")

    def credentials(self) -> _Signer:
        """Return the credentials as of now, renewed if they are about to expire."""
        found, region = self._found
        if isinstance(found, str):
            return _Signer(region, found, None)
        try:
            return _Signer(region, None, found.get_frozen_credentials())
        except _exceptions().BotoCoreError as error:
            raise _refused(error) from error

    async def acredentials(self) -> _Signer:
        """Async form of `credentials`."""
        known = self.__dict__.get("_found")
        if known and not getattr(known[0], "refresh_needed", bool)():
            return self.credentials()
        signer: _Signer = await super().acredentials()
        return signer

    def url(self, body: ChatRequest, credentials: _Signer) -> str:
        """Return the address of the model."""
        model = body["model"]
        if model in MODELS:
            raise ConfigurationError(
                f"model={model!r} is a name of AI21 Studio's; on Amazon Bedrock an id looks like "
                "'ai21.jamba-1-5-mini-v1:0'"
            )
        server = self.endpoint or f"https://{_server(credentials.region)}"
        verb = "invoke-with-response-stream" if body.get("stream") else "invoke"
        return f"{server}/model/{quote(model, safe='')}/{verb}"

    def headers(self, url: str, content: bytes, credentials: _Signer) -> Mapping[str, str]:
        """Return the bearer token, or a signature of the request (SigV4)."""
        if credentials.token is not None:
            return {"Authorization": f"Bearer {credentials.token}"}
        auth = import_extra("botocore.auth", "Bedrock", "aws")
        request = import_extra("botocore.awsrequest", "Bedrock", "aws").AWSRequest(
            "POST", url, headers={"Content-Type": "application/json"}, data=content
        )
        auth.SigV4Auth(credentials.keys, _SERVICE, credentials.region).add_auth(request)
        return dict(request.headers.items())

    def body(self, body: ChatRequest) -> JSONObject:
        """Return the request without what its address says, and what AI21's models ignore."""
        return {name: value for name, value in body.items() if name not in _NOT_SENT}

    def decoder(self) -> EventStreamDecoder:
        """Return a decoder of AWS's event streams."""
        return EventStreamDecoder()

    def kind_of(self, status: int, headers: Mapping[str, str]) -> type[APIStatusError] | None:
        """Return the class for an error that AWS names."""
        return _KINDS.get(short_name(headers.get("x-amzn-errortype", "")))

    def _bearer(self) -> str | None:
        own = self.session is not None or self.profile is not None
        return None if own else os.environ.get("AWS_BEARER_TOKEN_BEDROCK")

    @cached_property
    def _found(self) -> tuple[Any, str]:
        """Where the credentials come from, and the region."""
        session = getattr(self.session, "_session", self.session)  # boto3 wraps botocore
        if session is None:
            session = import_extra("botocore.session", "Bedrock", "aws").Session(
                profile=self.profile
            )
        try:
            region = self.region or os.environ.get("AWS_REGION")
            region = region or session.get_config_variable("region")
            found = self._bearer() or session.get_credentials()
        except _exceptions().BotoCoreError as error:
            raise _refused(error) from error
        if not region:
            raise ConfigurationError(
                "Bedrock: there is no region: pass region='us-east-1', or set AWS_REGION"
            )
        if found is None:
            raise MissingAPIKeyError(
                "There are no AWS credentials for Amazon Bedrock: set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, name a profile, or run where a role is attached"
            )
        return found, region


@cache
def _server(region: str) -> str:
    """Return the name of the server in a region."""
    loader = import_extra("botocore.loaders", "Bedrock", "aws").Loader()
    resolver = import_extra("botocore.regions", "Bedrock", "aws").EndpointResolver(
        loader.load_data("endpoints")
    )
    found = resolver.construct_endpoint("bedrock-runtime", region)
    if found is None:
        raise ConfigurationError(
            f"Bedrock: AWS has no region {region!r:.60}; they look like 'us-east-1'"
        )
    return str(found["hostname"])


def _exceptions() -> Any:
    return import_extra("botocore.exceptions", "Bedrock", "aws")


def _refused(error: Exception) -> MissingAPIKeyError:
    words = shortened(f"{type(error).__name__}: {error}")
    return MissingAPIKeyError(
        f"The AWS credentials for Amazon Bedrock cannot be had: {words.rstrip('.')}. Check the "
        "profile, or sign in again"
    )
