"""What the tests of the emulator share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.emulator.doors import OPENED


@pytest.fixture(autouse=True)
def _doors_are_closed() -> Iterator[None]:
    with OPENED:
        yield


@pytest.fixture
def chat() -> Callable[..., dict[str, Any]]:
    """Return a function that makes the body of a chat request with one user message."""

    def body(text: str = "Hello", **fields: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": text}]
        return {"model": "jamba-mini", "messages": messages, **fields}

    return body
