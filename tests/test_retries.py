"""Which failures are tried again, how often, and after which pause."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from ai21_chains.client import AI21Client
from ai21_chains.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    RateLimitError,
    ResponseFormatError,
    StreamInterruptedError,
)
from tests.cases import each
from tests.servers import calls
from tests.servers.calls import Ask
from tests.servers.scripted import (
    CHUNKED,
    CUT,
    EVENTS,
    HELLO,
    HOLD,
    RESET,
    ROLE,
    answer,
    completion,
    event,
    fails,
    piece,
    says,
    scripted,
    stream,
)

WHOLE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n"


class Waiting:
    """Waits by writing down for how long."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    @classmethod
    def fresh(cls) -> AbstractContextManager[Waiting]:
        return nullcontext(cls())

    def client(self, server, **settings) -> AI21Client:
        async def async_sleep(seconds: float) -> None:
            self.pauses.append(seconds)

        return AI21Client(
            base_url=server.url,
            api_key="k",
            sleep=self.pauses.append,
            async_sleep=async_sleep,
            **settings,
        )


# --- Which -----------------------------------------------------------------------------------


@each("ask", calls.ASKED)
@each("status", [408, 409, 425, 429, 500, 502, 503, 504, 529], waiting=Waiting.fresh)
def test_a_status_that_may_pass_is_tried_again(ask: Ask, waiting: Waiting, status: int) -> None:
    with scripted(answer({"detail": "…"}, f"{status} X"), says()) as server:
        assert ask(waiting.client(server)) == "Hello"

    assert len(server.requests) == 2
    assert server.requests[0].content == server.requests[1].content
    assert 0.3 < waiting.pauses[0] <= 0.5


@each("ask", calls.ASKED)
@each("status", [400, 401, 403, 404, 405, 413, 415, 422, 451], waiting=Waiting.fresh)
def test_a_status_that_will_not_pass_is_not(ask: Ask, waiting: Waiting, status: int) -> None:
    with scripted(answer({"detail": "…"}, f"{status} X"), says()) as server:
        with pytest.raises(APIStatusError) as caught:
            ask(waiting.client(server))

        assert caught.value.status_code == status
        assert len(server.requests) == 1


@each("ask", calls.ASKED)
@each(
    "script",
    [
        pytest.param([CUT], id="cut-before-the-head"),
        pytest.param([RESET], id="reset"),
        pytest.param([b"HTTP/1.1 200 O", CUT], id="cut-in-the-head"),
        pytest.param([WHOLE_HEAD, CUT], id="cut-after-the-head"),
        pytest.param([WHOLE_HEAD, b'{"id":', CUT], id="cut-in-the-body"),
        pytest.param([EVENTS + CHUNKED, CUT], id="cut-before-the-first-event"),
        pytest.param([EVENTS + CHUNKED, piece(b": ping\n\n"), CUT], id="cut-after-a-comment"),
        pytest.param([b"nonsense\r\n\r\n", CUT], id="no-http"),
    ],
    waiting=Waiting.fresh,
)
def test_a_connection_that_breaks_is_tried_again(ask: Ask, waiting: Waiting, script) -> None:
    with scripted(script, says()) as server:
        assert ask(waiting.client(server)) == "Hello"

    assert len(server.requests) == 2


@each("ask", calls.ASKED, waiting=Waiting.fresh)
def test_a_refused_connection_is_tried_again_and_then_named(ask: Ask, waiting: Waiting) -> None:
    with scripted(says()) as server:
        pass
    with pytest.raises(APIConnectionError, match="Check base_url") as caught:
        ask(waiting.client(server))

    assert len(waiting.pauses) == 2
    assert caught.value.status_code is None


@each("ask", calls.ASKED, waiting=Waiting.fresh)
def test_silence_is_tried_again(ask: Ask, waiting: Waiting) -> None:
    with scripted([HOLD], says()) as server:
        assert ask(waiting.client(server, timeout=0.2)) == "Hello"


@each("ask", calls.STREAMED, waiting=Waiting.fresh)
def test_an_error_event_that_comes_first_is_tried_again(ask: Ask, waiting: Waiting) -> None:
    with scripted(stream(b'data: {"detail": "overloaded"}\n\n'), says()) as server:
        assert ask(waiting.client(server)) == "Hello"


@each("ask", calls.ASKED, waiting=Waiting.fresh)
def test_an_answer_that_is_none_is_not_tried_again(ask: Ask, waiting: Waiting) -> None:
    with scripted(answer({"ok": True}), says()) as server:
        with pytest.raises(ResponseFormatError):
            ask(waiting.client(server))

        assert len(server.requests) == 1


# --- Nothing after the first piece -----------------------------------------------------------


@each("ask", calls.STREAMED)
@each(
    ("end", "error"),
    [
        pytest.param(CUT, StreamInterruptedError, id="cut"),
        pytest.param(RESET, StreamInterruptedError, id="reset"),
        pytest.param(HOLD, APITimeoutError, id="silence"),
    ],
    waiting=Waiting.fresh,
)
def test_after_the_first_event_nothing_is(ask: Ask, waiting: Waiting, end, error) -> None:
    said: list[str] = []
    with scripted(stream(ROLE, event("Hel"), 0.05, end), says()) as server:
        with pytest.raises(error):
            ask(waiting.client(server, timeout=0.3), into=said)

        assert "".join(said) == "Hel"
        assert len(server.requests) == 1


# --- How often -------------------------------------------------------------------------------


@each("ask", calls.ASKED)
@each("max_retries", [0, 1, 2, 5], waiting=Waiting.fresh)
def test_there_is_one_try_more_than_max_retries(
    ask: Ask, waiting: Waiting, max_retries: int
) -> None:
    with scripted(answer({"detail": "busy"}, "503 Busy")) as server:
        with pytest.raises(APIError, match="busy"):
            ask(waiting.client(server, max_retries=max_retries))

        assert len(server.requests) == max_retries + 1
        assert len(waiting.pauses) == max_retries


@each("ask", calls.ASKED, waiting=Waiting.fresh)
def test_failures_of_all_kinds_count_together(ask: Ask, waiting: Waiting) -> None:
    with scripted([CUT], fails("503 Busy"), fails("429 Slow"), says()) as server:
        with pytest.raises(RateLimitError):
            ask(waiting.client(server, max_retries=2))

        assert len(server.requests) == 3


# --- How long --------------------------------------------------------------------------------


@each("ask", calls.ASKED, waiting=Waiting.fresh)
def test_pauses_grow_and_are_spread(ask: Ask, waiting: Waiting) -> None:
    with scripted(answer({}, "500 X")) as server, pytest.raises(APIError):
        ask(waiting.client(server, max_retries=7))

    for number, pause in enumerate(waiting.pauses):
        full = min(0.5 * 2**number, 8.0)
        assert 0.75 * full <= pause <= full
    assert len(set(waiting.pauses)) == 7


@each("ask", calls.ASKED)
@each(
    ("asked", "least", "most"),
    [
        pytest.param("3", 3, 3, id="seconds"),
        pytest.param("0", 0, 0, id="at-once"),
        pytest.param("1.5", 1.5, 1.5, id="a-fraction"),
        pytest.param("86400", 60, 60, id="too-long"),
        pytest.param("soon", 0.375, 0.5, id="nonsense"),
        pytest.param("-5", 0.375, 0.5, id="negative"),
        pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0, id="date-gone-by"),
    ],
    waiting=Waiting.fresh,
)
def test_the_server_may_say_when(ask: Ask, waiting: Waiting, asked: str, least, most) -> None:
    headers = ["content-type: application/json", f"retry-after: {asked}"]
    with scripted(answer({"detail": "…"}, "429 Slow", headers), says()) as server:
        assert ask(waiting.client(server)) == "Hello"

    assert least <= waiting.pauses[0] <= most


@each("ask", calls.ASKED, waiting=Waiting.fresh)
def test_the_server_may_say_when_by_a_date(ask: Ask, waiting: Waiting) -> None:
    def busy(_):
        until = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
        return answer({"detail": "…"}, "429 Slow", [f"retry-after: {until}"])

    with scripted(busy, says()) as server:
        assert ask(waiting.client(server)) == "Hello"

    assert 20 < waiting.pauses[0] <= 40


@each("ask", calls.ASKED, waiting=Waiting.fresh)
def test_the_servers_wish_is_on_the_error(ask: Ask, waiting: Waiting) -> None:
    headers = ["content-type: application/json", "retry-after: 7"]
    with scripted(answer({"detail": "slow down"}, "429 Slow", headers)) as server:
        with pytest.raises(RateLimitError, match="wait 7 s") as caught:
            ask(waiting.client(server, max_retries=0))

        assert caught.value.retry_after == 7


@each("ask", [calls.complete, calls.acomplete])
def test_by_itself_a_client_really_waits(ask: Ask) -> None:
    with scripted(answer({"detail": "…"}, "503 Busy"), says()) as server:
        start = time.monotonic()
        assert ask(AI21Client(base_url=server.url, api_key="k")) == "Hello"

    assert time.monotonic() - start > 0.3


# --- Servers that do not stream tools --------------------------------------------------------

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def refuses_streams(request):
    if request.body.get("stream"):
        return answer({"detail": "tools cannot be used with stream=true"}, "422 Unprocessable")
    return answer(completion("Whole"))


@pytest.mark.parametrize("ask", calls.STREAMED)
def test_a_server_that_does_not_stream_tools_is_asked_without(ask: Ask, caplog) -> None:
    with scripted(refuses_streams) as server:
        assert ask(Waiting().client(server, max_retries=0), tools=[TOOL]) == "Whole"

    first, second = server.bodies
    assert first == {**second, "stream": True}
    assert server.requests[1].header("accept") == ["application/json"]
    assert [record.levelname for record in caplog.records if record.name == "ai21_chains"] == [
        "WARNING"
    ]


@each("ask", calls.STREAMED, waiting=Waiting.fresh)
def test_without_tools_there_is_no_second_way(ask: Ask, waiting: Waiting) -> None:
    with scripted(refuses_streams) as server:
        with pytest.raises(APIStatusError, match="stream=true"):
            ask(waiting.client(server))

        assert len(server.requests) == 1


@each("ask", calls.STREAMED, waiting=Waiting.fresh)
def test_tools_are_streamed_where_the_server_does(ask: Ask, waiting: Waiting) -> None:
    with scripted(stream(*HELLO)) as server:
        assert ask(waiting.client(server), tools=[TOOL]) == "Hello"

    assert len(server.requests) == 1
