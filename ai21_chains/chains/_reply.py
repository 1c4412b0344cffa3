"""What a model replied: reads the answer while it streams, and verifies its quotes on the way.

The model answers with one JSON object: `found`, `citations` and `answer`, in this order, so that
each quote is verified before the first word of the answer is shown. Another order is understood:
then the answer is shown up to its first mark, and the rest when its quotes are verified. A reply
without such an object is an answer without citations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables.utils import AddableDict

from ai21_chains._claims import UNVERIFIED
from ai21_chains.answers import (
    Marks,
    Status,
    locate,
    sentences,
    unsupported,
    unsupported_links,
    unsupported_numbers,
)
from ai21_chains.chains._json import Read, read_object, repaired
from ai21_chains.citations import Citation, PreparedDocuments, RejectedQuote

_MEMBERS = ("found", "citations", "answer")
_FENCE = re.compile(r"\A\s*`+\s*(?:json)?\s*|\s*`+\s*\Z")
_LIMITS = {"length", "max_tokens"}
"""Finish reasons of models that were cut off, as their providers call it."""


class Reply:
    """Reads a model's reply piece by piece, verifying its quotes on the way.

    Args:
        prepared: The documents that the model was given.
        require_citation: Whether an answer without a verified quote counts as none.
        abstention: The answer's text when the documents have no answer.
        patient: Whether the answer is held back until it is known that every quote is verified.
        keep: Whether quotes that no document has are marked in the answer.
        before: The reply that this one corrects; its verified quotes count on.
    """

    def __init__(
        self,
        prepared: PreparedDocuments,
        *,
        require_citation: bool = True,
        abstention: str = "",
        patient: bool = False,
        keep: bool = False,
        before: Reply | None = None,
    ) -> None:
        self._prepared = prepared
        self._require_citation = require_citation
        self._abstention = abstention
        self._patient = patient
        self._keep = keep
        self._before = before
        self._whole: Read | None = None
        self._raw = ""
        self._taken = 0
        self._answer = ""
        self._denied = False
        self._marks = Marks()
        self._citations: dict[int, Citation] = {}
        self._rejected: list[tuple[int, RejectedQuote]] = []

    @property
    def text(self) -> str:
        """What the model said, as it said it."""
        return self._raw

    @property
    def citations(self) -> Mapping[int, Citation]:
        """The quotes that were verified, by the model's numbers."""
        return self._citations

    @property
    def verified(self) -> Sequence[Citation]:
        """The quotes that were verified."""
        return list(self._citations.values())

    @property
    def rejected(self) -> Sequence[RejectedQuote]:
        """The quotes that no document has."""
        return [quote for _, quote in self._rejected]

    @property
    def readable(self) -> bool:
        """Whether there is, at the reply's end, an object with any of the members."""
        return bool(self._whole and self._whole.members)

    @property
    def proven(self) -> bool:
        """Whether there is, at the reply's end, an answer with a verified quote."""
        answer = self._whole and _text(self._whole.members.get("answer"))
        return bool(answer and self._citations)

    def read(self, text: str) -> Iterator[AddableDict]:
        """Take a piece of the reply and yield what of the answer it completes."""
        self._raw += text
        read = read_object(self._raw, _MEMBERS)
        if read is None:
            return
        names = list(read.members)
        finished = names if read.closed else names[:-1]
        if {"found", "citations"} <= {*finished}:
            self._settle(read.members)
        if self._patient and self._doubtful():
            return
        # What is no text may still change its form.
        answer = read.members.get("answer")
        yield from self._take(answer if isinstance(answer, str) else "")

    def _doubtful(self) -> bool:
        """Tell whether the reply may have to be corrected, or, as a correction, be of no use."""
        unfit = self._rejected if self._before is None else not self._citations
        return self._marks.verified is None or self._denied or bool(unfit)

    def end(self) -> None:
        """Take it that no more is to come, and verify what was not yet."""
        self._whole = read_object(self._raw, _MEMBERS, last=True)
        self._settle(self._whole.members if self._whole else {})

    def take(self, text: str) -> None:
        """Take a whole reply of which nothing is shown."""
        self._raw += text
        self.end()

    def close(self, message: BaseMessage, *, cut: bool = False) -> Iterator[AddableDict]:
        """Yield the rest of the result.

        Args:
            message: The whole message, for its finish reason.
            cut: Whether the evidence that it answers from was cut off.
        """
        self.end()
        # Prose instead of JSON is no reason to lose it.
        prose = {"answer": repaired(_FENCE.sub("", self._raw))}
        members = self._whole.members if self._whole else prose
        yield from self._take(_text(members.get("answer")))
        yield from self._show(self._marks.close())
        found = bool(self._answer) and not self._denied
        truncated = (cut or was_cut(message)) and not self._denied
        if not self._answer and not truncated:
            yield from self._show(self._abstention)
        yield AddableDict(self._verdict(found, truncated))

    def _take(self, answer: str) -> Iterator[AddableDict]:
        new, self._taken = answer[self._taken :], max(len(answer), self._taken)
        yield from self._show(self._marks.feed(new))

    def _show(self, text: str) -> Iterator[AddableDict]:
        if text:
            self._answer += text
            yield AddableDict(answer=text)

    def _settle(self, members: Mapping[str, Any]) -> None:
        """Verify the quotes, once all of them are there."""
        if self._marks.verified is not None:
            return
        self._denied = str(members.get("found")).lower() in ("false", "no")
        for given, quote, claimed in [] if self._denied else _quotes(members.get("citations")):
            result = self._prepared.verify(quote, claimed=claimed)
            if isinstance(result, RejectedQuote):
                self._rejected.append((given, result))
            else:
                # Of several quotes under one number the first has the mark.
                number = given if given not in self._citations else -len(self._citations) - 1
                self._citations[number] = result
        if self._before is not None:
            self._inherit(self._before)
        self._join_repeated()
        if self._keep:
            for place, (given, _) in enumerate(self._rejected, start=1):
                self._marks.unverified.setdefault(given, place)
        self._marks.verified = frozenset({*self._citations, *self._marks.same})

    def _inherit(self, before: Reply) -> None:
        """Take over what was verified before, and what was rejected then and not corrected."""
        again = {quote.quote for quote in self.rejected}
        left = [(n, q) for n, q in before._rejected if n not in self._citations]
        self._rejected[:0] = [(n, q) for n, q in left if q.quote not in again]
        if not self._denied:
            self._citations = {**before.citations, **self._citations}
            self._marks.same = dict(before._marks.same)

    def _join_repeated(self) -> None:
        """Let a passage that was quoted more than once have one number."""
        passages: dict[tuple[int, int, int], int] = {}
        for given, citation in list(self._citations.items()):
            passage = (citation.document_index, citation.start, citation.end)
            first = passages.setdefault(passage, given)
            if first != given:
                del self._citations[given]
                self._marks.same[given] = first

    def _verdict(self, found: bool, truncated: bool) -> dict[str, Any]:
        spans = sentences(self._answer) if found else []
        citations = locate(self._numbered() if found else [], spans)
        without = unsupported(spans, citations)
        supported = len(spans) - len(without)
        kept = self._keep and UNVERIFIED.search(self._answer)
        return {
            "answer": "",
            "answerable": found and (bool(citations) or not self._require_citation),
            "status": _status(found, truncated, bool(citations), bool(without or kept)),
            "citations": citations,
            "rejected": self.rejected,
            "support": supported / len(spans) if spans else float(bool(citations)),
            "unsupported_sentences": without,
            "unsupported_numbers": unsupported_numbers(self._answer, citations) if found else [],
            "unsupported_links": unsupported_links(self._answer, citations),
        }

    def _numbered(self) -> list[Citation]:
        numbers = self._marks.numbers
        first_used = sorted(self._citations, key=lambda given: numbers.get(given, len(numbers) + 1))
        return [
            self._citations[given].model_copy(update={"id": self._marks.number(given)})
            for given in first_used
        ]


def _status(found: bool, truncated: bool, cited: bool, partly: bool) -> Status:
    if truncated:
        return "truncated"
    if not found:
        return "not_found"
    if not cited:
        return "unverified"
    return "partly" if partly else "answered"


def was_cut(message: BaseMessage) -> bool:
    """Tell whether a model was cut off before it had said everything."""
    metadata = message.response_metadata
    reasons = (metadata.get(key) for key in ("finish_reason", "stop_reason", "done_reason"))
    return any(str(reason).lower() in _LIMITS for reason in reasons)


def _text(answer: object) -> str:
    if answer is None or answer in ([], {}):
        return ""
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def _quotes(citations: object) -> Iterator[tuple[int, str, int | None]]:
    """Yield each quote with its number and the document that it is said to be from."""
    items = [citations] if isinstance(citations, Mapping | str) else citations
    for position, item in enumerate(items if isinstance(items, list) else (), start=1):
        entry = item if isinstance(item, Mapping) else {"quote": item}
        quote = entry.get("quote")
        if isinstance(quote, str):
            given = _integer(entry.get("id"))
            yield given if given is not None else position, quote, _integer(entry.get("doc"))


def _integer(value: object) -> int | None:
    digits = re.search(r"\d{1,6}", str(value)) if isinstance(value, int | float | str) else None
    return int(digits[0]) if digits else None
