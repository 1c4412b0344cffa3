"""How much is kept from one request to the next: a server that runs for long must not grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Entry = TypeVar("Entry")


def forget(kept: dict[str, Entry], most: int, has_ended: Callable[[Entry], bool]) -> None:
    """Drop the oldest entries above a number; what has ended goes before what has not.

    Args:
        kept: The entries by their ids, the oldest first.
        most: How many may stay.
        has_ended: Whether nothing more will come of an entry.

    Example:
        >>> runs = {"one": "in_progress", "two": "completed", "three": "completed"}
        >>> forget(runs, 2, lambda status: status == "completed")
        >>> list(runs)
        ['one', 'three']
    """
    while len(kept) > most:
        oldest = next(iter(kept))
        del kept[next((name for name, one in kept.items() if has_ended(one)), oldest)]
