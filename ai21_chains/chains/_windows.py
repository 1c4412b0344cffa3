"""Documents packed into windows that a model can read at once. Pure; nothing is left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from langchain_core.documents import Document

DEFAULT_TOKENS = 64_000
"""Tokens of documents in one request. Jamba's window is larger, but what stands in the middle of a
very long prompt is read less well, and a short one is answered sooner."""

PER_DOCUMENT = 24
"""Tokens that a document costs besides its text: its number, title and marks."""

OVERLAP = 0.05
"""Share of a window that is repeated in the next, so that no quote is cut in two."""

_BREAKS = (re.compile(r"\n\s*\n"), re.compile(r"(?<=[.!?])\s|\n"), re.compile(r"\s"))


@dataclass(frozen=True)
class Piece:
    """A document, or a stretch of one.

    Attributes:
        index: The document's place among all.
        document: What the model reads: the stretch's text with the document's metadata.
        tokens: What it costs.
    """

    index: int
    document: Document
    tokens: int


def pack(
    documents: Sequence[Document], budget: int, count: Callable[[str], int]
) -> list[list[Piece]]:
    """Distribute documents over as few windows as it takes, in their order.

    Args:
        documents: The documents; one that is larger than a window is divided.
        budget: Tokens that fit into one window.
        count: Counts the tokens of a text.
    """
    windows: list[list[Piece]] = []
    left = 0
    for index, document in enumerate(documents):
        for piece in _pieces(index, document, budget, count):
            if piece.tokens > left or not windows:
                windows.append([])
                left = budget
            windows[-1].append(piece)
            left -= piece.tokens
    return windows


def _pieces(
    index: int, document: Document, budget: int, count: Callable[[str], int]
) -> Iterator[Piece]:
    text = document.page_content
    tokens = count(text) + PER_DOCUMENT
    if tokens <= budget:
        yield Piece(index, document, tokens)
        return
    length = max(int(len(text) * (budget - PER_DOCUMENT) / tokens), 1)
    for start, end in divide(text, length, int(length * OVERLAP)):
        part = Document(page_content=text[start:end], metadata=document.metadata)
        yield Piece(index, part, min(count(part.page_content) + PER_DOCUMENT, budget))


def divide(text: str, length: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Divide a text into stretches, at the ends of paragraphs or sentences where there are any.

    Args:
        text: The text.
        length: The most characters of a stretch.
        overlap: Characters of a stretch that the next one repeats, at the least.
    """
    start = 0
    while start + length < len(text):
        end = _break_before(text, start + length, start + length * 2 // 3)
        yield start, end
        start = max(end - overlap, start + 1)
    yield start, len(text)


def _break_before(text: str, end: int, earliest: int) -> int:
    for kind in _BREAKS:
        places = [found.end() for found in kind.finditer(text, earliest, end)]
        if places:
            return places[-1]
    return end
