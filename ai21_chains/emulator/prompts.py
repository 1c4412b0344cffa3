"""What a chat request asks for, read from its JSON without a language model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_STUFFED = (
    re.compile(r"<((?:document|context|source|passage)[\w-]*)\b([^>]*)>(.*?)</\1>", re.S | re.I),
    re.compile(
        r"()^##+ Document(?: ID)?:? *([^\n]*)\n(.*?)(?=^##+ Document|\Z|</documents>)", re.S | re.M
    ),
    re.compile(r"()()^context:\s*\n?(.*?)(?=^(?:question|query)\s*:)", re.S | re.M | re.I),
)
_LABEL = re.compile(
    r"(?:^|\n)\s*(?:question|query|follow[- ]?up(?: question| input)?)\s*:\s*", re.I
)
_FORCING = re.compile(r"\bmust (?:call|use)\b|\b(?:call|use) (?:exactly )?one of the tools\b", re.I)
_SUMMARY = re.compile(r"\b(?:summar(?:y|i[sz]e)|key points|tl;?dr|outline)\b", re.I)
_REWRITING = re.compile(r"\bstand-?alone\b|\b(?:rewrite|rephrase) the (?:\S+ )*question\b", re.I)
_LONG = 400
_TITLE = re.compile(r"title\"?\s*[=:]\s*(\"[^\"]*\"|'[^']*'|[^\n>,}]+)", re.I)


@dataclass(frozen=True)
class Document:
    """A document to answer from.

    Attributes:
        content: Its text.
        title: The title from its metadata, or an empty string.
    """

    content: str
    title: str = ""


@dataclass(frozen=True)
class Prompt:
    """The parts of a chat request that the extractive brain looks at.

    Attributes:
        question: The last user's text without documents and labels.
        instructions: The system's texts and the last user's text.
        earlier: The users' texts before the last, oldest first.
        documents: The documents, from the request's field or else from the prompt itself.
        results: The texts of the tool results that end the conversation.
    """

    question: str
    instructions: str
    earlier: tuple[str, ...]
    documents: tuple[Document, ...]
    results: tuple[str, ...]

    @property
    def must_call(self) -> bool:
        """Whether the text orders a tool call."""
        return bool(_FORCING.search(self.instructions))

    @property
    def wants_summary(self) -> bool:
        """Whether the user asks for a summary rather than a question."""
        return bool(_SUMMARY.search(self.question))

    @property
    def wants_rewriting(self) -> bool:
        """Whether the text asks to rewrite a question so that it stands alone."""
        return bool(_REWRITING.search(self.instructions))

    @property
    def schema(self) -> dict[str, Any] | None:
        """The first JSON schema of an object written out in the instructions."""
        return next(_schemas(self.instructions), None)


def read_prompt(request: Mapping[str, Any]) -> Prompt:
    """Read a chat request.

    Args:
        request: The JSON of a valid chat request.
    """
    messages = request["messages"]
    users = [message["content"] for message in messages if message["role"] == "user"]
    system = "\n".join(message["content"] for message in messages if message["role"] == "system")
    last = users[-1] if users else ""
    documents = [_document(item) for item in request.get("documents") or ()]
    return Prompt(
        question=_question(last),
        instructions=f"{system}\n{last}",
        earlier=tuple(_question(text) for text in users[:-1]),
        documents=tuple(documents or _stuffed(f"{system}\n{last}")),
        results=tuple(_results(messages)),
    )


def _results(messages: list[Mapping[str, Any]]) -> list[str]:
    texts: list[str] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        texts.insert(0, message["content"])
    return texts


def _document(item: Mapping[str, Any]) -> Document:
    metadata = item.get("metadata") or {}
    if isinstance(metadata, list):
        metadata = {
            pair.get("key"): pair.get("value") for pair in metadata if isinstance(pair, dict)
        }
    title = metadata.get("title")
    return Document(item["content"], title if isinstance(title, str) else "")


def _stuffed(text: str) -> Iterator[Document]:
    """Find documents that were written into the prompt, in the customary forms."""
    for pattern in _STUFFED:
        found = [match for match in pattern.finditer(text) if match[3].strip()]
        if not found:
            continue
        for match in found:
            title = _TITLE.search(match[2])
            yield Document(match[3].strip(), title[1].strip("\"'") if title else "")
        return


def _question(text: str) -> str:
    """Return what the user asks, without documents in the text and without a label before it."""
    if labels := list(_LABEL.finditer(text)):
        return text[labels[-1].end() :].strip().partition("\n\n")[0]
    for pattern in _STUFFED:
        text = pattern.sub("", text)
    text = text.strip()
    # Among many lines of instructions, the question is the last line that asks.
    asking = [line for line in text.splitlines() if line.rstrip().endswith("?")]
    return asking[-1].strip() if asking and len(text) > _LONG else text


def _schemas(text: str) -> Iterator[dict[str, Any]]:
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
        except ValueError:
            end = start + 1
        else:
            if isinstance(value, dict) and isinstance(value.get("properties"), dict):
                yield value
        start = text.find("{", end)
