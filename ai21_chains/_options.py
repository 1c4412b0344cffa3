"""The arguments of a model: their types and ranges, the same for a constructor and for one call.

Ranges are those of AI21's API reference (Chat Completions, request). Whatever is wrong is refused
here, by name, before anything is sent.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from functools import cache
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit

from langchain_core.documents import Document
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    SkipValidation,
    TypeAdapter,
    ValidationError,
)
from typing_extensions import TypedDict

from ai21_chains.client import APIKey, AsyncHTTPClient, Host, HTTPClient, Timeout
from ai21_chains.errors import ConfigurationError

ALIASES = {
    "model_name": "model",
    "api_host": "base_url",
    "api_base": "base_url",
    "num_results": "n",
    "stop_sequences": "stop",
}
"""Names that other AI21 clients use, and ours."""

_SECRETS = frozenset({"api_key", "proxy", "base_url", "default_headers", "extra_headers"})
"""Arguments whose value may hold a credential: an error message never repeats it."""


def _check_model(model: str) -> str:
    # LiteLLM's spelling, in many a configuration file.
    model = model.strip().removeprefix("ai21/")
    if not model:
        raise ValueError("Input should name a model, such as 'jamba-mini'")
    return model


def _check_base_url(url: str) -> str:
    try:
        parts = urlsplit(url.strip())
        host = parts.hostname if parts.scheme in ("http", "https") and parts.port != 0 else None
    except ValueError:  # whose words may repeat a credential
        host = None
    if not host:
        raise ValueError("Input should be an address such as 'https://api.ai21.com/studio/v1'")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("Input should be an address without credentials, query and fragment")
    path = parts.path.rstrip("/")
    if not path and host.endswith(".ai21.com"):
        # Until version 3.2 AI21's own SDK took AI21_API_HOST without the path.
        path = "/studio/v1"
    return f"{parts.scheme}://{parts.netloc}{path}"


def _check_stop(stop: str | list[str]) -> list[str]:
    stops = [stop] if isinstance(stop, str) else stop
    if not all(stops):
        raise ValueError("Input should hold no empty string")
    return stops


def _refuse_bool(number: object) -> object:
    if isinstance(number, bool):
        raise ValueError("Input should be a number, not true or false")
    return number


def _as_list(given: object) -> object:
    # What can be read only once would be there for the first call alone.
    return list(given) if isinstance(given, Iterator) else given


def _as_secret(given: object) -> object:
    if isinstance(given, Mapping):
        return {name: _as_secret(value) for name, value in given.items()}
    return SecretStr(given) if isinstance(given, str) else given


def _as_text(given: object) -> object:
    if isinstance(given, Mapping):
        return {name: _as_text(value) for name, value in given.items()}
    return given.get_secret_value() if isinstance(given, SecretStr) else given


def _as_timeout(given: object) -> object:
    if not isinstance(given, Mapping):
        return given
    try:
        return Timeout(**given)  # from the dict of its parts, as it is dumped
    except TypeError:
        raise ValueError("Input should be seconds, or an httpx.Timeout") from None


def _as_host(given: object) -> object:
    if given is None or isinstance(given, Host):
        return given
    from ai21_chains import hosts  # loads nothing until there is a host

    if isinstance(given, Mapping):
        return hosts.from_dict(given)
    name = getattr(given, "__name__", str(given))
    meant = next((one for one in hosts.__all__ if one.lower() == name.lower()), "Bedrock")
    raise ValueError(
        f"Input should be a host: `from ai21_chains.hosts import {meant}`, host={meant}(…)"
    )


Model: TypeAlias = Annotated[str, AfterValidator(_check_model)]
BaseURL: TypeAlias = Annotated[str, AfterValidator(_check_base_url)]
_Number = BeforeValidator(_refuse_bool)
Temperature: TypeAlias = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False), _Number]
TopP: TypeAlias = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), _Number]
MaxTokens: TypeAlias = Annotated[int, Field(ge=0), _Number]
Choices: TypeAlias = Annotated[int, Field(ge=1, le=16), _Number]
Stop: TypeAlias = Annotated[str | list[str], AfterValidator(_check_stop)]
# Not checked by pydantic: a dict would be tried as a Document, whose constructor raises TypeError.
# `_request.documents_to_wire` says what is wrong.
Documents: TypeAlias = Annotated[
    Sequence[Document | str | dict[str, Any]], SkipValidation, BeforeValidator(_as_list)
]
Retries: TypeAlias = Annotated[int, Field(ge=0), _Number]
Seconds: TypeAlias = Annotated[
    Annotated[float, Field(gt=0, allow_inf_nan=False), _Number] | Timeout,
    BeforeValidator(_as_timeout),
]
Key: TypeAlias = Annotated[APIKey, BeforeValidator(_as_secret)]
Headers: TypeAlias = Annotated[Mapping[str, str], BeforeValidator(_as_text)]
Proxy: TypeAlias = Annotated[str, BeforeValidator(_as_text)]
Place: TypeAlias = Annotated[Host, BeforeValidator(_as_host)]


class TransportOptions(TypedDict, total=False):
    """What can be set for a single call of any component: how the request travels."""

    __pydantic_config__ = ConfigDict(  # type: ignore[misc]
        extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    api_key: Key | None
    base_url: BaseURL
    timeout: Seconds | None
    max_retries: Retries
    default_headers: Headers | None
    extra_headers: Headers | None
    proxy: Proxy | None
    http_client: HTTPClient | None
    http_async_client: AsyncHTTPClient | None
    host: Place | None
    """Where chat is served other than at `base_url`."""


TRANSPORT = frozenset(TransportOptions.__annotations__)
"""Options that decide how a request travels, not what is asked. Traces and caches ignore them."""


class CallOptions(TransportOptions, total=False):
    """What can be set for a single call; each has the meaning that it has in the constructor."""

    model: Model
    temperature: Temperature | None
    top_p: TopP | None
    max_tokens: MaxTokens | None
    stop: Stop | None
    n: Choices | None
    seed: int | None
    user: str | None
    documents: Documents | None
    response_format: Any
    tools: Sequence[Any] | None
    tool_choice: Any
    parallel_tool_calls: bool | None
    model_kwargs: dict[str, Any]
    # Read by LangChain, which passes them on all the same.
    stream: bool


def hide(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options in a form that shows no credential when it is printed or dumped.

    Args:
        options: Options of a call, by name. `check_call` takes them in both forms.
    """
    hidden = _SECRETS - {"base_url"}  # which is refused if it holds one
    return {name: _as_secret(value) if name in hidden else value for name, value in options.items()}


def check_call(options: Mapping[str, Any], owner: str, kind: Any = CallOptions) -> dict[str, Any]:
    """Check the options of one call.

    Args:
        options: What the caller gave, by name.
        owner: The class that was called, for the error message.
        kind: The options that it knows: a `TypedDict`.

    Raises:
        ConfigurationError: A value is out of range or of the wrong type, or a name is unknown.
    """
    try:
        return dict(_adapter(kind).validate_python(canonical(options)))
    except ValidationError as error:
        raise explain(error, owner, kind.__annotations__) from None


# Made once, and only for what is used.
@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def canonical(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with other clients' names replaced by ours.

    Raises:
        ConfigurationError: An option is given twice.
    """
    named: dict[str, Any] = {}
    for name, value in options.items():
        ours = ALIASES.get(name, name)
        if ours in named:
            raise ConfigurationError(f"{ours} is given twice, under two of its names")
        named[ours] = value
    return named


def without(options: Mapping[str, Any], names: Set[str]) -> dict[str, Any]:
    """Return the options but for some.

    Args:
        options: Options of a call, under whichever of their names.
        names: The ones to leave out, under ours.
    """
    return {name: value for name, value in options.items() if ALIASES.get(name, name) not in names}


def explain(error: ValidationError, owner: str, known: Collection[str]) -> ConfigurationError:
    """Say in one line what is wrong, without repeating what may be a secret."""
    first = error.errors(include_url=False, include_context=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "arguments"
    if first["type"] == "extra_forbidden" and len(first["loc"]) > 1:
        return ConfigurationError(f"{owner}: {name} has no field {first['loc'][-1]!r}")
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, [*known, *ALIASES], n=1)
        other = (
            "To send a field that this library does not know, put it into model_kwargs"
            if "model_kwargs" in known
            else f"It takes {', '.join(known)}"
        )
        advice = f"Did you mean {near[0]!r}?" if near else other
        return ConfigurationError(f"{owner}: unknown argument {name!r}. {advice}")
    problem = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    value = first["input"]
    shown = name not in _SECRETS and isinstance(value, int | float | str | None)
    return ConfigurationError(f"{owner}: {name} {problem}" + (f", got {value!r:.60}" * shown))
