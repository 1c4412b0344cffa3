"""Maestro's runs: the request, what to ask until a run has ended, and the message from it. Pure.

AI21 describes them in its API reference (Maestro, runs; Assistants, run). A run is created by one
request and then looked at until it has ended, which takes from seconds to minutes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.content import Citation, create_citation
from pydantic import AliasChoices, BeforeValidator, Field, SkipValidation

from ai21_chains import _options
from ai21_chains._maestro_tools import Language, Requirements, Tools
from ai21_chains._messages import PROVIDER, to_wire
from ai21_chains._protocol import not_as_expected, quote
from ai21_chains._request import json_schema
from ai21_chains._wire import JSONObject
from ai21_chains._wire_parts import usage_metadata
from ai21_chains._work import Ask, Pace, Steps
from ai21_chains.client import AI21Client, Timeout, path
from ai21_chains.errors import (
    APIError,
    APITimeoutError,
    ConfigurationError,
    RunFailedError,
)

logger = logging.getLogger("ai21_chains")

RUNS = path("maestro", "runs")

LONGEST_LOOK = 30.0
"""Seconds for one look at a run: it is a small answer, so a slow one is better asked for again."""

UNNAMED = "maestro"
"""The model's name in messages and traces when none was chosen."""


# --- Options ---------------------------------------------------------------------------------


def _as_list(given: object) -> object:
    return [given] if isinstance(given, str) else given


def _as_schema(given: Any) -> object:
    if given is None:
        return None
    # JSON schema knows more types than the objects that tools are called with.
    if isinstance(given, Mapping) and given.get("type") in _SCHEMA_TYPES:
        return dict(given)
    return json_schema(given, "Input")


_SCHEMA_TYPES = ("object", "array", "string", "integer", "number", "boolean")
_MODEL_NAMES = AliasChoices("models", "model")

Models: TypeAlias = Annotated[
    Annotated[list[_options.Model], Field(min_length=1)] | str | None,
    BeforeValidator(_as_list),
    Field(validation_alias=_MODEL_NAMES),
]
Budget = Literal["low", "medium", "high"]
Include = Sequence[Literal["data_sources", "requirements_result"]]
Identity: TypeAlias = Annotated[str, Field(min_length=1)]
OutputType: TypeAlias = Annotated[
    JSONObject | type | None, SkipValidation, BeforeValidator(_as_schema)
]
Seconds: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False), _options._Number]


class MaestroOptions(_options.TransportOptions, total=False):
    """What can be set for a single call; each has the meaning that it has in the constructor."""

    models: Models
    agent_id: Identity | None
    system_prompt: str | None
    requirements: Requirements | None
    tools: Tools | None
    budget: Budget | None
    include: Include | None
    output_type: OutputType
    response_language: Language | None
    stop: _options.Stop | None
    max_tokens: _options.MaxTokens | None
    poll_interval_sec: Seconds
    poll_timeout_sec: Seconds
    model_kwargs: dict[str, Any]
    # Read by LangChain, which passes it on all the same.
    stream: bool


# --- The request -----------------------------------------------------------------------------

_OF_RUNS = ("models", "requirements", "tools", "budget", "max_tokens")
"""Fields that an agent has of its own."""

_OF_BOTH = ("system_prompt", "include", "output_type", "response_language")
_SET_HERE = frozenset({"input", "stream", *_OF_RUNS, *_OF_BOTH})


def build(messages: Sequence[BaseMessage], options: MaestroOptions) -> tuple[str, JSONObject]:
    """Return the path and the body of the request that starts a run; only what is set is in it.

    Args:
        messages: The conversation.
        options: What was asked for, checked.

    Raises:
        ConfigurationError: The messages or options cannot be sent to Maestro.
    """
    agent_id = options.get("agent_id")
    extra = options.get("model_kwargs") or {}
    _check_together(options, extra)
    instructions, turns = _divided(messages)
    fields = {name: _written(options.get(name)) for name in (*_OF_RUNS, *_OF_BOTH)}
    fields["system_prompt"] = "\n\n".join(filter(None, [fields["system_prompt"], *instructions]))
    fields["include"] = _included(options)
    body = {"input": turns, **{k: v for k, v in fields.items() if v not in (None, "", [])}}
    return path("assistants", agent_id, "run") if agent_id else RUNS, {**body, **extra}


def _check_together(options: MaestroOptions, extra: Mapping[str, Any]) -> None:
    for name in _OF_RUNS if options.get("agent_id") else ():
        if options.get(name):
            raise ConfigurationError(
                f"ChatMaestro: {name} does not go with agent_id: an agent has its own"
            )
    for name in extra:
        if name in _SET_HERE:
            raise ConfigurationError(f"model_kwargs holds {name!r}, which ChatMaestro sets itself")


def _written(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [one if isinstance(one, str) else one.to_wire() for one in value]
    return value


def _divided(messages: Sequence[BaseMessage]) -> tuple[list[str], list[JSONObject]]:
    """Return the instructions among the messages, and the turns of the conversation."""
    instructions: list[str] = []
    turns: list[JSONObject] = []
    for message in to_wire(messages):
        if message["role"] == "tool" or message.get("tool_calls"):
            raise ConfigurationError(
                "Maestro runs its tools itself and reads no calls of others: leave messages with "
                "tool calls, and the tools' answers, out"
            )
        if message["role"] == "system":
            instructions.append(message["content"])
        else:
            turns.append({"role": message["role"], "content": message["content"]})
    if not turns:
        raise ConfigurationError("messages holds instructions only: there is nothing to answer")
    return instructions, turns


def _included(options: MaestroOptions) -> list[str]:
    given = options.get("include")
    if given is not None:
        return list(given)
    agent = options.get("agent_id")
    sources = ["data_sources"] if options.get("tools") or agent else []
    scores = ["requirements_result"] if options.get("requirements") or agent else []
    return sources + scores


# --- The run ---------------------------------------------------------------------------------


def start(messages: Sequence[BaseMessage], options: MaestroOptions) -> Steps[JSONObject]:
    """Start a run, and return it as the server shows it.

    Args:
        messages: The conversation.
        options: What was asked for, checked.

    Raises:
        ConfigurationError: The messages or options cannot be sent to Maestro.
        ResponseFormatError: The answer is no run.
        RunFailedError: The run ended at once, without a result.
    """
    where, body = build(messages, options)
    run = _read((yield Ask("POST", where, {"json": body})), None, options)
    logger.info("Maestro run %s has started", run["id"])
    return run


def finish(
    run_id: str, options: MaestroOptions, seen: JSONObject | None = None
) -> Steps[AIMessage]:
    """Look at a run until it has ended, and return its answer.

    Args:
        run_id: The run.
        options: What was asked for, checked.
        seen: The run as it was seen last, if it was.

    Raises:
        APITimeoutError: Time is up; the run goes on.
        ResponseFormatError: An answer is no run.
        RunFailedError: The run ended without a result.
    """
    pace = Pace(options["poll_interval_sec"], options["poll_timeout_sec"])
    times = pace.times()
    run = seen or (yield from _look(run_id, options))
    while run["status"] != "completed":
        pause = next(times, None)
        if pause is None:
            late = APITimeoutError(
                f"Maestro run {run_id} is {run['status']} after {pace.poll_timeout_sec:g} s, and "
                f"goes on. {_again(run_id)}, and raise poll_timeout_sec"
            )
            raise _about(run_id, late)
        yield pause
        run = yield from _look(run_id, options)
    stops = options.get("stop") or []
    model = (options.get("models") or [UNNAMED])[0]
    return to_message(run, model, [stops] if isinstance(stops, str) else stops)


def impatient(client: AI21Client) -> AI21Client:
    """Return what looks at runs: a client that asks again rather than wait long for one look."""
    given = client.timeout
    own = client.http_client is not None or client.http_async_client is not None
    if isinstance(given, Timeout) or (given is None and own):
        return client
    return replace(client, timeout=min(given or LONGEST_LOOK, LONGEST_LOOK))


def _look(run_id: str, options: MaestroOptions) -> Steps[JSONObject]:
    try:
        answer = yield Ask("GET", path("maestro", "runs", run_id))
    except APIError as error:
        error.args = (f"{error}. {_again(run_id)}",)
        _about(run_id, error)
        raise
    return _read(answer, run_id, options)


def _read(answer: Any, run_id: str | None, options: MaestroOptions) -> JSONObject:
    if not (isinstance(answer, dict) and answer.get("id") and "status" in answer):
        raise _about(run_id, not_as_expected(options["base_url"] + RUNS, "it is no Maestro run"))
    if answer["status"] in ("failed", "requires_action"):
        raise _about(str(answer["id"]), _failure(answer))
    return answer


def _failure(run: JSONObject) -> RunFailedError:
    error = run.get("error")
    detail = str(error.get("message") or "") if isinstance(error, Mapping) else ""
    if run["status"] == "failed":
        said = quote(detail).rstrip(".") or "the server does not say why"
        what = f"failed: {said}. Invoke the model again to start another run"
    else:
        what = (
            "waits for an action (requires_action), for which AI21's API has no endpoint. Leave"
            " out the tool that asks for it, or go on in AI21 Studio"
        )
    return RunFailedError(f"Maestro run {run['id']} {what}", body=run, detail=detail)


def _again(run_id: str) -> str:
    return f"Look at the run again with ChatMaestro.resume({run_id!r})"


def _about(run_id: str | None, error: APIError) -> APIError:
    error.run_id = run_id
    # Who tries again would start a second run and pay for it.
    error.is_retryable = False
    return error


# --- The message -----------------------------------------------------------------------------


def to_message(run: Mapping[str, Any], model: str, stops: Iterable[str] = ()) -> AIMessage:
    """Convert a run that has ended to a message.

    What the answer rests on is in `additional_kwargs["citations"]`, from where LangChain's
    `content_blocks` have it as annotations of the text.

    Args:
        run: The run.
        model: The model that was asked for.
        stops: Texts that end the answer: Maestro knows none, so it is cut here.
    """
    result = run.get("result")
    if isinstance(result, str):
        for stop in stops:
            result = result.split(stop, 1)[0]
    elif result is not None:
        result = json.dumps(result, ensure_ascii=False)
    known = {name: run[name] for name in ("data_sources", "requirements_result") if run.get(name)}
    citations = list(_citations(run.get("data_sources")))
    return AIMessage(
        content=result or "",
        id=str(run["id"]),
        additional_kwargs={"citations": citations} if citations else {},
        response_metadata={
            "model_provider": PROVIDER,
            "model_name": model,
            "id": str(run["id"]),
            "status": run["status"],
            **known,
        },
        usage_metadata=usage_metadata(run.get("usage")),
    )


def _citations(sources: object) -> Iterator[Citation]:
    for found in _found(sources, "file_search"):
        place = {
            "document_id": found.get("file_id"),
            "source": found.get("file_name"),
            "order": found.get("order"),
        }
        yield _citation(found, place, title=found.get("file_name"))
    for found in _found(sources, "web_search"):
        yield _citation(found, {"source": found.get("url")}, url=found.get("url"))


def _found(sources: object, kind: str) -> list[Mapping[str, Any]]:
    found = sources.get(kind) if isinstance(sources, Mapping) else None
    return [one for one in found or () if isinstance(one, Mapping)]


def _citation(found: Mapping[str, Any], place: Mapping[str, Any], **fields: Any) -> Citation:
    extras = {**place, "score": found.get("score")}
    known: Any = {name: value for name, value in extras.items() if value is not None}
    return create_citation(cited_text=found.get("text"), **fields, **known)
