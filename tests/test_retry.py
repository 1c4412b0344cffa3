"""When a request is tried again, and after how long."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai21_chains._retry import delay, retry_after, should_retry, surely_not_done
from ai21_chains.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    ContextLengthExceededError,
    InternalServerError,
    RateLimitError,
    ResponseFormatError,
    StreamInterruptedError,
)
from tests.cases import each

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@each("status", [408, 409, 425, 429, 500, 501, 502, 503, 504, 520, 529, 599])
def test_these_statuses_are_tried_again(status: int) -> None:
    assert should_retry(APIStatusError("no", status_code=status))


@each("status", [None, 301, 400, 401, 402, 403, 404, 405, 413, 418, 422, 451])
def test_these_statuses_are_not(status: int | None) -> None:
    assert not should_retry(APIStatusError("no", status_code=status))


@each(
    "error",
    [
        APIConnectionError("no route"),
        APITimeoutError("too late"),
        StreamInterruptedError("cut"),
        BadRequestError("conflict", status_code=409),
        RateLimitError("slow down", status_code=429),
        InternalServerError("oops", status_code=500),
    ],
)
def test_what_may_pass_is_tried_again(error: APIError) -> None:
    assert should_retry(error)


@each(
    "error",
    [
        APIError("?"),
        ResponseFormatError("HTML"),
        BadRequestError("no", status_code=400),
        ContextLengthExceededError("too long", status_code=500),
    ],
)
def test_what_will_fail_again_is_not_tried_again(error: APIError) -> None:
    assert not should_retry(error)


def unsent(error: APIConnectionError) -> APIConnectionError:
    error.was_sent = False
    return error


@each(
    ("error", "sure"),
    [
        pytest.param(unsent(APIConnectionError("refused")), True, id="no-connection"),
        pytest.param(APIConnectionError("broken"), False, id="broken-connection"),
        pytest.param(APITimeoutError("late"), False, id="timeout"),
        pytest.param(RateLimitError("slow", status_code=429), True, id="429"),
        pytest.param(InternalServerError("full", status_code=503, retry_after=0.0), True, id="503"),
        pytest.param(InternalServerError("full", status_code=503), False, id="503-without-a-time"),
        pytest.param(InternalServerError("?", status_code=500, retry_after=1.0), False, id="500"),
    ],
)
def test_what_was_surely_not_done_may_be_repeated_in_any_case(error: APIError, sure: bool) -> None:
    assert surely_not_done(error) is sure


@each(
    ("attempt", "seconds"),
    [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 8.0), (100, 8.0), (5000, 8.0)],
)
def test_the_wait_doubles_up_to_eight_seconds(attempt: int, seconds: float) -> None:
    error = APIConnectionError("no route")

    assert delay(error, attempt, jitter=lambda: 0.0) == seconds
    assert delay(error, attempt, jitter=lambda: 1.0) == 0.75 * seconds


def test_jitter_is_random_unless_given() -> None:
    waits = {delay(APIConnectionError("no route"), 1) for _ in range(20)}

    assert len(waits) > 1
    assert all(0.375 <= wait <= 0.5 for wait in waits)


@each(
    ("asked", "waited"),
    [(0.0, 0.0), (0.2, 0.2), (30.0, 30.0), (60.0, 60.0), (61.0, 60.0), (1e9, 60.0), (-5.0, 0.0)],
)
def test_what_the_server_asks_for_goes_first_and_is_capped(asked: float, waited: float) -> None:
    assert delay(RateLimitError("slow down", retry_after=asked), 3) == waited


@each(
    ("value", "seconds"),
    [
        pytest.param("7", 7.0, id="seconds"),
        pytest.param(" 7 ", 7.0, id="spaces"),
        pytest.param("1.5", 1.5, id="fraction"),
        pytest.param("0", 0.0, id="zero"),
        pytest.param("86400", 86400.0, id="a-day"),
        pytest.param("Sun, 01 Mar 2026 12:00:30 GMT", 30.0, id="date"),
        pytest.param("Sunday, 01-Mar-26 12:00:30 GMT", 30.0, id="rfc850-date"),
        pytest.param("Sun Mar  1 12:00:30 2026", 30.0, id="asctime-date"),
        pytest.param("Sun, 01 Mar 2026 13:00:30 +0100", 30.0, id="other-zone"),
        pytest.param("Sun, 01 Mar 2026 12:00:30 -0000", 30.0, id="no-zone"),
        pytest.param("Sun, 01 Mar 2026 11:00:00 GMT", 0.0, id="past-date"),
        pytest.param("", None, id="empty"),
        pytest.param("soon", None, id="garbage"),
        pytest.param("-1", None, id="negative"),
        pytest.param("nan", None, id="nan"),
        pytest.param("inf", None, id="inf"),
        pytest.param("-inf", None, id="minus-inf"),
        pytest.param("Sun, 99 Mar 2026 12:00:30 GMT", None, id="no-such-day"),
        pytest.param("Sun, 99999999999 Mar 2026 12:00:30 GMT", None, id="huge-day"),
        pytest.param("Sun, 01 Mar 2026 12:00:30 +99999999999999", None, id="huge-zone"),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}, now=lambda: NOON) == seconds


def test_without_the_header_there_is_no_wish() -> None:
    assert retry_after({}) is None


def test_dates_are_compared_with_the_clock() -> None:
    assert retry_after({"retry-after": "Sun, 01 Mar 2020 12:00:00 GMT"}) == 0.0


@given(st.text() | st.from_regex(r"\w{3}, \d{1,12} Mar \d{1,6} [\d:]{1,9} [+-]?\w{1,20}"))
def test_no_header_makes_it_fail(value: str) -> None:
    wait = retry_after({"retry-after": value}, now=lambda: NOON)

    assert wait is None or wait >= 0
