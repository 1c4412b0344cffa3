"""Endpoints other than chat: what is sent, what comes back, and what is not done twice."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from email.message import Message
from typing import Any

import httpx
import pytest

from ai21_chains.client import AI21Client, path
from ai21_chains.emulator import Emulator
from ai21_chains.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    NotFoundError,
    ResponseFormatError,
)
from tests.cases import each
from tests.servers.scripted import CUT, HOLD, RESET, answer, fails, scripted

Request = Callable[..., Any]


def request(client: AI21Client, *what: str, **options: Any) -> Any:
    return client.request(*what, **options)


def arequest(client: AI21Client, *what: str, **options: Any) -> Any:
    return asyncio.run(client.arequest(*what, **options))


ASKED = (request, arequest)


def client(server, **settings: Any) -> AI21Client:
    return AI21Client(base_url=server.url, api_key="k-0123456789abc", **settings)


# --- What is sent ----------------------------------------------------------------------------


@each("ask", ASKED)
@each("method", ["POST", "PUT"])
def test_json_is_sent_as_compact_utf_8(ask: Request, method: str) -> None:
    with scripted(answer({"id": 1})) as server:
        assert ask(client(server), method, "/runs", json={"q": "é"}) == {"id": 1}

    sent = server.requests[0]
    assert (sent.method, sent.target) == (method, "/studio/v1/runs")
    assert sent.content == '{"q":"é"}'.encode()
    assert sent.header("content-type") == ["application/json"]
    assert sent.header("accept") == ["application/json"]
    assert sent.header("authorization") == ["Bearer k-0123456789abc"]


@each("ask", ASKED)
@each("method", ["GET", "DELETE"])
def test_without_a_body_there_is_no_content_type(ask: Request, method: str) -> None:
    with scripted(answer([])) as server:
        assert ask(client(server), method, "/files") == []

    assert server.requests[0].content == b""
    assert not server.requests[0].header("content-type")


@each("ask", ASKED)
def test_the_query_repeats_lists_and_leaves_out_what_is_none(ask: Request) -> None:
    params = {"label": ["a b", "ü"], "limit": 3, "force": True, "name": None}
    with scripted(answer([])) as server:
        ask(client(server), "GET", "/files", params=params)

    target = server.requests[0].target
    assert target == "/studio/v1/files?label=a+b&label=%C3%BC&limit=3&force=true"


def parts(content_type: str, content: bytes) -> list[tuple[str, str | None, bytes]]:
    kind = Message()
    kind["content-type"] = content_type
    found = []
    for part in content.split(b"--" + kind.get_param("boundary").encode())[1:-1]:
        head, _, body = part.strip(b"\r\n").partition(b"\r\n\r\n")
        names = Message()
        names["content-disposition"] = head.decode().split("\r\n")[0].partition(": ")[2]
        name = names.get_param("name", header="content-disposition")
        found.append((name, names.get_filename(), body))
    return found


@each("ask", ASKED)
@each("content", [b"one\x00two", io.BytesIO(b"one\x00two")])
def test_files_go_in_a_form_with_their_fields(ask: Request, content: Any) -> None:
    fields = {"path": "a/b", "labels": ["x", "y"], "publicUrl": None}
    files = {"file": ("notes.txt", content, "text/plain")}
    with scripted(answer({"id": "f"})) as server:
        # A header meant for JSON would hide the boundary.
        given = {"content-type": "application/json", "X-Tenant": "t"}
        ask(client(server, headers=given), "POST", "/files", files=files, fields=fields)

    sent = server.requests[0]
    assert sent.header("x-tenant") == ["t"]
    assert sent.header("content-type")[0].startswith("multipart/form-data; boundary=")
    assert parts(sent.header("content-type")[0], sent.content) == [
        ("path", None, b"a/b"),
        ("labels", None, b"x"),
        ("labels", None, b"y"),
        ("file", "notes.txt", b"one\x00two"),
    ]


@each("ask", ASKED)
def test_a_file_is_sent_from_its_beginning_each_time(ask: Request) -> None:
    content = io.BytesIO(b"all of it")
    with scripted(fails("429 Too Many Requests"), answer({})) as server:
        ask(client(server), "POST", "/files", files={"file": ("a", content, "text/plain")})

    sent = [parts(one.header("content-type")[0], one.content)[0][2] for one in server.requests]
    assert sent == [b"all of it", b"all of it"]


class Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


@each("ask", ASKED)
def test_a_file_that_can_be_read_once_only_is_refused(ask: Request) -> None:
    with scripted(answer({})) as server:
        with pytest.raises(ConfigurationError, match="file can be read only once"):
            ask(client(server), "POST", "/files", files={"file": ("a", Pipe(b"x"), "text/plain")})

        assert not server.requests


@each("ask", ASKED)
def test_what_has_no_json_form_is_refused(ask: Request) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written as JSON"):
        ask(AI21Client(api_key="k"), "POST", "/runs", json={"when": object()})


@each(
    ("given", "made"),
    [
        (["library", "files", "7"], "/library/files/7"),
        (["files", "a/b?c#d %"], "/files/a%2Fb%3Fc%23d%20%25"),
        (["é"], "/%C3%A9"),
    ],
)
def test_parts_of_a_path_stay_parts(given: list[str], made: str) -> None:
    assert path(*given) == made


@each("part", ["", ".", ".."])
def test_a_part_that_means_another_path_is_refused(part: str) -> None:
    with pytest.raises(ConfigurationError, match="is no id"):
        path("library", part)


# --- What comes back -------------------------------------------------------------------------


@each("ask", ASKED)
@each("value", [[], {}, [{"id": 1}], "text", 3, None, True])
def test_any_json_is_an_answer(ask: Request, value: object) -> None:
    with scripted(answer(value)) as server:
        assert ask(client(server), "GET", "/x") == value


@each("ask", ASKED)
@each("body", [b"", b" \n"])
def test_an_empty_body_is_none(ask: Request, body: bytes) -> None:
    with scripted(answer(body)) as server:
        assert ask(client(server), "DELETE", "/x") is None


@each("ask", ASKED)
def test_bytes_come_back_as_they_are(ask: Request) -> None:
    with scripted(
        answer(b'{"a":1}\n\xff', "200 OK", ["content-type: application/jsonl"])
    ) as server:
        assert ask(client(server), "GET", "/x", as_bytes=True) == b'{"a":1}\n\xff'

    assert server.requests[0].header("accept") == ["*/*"]


@each("ask", ASKED)
def test_an_answer_that_is_no_json_is_an_error_without_the_key(ask: Request) -> None:
    page = b"<html>k-0123456789abc is not welcome</html>"
    with (
        scripted(answer(page)) as server,
        pytest.raises(ResponseFormatError, match="it is not JSON") as caught,
    ):
        ask(client(server), "GET", "/x")

    assert "0123" not in f"{caught.value}{caught.value.detail}"
    assert caught.value.status_code == 200


@each("ask", ASKED)
def test_a_status_is_the_error_it_is_for_chat(ask: Request) -> None:
    with (
        scripted(fails("404 Not Found", {"detail": "No such file"})) as server,
        pytest.raises(NotFoundError, match=r"404 Not Found from GET http.*/files/7: No such file"),
    ):
        ask(client(server), "GET", "/files/7", params={"secret": "s"})


@each("ask", ASKED)
def test_a_retired_model_in_the_path_is_named_with_its_successor(ask: Request) -> None:
    with Emulator().serve() as server:
        api = AI21Client(base_url=server.base_url, api_key="k")
        with pytest.raises(NotFoundError, match="retired j2-ultra on 2024-11-11; use jamba-large"):
            ask(api, "POST", "/j2-ultra/complete", json={"prompt": "Hi"})


@each("ask", ASKED)
def test_the_emulator_lists_its_models(ask: Request) -> None:
    with Emulator().serve() as server:
        listed = ask(AI21Client(base_url=server.base_url, api_key="k"), "GET", "/models")

    assert "jamba-mini" in [row["id"] for row in listed["data"]]


# --- What is not done twice ------------------------------------------------------------------

CUT_HALF_WAY = [b'HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{"id"', CUT]
AMBIGUOUS = {
    "closed": [CUT],
    "reset": [RESET],
    "half an answer": CUT_HALF_WAY,
    "500": fails("500 Internal Server Error"),
    "502": fails("502 Bad Gateway"),
    "503 without a time": answer({}, "503 Service Unavailable"),
    "504": fails("504 Gateway Timeout"),
    "408": fails("408 Request Timeout"),
}
REFUSED = {
    "429": fails("429 Too Many Requests"),
    "503 with a time": fails("503 Service Unavailable"),
}


@each("ask", ASKED)
@each("failure", AMBIGUOUS.values())
def test_what_the_server_may_have_done_is_not_repeated(ask: Request, failure: Any) -> None:
    with scripted(failure, answer({})) as server:
        with pytest.raises(APIError, match="look before you repeat it") as caught:
            ask(client(server), "POST", "/runs", json={})

        assert not caught.value.is_retryable
        assert len(server.requests) == 1


@each("ask", ASKED)
def test_a_run_that_may_have_begun_before_a_timeout_is_not_repeated(ask: Request) -> None:
    with scripted([HOLD]) as server:
        with pytest.raises(APITimeoutError, match="look before you repeat it") as caught:
            ask(client(server, timeout=httpx.Timeout(5.0, read=0.03)), "POST", "/runs", json={})

        assert caught.value.was_sent
        assert len(server.requests) == 1


@each("ask", ASKED)
@each("failure", REFUSED.values())
def test_what_the_server_has_not_begun_is_tried_again(ask: Request, failure: Any) -> None:
    with scripted(failure, failure, answer({"id": 1})) as server:
        assert ask(client(server), "POST", "/runs", json={}) == {"id": 1}


@each("ask", ASKED)
@each("failure", REFUSED.values())
def test_an_error_that_says_it_was_not_done_has_no_warning(ask: Request, failure: Any) -> None:
    with scripted(failure) as server, pytest.raises(APIStatusError) as caught:
        ask(client(server, max_retries=0), "POST", "/runs", json={})

    assert "repeat" not in str(caught.value)


@each("failure", AMBIGUOUS.values())
@each("how", ["GET", "PUT", "DELETE", "idempotent POST"])
def test_what_may_be_done_twice_is_tried_again(how: str, failure: Any) -> None:
    method = how.split(" ")[-1]
    options = {"idempotent": True} if method == "POST" else {}
    with scripted(failure, answer({"id": 1})) as server:
        api = client(server, sleep=lambda seconds: None)
        assert request(api, method, "/runs", **options) == {"id": 1}


@each("ask", ASKED)
def test_without_a_connection_it_is_tried_again(ask: Request) -> None:
    pauses: list[float] = []

    async def async_sleep(seconds: float) -> None:
        pauses.append(seconds)

    api = AI21Client(
        base_url="http://127.0.0.1:9/v1", api_key="k", sleep=pauses.append, async_sleep=async_sleep
    )
    with pytest.raises(APIConnectionError, match="failed") as caught:
        ask(api, "POST", "/runs", json={})

    assert len(pauses) == 2
    assert not caught.value.was_sent
    assert "repeat" not in str(caught.value)
