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

from ai21_chains._messages import PROVIDER
from ai21_chains.citations import Citation, RejectedQuote

Status = Literal["answered", "partly", "not_found", "no_documents", "unverified", "truncated"]

_MARKER = re.compile(r"\[(\d{1,3}(?:\s*[,;–-]\s*\d{1,3})*)\]")
"""A citation mark as models write it: [1], [1, 2] or [1-3]."""

_UNFINISHED = re.compile(r"\[[\d\s,;–-]{0,40}$")
"""The end of a text that may be the beginning of a mark."""

_SENTENCE = re.compile(
    r"\S.*?(?:[.!?。！？…]+[\"'”’)\]]*(?:\s*\[\d+\])*(?=\s|$)|(?=\n\s*\n)|$)", re.S
)

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


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
        status: `"answered"`: every sentence has a verified quote. `"partly"`: some have.
            `"unverified"`: no quote of the model's could be verified. `"truncated"`: the answer
            was cut off at `max_tokens`. `"not_found"`: the documents do not answer the question.
            `"no_documents"`: there were none, and the model was not asked.
        citations: The verified quotes, in the order of their numbers.
        rejected: What the model quoted and no document says, with the reason.
        support: Share of the answer's sentences that have a verified quote, from 0 to 1.
        unsupported_sentences: The sentences that have none.
        unsupported_numbers: Numbers in the answer that stand in no verified quote.
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
    documents: list[Document] = Field(default_factory=list)
    search_query: str | None = None
    usage: UsageMetadata | None = None

    def to_message(self) -> AIMessage:
        """Return the answer as a message whose text has LangChain's standard citations.

        The standard's fields point into the answer; `extras` has the place in the source:
        `document_index`, `document_id`, `page`, `start` and `end`.
        """
        block = {
            "type": "text",
            "text": self.answer,
            "annotations": [_annotation(citation) for citation in self.citations],
        }
        return AIMessage(
            content=[block],
            usage_metadata=self.usage,
            response_metadata={"model_provider": PROVIDER, "output_version": "v1"},
        )

    def to_markdown(self) -> str:
        """Return the answer with its quotes as footnotes."""
        text = self.answer
        for citation in self.citations:
            text = text.replace(f"[{citation.id}]", f"[^{citation.id}]")
        notes = [
            f"[^{citation.id}]: {_one_line(citation.quote)!r} ({place(citation)})"
            for citation in self.citations
        ]
        return "\n\n".join([text, "\n".join(notes)]) if notes else text


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
        self.numbers: dict[int, int] = {}
        """The model's numbers and ours."""
        self._held = ""

    def feed(self, text: str) -> str:
        """Return the part of the text so far that can be shown and was not."""
        text = self._held + text
        waits = _UNFINISHED.search(text)
        if self.verified is None:
            waits = _MARKER.search(text) or waits
        end = waits.start() if waits else len(text)
        # A mark that is taken out takes the space before it along.
        end = len(text[:end].rstrip(" "))
        self._held = text[end:]
        return self._renumbered(text[:end])

    def close(self) -> str:
        """Return the rest; what is not known to be verified by now is not."""
        held, self._held = self._held, ""
        return self._renumbered(held)

    def number(self, given: int) -> int:
        """Return our number for one of the model's."""
        return self.numbers.setdefault(given, len(self.numbers) + 1)

    def _renumbered(self, text: str) -> str:
        shown: list[str] = []
        at = 0
        for mark in _MARKER.finditer(text):
            kept = [n for n in _marked(mark[1]) if n in (self.verified or ())]
            before = text[at : mark.start()]
            shown.append(before if kept else before.rstrip(" "))
            shown += [f"[{self.number(n)}]" for n in kept]
            at = mark.end()
        return "".join(shown) + text[at:]


def _marked(inside: str) -> list[int]:
    numbers: list[int] = []
    for part in re.split(r"\s*[,;]\s*", inside):
        first, *last = (int(n) for n in re.split(r"\s*[–-]\s*", part))
        # [6-9] means four quotes; [1-200] is no list of quotes.
        numbers += range(first, last[0] + 1) if last and 0 <= last[0] - first < 10 else [first]
    return numbers


def sentences(text: str) -> list[Span]:
    """Split an answer into sentences; marks behind a full stop belong to the sentence before."""
    return [
        Span(start=found.start(), end=found.end(), text=found[0])
        for found in _SENTENCE.finditer(text)
        if re.search(r"\w", _MARKER.sub("", found[0]))
    ]


def locate(citations: Iterable[Citation], spans: Sequence[Span]) -> list[Citation]:
    """Say for each citation which sentence of the answer it supports: the first with its mark."""
    located = []
    for citation in citations:
        span = next((span for span in spans if f"[{citation.id}]" in span.text), None)
        if span is not None:
            place = {"answer_start": span.start, "answer_end": span.end}
            citation = citation.model_copy(update=place)
        located.append(citation)
    return located


def unsupported(spans: Iterable[Span], citations: Iterable[Citation]) -> list[Span]:
    """Return the sentences without the mark of a verified quote."""
    marks = [f"[{citation.id}]" for citation in citations]
    return [span for span in spans if not any(mark in span.text for mark in marks)]


def unsupported_numbers(answer: str, citations: Iterable[Citation]) -> list[str]:
    """Return the numbers in the answer that stand in no verified quote, each once."""
    known = {_plain(n) for citation in citations for n in _NUMBER.findall(citation.quote)}
    found = _NUMBER.findall(_MARKER.sub("", answer))
    return list(dict.fromkeys(n for n in found if _plain(n) not in known))


def _plain(number: str) -> str:
    return number.replace(",", "").replace(".", "")


def _annotation(citation: Citation) -> CitationAnnotation:
    details = citation.model_dump(include={"document_index", "document_id", "page", "start", "end"})
    extras: dict[str, Any] = {key: value for key, value in details.items() if value is not None}
    return create_citation(
        url=citation.source if citation.source and "://" in citation.source else None,
        title=citation.title,
        start_index=citation.answer_start,
        end_index=citation.answer_end,
        cited_text=citation.quote,
        **extras,
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
