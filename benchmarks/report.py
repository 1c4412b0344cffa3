"""Medians, ratios to the floor, and the table."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

HTTPX, CORE, BOTH = "httpx", "langchain-core", "both in one"
OURS = "ai21-chains"


class Spread(NamedTuple):
    """Several rounds in three figures."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Summarise the figures of several rounds."""
        return cls(median(values), min(values), max(values))

    def show(self, unit: str = "") -> str:
        """Return the median, and the range in brackets."""
        return f"{_show(self.median)}{unit} ({_show(self.low)}–{_show(self.high)})"


@dataclass
class Row:
    """One figure of all contestants.

    Attributes:
        name: What was measured.
        unit: Unit of all figures.
        rounds: Figures of each contestant, round by round.
        ideal: The best that there can be, for a row whose floor is not measured.
        floor: Contestants whose sum is the floor.
    """

    name: str
    unit: str
    rounds: dict[str, list[float]] = field(default_factory=dict)
    ideal: float | None = None
    floor: tuple[str, ...] = (HTTPX, CORE)

    def add(self, contestant: str, value: float) -> None:
        """Add one round's figure."""
        self.rounds.setdefault(contestant, []).append(value)

    def few(self, contestant: str) -> str:
        """Return a mark for a contestant that sat out rounds: how many it has."""
        count = len(self.rounds[contestant])
        return f" [{count}]" if count < max(map(len, self.rounds.values())) else ""

    def floors(self) -> list[float]:
        """Return the floor of each round."""
        if self.ideal is not None:
            return [self.ideal] * max(map(len, self.rounds.values()), default=0)
        columns = [self.rounds.get(name, []) for name in self.floor]
        return [sum(values) for values in zip(*columns, strict=False)]

    def ratio(self, contestant: str, floors: list[float]) -> Spread | None:
        """Return a contestant's ratio to the floor of the same round."""
        own = self.rounds.get(contestant, [])
        ratios = [value / floor for value, floor in zip(own, floors, strict=False)]
        return Spread.of(ratios) if ratios else None

    def as_json(self) -> dict[str, Any]:
        """Return everything that is known of the row."""
        contestants = {}
        for name, values in self.rounds.items():
            summary: dict[str, Any] = {**Spread.of(values)._asdict(), "rounds": values}
            against = {"ratio": self.floors(), "ratio_to_both": self.rounds.get(BOTH, [])}
            for key, floors in against.items():
                ratio = self.ratio(name, floors)
                if ratio:
                    summary[key] = ratio._asdict()
            contestants[name] = summary
        floors = self.floors()
        floor = Spread.of(floors)._asdict() if floors else None
        return {"name": self.name, "unit": self.unit, "floor": floor, "contestants": contestants}


def table(rows: list[Row], peers: list[str]) -> str:
    """Return a Markdown table with a line for each row and a column for each peer."""
    heads = ["What", HTTPX, CORE, "floor", BOTH, f"**{OURS}**", "× floor", "× both", *peers]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    lines += [_cells(row, peers) for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(row: Row, peers: list[str]) -> list[str]:
    floors = row.floors()
    ratios = [row.ratio(OURS, floors), row.ratio(OURS, row.rounds.get(BOTH, []))]
    return [
        f"{row.name}, {row.unit}",
        *(_median(row, name) for name in (HTTPX, CORE)),
        _show(median(floors)) if floors else "–",
        _median(row, BOTH),
        Spread.of(row.rounds[OURS]).show() + row.few(OURS) if OURS in row.rounds else "–",
        *(ratio.show(" ×") if ratio else "–" for ratio in ratios),
        *(_against(row, peer) for peer in peers),
    ]


def _median(row: Row, contestant: str) -> str:
    values = row.rounds.get(contestant)
    return _show(median(values)) + row.few(contestant) if values else "–"


def _against(row: Row, peer: str) -> str:
    ratio = row.ratio(peer, row.floors())
    return _median(row, peer) + (f" ({_show(ratio.median)} ×)" if ratio else "")


def _show(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
