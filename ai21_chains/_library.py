"""AI21's file library without input or output: what is sent to it, and what its answers mean.

The fields are those of AI21's API reference (File Library) and of its OpenAPI file.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Callable, Mapping
from datetime import date
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import IO, Annotated, Any, NamedTuple, TypeAlias

from langchain_core.documents import Document
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
)
from pydantic.alias_generators import to_camel

from ai21_chains._protocol import not_as_expected, read_as
from ai21_chains.errors import ConfigurationError, DocumentError

Source: TypeAlias = str | PathLike[str] | bytes | IO[bytes]
"""What can be uploaded: the path of a file, its bytes, or a file opened in binary mode."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the number of bytes sent, and of all."""

_KINDS = {
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".htm": "text/html",
    ".html": "text/html",
    ".markdown": "text/markdown",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".txt": "text/plain",
}
"""What AI21 can read. The system's own tables differ from one system to the next."""


# AI21 sends days; a server that sends times has days all the same.
_Day = Annotated[date, BeforeValidator(lambda day: day[:10] if isinstance(day, str) else day)]
_Labels = Annotated[tuple[str, ...], BeforeValidator(lambda labels: labels or ())]


class LibraryFile(BaseModel):
    """A file of the library (AI21 API reference, File Library; `FileResponse`).

    Attributes:
        id: The file's id (`fileId`).
        name: Its name; no two files have the same one.
        status: "PROCESSED" once it can be searched; a status that ends in "FAILED" is final, too.
        file_type: Its media type.
        size_bytes: Its size.
        path: The path it was given.
        labels: The labels it was given.
        public_url: The address it was given.
        created_by: The id of the user who uploaded it.
        creation_date: The day of the upload.
        last_updated: The day of its last change.
        data_source: Where it came from.
        error_code: What went wrong with it, as a number.
        error_message: What went wrong with it, in words.

    Example:
        >>> file = LibraryFile(id="f1", name="notes.txt", status="UPLOADED")
        >>> file.id, file.is_processed
        ('f1', False)
    """

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    id: str = Field(validation_alias=AliasChoices("fileId", "id"))
    name: str
    status: str
    file_type: str | None = None
    size_bytes: int | None = None
    path: str | None = None
    labels: _Labels = ()
    public_url: str | None = None
    created_by: str | None = None
    creation_date: _Day | None = None
    last_updated: _Day | None = None
    data_source: str | None = None
    error_code: int | str | None = None
    error_message: str | None = None

    @property
    def is_processed(self) -> bool:
        """Whether it can be searched."""
        return self.status == "PROCESSED"

    @property
    def has_failed(self) -> bool:
        """Whether it never will be."""
        return self.status.endswith("FAILED")


_FILE = TypeAdapter(LibraryFile)
_FILES = TypeAdapter(list[LibraryFile])


def read_file(answer: object, where: str) -> LibraryFile:
    """Read the answer that describes one file.

    Args:
        answer: The decoded JSON.
        where: What was asked, for the error message.

    Raises:
        ResponseFormatError: It describes none.
    """
    return read_as(_FILE, answer, where)


def read_files(answer: object, where: str) -> list[LibraryFile]:
    """Read the answer that lists files.

    Args:
        answer: The decoded JSON.
        where: What was asked, for the error message.

    Raises:
        ResponseFormatError: It is no such list.
    """
    return read_as(_FILES, answer, where)


def read_id(answer: object, where: str) -> str:
    """Read the answer to an upload: the id of the new file.

    Args:
        answer: The decoded JSON.
        where: What was asked, for the error message.

    Raises:
        ResponseFormatError: There is no id in it.
    """
    given = answer if isinstance(answer, Mapping) else {}
    # AI21's SDK reads the one, its newer pages show the other.
    found = given.get("fileId") or given.get("id")
    if not isinstance(found, str):
        raise not_as_expected(where, "it names no file. Look for it with list()")
    return found


# --- Uploads ---------------------------------------------------------------------------------


class Upload(NamedTuple):
    """What is to be uploaded: a name, a media type, and the bytes."""

    name: str
    kind: str
    content: bytes


def read_source(source: Source, name: str | None, media_type: str | None) -> Upload:
    """Read what is to be uploaded. It is read whole: AI21's limit is 5 MB.

    Args:
        source: A path, bytes, or a file.
        name: The name in the library. Default: the file's own.
        media_type: The media type. Default: that of the name's ending.

    Raises:
        ConfigurationError: There is no name or no known type, or the file is not open in binary
            mode.
        DocumentError: The file cannot be read, or is empty.
    """
    own, content = _read(source)
    if not isinstance(content, bytes):
        raise ConfigurationError("upload: file should be open in binary mode ('rb')")
    name = name or (Path(own).name if isinstance(own, str | PathLike) else "")
    if not name:
        raise ConfigurationError("upload: name is needed for bytes, such as name='notes.txt'")
    if not content:
        raise DocumentError(f"{name} is empty: there is nothing to search in")
    kind = media_type or _KINDS.get(Path(name).suffix.lower()) or mimetypes.guess_type(name)[0]
    if not kind:
        raise ConfigurationError(
            f"upload: the type of {name!r} is not known by its ending; pass media_type=…, such as "
            "'text/plain'"
        )
    return Upload(name, kind, content)


def _read(source: Source) -> tuple[object, object]:
    """Return a source's own name and what it holds."""
    if isinstance(source, bytes):
        return None, source
    try:
        if isinstance(source, str | PathLike):
            return source, Path(source).read_bytes()
        return getattr(source, "name", None), source.read()
    except OSError as error:
        name = source if isinstance(source, str | PathLike) else getattr(source, "name", "file")
        raise DocumentError(f"{name} cannot be read: {error.strerror or error}") from error


class Told(BytesIO):
    """Bytes that tell how much of them has been read, which is how an upload is followed."""

    def __init__(self, content: bytes, progress: Progress) -> None:
        """Start at the beginning.

        Args:
            content: The bytes.
            progress: Whom to tell.
        """
        super().__init__(content)
        self._all = len(content)
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        """Read on, and tell."""
        data = super().read(size)
        if data:
            self._progress(self.tell(), self._all)
        return data


# --- Search ----------------------------------------------------------------------------------

_NAMES = {"fileName": "source", "file_name": "source"}
"""What LangChain calls what AI21 calls otherwise."""


def to_documents(answer: object, where: str) -> list[Document]:
    """Convert the answer of a search; what is not the text goes into the metadata.

    Args:
        answer: The decoded JSON.
        where: What was asked, for the error message.

    Raises:
        ResponseFormatError: There are no results in it.
    """
    results = answer.get("results") if isinstance(answer, Mapping) else None
    if not isinstance(results, list):
        raise not_as_expected(where, "there is no list of results")
    return [_to_document(result, where) for result in results]


def _to_document(result: Any, where: str) -> Document:
    text = result.get("text") if isinstance(result, Mapping) else None
    if not isinstance(text, str):
        raise not_as_expected(where, "a result has no text")
    metadata = {
        _NAMES.get(name, _snake(name)): value
        for name, value in result.items()
        if name != "text" and value is not None
    }
    file_id, order = metadata.get("file_id"), metadata.get("order")
    known = file_id is not None and order is not None
    return Document(text, metadata=metadata, id=f"{file_id}:{order}" if known else None)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()
