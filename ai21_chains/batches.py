"""Many chat requests as one batch, which AI21 works off within hours (AI21 docs, Batch API).

What is sent and what comes back is described in `_batches`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, TypeAlias, cast

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableBinding
from typing_extensions import Unpack

from ai21_chains import _retry
from ai21_chains._batches import (
    ENDPOINT,
    BatchStatus,
    RequestCounts,
    check_lines,
    check_size,
    read_lines,
    read_status,
    to_lines,
    to_results,
)
from ai21_chains._component import client_for
from ai21_chains._options import CallOptions
from ai21_chains._request import build
from ai21_chains._wire import ChatRequest, JSONObject
from ai21_chains._work import Ask, Pace, Steps, arun, run
from ai21_chains.chat_models import ChatAI21
from ai21_chains.client import AI21Client, RequestOptions, path
from ai21_chains.errors import (
    AI21Error,
    APIError,
    APITimeoutError,
    ConfigurationError,
    NotFoundError,
)

__all__ = [
    "AI21Batch",
    "BatchStatus",
    "RequestCounts",
    "abatch_invoke",
    "batch_invoke",
]

logger = logging.getLogger("ai21_chains")

Model: TypeAlias = Runnable[LanguageModelInput, AIMessage]
"""A `ChatAI21`, also with options or tools that are bound to it."""

Progress: TypeAlias = Callable[[BatchStatus], None]
"""Called with the batch each time it has been looked at."""

_DAY = 86_400.0
_BATCHES = path("batches")


def batch_invoke(
    model: Model,
    inputs: Iterable[LanguageModelInput],
    /,
    *,
    return_exceptions: bool = True,
    poll_interval_sec: float = 10.0,
    poll_timeout_sec: float = _DAY,
    progress: Progress | None = None,
    **options: Any,
) -> list[AIMessage | AI21Error]:
    """Answer many inputs in one batch (`POST /batches`), and wait for it.

    It takes what `model.batch` takes, and returns the answers in the inputs' order. A row that
    fails costs no other one: its error stands in the place of its answer. So it is with the rows
    that are not done when the batch expires or is cancelled.

    Starting a batch is not repeated where the server may have got it. Once it has started, an error
    names its id, and `AI21Batch(model, id).results()` goes on from there, in any process.
    Callbacks and caches see nothing of the rows.

    Args:
        model: A `ChatAI21`, also with options or tools that are bound to it.
        inputs: What is to be answered: texts, lists of messages, or prompts.
        return_exceptions: Whether errors are put in their rows' places. False raises the first one.
        poll_interval_sec: Seconds before the second look at the batch. Below 10 s, each wait is
            half as long again as the one before it, up to that.
        poll_timeout_sec: Seconds after which to give up waiting; the batch goes on.
        progress: Called with the batch when it has started, and each time it is looked at.
        **options: Options of the model for all rows, such as `temperature`.

    Raises:
        ConfigurationError: An input or an option cannot be sent; nothing was.
        APITimeoutError: The batch has not ended in time.
        APIError: The batch could not be started or looked at, or has failed as a whole.

    Example:
        >>> from ai21_chains import ChatAI21
        >>> from ai21_chains.batches import batch_invoke
        >>> answers = batch_invoke(ChatAI21(), ["Hi", "Bye"], temperature=0)  # doctest: +SKIP
        >>> [getattr(answer, "content", answer) for answer in answers]  # doctest: +SKIP
        ['Hello!', 'Goodbye!']
    """
    Pace(poll_interval_sec, poll_timeout_sec).checked("batch_invoke")
    return AI21Batch.submit(model, inputs, **options).results(
        return_exceptions=return_exceptions,
        poll_interval_sec=poll_interval_sec,
        poll_timeout_sec=poll_timeout_sec,
        progress=progress,
    )


async def abatch_invoke(
    model: Model,
    inputs: Iterable[LanguageModelInput],
    /,
    *,
    return_exceptions: bool = True,
    poll_interval_sec: float = 10.0,
    poll_timeout_sec: float = _DAY,
    progress: Progress | None = None,
    **options: Any,
) -> list[AIMessage | AI21Error]:
    """Async form of `batch_invoke`."""
    Pace(poll_interval_sec, poll_timeout_sec).checked("abatch_invoke")
    batch = await AI21Batch.asubmit(model, inputs, **options)
    return await batch.aresults(
        return_exceptions=return_exceptions,
        poll_interval_sec=poll_interval_sec,
        poll_timeout_sec=poll_timeout_sec,
        progress=progress,
    )


@dataclass(frozen=True)
class AI21Batch:
    """A batch on AI21's side, known by its id: one just submitted, or one of another process.

    Each method has an async form, whose name begins with an `a`; but `submit_lines` and `lines`,
    which are for files that somebody else has written, have none.

    Example:
        >>> from ai21_chains import ChatAI21
        >>> from ai21_chains.batches import AI21Batch
        >>> model = ChatAI21(model="jamba-mini")
        >>> batch = AI21Batch.submit(model, ["Hi", "Bye"])  # doctest: +SKIP
        >>> AI21Batch(model, "b-5b0c…").results()  # the next day  # doctest: +SKIP
        [AIMessage(content='Hello!', …), AIMessage(content='Goodbye!', …)]

    Attributes:
        model: The model that was asked; its settings say how the server is reached.
        id: The batch's id.
        rows: The number of inputs. Default: what the server says.
    """

    model: Model
    id: str
    rows: int | None = None

    @property
    def client(self) -> AI21Client:
        """What sends the requests."""
        return client_for(_asked(self.model))

    @classmethod
    def submit(cls, model: Model, inputs: Iterable[LanguageModelInput], /, **options: Any) -> Self:
        """Start a batch, and do not wait for it.

        Args:
            model: As for `batch_invoke`.
            inputs: As for `batch_invoke`.
            **options: As for `batch_invoke`.

        Raises:
            ConfigurationError: An input or an option cannot be sent; nothing was.
            APIError: The batch was not started, or the connection broke. If it may have been
                started all the same, the message says what to look for.
        """
        ready = _prepared(model, inputs, options)
        return cls._of(ready, run(ready.client, _create(ready.content)))

    @classmethod
    async def asubmit(
        cls, model: Model, inputs: Iterable[LanguageModelInput], /, **options: Any
    ) -> Self:
        """Async form of `submit`; the rows are made on a thread."""
        ready = await asyncio.to_thread(_prepared, model, inputs, options)
        return cls._of(ready, await arun(ready.client, _create(ready.content)))

    @classmethod
    def submit_lines(cls, model: Model, content: bytes) -> Self:
        """Start a batch from a file in AI21's form; read its results with `lines`.

        Args:
            model: Its settings say how the server is reached; the rows name their own models.
            content: JSON Lines with `custom_id`, `method`, `url` and `body`.

        Raises:
            ConfigurationError: A line is no request; nothing was sent.
            APIError: As with `submit`.
        """
        ready = _Ready(model, client_for(_asked(model)), content, check_lines(content))
        return cls._of(ready, run(ready.client, _create(content)))

    @classmethod
    def recent(cls, model: Model, limit: int = 20) -> list[BatchStatus]:
        """Return the newest batches (`GET /batches`), to find one whose id was lost.

        Args:
            model: Its settings say how the server is reached.
            limit: How many, from 1 to 100.

        Raises:
            APIError: No usable answer came back.
        """
        return run(client_for(_asked(model)), _recent(limit))

    @classmethod
    async def arecent(cls, model: Model, limit: int = 20) -> list[BatchStatus]:
        """Async form of `recent`."""
        return await arun(client_for(_asked(model)), _recent(limit))

    def status(self) -> BatchStatus:
        """Look at the batch (`GET /batches/{id}`).

        Raises:
            NotFoundError: There is no such batch.
            APIError: No usable answer came back.
        """
        return run(self.client, self._look())

    async def astatus(self) -> BatchStatus:
        """Async form of `status`."""
        return await arun(self.client, self._look())

    def cancel(self) -> None:
        """Have no more rows done (`POST /batches/{id}/cancel`). Those that are done stay.

        Raises:
            NotFoundError: There is no such batch.
            APIError: No usable answer came back.
        """
        # Doing it twice does no harm.
        run(self.client, self._ask("POST", "cancel", idempotent=True))

    async def acancel(self) -> None:
        """Async form of `cancel`."""
        await arun(self.client, self._ask("POST", "cancel", idempotent=True))

    def results(
        self,
        *,
        return_exceptions: bool = True,
        poll_interval_sec: float = 10.0,
        poll_timeout_sec: float = _DAY,
        progress: Progress | None = None,
    ) -> list[AIMessage | AI21Error]:
        """Wait for the end of the batch, and return the answers in the inputs' order.

        Args:
            return_exceptions: As for `batch_invoke`.
            poll_interval_sec: As for `batch_invoke`.
            poll_timeout_sec: As for `batch_invoke`.
            progress: As for `batch_invoke`.

        Raises:
            ResponseFormatError: The batch was made otherwise: its rows are not named as ours are.
            APITimeoutError: The batch has not ended in time.
            APIError: No usable answer came back, or the batch has failed as a whole.
        """
        pace = Pace(poll_interval_sec, poll_timeout_sec).checked("results")
        status, files = run(self.client, self._files(pace, progress))
        return self._read(status, files, return_exceptions)

    async def aresults(
        self,
        *,
        return_exceptions: bool = True,
        poll_interval_sec: float = 10.0,
        poll_timeout_sec: float = _DAY,
        progress: Progress | None = None,
    ) -> list[AIMessage | AI21Error]:
        """Async form of `results`; the rows are read on a thread."""
        pace = Pace(poll_interval_sec, poll_timeout_sec).checked("aresults")
        status, files = await arun(self.client, self._files(pace, progress))
        return await asyncio.to_thread(self._read, status, files, return_exceptions)

    def lines(
        self,
        *,
        poll_interval_sec: float = 10.0,
        poll_timeout_sec: float = _DAY,
        progress: Progress | None = None,
    ) -> list[JSONObject]:
        """Wait for the end of the batch, and return the rows of its results as AI21 writes them.

        Args:
            poll_interval_sec: As for `batch_invoke`.
            poll_timeout_sec: As for `batch_invoke`.
            progress: As for `batch_invoke`.

        Raises:
            APITimeoutError: The batch has not ended in time.
            APIError: No usable answer came back.
        """
        pace = Pace(poll_interval_sec, poll_timeout_sec).checked("lines")
        _, files = run(self.client, self._files(pace, progress))
        return [row for content in files for row in read_lines(content)]

    # --- What is asked, for blocking and for async code --------------------------------------

    @classmethod
    def _of(cls, ready: _Ready, status: BatchStatus) -> Self:
        logger.info("Batch %s has started", status.id)
        return cls(ready.model, status.id, ready.rows)

    def _ask(self, method: str, *parts: str, **options: Unpack[RequestOptions]) -> Steps[Any]:
        try:
            answer = yield Ask(method, path("batches", self.id, *parts), options)
        except NotFoundError:
            raise
        except APIError as error:
            error.args = (f"{error}. The batch is not lost: AI21Batch(model, {self.id!r})",)
            raise
        return answer

    def _look(self) -> Steps[BatchStatus]:
        return read_status((yield from self._ask("GET")), f"GET {_BATCHES}/{self.id}")

    def _files(
        self, pace: Pace, progress: Progress | None
    ) -> Steps[tuple[BatchStatus, list[bytes]]]:
        """Wait for the end; errors come first, so that an answer to the same row goes before."""
        status = yield from self._wait(pace, progress)
        counts = status.request_counts
        errors = yield from self._file("error", status, status.error_file, counts.failed)
        answers = yield from self._file("output", status, status.output_file, counts.completed)
        return status, [errors, answers]

    def _wait(self, pace: Pace, progress: Progress | None) -> Steps[BatchStatus]:
        times = pace.times()
        while True:
            status = yield from self._look()
            if progress:
                progress(status)
            if status.has_ended:
                return status
            pause = next(times, None)
            if pause is None:
                raise APITimeoutError(
                    f"{status}. It has not ended after {pace.poll_timeout_sec:g} s, and goes on: "
                    f"get its answers with AI21Batch(model, {self.id!r}).results(), or raise "
                    "poll_timeout_sec"
                )
            yield pause

    def _file(self, kind: str, status: BatchStatus, name: str | None, rows: int) -> Steps[bytes]:
        if status.request_counts.total and not (name or rows):
            return b""
        # What was done before a batch came to another end is there for those who insist.
        params = {"file_type": kind, "force": None if status.status == "COMPLETED" else True}
        try:
            content: bytes = yield from self._ask("GET", "results", params=params, as_bytes=True)
        except NotFoundError:
            return b""
        return content

    def _read(
        self, status: BatchStatus, files: list[bytes], return_exceptions: bool
    ) -> list[AIMessage | AI21Error]:
        rows = (row for content in files for row in read_lines(content))
        results = to_results(rows, status, self.rows, _asked(self.model)["model"])
        failed = (result for result in results if isinstance(result, AI21Error))
        if not return_exceptions and (error := next(failed, None)):
            kept = f"The other rows are kept: AI21Batch(model, {self.id!r}).results()"
            error.args = (f"{error}. {kept}",)
            raise error
        return results


class _Ready(NamedTuple):
    """A batch that can be sent."""

    model: Model
    client: AI21Client
    content: bytes
    rows: int


def _prepared(
    model: Model, inputs: Iterable[LanguageModelInput], options: Mapping[str, Any]
) -> _Ready:
    model = model.bind(**options) if options else model
    asked = _asked(model)
    bodies = _bodies(model, inputs, asked)
    return _Ready(model, client_for(asked), to_lines(bodies), len(bodies))


def _create(content: bytes) -> Steps[BatchStatus]:
    file = ("batch.jsonl", content, "application/jsonl")
    try:
        answer = yield Ask(
            "POST", _BATCHES, {"files": {"file": file}, "fields": {"endpoint": ENDPOINT}}
        )
    except APIError as error:
        if _retry.should_retry(error) and not _retry.surely_not_done(error):
            error.args = (f"{error} (with AI21Batch.recent(model))",)
        raise
    return read_status(answer, f"POST {_BATCHES}")


def _recent(limit: int) -> Steps[list[BatchStatus]]:
    if not 1 <= limit <= 100:
        raise ConfigurationError(f"recent: limit should be from 1 to 100, got {limit}")
    answer = yield Ask("GET", _BATCHES, {"params": {"limit": limit}})
    return [read_status(one, f"GET {_BATCHES}") for one in answer or ()]


def _asked(model: Model) -> CallOptions:
    """Return a model's options, with those that are bound to it."""
    return cast(CallOptions, _unbound(model)._asked(_bound_to(model)))


def _unbound(model: Model) -> ChatAI21:
    while isinstance(model, RunnableBinding):
        model = model.bound
    if not isinstance(model, ChatAI21):
        raise ConfigurationError(
            f"A batch needs a ChatAI21, perhaps with bind or bind_tools, not {type(model).__name__}"
        )
    return model


def _bound_to(model: Model) -> dict[str, Any]:
    if not isinstance(model, RunnableBinding):
        return {}
    return {**_bound_to(model.bound), **model.kwargs}


def _bodies(
    model: Model, inputs: Iterable[LanguageModelInput], asked: CallOptions
) -> list[ChatRequest]:
    if isinstance(inputs, str | Mapping) or not isinstance(inputs, Iterable):
        raise ConfigurationError("inputs should be a list of inputs: [input]")
    read = _unbound(model)._convert_input
    given = list(inputs)
    check_size(len(given))
    bodies = []
    for place, each in enumerate(given):
        try:
            bodies.append(build(read(each).to_messages(), asked))
        except ConfigurationError as error:
            error.args = (f"inputs[{place}]: {error}",)
            raise
        except (TypeError, ValueError, NotImplementedError) as error:
            problem, _, _ = str(error).partition("\n")
            raise ConfigurationError(f"inputs[{place}] is no input of a model: {problem}") from None
    return bodies
