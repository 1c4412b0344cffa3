"""What a server serves, and to whom: one frozen object, from a file or written in Python.

The file is LiteLLM's `config.yaml`, read as `_litellm` explains, with two keys of our own beside
its: `chains`, the chains to serve, and `server`, the settings of `ServerConfig` that LiteLLM has no
name for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

import httpx
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    DirectoryPath,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from ai21_chains import _options
from ai21_chains._catalog import LIVE
from ai21_chains.client import ADDRESSES, STUDIO, default_address
from ai21_chains.emulator import Emulator
from ai21_chains.errors import ConfigurationError

__all__ = ["ChainConfig", "ChainKind", "Deployment", "ServerConfig", "load_config"]

ChainKind: TypeAlias = Literal[
    "grounded_qa",
    "conversational_qa",
    "contextual_answers",
    "extraction",
    "grounding_check",
    "summarize",
    "classification",
]

READY_MADE = ("grounded_qa", "contextual_answers", "grounding_check", "summarize")
"""Chains that need no settings: a server without a configuration has them as well."""

PREFIX = "AI21_CHAINS_"
"""What the names of environment variables begin with that override a setting."""


def _split(value: object) -> object:
    # An environment variable holds a list as words.
    return value.replace(",", " ").split() if isinstance(value, str) else value


_Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]
_Words: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_split)]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True
    )


class Deployment(_Part):
    """A model at an address, with the key for it. Several may share a name.

    Attributes:
        name: What clients call it.
        model: What the address calls it; an `ai21/` in front is taken off.
        api_key: The key for the address. None only for the emulator.
        base_url: The address.
        timeout: Seconds to wait for the address; None for the client's default (300, and 10 for
            connecting).
        max_retries: Further tries of a request that failed in a way that may pass, at this and at
            other deployments of the name, before the name's fallbacks are tried.
        rpm: Most requests in a minute, per worker; None for no limit.
        tpm: Most tokens in a minute, per worker; None for no limit.
        weight: Share of the requests among deployments that are equally busy.
    """

    name: _Name
    model: _options.Model
    api_key: SecretStr | None = None
    base_url: _options.BaseURL = STUDIO
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    max_retries: Annotated[int, Field(ge=0, le=20)] = 2
    rpm: Annotated[int, Field(ge=1)] | None = None
    tpm: Annotated[int, Field(ge=1)] | None = None
    weight: Annotated[int, Field(ge=1)] = 1


class ChainConfig(_Part):
    """A ready-made chain to serve.

    Attributes:
        name: Its place below `/chains/`, and as a model `chain/NAME`.
        kind: Which chain it is.
        model: The served model that it uses, by name; "" for the first one.
        documents: A folder whose documents it answers from.
        options: Further arguments of the chain's factory.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
    kind: ChainKind
    model: str = ""
    documents: DirectoryPath | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def has_settings(self) -> bool:
        """Whether there is something about it that may be wrong."""
        return bool(self.documents or self.options or self.kind not in READY_MADE)


class ServerConfig(_Part):
    """What a server serves, and to whom.

    Attributes:
        deployments: The models.
        chains: The chains.
        master_key: The key that may do everything. Without one the server is open, and listens on
            loopback only.
        database_url: Where keys and spend are kept (SQLAlchemy's form); None for the default of
            `KeyStore`.
        redis_url: Where several machines count requests together.
        fallbacks: For a model's name, the names to try after it, in order.
        cooldown_seconds: How long a deployment is left alone after it failed too often, while the
            name has another one.
        allowed_fails: Failures in a row that a deployment is forgiven; not for 429.
        request_timeout: Seconds for a whole request with all its retries. In a stream they bound
            the time until the first event.
        drop_params: Whether parameters that AI21 does not know are left out, rather than refused.
        max_body_bytes: Longest request body.
        max_concurrency: Most requests that are worked on at once; further ones get 429.
        drain_seconds: How long a server that is told to stop still takes requests, saying that it
            is not ready.
        cors_origins: Origins whose pages may call the server; none by default.
        emulator: What answers instead of AI21, if anything.
        warnings: What there is to say about the configuration, a line each.

    Example:
        >>> from ai21_chains import Emulator
        >>> from ai21_chains.serving import Deployment, ServerConfig
        >>> config = ServerConfig(
        ...     deployments=(Deployment(name="mini", model="ai21/jamba-mini"),),
        ...     emulator=Emulator(),
        ... )
        >>> config.models
        ('mini',)
    """

    deployments: tuple[Deployment, ...] = ()
    chains: tuple[ChainConfig, ...] = ()
    master_key: SecretStr | None = None
    database_url: str | None = Field(default=None, repr=False)
    redis_url: str | None = Field(default=None, repr=False)
    fallbacks: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    cooldown_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5.0
    allowed_fails: Annotated[int, Field(ge=0)] = 3
    request_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 600.0
    drop_params: bool = True
    max_body_bytes: Annotated[int, Field(ge=1)] = 10_000_000
    max_concurrency: Annotated[int, Field(ge=1)] = 256
    drain_seconds: Annotated[float, Field(ge=0, le=3600)] = 1.0
    cors_origins: _Words = ()
    emulator: Emulator | None = Field(default=None, repr=False, exclude=True)
    warnings: tuple[str, ...] = ()

    @property
    def emulated(self) -> bool:
        """Whether the embedded emulator answers instead of AI21."""
        return self.emulator is not None

    @property
    def has_keys(self) -> bool:
        """Whether callers have keys of their own, and their spend is kept."""
        return self.master_key is not None or self.database_url is not None

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The names of the plain models, each once, in the order of the deployments."""
        return tuple(dict.fromkeys(one.name for one in self.deployments))

    @cached_property
    def http_client(self) -> httpx.Client | None:
        """The client that reaches the emulator; None where AI21 itself is called."""
        return httpx.Client(transport=self.emulator.transport()) if self.emulator else None

    @cached_property
    def http_async_client(self) -> httpx.AsyncClient | None:
        """Async form of `http_client`; it belongs to no event loop."""
        return httpx.AsyncClient(transport=self.emulator.transport()) if self.emulator else None

    def api_key(self, deployment: Deployment) -> SecretStr | None:
        """Return the key to send for a deployment; the emulator takes any."""
        return deployment.api_key or (SecretStr("emulator") if self.emulator else None)

    @model_validator(mode="after")
    def _check_names(self) -> ServerConfig:
        _refuse_strangers("fallbacks", self.fallbacks, self.models)
        for name, others in self.fallbacks.items():
            _refuse_strangers(f"fallbacks of {name!r}", others, self.models)
        _refuse_strangers("chains", filter(None, (one.model for one in self.chains)), self.models)
        names = [one.name for one in self.chains]
        if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise ValueError(f"two chains are called {twice[0]!r}")
        return self


def _refuse_strangers(where: str, names: Any, known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{where}: no model is called {name!r}; there are {', '.join(known)}")


def load_config(path: str | Path | None = None) -> ServerConfig:
    """Read a server's configuration.

    Environment variables override what the file says about the server itself: those named
    `AI21_CHAINS_` and a setting's name in capitals, such as `AI21_CHAINS_MASTER_KEY`,
    `AI21_CHAINS_DATABASE_URL`, `AI21_CHAINS_REDIS_URL` or `AI21_CHAINS_MAX_CONCURRENCY`, and
    LiteLLM's `LITELLM_MASTER_KEY`.

    Args:
        path: A file like LiteLLM's `config.yaml`. None for all models that AI21 serves and the
            chains that need no settings, with the key in `AI21_API_KEY` or, without one, answered
            by the embedded emulator.

    Raises:
        ConfigurationError: The file cannot be read, or says something that cannot be.
        MissingExtraError: PyYAML is not installed.
    """
    if path is None:
        return checked("environment", {**_without_a_file(), **_environment()})
    from ai21_chains.serving import _litellm

    return checked(str(path), {**_litellm.read(Path(path)), **_environment()})


def checked(where: str, settings: Mapping[str, Any]) -> ServerConfig:
    """Return the configuration with these settings.

    Args:
        where: Where the settings come from, for the error message.
        settings: The arguments of `ServerConfig`.

    Raises:
        ConfigurationError: A setting is wrong; the message names it and holds no secret.
    """
    try:
        return ServerConfig(**settings)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        problem = first["msg"].removeprefix("Value error, ")
        problem = f"{place}: {problem}" if place else problem
        raise ConfigurationError(f"{where}: {problem}") from None


def _without_a_file() -> dict[str, Any]:
    key = os.environ.get("AI21_API_KEY", "").strip() or None
    named = next(filter(os.environ.get, ADDRESSES), None)
    if named and not key:
        raise ConfigurationError(f"AI21_API_KEY is not set, but {named} names a server")
    address = default_address()
    return {
        "deployments": [
            {"name": name, "model": name, "api_key": key, "base_url": address} for name in LIVE
        ],
        "chains": [{"name": kind, "kind": kind} for kind in READY_MADE],
        "emulator": None if key else Emulator(keep_requests=0),
        "warnings": () if key else ("AI21_API_KEY is not set",),
    }


_OVERRIDABLE = (
    "master_key",
    "database_url",
    "redis_url",
    "max_body_bytes",
    "max_concurrency",
    "request_timeout",
    "cors_origins",
    "drop_params",
)


def _environment() -> dict[str, Any]:
    found = {name: os.environ.get(PREFIX + name.upper()) for name in _OVERRIDABLE}
    found["master_key"] = found["master_key"] or os.environ.get("LITELLM_MASTER_KEY")
    return {name: value for name, value in found.items() if value}


assert set(READY_MADE) <= set(get_args(ChainKind))
