"""The body of a chat request, from messages and options. Pure.

AI21 knows neither `tool_choice` nor JSON schemas, so what they ask for is said in words, in the
system message. `tool_choice` is sent all the same, for servers that know it. A host that enforces
both, such as a self-hosted vLLM, gets them as they are, and the model is told nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document

from ai21_chains import _wire
from ai21_chains._options import CallOptions
from ai21_chains._protocol import quote
from ai21_chains._wire import ChatRequest, JSONObject, Message
from ai21_chains._wire_parts import as_text
from ai21_chains.errors import ConfigurationError

# LangChain's messages are loaded where there are some: they take 8 MB, and the gateway has none.
if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

_PLAIN = ("n", "max_tokens", "temperature", "top_p", "seed", "user", "stop")
"""Options that go into the body as they are."""


def build(messages: Sequence[BaseMessage], options: CallOptions) -> ChatRequest:
    """Build the body of `POST /chat/completions`; only what is set is in it.

    Raises:
        ConfigurationError: The messages or options cannot be sent to AI21.
    """
    from ai21_chains._messages import to_wire

    return compose(to_wire(messages), options, format_tools(options.get("tools") or ()))


def compose(
    messages: list[Message], options: CallOptions, tools: Sequence[JSONObject]
) -> ChatRequest:
    """Build the body from messages and tools that have the API's form already.

    Args:
        messages: The conversation; not empty.
        options: All else that was set; its `tools` are not read.
        tools: The tools.

    Raises:
        ConfigurationError: The options cannot be sent to AI21.
    """
    body: ChatRequest = {"model": options["model"], "messages": messages}
    plain = {name: options.get(name) for name in _PLAIN}
    body.update({name: value for name, value in plain.items() if value not in (None, [])})  # type: ignore[typeddict-item]
    if documents := options.get("documents"):
        body["documents"] = documents_to_wire(documents)
    host = options.get("host")
    obeyed = host is not None and host.obeys
    instructions = [
        *_put_tools(body, options, tools, obeyed),
        *_put_response_format(body, options.get("response_format"), obeyed),
    ]
    if instructions:
        body["messages"] = _instructed(messages, instructions)
    _put_model_kwargs(body, options.get("model_kwargs") or {})
    if body.get("n", 1) > 1 and body.get("temperature") == 0:
        raise ConfigurationError("n above 1 needs a temperature above 0: AI21 refuses it otherwise")
    return body


def refuse_choices(body: ChatRequest) -> None:
    """Refuse to stream more than one answer.

    Raises:
        ConfigurationError: The body asks for that.
    """
    if body.get("n", 1) > 1:
        raise ConfigurationError("n above 1 does not go with streaming: AI21 refuses it")


def format_tools(tools: Iterable[Any], strict: bool | None = None) -> list[JSONObject]:
    """Convert tools of any kind that LangChain knows to the form of AI21's API.

    Raises:
        ConfigurationError: Something is no tool.
    """
    from langchain_core.utils.function_calling import convert_to_openai_tool

    formatted = []
    for tool in tools:
        try:
            form = convert_to_openai_tool(tool, strict=strict)
            if not isinstance(form["function"]["name"], str):
                raise TypeError("its name is not a string")
        except Exception as error:  # a tool is the caller's code, and LangChain runs parts of it
            problem = quote(f"{type(error).__name__}: {error}")
            raise ConfigurationError(f"tools holds what is no function: {problem}") from error
        formatted.append(form)
    return formatted


def format_tool_choice(choice: object, tools: Sequence[JSONObject]) -> str | JSONObject | None:
    """Convert LangChain's ways to choose a tool to the API's: a word or a named function.

    Args:
        choice: None or False, "auto", "none", "any", "required" or True, a tool's name, or a
            provider's own dictionary.
        tools: The tools to choose from, as `format_tools` returns them.

    Raises:
        ConfigurationError: There is no such tool.
    """
    if isinstance(choice, Mapping):
        function = choice.get("function")
        named = function.get("name") if isinstance(function, Mapping) else choice.get("name")
        choice = named or choice.get("type")
    if choice is None or choice is False:
        return None
    if choice is True or choice in ("any", "required"):
        return "required"
    if choice in ("auto", "none"):
        return str(choice)
    names = [tool["function"]["name"] for tool in tools]
    if choice not in names:
        raise ConfigurationError(f"tool_choice is {choice!r}; the tools are {', '.join(names)}")
    return {"type": "function", "function": {"name": choice}}


def documents_to_wire(
    documents: Iterable[Document | str | Mapping[str, Any]],
) -> list[_wire.Document]:
    """Convert grounding documents to AI21's form: text, metadata of strings, and perhaps an id.

    Raises:
        ConfigurationError: Something is not a document.
    """
    if isinstance(documents, str | Document | Mapping):
        raise ConfigurationError("documents is a single document; a list is needed: [document]")
    if not isinstance(documents, Iterable):
        kind = type(documents).__name__
        raise ConfigurationError(f"documents should be a list of documents, not a {kind}")
    return [_document_to_wire(document, at) for at, document in enumerate(documents)]


def _document_to_wire(document: object, at: int) -> _wire.Document:
    if isinstance(document, str):
        return {"content": document, "metadata": {}}
    if isinstance(document, Document):
        content: object = document.page_content
        metadata: object = document.metadata
        identity = document.id
    elif isinstance(document, Mapping):
        content = document.get("content", document.get("page_content"))
        metadata = document.get("metadata") or {}
        identity = document.get("id")
    else:
        kind = type(document).__name__
        raise ConfigurationError(f"documents[{at}] is a {kind}, not a Document, a string or a dict")
    if not isinstance(content, str):
        raise ConfigurationError(f"documents[{at}] has no text under 'content'")
    wire: _wire.Document = {"content": content, "metadata": _metadata_to_wire(metadata, at)}
    if identity is not None:
        wire["id"] = str(identity)
    return wire


def _metadata_to_wire(metadata: object, at: int) -> dict[str, str]:
    # AI21's guides show a list of {"key", "value"} pairs, its schema an object of strings; the
    # server reads the schema's form.
    if isinstance(metadata, list) and all(map(_is_pair, metadata)):
        metadata = {pair["key"]: pair.get("value") for pair in metadata}
    if not isinstance(metadata, Mapping):
        raise ConfigurationError(f"documents[{at}] has metadata that is not a dict")
    return {str(key): as_text(value) for key, value in metadata.items() if value is not None}


def _is_pair(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("key"), str)


def _put_tools(
    body: ChatRequest, options: CallOptions, tools: Sequence[JSONObject], obeyed: bool
) -> list[str]:
    choice = format_tool_choice(options.get("tool_choice"), tools) if tools else "none"
    if choice == "none":
        return []
    if choice is not None:
        body["tool_choice"] = choice
    if options.get("parallel_tool_calls") is not None:
        body["parallel_tool_calls"] = bool(options["parallel_tool_calls"])
    body["tools"] = list(tools)
    if isinstance(choice, dict):
        name = choice["function"]["name"]
        body["tools"] = [tool for tool in tools if tool["function"]["name"] == name]
    if obeyed:
        return []
    if isinstance(choice, dict):
        return [f"You must call the tool {name}."]
    return ["You must call at least one of the tools."] if choice == "required" else []


def _put_response_format(body: ChatRequest, wanted: object, obeyed: bool) -> list[str]:
    if wanted is None:
        return []
    if isinstance(wanted, Mapping) and wanted.get("type") not in ("json_schema", "object"):
        body["response_format"] = dict(wanted)
        return []
    form = json_schema(wanted, "response_format")
    schema = json.dumps(form, ensure_ascii=False)
    # JSON mode would keep the model from calling a tool first.
    if "tools" not in body:
        body["response_format"] = {"type": "json_object"}
        if obeyed:
            named = {"name": _name_of(form), "schema": form}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
            return []
    return [
        "Give your answer as a single JSON object and nothing else: no prose, no code fence. "
        f"It must be valid against this JSON schema:\n{schema}"
    ]


def _name_of(schema: JSONObject) -> str:
    # OpenAI's protocol wants a name, of these characters.
    return re.sub(r"[^A-Za-z0-9_-]", "_", str(schema.get("title") or "answer"))[:64]


def json_schema(wanted: Any, argument: str) -> JSONObject:
    """Return the JSON schema that a class, a function, or a dict in one of OpenAI's forms asks for.

    Args:
        wanted: What was given.
        argument: The argument's name, for the error message.

    Raises:
        ConfigurationError: It is no schema.
    """
    try:
        if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema":
            schema = dict(wanted["json_schema"]["schema"])
        elif isinstance(wanted, Mapping) and wanted.get("type") == "object":
            schema = dict(wanted)
        else:
            from langchain_core.utils.function_calling import convert_to_json_schema

            schema = convert_to_json_schema(wanted)
        json.dumps(schema)
    except Exception as error:  # a class is the caller's code, and LangChain runs parts of it
        problem = quote(f"{type(error).__name__}: {error}")
        raise ConfigurationError(f"{argument} is no JSON schema: {problem}") from error
    return schema


def _put_model_kwargs(body: ChatRequest, extra: Mapping[str, Any]) -> None:
    for name in extra:
        if name in ChatRequest.__annotations__:
            raise ConfigurationError(f"model_kwargs holds {name!r}: pass {name}=… itself")
    body.update(extra)  # type: ignore[typeddict-item]


def _instructed(messages: list[Message], instructions: list[str]) -> list[Message]:
    text = "\n\n".join(instructions)
    if messages[0]["role"] != "system":
        return [{"role": "system", "content": text}, *messages]
    first: Message = {"role": "system", "content": f"{messages[0]['content']}\n\n{text}".lstrip()}
    return [first, *messages[1:]]
