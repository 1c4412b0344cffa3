"""What went wrong, as OpenAI says it: a status, headers, and its error object.

A client's fault is a 4xx that names the parameter. AI21's is a 5xx with AI21's own words, and so
is a bad key of the server's: a 401 would tell the client to change its own. What nobody expected
says nothing of the server's inside.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import singledispatch
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

from ai21_chains import errors
from ai21_chains._catalog import RETIRED
from ai21_chains._protocol import quote
from ai21_chains._wire import JSONObject
from ai21_chains.serving._openai_bodies import ChatCompletionRequest
from ai21_chains.serving._refusals import Refused

INVALID = "invalid_request_error"
SERVER = "server_error"
UPSTREAM = "upstream_error"


class ErrorReply(NamedTuple):
    """An answer that says what went wrong.

    Attributes:
        status: The HTTP status.
        headers: `retry-after`, `www-authenticate` or `allow`, where one belongs to it.
        body: `{"error": {"message", "type", "param", "code"}}`.
    """

    status: int
    headers: dict[str, str]
    body: JSONObject


@singledispatch
def refusal(error: BaseException) -> Refused:
    """Return what to say of an error; the original stays for the log."""
    return Refused(
        "The server failed while it was answering; its log has the details",
        status=500,
        code="internal_error",
        type=SERVER,
    )


def error_reply(error: BaseException) -> ErrorReply:
    """Return the answer that says what went wrong.

    Args:
        error: An error of AI21's, a `Refused`, an invalid body, a timeout, an HTTP error of
            Starlette's, or any other.

    Example:
        >>> reply = error_reply(TimeoutError())
        >>> reply.status, reply.body["error"]["code"]
        (504, 'upstream_timeout')
    """
    refused = refusal(error)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if refused.retry_after is not None:
        # Whole seconds, and never earlier than the server wants.
        headers["retry-after"] = str(max(0, math.ceil(refused.retry_after)))
    if refused.status == 401:
        headers.setdefault("www-authenticate", "Bearer")
    body = {
        "error": {
            "message": str(refused),
            "type": refused.type,
            "param": refused.param,
            "code": refused.code,
        }
    }
    return ErrorReply(refused.status, headers, body)


def model_not_found(name: str, known: Iterable[str]) -> Refused:
    """Say that no such model is served, and what may have been meant."""
    names = sorted(known)
    retired = RETIRED.get(name.removeprefix("ai21/"))
    near = [retired.successor] if retired else get_close_matches(name[:100], names, n=1)
    advice = f"Did you mean {near[0]}?" if near and near[0] in names else "GET /v1/models lists all"
    was = f" AI21 retired it on {retired.on}." if retired else ""
    return Refused(
        f"The model {quote(name)!r} does not exist here.{was} {advice}",
        status=404,
        code="model_not_found",
        param="model",
    )


# --- The client's fault ----------------------------------------------------------------------


@refusal.register
def _(error: Refused) -> Refused:
    return error


@refusal.register
def _(error: errors.ConfigurationError) -> Refused:
    argument = re.match(r"[a-z_]*", str(error))
    named = argument[0] if argument else ""
    return Refused(
        str(error),
        status=400,
        code="invalid_value",
        param=named if named in ChatCompletionRequest.model_fields else None,
    )


@refusal.register
def _(error: ValidationError) -> Refused:
    return not_valid(error)


def not_valid(error: ValidationError, body: bytes | None = None) -> Refused:
    """Say in one line what is wrong with a body.

    Args:
        error: What pydantic found.
        body: The body, for its place in it; None if it is not at hand.
    """
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    if problems[0]["type"] == "json_invalid":
        words = problems[0]["msg"].removeprefix("Invalid JSON: ")
        return Refused(f"The body is not JSON: {words}", status=400, code="invalid_json")
    problem, path = _nearest(problems, _given(problems, body))
    param = _spelled(path)
    words = quote(problem["msg"]).removeprefix("Value error, ")
    if path[-3:-2] == ["content"] and path[-1] == "type":
        words += ": AI21's models read text only"
    return Refused(
        f"{param}: {words}" if param else words,
        status=400,
        code="missing_required_parameter" if problem["type"] == "missing" else "invalid_value",
        param=param or None,
    )


def _given(problems: list[ErrorDetails], body: bytes | None) -> Any:
    """Return what a body holds, if the places of its problems are not clear without."""
    clear = all(len(problem["loc"]) == 1 for problem in problems)
    return None if body is None or clear else json.loads(body)


def _nearest(problems: list[ErrorDetails], given: Any) -> tuple[ErrorDetails, list[int | str]]:
    """Return the problem with the form that the first wrong value comes nearest to."""
    first = problems[0]["loc"][:1]
    found = [
        (problem, _path(problem["loc"], problem["type"], given))
        for problem in problems
        if problem["loc"][:1] == first
    ]
    return max(found, key=lambda pair: len(pair[1]))


def _path(place: Sequence[int | str], kind: str, given: Any) -> list[int | str]:
    """Return a place without the names of models and forms that pydantic puts into it."""
    if given is None:
        return list(place)
    path: list[int | str] = []
    for step in place:
        try:
            given = given[step]
        except (LookupError, TypeError):
            if kind != "missing" or step is not place[-1]:
                continue
        path.append(step)
    return path


def _spelled(path: Iterable[int | str]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return quote("".join(steps).removeprefix("."))


@refusal.register
def _(error: json.JSONDecodeError) -> Refused:
    return Refused(f"The body is not JSON: {error}", status=400, code="invalid_json")


@refusal.register
def _(error: HTTPException) -> Refused:
    kind = SERVER if error.status_code >= 500 else INVALID
    return Refused(quote(str(error.detail)), status=error.status_code, type=kind)


# --- AI21's fault, or what it says of the client's -------------------------------------------

_CLIENTS_FAULTS = {400: 400, 413: 413, 422: 400}
"""Statuses with which AI21 speaks of the client's request, and ours for them."""


@refusal.register
def _(error: errors.APIStatusError) -> Refused:
    status = error.status_code or 502
    words = quote(error.detail) or "it gave no reason"
    if status in _CLIENTS_FAULTS:
        return Refused(
            f"AI21 refuses the request: {words}",
            status=_CLIENTS_FAULTS[status],
            code="invalid_value",
            param=_named(error.body),
        )
    return Refused(
        f"AI21 failed with status {status}: {words}",
        status=503 if status == 503 else 502,
        code="upstream_error",
        type=UPSTREAM,
        retry_after=error.retry_after,
    )


def _named(body: object) -> str | None:
    """Return the parameter that AI21 finds fault with; a list under `detail` has its place."""
    detail = body.get("detail") if isinstance(body, dict) else None
    first = detail[0] if isinstance(detail, list) and detail else None
    place = first.get("loc") if isinstance(first, dict) else None
    if not isinstance(place, list):
        return None
    steps = [step for step in place if isinstance(step, int | str)]
    return _spelled(steps[1:] if steps[:1] == ["body"] else steps) or None


@refusal.register
def _(error: errors.ContextLengthExceededError) -> Refused:
    return Refused(
        f"The messages are too long for the model: {quote(error.detail)}",
        status=400,
        code="context_length_exceeded",
        param="messages",
    )


@refusal.register
def _(error: errors.RateLimitError) -> Refused:
    return Refused(
        f"AI21 limits the rate of requests: {quote(error.detail) or 'it gave no reason'}",
        status=429,
        code="rate_limit_exceeded",
        type="rate_limit_error",
        retry_after=error.retry_after,
    )


_KEY = re.compile(r"\b(?=[\w-]*\d)[\w-]{20,}")
"""What may be a key: servers repeat the one that they refuse."""


@refusal.register(errors.AuthenticationError)
@refusal.register(errors.PermissionDeniedError)
def _(error: errors.APIStatusError) -> Refused:
    words = _KEY.sub("…", quote(error.detail)) or "it gave no reason"
    return Refused(
        f"AI21 does not accept the server's own API key (status {error.status_code}): {words}",
        status=502,
        code="upstream_authentication_error",
        type="upstream_authentication_error",
    )


@refusal.register
def _(error: errors.MissingAPIKeyError) -> Refused:
    return Refused(
        "The server has no API key for AI21: set AI21_API_KEY, or api_key in its configuration",
        status=502,
        code="upstream_authentication_error",
        type="upstream_authentication_error",
    )


@refusal.register
def _(error: errors.MissingExtraError) -> Refused:
    return Refused(str(error), status=501, code="not_installed", type=SERVER)


@refusal.register(errors.RequestTimeoutError)
@refusal.register(errors.APITimeoutError)
@refusal.register(TimeoutError)
def _(error: Exception) -> Refused:
    return Refused(
        "AI21 did not answer in time", status=504, code="upstream_timeout", type=UPSTREAM
    )


@refusal.register
def _(error: errors.APIConnectionError) -> Refused:
    # Its message has the address, which is the server's business.
    return Refused("AI21 cannot be reached", status=502, code="upstream_unreachable", type=UPSTREAM)


@refusal.register
def _(error: errors.StreamInterruptedError) -> Refused:
    words = f": {quote(error.detail)}" if error.detail else ""
    return Refused(
        f"The answer broke off{words}", status=502, code="upstream_interrupted", type=UPSTREAM
    )


@refusal.register
def _(error: errors.ResponseFormatError) -> Refused:
    return Refused(
        "AI21 answered with something that is not its format",
        status=502,
        code="upstream_format",
        type=UPSTREAM,
    )


@refusal.register
def _(error: errors.StructuredOutputError) -> Refused:
    return Refused(quote(str(error)), status=502, code="invalid_structured_output", type=UPSTREAM)
