"""What a Maestro run can be given: requirements on its answer, and tools. Values, nothing is sent.

The fields are those of AI21's API reference (Maestro, create a run), which bounds few of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    SerializationInfo,
    SkipValidation,
    ValidationError,
    field_validator,
    model_validator,
)

from ai21_chains._wire import JSONObject
from ai21_chains.errors import ConfigurationError

MOST_REQUIREMENTS = 10
MOST_WORDS = 128
ONE_OF_A_KIND = ("file_search", "web_search")

_WIRE = "wire"

Language = Literal[
    "arabic",
    "dutch",
    "english",
    "french",
    "german",
    "hebrew",
    "italian",
    "portuguese",
    "spanish",
    "unset",
]
"""Languages that Maestro knows."""


def _written(secret: SecretStr | str, info: SerializationInfo) -> str:
    if isinstance(secret, SecretStr) and info.context == _WIRE:
        return secret.get_secret_value()
    return str(secret)


def _hidden(given: object) -> object:
    return SecretStr(given) if isinstance(given, str) else given


_Secret = Annotated[SecretStr | str, BeforeValidator(_hidden), PlainSerializer(_written)]
Headers = Mapping[str, _Secret]
"""HTTP headers for a tool's server. They hold credentials: only the request itself shows them."""

_URL = Field(pattern=r"^https?://")


class _Part(BaseModel):
    """A part of a request. It is checked when it is made; only what is set is sent."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    if not TYPE_CHECKING:  # type checkers read the fields

        def __init__(self, **given: Any) -> None:
            try:
                super().__init__(**given)
            except ValidationError as error:
                raise _explained(error, type(self)) from None

    def to_wire(self) -> JSONObject:
        """Return it in the form of AI21's API."""
        return self.model_dump(exclude_none=True, context=_WIRE)

    def shown(self) -> JSONObject:
        """Return it as it can be shown and kept: without its headers."""
        return self.model_dump(exclude_none=True, exclude={"headers"})


class Requirement(_Part):
    """What an answer has to fulfil; Maestro scores each.

    Example:
        >>> Requirement(name="length", description="At most 50 words.", is_mandatory=True).to_wire()
        {'name': 'length', 'description': 'At most 50 words.', 'is_mandatory': True}
    """

    name: str = Field(min_length=1)
    """What it is called in the scores."""

    description: str = Field(min_length=1)
    """What is required, in 128 words at most."""

    is_mandatory: bool = False
    """Whether the whole answer scores 0 when this is not met."""

    @field_validator("description")
    @classmethod
    def _check_length(cls, description: str) -> str:
        if (words := len(description.split())) > MOST_WORDS:
            raise ValueError(f"Input has {words} words; Maestro takes {MOST_WORDS} at most")
        return description


class FileSearch(_Part):
    """Searches the files of the library.

    Example:
        >>> FileSearch(labels=["handbook"]).to_wire()
        {'type': 'file_search', 'labels': ['handbook']}
    """

    type: Literal["file_search"] = "file_search"
    """Its kind."""

    labels: list[str] | None = None
    """Only files with these labels."""

    labels_filter_mode: Literal["AND", "OR"] | None = None
    """Whether a file needs all the labels or one of them. AI21's default is "AND"."""

    labels_filter: dict[str, Any] | None = None
    """A filter over labels as AI21 writes it."""

    file_ids: list[str] | None = None
    """Only these files."""

    path: str | None = None
    """Only files whose path begins like this."""

    retrieval_strategy: Literal["segments", "default", "add_neighbors", "full_doc"] | None = None
    """What is taken of a file that fits. AI21's default is "segments"."""

    max_neighbors: int | None = Field(default=None, ge=0)
    """With "add_neighbors": how many segments before and after each one."""

    retrieval_similarity_threshold: float | None = Field(default=None, ge=0)
    """How similar a segment must be at least."""

    hybrid_search_alpha: float | None = Field(default=None, ge=0, le=1)
    """From 0, search by words, to 1, search by meaning, which is AI21's default."""

    use_two_step_embedders: bool | None = None
    """Whether to search in two steps."""

    response_language: Language | None = None
    """The language of what is found."""


class WebSearch(_Part):
    """Searches the web.

    Example:
        >>> WebSearch(urls=["docs.ai21.com"], fallback_to_web=False).to_wire()
        {'type': 'web_search', 'urls': ['docs.ai21.com'], 'fallback_to_web': False}
    """

    type: Literal["web_search"] = "web_search"
    """Its kind."""

    urls: list[str] | None = None
    """Where to search: domains, sub-domains, or addresses that a page's begins with."""

    fallback_to_web: bool | None = None
    """Whether to search everywhere when these have nothing."""

    query_suffix: str | None = None
    """What is added to each query."""

    rephrase_query: bool | None = None
    """Whether Maestro words the query."""

    use_cached_pages: bool | None = None
    """Whether pages may come from a cache. AI21's default is no."""


class MCPTool(_Part):
    """The tools of an MCP server, which Maestro calls from AI21's side.

    Example:
        >>> MCPTool(server_url="https://mcp.example.com", headers={"Authorization": "Bearer 1"})
        ... # doctest: +ELLIPSIS
        MCPTool(type='mcp', server_url='https://mcp.example.com', ...SecretStr('**********')...)
    """

    type: Literal["mcp"] = "mcp"
    """Its kind."""

    server_url: Annotated[str, _URL] | None = None
    """Where the server is."""

    server_label: str | None = None
    """What it is called in the data sources."""

    headers: Headers | None = None
    """Headers of each request to it. They are shown and dumped nowhere."""

    allowed_tools: list[str] | None = None
    """The tools that may be called. Default: all."""

    mcp_id: str | None = None
    """Id of a server that is kept with AI21, instead of `server_url`."""

    @model_validator(mode="after")
    def _check_place(self) -> MCPTool:
        if not (self.server_url or self.mcp_id):
            raise ValueError("Input needs server_url or mcp_id")
        return self


class HTTPTool(_Part):
    """An HTTP endpoint, which Maestro calls from AI21's side.

    Example:
        >>> tool = HTTPTool(
        ...     name="get_order",
        ...     description="Looks an order up.",
        ...     parameters={
        ...         "properties": {"id": {"type": "string", "description": "The order's number."}},
        ...         "required": ["id"],
        ...     },
        ...     url="https://shop.example.com/orders",
        ... )
        >>> tool.to_wire()["endpoint"]
        {'url': 'https://shop.example.com/orders'}
    """

    type: Literal["http"] = "http"
    """Its kind."""

    name: str = Field(min_length=1)
    """What it is called."""

    description: str
    """What it does."""

    parameters: dict[str, Any]
    """JSON schema of what it takes: `properties`, each with type and description, `required`."""

    url: Annotated[str, _URL]
    """Where it is."""

    headers: Headers | None = None
    """Headers of each request to it. They are shown and dumped nowhere."""

    @model_validator(mode="before")
    @classmethod
    def _from_the_wire(cls, given: Any) -> Any:
        if not (isinstance(given, Mapping) and "function" in given):
            return given
        kept = {name: part for name, part in given.items() if name not in ("function", "endpoint")}
        return {**kept, **given["function"], **(given.get("endpoint") or {})}

    @field_validator("parameters")
    @classmethod
    def _complete(cls, schema: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(schema.get("properties", {}), Mapping):
            raise ValueError("Input should be the JSON schema of an object")
        defaults = {"type": "object", "properties": {}, "required": []}
        return {**defaults, "additionalProperties": False, **schema}

    def to_wire(self) -> JSONObject:
        """Return it in the form of AI21's API."""
        flat = super().to_wire()
        endpoint = {name: flat.pop(name) for name in ("url", "headers") if name in flat}
        return {"type": flat.pop("type"), "function": flat, "endpoint": endpoint}


Tool: TypeAlias = FileSearch | WebSearch | HTTPTool | MCPTool

_KINDS: Mapping[object, type[Tool]] = {
    "file_search": FileSearch,
    "web_search": WebSearch,
    "http": HTTPTool,
    "mcp": MCPTool,
}


def as_tools(given: object) -> list[Tool]:
    """Check tools that are builders or dicts in AI21's form.

    Raises:
        ConfigurationError: Something is no tool that Maestro runs, or there are two of a kind that
            there can be one of.
    """
    tools = [_as_tool(one) for one in _items(given)]
    for kind in ONE_OF_A_KIND:
        if sum(tool.type == kind for tool in tools) > 1:
            raise ConfigurationError(f"Input should have one {kind} at most")
    return tools


def _as_tool(given: object) -> Tool:
    if isinstance(given, Tool):
        return given
    kind = _KINDS.get(given.get("type")) if isinstance(given, Mapping) else None
    if kind is None:
        raise ConfigurationError(
            "Input should hold FileSearch, WebSearch, HTTPTool or MCPTool: Maestro runs its tools "
            "itself. Functions of your own go to ChatAI21.bind_tools"
        )
    return kind(**given)  # type: ignore[arg-type]


def as_requirements(given: object) -> list[Requirement]:
    """Check requirements that are `Requirement`s, dicts in AI21's form, or plain texts.

    Raises:
        ConfigurationError: One is none, or there are too many.
    """
    found = [_as_requirement(one, at) for at, one in enumerate(_items(given), start=1)]
    if len(found) > MOST_REQUIREMENTS:
        count = len(found)
        raise ConfigurationError(f"Input has {count} items; Maestro takes {MOST_REQUIREMENTS}")
    return found


def _as_requirement(given: object, number: int) -> Requirement:
    if isinstance(given, str):
        return Requirement(name=f"requirement {number}", description=given)
    if isinstance(given, Mapping):
        return Requirement(**given)
    if isinstance(given, Requirement):
        return given
    raise ConfigurationError("Input should hold texts, Requirements or dicts")


def _items(given: object) -> Sequence[object]:
    if isinstance(given, list | tuple):
        return given
    raise ConfigurationError("Input should be a list")


Tools: TypeAlias = Annotated[Sequence[Tool | JSONObject], SkipValidation, BeforeValidator(as_tools)]
Requirements: TypeAlias = Annotated[
    Sequence[Requirement | str | JSONObject], SkipValidation, BeforeValidator(as_requirements)
]


def _explained(error: ValidationError, kind: type[_Part]) -> ConfigurationError:
    """Say in one line what is wrong; what was given is not repeated, as it may be a secret."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        known = ", ".join(kind.model_fields)
        return ConfigurationError(f"{kind.__name__}: unknown argument {name!r}; it has {known}")
    problem = re.sub("^(?:Value error, )?(?:Input |String |Field )?", "", first["msg"])
    return ConfigurationError(f"{kind.__name__}: {f'{name} {problem}'.lstrip()}")
