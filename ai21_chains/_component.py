"""What AI21's components have in common: how the server is reached, and how settings are copied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from langchain_core.language_models import BaseLanguageModel
from langchain_core.utils import secret_from_env
from pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from ai21_chains import _options
from ai21_chains._tokens import TokenEstimate
from ai21_chains._version import __version__
from ai21_chains.client import (
    AI21Client,
    AsyncHTTPClient,
    HTTPClient,
    Timeout,
    default_address,
    merge_headers,
)
from ai21_chains.errors import ConfigurationError


class AI21Component(BaseLanguageModel[Any]):
    """Mixed into LangChain's classes: the settings that decide how a request travels.

    A class repeats `model_config = AI21Component.model_config`: of two base classes' settings
    pydantic takes those of the second.
    """

    _call_options: ClassVar[type[_options.TransportOptions]] = _options.TransportOptions
    """What can be set for a single call: a `TypedDict` that adds to `TransportOptions`."""

    api_key: _options.Key | None = Field(
        default_factory=secret_from_env("AI21_API_KEY", default=None)
    )
    """API key: a string, or a callable without arguments, sync or async, that returns one and is
    asked for each request. A sync one may block: async calls ask it in a thread. Default: the
    environment's `AI21_API_KEY`."""

    base_url: _options.BaseURL = Field(default_factory=default_address, validate_default=True)
    """Address of the API. Default: the environment's `AI21_API_HOST`, `AI21_API_BASE` or
    `AI21_API_URL`, else AI21 Studio."""

    timeout: _options.Seconds | None = None
    """Seconds, or an `httpx.Timeout`, for connecting, sending and waiting; in a stream also the
    longest silence between two chunks. Default: 300, and 10 for connecting."""

    max_retries: _options.Retries = 2
    """Further tries after one that failed with 408, 409, 425, 429, 5xx, or without an answer."""

    default_headers: _options.Headers | None = Field(default=None, exclude=True, repr=False)
    """Further headers of each request."""

    proxy: _options.Proxy | None = Field(default=None, exclude=True, repr=False)
    """URL of a proxy. Default: what the environment says (`HTTPS_PROXY`, `NO_PROXY`, …)."""

    http_client: HTTPClient | None = Field(default=None, exclude=True, repr=False)
    """An `httpx.Client` to use for sync calls. It is never closed here."""

    http_async_client: AsyncHTTPClient | None = Field(default=None, exclude=True, repr=False)
    """An `httpx.AsyncClient` to use for async calls. It is never closed here."""

    host: _options.Place | None = Field(default=None, exclude=True)
    """Where chat is served other than at `base_url`, with credentials of its own: one of
    `ai21_chains.hosts`. `api_key` and `base_url` are not used with it."""

    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", hide_input_in_errors=True
    )

    _tokens: TokenEstimate = PrivateAttr(default_factory=TokenEstimate)

    if not TYPE_CHECKING:  # type checkers read the fields

        def __init__(self, **arguments: Any) -> None:
            try:
                super().__init__(**_options.canonical(arguments))
            except ValidationError as error:
                name, fields = type(self).__name__, type(self).model_fields
                raise _options.explain(error, name, fields) from None

        def bind(self, **kwargs: Any) -> Any:
            # Keys are hidden from whoever prints or dumps the result.
            return super().bind(**_options.hide(kwargs))

    @model_validator(mode="after")
    def _ai21_set_version(self) -> Self:
        self._add_version("ai21-chains", __version__)
        return self

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Say which fields hold secrets, and where they are read from when the object is loaded."""
        return {"api_key": "AI21_API_KEY"}

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """Say what is dumped in another form: an `httpx.Timeout` as the dict of its parts."""
        host = {"host": self.host.as_dict()} if self.host else {}
        return host | (
            {"timeout": self.timeout.as_dict()} if isinstance(self.timeout, Timeout) else {}
        )

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Say that the object can be dumped and loaded, without its key."""
        return True

    def _asked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of a call: its own, then those of the constructor."""
        names = self._call_options.__annotations__
        own = {name: value for name, value in vars(self).items() if name in names}
        if given:
            own |= self._check_options(given)
        return own

    def _check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return _options.check_call(options, type(self).__name__, self._call_options)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an option after checking it, as the constructor does."""
        if name in self._call_options.__annotations__:
            value = self._check_options({name: value})[name]
        super().__setattr__(name, value)

    # --- Tokens ------------------------------------------------------------------------------

    def get_num_tokens(self, text: str) -> int:
        """Estimate the number of tokens in a text, without a network.

        The estimate follows what the API reports. `custom_get_token_ids` makes it exact.
        """
        if self.custom_get_token_ids is not None:
            return len(self.custom_get_token_ids(text))
        return self._tokens.text(text)

    def get_token_ids(self, text: str) -> list[int]:
        """Return the token ids of a text.

        Raises:
            ConfigurationError: There is no `custom_get_token_ids`: Jamba's tokenizer is not public.
        """
        if self.custom_get_token_ids is None:
            raise ConfigurationError(
                "Jamba's tokenizer is not public: pass custom_get_token_ids=…, or count with "
                "get_num_tokens, which estimates"
            )
        return self.custom_get_token_ids(text)

    # --- Copies ------------------------------------------------------------------------------

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy the settings; new ones are checked as the constructor checks them."""
        copied = super().model_copy(deep=deep)
        if not update:
            return copied
        names = copied.model_fields_set | {"api_key", "base_url"}
        own = {name: getattr(copied, name) for name in names}
        return type(self)(**{**own, **_options.canonical(update)})

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Copy the settings; what was passed in to be used is shared."""
        shared = (getattr(self, name, None) for name in _SHARED)
        return super().__deepcopy__({**(memo or {}), **{id(one): one for one in shared}})

    def __getstate__(self) -> dict[Any, Any]:
        """Return the settings for pickling."""
        if self.http_client or self.http_async_client:
            name = type(self).__name__
            raise ConfigurationError(
                f"A {name} with http_client or http_async_client cannot be pickled: connections "
                "belong to one process. Make it where it is used"
            )
        return super().__getstate__()


_SHARED = ("api_key", "http_client", "http_async_client", "rate_limiter", "cache", "callbacks")


def client_for(asked: Mapping[str, Any]) -> AI21Client:
    """Return the client that sends a request with these options."""
    return AI21Client(
        base_url=asked["base_url"],
        api_key=asked["api_key"],
        timeout=asked["timeout"],
        max_retries=asked["max_retries"],
        headers=merge_headers(asked["default_headers"], asked.get("extra_headers")),
        proxy=asked["proxy"],
        http_client=asked["http_client"],
        http_async_client=asked["http_async_client"],
        host=asked.get("host"),
    )
