"""Work on a large body, done in a thread: all other clients would wait for it otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LARGE = 256_000
"""Bytes of a body from which on it is read in a thread; what is smaller takes a few ms."""


async def aside(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do something, in a thread if it is about so many bytes that it takes long.

    Args:
        size: Bytes.
        work: What is to be done.
        *args: What it is called with.
        **kwargs: Likewise.
    """
    if size < LARGE:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
