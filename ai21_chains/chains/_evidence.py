"""Documents beyond the window: what a model reads of them, and where that stands in them.

Each window is asked for verbatim evidence only. What is verified is put together, without a
summary in between, and read in the documents' place: so a quote of it is a quote of a document.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage

from ai21_chains.chains._reply import Reply, was_cut
from ai21_chains.chains._steps import Ask, AskAll, StepsTo
from ai21_chains.chains._windows import Piece, cut, pack, repack
from ai21_chains.citations import Citation, PreparedDocuments, RejectedQuote

_logger = logging.getLogger(__name__)

_LEAST_GAIN = 0.9
"""Evidence that has more than this share of what was read is not worth another round."""


class Excerpts(PreparedDocuments):
    """Stretches of documents, in which quotes are verified as quotes of the documents.

    Args:
        pieces: The stretches, in the order in which the model was shown them.
        originals: The documents that they are from.
    """

    def __init__(self, pieces: Sequence[Piece], originals: PreparedDocuments) -> None:
        super().__init__([piece.document for piece in pieces])
        self._pieces = pieces
        self._originals = originals

    def verify(self, quote: str, *, claimed: int | None = None) -> Citation | RejectedQuote:
        """Verify a quote in the documents; of several places take the one that was shown."""
        known = claimed is not None and 0 <= claimed < len(self._pieces)
        original = self._pieces[claimed].index if known and claimed is not None else None
        found = self._originals.verify(quote, claimed=original)
        if isinstance(found, RejectedQuote) or found.occurrences == 1:
            return found
        shown = super().verify(quote, claimed=claimed)
        if isinstance(shown, RejectedQuote):
            return found
        piece = self._pieces[shown.document_index]
        places = ("start", "end", "source_start", "source_end")
        moved = {
            name: at + piece.start for name in places if (at := getattr(shown, name)) is not None
        }
        whole = {"document_index": piece.index, "occurrences": found.occurrences}
        return shown.model_copy(update={**moved, **whole})


@dataclass
class Evidence:
    """What the documents say on a question, as far as it was read.

    Attributes:
        originals: The documents.
        shown: What is left to be read at once: the documents, or stretches of them.
        calls: The model's messages so far.
        rejected: What it quoted and no document says.
        cut: Whether one of its messages was cut off.
    """

    originals: PreparedDocuments
    shown: PreparedDocuments
    calls: list[BaseMessage] = field(default_factory=list)
    rejected: list[RejectedQuote] = field(default_factory=list)
    cut: bool = False


def gather(
    documents: Sequence[Document],
    budget: int,
    count: Callable[[str], int],
    ask: Callable[[Sequence[Document]], Ask],
) -> StepsTo[Evidence]:
    """Reduce documents to what fits into a window: themselves, or their evidence.

    All windows are read, in no order. To stop at the first that has evidence, however the windows
    are ranked, would lose some for every sixth to fourth question about the contracts of CUAD.

    Args:
        documents: The documents.
        budget: Tokens that fit into one window. It is exceeded by evidence that does not shrink
            any more, lest something be left out.
        count: Counts the tokens of a text.
        ask: Makes the question for the evidence in a window's documents.
    """
    originals = PreparedDocuments(documents)
    evidence = Evidence(originals, originals)
    windows = pack(documents, budget, count)
    while len(windows) > 1:
        messages = yield AskAll([ask([piece.document for piece in part]) for part in windows])
        found: list[Citation] = []
        unread = 0
        for window, message in zip(windows, messages, strict=True):
            reply = Reply(Excerpts(window, originals))
            reply.take(message.text)
            found += reply.verified
            evidence.rejected += reply.rejected
            evidence.cut |= was_cut(message)
            unread += not reply.readable
        if unread:
            _logger.warning("%d of %d windows: the reply was no JSON", unread, len(windows))
        evidence.calls += messages
        pieces = _pieces(found, originals, count)
        if not pieces and evidence.shown is not originals:
            break  # what proved something a round ago is not given up
        evidence.shown = Excerpts(pieces, originals)
        if _cost(pieces) > _LEAST_GAIN * sum(map(_cost, windows)):
            break
        windows = repack(pieces, budget, count)
    return evidence


def _pieces(
    citations: Iterable[Citation], originals: PreparedDocuments, count: Callable[[str], int]
) -> list[Piece]:
    """Return the cited stretches in the documents' order; what overlaps becomes one."""
    spans: list[tuple[int, int, int]] = []
    for at in sorted((c.document_index, c.start, c.end) for c in citations):
        index, start, end = at
        if spans and spans[-1][0] == index and start < spans[-1][2]:
            _, start, last = spans.pop()
            end = max(end, last)
        spans.append((index, start, end))
    return [cut(originals.documents[i], i, start, end, count) for i, start, end in spans]


def _cost(pieces: Iterable[Piece]) -> int:
    return sum(piece.tokens for piece in pieces)
