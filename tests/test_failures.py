"""What a failed call says, what it carries, and what it keeps to itself."""

from __future__ import annotations

import pickle
import time
import traceback

import httpx
import pytest
from langchain_core.exceptions import ModelError

from ai21_chains.client import AI21Client
from ai21_chains.errors import (
    AI21Error,
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
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
    UnprocessableEntityError,
)
from tests.cases import each
from tests.servers import calls
from tests.servers.calls import Ask
from tests.servers.scripted import CUT, HOLD, ScriptedServer, answer, completion, scripted

KEY = "sk-Very-Secret-Key-0123456789"


def client(server: ScriptedServer, **settings) -> AI21Client:
    return AI21Client(**{"base_url": server.url, "api_key": KEY, "max_retries": 0, **settings})


# --- Statuses --------------------------------------------------------------------------------


@each("ask", calls.ASKED)
@each(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (408, RequestTimeoutError),
        (418, BadRequestError),
        (422, UnprocessableEntityError),
        (429, RateLimitError),
        (500, InternalServerError),
        (503, InternalServerError),
        (304, APIStatusError),
        (600, APIStatusError),
    ],
)
def test_each_status_has_its_error(ask: Ask, status: int, kind: type[APIStatusError]) -> None:
    script = (
        [b"HTTP/1.1 304 Not Modified\r\n\r\n"]
        if status == 304
        else answer({"detail": "Bad luck."}, f"{status} X", ["x-request-id: r-1"])
    )
    with scripted(script) as server, pytest.raises(kind) as caught:
        ask(client(server))

    error = caught.value
    assert type(error) is kind
    assert isinstance(error, ModelError)
    assert error.status_code == error.response.status_code == status
    assert str(status) in str(error)
    assert "\n" not in str(error)
    if status != 304:
        assert "Bad luck" in str(error)
        assert (error.request_id, error.body, error.detail) == (
            "r-1",
            {"detail": "Bad luck."},
            "Bad luck.",
        )
        assert error.response.json() == {"detail": "Bad luck."}


@each("ask", calls.ASKED)
@each(
    ("body", "words"),
    [
        pytest.param({"detail": "Plain words"}, "Plain words", id="string"),
        pytest.param(
            {"detail": [{"loc": ["body", "messages"], "msg": "field required", "type": "x"}]},
            "body.messages: field required",
            id="list",
        ),
        pytest.param({"error": {"message": "OpenAI-like"}}, "OpenAI-like", id="error-object"),
        pytest.param({"message": "Gateway"}, "Gateway", id="message"),
        pytest.param(b"just text", "just text", id="text"),
        pytest.param(b"<html><h1>502 Bad Gateway</h1></html>", "502 Bad Gateway", id="HTML"),
        pytest.param(b"", "no explanation", id="empty"),
        pytest.param(b"\xff\xfe\x00", "422", id="bytes"),
        pytest.param(b'{"detail": ', "detail", id="half-JSON"),
        pytest.param({}, "422", id="empty-object"),
        pytest.param(b"null", "422", id="null"),
    ],
)
def test_the_servers_words_are_found_in_any_shape(ask: Ask, body, words: str) -> None:
    with scripted(answer(body, "422 X")) as server, pytest.raises(UnprocessableEntityError) as e:
        ask(client(server))

    assert words in str(e.value)


@each("ask", calls.ASKED)
def test_a_prompt_that_is_too_long_has_an_error_of_its_own(ask: Ask) -> None:
    with (
        scripted(answer({"detail": "Prompt has too many tokens"}, "400 X")) as server,
        pytest.raises(ContextLengthExceededError),
    ):
        ask(client(server))


@each("ask", calls.ASKED)
@each("end", [CUT, HOLD])
def test_an_error_body_cut_short_still_gives_the_status(ask: Ask, end: str) -> None:
    head = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 900\r\n\r\n"
    with scripted([head + b'{"detail": "Forbidden: Bad', end]) as server:
        with pytest.raises(AuthenticationError, match="Forbidden: Bad") as caught:
            ask(client(server, timeout=0.3))

        assert caught.value.status_code == 401


@each("ask", calls.ASKED)
def test_an_error_body_without_end_is_read_in_part(ask: Ask) -> None:
    endless = [b"x" * 100_000] * 30
    with scripted([b"HTTP/1.1 400 Bad\r\n\r\n", *endless, HOLD]) as server:
        start = time.monotonic()
        with pytest.raises(BadRequestError) as caught:
            ask(client(server, timeout=30))

    assert time.monotonic() - start < 5
    assert len(str(caught.value)) < 1000


@each("ask", calls.ASKED)
def test_a_large_answer_arrives_whole(ask: Ask) -> None:
    text = "long " * 400_000
    with scripted(answer(completion(text))) as server:
        assert ask(client(server)) == text


# --- Nonsense with status 200 ----------------------------------------------------------------


@each("ask", calls.ASKED)
@each(
    "body",
    [
        b"",
        b"OK",
        b"null",
        b"[]",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{}]}',
        b'{"choices": [null]}',
        b'{"choices": [{"message": {"content": 5}}]}',
        b'{"choices": {"0": 1}}',
        b'{"detail": "Not today"}',
        b"<!doctype html><title>Log in</title>",
        b"\x89PNG\r\n",
        b"[" * 100_000,
        b'{"choices": [{"message": {"content": "cut',
    ],
)
def test_nonsense_is_called_nonsense(ask: Ask, body: bytes) -> None:
    with scripted(answer(body)) as server, pytest.raises(APIError) as caught:
        ask(client(server))

    assert isinstance(caught.value, ResponseFormatError | APIConnectionError)
    assert len(str(caught.value)) < 1000
    assert caught.value.status_code == 200


@each("ask", calls.ASKED)
@each("status", ["204 No Content", "205 Reset"])
def test_success_without_content_is_nonsense_too(ask: Ask, status: str) -> None:
    script = [f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode()]
    with scripted(script) as server, pytest.raises(APIError):
        ask(client(server))


# --- Timeouts --------------------------------------------------------------------------------


SILENT = [HOLD]
SILENT_IN_THE_BODY = [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", HOLD]
PATIENT_TO_CONNECT = httpx.Timeout(30, read=0.05)


@each(
    ("ask", "timeout", "script"),
    [
        *((ask, PATIENT_TO_CONNECT, SILENT) for ask in calls.ASKED),
        *((ask, PATIENT_TO_CONNECT, SILENT_IN_THE_BODY) for ask in calls.ASKED),
        # The settings' way to the connection is the same for all four.
        *((ask, 0.4, SILENT) for ask in (calls.stream, calls.acomplete)),
        *((ask, httpx.Timeout(0.4), SILENT) for ask in (calls.complete, calls.astream)),
    ],
)
def test_silence_times_out(ask: Ask, timeout, script) -> None:
    with scripted(script) as server:
        start = time.monotonic()
        with pytest.raises(APITimeoutError, match=r"no data.*Raise timeout"):
            ask(client(server, timeout=timeout))

        assert time.monotonic() - start < 2


# --- Secrets ---------------------------------------------------------------------------------

ECHO = KEY.encode()


def everything(error: BaseException) -> str:
    shown = "".join(traceback.format_exception(error))
    seen = [shown, str(error), repr(error), repr(error.args), repr(vars(error))]
    if getattr(error, "response", None) is not None:
        seen += [error.response.text, repr(error.response.headers.raw)]
        seen += [repr(error.response.request.headers.raw)]
    seen.append(pickle.dumps(error).decode("latin-1"))
    return "".join(seen)


@each("ask", calls.ASKED)
@each(
    "script",
    [
        pytest.param(answer({"detail": f"No such key: {KEY}"}, "401 X"), id="detail"),
        pytest.param(answer(b"Bearer " + ECHO, "500 X"), id="text"),
        pytest.param(answer({}, "403 X", [f"x-echo: {KEY}", f"x-request-id: {KEY}"]), id="header"),
        pytest.param(answer(b"", "302 X", [f"location: http://x/?k={KEY}"]), id="redirect"),
        pytest.param(answer({"detail": KEY}), id="nonsense"),
        pytest.param(answer(b"<html>" + b"x" * 290 + b" " + ECHO), id="cut-in-the-middle"),
        pytest.param([b"HTTP/1.1 " + ECHO + b"\r\n\r\n", CUT], id="status-line"),
        pytest.param([b"HTTP/1.1 200 OK\r\nx " + ECHO + b"\r\n\r\n", CUT], id="broken-header"),
        pytest.param(
            [b"HTTP/1.1 401 X\r\ncontent-length: 999\r\n\r\n" + ECHO, CUT], id="cut-short"
        ),
    ],
)
def test_a_key_that_is_echoed_is_not_repeated(ask: Ask, script) -> None:
    with scripted(script) as server, pytest.raises(AI21Error) as caught:
        ask(client(server))

    assert KEY not in everything(caught.value)
    assert KEY[:16] not in str(caught.value)


@each("ask", calls.ASKED)
def test_a_key_in_a_header_of_the_users_own_is_not_repeated(ask: Ask) -> None:
    headers = {"authorization": f"Token {KEY}"}
    script = answer({"detail": KEY}, "401 X")
    with scripted(script) as server, pytest.raises(AuthenticationError) as caught:
        ask(client(server, api_key=None, headers=headers))

    assert KEY not in everything(caught.value)


@each("ask", calls.ASKED)
@each("key", ["test", "key", "a", "Bad"])
def test_a_short_key_does_not_garble_the_servers_words(ask: Ask, key: str) -> None:
    words = "Forbidden: BadOrMissing Apikey/JWT, latest"
    script = answer({"detail": words}, "401 X")
    with scripted(script) as server, pytest.raises(AuthenticationError) as caught:
        ask(client(server, api_key=key))

    assert caught.value.detail == words


# --- Pickles ---------------------------------------------------------------------------------


@each("ask", calls.ASKED)
@each(
    "script",
    [
        answer({"detail": "slow"}, "429 X", ["retry-after: 3", "x-request-id: r-1"]),
        answer({"ok": 1}),
        [CUT],
    ],
)
def test_errors_survive_a_pickle(ask: Ask, script) -> None:
    with scripted(script) as server, pytest.raises(APIError) as caught:
        ask(client(server))

    error = caught.value
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    names = ("status_code", "request_id", "body", "detail", "retry_after")
    assert [getattr(again, name) for name in names] == [getattr(error, name) for name in names]
    if error.response is not None:
        assert again.response.json() == error.response.json()


@each("ask", calls.ASKED)
def test_a_connection_error_keeps_its_cause(ask: Ask) -> None:
    with scripted([CUT]) as server, pytest.raises(APIConnectionError) as caught:
        ask(client(server))

    assert isinstance(caught.value.__cause__, httpx.HTTPError)


def test_configuration_errors_are_value_errors() -> None:
    with pytest.raises(ValueError, match="API key"):
        calls.complete(AI21Client())
    assert issubclass(ConfigurationError, AI21Error)
