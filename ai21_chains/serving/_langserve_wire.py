"""LangServe's wire format: what its clients send, and what they can read.

A failure says more than LangServe's: it keeps the status of its cause, and what the client can do.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, Field, RootModel, ValidationError
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python
from starlette.exceptions import HTTPException

from ai21_chains.errors import AI21Error, ConfigurationError, MissingAPIKeyError, MissingExtraError
from ai21_chains.serving._openai_errors import error_reply

_log = logging.getLogger(__name__)

Place = tuple[int | str, ...]


class Unprocessable(AI21Error):
    """A request that does not have the form it should have.

    Attributes:
        detail: The problems, as FastAPI lists them.
    """

    def __init__(self, detail: list[dict[str, Any]]) -> None:
        places = (".".join(map(str, problem["loc"])) for problem in detail)
        pairs = zip(places, detail, strict=True)
        super().__init__("; ".join(f"{place}: {problem['msg']}" for place, problem in pairs))
        self.detail = detail

    @classmethod
    def at(cls, place: Place, message: str, kind: str = "value_error") -> Unprocessable:
        """Return the error for one problem."""
        return cls([{"type": kind, "loc": list(place), "msg": message}])


class RowError(AI21Error):
    """What failed in one row of a batch is the error's cause.

    Attributes:
        index: The row, counted from 0.
        error: The cause.
    """

    def __init__(self, index: int, error: Exception) -> None:
        super().__init__(f"inputs[{index}]: {error}")
        self.index = index
        self.error = error


# --- Requests --------------------------------------------------------------------------------


class _Request(BaseModel):
    kwargs: dict[str, Any] = Field(default_factory=dict, max_length=0)


class Invocation(_Request):
    """The body of `/invoke` and `/stream`."""

    input: Any
    config: dict[str, Any] | None = None


class Batch(_Request):
    """The body of `/batch`; `return_exceptions` is not LangServe's."""

    inputs: list[Any]
    config: dict[str, Any] | list[dict[str, Any]] | None = None
    return_exceptions: bool = False

    def configs(self) -> Sequence[Mapping[str, Any] | None]:
        """Return the configuration of each row."""
        if not isinstance(self.config, list):
            return [self.config] * len(self.inputs)
        if len(self.config) != len(self.inputs):
            raise Unprocessable.at(
                ("body", "config"),
                f"There are {len(self.config)} configs for {len(self.inputs)} inputs",
            )
        return self.config


Body = TypeVar("Body", bound=_Request)


def read_body(form: type[Body], body: bytes) -> Body:
    """Read the body of a request.

    Raises:
        Unprocessable: It is not JSON, or not of this form.
    """
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        raise Unprocessable(problems(error, ("body",))) from None


def read_value(form: type[BaseModel], value: Any, place: Place) -> Any:
    """Check the input of a chain against its type, and return it as the chain takes it.

    Args:
        form: The chain's input type.
        value: The input, as it came.
        place: Where it stands in the body.

    Raises:
        Unprocessable: It does not fit.
    """
    try:
        read = form.model_validate(value)
    except ValidationError as error:
        raise Unprocessable(problems(error, place)) from None
    except (TypeError, KeyError) as error:
        # LangChain's message types answer so to a message without a type.
        raise Unprocessable.at(place, " ".join(str(error).split())) from None
    if isinstance(read, RootModel):
        return read.root
    return {name: getattr(read, name) for name in form.model_fields}


def problems(error: ValidationError, place: Place) -> list[dict[str, Any]]:
    """Return what a validation found, as FastAPI lists it; `place` is where it looked."""
    # Without what the client sent: it knows, and it may be long.
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [{**problem, "loc": [*place, *problem["loc"]]} for problem in found]


# --- Answers ---------------------------------------------------------------------------------


def dump(value: Any) -> bytes:
    """Write a value as JSON; LangChain's objects as the dicts that its clients revive."""
    try:
        return to_json(value, inf_nan_mode="null")
    except PydanticSerializationError:
        # Half a surrogate pair, from a broken file name for one, is no text.
        plain = to_jsonable_python(value, inf_nan_mode="null")
        return json.dumps(plain, ensure_ascii=False).encode(errors="replace")


def dump_line(value: Any) -> bytes:
    """Write a value as JSON in which nobody sees the end of a line.

    httpx, and so LangServe's client, takes more characters for one than the standard of
    server-sent events does.
    """
    line = dump(value)
    for mark, escaped in _LINE_ENDS:
        if mark in line:
            line = line.replace(mark, escaped)
    return line


def event(name: str, data: Any = ...) -> bytes:
    """Write a server-sent event; without data its last line is missing, as in LangServe's "end"."""
    if data is ...:
        return b"event: %s\n\n" % name.encode()
    return b"event: %s\ndata: %s\n\n" % (name.encode(), dump_line(data))


_LINE_ENDS = [(mark.encode(), b"\\u%04x" % ord(mark)) for mark in "\x85\u2028\u2029"]


class Failure(NamedTuple):
    """What is said about an error.

    Attributes:
        status: HTTP status.
        headers: `retry-after`, if there is something to wait for.
        detail: One line, or FastAPI's list of problems.
        message: One line.
    """

    status: int
    headers: Mapping[str, str]
    detail: str | list[dict[str, Any]]
    message: str

    def as_data(self) -> dict[str, Any]:
        """Return the data of an `error` event, or of a failed row."""
        said: dict[str, Any] = {"status_code": self.status, "message": self.message}
        wait = self.headers.get("retry-after")
        return said | {"retry_after": int(wait)} if wait else said


def failure(error: BaseException, place: Place = ("body", "input")) -> Failure:
    """Say what went wrong, and nothing of what is the server's own business.

    Args:
        error: What was raised.
        place: Where in the body the input stands.
    """
    if isinstance(error, RowError):
        said = failure(error.error, ("body", "inputs", error.index))
        message = f"inputs[{error.index}]: {said.message}"
        return said._replace(detail=message) if isinstance(said.detail, str) else said
    if is_bad_input(error):
        # The form was right, and the chain can do nothing with it: no documents, say.
        error = Unprocessable.at(place, str(error))
    if isinstance(error, Unprocessable):
        return Failure(422, {}, error.detail, str(error))
    # A value that pydantic refuses inside a chain is none that the client sent.
    known = isinstance(error, AI21Error | HTTPException | TimeoutError)
    reply = error_reply(error if known else RuntimeError())
    message = reply.body["error"]["message"]
    return Failure(reply.status, reply.headers, message, message)


def noted(error: BaseException) -> Failure:
    """Say what went wrong; the log has more, unless it is the client's fault."""
    said = failure(error)
    if said.status >= 500:
        cause = error.error if isinstance(error, RowError) else error
        unexpected = None if isinstance(cause, AI21Error) else cause
        _log.error("A chain failed: %s", cause, exc_info=unexpected)
    return said


def is_bad_input(error: BaseException) -> bool:
    """Say whether an error is about what a chain was called with."""
    own = MissingAPIKeyError | MissingExtraError
    return isinstance(error, ConfigurationError) and not isinstance(error, own)
