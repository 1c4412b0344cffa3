"""Batches of chat requests (AI21's SDK, batches; AI21 documents no bodies).

The lines of the result files are in OpenAI's form, as those of the input are. What a batch's rows
say is decided by the brain, when the batch is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from threading import RLock
from typing import TYPE_CHECKING, Any

from . import chat
from .brains import EmulatorError
from .exchange import Request, Response
from .memory import forget
from .routes import FORBIDDEN, Routes, json_answer, refusal
from .validation import Object, error, string

if TYPE_CHECKING:
    from .core import Emulator

ENDPOINT = "/v1/chat/completions"
CREATED = 1_767_600_000
"""Unix time of the first batch; the others follow a second apart."""

Row = Mapping[str, Any]

LINE = Object({"custom_id": string, "method": string, "url": string}, {})


@dataclass
class Batch:
    """A batch of requests.

    Attributes:
        id: Its id.
        rows: The requests.
        created_at: When it was made.
        looks: How often it is still to be seen in progress.
        metadata: What the client noted.
        status: What has become of it.
        output: Rows with their answers.
        errors: Rows with what is wrong with them.
        ended_at: When it was completed or cancelled.
    """

    id: str
    rows: Sequence[Row]
    created_at: int
    looks: int
    metadata: Any = None
    status: str = "PENDING"
    output: list[Row] = field(default_factory=list)
    errors: list[Row] = field(default_factory=list)
    ended_at: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is more to come."""
        return self.status in ("PENDING", "PROCESSING")

    def shown(self) -> dict[str, Any]:
        """Return the batch in AI21's form."""
        counts = {"completed": len(self.output), "failed": len(self.errors)}
        folder = f"batches/{self.id}"
        cancelled = self.status == "CANCELLED"
        return {
            "id": self.id,
            "status": self.status,
            "endpoint": ENDPOINT,
            "created_at": self.created_at,
            "completed_at": None if cancelled else self.ended_at,
            "cancelled_at": self.ended_at if cancelled else None,
            "request_counts": {"total": len(self.rows), **counts},
            "metadata": self.metadata,
            "output_file": f"{folder}/output.jsonl" if self.output else None,
            "error_file": f"{folder}/error.jsonl" if self.errors else None,
        }


class Batches:
    """The batches of one emulator.

    Attributes:
        ends_as: What becomes of a batch that is not cancelled. Only "COMPLETED" has done all rows;
            "FAILED" has done none, and any other end, such as "EXPIRED", those of the looks before.
        most: How many are kept; see `memory.forget`.
        times: Unix times for those to come.
    """

    def __init__(self) -> None:
        self.lock = RLock()
        self.batches: dict[str, Batch] = {}
        self.ends_as = "COMPLETED"
        self.most = 100
        self.times = count(CREATED)

    def look(self, emulator: Emulator, batch: Batch) -> None:
        """Do a part of the rows: the last one is done at the last look."""
        if not batch.is_open:
            return
        looks = emulator.pending_looks + 1
        left = batch.looks
        batch.looks -= 1
        batch.status = "PROCESSING" if left else self.ends_as
        if self.ends_as == "COMPLETED" or (left and self.ends_as != "FAILED"):
            done = len(batch.output) + len(batch.errors)
            for row in batch.rows[done : len(batch.rows) * (looks - left) // looks]:
                _do(emulator, batch, row)
        if not left:
            batch.ended_at = batch.created_at + looks


def _do(emulator: Emulator, batch: Batch, row: Row) -> None:
    if (row["method"], row["url"]) != ("POST", ENDPOINT):
        answer = refusal(422, f"A row should be a POST to {ENDPOINT}")
    elif isinstance(row.get("body"), dict) and row["body"].get("stream"):
        answer = refusal(422, "stream must be false in a batch")
    else:
        try:
            answer = chat.converse(emulator, row.get("body"))
        except EmulatorError as problem:
            answer = refusal(problem.status, f"Emulator: {problem}")
    request_id = str(emulator.new_id())
    response = {"status_code": answer.status, "request_id": request_id}
    line = {
        "id": f"batch_req_{request_id}",
        "custom_id": row["custom_id"],
        "response": {**response, "body": json.loads(answer.body)},
        "error": None,
    }
    (batch.output if answer.status == 200 else batch.errors).append(line)


def create_batch(emulator: Emulator, request: Request) -> Response:
    """Start a batch of chat requests from a file of JSON Lines."""
    if not emulator.knows(request):
        return FORBIDDEN
    upload, fields = request.form.files.get("file"), request.form.fields
    given = {"file": upload, "endpoint": fields.get("endpoint")}
    if missing := [name for name, value in given.items() if value is None]:
        kind = "value_error.missing"
        return refusal(422, [error(("body", name), "field required", kind) for name in missing])
    if fields["endpoint"] != [ENDPOINT]:
        return refusal(422, f"endpoint must be {ENDPOINT}")
    try:
        rows = list(_rows(upload.content if upload else b""))
    except ValueError as problem:
        return refusal(422, str(problem))
    kept = emulator.state(Batches)
    with kept.lock:
        made, looks = next(kept.times), emulator.pending_looks
        batch = Batch(str(emulator.new_id()), rows, made, looks, _metadata(fields))
        forget(kept.batches, kept.most - 1, lambda one: not one.is_open)
        kept.batches[batch.id] = batch
        return json_answer(batch.shown())


def _rows(content: bytes) -> Iterator[Row]:
    """Yield the requests of a file.

    Raises:
        ValueError: One has no id to answer it by, or there is none.
    """
    seen: set[str] = set()
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            raise ValueError(f"Line {number} is not JSON") from None
        if faults := list(LINE(row, ("line", number))):
            raise ValueError(f"Line {number}: {faults[0]['loc'][-1]}: {faults[0]['msg']}")
        if row["custom_id"] in seen:
            raise ValueError(f"Line {number}: custom_id {row['custom_id']} is not unique")
        seen.add(row["custom_id"])
        yield row
    if not seen:
        raise ValueError("The file has no requests")


def _metadata(fields: Mapping[str, list[str]]) -> Any:
    try:
        return json.loads(fields["metadata"][0])
    except (KeyError, ValueError):
        return None


def list_batches(emulator: Emulator, request: Request) -> Response:
    """List the batches, the newest first, from the one after `after` on."""
    if not emulator.knows(request):
        return FORBIDDEN
    limit = request.params.get("limit", ["20"])[0]
    if not limit.isdecimal() or not 1 <= int(limit) <= 100:
        return refusal(422, "limit must be from 1 to 100")
    kept = emulator.state(Batches)
    with kept.lock:
        ids = list(reversed(kept.batches))
        after = request.params.get("after", [""])[0]
        start = ids.index(after) + 1 if after in ids else 0
        return json_answer([kept.batches[id].shown() for id in ids[start:][: int(limit)]])


Action = Callable[[Batches, Batch], Response]


def _with_batch(emulator: Emulator, request: Request, batch_id: str, act: Action) -> Response:
    if not emulator.knows(request):
        return FORBIDDEN
    kept = emulator.state(Batches)
    with kept.lock:
        batch = kept.batches.get(batch_id)
        return refusal(404, "Batch not found") if batch is None else act(kept, batch)


def get_batch(emulator: Emulator, request: Request, batch_id: str) -> Response:
    """Look at a batch: `Emulator(pending_looks=…)` says how often it is in progress."""

    def look(kept: Batches, batch: Batch) -> Response:
        kept.look(emulator, batch)
        return json_answer(batch.shown())

    return _with_batch(emulator, request, batch_id, look)


def cancel_batch(emulator: Emulator, request: Request, batch_id: str) -> Response:
    """Cancel a batch; the rows that were done stay."""

    def cancel(_: Batches, batch: Batch) -> Response:
        if batch.is_open:
            batch.status, batch.ended_at = "CANCELLED", batch.created_at + 1
        return json_answer(batch.shown())

    return _with_batch(emulator, request, batch_id, cancel)


def get_results(emulator: Emulator, request: Request, batch_id: str) -> Response:
    """Download the answers of a batch that has ended, or with `file_type=error` the other rows."""

    def download(_: Batches, batch: Batch) -> Response:
        if batch.is_open and request.params.get("force", [""])[0].lower() != "true":
            return refusal(422, f"The batch is {batch.status}")
        # AI21's SDK sends "NOT_GIVEN" where it was given nothing.
        wanted = request.params.get("file_type", ["output"])[0]
        return _file(batch.errors if wanted == "error" else batch.output)

    return _with_batch(emulator, request, batch_id, download)


def _file(rows: Sequence[Row]) -> Response:
    if not rows:
        return refusal(404, "There is no such file")
    lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
    data = "".join(lines).encode()
    headers = (("content-length", str(len(data))), ("content-type", "application/jsonl"))
    return Response(200, headers, (data,))


ROUTES: Routes = {
    "/batches": {"POST": create_batch, "GET": list_batches},
    "/batches/{batch_id}": {"GET": get_batch},
    "/batches/{batch_id}/cancel": {"POST": cancel_batch},
    "/batches/{batch_id}/results": {"GET": get_results},
}
