"""Quote verification: does a document really say what a model quotes from it?

A model that is asked to cite copies passages out of documents. Most copies are good, some have
changed white-space or an ellipsis, and some have a changed number, a dropped "not" or never stood
there. `verify_quote` finds the passage and returns a `Citation` with the source's own words and
their offsets, or a `RejectedQuote` that says what is wrong.

Four stages, each only when the one before found nothing: the same characters; the same words in
another spelling (white-space, quotation marks, dashes, case, ligatures, line-end hyphens); the
parts of an elided quote ("...") in order and close together; the same words with a typing slip.
The last two are guarded word by word: a changed number, negation, unit, role of a party or modal
verb is rejected, however similar the rest is.

Limits: a word that is one letter off, stands nowhere in the document and is no English word that
the guard knows (it knows some 3,600) passes as a typing slip; so does a name of six letters or
more, and a noun or verb where the source has a "shall" or "with", whose place it cannot take. The
price is that a slip which makes another word ("Tie" for "Time") is rejected, and so is an ellipsis
that drops a negation with less than its clause. The word lists are English; a passage that does not
look English is never matched with a changed word. In megabytes of documents that repeat themselves,
only the likeliest passages are compared with a quote that has slips, and the right one may not be
among them. A verified quote proves that the source says it, not that the answer follows from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from langchain_core.documents import Document
from pydantic import BaseModel, ConfigDict, Field

from ai21_chains._quotes.approximate import find_elided, find_fuzzy
from ai21_chains._quotes.search import (
    Hit,
    Miss,
    Quote,
    Reason,
    Source,
    Stage,
    find_exact,
    find_normalized,
)

__all__ = ["Citation", "Passage", "PreparedDocuments", "RejectedQuote", "verify_quote"]

_ID_KEYS = ("id", "document_id", "doc_id")
_PAGE_KEYS = ("page_label", "page_number", "page", "page_no")
_TITLE_KEYS = ("title",)
_SOURCE_KEYS = ("source", "file_path", "file_name", "filename", "path", "url", "uri")

_MESSAGES: dict[Reason, str] = {
    "empty": "The quote has no letter or digit in it",
    "too_short": "The quote is too short to be searched but as it stands, and no document has it",
    "not_found": "No document contains this quote",
    "inside_word": "The quote stands only inside a longer word of the source",
    "altered_number": "A number or its unit is not the one in the source",
    "altered_negation": "The quote says the opposite of the source, or may be read so",
    "altered_word": "A word is not the one in the source",
}


class Citation(BaseModel):
    """A passage of a document that a quote was verified against.

    All offsets count characters of a Python string; ends are exclusive.

    Attributes:
        id: Number in the answer: 1, 2, 3 in order of first use; 0 while it has none.
        answer_start: Where the sentence that it supports begins in the answer, or None.
        answer_end: Where that sentence ends, or None.
        document_index: Position of the document in the sequence that was searched, from 0.
        document_id: `Document.id`, or an id from the metadata.
        quote: The source's own words, `page_content[start:end]`; never the model's spelling.
        start: Where the passage begins in `Document.page_content`.
        end: Where it ends.
        source_start: `start` counted in the whole source, when the metadata of the document
            tell where it begins there (`start_index`, as text splitters write it).
        source_end: `end` counted likewise.
        page: Page as the metadata give it: the printed label if there is one, else the number.
        title: Title from the metadata.
        source: File or address from the metadata.
        match: The stage that found it.
        score: Similarity of the quote to the passage, 0 to 1; below 1 only for `"fuzzy"`.
        occurrences: How many places in all documents match as well (this one included); counting
            stops at 1,000 in each document.
    """

    model_config = ConfigDict(frozen=True)

    id: int = Field(default=0, ge=0)
    answer_start: int | None = None
    answer_end: int | None = None
    document_index: int = Field(ge=0)
    document_id: str | None = None
    quote: str
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    source_start: int | None = None
    source_end: int | None = None
    page: int | str | None = None
    title: str | None = None
    source: str | None = None
    match: Literal["exact", "normalized", "elided", "fuzzy"]
    score: float = Field(default=1.0, ge=0, le=1)
    occurrences: int = Field(default=1, ge=1)


class Passage(BaseModel):
    """A stretch of a document.

    Attributes:
        document_index: Position of the document in the sequence that was searched, from 0.
        start: Where it begins in `Document.page_content`.
        end: Where it ends, exclusive.
        text: The characters in between.
    """

    model_config = ConfigDict(frozen=True)

    document_index: int = Field(ge=0)
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    text: str


class RejectedQuote(BaseModel):
    """A quote that no document contains, and why.

    Attributes:
        quote: The quote as it was given (characters that are no valid Unicode replaced).
        reason: `"empty"`: no letter or digit in it. `"too_short"`: under 8 characters and nowhere
            as it stands. `"not_found"`: nothing near it. `"inside_word"`: it stands only inside a
            longer word. `"altered_number"`, `"altered_negation"`, `"altered_word"`: a passage is
            near, but a number, a negation or another word differs.
        message: One plain sentence for people, or for the model that is to correct the quote.
        claimed: Index of the document that was claimed, if any.
        nearest: The passage that comes nearest, if one does.
    """

    model_config = ConfigDict(frozen=True)

    quote: str
    reason: Reason
    message: str
    claimed: int | None = None
    nearest: Passage | None = None


class PreparedDocuments:
    """Documents ready for the verification of many quotes.

    What a search derives from a document (its normal form) is kept and made only when a quote
    needs it. The documents must not be changed meanwhile.

    Args:
        documents: Documents, or plain texts.

    Raises:
        TypeError: If `documents` is no iterable of documents and strings.

    Example:
        >>> prepared = PreparedDocuments(["The fee is due within thirty days."])
        >>> verify_quote("due within thirty days", prepared).match
        'exact'
    """

    def __init__(self, documents: Iterable[Document | str]) -> None:
        """Take the documents; nothing is derived from them yet."""
        if isinstance(documents, str | bytes | Document | Mapping):
            raise TypeError(
                f"documents must be a sequence of Document or str, not {_kind(documents)}; "
                "put a single document into a list"
            )
        if not isinstance(documents, Iterable):
            raise TypeError(
                f"documents must be a sequence of Document or str, not {_kind(documents)}"
            )
        self.documents: tuple[Document, ...] = tuple(map(_as_document, documents))
        self.sources = tuple(Source(document.page_content) for document in self.documents)

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.documents)

    def verify(self, quote: str, *, claimed: int | None = None) -> Citation | RejectedQuote:
        """Do what `verify_quote` does."""
        if not isinstance(quote, str):
            raise TypeError(f"quote must be str, not {_kind(quote)}")
        if not isinstance(claimed, int | None):
            raise TypeError(f"claimed must be int or None, not {_kind(claimed)}")
        return _verify(quote, self, claimed)


def verify_quote(
    quote: str,
    documents: Sequence[Document | str] | PreparedDocuments,
    *,
    claimed: int | None = None,
) -> Citation | RejectedQuote:
    r"""Find the passage that a quote was copied from, and reject what was altered or invented.

    The quote decides which document is cited. `claimed`, the document that the model named, only
    settles which one it is when several contain the quote; an index that does not exist is
    ignored.

    Args:
        quote: The quote as the model wrote it. Any string.
        documents: The documents that were given to the model, or `PreparedDocuments` of them when
            more than one quote is to be verified.
        claimed: Index in `documents`, from 0, of the document that the model named.

    Returns:
        The citation, or the rejected quote with the reason.

    Raises:
        TypeError: If an argument is of the wrong type.

    Example:
        >>> contract = "Either party may terminate this\n  Agreement upon thirty (30) days notice."
        >>> citation = verify_quote("terminate this agreement upon thirty (30) days", [contract])
        >>> citation.quote, citation.match
        ('terminate this\n  Agreement upon thirty (30) days', 'normalized')
        >>> verify_quote("may terminate this agreement upon sixty (60) days", [contract]).reason
        'altered_number'
    """
    if not isinstance(documents, PreparedDocuments):
        documents = PreparedDocuments(documents)
    return documents.verify(quote, claimed=claimed)


def _kind(value: object) -> str:
    return type(value).__name__


def _as_document(document: Document | str) -> Document:
    if isinstance(document, str):
        return Document(page_content=document)
    if isinstance(document, Document):
        return document
    raise TypeError(f"a document must be a Document or a str, not {_kind(document)}")


def _verify(
    text: str, prepared: PreparedDocuments, claimed: int | None
) -> Citation | RejectedQuote:
    quote = Quote(text)
    nearest: tuple[int, Miss] | None = None
    if prepared.documents:
        for stage in _stages(quote):
            found = list(_findings(stage, quote, prepared, claimed))
            hits = [(index, hit) for index, hit in found if isinstance(hit, Hit)]
            if hits:
                return _cite(prepared, *hits[0], occurrences=len(hits))
            misses = [(index, miss) for index, miss in found if isinstance(miss, Miss)]
            nearest = max([nearest, *misses] if nearest else misses, key=_score, default=None)
    return _reject(quote, prepared, claimed, nearest)


def _stages(quote: Quote) -> Iterator[Stage]:
    """Yield the stages to try, in order, from the strictest to the most lenient."""
    if quote.defect != "empty":
        yield find_exact
    if not quote.defect:
        yield find_normalized
    if not (quote.defect or quote.points):
        yield from (find_elided, find_fuzzy)


def _findings(
    stage: Stage, quote: Quote, prepared: PreparedDocuments, claimed: int | None
) -> Iterator[tuple[int, Hit | Miss]]:
    """Yield what a stage finds in all documents, those of the claimed document first."""
    order = sorted(range(len(prepared)), key=lambda index: index != claimed)
    for place, finding in stage([prepared.sources[index] for index in order], quote):
        yield order[place], finding


def _score(candidate: tuple[int, Miss]) -> float:
    return candidate[1].score


def _cite(prepared: PreparedDocuments, index: int, hit: Hit, *, occurrences: int) -> Citation:
    document = prepared.documents[index]
    metadata = document.metadata
    offset = metadata.get("start_index")
    # A text splitter writes -1 when it did not find the chunk in the source.
    offset = offset if isinstance(offset, int) and offset >= 0 else None
    return Citation(
        document_index=index,
        document_id=document.id or _first(metadata, _ID_KEYS),
        quote=document.page_content[hit.start : hit.end],
        start=hit.start,
        end=hit.end,
        source_start=None if offset is None else offset + hit.start,
        source_end=None if offset is None else offset + hit.end,
        page=_page(metadata),
        title=_first(metadata, _TITLE_KEYS),
        source=_first(metadata, _SOURCE_KEYS),
        match=hit.match,
        score=hit.score,
        occurrences=occurrences,
    )


def _first(metadata: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    values = (metadata.get(key) for key in keys)
    return next((str(value) for value in values if value not in (None, "")), None)


def _page(metadata: Mapping[str, Any]) -> int | str | None:
    pages = (metadata.get(key) for key in _PAGE_KEYS)
    return next((p for p in pages if isinstance(p, int | str) and p != ""), None)


def _reject(
    quote: Quote, prepared: PreparedDocuments, claimed: int | None, near: tuple[int, Miss] | None
) -> RejectedQuote:
    # Lone surrogates, which a model's broken JSON escapes can leave, are no valid text.
    given = quote.text.encode("utf-8", "replace").decode()
    if near is None:
        reason = quote.defect or "not_found"
        return RejectedQuote(
            quote=given, reason=reason, message=_MESSAGES[reason] + ".", claimed=claimed
        )
    index, miss = near
    text = prepared.documents[index].page_content[miss.start : miss.end]
    passage = Passage(document_index=index, start=miss.start, end=miss.end, text=text)
    message = _MESSAGES[miss.reason] + (f" ({miss.detail})." if miss.detail else ".")
    return RejectedQuote(
        quote=given, reason=miss.reason, message=message, claimed=claimed, nearest=passage
    )
