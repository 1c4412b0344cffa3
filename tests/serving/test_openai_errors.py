"""Every failure as OpenAI's error object, with a status that says whose fault it is."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from ai21_chains import errors
from ai21_chains._protocol import error_from_response
from ai21_chains.serving._openai_description import openapi_components
from ai21_chains.serving._openai_errors import ErrorReply, error_reply, model_not_found
from ai21_chains.serving._openai_schema import first_problem
from ai21_chains.serving._refusals import Refused

ERROR = {"components": openapi_components(), "$ref": "#/components/schemas/Error"}
KEY = "Kq3vT9xLw2Zr8Ns4Bd7Fh1Jm6Pc5Gy0A"
PRIVATE = "POST https://jamba.internal:8443/v1/chat/completions"


def reply(error: BaseException) -> ErrorReply:
    told = error_reply(error)
    assert first_problem(told.body, ERROR) == ""
    assert len(told.body["error"]["message"].splitlines()) == 1
    return told


def upstream(status: int, detail: object = "Words", **headers: str) -> ErrorReply:
    """Return what is said of an answer of AI21's with an error status."""
    body = json.dumps({"detail": detail}).encode()
    told = reply(error_from_response(PRIVATE, status, headers, body, "jamba-mini"))
    assert "internal" not in told.body["error"]["message"].replace("internal_error", "")
    return told


# --- AI21's answers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "ours", "kind", "code"),
    [
        (400, 400, "invalid_request_error", "invalid_value"),
        (401, 502, "upstream_authentication_error", "upstream_authentication_error"),
        (402, 502, "upstream_error", "upstream_error"),
        (403, 502, "upstream_authentication_error", "upstream_authentication_error"),
        (404, 502, "upstream_error", "upstream_error"),
        (408, 504, "upstream_error", "upstream_timeout"),
        (413, 413, "invalid_request_error", "invalid_value"),
        (422, 400, "invalid_request_error", "invalid_value"),
        (429, 429, "rate_limit_error", "rate_limit_exceeded"),
        (500, 502, "upstream_error", "upstream_error"),
        (503, 503, "upstream_error", "upstream_error"),
        (307, 502, "upstream_error", "upstream_error"),
    ],
)
def test_a_status_of_ai21s_has_one_of_ours(status: int, ours: int, kind: str, code: str) -> None:
    told = upstream(status)

    assert told.status == ours
    assert (told.body["error"]["type"], told.body["error"]["code"]) == (kind, code)


def test_ai21s_words_are_told() -> None:
    for status in (400, 401, 403, 404, 422, 429, 500, 503):
        assert (
            "Forty-two is no temperature"
            in (upstream(status, "Forty-two is no temperature").body["error"]["message"])
        )


@pytest.mark.parametrize(
    ("place", "param"),
    [
        (["body", "temperature"], "temperature"),
        (["body", "messages", 0, "content"], "messages[0].content"),
        (["query"], "query"),
        (["body"], None),
        (None, None),
        ("body", None),
    ],
    ids=str,
)
def test_the_place_that_ai21_names_is_the_parameter(place: Any, param: str | None) -> None:
    told = upstream(422, [{"loc": place, "msg": "field required", "type": "value_error"}])

    assert told.body["error"]["param"] == param
    assert "field required" in told.body["error"]["message"]


def test_a_prompt_that_is_too_long_has_openais_code() -> None:
    told = upstream(422, "Prompt has too many tokens")

    assert (told.status, told.body["error"]["code"]) == (400, "context_length_exceeded")
    assert told.body["error"]["param"] == "messages"


@pytest.mark.parametrize(("given", "told"), [("7", "7"), ("0.2", "1"), ("", None)], ids=str)
@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_that_ai21_asks_for_is_passed_on(status: int, given: str, told: str) -> None:
    headers = {"retry-after": given} if given else {}

    assert upstream(status, **headers).headers.get("retry-after") == told


def test_a_key_that_the_upstream_repeats_is_not() -> None:
    told = upstream(401, f"Incorrect API key provided: {KEY}. See sk-live-{KEY[:20]}.")

    assert KEY[:20] not in json.dumps(told.body)
    assert "Incorrect API key provided" in told.body["error"]["message"]


# --- Failures on the way ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.APITimeoutError(f"{PRIVATE} timed out"), 504, "upstream_timeout"),
        (TimeoutError(), 504, "upstream_timeout"),
        (errors.APIConnectionError(f"{PRIVATE} refused"), 502, "upstream_unreachable"),
        (errors.StreamInterruptedError(f"{PRIVATE} cut"), 502, "upstream_interrupted"),
        (errors.ResponseFormatError(f"{PRIVATE} sent HTML"), 502, "upstream_format"),
        (errors.MissingAPIKeyError("no key"), 502, "upstream_authentication_error"),
        (errors.MissingExtraError("pip install x"), 501, "not_installed"),
        (errors.StructuredOutputError("The answer is not JSON"), 502, "invalid_structured_output"),
        (errors.DocumentError("/srv/internal/a.pdf is empty"), 500, "internal_error"),
        (errors.AI21Error("internal"), 500, "internal_error"),
        (RuntimeError(f"{KEY} at {PRIVATE}"), 500, "internal_error"),
        (RecursionError(), 500, "internal_error"),
        (ExceptionGroup("internal", [ValueError(KEY)]), 500, "internal_error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_a_failure_says_nothing_of_the_servers_inside(
    error: Exception, status: int, code: str
) -> None:
    told = reply(error)

    assert (told.status, told.body["error"]["code"]) == (status, code)
    assert "jamba.internal" not in json.dumps(told.body)
    assert KEY not in json.dumps(told.body)


def test_every_error_of_the_library_has_a_status() -> None:
    for name in errors.__all__:
        told = reply(getattr(errors, name)("words"))

        assert told.status >= 400
        assert told.body["error"]["type"]


# --- The client's own ------------------------------------------------------------------------


def test_what_the_server_turns_down_is_told_as_it_is() -> None:
    told = reply(
        Refused(
            "No more this month",
            status=429,
            code="insufficient_quota",
            type="insufficient_quota",
            param="model",
            retry_after=0.1,
        )
    )

    assert told == (
        429,
        {"retry-after": "1"},
        {
            "error": {
                "message": "No more this month",
                "type": "insufficient_quota",
                "param": "model",
                "code": "insufficient_quota",
            }
        },
    )


def test_who_is_not_known_is_told_how_to_be() -> None:
    told = reply(Refused("Unknown key", status=401, code="invalid_api_key"))

    assert told.headers == {"www-authenticate": "Bearer"}


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("n above 1 needs a temperature above 0", "n"),
        ("documents[2] has no text under 'content'", "documents"),
        ("question is missing", None),
        ("The request cannot be written as JSON", None),
    ],
)
def test_a_wrong_argument_is_the_clients(message: str, param: str | None) -> None:
    told = reply(errors.ConfigurationError(message))

    assert (told.status, told.body["error"]["param"]) == (400, param)


def test_an_invalid_value_is_named_by_its_place() -> None:
    class Point(BaseModel):
        at: list[int]

    with pytest.raises(ValidationError) as caught:
        Point.model_validate({"at": [1, KEY]})
    told = reply(caught.value)

    assert (told.status, told.body["error"]["param"]) == (400, "at[1]")
    assert KEY not in told.body["error"]["message"]


def test_a_body_that_is_not_json_is_the_clients() -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{")

    assert (reply(caught.value).status, reply(caught.value).body["error"]["param"]) == (400, None)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (HTTPException(404), "invalid_request_error"),
        (HTTPException(405, headers={"allow": "POST"}), "invalid_request_error"),
        (HTTPException(413), "invalid_request_error"),
        (HTTPException(503), "server_error"),
    ],
    ids=["404", "405", "413", "503"],
)
def test_an_http_error_keeps_its_status_and_headers(error: HTTPException, kind: str) -> None:
    told = reply(error)

    assert told.status == error.status_code
    assert told.headers == (error.headers or {})
    assert told.body["error"]["type"] == kind


@pytest.mark.parametrize(
    ("name", "known", "words"),
    [
        ("jamba-minni", ["jamba-mini", "jamba-large"], "Did you mean jamba-mini?"),
        ("gpt-4o", ["jamba-mini"], "GET /v1/models"),
        ("j2-ultra", ["jamba-large"], "Did you mean jamba-large?"),
        ("ai21/j2-ultra", ["other"], "AI21 retired it on 2024-11-11"),
        ("x" * 100_000, ["jamba-mini"], "GET /v1/models"),
        ("", [], "GET /v1/models"),
    ],
    ids=["near", "far", "retired", "prefix", "long", "empty"],
)
def test_an_unknown_model_is_404_with_advice(name: str, known: list[str], words: str) -> None:
    told = reply(model_not_found(name, known))

    assert (told.status, told.body["error"]["code"]) == (404, "model_not_found")
    assert told.body["error"]["param"] == "model"
    assert words in told.body["error"]["message"]
    assert len(told.body["error"]["message"]) < 500
