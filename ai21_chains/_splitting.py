"""Documents divided into chunks that know where they stand in their file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from langchain_core.documents import Document

from ai21_chains._extras import import_extra
from ai21_chains.errors import ConfigurationError

_SEPARATORS = ("\n\n", "\r\n\r\n", "\n", ". ", " ", "")
_WORD_START = re.compile(r"(?<!\S)\S")
_TRIMMED = re.compile(r"\S(?:.*\S)?", re.DOTALL)


def split_documents(
    documents: Iterable[Document], *, chunk_size: int = 2000, chunk_overlap: int = 200
) -> list[Document]:
    r"""Split documents into chunks that are small enough to be searched and can still be cited.

    Chunks end with a paragraph, else with a line, a sentence or a word, and begin with the last
    words of the chunk before, so that few sentences are cut in two. A chunk is a slice of its
    document without the white space around it; its metadata is the document's, and `start_index`
    its offset in the text of the file (see `read_text`), also if the document is a page.

    Args:
        documents: What `load_documents` returns, or other documents.
        chunk_size: The largest number of characters of a chunk.
        chunk_overlap: The largest number of characters that two chunks have in common.

    Returns:
        The chunks in order. Chunks have no `id`: they are not the document.

    Raises:
        ConfigurationError: `chunk_overlap` is negative, or not less than `chunk_size`.
        MissingExtraError: `ai21-chains[splitters]` is not installed.

    Example:
        >>> page = Document("Quiet from ten.\n\nNo dogs.", metadata={"page": 2, "start_index": 70})
        >>> for chunk in split_documents([page], chunk_size=20, chunk_overlap=0):
        ...     print(chunk.metadata, repr(chunk.page_content))
        {'page': 2, 'start_index': 70} 'Quiet from ten.'
        {'page': 2, 'start_index': 87} 'No dogs.'
    """
    if not 0 <= chunk_overlap < chunk_size:
        raise ConfigurationError(f"{chunk_overlap=} should be from 0 to less than {chunk_size=}")
    chunks = []
    for document in documents:
        text, offset = document.page_content, document.metadata.get("start_index", 0)
        for start, end in _slices(text, chunk_size, chunk_overlap):
            metadata = dict(document.metadata)
            if isinstance(offset, int) and offset >= 0:  # else its own place is not known
                metadata["start_index"] = offset + start
            chunks.append(Document(text[start:end], metadata=metadata))
    return chunks


def _slices(text: str, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield where the chunks begin and end.

    The splitter's own overlap and its own stripping would leave to guess where a chunk stood, and
    repeated lines would be found at the wrong place. Without them its pieces add up to the text.
    """
    pieces = [text] if len(text) <= size else _split(text, size - overlap)
    end = 0
    for piece in pieces:
        start, end = end, end + len(piece)
        before = max(start - overlap, 0)
        word = _WORD_START.search(text, before, start)
        chunk = _TRIMMED.search(text, word.start() if word else before, end)
        if chunk and piece.strip():
            yield chunk.span()


def _split(text: str, size: int) -> list[str]:
    splitters = import_extra("langchain_text_splitters", "Splitting documents", "splitters")
    splitter = splitters.RecursiveCharacterTextSplitter(
        _SEPARATORS, keep_separator="end", strip_whitespace=False, chunk_size=size, chunk_overlap=0
    )
    pieces: list[str] = splitter.split_text(text)
    return pieces
