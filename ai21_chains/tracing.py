"""OpenTelemetry spans of models, tools, retrievers and agents, as a callback handler to opt in.

The names are those of OpenTelemetry's semantic conventions for generative AI, as of November 2026:
https://github.com/open-telemetry/semantic-conventions-genai
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import ModelError
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import LLMResult

from ai21_chains._extras import import_extra
from ai21_chains._version import __version__

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

__all__ = ["OpenTelemetryCallbackHandler"]


@dataclass
class _Run:
    span: Span
    owner: UUID
    """The run that the span is of. Runs without a span of their own share that of their parent."""
    started: float
    agent: object = None
    """What tells the agent that the run is in from other agents."""
    streams: bool = False


class OpenTelemetryCallbackHandler(BaseCallbackHandler):
    """Writes a span for each call of a model, a tool, a retriever or an agent.

    A model's span is named `chat jamba-mini` and carries provider, model and settings of the
    request, the answer's id, finish reasons and tokens, and in a stream the seconds to its first
    chunk. Tools are `execute_tool <name>`, retrievers `retrieval <name>`, LangChain's agents
    `invoke_agent <name>`, and any other chain or graph, as a whole, `invoke_workflow <name>`: their
    steps get no spans. Spans nest as the runs do; the outermost is a child of the span that is
    current where it starts. None of them is made current. What is said stays out of them, unless it
    is asked for.

    One handler serves any number of calls at once, sync and async, and any LangChain model.

    Example:
        >>> from ai21_chains.tracing import OpenTelemetryCallbackHandler
        >>> spans = OpenTelemetryCallbackHandler()
        >>> config = {"callbacks": [spans]}  # of `invoke`, `stream`, `batch` and their async forms

    Args:
        tracer_provider: Where spans go. Default: the program's own, as set with OpenTelemetry.
        capture_content: Whether spans hold what is said: messages, definitions and arguments of
            tools, their results, searches and what they find, and the words of any error. Without
            it, only errors of a model's API have words.

    Raises:
        MissingExtraError: `opentelemetry-api` is not installed.
    """

    run_inline = True
    """In async code, too: so a span starts when its run does, inside the right parent."""

    def __init__(
        self, *, tracer_provider: TracerProvider | None = None, capture_content: bool = False
    ) -> None:
        self._trace = import_extra("opentelemetry.trace", type(self).__name__, "otel")
        self._tracer = self._trace.get_tracer(
            "ai21_chains", __version__, tracer_provider=tracer_provider
        )
        self._capture_content = capture_content
        self._runs: dict[UUID, _Run] = {}

    # --- Models ------------------------------------------------------------------------------

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Start the span of a chat model."""
        said = {"gen_ai.input.messages": [_message(message) for message in messages[0]]}
        self._start_model("chat", said, run_id, parent_run_id, kwargs)

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Start the span of a completion model."""
        parts = [{"type": "text", "content": prompts[0]}]
        said = {"gen_ai.input.messages": [{"role": "user", "parts": parts}]}
        self._start_model("text_completion", said, run_id, parent_run_id, kwargs)

    def on_llm_new_token(
        self, token: str | list[str | dict[str, Any]], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Note when the first chunk of a stream arrives."""
        self._first_chunk(run_id)

    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Note when the first event of a v3 stream arrives."""
        self._first_chunk(run_id)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a model."""
        said = {"gen_ai.output.messages": _output(response)} if self._capture_content else {}
        self._end(run_id, _answered(response) | _as_json(said))

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a model that failed."""
        self._end(run_id, error=error)

    # --- Tools and retrievers ----------------------------------------------------------------

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tool_call_id: str | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Start the span of a tool."""
        name = kwargs.get("name") or (serialized or {}).get("name") or "tool"
        attributes = {
            "gen_ai.tool.name": name,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.description": (serialized or {}).get("description"),
            "gen_ai.tool.call.id": tool_call_id,
        }
        if self._capture_content:
            given = input_str if inputs is None else inputs
            attributes |= _as_json({"gen_ai.tool.call.arguments": given})
        self._start("execute_tool", name, attributes, run_id, parent_run_id)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a tool."""
        result = output.content if isinstance(output, ToolMessage) else output
        said = {"gen_ai.tool.call.result": result} if self._capture_content else {}
        self._end(run_id, _as_json(said))

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a tool that failed."""
        self._end(run_id, error=error)

    def on_retriever_start(
        self,
        serialized: dict[str, Any],
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Start the span of a retriever."""
        said = {"gen_ai.retrieval.query.text": query} if self._capture_content else {}
        name = kwargs.get("name") or "retriever"
        self._start("retrieval", name, said, run_id, parent_run_id)

    def on_retriever_end(self, documents: Sequence[Any], *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a retriever."""
        found = [{"id": one.id, "content": one.page_content} for one in documents]
        said = {"gen_ai.retrieval.documents": found} if self._capture_content else {}
        self._end(run_id, _as_json(said))

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a retriever that failed."""
        self._end(run_id, error=error)

    # --- Chains, graphs and agents -----------------------------------------------------------

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Start a span where an agent or the outermost chain starts."""
        name = kwargs.get("name") or (serialized or {}).get("name") or "chain"
        parent = self._run(parent_run_id)
        agent = _agent(metadata or {})
        conversation = {"gen_ai.conversation.id": _conversation(metadata)}
        if agent and (parent is None or parent.agent != agent):
            named = {"gen_ai.agent.name": name} | conversation
            self._start("invoke_agent", name, named, run_id, parent_run_id, agent)
        elif parent is None:
            named = {"gen_ai.workflow.name": name} | conversation
            self._start("invoke_workflow", name, named, run_id, parent_run_id)
        else:
            self._runs[run_id] = parent

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a chain, if it has one."""
        self._end(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a chain that failed, if it has one."""
        self._end(run_id, error=error)

    # --- Spans -------------------------------------------------------------------------------

    def _run(self, run_id: UUID | None) -> _Run | None:
        return None if run_id is None else self._runs.get(run_id)

    def _start_model(
        self,
        operation: str,
        said: Mapping[str, Any],
        run_id: UUID,
        parent_run_id: UUID | None,
        told: Mapping[str, Any],
    ) -> None:
        attributes = _asked(told.get("metadata") or {}, told.get("invocation_params") or {})
        if self._capture_content:
            tools = (told.get("invocation_params") or {}).get("tools")
            attributes |= _as_json({**said, "gen_ai.tool.definitions": _definitions(tools)})
        name = attributes["gen_ai.request.model"] or ""
        self._start(operation, name, attributes, run_id, parent_run_id)

    def _start(
        self,
        operation: str,
        name: str,
        attributes: Mapping[str, Any],
        run_id: UUID,
        parent_run_id: UUID | None,
        agent: object = None,
    ) -> None:
        parent = self._run(parent_run_id)
        remote = operation in ("chat", "text_completion")
        known = {"gen_ai.operation.name": operation, **attributes}
        span = self._tracer.start_span(
            f"{operation} {name}".rstrip(),
            # None stands for what is current.
            context=self._trace.set_span_in_context(parent.span) if parent else None,
            kind=self._trace.SpanKind.CLIENT if remote else self._trace.SpanKind.INTERNAL,
            attributes={key: value for key, value in known.items() if value is not None},
        )
        agent = agent or (parent.agent if parent else None)
        self._runs[run_id] = _Run(span, run_id, time.perf_counter(), agent)

    def _first_chunk(self, run_id: UUID) -> None:
        run = self._run(run_id)
        if run and not run.streams:
            run.streams = True
            run.span.set_attribute("gen_ai.request.stream", True)
            waited = time.perf_counter() - run.started
            run.span.set_attribute("gen_ai.response.time_to_first_chunk", waited)

    def _end(
        self,
        run_id: UUID,
        attributes: Mapping[str, Any] | None = None,
        error: BaseException | None = None,
    ) -> None:
        run = self._runs.pop(run_id, None)
        if run is None or run.owner != run_id:
            return
        run.span.set_attributes({k: v for k, v in (attributes or {}).items() if v is not None})
        if error is not None and not _is_no_failure(error):
            kind = type(error)
            run.span.set_attribute("error.type", f"{kind.__module__}.{kind.__qualname__}")
            # A tool's error may repeat what was said; that of an API says what is wrong with it.
            tells = self._capture_content or isinstance(error, ModelError)
            run.span.set_status(self._trace.StatusCode.ERROR, str(error) if tells else None)
        run.span.end()


# --- What is written -------------------------------------------------------------------------


def _asked(metadata: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "gen_ai.provider.name": metadata.get("ls_provider") or "unknown",
        "gen_ai.request.model": metadata.get("ls_model_name") or params.get("model"),
        "gen_ai.request.temperature": metadata.get("ls_temperature"),
        "gen_ai.request.max_tokens": metadata.get("ls_max_tokens"),
        "gen_ai.request.stop_sequences": metadata.get("ls_stop"),
        "gen_ai.request.top_p": params.get("top_p"),
        "gen_ai.request.seed": params.get("seed"),
        "gen_ai.request.choice.count": params.get("n") if params.get("n") != 1 else None,
        "gen_ai.conversation.id": _conversation(metadata),
    }
    kind = params.get("response_format")
    if isinstance(kind, dict) and str(kind.get("type")).startswith("json"):
        attributes["gen_ai.output.type"] = "json"
    if isinstance(address := params.get("base_url"), str):
        url = urlsplit(address)
        attributes["server.address"] = url.hostname
        attributes["server.port"] = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return attributes


def _answered(response: LLMResult) -> dict[str, Any]:
    infos = [_info(generation) for generation in _generations(response)]
    first = infos[0] if infos else {}
    usage = first.get("usage_metadata") or {}
    reasons = [info.get("finish_reason") or info.get("stop_reason") for info in infos]
    details = usage.get("input_token_details") or {}
    return {
        "gen_ai.response.id": first.get("id"),
        "gen_ai.response.model": first.get("model_name") or first.get("model"),
        "gen_ai.response.finish_reasons": [reason for reason in reasons if reason] or None,
        "gen_ai.usage.input_tokens": usage.get("input_tokens"),
        "gen_ai.usage.output_tokens": usage.get("output_tokens"),
        "gen_ai.usage.cache_read.input_tokens": details.get("cache_read"),
    }


def _info(generation: Any) -> Mapping[str, Any]:
    message = getattr(generation, "message", None)
    if not isinstance(message, AIMessage):
        return generation.generation_info or {}
    return {**message.response_metadata, "usage_metadata": message.usage_metadata}


def _generations(response: LLMResult) -> Sequence[Any]:
    return response.generations[0] if response.generations else []


def _output(response: LLMResult) -> list[dict[str, Any]]:
    found = []
    for generation in _generations(response):
        message = getattr(generation, "message", None) or AIMessage(generation.text)
        reason = _info(generation).get("finish_reason") or "stop"
        found.append({**_message(message), "finish_reason": reason})
    return found


def _definitions(tools: Any) -> list[dict[str, Any]] | None:
    if not isinstance(tools, list):
        return None
    return [{"type": "function", **tool.get("function", tool)} for tool in tools]


_ROLES = {"human": "user", "ai": "assistant"}


def _message(message: BaseMessage) -> dict[str, Any]:
    role = _ROLES.get(message.type, message.type)
    if isinstance(message, ToolMessage):
        kind = "tool_call_response"
        part = {"type": kind, "id": message.tool_call_id, "response": message.content}
        return {"role": role, "parts": [part]}
    parts: list[dict[str, Any]] = []
    if message.text:
        parts.append({"type": "text", "content": str(message.text)})
    for call in getattr(message, "tool_calls", ()):
        named = {"id": call["id"], "name": call["name"], "arguments": call["args"]}
        parts.append({"type": "tool_call", **named})
    return {"role": role, "parts": parts}


def _as_json(content: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, default=str)
        for name, value in content.items()
        if value is not None
    }


def _conversation(metadata: Mapping[str, Any] | None) -> str | None:
    # LangGraph's name for a conversation; it passes it on to every run.
    thread = (metadata or {}).get("thread_id")
    return None if thread is None else str(thread)


def _agent(metadata: Mapping[str, Any]) -> object:
    # LangChain marks its agents; LangGraph passes the mark on to their steps.
    if metadata.get("ls_integration") != "langchain_create_agent":
        return None
    return ("agent", metadata.get("lc_agent_name"))


def _is_no_failure(error: BaseException) -> bool:
    # A stream that its reader has left; a graph that waits for a person, or hands over.
    ways_out = {("langgraph.errors", "GraphBubbleUp"), ("builtins", "GeneratorExit")}
    return any((kind.__module__, kind.__name__) in ways_out for kind in type(error).__mro__)
