"""A grounded answer: text, the verified quotes behind it, and what could not be verified.

Everything here is a pure function of what a model said and of the documents.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.content import Citation as CitationAnnotation
from langchain_core.messages.content import create_citation
from pydantic import BaseModel, Field
from typing_extensions import TypedDict  # pydantic reads no other before Python 3.12

from ai21_chains._claims import MARK, UNVERIFIED, numbers, sentence_bounds, spelled
from ai21_chains.citations import Citation, RejectedQuote

Status = Literal["answered", "partly", "not_found", "no_documents", "unverified", "truncated"]

_MARK = re.compile(
    r"(?:\[[\d\s,;–-]*+(?=\[))*+"  # an unfinished mark before it, lest "[1[9],2]" become one
    r"\[\s*(\d{1,3}(?:\s*[,;–-]\s*\d{1,3})*)\s*\]+(?!\()"
)
"""A citation mark as models write it: [1], [1, 2], [1-3] or [[1]], and no link such as [1](…)."""

_EXTRAS = {"document_index", "document_id", "source", "page", "start", "end"}

_LINK = re.compile(r"(?:\b[a-z][a-z+.-]*://|\bwww\.)[^\s<>\"'`()\[\]]+", re.I)
_LOADED = re.compile(r"!(?=\[)|<(?=[a-z/!])", re.I)
"""What a Markdown viewer may fetch or run by itself: images and HTML."""

_MARKS_BEFORE = re.compile(r"(?:\[[\w ]+\]\s*)+\Z")
_INDEX = re.compile(r"\b[A-Za-z_]\[\d")
_UNFINISHED = re.compile(r"\[[\d\s,;–-]*\Z")
_MAY_BE_MARK = re.compile(r"[\]\[\d\s,;–-]*")


class Span(BaseModel):
    """A stretch of the answer.

    Attributes:
        start: Where it begins, in characters.
        end: Where it ends, exclusive.
        text: The characters in between.
    """

    start: int
    end: int
    text: str


class GroundedAnswer(BaseModel):
    """An answer from documents, with the quotes that prove it.

    Attributes:
        answer: The text, with a mark such as [1] behind what a verified quote supports.
        answerable: Whether the documents answer the question, by quotes that were verified.
        status: `"answered"`: every sentence has a verified quote. `"partly"`: quotes were
            verified, and sentences are left without, or have a mark for an unverified one.
            `"unverified"`: no quote of the model's could be verified. `"truncated"`: a reply was
            cut off at `max_tokens`. `"not_found"`: the documents do not answer the question.
            `"no_documents"`: there were none, and the model was not asked.
        citations: The verified quotes, in the order of their numbers.
        rejected: What the model quoted and no document says, with the reason. With
            `on_unverified="keep"` a mark such as [unverified 1] stands in the answer for the first
            of them.
        support: Share of the answer's sentences that have a verified quote, from 0 to 1.
        unsupported_sentences: The sentences that have none.
        unsupported_numbers: Numbers in the answer that stand in no verified quote.
        unsupported_links: Links in the answer that stand in no verified quote.
        documents: The documents that the model was given; `document_index` counts in them.
        search_query: What was searched for, if a retriever was.
        usage: Tokens of all calls to the model, where it reports them.
    """

    answer: str = ""
    answerable: bool = False
    status: Status = "not_found"
    citations: list[Citation] = Field(default_factory=list)
    rejected: list[RejectedQuote] = Field(default_factory=list)
    support: float = Field(default=0.0, ge=0, le=1)
    unsupported_sentences: list[Span] = Field(default_factory=list)
    unsupported_numbers: list[str] = Field(default_factory=list)
    unsupported_links: list[str] = Field(default_factory=list)
    documents: list[Document] = Field(default_factory=list)
    search_query: str | None = None
    usage: UsageMetadata | None = None

    def __getitem__(self, name: str) -> Any:
        """Return a field, so that `answer["answer"]` reads both what `invoke` and `stream` give."""
        if name not in type(self).model_fields:
            raise KeyError(name)
        return getattr(self, name)

    def to_message(self) -> AIMessage:
        """Return the answer as a message whose text has LangChain's standard citations.

        The standard's fields point into the answer; `extras` has the place in the source:
        `document_index`, `document_id`, `source`, `page`, `start` and `end`.
        """
        block = {
            "type": "text",
            "text": self.answer,
            "annotations": [_annotation(citation) for citation in self.citations],
        }
        return AIMessage(
            content=[block],
            usage_metadata=self.usage,
            response_metadata={"output_version": "v1"},
        )

    def to_markdown(self) -> str:
        """Return the answer with its quotes as footnotes, and unverified ones that were kept.

        Images and HTML in the answer are shown as text: a viewer would fetch them unasked.
        """
        text = MARK.sub(r"[^\1]", self.answer) if self.citations else self.answer
        kept = sorted({int(number) for number in UNVERIFIED.findall(text)})
        text = _LOADED.sub(r"\\\g<0>", UNVERIFIED.sub(r"[^unverified-\1]", text))
        notes = [
            f"[^{citation.id}]: “{_inert(citation.quote)}” ({_inert(place(citation))})"
            for citation in self.citations
        ]
        notes += [
            f"[^unverified-{number}]: Unverified: “{_inert(rejected.quote)}” "
            f"({_inert(rejected.message)})"
            for number, rejected in enumerate(self.rejected, start=1)
            if number in kept
        ]
        return "\n\n".join([text, "\n".join(notes)]) if notes else text


class GroundedDict(TypedDict):
    """A grounded answer as a plain dict, with the keys of LangChain's retrieval chain.

    `input` is the question and `context` the documents; the others are as in `GroundedAnswer`.
    """

    input: str
    context: list[Document]
    answer: str
    answerable: bool
    status: Status
    citations: list[Citation]
    rejected: list[RejectedQuote]
    support: float
    unsupported_sentences: list[Span]
    unsupported_numbers: list[str]
    unsupported_links: list[str]
    search_query: str | None
    usage: UsageMetadata | None


def place(citation: Citation) -> str:
    """Say where a citation's quote stands: the file and page, as far as they are known."""
    name = citation.source or citation.title or citation.document_id
    name = name or f"document {citation.document_index + 1}"
    return f"{name}, page {citation.page}" if citation.page is not None else name


class Marks:
    """Renumbers an answer's marks in the order of first use, while the answer streams.

    A mark is shown only when the quote behind it is known to be verified; others are taken out of
    the text. So text is held back from the first mark on until `verified` is known.
    """

    def __init__(self) -> None:
        self.verified: frozenset[int] | None = None
        """The model's numbers of the quotes that were verified; None while that is not known."""
        self.same: dict[int, int] = {}
        """The model's numbers of passages that it had given another number before: that one."""
        self.unverified: dict[int, int] = {}
        """The model's numbers of quotes that are marked as unverified, and ours of these."""
        self.numbers: dict[int, int] = {}
        """The model's numbers and ours."""
        self._text = ""
        self._at = 0
        self._begun = False

    def feed(self, text: str) -> str:
        """Return the part of the text so far that can be shown and was not."""
        self._text += text
        waits = _MARK.search(self._text, self._at) if self.verified is None else None
        if waits:
            return self._show(waits.start())
        # A tail such as "[1, 2" or "[1]" may go on: as a mark, a list of marks or a link.
        tail = _MAY_BE_MARK.match(self._text[: self._at - 1 if self._at else None : -1])
        start = len(self._text) - (tail.end() if tail else 0)
        opening = self._text.find("[", start)
        return self._show(opening if opening >= 0 else len(self._text))

    def close(self) -> str:
        """Return the rest; what is not known to be verified by now is not."""
        # What was cut off inside a mark has none.
        return self._show(len(_UNFINISHED.sub("", self._text)))

    def number(self, given: int) -> int:
        """Return our number for one of the model's."""
        return self.numbers.setdefault(self.same.get(given, given), len(self.numbers) + 1)

    def _show(self, end: int) -> str:
        # A mark that is taken out takes the space before it along.
        end = max(self._at, len(self._text[:end].rstrip()))
        shown = ""
        for mark in _MARK.finditer(self._text, self._at, end):
            shown += self._text[self._at : mark.start()]
            shown = self._marked(shown, mark)
            self._at = mark.end()
        shown += self._text[self._at : end]
        self._at = end
        if not self._begun:
            shown = shown.lstrip()
            self._begun = bool(shown)
        return shown

    def _marked(self, before: str, mark: re.Match[str]) -> str:
        numbers = _marked_numbers(mark[1])
        kept = list(filter(None, map(self._mark, numbers)))
        index = _INDEX.match(self._text, max(0, mark.start() - 1))
        there = _MARKS_BEFORE.search(before[-80:])
        new = [m for m in dict.fromkeys(kept) if not (there and m in there[0])]
        if new:
            # Behind a single letter a mark would look like an index: plan B [1], not plan B[1].
            return f"{before} "[: None if index else -1] + "".join(new)
        if not kept and (index or numbers == [0]):
            return before + mark[0]
        return before.rstrip(" ")

    def _mark(self, given: int) -> str:
        if given in (self.verified or ()):
            return f"[{self.number(given)}]"
        return f"[unverified {self.unverified[given]}]" if given in self.unverified else ""


def _marked_numbers(inside: str) -> list[int]:
    numbers: list[int] = []
    for part in re.split(r"\s*[,;]\s*", inside):
        first, *last = (int(n) for n in re.split(r"\s*[–-]\s*", part))
        # [6-9] means four quotes; [1-200] is no list of quotes.
        numbers += range(first, last[0] + 1) if last and 0 <= last[0] - first < 10 else [first]
    return list(dict.fromkeys(numbers))


def sentences(text: str) -> list[Span]:
    """Split an answer into sentences, without its headings; each has the marks behind it."""
    return [Span(start=a, end=b, text=text[a:b]) for a, b in sentence_bounds(text)]


def locate(citations: Iterable[Citation], spans: Sequence[Span]) -> list[Citation]:
    """Say for each citation which sentence of the answer it supports: the first with its mark."""
    located = []
    for citation in citations:
        span = next((span for span in spans if citation.id in _marks_in(span.text)), None)
        if span is not None:
            place = {"answer_start": span.start, "answer_end": span.end}
            citation = citation.model_copy(update=place)
        located.append(citation)
    return located


def unsupported(spans: Iterable[Span], citations: Iterable[Citation]) -> list[Span]:
    """Return the sentences without the mark of a verified quote."""
    ids = {citation.id for citation in citations}
    return [span for span in spans if not ids & _marks_in(span.text)]


def _marks_in(text: str) -> set[int]:
    return {int(number) for number in MARK.findall(text)}


def unsupported_numbers(answer: str, citations: Iterable[Citation]) -> list[str]:
    """Return the numbers in the answer that stand in no verified quote, each once."""
    quotes = [citation.quote for citation in citations]
    known = {n for quote in quotes for _, meanings in numbers(quote) for n in meanings}
    known.update(*map(spelled, quotes))
    return list(dict.fromkeys(n for n, meanings in numbers(answer) if not meanings & known))


def unsupported_links(answer: str, citations: Iterable[Citation]) -> list[str]:
    """Return the links in the answer that stand in no verified quote, each once."""
    quotes = [citation.quote for citation in citations]
    links = dict.fromkeys(link.rstrip(".,;:!?*_") for link in _LINK.findall(answer))
    return [link for link in links if not any(link in quote for quote in quotes)]


def _annotation(citation: Citation) -> CitationAnnotation:
    details = citation.model_dump(include=_EXTRAS)
    extras: dict[str, Any] = {key: value for key, value in details.items() if value is not None}
    return create_citation(
        url=citation.source if citation.source and "://" in citation.source else None,
        title=citation.title,
        start_index=citation.answer_start,
        end_index=citation.answer_end,
        cited_text=citation.quote,
        **extras,
    )


def _inert(text: str) -> str:
    """Return a text as one line in which Markdown finds no link, image, code or HTML."""
    return re.sub(r"[\[\]<>`]", r"\\\g<0>", " ".join(text.split()))
