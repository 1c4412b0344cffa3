"""Batches without input or output: the lines that are sent, and what the results mean.

AI21 documents the files of a batch as JSON Lines with a `custom_id` for each request (Batch API);
how a line of the results looks it does not say. OpenAI's form is read, from which the requests'
form comes, and what differs from it as far as it can be understood.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from langchain_core.messages import AIMessage
from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter

from ai21_chains import _protocol
from ai21_chains._catalog import RETIRED
from ai21_chains._messages import generations
from ai21_chains._wire import ChatRequest, JSONObject
from ai21_chains.errors import AI21Error, APIError, ConfigurationError, ResponseFormatError

ENDPOINT = "/v1/chat/completions"

MOST_ROWS = 50_000
MOST_BYTES = 200_000_000
"""AI21 publishes no limits. These are those of OpenAI's batches, whose form AI21 has taken over."""

_OURS = re.compile(r"row-(\d{1,5})")


class RequestCounts(BaseModel):
    """How many rows a batch has, and how far it is.

    Attributes:
        total: All rows.
        completed: Rows that have an answer.
        failed: Rows that have an error.
    """

    model_config = ConfigDict(frozen=True)

    total: int = 0
    completed: int = 0
    failed: int = 0


class BatchStatus(BaseModel):
    """A batch as the server shows it (AI21's SDK, `Batch`).

    Attributes:
        id: The batch's id.
        status: "PENDING", "PROCESSING", "COMPLETED", "FAILED", "CANCELLED", "EXPIRED" or "STALE".
        request_counts: How far it is.
        endpoint: What the rows are sent to.
        created_at: Unix time at which it was made.
        completed_at: Unix time at which it was completed.
        cancelled_at: Unix time at which it was cancelled.
        metadata: What was noted when it was made.
        output_file: Where the server keeps the answers.
        error_file: Where the server keeps the errors.

    Example:
        >>> status = BatchStatus(id="b1", status="PROCESSING", request_counts={"total": 3})
        >>> status.has_ended, str(status)
        (False, 'Batch b1: PROCESSING, 0 of 3 rows done, 0 failed')
    """

    model_config = ConfigDict(frozen=True)

    id: str
    status: str
    request_counts: Annotated[RequestCounts, BeforeValidator(lambda counts: counts or {})] = (
        RequestCounts()
    )
    endpoint: str | None = None
    created_at: int | str | None = None
    completed_at: int | str | None = None
    cancelled_at: int | str | None = None
    metadata: Any = None
    output_file: str | None = None
    error_file: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will be done."""
        return self.status in ("COMPLETED", "FAILED", "CANCELLED", "EXPIRED", "STALE")

    def __str__(self) -> str:
        """Say in one line how far it is."""
        counts = self.request_counts
        done = f"{counts.completed + counts.failed} of {counts.total} rows done"
        return f"Batch {self.id}: {self.status}, {done}, {counts.failed} failed"


_STATUS = TypeAdapter(BatchStatus)


def read_status(answer: object, where: str) -> BatchStatus:
    """Read the answer that describes a batch.

    Args:
        answer: The decoded JSON.
        where: What was asked, for the error message.

    Raises:
        ResponseFormatError: It describes none.
    """
    return _protocol.read_as(_STATUS, answer, where)


# --- What is sent ----------------------------------------------------------------------------


def to_lines(bodies: Sequence[ChatRequest]) -> bytes:
    """Return the file of a batch: a line for each request, which is named by its place.

    Raises:
        ConfigurationError: The requests cannot be sent as a batch.
    """
    lines = [
        _protocol.encode(
            {"custom_id": f"row-{place}", "method": "POST", "url": ENDPOINT, "body": body}
        )
        for place, body in enumerate(bodies)
    ]
    for model in {body["model"] for body in bodies}:
        _check_model(model)
    content = b"".join(line + b"\n" for line in lines)
    check_size(len(lines), len(content))
    return content


def check_lines(content: bytes) -> int:
    """Check the file of a batch that somebody else has written.

    Args:
        content: JSON Lines in AI21's form.

    Returns:
        The number of rows.

    Raises:
        ConfigurationError: The file cannot be sent as a batch; the message names the line.
    """
    seen: set[str] = set()
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name, where, body = row["custom_id"], row["url"], row["body"]
            model = body["model"]
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigurationError(
                f"Line {number} of the batch is no request with custom_id, method, url and body "
                f"({type(error).__name__}: {error})"
            ) from None
        if where != ENDPOINT:
            raise ConfigurationError(
                f"Line {number} of the batch has url {where!r}, not {ENDPOINT}"
            )
        if not isinstance(name, str) or name in seen:
            raise ConfigurationError(f"Line {number} of the batch repeats custom_id {name!r}")
        _check_model(model)
        seen.add(name)
    check_size(len(seen), len(content))
    return len(seen)


def _check_model(model: object) -> None:
    # Its rows would fail one by one, hours later.
    if isinstance(model, str) and (retired := RETIRED.get(model)):
        raise ConfigurationError(
            f"A batch cannot use {model}: AI21 retired it on {retired.on}; use {retired.successor}"
        )


def check_size(rows: int, size: int = 0) -> None:
    """Refuse what is no batch, or too large for one.

    Args:
        rows: The number of its rows.
        size: The size of its file in bytes.

    Raises:
        ConfigurationError: There are too few rows, too many, or too many bytes.
    """
    if not rows:
        raise ConfigurationError("A batch needs at least one input")
    if rows > MOST_ROWS:
        raise ConfigurationError(f"A batch has at most {MOST_ROWS:,} rows, got {rows:,}; split it")
    if size > MOST_BYTES:
        raise ConfigurationError(
            f"A batch has at most {MOST_BYTES:,} bytes, got {size:,}; split it"
        )


# --- What comes back -------------------------------------------------------------------------


def read_lines(content: bytes) -> Iterator[JSONObject]:
    """Yield the rows of a file of results; a line that cannot be read is left out."""
    for line in content.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def to_results(
    lines: Iterable[JSONObject], status: BatchStatus, rows: int | None, model: str
) -> list[AIMessage | AI21Error]:
    """Put the rows of the results into the order of the inputs.

    Args:
        lines: The rows, errors first.
        status: The batch.
        rows: The number of inputs, if it is known.
        model: The model that was asked: AI21's answers name none.

    Returns:
        For each input its answer, or the error that it has instead.

    Raises:
        ResponseFormatError: The rows are not named as `to_lines` names them.
        APIError: The batch has failed as a whole, and nobody knows how many inputs it had.
    """
    found = {_place(line): line for line in lines}
    total = rows or max(status.request_counts.total, *(place + 1 for place in found), 0)
    if not total:
        raise APIError(f"Batch {status.id} is {status.status} and has no rows. Submit it again")
    return [_result(place, found.get(place), status, model) for place in range(total)]


def _place(line: JSONObject) -> int:
    name = line.get("custom_id")
    ours = _OURS.fullmatch(name) if isinstance(name, str) else None
    if ours is None:
        raise ResponseFormatError(
            f"The results have a row with custom_id {name!r}, which was not made here: read them "
            "with AI21Batch.lines()"
        )
    return int(ours[1])


def _result(
    place: int, line: JSONObject | None, status: BatchStatus, model: str
) -> AIMessage | AI21Error:
    row = f"row {place} of batch {status.id}"
    if line is None:
        return APIError(
            f"There is no answer to {row}, which is {status.status}. Submit this input again"
        )
    code, body = _response(line)
    if code is None or code < 300:
        try:
            completion = _protocol.read_completion(json.dumps(body).encode(), row)
        except ResponseFormatError as error:
            return _without_status(line, row) or error
        message = generations(completion, model)[0].message
        assert isinstance(message, AIMessage)
        return message
    said = b"" if body is None else json.dumps(body).encode()
    return _protocol.error_from_response(row, code, {}, said, model)


def _response(line: JSONObject) -> tuple[int | None, object]:
    """Return the status of a row's response, and its body."""
    response = line.get("response")
    if not isinstance(response, Mapping):
        return None, line.get("body", line)
    code = response.get("status_code")
    body = response.get("body", response)
    return code if type(code) is int else None, body or line.get("error")


def _without_status(line: JSONObject, row: str) -> APIError | None:
    words = _protocol.error_detail(line.get("error")) or _protocol.error_detail(_response(line)[1])
    if not words:
        return None
    return APIError(
        f"The server could not do {row}: {_protocol.quote(words)}", body=line, detail=words
    )
