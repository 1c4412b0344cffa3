"""Find the documents for a question by their words: BM25, and several retrievers used as one.

Words are found as they stand in the text (names, numbers, product codes), without a model and
without a network. `BM25Retriever` needs the extra `bm25`; the fusing of rankings needs nothing.
"""

from __future__ import annotations

import io
import json
import os
import re
import unicodedata
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Self
from uuid import uuid4

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableLambda, RunnableParallel
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from ai21_chains._extras import import_extra
from ai21_chains.errors import ConfigurationError, DocumentError

__all__ = ["BM25Retriever", "fuse_retrievers", "reciprocal_rank_fusion"]


class BM25Retriever(BaseRetriever):
    """Finds documents that share words with the query, the best first.

    Words are compared in lower case and by their stems ("reviewing" finds "reviews"); common words
    do not count. A document that has none of the query's words is not returned, so that a query may
    find fewer than `k` documents, or none. Documents come back as they were given, repeated ones
    included, and equally good ones in their order.

    The methods that search may be called from many threads at once, also while another thread adds
    documents. Async methods search on the event loop itself, since a search is computation that
    waits for nothing: half a millisecond in five thousand documents, a few in a hundred thousand.
    Where even that is too long, call `asyncio.to_thread(retriever.invoke, query)`.

    Raises:
        ConfigurationError: An argument is unknown, of the wrong type or out of range.
        MissingExtraError: `ai21-chains[bm25]` is not installed.

    Example:
        >>> from ai21_chains.retrievers import BM25Retriever
        >>> retriever = BM25Retriever.from_texts(
        ...     ["Dogs must stay outside.", "The museum opens at ten.", "Tickets cost 8 euros."]
        ... )
        >>> [document.page_content for document in retriever.invoke("opening hours of the museum")]
        ['The museum opens at ten.']
    """

    documents: Sequence[InstanceOf[Document]] = Field(default=(), repr=False, validate_default=True)
    """What is searched. Kept as a tuple."""

    k: int = Field(default=20, ge=1)
    """The largest number of documents that a query returns."""

    language: str | None = "english"
    """Language of the stems and of the common words: a Snowball stemmer's name ("german",
    "french", "arabic", …), or None to compare words as they are. In languages without a stemmer
    (Hebrew, say) words are compared as they are under any setting, and in scripts that are written
    without spaces sign by sign."""

    search_metadata: tuple[str, ...] = ("title",)
    """Keys of metadata that are searched together with the text of a document."""

    k1: float = Field(default=1.5, ge=0, allow_inf_nan=False)
    """How much it counts that a document has a word more than once."""

    b: float = Field(default=0.75, ge=0, le=1)
    """How much it counts against a document that it is longer than others."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, hide_input_in_errors=True)

    if not TYPE_CHECKING:  # type checkers read the fields

        def __init__(self, **settings: Any) -> None:
            try:
                super().__init__(**settings)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                name = ".".join(map(str, first["loc"]))
                raise ConfigurationError(f"BM25Retriever: {name}: {first['msg']}") from None
            self._corpus.indexed(self._analysis)

    @field_validator("documents", mode="wrap")
    @classmethod
    def _keep_index(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        return value if isinstance(value, _Corpus) else _Corpus(check(value))

    @classmethod
    def from_documents(cls, documents: Iterable[Document], **settings: Any) -> Self:
        """Index documents.

        Args:
            documents: What is to be searched.
            **settings: Any field of the class, such as `k`.
        """
        return cls(documents=tuple(documents), **settings)

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        metadatas: Iterable[Mapping[str, Any]] | None = None,
        **settings: Any,
    ) -> Self:
        """Index texts.

        Args:
            texts: What is to be searched.
            metadatas: The metadata of each text.
            **settings: Any field of the class, such as `k`.

        Raises:
            ConfigurationError: There is not one metadata for each text.
        """
        contents = list(texts)
        of_texts = [{} for _ in contents] if metadatas is None else list(map(dict, metadatas))
        if (count := len(contents)) != len(of_texts):
            raise ConfigurationError(f"BM25Retriever: {count} texts, {len(of_texts)} metadatas")
        pairs = zip(contents, of_texts, strict=True)
        return cls(documents=[Document(text, metadata=of) for text, of in pairs], **settings)

    def add_documents(self, documents: Iterable[Document]) -> None:
        """Search these documents, too.

        All documents are indexed anew, since every one of them counts in how rare a word is: add
        many at once.
        """
        corpus = _Corpus([*self.documents, *documents])
        corpus.indexed(self._analysis)  # before anybody can search it
        self.documents = corpus

    def search(self, query: str, k: int | None = None) -> list[tuple[Document, float]]:
        """Find documents with their scores.

        Args:
            query: What to look for, in plain words.
            k: The largest number of documents, if not the retriever's own.

        Returns:
            The documents that share a word with the query, the best first. Scores are above 0, and
            comparable for one query only.

        Raises:
            ConfigurationError: `k` is below 1.
        """
        k = self.k if k is None else k
        if k < 1:
            raise ConfigurationError(f"BM25Retriever: k should be 1 or more, got {k}")
        corpus = self._corpus
        found = corpus.indexed(self._analysis).search(query, k)
        return [(corpus[place], score) for place, score in found]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return [document for document, _ in self.search(query, k)]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return [document for document, _ in self.search(query, k)]

    def save(self, path: str | Path) -> None:
        """Write the documents and their index into one file, which appears whole or not at all.

        Args:
            path: The file; one that exists is replaced.

        Raises:
            DocumentError: The metadata of a document is not JSON.
            OSError: The file cannot be written.
        """
        corpus = self._corpus
        index = corpus.indexed(self._analysis)
        saved = {
            "format": _FORMAT,
            "k": self.k,
            **vars(index.analysis),
            "vocabulary": list(index.vocabulary),
            "documents": [
                (document.id, document.page_content, _checked_metadata(document, number))
                for number, document in enumerate(corpus, 1)
            ],
        }
        _write(Path(path), saved, {name: index.engine.scores[name] for name in _ARRAYS})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` has written. Nothing in the file is executed.

        Args:
            path: The file.

        Raises:
            DocumentError: The file is not a saved retriever, is damaged, or is of another version.
            OSError: The file cannot be read.
            MissingExtraError: `ai21-chains[bm25]` is not installed.
        """
        saved, arrays = _read(Path(path))
        analysis = _Analysis(saved.language, saved.search_metadata, saved.k1, saved.b)
        engine = analysis.engine()
        engine.scores = {**arrays, "num_docs": len(saved.documents)}
        corpus = _Corpus(
            Document(text, metadata=data, id=id_) for id_, text, data in saved.documents
        )
        corpus.kept = _Index(analysis, {stem: n for n, stem in enumerate(saved.vocabulary)}, engine)
        return cls(documents=corpus, k=saved.k, **vars(analysis))

    @property
    def _analysis(self) -> _Analysis:
        return _Analysis(self.language, self.search_metadata, self.k1, self.b)

    @property
    def _corpus(self) -> _Corpus:
        documents = self.documents
        return documents if isinstance(documents, _Corpus) else _Corpus(documents)


# Words


_DROPPED = re.compile(
    "[\u00ad\u200b-\u200d\u2060\ufeff"  # soft hyphens, zero-width characters
    "\u0300-\u036f"  # accents for which there is no letter that has them
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"  # points of Hebrew
    "\u0640\u064b-\u065f\u0670]"  # vowels of Arabic, and its stretched lines
)
# Scripts without spaces between words: each sign counts as a word.
_SIGNS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
# Scripts of India: Python counts their vowel signs as no part of a word.
_INDIAN = "\u0900-\u0963\u0971-\u0dff"
_RARE = re.compile(f"[{_SIGNS}{_INDIAN}]")
_RARE_WORD = re.compile(rf"[{_SIGNS}]|(?:[^\W{_SIGNS}]|[{_INDIAN}])+")
_WORD = re.compile(r"\w+")  # twice as fast
_ASCII_WORD = re.compile("[a-z0-9_]+")


def _words(text: str) -> list[str]:
    if text.isascii():  # most English texts are, and have nothing to prepare
        return _ASCII_WORD.findall(text.lower())
    text = _DROPPED.sub("", unicodedata.normalize("NFKC", text).lower())
    return (_RARE_WORD if _RARE.search(text) else _WORD).findall(text)


@dataclass(frozen=True)
class _Analysis:
    """How texts become words that can be compared, and how words are weighed."""

    language: str | None
    search_metadata: tuple[str, ...]
    k1: float
    b: float

    def text(self, document: Document) -> str:
        found = (document.metadata.get(key) for key in self.search_metadata)
        return "\n".join([*(str(value) for value in found if value), document.page_content])

    def stems(self, words: Iterable[str]) -> dict[str, str]:
        """Return each word that counts, with its stem."""
        if self.language is None:
            return {word: word for word in words}
        name = "EN" if self.language == "english" else self.language.upper()
        common = frozenset(getattr(_import("bm25s").stopwords, f"STOPWORDS_{name}", ()))
        kept = [word for word in dict.fromkeys(words) if word not in common]
        # Porter leaves nothing of the "s" in "it's".
        return {word: stem for word, stem in zip(kept, self._stem(kept), strict=True) if stem}

    def engine(self) -> Any:
        engine = _import("bm25s").BM25(k1=self.k1, b=self.b)
        engine.nonoccurrence_array = None  # what its own `load` does; "lucene" has no such thing
        return engine

    def _stem(self, words: list[str]) -> list[str]:
        stemming = _import("Stemmer")
        if self.language not in stemming.algorithms():
            known = ", ".join(stemming.algorithms())
            raise ConfigurationError(
                f"BM25Retriever: no stemmer for language {self.language!r}; there are {known}, and "
                "None for words as they are"
            )
        # A stemmer must not be shared by threads and cannot be pickled; a new one takes 3 µs. For
        # English the first Porter stemmer finds more on SciFact than its successor.
        algorithm = "porter" if self.language == "english" else self.language
        stems: list[str] = stemming.Stemmer(algorithm).stemWords(words)
        return stems


@dataclass(frozen=True)
class _Index:
    """The weight of each word in each document. It never changes, so threads may share it."""

    analysis: _Analysis
    vocabulary: dict[str, int]
    engine: Any

    @classmethod
    def of(cls, documents: Iterable[Document], analysis: _Analysis) -> _Index:
        words = [_words(analysis.text(document)) for document in documents]
        stems = analysis.stems(chain.from_iterable(words))
        vocabulary = {stem: number for number, stem in enumerate(dict.fromkeys(stems.values()))}
        numbers = {word: vocabulary[stem] for word, stem in stems.items()}
        texts = [[numbers[word] for word in text if word in numbers] for text in words]
        if not vocabulary:  # bm25s divides by the mean length; no query has this word
            vocabulary, texts = {"": 0}, [[0]]
        engine = analysis.engine()
        # Not `engine.index`, which logs at a level that most applications show.
        known = list(vocabulary.values())
        engine.scores = engine.build_index_from_ids(known, texts, show_progress=False)
        return cls(analysis, vocabulary, engine)

    def search(self, query: str, k: int) -> list[tuple[int, float]]:
        """Return the places and scores of the best documents."""
        import numpy as np

        words = _words(query)
        stems = self.analysis.stems(words)
        known = self.vocabulary
        numbers = [known[stems[word]] for word in words if stems.get(word) in known]
        if not numbers:
            return []
        scores = self.engine.get_scores_from_ids(numbers)
        found = np.flatnonzero(scores)
        if len(found) > k:  # sorting all would take most of the time
            found = found[scores[found] >= np.partition(scores[found], -k)[-k]]
        best = found[np.argsort(-scores[found], kind="stable")[:k]]
        return list(zip(best.tolist(), scores[best].tolist(), strict=True))


class _Corpus(tuple[Document, ...]):
    """Documents that keep their index, so that copies of a retriever need no other one."""

    kept: _Index | None = None

    def indexed(self, analysis: _Analysis) -> _Index:
        index = self.kept
        if index is None or index.analysis != analysis:
            index = self.kept = _Index.of(self, analysis)
        return index


def _import(name: str) -> ModuleType:
    return import_extra(name, "BM25Retriever", "bm25")


# Files


_FORMAT = "ai21-chains BM25Retriever, version 1"
_ARRAYS = ("data", "indices", "indptr")


class _Saved(BaseModel):
    """What a file holds beside the arrays."""

    format: Literal["ai21-chains BM25Retriever, version 1"]
    k: int
    language: str | None
    search_metadata: tuple[str, ...]
    k1: float
    b: float
    vocabulary: list[str]
    documents: list[tuple[str | None, str, dict[str, Any]]]


def _checked_metadata(document: Document, number: int) -> dict[str, Any]:
    try:
        if json.loads(json.dumps(document.metadata)) == document.metadata:
            return document.metadata
        problem = "it would not be the same when it is read"
    except (TypeError, ValueError) as error:
        problem = str(error)
    raise DocumentError(f"The metadata of document {number} cannot be saved as JSON: {problem}")


def _write(path: Path, saved: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    import numpy as np

    text = json.dumps(saved, ensure_ascii=False).encode("utf-8", "surrogatepass")
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            np.savez(file, saved=np.frombuffer(text, np.uint8), **arrays)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> tuple[_Saved, dict[str, Any]]:
    _import("bm25s")  # numpy comes with it
    import numpy as np

    content = io.BytesIO(path.read_bytes())
    try:
        zipfile.ZipFile(content).close()  # np.load would take other files, too
        content.seek(0)
        with np.load(content, allow_pickle=False) as members:
            saved = _Saved.model_validate(json.loads(members["saved"].tobytes()))
            return saved, {name: members[name] for name in _ARRAYS}
    # A damaged zip raises all of these: RuntimeError when it claims to be encrypted, say.
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, ValueError) as error:
        raise DocumentError(
            f"{path}: not written by BM25Retriever.save of this version, or damaged; index the "
            "documents again"
        ) from error


# Several retrievers


def reciprocal_rank_fusion(
    rankings: Iterable[Iterable[Document]], *, k: int = 60
) -> list[Document]:
    """Join several rankings of documents into one.

    A document gets 1 / (k + rank) from each ranking that has it: what several retrievers put near
    the top comes first. Two documents are the same if they have the same id, or the same text at
    the same place (`source` and `start_index` of the metadata).

    Args:
        rankings: Documents, the best first, as each retriever has found them.
        k: The larger, the less the first ranks stand out. 60 is what its inventors chose.

    Returns:
        Each document once, in the form in which it was met first.

    Example:
        >>> from langchain_core.documents import Document
        >>> from ai21_chains.retrievers import reciprocal_rank_fusion
        >>> by_words = [Document("tea"), Document("coffee")]
        >>> by_meaning = [Document("coffee"), Document("cocoa")]
        >>> [d.page_content for d in reciprocal_rank_fusion([by_words, by_meaning])]
        ['coffee', 'tea', 'cocoa']
    """
    documents: list[Document] = []
    places: dict[Hashable, int] = {}
    scores: defaultdict[int, float] = defaultdict(float)
    for ranking in rankings:
        votes: dict[int, float] = {}
        for rank, document in enumerate(ranking, 1):
            names = _names(document)
            place = next((places[name] for name in names if name in places), len(documents))
            if place == len(documents):
                documents.append(document)
            places.update(dict.fromkeys(names, place))
            votes.setdefault(place, 1 / (k + rank))  # however often a ranking repeats a document
        for place, vote in votes.items():
            scores[place] += vote
    return [documents[place] for place in sorted(scores, key=scores.__getitem__, reverse=True)]


def _names(document: Document) -> list[Hashable]:
    source, start = (str(document.metadata.get(key)) for key in ("source", "start_index"))
    names: list[Hashable] = [(source, start, document.page_content)]
    return names if document.id is None else [document.id, *names]


def fuse_retrievers(
    retrievers: Iterable[Runnable[str, list[Document]]], *, k: int = 60
) -> Runnable[str, list[Document]]:
    """Use several retrievers as one: each is asked at the same time, and their rankings are joined.

    Args:
        retrievers: Retrievers, or other runnables from a query to documents.
        k: As in `reciprocal_rank_fusion`.

    Raises:
        ConfigurationError: There is no retriever.

    Example:
        >>> from langchain_core.runnables import RunnableLambda
        >>> from ai21_chains.retrievers import BM25Retriever, fuse_retrievers
        >>> by_words = BM25Retriever.from_texts(["green tea", "black coffee"])
        >>> by_length = BM25Retriever.from_texts(["a tea", "the very long story of tea"])
        >>> both = fuse_retrievers([by_words, by_length])
        >>> [document.page_content for document in both.invoke("tea")]
        ['green tea', 'a tea', 'the very long story of tea']
    """
    steps: dict[str, Any] = {str(place): one for place, one in enumerate(retrievers)}
    if not steps:
        raise ConfigurationError("fuse_retrievers needs at least one retriever")
    fuse = RunnableLambda(partial(_fuse, k=k), name="reciprocal_rank_fusion")
    return RunnableParallel(steps) | fuse


def _fuse(rankings: Mapping[str, list[Document]], k: int) -> list[Document]:
    return reciprocal_rank_fusion(rankings.values(), k=k)
