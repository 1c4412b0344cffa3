"""What the chains share that have a form filled in with quotes: input, windows, replies, proof."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, TypeAlias, TypeVar

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from pydantic import BaseModel, BeforeValidator, ValidationError

from ai21_chains.chains._grounding import for_prompt, for_request
from ai21_chains.chains._json import read_object
from ai21_chains.chains._steps import Ask, Model
from ai21_chains.chains._windows import Piece, pack
from ai21_chains.citations import Citation, PreparedDocuments, RejectedQuote
from ai21_chains.errors import ConfigurationError

_BYTES_PER_TOKEN = 3.5
"""A cautious figure for any model. Bytes, because scripts that need more tokens need more bytes."""

Input = TypeVar("Input", bound=BaseModel)


def read_document(value: Any) -> Document:
    """Return a document from what callers and servers send: a string, a dict or a `Document`."""
    if isinstance(value, str):
        return Document(page_content=value)
    if isinstance(value, Document):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("a document must be a Document, a string or a dict")
    text, metadata = value.get("page_content", value.get("content")), value.get("metadata") or {}
    if not isinstance(text, str) or not isinstance(metadata, Mapping):
        raise ValueError("a document needs text under 'page_content', and a dict as metadata")
    identity = value.get("id")
    return Document(
        page_content=text,
        metadata=dict(metadata),
        id=None if identity is None else str(identity),
    )


AnyDocument: TypeAlias = Annotated[Document | str, BeforeValidator(read_document)]


def read_input(chain: str, input_type: type[Input], given: Any) -> Input:
    """Return the input of a chain in its type, or say in one line what is wrong with it."""
    try:
        return input_type.model_validate(given)
    except ValidationError as error:
        raise ConfigurationError(f"{chain}: {problems(error)[0]}") from None


def problems(error: ValidationError) -> list[str]:
    """Say in one line each what a validation found: `documents[1]: a document must be …`."""
    return [
        " ".join(f"{_place(found['loc'])}: {found['msg'].removeprefix('Value error, ')}".split())
        for found in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def _place(path: Sequence[int | str]) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return place.removeprefix(".") or "input"


def windows(documents: Sequence[Document], budget: int) -> list[list[Piece]]:
    """Distribute the text of documents over windows; blank documents need none."""
    packed = pack(documents, budget, lambda text: math.ceil(len(text.encode()) / _BYTES_PER_TOKEN))
    with_text = ([p for p in window if p.document.page_content.strip()] for window in packed)
    return [window for window in with_text if window]


def question(model: Model, instructions: str, text: str, window: Sequence[Piece]) -> Ask:
    """Ask for a JSON object about the documents in a window."""
    documents = [piece.document for piece in window]
    if _takes_documents(model):
        model = model.bind(
            documents=for_request(documents), response_format={"type": "json_object"}
        )
    else:
        text = f"{for_prompt(documents)}\n\n{text}"
    return Ask(model, [SystemMessage(instructions), HumanMessage(text)])


def _takes_documents(model: object) -> bool:
    # A model with options or retries is wrapped; of one with fallbacks all must take documents.
    if (models := getattr(model, "runnables", None)) is not None:
        return all(map(_takes_documents, models))
    if (inner := getattr(model, "bound", None)) is not None:
        return _takes_documents(inner)
    return "documents" in getattr(type(model), "model_fields", {})


class Replied(NamedTuple):
    """What a model replied about one window.

    Attributes:
        members: The members of its JSON object.
        problem: What is wrong with the reply as a whole, or None.
    """

    members: Mapping[str, Any]
    problem: str | None


def read_replies(messages: Sequence[BaseMessage], names: Sequence[str]) -> Iterator[Replied]:
    """Yield what was replied about each window; what is no JSON is a problem, not an error."""
    for number, message in enumerate(messages, start=1):
        place = f"reply {number} of {len(messages)}" if len(messages) > 1 else "reply"
        read = read_object(message.text, names, last=True)
        if read is None:
            yield Replied({}, f"{place}: no JSON object with the keys that were asked for")
        else:
            yield Replied(read.members, None if read.closed else f"{place}: not complete")


class Quotes:
    """Verifies quotes against all documents, whichever window they are from.

    Args:
        documents: The documents.
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        self.rejected: list[RejectedQuote] = []
        """The quotes that no document has, each once."""
        self._prepared = PreparedDocuments(documents)

    def verified(self, quotes: object, window: Sequence[Piece]) -> list[Citation]:
        """Return the citations for a model's list of quotes; other shapes are understood."""
        citations = []
        for item in quotes if isinstance(quotes, list) else [quotes]:
            entry = item if isinstance(item, Mapping) else {"quote": item}
            quote, claimed = entry.get("quote"), entry.get("doc")
            if not isinstance(quote, str):
                continue
            indexes = dict(enumerate(piece.index for piece in window))
            known = indexes.get(claimed) if isinstance(claimed, int) else None
            result = self._prepared.verify(quote, claimed=known)
            if isinstance(result, Citation):
                citations.append(result)
            elif result.quote not in (other.quote for other in self.rejected):
                self.rejected.append(result)
        return distinct(citations)


def distinct(citations: Iterable[Citation]) -> list[Citation]:
    """Return citations of the same passage once."""
    return list({(c.document_index, c.start, c.end): c for c in citations}.values())


def total_usage(messages: Iterable[BaseMessage]) -> UsageMetadata | None:
    """Return the tokens of all messages, if any reports them."""
    total: UsageMetadata | None = None
    for message in messages:
        if (usage := getattr(message, "usage_metadata", None)) is not None:
            total = add_usage(total, usage)
    return total
