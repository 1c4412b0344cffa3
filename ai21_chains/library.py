"""AI21's file library: upload files, manage them, and search them as a LangChain retriever.

The requests and answers are described in `_library`, and AI21's in its API reference (File
Library).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field, InstanceOf, ValidationError
from typing_extensions import Unpack

from ai21_chains import _retry
from ai21_chains._component import client_for
from ai21_chains._library import (
    LibraryFile,
    Progress,
    Source,
    Told,
    Upload,
    read_file,
    read_files,
    read_id,
    read_source,
    to_documents,
)
from ai21_chains._options import TransportOptions, canonical, check_call, explain
from ai21_chains._work import Ask, Pace, Steps, arun, run
from ai21_chains.client import AI21Client, default_address, path
from ai21_chains.errors import APIError, APITimeoutError, ConfigurationError, DocumentError

__all__ = ["AI21FileLibrary", "AI21LibraryRetriever", "LibraryFile"]

_FILES = path("library", "files")
_SEARCH = path("library", "search")
_PAGE = 500
"""Files in one page of a list."""


@dataclass(frozen=True, init=False)
class AI21FileLibrary:
    """The files of an AI21 account that searches and Maestro's file search read.

    Each method has an async form, whose name begins with an `a`. AI21 takes PDF, DOCX, HTML, text
    and Markdown, 5 MB a file and 1 GB in all, and 20 different labels.

    Args:
        **settings: How the server is reached: `api_key`, `base_url`, `timeout`, `max_retries`,
            `default_headers`, `proxy`, `http_client` and `http_async_client`, as in `ChatAI21`, and
            with the same defaults from the environment.

    Raises:
        ConfigurationError: A setting is misspelt, of the wrong type or out of range.

    Example:
        >>> from ai21_chains.library import AI21FileLibrary
        >>> library = AI21FileLibrary(api_key="…")
        >>> file_id = library.upload("handbook.md", labels=["hr"])  # doctest: +SKIP
        >>> library.wait_until_processed(file_id).status  # doctest: +SKIP
        'PROCESSED'

    Attributes:
        client: What sends the requests.
    """

    client: AI21Client

    def __init__(self, **settings: Unpack[TransportOptions]) -> None:
        """Keep the settings; nothing is sent."""
        object.__setattr__(self, "client", _client(settings))

    def upload(
        self,
        file: Source,
        *,
        name: str | None = None,
        media_type: str | None = None,
        path: str | None = None,
        labels: Sequence[str] = (),
        public_url: str | None = None,
        progress: Progress | None = None,
    ) -> str:
        """Upload a file (`POST /library/files`). It can be searched once it is processed.

        Uploading is not repeated where the server may have got the file.

        Args:
            file: The path of a file, its bytes, or a file opened in binary mode. It is read whole.
            name: Name in the library, where no other file may have it. Default: the file's own.
            media_type: Media type, such as "text/plain". Default: that of the name's ending.
            path: A path of your choosing, such as "contracts/2026/"; searches can be limited to
                what begins with it.
            labels: Labels of your choosing, which searches can be limited to.
            public_url: Where the file can be read; search results have it.
            progress: Called with the number of bytes sent and of all, at each 64 KiB. It begins
                again from the start when a refused upload is tried again.

        Returns:
            The file's id.

        Raises:
            ConfigurationError: Something is missing or wrong; nothing was sent.
            DocumentError: The file cannot be read, or is empty.
            APIError: The file was not taken, or the connection broke. If it may have been taken
                all the same, the message says what to look for.
        """
        sent = read_source(file, name, media_type)
        return run(self.client, self._upload(sent, path, labels, public_url, progress))

    async def aupload(
        self,
        file: Source,
        *,
        name: str | None = None,
        media_type: str | None = None,
        path: str | None = None,
        labels: Sequence[str] = (),
        public_url: str | None = None,
        progress: Progress | None = None,
    ) -> str:
        """Async form of `upload`; the file is read on a thread."""
        sent = await asyncio.to_thread(read_source, file, name, media_type)
        return await arun(self.client, self._upload(sent, path, labels, public_url, progress))

    def list(
        self,
        *,
        name: str | None = None,
        path: str | None = None,
        status: str | None = None,
        labels: Sequence[str] = (),
    ) -> Iterator[LibraryFile]:
        """Iterate over the files, page by page as they are asked for (`GET /library/files`).

        Args:
            name: Only the file of this name.
            path: Only files whose path begins with this.
            status: Only files of this status, such as "PROCESSED".
            labels: Only files with all of these labels.

        Raises:
            APIError: A page could not be fetched.
        """
        wanted = _filters(name, path, status, labels)
        seen: set[str] = set()
        while new := run(self.client, self._page(wanted, seen)):
            yield from new

    async def alist(
        self,
        *,
        name: str | None = None,
        path: str | None = None,
        status: str | None = None,
        labels: Sequence[str] = (),
    ) -> AsyncIterator[LibraryFile]:
        """Async form of `list`."""
        wanted = _filters(name, path, status, labels)
        seen: set[str] = set()
        while new := await arun(self.client, self._page(wanted, seen)):
            for file in new:
                yield file

    def get(self, file_id: str) -> LibraryFile:
        """Return what is known of a file (`GET /library/files/{file_id}`).

        Args:
            file_id: The file's id.

        Raises:
            NotFoundError: There is no such file.
            APIError: No usable answer came back.
        """
        return run(self.client, self._get(file_id))

    async def aget(self, file_id: str) -> LibraryFile:
        """Async form of `get`."""
        return await arun(self.client, self._get(file_id))

    def update(
        self,
        file_id: str,
        *,
        labels: Sequence[str] | None = None,
        public_url: str | None = None,
    ) -> None:
        """Give a file other labels or another address (`PUT /library/files/{file_id}`).

        Args:
            file_id: The file's id.
            labels: Labels that take the place of the old ones.
            public_url: The new address.

        Raises:
            ConfigurationError: There is nothing to change; nothing was sent.
            NotFoundError: There is no such file.
            APIError: No usable answer came back.
        """
        run(self.client, self._update(file_id, labels, public_url))

    async def aupdate(
        self,
        file_id: str,
        *,
        labels: Sequence[str] | None = None,
        public_url: str | None = None,
    ) -> None:
        """Async form of `update`."""
        await arun(self.client, self._update(file_id, labels, public_url))

    def delete(self, file_id: str) -> None:
        """Delete a file (`DELETE /library/files/{file_id}`).

        Args:
            file_id: The file's id.

        Raises:
            UnprocessableEntityError: The file is being processed.
            NotFoundError: There is no such file.
            APIError: No usable answer came back.
        """
        self.client.request("DELETE", _of(file_id))

    async def adelete(self, file_id: str) -> None:
        """Async form of `delete`."""
        await self.client.arequest("DELETE", _of(file_id))

    def wait_until_processed(
        self, file_id: str, *, poll_interval_sec: float = 1.0, poll_timeout_sec: float = 300.0
    ) -> LibraryFile:
        """Look at a file until it can be searched.

        Args:
            file_id: The file's id.
            poll_interval_sec: Seconds before the second look. Each wait is half as long again as
                the one before it, up to 10 s.
            poll_timeout_sec: Seconds after which to give up.

        Raises:
            DocumentError: AI21 could not process the file.
            APITimeoutError: It is not processed in time; it goes on, and can be waited for again.
            APIError: No usable answer came back.
        """
        pace = Pace(poll_interval_sec, poll_timeout_sec)
        return run(self.client, self._wait(file_id, pace))

    async def await_until_processed(
        self, file_id: str, *, poll_interval_sec: float = 1.0, poll_timeout_sec: float = 300.0
    ) -> LibraryFile:
        """Async form of `wait_until_processed`."""
        pace = Pace(poll_interval_sec, poll_timeout_sec)
        return await arun(self.client, self._wait(file_id, pace))

    # --- What is asked, for blocking and for async code --------------------------------------

    def _upload(
        self,
        upload: Upload,
        path: str | None,
        labels: Sequence[str],
        public_url: str | None,
        progress: Progress | None,
    ) -> Steps[str]:
        name, kind, data = upload
        fields = {"path": path, "labels": _labels(labels), "publicUrl": public_url}
        content = Told(data, progress) if progress else data
        try:
            answer = yield Ask(
                "POST", _FILES, {"files": {"file": (name, content, kind)}, "fields": fields}
            )
        except APIError as error:
            if _retry.should_retry(error) and not _retry.surely_not_done(error):
                error.args = (f"{error} (with list(name={name!r}))",)
            raise
        return read_id(answer, self._where("POST", _FILES))

    def _page(self, wanted: Mapping[str, object], seen: set[str]) -> Steps[Sequence[LibraryFile]]:
        params = {**wanted, "limit": _PAGE, "offset": len(seen)}
        answer = yield Ask("GET", _FILES, {"params": params})
        # A server may have a page size of its own; one that has no pages sends the same again.
        files = read_files(answer, self._where("GET", _FILES))
        new = [file for file in files if file.id not in seen]
        seen.update(file.id for file in new)
        return new

    def _get(self, file_id: str) -> Steps[LibraryFile]:
        where = _of(file_id)
        return read_file((yield Ask("GET", where)), self._where("GET", where))

    def _update(
        self, file_id: str, labels: Sequence[str] | None, public_url: str | None
    ) -> Steps[None]:
        given = {"labels": None if labels is None else _labels(labels), "publicUrl": public_url}
        body = {name: value for name, value in given.items() if value is not None}
        if not body:
            raise ConfigurationError("update: pass labels=… or public_url=…")
        yield Ask("PUT", _of(file_id), {"json": body})

    def _wait(self, file_id: str, pace: Pace) -> Steps[LibraryFile]:
        times = pace.checked("wait_until_processed").times()
        file = yield from self._get(file_id)
        while not file.is_processed:
            if file.has_failed:
                reason = file.error_message or "the server does not say why"
                raise DocumentError(
                    f"AI21 could not process {file.name} (file {file_id}, {file.status}): {reason}."
                    " Delete it, and upload it in another form"
                )
            pause = next(times, None)
            if pause is None:
                raise APITimeoutError(
                    f"{file.name} (file {file_id}) is {file.status} after "
                    f"{pace.poll_timeout_sec:g} s. It goes on: wait again, or raise "
                    "poll_timeout_sec"
                )
            yield pause
            file = yield from self._get(file_id)
        return file

    def _where(self, method: str, path: str) -> str:
        return f"{method} {self.client.base_url}{path}"


def _client(settings: TransportOptions) -> AI21Client:
    defaults: dict[str, object] = {
        **dict.fromkeys(TransportOptions.__annotations__),
        "api_key": os.environ.get("AI21_API_KEY"),
        "base_url": default_address(),
        "max_retries": 2,
    }
    given = {**defaults, **canonical(settings)}
    return client_for(check_call(given, AI21FileLibrary.__name__, TransportOptions))


def _of(file_id: str) -> str:
    return path("library", "files", file_id)


def _labels(labels: Sequence[str]) -> Sequence[str]:
    # A string is a sequence of strings, too.
    if isinstance(labels, str):
        raise ConfigurationError(f"labels should be a list: [{labels!r}]")
    return [*labels]


def _filters(
    name: str | None, path: str | None, status: str | None, labels: Sequence[str]
) -> Mapping[str, object]:
    return {"name": name, "path": path, "status": status, "label": _labels(labels)}


class AI21LibraryRetriever(BaseRetriever):
    """Finds passages of the files in an AI21 library (`POST /library/search`).

    A document's text is a passage. Its metadata has the `source` (the file's name), `file_id`,
    `score`, `order` (the passage's place in the file), `public_url` and `labels`, and whatever else
    AI21 sends, such as pages. Files that are still being processed are not found.

    Raises:
        ConfigurationError: An argument is unknown, of the wrong type or out of range. It is raised
            by the constructor and by calls, before anything is sent.
        APIError: Raised by calls, when no usable answer came back.

    Example:
        >>> from ai21_chains.library import AI21FileLibrary, AI21LibraryRetriever
        >>> library = AI21FileLibrary(api_key="…")
        >>> retriever = AI21LibraryRetriever(library=library, k=5, labels=["hr"])
        >>> retriever.invoke("How many days of leave?")[0].metadata  # doctest: +SKIP
        {'file_id': '1e24…', 'source': 'handbook.md', 'score': 0.85, 'order': 3, 'labels': ['hr']}
    """

    library: InstanceOf[AI21FileLibrary] = Field(default_factory=AI21FileLibrary, repr=False)
    """The library to search. Default: that of the environment's `AI21_API_KEY`."""

    k: int = Field(default=10, ge=1)
    """The largest number of documents that a query returns (AI21's `maxSegments`)."""

    labels: Sequence[str] | None = None
    """Only files with one of these labels."""

    path: str | None = None
    """Only files whose path begins with this."""

    file_ids: Sequence[str] | None = None
    """Only these files."""

    search_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request's body, such as `retrievalSimilarityThreshold` (0 to 1),
    `hybridSearchAlpha` (0 to 1), `retrievalStrategy` and `maxNeighbors`."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, hide_input_in_errors=True)

    if not TYPE_CHECKING:  # type checkers read the fields

        def __init__(self, **settings: Any) -> None:
            try:
                super().__init__(**settings)
            except ValidationError as error:
                name, fields = type(self).__name__, type(self).model_fields
                raise explain(error, name, fields) from None

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        return run(self.library.client, self._search(query, options))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        return await arun(self.library.client, self._search(query, options))

    def _search(self, query: str, options: Mapping[str, Any]) -> Steps[list[Document]]:
        asked = self._for_call(options)
        filters = {"path": asked.path, "labels": asked.labels, "fileIds": asked.file_ids}
        body = {
            "query": query,
            "maxSegments": asked.k,
            **{name: value for name, value in filters.items() if value is not None},
            **asked.search_kwargs,
        }
        # A search changes nothing: it may be repeated.
        answer = yield Ask("POST", _SEARCH, {"json": body, "idempotent": True})
        found = to_documents(answer, f"POST {self.library.client.base_url}{_SEARCH}")
        return found[: asked.k]

    def _for_call(self, options: Mapping[str, Any]) -> AI21LibraryRetriever:
        if not options:
            return self
        names = ("library", "k", "labels", "path", "file_ids", "search_kwargs")
        own = {name: getattr(self, name) for name in names}
        return AI21LibraryRetriever(**{**own, **options})
