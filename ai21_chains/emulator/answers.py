"""Answers put together from the sentences of documents, as text or with citations as JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .prompts import Document, Prompt
from .ranking import MOST_QUOTES, Passage, best, rank
from .text import readable

NOT_FOUND = "The answer is not in the documents."
_NOT_FOUND_PHRASE = re.compile(
    r"[\"“']([^\"”'\n]{4,80}?\b(?:not|cannot|don't|no answer|unknown)\b[^\"”'\n]{0,80})[\"”']", re.I
)
GROUNDED_KEYS = ("found", "answer", "citations")


def asks_for_citations(prompt: Prompt) -> bool:
    """Tell whether the instructions name the three keys of a grounded answer.

    Args:
        prompt: The request, read.
    """
    return all(f'"{key}"' in prompt.instructions for key in GROUNDED_KEYS)


def grounded_json(prompt: Prompt) -> dict[str, Any]:
    """Answer with the keys "found", "answer" and "citations", in the order of the instructions.

    Each citation has its number, the document's place from 0 and a verbatim quote from it.

    Args:
        prompt: The request, read.
    """
    passages = passages_for(prompt)
    quotes = [quote(prompt.documents, passage) for passage in passages]
    sentences = (f"{readable(text)} [{number}]" for number, text in enumerate(quotes, 1))
    citations = [
        {"id": number, "doc": passage.document, "quote": text}
        for number, (passage, text) in enumerate(zip(passages, quotes, strict=True), 1)
    ]
    answer = {"found": bool(passages), "answer": " ".join(sentences), "citations": citations}
    return dict(sorted(answer.items(), key=lambda item: prompt.instructions.find(f'"{item[0]}"')))


def grounded_text(prompt: Prompt) -> str:
    """Answer in plain text with the best sentences, or say that the answer is not there.

    Args:
        prompt: The request, read. A phrase in quotation marks in its instructions that says
            "not", such as "Answer not in context", is used when there is no answer.
    """
    passages = passages_for(prompt)
    if passages:
        return " ".join(readable(quote(prompt.documents, passage)) for passage in passages)
    asked_for = _NOT_FOUND_PHRASE.search(prompt.instructions)
    return asked_for[1] if asked_for else NOT_FOUND


def passages_for(prompt: Prompt) -> list[Passage]:
    """Return the sentences that answer the question, best first; none when nothing does.

    Args:
        prompt: The request, read.
    """
    contents = [document.content for document in prompt.documents]
    if prompt.wants_summary:
        # Without a word to look for all sentences are equal, and the first of a text come first.
        return rank("", contents)[:MOST_QUOTES]
    return best(prompt.question, contents, [document.title for document in prompt.documents])


def quote(documents: Sequence[Document], passage: Passage) -> str:
    """Return a passage's words exactly as they stand in its document.

    Args:
        documents: The documents of the request.
        passage: A passage of one of them.
    """
    return documents[passage.document].content[passage.start : passage.end]
