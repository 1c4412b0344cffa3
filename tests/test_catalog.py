"""The table of models."""

from __future__ import annotations

from decimal import Decimal

from ai21_chains._catalog import LIVE, MODELS, RETIRED, Price, known_model
from tests.cases import each


def test_each_model_is_either_served_or_retired() -> None:
    assert sorted([*LIVE, *RETIRED]) == sorted(MODELS)
    assert list(LIVE) == [
        "jamba-mini",
        "jamba-mini-2",
        "jamba-mini-2-2026-01",
        "jamba-large",
        "jamba-large-1.7",
        "jamba-large-1.7-2025-07",
    ]


@each("model", RETIRED)
def test_the_successor_of_a_retired_model_is_served(model: str) -> None:
    assert RETIRED[model].successor in LIVE


@each("model", MODELS)
def test_each_model_has_a_price_and_room_for_an_answer(model: str) -> None:
    known = MODELS[model]

    assert 0 < known.price.input <= known.price.output
    assert 0 < known.output_tokens <= known.context_tokens


@each(
    ("model", "price"),
    [
        ("jamba-mini", ("0.20", "0.40")),
        ("jamba-large", ("2.00", "8.00")),
        ("jamba-1.5-mini", ("0.20", "0.40")),
        ("jamba-1.5-large", ("2.00", "8.00")),
        ("jamba-instruct", ("0.50", "0.70")),
        ("j2-light", ("3", "3")),
        ("j2-mid", ("10", "10")),
        ("j2-ultra", ("15", "15")),
    ],
)
def test_the_prices_are_those_of_ai21s_price_list(model: str, price: tuple[str, str]) -> None:
    assert MODELS[model].price == Price(*map(Decimal, price))


def test_the_name_that_litellm_gives_a_model_is_known() -> None:
    assert known_model("ai21/jamba-mini") == MODELS["jamba-mini"]


def test_nothing_is_known_of_another_model() -> None:
    assert known_model("gpt-5") is None
