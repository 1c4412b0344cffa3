"""What the chains share that have a form filled in with quotes: windows, replies, proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from ai21_chains.chains._grounding import for_prompt, for_request, takes_documents
from ai21_chains.chains._json import read_object
from ai21_chains.chains._steps import Ask, Model
from ai21_chains.chains._windows import Piece, pack
from ai21_chains.citations import Citation, PreparedDocuments, RejectedQuote


def windows(
    documents: Sequence[Document], budget: int, count: Callable[[str], int]
) -> list[list[Piece]]:
    """Distribute the text of documents over windows, as `pack` does; blank ones need none."""
    packed = pack(documents, budget, count)
    with_text = ([p for p in window if p.document.page_content.strip()] for window in packed)
    return [window for window in with_text if window]


def question(model: Model, instructions: str, text: str, window: Sequence[Piece]) -> Ask:
    """Ask for a JSON object about the documents in a window."""
    documents = [piece.document for piece in window]
    if takes_documents(model):
        model = model.bind(
            documents=for_request(documents), response_format={"type": "json_object"}
        )
    else:
        text = f"{for_prompt(documents)}\n\n{text}"
    return Ask(model, [SystemMessage(instructions), HumanMessage(text)])


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
