"""The figures of an evaluation, as pure functions of what was found and what should have been.

Every figure is a ratio of two sums over the questions: each question adds a `Part`, its numerator
and its denominator. A mean is the case where each denominator is 1. So one function reckons all of
them, and one resampling of the questions gives all their intervals.
"""

from __future__ import annotations

import math
import random
import re
import string
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from typing import Literal, NamedTuple, TypeAlias

from pydantic import BaseModel

from ai21_chains.answers import GroundedAnswer, unsupported_numbers

Part: TypeAlias = tuple[float, float]
"""What one question adds to a figure: numerator and denominator."""

Place: TypeAlias = tuple[str, int, int]
"""A passage: the document's id, and where it begins and ends, in characters."""

RESAMPLES = 1000
"""How often the questions are drawn anew for an interval."""

FIGURES: dict[str, tuple[str, str]] = {
    "answer_exact": ("Answers", "SQuAD exact match, all questions"),
    "answer_f1": ("Answers", "SQuAD F1, all questions"),
    "has_answer_exact": ("Answers", "SQuAD exact match, questions with an answer"),
    "has_answer_f1": ("Answers", "SQuAD F1, questions with an answer"),
    "has_answer_recall": ("Answers", "Recall of the gold answer's words, questions with an answer"),
    "no_answer_exact": ("Answers", "SQuAD exact match (= F1), questions without an answer"),
    "right_choice": ("Abstention", "Rightly answered or rightly abstained"),
    "abstention_precision": ("Abstention", "Precision of abstaining"),
    "abstention_recall": ("Abstention", "Recall of abstaining"),
    "abstention_f1": ("Abstention", "F1 of abstaining"),
    "verified_quotes": ("Citations", "Quotes that were verified"),
    "character_precision": ("Citations", "Evidence by characters, precision"),
    "character_recall": ("Citations", "Evidence by characters, recall"),
    "character_f1": ("Citations", "Evidence by characters, F1"),
    "sentence_precision": ("Citations", "Evidence by sentences, precision"),
    "sentence_recall": ("Citations", "Evidence by sentences, recall"),
    "sentence_f1": ("Citations", "Evidence by sentences, F1"),
    "document_precision": ("Citations", "Cited documents, precision"),
    "document_recall": ("Citations", "Cited documents, recall"),
    "document_f1": ("Citations", "Cited documents, F1"),
    "support": ("Citations", "Sentences of an answer that have a verified quote"),
    "number_support": ("Citations", "Numbers of the answers that stand in a verified quote"),
    "ndcg_at_10": ("Retrieval", "nDCG@10"),
    "recall_at_5": ("Retrieval", "Recall@5"),
    "recall_at_10": ("Retrieval", "Recall@10"),
    "reciprocal_rank": ("Retrieval", "MRR"),
    "latency_p50": ("Cost", "Seconds to the answer, median"),
    "latency_p95": ("Cost", "Seconds to the answer, 95th percentile"),
    "input_tokens": ("Cost", "Input tokens, mean"),
    "output_tokens": ("Cost", "Output tokens, mean"),
    "judged_sentences": ("Judged", "Sentences that their quotes entail"),
    "judged_answers": ("Judged", "Answers whose every sentence is entailed"),
}
"""All figures in the order of a report: the group, and what they are called there."""

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)

# Not the splitter of the answers: a yardstick must not move when what it measures is improved.
_SENTENCE = re.compile(r"\S.*?(?:[.!?…]+[\"'”’)\]]*(?=\s|$)|[。！？]+|(?=\n[^\S\n]*\n)|$)", re.S)


class Estimate(NamedTuple):
    """A figure with its 95 % interval.

    Attributes:
        value: The figure.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Number of questions that it rests on, at least 1.
    """

    value: float
    low: float
    high: float
    n: int


class Figure(BaseModel):
    """A figure of a report.

    Attributes:
        group: What it belongs to, such as "Citations".
        label: What it is called in tables.
        unit: "share" (from 0 to 1), "s" (seconds) or "tokens".
        value: The figure.
        low: Lower end of its 95 % bootstrap interval.
        high: Upper end of its 95 % bootstrap interval.
        n: Number of questions that it rests on.
    """

    group: str
    label: str
    unit: Literal["share", "s", "tokens"]
    value: float
    low: float
    high: float
    n: int

    @property
    def row(self) -> str:
        """The figure as a row of a Markdown table."""
        form = {"s": "{:.3f} s", "tokens": "{:,.0f}"}.get(self.unit, "{:.1%}")
        value, low, high = map(form.format, (self.value, self.low, self.high))
        return f"| {self.label} | {value} | {low} to {high} | {self.n:,} |"


class Overlap(NamedTuple):
    """How a set of things that were found agrees with the set that was wanted.

    Attributes:
        shared: Size of the intersection.
        found: Size of the first set.
        wanted: Size of the second set.
    """

    shared: int
    found: int
    wanted: int

    @classmethod
    def of(cls, found: Collection[object], wanted: Collection[object]) -> Overlap:
        """Compare two collections as sets.

        Example:
            >>> Overlap.of("abc", "bcde").precision, Overlap.of("abc", "bcde").recall
            (0.6666666666666666, 0.5)
        """
        first, second = set(found), set(wanted)
        return cls(len(first & second), len(first), len(second))

    @property
    def precision(self) -> float | None:
        """Share of what was found that was wanted, 0 to 1; None when nothing was found."""
        return self.shared / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """Share of what was wanted that was found, 0 to 1; None when nothing was wanted."""
        return self.shared / self.wanted if self.wanted else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of both, 0 to 1; None when both sets are empty."""
        total = self.found + self.wanted
        return 2 * self.shared / total if total else None


def normalized_answer(text: str) -> str:
    """Normalise an answer as SQuAD's official script does.

    Lower case, then no ASCII punctuation, then no articles, then single spaces.

    Example:
        >>> normalized_answer("The  U.S. Army's (an army)")
        'us armys army'
    """
    without = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", without).split())


class AnswerScore(NamedTuple):
    """An answer against one gold answer, by SQuAD's rules; all from 0 to 1.

    Attributes:
        exact: 1 if both are the same after normalisation, else 0.
        f1: Harmonic mean of the precision and the recall of words, counted as often as they occur.
        recall: Share of the gold answer's words that the answer has.
    """

    exact: float
    f1: float
    recall: float


def answer_score(answer: str, golds: Iterable[str]) -> AnswerScore:
    """Score an answer against the gold answer that suits each measure best.

    Args:
        answer: The answer; "" for none.
        golds: The answers that are right. Those without a word are ignored; if none remains, the
            right answer is none, as in SQuAD 2.0.

    Example:
        >>> answer_score("It was founded in 1562.", ["in 1562", "1562"])
        AnswerScore(exact=0.0, f1=0.5714285714285714, recall=1.0)
    """
    found = normalized_answer(answer)
    wanted = [text for gold in golds if (text := normalized_answer(gold))] or [""]
    scores = [_against(found, text) for text in wanted]
    return AnswerScore(*(max(measure) for measure in zip(*scores, strict=True)))


def _against(found: str, wanted: str) -> AnswerScore:
    exact = float(found == wanted)
    if not found or not wanted:
        return AnswerScore(exact, exact, exact)
    words, gold = Counter(found.split()), Counter(wanted.split())
    shared, size = (words & gold).total(), gold.total()
    return AnswerScore(exact, 2 * shared / (words.total() + size), shared / size)


def answer_parts(answerable: bool, golds: Sequence[str], answer: str | None) -> dict[str, Part]:
    """Return what a question adds to the answer figures.

    Args:
        answerable: Whether the question has an answer.
        golds: The answers that are right. A question that has one, but not here, adds nothing.
        answer: What was answered: "" if the chain abstained, None if it failed.
    """
    if answerable and not golds:
        return {}
    score = AnswerScore(0, 0, 0)
    if answer is not None:
        score = answer_score(answer, golds if answerable else ())
    values = {"answer_exact": score.exact, "answer_f1": score.f1}
    if answerable:
        values |= {"has_answer_exact": score.exact, "has_answer_f1": score.f1}
        values["has_answer_recall"] = score.recall
    else:
        values["no_answer_exact"] = score.exact
    return means(values)


def abstention_parts(answerable: bool, abstained: bool) -> dict[str, Part]:
    """Return what a question adds to the abstention figures; to abstain is the positive class.

    Args:
        answerable: Whether the question has an answer.
        abstained: Whether the chain gave none.
    """
    right = float(abstained and not answerable)
    parts = {"right_choice": (float(abstained != answerable), 1.0)}
    if abstained:
        parts["abstention_precision"] = (right, 1.0)
    if not answerable:
        parts["abstention_recall"] = (right, 1.0)
    if abstained or not answerable:
        parts["abstention_f1"] = (2 * right, float(abstained) + float(not answerable))
    return parts


def overlap_parts(name: str, overlap: Overlap | None) -> dict[str, Part]:
    """Return what a question adds to `name_precision`, `name_recall` and `name_f1`.

    Args:
        name: Of what overlaps.
        overlap: What was found against what was wanted; None if the chain failed.
    """
    values: dict[str, float | None] = {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    if overlap is not None:
        values = {"precision": overlap.precision, "recall": overlap.recall, "f1": overlap.f1}
    return means({f"{name}_{kind}": value for kind, value in values.items() if value is not None})


def evidence_parts(
    passages: Passages, cited: Sequence[Place] | None, gold: Sequence[Place]
) -> dict[str, Part]:
    """Return what a question adds to the evidence figures, by characters and by sentences.

    Args:
        passages: The documents.
        cited: The passages that were cited; None if the chain failed.
        gold: The passages that prove the answer. A question without any adds nothing.
    """
    if not gold:
        return {}
    parts: dict[str, Part] = {}
    for name, cut in (("character", passages.characters), ("sentence", passages.sentences)):
        overlap = None if cited is None else Overlap.of(cut(cited), cut(gold))
        parts |= overlap_parts(name, overlap)
    return parts


def document_parts(cited: Sequence[Place] | None, relevant: Sequence[str]) -> dict[str, Part]:
    """Return what a question adds to the figures on cited documents.

    Args:
        cited: The passages that were cited; None if the chain failed.
        relevant: Ids of the documents that are right. A question without any adds nothing.
    """
    if not relevant:
        return {}
    overlap = None if cited is None else Overlap.of([key for key, _, _ in cited], relevant)
    return overlap_parts("document", overlap)


def ranking_parts(ranking: Sequence[str], relevant: Set[str]) -> dict[str, Part]:
    """Return what a question adds to the retrieval figures.

    Args:
        ranking: Ids of the documents that were found, best first, each once.
        relevant: The ids that are right. A question without any adds nothing.
    """
    if not relevant:
        return {}
    return means(
        {
            "ndcg_at_10": ndcg(ranking, relevant, 10),
            "recall_at_5": recall_at(ranking, relevant, 5),
            "recall_at_10": recall_at(ranking, relevant, 10),
            "reciprocal_rank": reciprocal_rank(ranking, relevant),
        }
    )


def claim_parts(answer: GroundedAnswer, verified: int) -> dict[str, Part]:
    """Return what an answer adds by what it claims for itself, and what it cost.

    Args:
        answer: The answer.
        verified: How many of its citations hold.
    """
    parts: dict[str, Part] = {}
    if quotes := len(answer.citations) + len(answer.rejected):
        parts["verified_quotes"] = (verified, quotes)
    if answer.answerable:
        parts["support"] = (answer.support, 1.0)
        # Without any citation all numbers are unsupported: these are all there are.
        if numbers := set(unsupported_numbers(answer.answer, ())):
            supported = numbers.difference(answer.unsupported_numbers)
            parts["number_support"] = (len(supported), len(numbers))
    if answer.usage is not None:
        parts["input_tokens"] = (answer.usage["input_tokens"], 1.0)
        parts["output_tokens"] = (answer.usage["output_tokens"], 1.0)
    return parts


def failed_parts(answerable: bool, judged: bool) -> dict[str, Part]:
    """Return what a failed call adds to the figures that an answer would have earned by itself.

    Args:
        answerable: Whether there should have been an answer, with at least one quote.
        judged: Whether a judge would have read it.
    """
    names = ["verified_quotes", "support", *(["judged_sentences", "judged_answers"] * judged)]
    return means(dict.fromkeys(names, 0.0)) if answerable else {}


def means(values: Mapping[str, float]) -> dict[str, Part]:
    """Return values that are to be averaged over questions, as parts."""
    return {name: (value, 1.0) for name, value in values.items()}


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Split a document into sentences: start and end of each, in characters, ends exclusive.

    A sentence ends behind a full stop (or its like) before white-space, and at an empty line.
    Abbreviations split too; as all spans are laid over the same sentences, that favours nobody.

    Example:
        >>> sentence_spans("Open at ten. Closed on Monday!")
        [(0, 12), (13, 30)]
    """
    return [found.span() for found in _SENTENCE.finditer(text)]


def touched(
    text: str, sentences: Sequence[tuple[int, int]], spans: Iterable[tuple[int, int]]
) -> set[int]:
    """Return which sentences the spans share a letter or digit with, counted from 0.

    Args:
        text: The document.
        sentences: Its sentences, as `sentence_spans` gives them.
        spans: Stretches of the document: start and end in characters.
    """
    starts = [start for start, _ in sentences]
    hit: set[int] = set()
    for start, end in spans:
        first = max(0, bisect_right(starts, start) - 1)
        for number in range(first, bisect_right(starts, end - 1)):
            begins, ends = sentences[number]
            if any(map(str.isalnum, text[max(start, begins) : min(end, ends)])):
                hit.add(number)
    return hit


class Passages:
    """What passages of documents consist of, so that two sets of them can be compared.

    Args:
        texts: The documents by id.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._sentences: dict[str, list[tuple[int, int]]] = {}

    def characters(self, places: Iterable[Place]) -> set[tuple[str, int]]:
        """Return the characters of all passages, each once: document and offset."""
        return {(key, offset) for key, start, end in places for offset in range(start, end)}

    def sentences(self, places: Iterable[Place]) -> set[tuple[str, int]]:
        """Return the sentences that the passages share a letter or digit with: document, number.

        A passage of an unknown document counts as one sentence.
        """
        found: set[tuple[str, int]] = set()
        for key, start, end in places:
            if key not in self._texts:
                found.add((key, start))
                continue
            text = self._texts[key]
            if key not in self._sentences:
                self._sentences[key] = sentence_spans(text)
            found |= {(key, n) for n in touched(text, self._sentences[key], [(start, end)])}
        return found


def ndcg(ranking: Sequence[str], relevant: Set[str], k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first k, with gains of 0 and 1.

    Args:
        ranking: Ids in the order they were found, each once.
        relevant: The ids that are right; not empty.
        k: How many of the ranking count, at least 1.

    Returns:
        From 0 to 1; 1 when the first ones are relevant, as many as there are (or as fit in k).

    Example:
        >>> round(ndcg(["b", "a"], {"a"}), 4)
        0.6309
    """
    gain = sum(_discount(rank) for rank, key in enumerate(ranking[:k], 1) if key in relevant)
    return gain / sum(_discount(rank) for rank in range(1, min(k, len(relevant)) + 1))


def _discount(rank: int) -> float:
    return 1 / math.log2(rank + 1)


def recall_at(ranking: Sequence[str], relevant: Set[str], k: int) -> float:
    """Return the share of the relevant ids that are among the first k, from 0 to 1."""
    return len(relevant & set(ranking[:k])) / len(relevant)


def reciprocal_rank(ranking: Iterable[str], relevant: Set[str]) -> float:
    """Return 1 / the rank of the first relevant id; 0 when there is none."""
    return next((1 / rank for rank, key in enumerate(ranking, 1) if key in relevant), 0.0)


def quantile(values: Iterable[float], share: float) -> float:
    """Return the value below which a share of the values lies, interpolated between neighbours.

    Args:
        values: At least one number, in any order.
        share: From 0 (the least) to 1 (the greatest); 0.5 is the median.
    """
    ranked = sorted(values)
    position = share * (len(ranked) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (ranked[above] - ranked[below]) * (position - below)


def estimate_ratios(rows: Sequence[Mapping[str, Part]], *, seed: int) -> dict[str, Estimate]:
    """Reckon all figures, with percentile bootstrap intervals over the questions.

    The question is the unit that is drawn anew, so what one question adds (several quotes, say) is
    never torn apart.

    Args:
        rows: For each question what it adds to the figures that it belongs to.
        seed: Of the draws: the same rows and seed give the same intervals.

    Returns:
        The figures by name, in the order in which the names first occur. A figure without a
        denominator above 0 is left out.
    """
    columns = _columns(rows)
    drawn: dict[str, list[float]] = {name: [] for name in columns}
    for draw in _draws(len(rows), seed):
        for name, (numerators, denominators) in columns.items():
            # A small group of questions may be missing from a draw as a whole.
            if below := sum(map(denominators.__getitem__, draw)):
                drawn[name].append(sum(map(numerators.__getitem__, draw)) / below)
    return {
        name: _estimate(sum(above) / sum(below), drawn[name], sum(map(bool, below)))
        for name, (above, below) in columns.items()
    }


def _columns(rows: Sequence[Mapping[str, Part]]) -> dict[str, tuple[list[float], list[float]]]:
    """Return each figure's numerators and denominators, with 0 for who does not belong to it."""
    nothing = (0.0, 0.0)
    columns = {
        name: (
            [row.get(name, nothing)[0] for row in rows],
            [row.get(name, nothing)[1] for row in rows],
        )
        for name in dict.fromkeys(name for row in rows for name in row)
    }
    return {name: column for name, column in columns.items() if any(column[1])}


def estimate_quantile(values: Sequence[float], share: float, *, seed: int) -> Estimate:
    """Reckon a quantile, with its percentile bootstrap interval.

    Args:
        values: At least one number.
        share: Which quantile, from 0 to 1.
        seed: Of the draws.
    """
    drawn = [quantile(map(values.__getitem__, draw), share) for draw in _draws(len(values), seed)]
    return _estimate(quantile(values, share), drawn, len(values))


def _draws(n: int, seed: int) -> Iterable[list[int]]:
    chance = random.Random(seed)
    return (chance.choices(range(n), k=n) for _ in range(RESAMPLES))


def _estimate(value: float, drawn: Sequence[float], n: int) -> Estimate:
    # Without a draw that holds one of its questions, a figure's interval is the figure itself.
    drawn = drawn or [value]
    return Estimate(value, quantile(drawn, 0.025), quantile(drawn, 0.975), n)


def figures(
    rows: Sequence[Mapping[str, Part]], seconds: Sequence[float], *, seed: int
) -> dict[str, Figure]:
    """Reckon all figures of a report.

    Args:
        rows: For each question what it adds to the figures that it belongs to.
        seconds: How long the answers took.
        seed: Of the intervals.

    Returns:
        By name, in the order of `FIGURES`, without those that rest on no question.
    """
    estimates = estimate_ratios(rows, seed=seed)
    if seconds:
        estimates["latency_p50"] = estimate_quantile(seconds, 0.5, seed=seed)
        estimates["latency_p95"] = estimate_quantile(seconds, 0.95, seed=seed)
    return {
        name: Figure(group=group, label=label, unit=_unit(name), **estimates[name]._asdict())
        for name, (group, label) in FIGURES.items()
        if name in estimates
    }


def _unit(name: str) -> Literal["share", "s", "tokens"]:
    if name.startswith("latency"):
        return "s"
    return "tokens" if name.endswith("_tokens") else "share"
