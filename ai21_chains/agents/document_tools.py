"""Tools by which an agent searches documents and reads in them.

What a tool returns is text for the model and, as the message's artifact, the same stretches as
documents: with the offset at which each begins, so that a quote can be verified and cited.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeAlias

from langchain_core.documents import Document
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException

from ai21_chains.chains._grounding import defused, for_request
from ai21_chains.chains._input import read_document
from ai21_chains.chains._qa_input import without_repetition
from ai21_chains.documents import split_documents
from ai21_chains.errors import ConfigurationError
from ai21_chains.retrievers import BM25Retriever

__all__ = ["create_document_tools"]

_SEARCH = """\
Search the documents and return the passages that fit best, each with the id of its document and \
the place in it. Search again in other words when nothing useful is found."""
_READ = """\
Read a document that a search has found: the characters from start up to end, which is left out to \
read on as far as one call returns. Use it to see what stands around a passage."""

_MOST_REMEMBERED = 1000
"""Documents of a retriever's that are kept to be read."""

_Found: TypeAlias = tuple[str, list[Document]]


def create_document_tools(
    documents: Iterable[Document | str] | Runnable[str, list[Document]],
    *,
    top_k: int = 5,
    max_characters: int = 10_000,
) -> list[BaseTool]:
    """Make the tools `search_documents(query)` and `read_document(id, start, end)` for an agent.

    Documents are data: their text is shown between marks that it cannot imitate, and what could
    pass for a role or is invisible is taken out. The artifact of a tool's message is a list of
    `Document`, unchanged, one for each stretch that was shown: `id` is the one the model uses, and
    `start_index` in the metadata is where the stretch begins in the document's source.
    `GroundedAnswerMiddleware` verifies an answer's quotes in them.

    The id of a document is its own, or else made from its text and metadata: the same in every
    process. What is wrong with a call (an id that is unknown, say) is told to the model.

    Args:
        documents: What can be searched, or a retriever. Documents are searched by words, in chunks
            of 2,000 characters. What a retriever finds can be read afterwards, by the conversation
            (`thread_id`) that has found it, while it is among the last 1,000; without `thread_id`
            all share one memory, so a retriever that shows users different documents needs it.
        top_k: The most passages that a search returns, from 1 on.
        max_characters: The most characters of documents that a call returns, at least 200.

    Raises:
        ConfigurationError: An argument is wrong; it is named.
        MissingExtraError: Documents are given, and `ai21-chains[bm25]` is not installed; or one of
            them is longer than a chunk, and `ai21-chains[splitters]` is not.

    Example:
        >>> from ai21_chains.agents import create_document_tools
        >>> search, read = create_document_tools(["The museum opens at ten. Dogs stay outside."])
        >>> call = {"type": "tool_call", "name": search.name, "args": {"query": "dogs"}, "id": "1"}
        >>> document, = search.invoke(call).artifact
        >>> read.invoke({"id": document.id, "start": 25}).splitlines()[1]
        'Dogs stay outside.'
    """
    for name, value, least in (("top_k", top_k, 1), ("max_characters", max_characters, 200)):
        if type(value) is not int or value < least:
            raise ConfigurationError(
                f"{name} must be a whole number from {least} on, got {value!r}"
            )
    tools = _DocumentTools(_shelf(documents, top_k), top_k, max_characters)
    return [
        StructuredTool.from_function(
            tools.search_documents,
            coroutine=tools.asearch_documents,
            name="search_documents",
            description=_SEARCH,
            response_format="content_and_artifact",
            handle_tool_error=True,
        ),
        StructuredTool.from_function(
            tools.read_document,
            coroutine=tools.aread_document,
            name="read_document",
            description=_READ,
            response_format="content_and_artifact",
            handle_tool_error=True,
        ),
    ]


@dataclass(frozen=True)
class _Stretch:
    """Some characters of a document."""

    id: str
    document: Document
    start: int
    end: int

    def cut(self, most: int) -> _Stretch:
        return _Stretch(self.id, self.document, self.start, min(self.end, self.start + most))

    @property
    def artifact(self) -> Document:
        """The stretch as a document that says where it begins in the source."""
        metadata = dict(self.document.metadata)
        offset = metadata.get("start_index", 0)
        if isinstance(offset, int) and offset >= 0:  # else its place in the source is not known
            metadata["start_index"] = offset + self.start
        text = self.document.page_content[self.start : self.end]
        return Document(text, metadata=metadata, id=self.id)

    @property
    def shown(self) -> str:
        """The stretch as the model sees it; no text can hold these marks."""
        (document,) = for_request([self.artifact])
        length = len(self.document.page_content)
        about = {
            "id": self.id,
            **document["metadata"],
            "characters": f"{self.start}-{self.end} of {length}",
        }
        header = json.dumps(about, ensure_ascii=False)
        return f"<document about={header}>\n{document['content']}\n</document>"


class _Given:
    """Documents that are all known, searched by words."""

    def __init__(self, documents: dict[str, Document], top_k: int) -> None:
        self._documents = documents
        named = [
            Document(
                document.page_content,
                metadata={"title": document.metadata.get("title"), "start_index": 0, "key": key},
            )
            for key, document in documents.items()
        ]
        self.retriever: Runnable[str, list[Document]] = BM25Retriever.from_documents(
            split_documents(named), k=top_k
        )

    def found(self, chunks: Iterable[Document], config: RunnableConfig) -> list[_Stretch]:
        """Return what a search has found as stretches of the documents."""
        return [self._stretch(chunk) for chunk in chunks]

    def _stretch(self, chunk: Document) -> _Stretch:
        key, start = chunk.metadata["key"], chunk.metadata["start_index"]
        return _Stretch(key, self._documents[key], start, start + len(chunk.page_content))

    def get(self, key: str, config: RunnableConfig) -> Document | None:
        """Return a document by its id."""
        return self._documents.get(key)


class _Remembered:
    """What a retriever has found, to be read by the conversation that has found it."""

    def __init__(self, retriever: Runnable[str, list[Document]]) -> None:
        self.retriever = retriever
        self._documents: OrderedDict[tuple[object, str], Document] = OrderedDict()

    def found(self, chunks: Iterable[Document], config: RunnableConfig) -> list[_Stretch]:
        """Remember what a search has found, and return all of it."""
        documents = _by_id(map(read_document, chunks))
        for key, document in documents.items():
            place = (_thread(config), key)
            self._documents[place] = document
            self._documents.move_to_end(place)
        while len(self._documents) > _MOST_REMEMBERED:
            self._documents.popitem(last=False)
        return [_Stretch(key, one, 0, len(one.page_content)) for key, one in documents.items()]

    def get(self, key: str, config: RunnableConfig) -> Document | None:
        """Return a document by its id."""
        return self._documents.get((_thread(config), key))


def _shelf(
    documents: Iterable[Document | str] | Runnable[str, list[Document]], top_k: int
) -> _Given | _Remembered:
    if isinstance(documents, Runnable):
        return _Remembered(documents)
    if isinstance(documents, str | Document):
        raise ConfigurationError("documents must be a list; put a single document into one")
    try:
        known = _by_id(map(read_document, documents))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"documents: {error}") from None
    if not known:
        raise ConfigurationError("documents: there is no text to search")
    return _Given(known, top_k)


def _by_id(documents: Iterable[Document]) -> dict[str, Document]:
    known: dict[str, Document] = {}
    for document in without_repetition(documents):
        key = defused(document.id or "") or _digest(document)
        # Chunks that share the id of what they are from are told apart by their text.
        known[_digest(document) if key in known else key] = document
    return known


def _digest(document: Document) -> str:
    about = json.dumps(document.metadata, sort_keys=True, default=str)
    told = f"{about}\n{document.page_content}".encode(errors="replace")
    return blake2b(told, digest_size=4).hexdigest()


def _thread(config: RunnableConfig) -> object:
    return (config.get("configurable") or {}).get("thread_id")


@dataclass(frozen=True)
class _DocumentTools:
    shelf: _Given | _Remembered
    top_k: int
    max_characters: int

    def search_documents(self, query: str, config: RunnableConfig) -> _Found:
        found = self.shelf.retriever.invoke(_checked(query), config)
        return self._passages(found, config)

    async def asearch_documents(self, query: str, config: RunnableConfig) -> _Found:
        found = await self.shelf.retriever.ainvoke(_checked(query), config)
        return self._passages(found, config)

    def read_document(
        self, id: str, config: RunnableConfig, start: int = 0, end: int | None = None
    ) -> _Found:
        document = self.shelf.get(id, config)
        if document is None:
            raise ToolException(f"There is no document {id!r} among those that a search has found.")
        length = len(document.page_content)
        start, end = max(start, 0), length if end is None else min(end, length)
        if start >= end:
            raise ToolException(f"Nothing to read there: document {id!r} has {length} characters.")
        return _told([_Stretch(id, document, start, end).cut(self.max_characters)])

    async def aread_document(
        self, id: str, config: RunnableConfig, start: int = 0, end: int | None = None
    ) -> _Found:
        return self.read_document(id, config, start, end)

    def _passages(self, found: Iterable[Document], config: RunnableConfig) -> _Found:
        best = self.shelf.found(found, config)[: self.top_k]
        if not best:
            return "Nothing was found. Search in other words.", []
        return _told([stretch.cut(self.max_characters // len(best)) for stretch in best])


def _checked(query: str) -> str:
    if not query.strip():
        raise ToolException("The query is empty: say in words what to look for.")
    return query


def _told(stretches: Sequence[_Stretch]) -> _Found:
    shown = "\n\n".join(stretch.shown for stretch in stretches)
    return shown, [stretch.artifact for stretch in stretches]
