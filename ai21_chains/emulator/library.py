"""The file library and its search (AI21 API reference, file library).

What AI21 does not document is the emulator's own: the wording of most refusals, the days, how texts
are cut into segments, and their scores. Texts, Markdown, HTML and DOCX are searched; a PDF is kept
like any other file, but not read.
"""

from __future__ import annotations

import html
import io
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING, Any

from .exchange import Request, Response
from .multipart import Upload
from .ranking import rank
from .routes import UNAUTHENTICATED, Routes, json_answer, refusal
from .validation import ListOf, Number, Object, OneOf, error, faults_of, mapping, string

if TYPE_CHECKING:
    from .core import Emulator

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
KINDS = ("text/plain", "text/html", "application/pdf", DOCX, "text/markdown")
LARGEST = 5_000_000
LARGEST_LIBRARY = 1_000_000_000
MOST_LABELS = 20
MOST_SEGMENTS = 15
SEGMENT = 800
"""Characters; paragraphs are joined up to this length."""

DAY = "2026-01-05"
OWNER = "00000000-0000-4000-8000-000000000021"

_DONE, _WAITING, _FAILED = "PROCESSED", "PROCESSING", "PARSING_FAILED"

UPDATE = Object({}, {"publicUrl": string, "labels": ListOf(string)})
SEARCH = Object(
    {"query": string},
    {
        "maxSegments": Number(whole=True, ge=1),
        "path": string,
        "labels": ListOf(string),
        "labels_filter": mapping,
        "labels_filter_mode": OneOf(("AND", "OR")),
        "fileIds": ListOf(string),
        "retrievalStrategy": OneOf(("segments", "default", "add_neighbors", "full_doc")),
        "maxNeighbors": Number(whole=True, ge=0),
        "retrievalSimilarityThreshold": Number(ge=0, le=1),
        "hybridSearchAlpha": Number(ge=0, le=1),
    },
)


@dataclass
class File:
    """A file of the library.

    Attributes:
        id: Its id.
        upload: Its name, media type and content.
        looks: How often it is still to be seen in processing.
        path: Where it was put.
        public_url: Where it comes from.
        labels: Its labels.
        batch_id: The upload batch it belongs to.
        segments: The pieces that are searched, or None for a text that cannot be read.
    """

    id: str
    upload: Upload
    looks: int
    path: str | None = None
    public_url: str | None = None
    labels: list[str] = field(default_factory=list)
    batch_id: str | None = None
    segments: list[str] | None = None

    @property
    def status(self) -> str:
        """What has become of it."""
        if self.looks:
            return _WAITING
        return _FAILED if self.segments is None else _DONE

    def shown(self) -> dict[str, Any]:
        """Return the file in AI21's form."""
        failed = self.status == _FAILED
        return {
            "fileId": self.id,
            "name": self.upload.name,
            "fileType": self.upload.kind,
            "sizeBytes": len(self.upload.content),
            "createdBy": OWNER,
            "creationDate": DAY,
            "lastUpdated": DAY,
            "status": self.status,
            "path": self.path,
            "labels": self.labels,
            "publicUrl": self.public_url,
            "dataSource": "local",
            "errorCode": 422 if failed else None,
            "errorMessage": "The file cannot be read" if failed else None,
        }


class Library:
    """The files of one emulator.

    Attributes:
        largest: How many bytes all of them may have; AI21's own limit.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self.files: dict[str, File] = {}
        self.largest = LARGEST_LIBRARY


def create_file(emulator: Emulator, request: Request) -> Response:
    """Upload a file: texts, Markdown, HTML, DOCX, PDF (kept, not searched)."""
    if not emulator.knows(request):
        return UNAUTHENTICATED
    upload, fields = request.form.files.get("file"), request.form.fields
    if upload is None:
        return refusal(422, [error(("body", "file"), "field required", "value_error.missing")])
    # A browser adds the character set.
    upload = replace(upload, kind=upload.kind.partition(";")[0].strip())
    library = emulator.state(Library)
    labels = list(dict.fromkeys(fields.get("labels", ())))
    with library.lock:
        if problem := _problem(upload, labels, library):
            return refusal(422, problem)
        found = File(
            str(emulator.new_id()),
            upload,
            emulator.pending_looks,
            path=fields.get("path", [None])[0],
            public_url=fields.get("publicUrl", [None])[0],
            labels=labels,
            batch_id=fields.get("batch_id", [None])[0],
            segments=_segments(upload),
        )
        library.files[found.id] = found
    # AI21's SDK reads the one, its newer pages show the other.
    return json_answer({"id": found.id, "fileId": found.id})


def _problem(upload: Upload, labels: list[str], library: Library) -> str | None:
    if upload.kind not in KINDS:
        supported = ", ".join(KINDS)
        return f"Invalid file type: {upload.kind}. Supported file types are: {supported}"
    if not upload.content:
        return "The file is empty"
    if len(upload.content) > LARGEST:
        return f"The file has {len(upload.content)} bytes, the limit is {LARGEST}"
    files = library.files.values()
    if any(file.upload.name == upload.name for file in files):
        return f"There is a file named {upload.name} already"
    if sum(len(file.upload.content) for file in files) + len(upload.content) > library.largest:
        return f"The library would have more than {library.largest} bytes; delete files"
    known = set(labels).union(*(file.labels for file in files))
    return f"There are more than {MOST_LABELS} labels" if len(known) > MOST_LABELS else None


def list_files(emulator: Emulator, request: Request) -> Response:
    """List the files, by name, path, status and label, from `offset` on."""
    if not emulator.knows(request):
        return UNAUTHENTICATED
    params = {name: values[0] for name, values in request.params.items()}
    start, most = params.get("offset", "0"), params.get("limit", "500000")
    if not (start.isdecimal() and most.isdecimal()):
        kind = "type_error.integer"
        return refusal(422, [error(("query", "limit"), "value is not a valid integer", kind)])
    library = emulator.state(Library)
    with library.lock:
        rows = [_look(file) for file in library.files.values()]
    labels = set(request.params.get("label", ()))
    found = [
        row
        for row in rows
        if all(params.get(name) in (None, row[name]) for name in ("name", "status"))
        and (row["path"] or "").startswith(params.get("path", ""))
        and labels <= set(row["labels"])
    ]
    return json_answer(found[int(start) :][: int(most)])


def _look(file: File) -> dict[str, Any]:
    shown = file.shown()
    file.looks = max(file.looks - 1, 0)
    return shown


Action = Callable[["Library", File], Response]


def _with_file(emulator: Emulator, request: Request, file_id: str, act: Action) -> Response:
    if not emulator.knows(request):
        return UNAUTHENTICATED
    library = emulator.state(Library)
    with library.lock:
        file = library.files.get(file_id)
        return refusal(404, "File not found") if file is None else act(library, file)


def get_file(emulator: Emulator, request: Request, file_id: str) -> Response:
    """Look at a file: `Emulator(pending_looks=…)` says how often it is in processing."""
    return _with_file(emulator, request, file_id, lambda _, file: json_answer(_look(file)))


def update_file(emulator: Emulator, request: Request, file_id: str) -> Response:
    """Give a file other labels, or another URL; what is not given stays."""

    def update(_: Library, file: File) -> Response:
        if faults := faults_of(request.body, UPDATE):
            return refusal(422, faults)
        file.labels = request.json.get("labels", file.labels) or []
        file.public_url = request.json.get("publicUrl", file.public_url)
        return json_answer({"id": file.id, "fileId": file.id})

    return _with_file(emulator, request, file_id, update)


def delete_file(emulator: Emulator, request: Request, file_id: str) -> Response:
    """Delete a file, unless it is in processing."""

    def delete(library: Library, file: File) -> Response:
        if file.status == _WAITING:
            return refusal(422, "A file cannot be deleted while it is processed")
        del library.files[file.id]
        return json_answer({"id": file.id, "fileId": file.id})

    return _with_file(emulator, request, file_id, delete)


def upload_status(emulator: Emulator, request: Request, batch_id: str) -> Response:
    """Count the files that were uploaded with a `batch_id`, by their status."""
    if not emulator.knows(request):
        return UNAUTHENTICATED
    library = emulator.state(Library)
    with library.lock:
        rows = [_look(file) for file in library.files.values() if file.batch_id == batch_id]
    counted = Counter(row["status"] for row in rows)
    statuses = [{"status": status, "count": count} for status, count in counted.items()]
    return json_answer({"batch_id": batch_id, "total_documents": len(rows), "statuses": statuses})


def search(emulator: Emulator, request: Request) -> Response:
    """Search the processed files by BM25; strategies and `labels_filter` change nothing."""
    if not emulator.knows(request):
        return UNAUTHENTICATED
    if faults := faults_of(request.body, SEARCH):
        return refusal(422, faults)
    asked = {name: value for name, value in request.json.items() if value is not None}
    library = emulator.state(Library)
    with library.lock:
        files = [file for file in library.files.values() if _fits(file, asked)]
    least = asked.get("retrievalSimilarityThreshold", 0)
    found = [row for row in _ranked(asked["query"], files) if row["score"] >= least]
    most = asked.get("maxSegments", MOST_SEGMENTS)
    return json_answer({"id": str(emulator.new_id()), "results": found[:most]})


def _fits(file: File, asked: Mapping[str, Any]) -> bool:
    labels = set(file.labels)
    return (
        file.status == _DONE
        and (file.path or "").startswith(asked.get("path", ""))
        and ("labels" not in asked or bool(labels & set(asked["labels"])))
        and ("fileIds" not in asked or file.id in asked["fileIds"])
    )


def _ranked(query: str, files: list[File]) -> Iterator[dict[str, Any]]:
    pieces = [
        (file, order, text) for file in files for order, text in enumerate(file.segments or ())
    ]
    passages = rank(query, [text for *_, text in pieces], [file.upload.name for file, *_ in pieces])
    # A segment is as good as its best sentence.
    best: dict[int, float] = {}
    for passage in passages:
        if passage.score > 0:
            best.setdefault(passage.document, passage.score)
    for place, score in best.items():
        file, order, text = pieces[place]
        yield {
            "text": text,
            "fileId": file.id,
            "fileName": file.upload.name,
            "score": round(score / (1 + score), 8),
            "order": order,
            "publicUrl": file.public_url,
            "labels": file.labels,
        }


def _segments(upload: Upload) -> list[str] | None:
    """Cut a file's text into segments; None if it cannot be read."""
    try:
        text = _text(upload)
    except (UnicodeDecodeError, zipfile.BadZipFile, KeyError):
        return None
    segments: list[str] = []
    for paragraph in filter(None, map(str.strip, re.split(r"\n\s*\n", text))):
        if segments and len(segments[-1]) + len(paragraph) < SEGMENT:
            segments[-1] += f"\n\n{paragraph}"
        else:
            segments.append(paragraph)
    return segments


def _text(upload: Upload) -> str:
    if upload.kind == "application/pdf":
        return ""
    if upload.kind == DOCX:
        with zipfile.ZipFile(io.BytesIO(upload.content)) as document:
            markup = document.read("word/document.xml").decode()
        return _plain(markup.replace("</w:p>", "\n\n"))
    text = upload.content.decode("utf-8-sig")
    return _plain(text) if upload.kind == "text/html" else text


def _plain(markup: str) -> str:
    markup = re.sub(r"(?is)<(script|style)\b.*?</\1>|<!--.*?-->", "", markup)
    markup = re.sub(r"(?i)</?(?:p|div|h\d|li|tr|table|ul|ol|br)\b[^>]*>", "\n\n", markup)
    return html.unescape(re.sub(r"<[^>]*>", "", markup))


ROUTES: Routes = {
    "/library/files": {"POST": create_file, "GET": list_files},
    "/library/files/{file_id}": {"GET": get_file, "PUT": update_file, "DELETE": delete_file},
    "/library/batches/{batch_id}/status": {"GET": upload_status},
    "/library/search": {"POST": search},
}
BODIES = {"PUT /library/files/{file_id}": UPDATE, "POST /library/search": SEARCH}
