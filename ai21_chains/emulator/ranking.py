"""Sentences of documents ranked against a question by BM25, and whether they answer it at all."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from .text import STOP_WORDS, Sentence, sentences, stem, words

# Chosen by measurement, on questions about abstracts, encyclopaedia passages and whole contracts.
K1 = 1.5
B = 0.5
# What a sentence gets for its section's heading, its document's title, and for having many of the
# question's words rather than one of them often.
HEADING = 0.3
TITLE = 0.3
MANY_WORDS = 0.5

# A sentence is quoted beside the best one when its score is at least this share of the best.
NEAR_BEST = 0.7
MOST_QUOTES = 3
# How much of the question must be covered, and what is taken off for signs that it is not.
ENOUGH = 0.3
MISSING_NAME = 0.4
MISSING_NUMBER = 0.4
MISSING_FIGURE = 0.2
UNKNOWN_WORDS = 0.2

_FIGURE_WANTED = re.compile(
    r"\b(?:when|(?:what|which) (?:year|date|percentage)|how (?:many|much|long|old|often|far))\b",
    re.I,
)
_IDENTIFIER = re.compile(r"\b(?:[A-Za-z]+-?\d[\w-]*|\d+-?[A-Za-z][\w-]*)")
"""A code such as E09 or CX-2000: near is not good enough."""
_MODAL = re.compile(r"^\W*(?:may|might|must|shall)\b", re.I)
"""A question's first word; inside a sentence such a word is worth looking for."""
_FIGURE = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|hundred|thousand"
    r"|million|billion|first|second|third|half|once|twice|none|several|few|until|during|after)\b",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Passage:
    """A sentence of one of the documents, with its rank.

    Attributes:
        document: The document's place in the request, from 0.
        start: Offset of the first character in the document's text.
        end: Offset after the last character.
        score: BM25 with credit for the surroundings; comparable within one ranking only.
        coverage: The share of the question's content words that the sentence has, averaged with
            the share that it has together with its surroundings, from 0 to 1.
    """

    document: int
    start: int
    end: int
    score: float
    coverage: float


@dataclass(frozen=True, slots=True)
class _Entry:
    """A sentence with those of its words that the question has, too."""

    sentence: Sentence
    length: int
    terms: Counter[str]
    heading: frozenset[str]


def rank(question: str, documents: Sequence[str], titles: Sequence[str] = ()) -> list[Passage]:
    """Rank every sentence of the documents against a question.

    Args:
        question: The question, in plain words.
        documents: The texts.
        titles: The documents' titles, as many as there are documents, or none.

    Returns:
        All sentences but the headings, best first; of equals, the earlier.
    """
    return _ranked(question, documents, titles)[0]


def best(
    question: str, documents: Sequence[str], titles: Sequence[str] = (), most: int = MOST_QUOTES
) -> list[Passage]:
    """Return the one to three sentences that answer the question, or none when nothing fits.

    Args:
        question: The question, in plain words.
        documents: The texts.
        titles: The documents' titles, as many as there are documents, or none.
        most: The largest number of passages.
    """
    passages, weigh = _ranked(question, documents, titles)
    if not passages or passages[0].score <= 0:
        return []
    if not _answers(question, documents, titles, passages, weigh.unknown_share()):
        return []
    least = NEAR_BEST * passages[0].score
    shown = [passage for passage in passages[:most] if passage.score >= least]
    if _FIGURE_WANTED.search(question):
        return [passage for passage in shown if _has_figure(documents, passage)] or shown[:1]
    return shown


def _ranked(
    question: str, documents: Sequence[str], titles: Sequence[str]
) -> tuple[list[Passage], _Weights]:
    wanted = frozenset(words(_MODAL.sub("", question)))
    texts = [list(_entries(text, wanted)) for text in documents]
    weigh = _Weights(wanted, [entry for entries in texts for entry in entries])
    passages: list[Passage] = []
    for index, entries in enumerate(texts):
        title = wanted & set(words(titles[index])) if titles else frozenset()
        passages += _passages(index, entries, title, weigh)
    return sorted(passages, key=lambda passage: -passage.score), weigh


class _Weights:
    """BM25 over the sentences of one request, for the words of one question."""

    def __init__(self, wanted: Collection[str], entries: Sequence[_Entry]) -> None:
        found = Counter(word for entry in entries for word in entry.terms)
        size = len(entries)
        self.wanted = wanted
        self._unknown = [word for word in wanted if not found[word]]
        self.idf = {
            word: math.log(1 + (size - found[word] + 0.5) / (found[word] + 0.5)) for word in wanted
        }
        self._mean = sum(entry.length for entry in entries) / max(size, 1) or 1.0

    def score(self, entry: _Entry) -> float:
        norm = K1 * (1 - B + B * entry.length / self._mean)
        return sum(
            self.idf[word] * count * (K1 + 1) / (count + norm)
            for word, count in entry.terms.items()
        )

    def sum(self, terms: Collection[str]) -> float:
        return sum(self.idf[word] for word in terms)

    def unknown_share(self) -> float:
        """Return the share of the question's words that stand in no sentence."""
        return self.share(self._unknown)

    def share(self, terms: Collection[str]) -> float:
        return len(terms) / (len(self.wanted) or 1)


def _entries(text: str, wanted: frozenset[str]) -> Iterator[_Entry]:
    heading: frozenset[str] = frozenset()
    for sentence in sentences(text):
        stems = words(text[sentence.start : sentence.end])
        terms = Counter(word for word in stems if word in wanted)
        if sentence.heading:
            heading = frozenset(terms)
        yield _Entry(sentence, len(stems), terms, heading)


def _passages(
    document: int, entries: Sequence[_Entry], title: Collection[str], weigh: _Weights
) -> Iterator[Passage]:
    for place, entry in enumerate(entries):
        if entry.sentence.heading:
            continue
        score = weigh.score(entry) + HEADING * weigh.sum(entry.heading - entry.terms.keys())
        score *= 1 + MANY_WORDS * weigh.share(entry.terms)
        # The title is worth the same to every sentence below it: it chooses between documents.
        score *= 1 + TITLE * weigh.share(title)
        near = entries[max(place - 1, 0) : place + 2]
        around = entry.heading.union(title, *(neighbour.terms for neighbour in near))
        coverage = (weigh.share(entry.terms) + weigh.share(around)) / 2
        yield Passage(document, entry.sentence.start, entry.sentence.end, score, coverage)


def _answers(
    question: str,
    documents: Sequence[str],
    titles: Sequence[str],
    passages: Sequence[Passage],
    unknown: float,
) -> bool:
    """Judge whether the documents answer the question at all.

    Counted is the share of the question's words that the best passage covers, less something for
    words, a proper name or a number of the question that no document has, and for a figure that is
    asked for but not there. A code that no document has settles it.
    """
    everything = "\n".join((*documents, *titles))
    if _missing(_IDENTIFIER.findall(question), everything):
        return False
    trust = max(passage.coverage for passage in passages[:10])
    trust -= UNKNOWN_WORDS * unknown
    if _missing(_names(question), everything):
        trust -= MISSING_NAME
    if _missing(re.findall(r"\d+(?:[.,]\d+)*", question), everything):
        trust -= MISSING_NUMBER
    if _FIGURE_WANTED.search(question) and not _has_figure(documents, passages[0]):
        trust -= MISSING_FIGURE
    return trust >= ENOUGH


def _has_figure(documents: Sequence[str], passage: Passage) -> bool:
    return bool(_FIGURE.search(documents[passage.document], passage.start, passage.end))


def _names(question: str) -> list[str]:
    """Return the words with a capital inside the question; the first word always has one."""
    found = re.findall(r"[^\W\d_]+", question)[1:]
    return [word for word in found if word[0].isupper() and word.lower() not in STOP_WORDS]


def _missing(wanted: Sequence[str], text: str) -> bool:
    """Tell whether one of these words occurs nowhere in the text, in whatever form."""
    folded = text.lower()
    return any(stem(word.lower()) not in folded and word not in text for word in wanted)
