"""What a model replied that was to summarize: the text as it grows, and its points with quotes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.runnables.utils import AddableDict
from pydantic import BaseModel

from ai21_chains._claims import MARK
from ai21_chains.answers import Marks, locate, sentences
from ai21_chains.chains._forms import Quotes
from ai21_chains.chains._json import Read, read_object, repaired
from ai21_chains.chains._reply import was_cut
from ai21_chains.chains._windows import Piece
from ai21_chains.citations import Citation

_MEMBERS = ("citations", "answer")
_FENCE = re.compile(r"\A\s*`+\s*(?:json)?\s*|\s*`+\s*\Z")


class KeyPoint(BaseModel):
    """A point of a summary.

    Attributes:
        text: The point, in the model's words.
        citations: The verified quotes that prove it, at least one.
    """

    text: str
    citations: list[Citation]


class SummaryReply:
    """Reads a reply piece by piece, verifying its quotes on the way.

    Args:
        quotes: Verifies quotes, against all documents.
        window: What the model was given of them.
    """

    def __init__(self, quotes: Quotes, window: Sequence[Piece]) -> None:
        self.text = ""
        """The summary so far."""
        self.unproven: list[str] = []
        """The points whose quotes could not be verified."""
        self.cut = False
        """Whether the reply ends before its end."""
        self._quotes = quotes
        self._window = window
        self._raw = ""
        self._taken = 0
        self._marks = Marks()
        self._found: list[tuple[int, str, Citation]] = []

    def read(self, text: str) -> Iterator[AddableDict]:
        """Take a piece of the reply and yield what of the summary it completes."""
        self._raw += text
        read = read_object(self._raw, _MEMBERS)
        if read is None:
            return
        if "citations" in (list(read.members) if read.closed else list(read.members)[:-1]):
            self._settle(read.members["citations"])
        yield from self._take(read.members.get("answer"))

    def close(self, message: BaseMessage) -> Iterator[AddableDict]:
        """Yield the rest of the summary; prose instead of JSON is one.

        Args:
            message: The whole message, for its finish reason.
        """
        read = read_object(self._raw, _MEMBERS, last=True)
        if read is None:
            read = Read({"answer": repaired(_FENCE.sub("", self._raw))}, closed=True)
        self.cut = not read.closed or was_cut(message)
        self._settle(read.members.get("citations"))
        yield from self._take(read.members.get("answer"))
        yield from self._show(self._marks.close())

    def read_whole(self, message: BaseMessage) -> None:
        """Take a whole reply at once."""
        for _ in (*self.read(message.text), *self.close(message)):
            pass  # what it yields is kept in `text`

    @property
    def points(self) -> list[KeyPoint]:
        """The verified points; the citations are numbered in the order of their marks."""
        numbers = self._marks.numbers
        for given, _, _ in sorted(self._found, key=lambda f: numbers.get(f[0], len(numbers) + 1)):
            self._marks.number(given)
        numbered = [c.model_copy(update={"id": numbers[given]}) for given, _, c in self._found]
        cited: dict[str, list[Citation]] = {}
        located = locate(numbered, sentences(self.text))
        for (_, text, _), citation in zip(self._found, located, strict=True):
            cited.setdefault(text, []).append(citation)
        return [KeyPoint(text=text, citations=citations) for text, citations in cited.items()]

    def _take(self, answer: object) -> Iterator[AddableDict]:
        text = answer if isinstance(answer, str) else ""
        new, self._taken = text[self._taken :], max(len(text), self._taken)
        yield from self._show(self._marks.feed(new))

    def _show(self, text: str) -> Iterator[AddableDict]:
        if text:
            self.text += text
            yield AddableDict(text=text)

    def _settle(self, items: object) -> None:
        """Verify the quotes, once all of them are there."""
        if self._marks.verified is not None:
            return
        for place, item in enumerate(items if isinstance(items, list) else [items], start=1):
            members = item if isinstance(item, Mapping) else {"quote": item}
            self._take_point(members, _number(members.get("id"), place))
        proven = {text for _, text, _ in self._found}
        self.unproven = [text for text in dict.fromkeys(self.unproven) if text not in proven]
        self._marks.verified = frozenset(number for number, _, _ in self._found)

    def _take_point(self, members: Mapping[str, Any], given: int) -> None:
        said = members.get("point")
        point = " ".join(said.split()) if isinstance(said, str) else ""
        cited = self._quotes.verified(members, self._window)
        if not cited:
            self.unproven += [point] if point else []
            return
        # Of several quotes under one number the first has the mark.
        taken = any(given == number for number, _, _ in self._found)
        number = -len(self._found) - 1 if taken else given
        self._found.append((number, point or " ".join(cited[0].quote.split()), cited[0]))


def _number(given: object, place: int) -> int:
    digits = re.fullmatch(r"\D{0,2}(\d{1,3})\D{0,2}", str(given))
    return int(digits[1]) if digits and int(digits[1]) else place


def renumbered(points: Iterable[KeyPoint]) -> list[KeyPoint]:
    """Return points of several replies, each passage once, numbered as they come."""
    cited: dict[str, list[Citation]] = {}
    seen: set[tuple[int, int, int]] = set()
    for point in points:
        for citation in point.citations:
            passage = citation.document_index, citation.start, citation.end
            if passage not in seen:
                seen.add(passage)
                # The marks and sentences that they had are in no text any more.
                about = {"id": len(seen), "answer_start": None, "answer_end": None}
                cited.setdefault(point.text, []).append(citation.model_copy(update=about))
    return [KeyPoint(text=text, citations=citations) for text, citations in cited.items()]


def as_note(text: str, points: Sequence[KeyPoint]) -> Document:
    """Return the summary of a part and its quotes as a document, for the summary of the whole."""
    quotes = [f"“{citation.quote}”" for point in points for citation in point.citations]
    return Document("\n".join([MARK.sub("", text), "", *quotes]).strip())
