"""Every error that this library raises.

The tree (in brackets: the LangChain class that the error is as well, so that LangChain's retry,
fallback and summarisation middleware know what to do with it)::

    AI21Error
    ├── ConfigurationError          an argument or setting is wrong; nothing was sent
    │   │                             [ModelInvalidRequestError, ValueError]
    │   ├── MissingAPIKeyError      no API key to send            [ModelAuthenticationError]
    │   ├── MissingExtraError       an optional dependency is not installed    [ImportError]
    │   └── UnsupportedContentError a message holds what AI21 cannot read (an image, a file)
    ├── DocumentError               a document cannot be read                   [ValueError]
    ├── StructuredOutputError       the answer does not fit the schema [OutputParserException]
    └── APIError                    the request was sent
        ├── APIConnectionError      no answer arrived                 [ModelConnectionError]
        │   ├── APITimeoutError     … in time                            [ModelTimeoutError]
        │   └── StreamInterruptedError  a stream stopped before its end
        ├── ResponseFormatError     the answer is not in AI21's format       [ModelAPIError]
        ├── RunFailedError          a Maestro run has ended without a result    [ModelError]
        └── APIStatusError          the server answered with an error status    [ModelError]
            ├── BadRequestError             400 and other 4xx     [ModelInvalidRequestError]
            ├── AuthenticationError         401                   [ModelAuthenticationError]
            ├── PermissionDeniedError       403                 [ModelPermissionDeniedError]
            ├── NotFoundError               404                         [ModelNotFoundError]
            ├── RequestTimeoutError         408                          [ModelTimeoutError]
            ├── UnprocessableEntityError    422                   [ModelInvalidRequestError]
            ├── ContextLengthExceededError  the prompt is too long    [ContextOverflowError]
            ├── RateLimitError              429                        [ModelRateLimitError]
            └── InternalServerError         5xx                              [ModelAPIError]

Catch `AI21Error` for everything. Each error is one line that says what happened, where, and what to
do next, and never holds an API key; each can be pickled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
    OutputParserException,
)

if TYPE_CHECKING:
    import httpx

__all__ = [
    "AI21Error",
    "APIConnectionError",
    "APIError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "ConfigurationError",
    "ContextLengthExceededError",
    "DocumentError",
    "InternalServerError",
    "MissingAPIKeyError",
    "MissingExtraError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "RequestTimeoutError",
    "ResponseFormatError",
    "RunFailedError",
    "StreamInterruptedError",
    "StructuredOutputError",
    "UnprocessableEntityError",
    "UnsupportedContentError",
]


class AI21Error(Exception):
    """Root of every error that this library raises.

    Example:
        >>> from ai21_chains import AI21Error, ChatAI21
        >>> try:
        ...     ChatAI21(temperature=3)
        ... except AI21Error as error:
        ...     print(error)
        ChatAI21: temperature should be less than or equal to 2, got 3
    """


class ConfigurationError(AI21Error, ModelInvalidRequestError, ValueError):
    """An argument or a setting is wrong. Nothing was sent."""


class MissingAPIKeyError(ConfigurationError, ModelAuthenticationError):
    """There is no API key to send: `api_key` is not given and `AI21_API_KEY` is not set."""


class MissingExtraError(ConfigurationError, ImportError):
    """An optional dependency is not installed; the message has the `pip install` line."""


class UnsupportedContentError(ConfigurationError):
    """A message holds content that AI21's models cannot read, such as an image or a file."""


class DocumentError(AI21Error, ValueError):
    """A document cannot be read: it is missing, empty, too large, encrypted or not text."""


class StructuredOutputError(AI21Error, OutputParserException):
    """The model's answer does not fit the schema that was asked for.

    Attributes:
        llm_output: What the model said instead, in its own words.
    """

    def __init__(self, message: str, llm_output: str | None = None) -> None:
        """Keep the message as it is: LangChain's base class would append a link to it."""
        Exception.__init__(self, message)
        self.observation = None
        self.llm_output = llm_output
        self.send_to_llm = False


class APIError(AI21Error):
    """A request was sent, and no usable answer came back.

    Attributes:
        status_code: The HTTP status, or None when no answer arrived.
        response: The HTTP response (already read; its request carries no headers), or None.
        request_id: The server's id of the request, where it sent one.
        body: The decoded error body: parsed JSON where it is JSON, else text.
        detail: The server's own words.
        retry_after: Seconds that the server asks to wait before the next try, or None.
        run_id: The Maestro run that it happened to, once there is one.
        is_retryable: Whether asking again may help, and costs nothing twice. LangChain's retry
            middleware goes by it.
    """

    is_retryable: bool
    run_id: str | None = None

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        response: httpx.Response | None = None,
        request_id: str | None = None,
        body: object = None,
        detail: str = "",
        retry_after: float | None = None,
    ) -> None:
        """Keep the message and what is known of the answer."""
        super().__init__(message)
        self.status_code = status_code
        self.response = response
        self.request_id = request_id
        self.body = body
        self.detail = detail
        self.retry_after = retry_after


class APIConnectionError(APIError, ModelConnectionError):
    """The server could not be reached, or the connection broke before an answer arrived.

    Attributes:
        was_sent: Whether the server may have got the request, and done what it asks for.
    """

    was_sent: bool = True


class APITimeoutError(APIConnectionError, ModelTimeoutError):
    """No answer within `timeout`, or a stream that fell silent for that long."""


class StreamInterruptedError(APIConnectionError):
    """A stream stopped before its end. What had arrived until then was delivered."""


class ResponseFormatError(APIError, ModelAPIError):
    """The server answered 200 with something that is not an AI21 answer."""

    is_retryable = False


class RunFailedError(APIError, ModelError):
    """A Maestro run has failed, or waits for an action (`requires_action`); `body` has the run."""


class APIStatusError(APIError, ModelError):
    """The server answered with an error status that has no class of its own (a redirect, say)."""

    hint: ClassVar[str] = "Check that base_url is the API's address"
    """What to do next; part of the message."""


class BadRequestError(APIStatusError, ModelInvalidRequestError):
    """400, or another status from 400 to 499: the request cannot be served as it is."""

    hint = "The request cannot succeed unchanged"


class AuthenticationError(APIStatusError, ModelAuthenticationError):
    """401: the API key is missing, mistyped or revoked."""

    hint = "Check api_key or AI21_API_KEY: keys are made in AI21 Studio under Settings, API Keys"


class PermissionDeniedError(APIStatusError, ModelPermissionDeniedError):
    """403: the key is valid and may not do this."""

    hint = "The API key may not use this model or endpoint"


class NotFoundError(APIStatusError, ModelNotFoundError):
    """404: there is no such endpoint or model at this address."""

    hint = "Check base_url (AI21 Studio's ends in /studio/v1) and the model's name"


class RequestTimeoutError(APIStatusError, ModelTimeoutError):
    """408: the server gave up waiting for the request."""

    hint = "Try again"


class UnprocessableEntityError(APIStatusError, ModelInvalidRequestError):
    """422: the server refuses a value in the request; the message names it."""

    hint = "Change what the server names"


class ContextLengthExceededError(APIStatusError, ContextOverflowError):
    """The prompt is longer than the model's context window."""

    hint = "Shorten the messages or the documents, or choose a model with a larger context window"


class RateLimitError(APIStatusError, ModelRateLimitError):
    """429: too many requests; `retry_after` has the server's wish in seconds, if it sent one."""

    hint = "Send fewer requests at once (rate_limiter, max_concurrency) or raise max_retries"


class InternalServerError(APIStatusError, ModelAPIError):
    """500 to 599: the server failed."""

    hint = "The fault is the server's: try again later"
