"""What an evaluation found: each question's result, and the report that sums them up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, Field

from ai21_chains._version import __version__
from ai21_chains.answers import Status
from ai21_chains.citations import RejectedQuote
from ai21_chains.evaluation._metrics import Figure, Part, Place


class ItemResult(BaseModel):
    """What came of one question.

    Attributes:
        id: The question's id.
        question: The question.
        answerable: Whether the documents answer it.
        error: Why the call failed, on one line; None if it did not.
        status: As in `GroundedAnswer`; None if the call failed.
        abstained: Whether the chain gave no answer; None if the call failed.
        answer: The answer's text, or the words of the abstention.
        citations: The citations that hold: document, start and end in its text. A document that
            is none of the evaluation's has a name that begins with "?".
        rejected: Quotes of the model that no document has.
        ranking: Ids of the documents that were retrieved, best first; None if nothing was.
        seconds: From the question to the answer, retrieval included.
        judged: Each sentence of the answer, and whether the judge says that its quotes entail it;
            None if there is no judge, no answer, or the judge failed.
        judge_error: Why the judge failed, on one line.
        parts: What the question adds to each figure: numerator and denominator.
    """

    id: str
    question: str
    answerable: bool
    error: str | None = None
    status: Status | None = None
    abstained: bool | None = None
    answer: str = ""
    citations: list[Place] = Field(default_factory=list)
    rejected: list[RejectedQuote] = Field(default_factory=list)
    ranking: list[str] | None = None
    seconds: float | None = None
    judged: list[tuple[str, bool]] | None = None
    judge_error: str | None = None
    parts: dict[str, Part] = Field(default_factory=dict)


class EvaluationReport(BaseModel):
    """What an evaluation found.

    Attributes:
        name: Name of the set, as it was given.
        model: Ids of the models that the chain asked, or what the caller calls them.
        judge: Id of the judge model; None without one.
        documents_for: What the questions were asked with.
        seed: Of the sample and of the intervals.
        available: Number of questions that the sample was drawn from.
        version: Version of this library.
        created: When the evaluation ended.
        figures: The figures by name, in the order of the tables; those without a question to rest
            on are left out.
        items: The questions that were asked, in the order in which they were given.
    """

    name: str
    model: str
    judge: str | None
    documents_for: str
    seed: int
    available: int
    version: str = __version__
    created: datetime = Field(default_factory=lambda: datetime.now(UTC))
    figures: dict[str, Figure]
    items: list[ItemResult]

    @property
    def failures(self) -> list[ItemResult]:
        """The questions whose call failed."""
        return [item for item in self.items if item.error is not None]

    def to_markdown(self) -> str:
        """Return the report as Markdown: what was measured, a table for each group, failures."""
        lines = [f"# Grounded QA: {self.name}", "", *self._facts()]
        group = ""
        for figure in self.figures.values():
            if figure.group != group:
                group = figure.group
                title = f"Judged by {self.judge}, not verified" if group == "Judged" else group
                lines += ["", f"## {title}", "", "| figure | value | 95 % interval | n |"]
                lines.append("|---|---:|---:|---:|")
            lines.append(figure.row)
        for title, errors in self._errors.items():
            if errors:
                lines += ["", f"## {title}", "", *errors]
        return "\n".join(lines) + "\n"

    def write_jsonl(self, path: str | Path) -> None:
        """Write the items as JSON Lines (UTF-8), one question on each line."""
        lines = (item.model_dump_json() + "\n" for item in self.items)
        Path(path).write_text("".join(lines), encoding="utf-8")

    @property
    def _errors(self) -> dict[str, list[str]]:
        return {
            "Failed calls": [f"- `{item.id}`: {item.error}" for item in self.failures],
            "Failed verdicts": [
                f"- `{item.id}`: {item.judge_error}" for item in self.items if item.judge_error
            ],
        }

    def _facts(self) -> list[str]:
        facts = [
            f"- Model: {self.model}",
            f"- Questions: {len(self.items):,} of {self.available:,}, seed {self.seed}",
            f"- Asked with: {self.documents_for}",
            f"- Failed calls, which count as 0: {len(self.failures):,}",
        ]
        if self.judge is not None:
            failed = len(self._errors["Failed verdicts"])
            facts.append(f"- Judge: {self.judge}; failed verdicts, which are left out: {failed:,}")
        facts.append("- Intervals: bootstrap over questions; n: questions a figure rests on")
        facts.append(f"- ai21-chains {self.version}, {self.created:%Y-%m-%d}")
        return facts


@dataclass(frozen=True)
class Progress:
    """How far an evaluation has come.

    Attributes:
        done: Number of questions that are through.
        total: Number of questions that are asked.
        failed: How many of those that are through failed.
        item: The question that has just come through.
    """

    done: int
    total: int
    failed: int
    item: ItemResult
