"""Documents packed into windows that a model can read at once. Pure; nothing is left out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.documents import Document
from langchain_core.language_models import BaseLanguageModel

from ai21_chains.errors import ConfigurationError

DEFAULT_TOKENS = 64_000
"""Tokens of documents in one request. Jamba's window is larger, but what stands in the middle of a
very long prompt is read less well, and a short one is answered sooner."""

BYTES_PER_TOKEN = 3.5
"""For models that do not count: a cautious figure. Bytes, because scripts that need more tokens
need more bytes."""

LEAST_TOKENS = 100
"""The smallest window that is of any use: less does not hold a quote."""

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
        start: Where the stretch begins in the document, in characters.
    """

    index: int
    document: Document
    tokens: int
    start: int = 0


def pack(
    documents: Sequence[Document], budget: int, count: Callable[[str], int]
) -> list[list[Piece]]:
    """Distribute documents over as few windows as it takes, in their order.

    Args:
        documents: The documents; one that is larger than a window is divided.
        budget: Tokens that fit into one window.
        count: Counts the tokens of a text.
    """
    pieces = [
        Piece(index, document, count(document.page_content) + PER_DOCUMENT)
        for index, document in enumerate(documents)
    ]
    return repack(pieces, budget, count)


def repack(pieces: Sequence[Piece], budget: int, count: Callable[[str], int]) -> list[list[Piece]]:
    """Distribute pieces over windows, as `pack` does with documents."""
    windows: list[list[Piece]] = []
    left = 0
    for whole in pieces:
        for piece in _divided(whole, budget, count):
            if piece.tokens > left or not windows:
                windows.append([])
                left = budget
            windows[-1].append(piece)
            left -= piece.tokens
    return windows


def cut(document: Document, index: int, start: int, end: int, count: Callable[[str], int]) -> Piece:
    """Return a stretch of a document, with the document's metadata."""
    text = document.page_content[start:end]
    part = Document(page_content=text, metadata=document.metadata, id=document.id)
    return Piece(index, part, count(text) + PER_DOCUMENT, start)


def _divided(whole: Piece, budget: int, count: Callable[[str], int]) -> Iterator[Piece]:
    if whole.tokens <= budget:
        yield whole
        return
    text = whole.document.page_content
    length = max(int(len(text) * (budget - PER_DOCUMENT) / whole.tokens), 1)
    for start, end in divide(text, length, int(length * OVERLAP)):
        piece = cut(whole.document, whole.index, start, end, count)
        # Dense text can cost a little more than its share.
        yield replace(piece, start=whole.start + start, tokens=min(piece.tokens, budget))


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
        start = _word_from(text, max(end - overlap, start + 1), end)
    yield start, len(text)


def _word_from(text: str, at: int, end: int) -> int:
    """Return where the first whole word from a place on begins: half a word proves nothing."""
    space = _BREAKS[-1].search(text, at - 1, end)
    return space.end() if space else at


def _break_before(text: str, end: int, earliest: int) -> int:
    for kind in _BREAKS:
        places = [found.end() for found in kind.finditer(text, earliest, end)]
        if places:
            return places[-1]
    return end


def budget_for(model: object, most: int | None) -> int:
    """Return how many tokens of documents a request may have.

    Args:
        model: The model, for the size of its window; the documents get half of it at the most.
        most: The user's own limit, which goes before.
    """
    if most is None:
        profiles: list[Any] = [getattr(inner, "profile", None) for inner in _models(model)]
        sizes = [profile.get("max_input_tokens") for profile in profiles if profile]
        limits = [DEFAULT_TOKENS, *(int(size) // 2 for size in sizes if size)]
        return max(min(limits), LEAST_TOKENS)
    if type(most) is not int or most < LEAST_TOKENS:
        raise ConfigurationError(
            f"max_context_tokens must be a whole number from {LEAST_TOKENS} on, got {most!r}"
        )
    return most


def counter_for(model: object) -> Callable[[str], int]:
    """Return what counts tokens: the model's own way if it has one, else an estimate by size."""
    for inner in _models(model):
        if type(inner).get_num_tokens is not BaseLanguageModel.get_num_tokens:
            return inner.get_num_tokens
    return _estimate


def _estimate(text: str) -> int:
    return math.ceil(len(text.encode(errors="replace")) / BYTES_PER_TOKEN)


def _models(model: Any) -> Iterator[BaseLanguageModel[Any]]:
    """Yield the models inside of bindings, retries, fallbacks and sequences."""
    if isinstance(model, BaseLanguageModel):
        yield model
        return
    inside = getattr(model, "runnables", None) or getattr(model, "steps", None)
    for inner in inside or [getattr(model, "bound", None)]:
        if inner is not None:
            yield from _models(inner)
