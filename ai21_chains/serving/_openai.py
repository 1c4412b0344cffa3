"""OpenAI's requests to AI21's. Pure: bytes in, values or `Refused` out.

What becomes of each of OpenAI's parameters (API reference, Chat Completions and Completions):

========================  ========================================================================
honoured                  `model`, `messages` (`developer` is AI21's `system`; text parts are
                          joined), `temperature`, `top_p`, `n`, `stop`, `seed`, `user`,
                          `max_tokens` and `max_completion_tokens` (which wins), `stream`,
                          `stream_options`, `tools`, `tool_choice`, `parallel_tool_calls`,
                          `functions`, `function_call`, `response_format`, `prompt`, `echo`
AI21's `documents`        honoured; and the question is answered from them by the grounded QA chain
                          over the very model, with verified citations, wherever a chain can do
                          what is asked (`Asked.is_grounded`). Otherwise they go to AI21 as they
                          are, and the answer has no citations: AI21's own clients send documents
                          with tools or JSON, and would be worse off with a refusal
                          (documents beyond the model's window are then refused by AI21; the chain
                          reads them in several requests, each of which is charged)
no effect on the answer   `IGNORED`: taken, and left out
says what holds anyway    `NEUTRAL`: `frequency_penalty: 0`, `logprobs: false` and the like
would change the answer   all else, such as `logit_bias` and `audio`, and unknown ones: refused by
                          name, or left out with `drop_params`
where and with what key   `FORBIDDEN`, such as `api_key` and `base_url`: always refused
========================  ========================================================================

Where `model` is a chain, what it cannot do (`tools`, `n` above 1, `response_format`) is always
refused: the answer would have another form than the client waits for. What it has settings of its
own for (`FIXED`) would change the answer, and is refused by name, or left out with `drop_params`.

A value that is null counts as not given. Images and audio in messages are always refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import ValidationError

from ai21_chains import _request
from ai21_chains._options import CallOptions
from ai21_chains._protocol import quote
from ai21_chains._wire import ChatRequest, FunctionCall, JSONObject, Message, ToolCall
from ai21_chains.serving import _openai_bodies as bodies
from ai21_chains.serving._openai_errors import not_valid
from ai21_chains.serving._refusals import Refused

IGNORED = frozenset(
    {
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
    }
)
"""Parameters about OpenAI's bookkeeping."""

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "presence_penalty": (0,),
    "suffix": ("",),
    "top_logprobs": (0,),
}
"""Values by which a parameter asks for nothing."""

FORBIDDEN = frozenset(
    {
        "api_base",
        "api_host",
        "api_key",
        "api_type",
        "api_version",
        "base_url",
        "custom_llm_provider",
        "default_headers",
        "extra_headers",
        "headers",
        "http_async_client",
        "http_client",
        "organization",
        "proxy",
    }
)
"""Names under which other clients and gateways take an address or a credential."""

FIXED = ("max_tokens", "seed", "stop", "temperature", "top_p")
"""Parameters that a configured chain has values of its own for."""

_SAMPLING = ("max_tokens", "seed", "temperature", "top_p", "user")
"""Parameters that mean the same for one request as for all that a chain makes of it."""

_STRAY_COMMA = re.compile(rb'("(?:[^"\\]|\\.)*+")|,(?=\s*+[}\]])', re.DOTALL)
"""A comma after the last item, as in the curl command of LiteLLM's page on AI21; or a string."""

_BY_HAND = 10_000
"""Longest body in bytes in which such a comma is forgiven: programs write none."""

_Body = TypeVar("_Body", bodies.ChatCompletionRequest, bodies.CompletionRequest)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a client asks of `/v1/chat/completions`.

    Attributes:
        model: The model as the client named it.
        request: The request to AI21, without `stream`.
        conversation: The messages as asked. Those of `request` may have instructions added.
        stream: Whether the client wants a stream.
        include_usage: Whether the stream is to end with the usage.
        schema: The schema that the answer is held to, if it was asked for with `strict`.
        legacy_functions: Whether the client gave `functions` and waits for a `function_call`.
        dropped: Names of the parameters that were left out.
    """

    model: str
    request: ChatRequest
    conversation: list[Message]
    stream: bool = False
    include_usage: bool = False
    schema: JSONObject | None = None
    legacy_functions: bool = False
    dropped: tuple[str, ...] = ()

    @property
    def streams_upstream(self) -> bool:
        """Whether to ask AI21 for a stream too: it has none of several answers."""
        return self.stream and self.request.get("n", 1) == 1

    @property
    def beyond_chains(self) -> str | None:
        """The parameter that asks for what no chain can do, if there is one."""
        if "tools" in self.request:
            return "functions" if self.legacy_functions else "tools"
        if self.request.get("n", 1) > 1:
            return "n"
        return "response_format" if "response_format" in self.request else None

    @property
    def is_grounded(self) -> bool:
        """Whether it is a question about documents that the grounded QA chain can answer.

        That is one without tools and their results, with one answer in prose, and without `stop`:
        what is to be cut off there is the answer, and the model writes its evidence first.
        """
        return (
            "documents" in self.request
            and self.beyond_chains is None
            and "stop" not in self.request
            and all(_is_prose(message) for message in self.conversation)
            and self.conversation[-1]["role"] == "user"
            and bool((self.conversation[-1].get("content") or "").strip())
        )

    @property
    def sampling(self) -> dict[str, Any]:
        """What was asked of the model itself, whoever asks it."""
        return {name: value for name, value in self.request.items() if name in _SAMPLING}

    @property
    def instructions(self) -> str:
        """The texts of the system's messages."""
        told = (one for one in self.conversation if one["role"] == "system")
        return "\n\n".join(filter(None, (one.get("content") for one in told)))


def _is_prose(message: Message) -> bool:
    return message["role"] != "tool" and not message.get("tool_calls")


@dataclass(frozen=True, kw_only=True)
class AskedText:
    """What a client asks of `/v1/completions`.

    Attributes:
        model: The model as the client named it.
        prompts: The texts to continue.
        requests: A request to AI21 for each of them.
        n: How many answers to give to each.
        echo: Whether an answer begins with its prompt.
        stream: Whether the client wants a stream.
        include_usage: Whether the stream is to end with the usage.
        dropped: Names of the parameters that were left out.
    """

    model: str
    prompts: tuple[str, ...]
    requests: tuple[ChatRequest, ...]
    n: int = 1
    echo: bool = False
    stream: bool = False
    include_usage: bool = False
    dropped: tuple[str, ...] = ()

    @property
    def streams_upstream(self) -> bool:
        """Whether to ask AI21 for streams too: it has none of several answers."""
        return self.stream and self.n == 1


def read_chat(body: bytes, *, drop_params: bool = True) -> Asked:
    """Read the body of `POST /v1/chat/completions`.

    Args:
        body: The body.
        drop_params: Whether to leave out what AI21 has no parameter for, instead of refusing it.

    Raises:
        Refused: It cannot be sent to AI21; `param` names what is at fault.
        ConfigurationError: Likewise; the message begins with the parameter.

    Example:
        >>> body = b'{"model": "jamba-mini", "messages": [{"role": "developer", "content": "Hi"}]}'
        >>> read_chat(body).request
        {'model': 'jamba-mini', 'messages': [{'role': 'system', 'content': 'Hi'}]}
    """
    given, dropped = _read(bodies.ChatCompletionRequest, body, drop_params)
    conversation = list(_messages(given.messages))
    options = _options(given)
    if given.max_completion_tokens is not None:
        options["max_tokens"] = given.max_completion_tokens
    legacy = bool(given.functions) and not given.tools
    options["tool_choice"], tools = _tools(given, legacy)
    options["parallel_tool_calls"] = given.parallel_tool_calls
    options["response_format"], schema = _format(given.response_format)
    options["documents"] = [
        document if isinstance(document, str) else document.model_dump()
        for document in given.documents or ()
    ]
    return Asked(
        model=given.model,
        request=_request.compose(conversation, options, tools),
        conversation=conversation,
        stream=bool(given.stream),
        include_usage=_wants_usage(given),
        schema=schema,
        legacy_functions=legacy,
        dropped=dropped,
    )


def for_chain(asked: Asked, *, drop_params: bool = True) -> Asked:
    """Return what is asked of a configured chain.

    Args:
        asked: What was asked.
        drop_params: Whether to leave out what the chain has settings of its own for.

    Raises:
        Refused: The chain cannot do it; `param` says what.
    """
    if param := asked.beyond_chains:
        raise _refused(param, f"does not go with {asked.model}: a chain has its own form of answer")
    fixed = tuple(name for name in FIXED if name in asked.request)
    if fixed and not drop_params:
        raise _refused(fixed[0], f"does not go with {asked.model}, which has its own: leave it out")
    return replace(asked, dropped=(*asked.dropped, *fixed))


def read_text(body: bytes, *, drop_params: bool = True) -> AskedText:
    """Read the body of `POST /v1/completions`.

    Args:
        body: The body.
        drop_params: Whether to leave out what AI21 has no parameter for, instead of refusing it.

    Raises:
        Refused: It cannot be sent to AI21; `param` names what is at fault.
        ConfigurationError: Likewise; the message begins with the parameter.

    Example:
        >>> asked = read_text(b'{"model": "jamba-mini", "prompt": ["One,", "Two,"]}')
        >>> [request["messages"][0]["content"] for request in asked.requests]
        ['One,', 'Two,']
    """
    given, dropped = _read(bodies.CompletionRequest, body, drop_params)
    prompts = [given.prompt] if isinstance(given.prompt, str) else given.prompt
    options = _options(given)
    return AskedText(
        model=given.model,
        prompts=tuple(prompts),
        requests=tuple(
            _request.compose([{"role": "user", "content": prompt}], options, ())
            for prompt in prompts
        ),
        n=given.n or 1,
        echo=bool(given.echo),
        stream=bool(given.stream),
        include_usage=_wants_usage(given),
        dropped=dropped,
    )


def _read(model: type[_Body], body: bytes, drop_params: bool) -> tuple[_Body, tuple[str, ...]]:
    given = _parsed(model, body)
    extra = given.model_extra or {}
    for name in extra:
        if name in FORBIDDEN:
            raise _refused(name, "is the server's own setting and cannot be part of a request")
    dropped = tuple(name for name, value in extra.items() if _would_matter(name, value))
    if dropped and not drop_params:
        raise _refused(dropped[0], "has no counterpart in AI21's API: leave it out")
    return given, dropped


def _parsed(model: type[_Body], body: bytes, *, mend: bool = True) -> _Body:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        if mend and len(body) <= _BY_HAND and "trailing comma" in error.errors()[0]["msg"]:
            return _parsed(model, _STRAY_COMMA.sub(rb"\1", body), mend=False)
        raise not_valid(error, body) from None


def _refused(param: str, problem: str) -> Refused:
    shown = quote(param)
    return Refused(f"{shown} {problem}", status=400, code="unsupported_parameter", param=shown)


def _would_matter(name: str, value: object) -> bool:
    # 0 == False: what is false is as neutral as what is 0.
    return not (value is None or name in IGNORED or value in NEUTRAL.get(name, ()))


def _wants_usage(given: bodies.Body) -> bool:
    return bool(given.stream_options and given.stream_options.include_usage)


def _options(given: bodies.Body) -> CallOptions:
    stop = [given.stop] if isinstance(given.stop, str) else given.stop
    return {
        "model": given.model,
        "max_tokens": given.max_tokens,
        "temperature": given.temperature,
        "top_p": given.top_p,
        "n": given.n,
        "stop": stop,
        "seed": given.seed,
        "user": given.user,
    }


# --- Messages --------------------------------------------------------------------------------


def _messages(given: Sequence[bodies.AnyMessage]) -> Iterator[Message]:
    called = ""
    for number, message in enumerate(given):
        match message:
            case bodies.AssistantMessage():
                called = f"call_{number}"
                yield _answer(message, called)
            case bodies.ToolMessage():
                content = _text(message.content)
                yield {"role": "tool", "content": content, "tool_call_id": message.tool_call_id}
            case bodies.FunctionMessage():
                # Functions had no ids: the result belongs to the call before it.
                yield {"role": "tool", "content": message.content or "", "tool_call_id": called}
            case bodies.UserMessage():
                yield {"role": "user", "content": _text(message.content)}
            case _:
                yield {"role": "system", "content": _text(message.content)}


def _text(content: str | Sequence[bodies.TextPart | bodies.RefusalPart] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(
        part.text if isinstance(part, bodies.TextPart) else part.refusal for part in content
    )


def _answer(message: bodies.AssistantMessage, call_id: str) -> Message:
    calls: list[ToolCall] = [
        {"id": call.id, "type": "function", "function": _called(call.function)}
        for call in message.tool_calls or ()
    ]
    if message.function_call:
        function = _called(message.function_call)
        calls.append({"id": call_id, "type": "function", "function": function})
    answer: Message = {"role": "assistant", "content": _text(message.content)}
    if calls:
        answer["tool_calls"] = calls
    return answer


def _called(function: bodies.CalledFunction) -> FunctionCall:
    return {"name": function.name, "arguments": function.arguments}


# --- Tools and the form of the answer --------------------------------------------------------


def _tools(
    given: bodies.ChatCompletionRequest, legacy: bool
) -> tuple[str | JSONObject | None, list[JSONObject]]:
    functions, choice = _functions(given, legacy)
    if isinstance(choice, bodies.AllowedTools):
        names = {tool.function.name for tool in choice.allowed_tools.tools}
        functions = [function for function in functions if function.name in names]
        choice = choice.allowed_tools.mode
    chosen = choice.model_dump() if isinstance(choice, bodies.Part) else choice
    if not functions and chosen not in (None, "none", "auto"):
        raise _refused("tool_choice", "asks for a tool, and tools has no such one")
    return chosen, [_tool(function) for function in functions]


def _functions(
    given: bodies.ChatCompletionRequest, legacy: bool
) -> tuple[list[bodies.Function], bodies.ToolChoice | bodies.FunctionName | None]:
    if legacy:
        return given.functions or [], given.function_call
    return [tool.function for tool in given.tools or ()], given.tool_choice


def _tool(function: bodies.Function) -> JSONObject:
    wire: JSONObject = {"name": function.name}
    if function.description is not None:
        wire["description"] = function.description
    if function.parameters is not None:
        # AI21 wants both keys, and OpenAI takes an empty schema.
        wire["parameters"] = {"type": "object", "properties": {}, **function.parameters}
    return {"type": "function", "function": wire}


def _format(
    given: bodies.ResponseFormat | None,
) -> tuple[JSONObject | None, JSONObject | None]:
    """Return what to ask for, and the schema that the answer is held to."""
    if isinstance(given, bodies.SchemaFormat):
        named = given.json_schema
        if not named.schema_:
            return {"type": "json_object"}, None
        asked = {"type": "json_schema", "json_schema": {"schema": named.schema_}}
        return asked, named.schema_ if named.strict else None
    if given is not None and given.type == "json_object":
        return {"type": "json_object"}, None
    return None, None
