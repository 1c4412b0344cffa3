"""An API key as it may be given: text, or a callable that is asked for each request."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from pydantic import SecretStr

from ai21_chains.errors import ConfigurationError

APIKey: TypeAlias = str | SecretStr | Callable[[], str] | Callable[[], Awaitable[str]]


def key_of(given: APIKey | None) -> str:
    """Return the key, or nothing if there is none.

    Args:
        given: The key, or a callable without arguments that returns it.

    Raises:
        ConfigurationError: The callable failed or is async, or the key is none.
    """
    key = _called(given) if callable(given) else given
    if inspect.isawaitable(key):
        if inspect.iscoroutine(key):
            key.close()
        raise ConfigurationError(
            "api_key is an async callable: it works with ainvoke, astream and abatch only"
        )
    return _checked(key)


async def akey_of(given: APIKey | None) -> str:
    """Async form of `key_of`.

    Args:
        given: The key, or a callable without arguments, sync or async, that returns it.
    """
    key: object = given
    if inspect.iscoroutinefunction(given):
        key = given()
    elif callable(given):
        # It may ask a server, which takes its time; a thread costs 0.1 ms.
        key = await asyncio.to_thread(_called, given)
    if inspect.isawaitable(key):
        with _blaming_the_callable():
            key = await key
    return _checked(key)


def _called(given: Callable[[], object]) -> object:
    # A StopIteration must not leave a thread: Python 3.11 would wait for its result for good.
    with _blaming_the_callable():
        return given()


def _checked(key: object) -> str:
    text = key.get_secret_value() if isinstance(key, SecretStr) else key
    text = text.strip() if isinstance(text, str) else ""
    if not (text.isascii() and text.isprintable()):
        raise ConfigurationError("api_key holds characters that no API key has")
    return text


@contextmanager
def _blaming_the_callable() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        kind = type(error).__name__
        raise ConfigurationError(f"The api_key callable failed with {kind}") from error
