"""AI21's protocol without input or output: bytes and headers in, values or errors out.

What AI21 does is described in its API reference (Chat Completions, Errors). Servers that speak
the same protocol, such as a self-hosted vLLM or a gateway, add fields and leave others out, so only
what is needed is checked, and the error says which key was not as expected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from ai21_chains._catalog import RETIRED
from ai21_chains._retry import retry_after
from ai21_chains._wire import Choice, Completion, JSONObject
from ai21_chains.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContextLengthExceededError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    ResponseFormatError,
    StreamInterruptedError,
    UnprocessableEntityError,
)

CHAT_PATH = "/chat/completions"

_Form = TypeVar("_Form")

_STATUS_ERRORS: dict[int, type[APIStatusError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: RequestTimeoutError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}

_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id")

# AI21 says "Prompt has too many tokens", vLLM "maximum context length". Elsewhere the same words
# mean something else: with 429, too many tokens in a minute.
_OVERFLOW_STATUSES = frozenset({400, 413, 422, 500})
_CONTEXT_OVERFLOW = re.compile(
    r"too many tokens|context[ _](?:length|window)|prompt is too long", re.IGNORECASE
)

# A proxy explains itself in HTML: its words without style sheets, comments and tags.
_TAG = re.compile(
    r"<(style|script)\b.*?(?:</\1>|\Z)|<!--.*?(?:-->|\Z)|<[!/]?[a-zA-Z][^<>]*>",
    re.IGNORECASE | re.DOTALL,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_LONGEST_QUOTE = 300
"""Characters of a server's words that an error message repeats."""


_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode(body: object) -> bytes:
    """Return the request body as JSON.

    Raises:
        ConfigurationError: A value has no JSON form.
    """
    try:
        return _encoder.encode(body).encode()
    except UnicodeEncodeError as error:
        start = max(error.start - 20, 0)
        near = error.object[start : error.start].encode("ascii", "ignore").decode()
        raise ConfigurationError(
            f"The request holds half of a surrogate pair, which is no text (after {near!r}). "
            "Decode the text with errors='replace' first"
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"The request cannot be written as JSON: {error}") from error


def read_completion(body: bytes, where: str) -> Completion:
    """Read the answer to a request without streaming.

    Args:
        body: The answer's body.
        where: Method and URL of the request, for error messages.

    Raises:
        ResponseFormatError: The body is not an answer of AI21's.
    """
    payload = _read_object(body, where)
    if not payload.get("choices"):
        raise _not_ai21s("choices is missing or empty", body, where)
    if problem := _problem(payload["choices"], "message"):
        raise _not_ai21s(problem, body, where)
    return cast(Completion, payload)


def read_json(body: bytes, where: str) -> Any:
    """Read an answer of any other endpoint: whatever JSON it is, or None for no body.

    Args:
        body: The answer's body.
        where: Method and URL of the request, for error messages.

    Raises:
        ResponseFormatError: The body is not JSON.
    """
    return _read(body, where) if body.strip() else None


def read_as(form: TypeAdapter[_Form], answer: object, where: str) -> _Form:
    """Check an answer that is JSON, and return it in its form.

    Args:
        form: What it should be.
        answer: The decoded JSON.
        where: Method and URL of the request, for error messages.

    Raises:
        ResponseFormatError: It is something else.
    """
    try:
        return form.validate_python(answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        problem = f"{place}: {first['msg']}" if place else first["msg"]
        raise not_as_expected(where, problem) from None


def not_as_expected(where: str, problem: str, detail: str = "") -> ResponseFormatError:
    """Return the error for an answer that is not in AI21's format.

    Args:
        where: Method and URL of the request.
        problem: What is wrong with the answer.
        detail: The server's own words.
    """
    return ResponseFormatError(
        f"{where} answered with something that is not AI21's format: {problem}. Check base_url, "
        "and any proxy in between",
        detail=detail,
    )


def read_event(data: bytes, where: str) -> Completion | None:
    """Read one event of a streamed answer.

    Args:
        data: The event's data.
        where: Method and URL of the request, for error messages.

    Returns:
        The event, or None for one that is not part of the answer, such as a named ping.

    Raises:
        StreamInterruptedError: The server reports an error in the stream.
        ResponseFormatError: The event is not a piece of an answer.
    """
    payload = _read_object(data, where)
    choices = payload.get("choices")
    failed = payload.get("error")
    if failed or choices is None:
        words = error_detail(payload) or (_text(data) if failed else "")
        if not words:
            return None
        raise StreamInterruptedError(
            f"The stream from {where} broke off: {quote(words)}", detail=words
        )
    if problem := _problem(choices, "delta"):
        raise _not_ai21s(problem, data, where)
    return cast(Completion, payload)


def as_event(completion: Completion) -> Completion:
    """Turn a whole answer into one event, for a server that ignores `stream`."""
    choices: list[Choice] = []
    for choice in completion["choices"]:
        calls = choice["message"].get("tool_calls") or []
        numbered = [{**call, "index": number} for number, call in enumerate(calls)]
        delta = {**choice["message"], "tool_calls": numbered}
        choices.append(cast(Choice, {**choice, "delta": delta}))
    return {**completion, "choices": choices}


def error_from_response(
    where: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    model: str = "",
    *,
    kind: type[APIStatusError] | None = None,
    hints: Mapping[type[APIStatusError], str] = MappingProxyType({}),
) -> APIStatusError:
    """Return the error for an answer with an error status.

    Args:
        where: Method and URL of the request.
        status: The answer's status.
        headers: The answer's headers.
        body: The answer's body.
        model: The model that was asked for.
        kind: The error's class, where the status does not tell.
        hints: What to do next, by class, where that is not what the class says.
    """
    parsed = _parsed_or_text(body)
    # JSON in a shape of its own is quoted as it is.
    detail = error_detail(parsed) or ("" if isinstance(parsed, str) else _text(body))
    kind = _error_class(status, detail, kind)
    words = quote(detail) or _redirection(headers) or "no explanation"
    request_id = next(filter(None, map(headers.get, _REQUEST_ID_HEADERS)), None)
    wait = retry_after(headers)
    facts = [
        f"{_phrase(status)} from {where}: {words.rstrip('.')}",
        _retired_hint(model, where, status, detail) or hints.get(kind, kind.hint),
        "" if wait is None else f"The server asks to wait {wait:g} s",
        f"Request id {request_id}" if request_id else "",
    ]
    return kind(
        ". ".join(filter(None, facts)),
        status_code=status,
        request_id=request_id,
        body=parsed,
        detail=detail,
        retry_after=wait,
    )


def _error_class(
    status: int, detail: str, named: type[APIStatusError] | None
) -> type[APIStatusError]:
    if status in _OVERFLOW_STATUSES and _CONTEXT_OVERFLOW.search(detail):
        return ContextLengthExceededError
    wider = {4: BadRequestError, 5: InternalServerError}.get(status // 100, APIStatusError)
    return named or _STATUS_ERRORS.get(status, wider)


def _redirection(headers: Mapping[str, str]) -> str:
    location = quote(headers.get("location", "").partition("?")[0])
    return f"it redirects to {location}" if location else ""


def error_detail(payload: object) -> str:
    """Return the server's own words, in whichever shape it put them.

    AI21 answers `{"detail": "…"}` or `{"detail": [{"loc": […], "msg": "…"}]}`; gateways and
    OpenAI-like servers `{"error": {"message": "…"}}`, `{"error": "…"}` or `{"message": "…"}`, which
    AWS also writes with a capital.
    """
    if isinstance(payload, str):
        return _TAG.sub(" ", payload).strip()
    if isinstance(payload, list):
        return "; ".join(filter(None, map(error_detail, payload)))
    if not isinstance(payload, dict):
        return ""
    if isinstance(payload.get("msg"), str):
        place = payload.get("loc")
        path = ".".join(map(str, place)) if isinstance(place, list) else ""
        return f"{path}: {payload['msg']}" if path else str(payload["msg"])
    for key in ("detail", "error", "message", "Message"):
        if words := error_detail(payload.get(key)):
            return words
    return ""


def quote(words: str) -> str:
    """Shorten a server's words to one line for a message."""
    line = " ".join(_CONTROL.sub(" ", words).split())
    return line if len(line) <= _LONGEST_QUOTE else line[:_LONGEST_QUOTE] + "…"


def _read(body: bytes, where: str) -> Any:
    try:
        return from_json(body)
    except ValueError:
        return _read_leniently(body, where)


def _read_object(body: bytes, where: str) -> JSONObject:
    payload = _read(body, where)
    if not isinstance(payload, dict):
        raise _not_ai21s(f"a JSON object was expected, not {_kind(payload)}", body, where)
    return payload


def _read_leniently(body: bytes, where: str) -> object:
    # Half a surrogate pair ("\ud83d"), which a server may split off an emoji, and bytes that are
    # not UTF-8 are no reason to lose the rest of an answer: they are replaced.
    try:
        payload = json.loads(body.decode("utf-8-sig", "replace"))
        text = json.dumps(payload, ensure_ascii=False)
        return json.loads(text.encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise _not_ai21s("it is not JSON" if body.strip() else "it is empty", body, where) from None


def _problem(choices: object, part: str) -> str:
    """Say what is wrong with an answer's choices, or nothing."""
    if not isinstance(choices, list):
        return f"choices is {_kind(choices)}, not a list"
    for number, choice in enumerate(choices):
        message = choice.get(part) if isinstance(choice, dict) else choice
        if not isinstance(message, dict):
            return f"choices[{number}].{part} is {_kind(message)}, not an object"
        if problem := _wrong_type(choice, _CHOICE):
            return f"choices[{number}]{problem}"
        if problem := _wrong_type(message, _MESSAGE) or _call_problem(message):
            return f"choices[{number}].{part}{problem}"
    return ""


def _call_problem(message: JSONObject) -> str:
    for number, call in enumerate(message.get("tool_calls") or ()):
        function = (call.get("function") or {}) if isinstance(call, dict) else None
        if not isinstance(function, dict):
            return f".tool_calls[{number}] is not a function call"
        if problem := _wrong_type(call, _CALL) or _wrong_type(function, _FUNCTION):
            return f".tool_calls[{number}]{problem}"
    return ""


_CHOICE = {"index": int, "finish_reason": str}
_MESSAGE = {"content": str, "reasoning_content": str, "tool_calls": list}
_CALL = {"index": int}
_FUNCTION = {"name": str}


def _wrong_type(value: JSONObject, types: Mapping[str, type]) -> str:
    for key, kind in types.items():
        given = value.get(key)
        if given is not None and not isinstance(given, kind):
            return f".{key} is {_kind(given)}, not {_KINDS[kind]}"
    return ""


def _not_ai21s(problem: str, body: bytes, where: str) -> ResponseFormatError:
    words = error_detail(_parsed_or_text(body)) or _text(body)
    shown = f" ({quote(words)})" if words.strip() else ""
    return not_as_expected(where, f"{problem}{shown}", detail=words)


def _parsed_or_text(body: bytes) -> object:
    try:
        return from_json(body)
    except ValueError:
        return _text(body)


def _text(body: bytes) -> str:
    return body.decode("utf-8-sig", "replace")


def _retired_hint(model: str, where: str, status: int, detail: str) -> str:
    retired = RETIRED.get(model)
    # With Jurassic-2 the endpoints that had its name in their path have gone.
    gone = status == 404 and f"/{model}/" in where
    if retired is None or not (gone or "not supported" in detail):
        return ""
    return f"AI21 retired {model} on {retired.on}; use {retired.successor}"


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "a string",
}


def _kind(value: object) -> str:
    return _KINDS[type(value)]
