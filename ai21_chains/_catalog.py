"""What is known of AI21's models: names, limits, prices, and what became of the retired ones.

Limits, prices and dates are those of AI21's model pages and pricing page as of 2026-09-29; prices
of retired models are the last ones. A model that is not listed here is not refused: the server
decides what it serves.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import NamedTuple


class Retired(NamedTuple):
    """When AI21 stopped serving a model, and what to use instead."""

    on: date
    successor: str


class Price(NamedTuple):
    """What a million tokens cost on AI21 Studio, in USD."""

    input: Decimal
    output: Decimal

    def of(self, input_tokens: int, output_tokens: int) -> Decimal:
        """Return what a request costs, in USD, exactly."""
        return (input_tokens * self.input + output_tokens * self.output) / 1_000_000


CONTEXT_TOKENS = 256_000
"""Context window of each Jamba model that AI21 serves, in tokens."""

OUTPUT_TOKENS = 4_096
"""Documented upper limit of `max_tokens` on AI21 Studio."""

_JURASSIC_TOKENS = 8_192
"""Context window of Jurassic-2, in tokens; an answer may fill what the prompt leaves."""


class Model(NamedTuple):
    """A model: its display name, its limits in tokens, its price, and its end."""

    name: str
    price: Price
    retired: Retired | None = None
    context_tokens: int = CONTEXT_TOKENS
    output_tokens: int = OUTPUT_TOKENS


_MINI = Price(Decimal("0.20"), Decimal("0.40"))
_LARGE = Price(Decimal("2.00"), Decimal("8.00"))
_INSTRUCT = Price(Decimal("0.50"), Decimal("0.70"))


def _mini(name: str, year: int, month: int, day: int) -> Model:
    return Model(name, _MINI, Retired(date(year, month, day), "jamba-mini"))


def _large(name: str, year: int, month: int, day: int) -> Model:
    return Model(name, _LARGE, Retired(date(year, month, day), "jamba-large"))


def _instruct(name: str) -> Model:
    return Model(name, _INSTRUCT, Retired(date(2025, 5, 7), "jamba-mini"))


def _jurassic(name: str, price: str, successor: str) -> Model:
    return Model(
        name,
        Price(Decimal(price), Decimal(price)),
        Retired(date(2024, 11, 11), successor),
        context_tokens=_JURASSIC_TOKENS,
        output_tokens=_JURASSIC_TOKENS,
    )


MODELS: dict[str, Model] = {
    "jamba-mini": Model("Jamba Mini", _MINI),
    "jamba-mini-2": Model("Jamba Mini 2", _MINI),
    "jamba-mini-2-2026-01": Model("Jamba Mini 2", _MINI),
    "jamba-large": Model("Jamba Large", _LARGE),
    "jamba-large-1.7": Model("Jamba Large 1.7", _LARGE),
    "jamba-large-1.7-2025-07": Model("Jamba Large 1.7", _LARGE),
    "j2-light": _jurassic("Jurassic-2 Light", "3.00", "jamba-mini"),
    "j2-mid": _jurassic("Jurassic-2 Mid", "10.00", "jamba-mini"),
    "j2-ultra": _jurassic("Jurassic-2 Ultra", "15.00", "jamba-large"),
    "jamba-instruct": _instruct("Jamba Instruct"),
    "jamba-instruct-preview": _instruct("Jamba Instruct (preview)"),
    "jamba-1.5-mini": _mini("Jamba 1.5 Mini", 2025, 5, 6),
    "jamba-mini-1.5": _mini("Jamba 1.5 Mini", 2025, 5, 6),
    "jamba-1.5-large": _large("Jamba 1.5 Large", 2025, 5, 6),
    "jamba-large-1.5": _large("Jamba 1.5 Large", 2025, 5, 6),
    "jamba-mini-1.6": _mini("Jamba Mini 1.6", 2025, 8, 3),
    "jamba-mini-1.6-2025-03": _mini("Jamba Mini 1.6", 2025, 8, 3),
    "jamba-large-1.6": _large("Jamba Large 1.6", 2025, 8, 3),
    "jamba-large-1.6-2025-03": _large("Jamba Large 1.6", 2025, 8, 3),
    "jamba-mini-1.7": _mini("Jamba Mini 1.7", 2026, 2, 1),
    "jamba-mini-1.7-2025-07": _mini("Jamba Mini 1.7", 2026, 2, 1),
}
"""Each model id that AI21 Studio serves or has served."""

LIVE: dict[str, str] = {id: model.name for id, model in MODELS.items() if model.retired is None}
"""Model ids that AI21 Studio serves, with their display names."""

RETIRED: dict[str, Retired] = {id: model.retired for id, model in MODELS.items() if model.retired}
"""Model ids that AI21 Studio no longer serves. Other hosts may still do."""


def known_model(model: str) -> Model | None:
    """Return what is known of a model; a LiteLLM-style `ai21/` before its id is taken off."""
    return MODELS.get(model.removeprefix("ai21/"))
