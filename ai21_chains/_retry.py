"""When to try again, and how long to wait first: a pure policy, the clock is the caller's.

The rules are those of the OpenAI and Anthropic clients: statuses 408, 409, 425, 429 and 5xx,
connection errors and timeouts are tried again, with exponential backoff and jitter, and a
`Retry-After` of the server goes first.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ai21_chains.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    ContextLengthExceededError,
)

FIRST_WAIT = 0.5
"""Seconds before the first retry, without jitter; doubled for each further one."""

LONGEST_WAIT = 8.0
"""Upper limit of the backoff in seconds."""

LONGEST_RETRY_AFTER = 60.0
"""Upper limit in seconds of what the server may ask for: nobody waits for an hour unnoticed."""

_RETRIED_STATUSES = frozenset({408, 409, 425, 429})


def should_retry(error: APIError) -> bool:
    """Whether the same request may succeed if it is sent again.

    Args:
        error: What went wrong, before the first byte of the answer was delivered.
    """
    if isinstance(error, APIStatusError) and not isinstance(error, ContextLengthExceededError):
        status = error.status_code or 0
        return status in _RETRIED_STATUSES or status >= 500
    return isinstance(error, APIConnectionError)


def surely_not_done(error: APIError) -> bool:
    """Whether the server has not even begun to do what it was asked to.

    Args:
        error: What went wrong.
    """
    if isinstance(error, APIConnectionError):
        return not error.was_sent
    refused = error.status_code == 503 and error.retry_after is not None
    return error.status_code == 429 or refused


def delay(error: APIError, attempt: int, *, jitter: Callable[[], float] = random.random) -> float:
    """Seconds to wait before the next try.

    Args:
        error: What went wrong.
        attempt: Number of tries so far that failed, 1 or more.
        jitter: Source of randomness, from 0 to 1. It spreads clients that failed together.
    """
    if error.retry_after is not None:
        return min(max(error.retry_after, 0.0), LONGEST_RETRY_AFTER)
    # Ten doublings are beyond the limit, two thousand beyond what a float holds.
    backoff = min(FIRST_WAIT * 2.0 ** min(attempt - 1, 10), LONGEST_WAIT)
    return backoff * (1 - 0.25 * jitter())


def retry_after(
    headers: Mapping[str, str], now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> float | None:
    """Seconds that the server asks to wait (RFC 9110 §10.2.3: seconds or an HTTP date), or None.

    Args:
        headers: The response's headers.
        now: The clock, for dates.
    """
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        pass
    else:
        return seconds if seconds >= 0 and seconds != float("inf") else None
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    # A date without a zone is UTC: HTTP knows no other.
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max((until - now()).total_seconds(), 0.0)
