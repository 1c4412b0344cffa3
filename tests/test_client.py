"""What leaves the process, and which key goes with it."""

from __future__ import annotations

import asyncio
import json
import threading

import httpx
import pytest
from pydantic import SecretStr

from ai21_chains.client import AI21Client
from ai21_chains.errors import (
    AI21Error,
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    MissingAPIKeyError,
)
from tests.cases import each
from tests.servers import calls
from tests.servers.calls import Ask
from tests.servers.scripted import answer, completion, fails, says, scripted


def serving():
    return scripted(says("Hello"))


@pytest.fixture
def server():
    with serving() as running:
        yield running


# --- The request -----------------------------------------------------------------------------


@each("ask", calls.ASKED, server=serving)
def test_the_body_is_exactly_what_was_asked(ask: Ask, server) -> None:
    assert ask(AI21Client(base_url=server.url, api_key="k"), temperature=0, stop=["é"]) == "Hello"

    body = {
        "model": "jamba-mini",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0,
        "stop": ["é"],
    }
    streamed = {"stream": True} if ask in calls.STREAMED else {}
    sent = server.requests[0]
    assert (
        sent.content
        == json.dumps({**body, **streamed}, ensure_ascii=False, separators=(",", ":")).encode()
    )
    assert sent.header("content-length") == [str(len(sent.content))]


@each("ask", calls.ASKED, server=serving)
def test_the_headers_are_these(ask: Ask, server) -> None:
    ask(AI21Client(base_url=server.url, api_key="k-1"))

    sent = server.requests[0]
    accept = "text/event-stream" if ask in calls.STREAMED else "application/json"
    assert (sent.method, sent.target) == ("POST", "/studio/v1/chat/completions")
    assert sent.header("authorization") == ["Bearer k-1"]
    assert sent.header("accept") == [accept]
    assert sent.header("content-type") == ["application/json"]
    assert sent.header("user-agent")[0].startswith("ai21-chains/")
    assert sent.header("host") == [f"127.0.0.1:{server.port}"]
    assert not sent.header("cookie")


@each("end", ["", "/", "//"], server=serving)
def test_a_slash_at_the_end_of_base_url_makes_no_difference(end: str, server) -> None:
    calls.complete(AI21Client(base_url=server.url + end, api_key="k"))

    assert server.requests[0].target == "/studio/v1/chat/completions"


@each("ask", calls.ASKED, server=serving)
def test_given_headers_replace_ours_whatever_their_case(ask: Ask, server) -> None:
    given = {"user-agent": "mine", "ACCEPT": "x/y", "X-Tenant": "a", "authorization": "Basic b"}
    ask(AI21Client(base_url=server.url, api_key="k", headers=given))

    sent = server.requests[0]
    names = ("user-agent", "accept", "x-tenant", "authorization")
    assert [sent.header(name) for name in names] == [["mine"], ["x/y"], ["a"], ["Basic b"]]


@each("ask", calls.ASKED)
@each(
    "headers",
    [
        pytest.param({"X-A": "b\r\nX-Evil: 1"}, id="line-break"),
        pytest.param({"X-A": "schön"}, id="not-ascii"),
        pytest.param({"X A": "b"}, id="space-in-the-name"),
        pytest.param({"": "b"}, id="no-name"),
    ],
    server=serving,
)
def test_headers_that_http_does_not_allow_are_refused(ask: Ask, server, headers) -> None:
    with pytest.raises(ConfigurationError, match="header") as caught:
        ask(AI21Client(base_url=server.url, api_key="k", headers=headers))

    assert "Evil" not in str(caught.value)
    assert not server.requests


@each("ask", calls.ASKED)
@each("host", ["a..b", "a" * 64 + ".invalid"])
def test_a_host_name_that_is_none_is_an_error_of_ours(ask: Ask, host: str) -> None:
    with pytest.raises(AI21Error, match="base_url"):
        ask(AI21Client(base_url=f"http://{host}/v1", api_key="k", max_retries=0))


# --- The key ---------------------------------------------------------------------------------


async def _async_key() -> str:
    return "k-async"


@each("ask", calls.ASKED)
@each(
    ("given", "sent"),
    [
        pytest.param("k", "k", id="string"),
        pytest.param(SecretStr("k"), "k", id="SecretStr"),
        pytest.param("k\n", "k", id="line-break-at-the-end"),
        pytest.param(lambda: "k", "k", id="callable"),
        pytest.param(lambda: SecretStr("k\n"), "k", id="callable-SecretStr"),
    ],
    server=serving,
)
def test_a_key_may_be_given_as(ask: Ask, server, given, sent: str) -> None:
    ask(AI21Client(base_url=server.url, api_key=given))

    assert server.requests[0].key == sent


@each("ask", [calls.acomplete, calls.astream], server=serving)
def test_an_async_callable_gives_the_key_of_async_calls(ask: Ask, server) -> None:
    ask(AI21Client(base_url=server.url, api_key=_async_key))

    assert server.requests[0].key == "k-async"


@each("ask", [calls.complete, calls.stream], server=serving)
def test_an_async_callable_is_refused_for_sync_calls(ask: Ask, server) -> None:
    with pytest.raises(ConfigurationError, match="async callable"):
        ask(AI21Client(base_url=server.url, api_key=_async_key))

    assert not server.requests


@each("ask", calls.ASKED, server=serving)
def test_a_callable_is_asked_for_each_request(ask: Ask, server) -> None:
    keys = iter(["k-1", "k-2"])
    client = AI21Client(base_url=server.url, api_key=lambda: next(keys))
    ask(client)
    ask(client)
    with pytest.raises(ConfigurationError, match="callable failed with StopIteration"):
        ask(client)

    assert [request.key for request in server.requests] == ["k-1", "k-2"]


@each("ask", calls.ASKED, server=serving)
def test_a_callable_that_may_block_does_not_keep_the_event_loop(ask: Ask, server) -> None:
    threads = []

    def given() -> str:
        threads.append(threading.current_thread())
        return "k"

    ask(AI21Client(base_url=server.url, api_key=given))

    awaited = ask in (calls.acomplete, calls.astream)
    assert (threads[0] is threading.main_thread()) is not awaited


def _fails() -> str:
    raise OSError("vault of k-secret is closed")


async def _fails_later() -> str:
    raise OSError("vault of k-secret is closed")


@each("ask", calls.ASKED, server=serving)
def test_a_callable_that_fails_is_named_as_the_reason(ask: Ask, server) -> None:
    failing = [_fails] if ask in (calls.complete, calls.stream) else [_fails, _fails_later]
    for function in failing:
        with pytest.raises(ConfigurationError, match="callable failed with OSError") as caught:
            ask(AI21Client(base_url=server.url, api_key=function))

        assert "k-secret" not in str(caught.value)
    assert not server.requests


@each("ask", calls.ASKED)
@each(
    "key",
    [None, "", " \n", lambda: "", lambda: None, SecretStr("")],
    server=serving,
)
def test_without_a_key_nothing_is_sent(ask: Ask, server, key) -> None:
    with pytest.raises(MissingAPIKeyError, match="AI21_API_KEY"):
        ask(AI21Client(base_url=server.url, api_key=key))

    assert not server.requests


@each("ask", calls.ASKED, server=serving)
def test_an_authorization_header_stands_in_for_the_key(ask: Ask, server) -> None:
    ask(AI21Client(base_url=server.url, headers={"Authorization": "Token t"}))

    assert server.requests[0].header("authorization") == ["Token t"]


@each("ask", calls.ASKED)
@each("key", ["schlüssel", "a\nb", "a\x00b", "密钥"], server=serving)
def test_a_key_that_is_none_is_refused_and_not_repeated(ask: Ask, server, key: str) -> None:
    with pytest.raises(ConfigurationError, match="api_key holds characters") as caught:
        ask(AI21Client(base_url=server.url, api_key=key))

    assert key not in str(caught.value)
    assert not server.requests


@each("ask", calls.ASKED)
def test_two_keys_side_by_side_do_not_mix(ask: Ask) -> None:
    def door(request):
        refused = {"detail": "Forbidden: Bad or missing Apikey/JWT."}
        return says("In")(request) if request.key == "good" else fails("401 Unauthorized", refused)

    with scripted(door) as server:
        good = AI21Client(base_url=server.url, api_key="good")
        bad = AI21Client(base_url=server.url, api_key="bad")
        for _ in range(2):
            assert ask(good) == "In"
            with pytest.raises(AuthenticationError, match="Forbidden: Bad or missing Apikey/JWT"):
                ask(bad)


@each("ask", calls.ASKED)
def test_cookies_are_not_kept(ask: Ask) -> None:
    with scripted(
        fails("401 Unauthorized", None, "set-cookie: session=a; Path=/"), says()
    ) as server:
        client = AI21Client(base_url=server.url, api_key="k")
        with pytest.raises(AuthenticationError):
            ask(client)
        ask(client)

    assert not server.requests[1].header("cookie")


# --- Redirects -------------------------------------------------------------------------------


@each("ask", calls.ASKED)
@each("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_an_error_and_the_key_goes_nowhere_else(ask: Ask, status: str) -> None:
    with scripted(says()) as other:
        location = f"location: {other.url}/chat/completions"
        with scripted(fails(status, b"", location)) as server:
            with pytest.raises(APIStatusError, match="it redirects to") as caught:
                ask(AI21Client(base_url=server.url, api_key="k"))

            assert caught.value.status_code == int(status[:3])
            assert len(server.requests) == 1
        assert not other.connections


# --- Clients of the user's own ----------------------------------------------------------------


def _own(**settings) -> tuple[httpx.Client, httpx.AsyncClient]:
    return httpx.Client(**settings), httpx.AsyncClient(**settings)


@each("ask", calls.ASKED)
def test_own_clients_are_used_as_they_are_and_not_closed(ask: Ask) -> None:
    seen = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["x-own"])
        script = says("Own")(_Sent(request))
        content = b"".join(step for step in script if isinstance(step, bytes))
        head, _, body = content.partition(b"\r\n\r\n")
        chunked = b"chunked" in head
        return httpx.Response(200, content=_unchunked(body) if chunked else body)

    sync, other = _own(transport=httpx.MockTransport(handle), headers={"X-Own": "1"})
    client = AI21Client(api_key="k", http_client=sync, http_async_client=other)

    assert ask(client) == "Own"
    assert ask(client) == "Own"
    assert seen == ["1", "1"]
    assert not sync.is_closed
    assert not other.is_closed


class _Sent:
    def __init__(self, request: httpx.Request) -> None:
        self.body = json.loads(request.content)


def _unchunked(body: bytes) -> bytes:
    found = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        found, body = found + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return found


@each("ask", calls.ASKED)
def test_a_closed_client_is_named(ask: Ask) -> None:
    sync, other = _own()
    sync.close()
    asyncio.run(other.aclose())

    with pytest.raises(ConfigurationError, match="closed"):
        ask(AI21Client(api_key="k", http_client=sync, http_async_client=other))


@each("ask", calls.ASKED)
def test_a_proxy_does_not_go_with_an_own_client(ask: Ask) -> None:
    sync, other = _own(transport=httpx.MockTransport(lambda _: httpx.Response(500)))

    with pytest.raises(ConfigurationError, match="proxy does not go with"):
        ask(AI21Client(api_key="k", http_client=sync, http_async_client=other, proxy="http://x:1"))


@each("ask", calls.ASKED)
@each(
    ("own", "given", "used"),
    [
        pytest.param(None, None, {"connect": 10, "read": 300}, id="httpx-default-is-ours"),
        pytest.param(7, None, {"connect": 7, "read": 7}, id="of-the-own-client"),
        pytest.param(7, 2.5, {"connect": 2.5, "read": 2.5}, id="of-the-model"),
        pytest.param(7, httpx.Timeout(9, read=1), {"connect": 9, "read": 1}, id="httpx.Timeout"),
    ],
)
def test_the_timeout_that_counts(ask: Ask, own, given, used) -> None:
    seen = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        return httpx.Response(400)

    settings = {"transport": httpx.MockTransport(handle), **({"timeout": own} if own else {})}
    sync, other = _own(**settings)
    with pytest.raises(APIStatusError):
        ask(AI21Client(api_key="k", http_client=sync, http_async_client=other, timeout=given))

    assert {name: seen[0][name] for name in used} == used


@each("ask", calls.ASKED, server=serving)
def test_what_has_no_json_form_is_not_sent(ask: Ask, server) -> None:
    with pytest.raises(ConfigurationError):
        ask(AI21Client(base_url=server.url, api_key="k"), user=object())

    assert not server.requests


def test_the_representation_of_a_client_holds_no_secret() -> None:
    client = AI21Client(api_key="k-secret", headers={"X": "h-secret"}, proxy="http://u:p-secret@x")

    assert "secret" not in repr(client)


@each("ask", calls.ASKED)
def test_an_informational_answer_is_passed_over(ask: Ask) -> None:
    def script(request):
        return [b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", *says()(request)]

    with scripted(script) as server:
        assert ask(AI21Client(base_url=server.url, api_key="k")) == "Hello"


@each("ask", calls.ASKED)
def test_a_whole_answer_to_a_stream_request_is_one_event(ask: Ask) -> None:
    for kind in ("application/json", "text/plain", "text/event-stream"):
        headers = [f"content-type: {kind}"]
        with scripted(answer(completion("Plain"), headers=headers)) as server:
            assert ask(AI21Client(base_url=server.url, api_key="k")) == "Plain"
