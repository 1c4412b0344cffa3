"""What is known of AI21's models: limits, and what became of the retired ones.

Limits and dates are those of AI21's model pages and pricing page as of 2026-09-29. A model that is
not listed here is not refused: the server decides what it serves.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple


class Retired(NamedTuple):
    """When AI21 stopped serving a model, and what to use instead."""

    on: date
    successor: str


CONTEXT_TOKENS = 256_000
"""Context window of each Jamba model that AI21 serves, in tokens."""

OUTPUT_TOKENS = 4_096
"""Documented upper limit of `max_tokens` on AI21 Studio."""

LIVE: dict[str, str] = {
    "jamba-mini": "Jamba Mini",
    "jamba-mini-2": "Jamba Mini 2",
    "jamba-mini-2-2026-01": "Jamba Mini 2",
    "jamba-large": "Jamba Large",
    "jamba-large-1.7": "Jamba Large 1.7",
    "jamba-large-1.7-2025-07": "Jamba Large 1.7",
}
"""Model ids that AI21 Studio serves, with their display names."""

_INSTRUCT = Retired(date(2025, 5, 7), "jamba-mini")
_MINI_1_5 = Retired(date(2025, 5, 6), "jamba-mini")
_LARGE_1_5 = Retired(date(2025, 5, 6), "jamba-large")
_MINI_1_6 = Retired(date(2025, 8, 3), "jamba-mini")
_LARGE_1_6 = Retired(date(2025, 8, 3), "jamba-large")
_MINI_1_7 = Retired(date(2026, 2, 1), "jamba-mini")
_JURASSIC_MINI = Retired(date(2024, 11, 11), "jamba-mini")
_JURASSIC_LARGE = Retired(date(2024, 11, 11), "jamba-large")

RETIRED: dict[str, Retired] = {
    "j2-light": _JURASSIC_MINI,
    "j2-mid": _JURASSIC_MINI,
    "j2-ultra": _JURASSIC_LARGE,
    "jamba-instruct": _INSTRUCT,
    "jamba-instruct-preview": _INSTRUCT,
    "jamba-1.5-mini": _MINI_1_5,
    "jamba-mini-1.5": _MINI_1_5,
    "jamba-1.5-large": _LARGE_1_5,
    "jamba-large-1.5": _LARGE_1_5,
    "jamba-mini-1.6": _MINI_1_6,
    "jamba-mini-1.6-2025-03": _MINI_1_6,
    "jamba-large-1.6": _LARGE_1_6,
    "jamba-large-1.6-2025-03": _LARGE_1_6,
    "jamba-mini-1.7": _MINI_1_7,
    "jamba-mini-1.7-2025-07": _MINI_1_7,
}
"""Model ids that AI21 Studio no longer serves. Other hosts may still do."""
