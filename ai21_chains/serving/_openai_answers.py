"""AI21's answers as OpenAI's objects: chat completions, text completions, models.

Names are those of OpenAI's API reference (the chat completion object, the completion object, the
model object). AI21 sends neither `object` nor `created` nor `model`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote as percent_encoded
from uuid import uuid4

from ai21_chains._wire import (
    AssistantMessage,
    Choice,
    Completion,
    JSONObject,
    ToolCallDelta,
    Usage,
)
from ai21_chains._wire_parts import usage_metadata
from ai21_chains.errors import StructuredOutputError
from ai21_chains.serving._openai import Asked, AskedText
from ai21_chains.serving._openai_schema import first_problem

if TYPE_CHECKING:
    from ai21_chains.answers import GroundedAnswer
    from ai21_chains.citations import Citation

_FINISHED = {"length": "length", "max_tokens": "length", "content_filter": "content_filter"}
"""AI21's finish reasons and those of servers like it; all others say that the answer ended."""

_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def dump(value: object) -> bytes:
    """Return a JSON value as bytes; half a surrogate pair, which is no text, becomes `?`."""
    return _encoder.encode(value).encode("utf-8", "replace")


# --- Chat ------------------------------------------------------------------------------------


def chat_completion(completion: Completion, asked: Asked, *, created: int) -> JSONObject:
    """Return OpenAI's chat completion object for an answer of AI21's.

    Args:
        completion: The answer.
        asked: What was asked for.
        created: When it was, in seconds since 1970.

    Raises:
        StructuredOutputError: The answer does not fit the schema that it was held to.

    Example:
        >>> from ai21_chains.serving._openai import read_chat
        >>> asked = read_chat(b'{"model": "m", "messages": [{"role": "user", "content": "Hi"}]}')
        >>> answer = {"id": "chatcmpl-1", "choices": [{"message": {"content": "Hello"}}]}
        >>> chat_completion(answer, asked, created=0)["choices"][0]["message"]
        {'role': 'assistant', 'content': 'Hello', 'refusal': None}
    """
    choices = []
    for number, choice in enumerate(_in_order(completion)):
        reason = finish(choice.get("finish_reason"), asked, choice["message"].get("tool_calls"))
        message = _message(choice["message"], asked)
        if asked.schema is not None and reason == "stop":
            message["content"] = held_to(asked.schema, message["content"])
        choices.append(_choice(number, message, reason))
    usage = tokens(completion.get("usage"))
    return _chat(identity(completion, "chatcmpl"), asked, created, choices, usage)


def grounded_completion(answer: GroundedAnswer, asked: Asked, *, created: int) -> JSONObject:
    """Return OpenAI's chat completion object for an answer from documents.

    Its message has the verified quotes as `grounding` gives them.

    Args:
        answer: The answer.
        asked: What was asked for.
        created: When it was, in seconds since 1970.
    """
    message = {"role": "assistant", "content": answer.answer, "refusal": None, **grounding(answer)}
    choice = _choice(0, message, "length" if answer.status == "truncated" else "stop")
    return _chat(identity({}, "chatcmpl"), asked, created, [choice], tokens_of(answer))


def text_answer(
    text: str, asked: Asked, *, created: int, reason: str = "stop", usage: Usage | None = None
) -> JSONObject:
    """Return OpenAI's chat completion object for a text that a chain gave.

    Args:
        text: The text.
        asked: What was asked for.
        created: When it was, in seconds since 1970.
        reason: Why it ended: "stop", or "length" if it was cut off.
        usage: The tokens of it, where they are known.
    """
    choice = _choice(0, {"role": "assistant", "content": text, "refusal": None}, reason)
    return _chat(identity({}, "chatcmpl"), asked, created, [choice], usage)


def grounding(answer: GroundedAnswer) -> JSONObject:
    """Return what proves an answer: OpenAI's `annotations` of a message, and two keys of our own.

    OpenAI knows citations of addresses only, so an annotation of a quote from a file has the
    address `file:NAME#page=N`, and of a document without a name `urn:document:N`, from 1. In
    `citations` is each quote with its place in the source (`Citation`), in `grounding` how much of
    the answer they cover.
    """
    return {
        "annotations": [_annotation(citation, answer) for citation in answer.citations],
        "citations": [citation.model_dump(mode="json") for citation in answer.citations],
        "grounding": answer.model_dump(mode="json", include=_COVERAGE),
    }


def tokens_of(answer: GroundedAnswer) -> Usage | None:
    """Return the tokens of an answer's calls to the model, where it reports them."""
    given = answer.usage
    return given and {
        "prompt_tokens": given["input_tokens"],
        "completion_tokens": given["output_tokens"],
        "total_tokens": given["total_tokens"],
    }


_COVERAGE = {
    "answerable",
    "rejected",
    "status",
    "support",
    "unsupported_links",
    "unsupported_numbers",
    "unsupported_sentences",
}


def _annotation(citation: Citation, answer: GroundedAnswer) -> JSONObject:
    from ai21_chains.answers import place

    start, end = citation.answer_start, citation.answer_end
    return {
        "type": "url_citation",
        "url_citation": {
            "url": _address(citation),
            "title": citation.title or place(citation),
            "start_index": 0 if start is None else start,
            "end_index": len(answer.answer) if end is None else end,
        },
    }


def _address(citation: Citation) -> str:
    if citation.source is None:
        return f"urn:document:{citation.document_index + 1}"
    if "://" in citation.source:
        return percent_encoded(citation.source, safe=_RESERVED)
    page = "" if citation.page is None else f"#page={percent_encoded(str(citation.page))}"
    return f"file:{percent_encoded(citation.source)}{page}"


_RESERVED = "%:/?#[]@!$&'()*+,;=~"
"""What may stand in an address as it is."""


def _chat(
    name: str, asked: Asked, created: int, choices: list[JSONObject], usage: Usage | None
) -> JSONObject:
    return {
        "id": name,
        "object": "chat.completion",
        "created": created,
        "model": asked.model,
        "choices": choices,
        **({"usage": usage} if usage else {}),
    }


def _choice(index: int, message: JSONObject, reason: str) -> JSONObject:
    return {"index": index, "message": message, "logprobs": None, "finish_reason": reason}


def _message(given: AssistantMessage, asked: Asked) -> JSONObject:
    calls = [_call(call) for call in given.get("tool_calls") or ()]
    content = given.get("content") or (None if calls else "")
    message: JSONObject = {"role": "assistant", "content": content, "refusal": None}
    if reasoning := given.get("reasoning_content"):
        message["reasoning_content"] = reasoning
    if calls and asked.legacy_functions:
        message["function_call"] = calls[0]["function"]
    elif calls:
        message["tool_calls"] = calls
    return message


def _call(call: ToolCallDelta) -> JSONObject:
    function = call.get("function") or {}
    arguments: object = function.get("arguments")
    # The API's schema says that it is a string of JSON; some servers send the object itself.
    text = arguments if isinstance(arguments, str) else dump(arguments or {}).decode()
    return {
        "id": str(call.get("id") or f"call_{uuid4().hex}"),
        "type": "function",
        "function": {"name": function.get("name") or "", "arguments": text or "{}"},
    }


# --- What whole answers and streams have in common -------------------------------------------


def identity(answer: Completion, prefix: str) -> str:
    """Return an answer's id, or one of OpenAI's kind if it has none."""
    return str(answer.get("id") or f"{prefix}-{uuid4().hex}")


def finish(given: str | None, asked: Asked, calls: object) -> str:
    """Return OpenAI's finish reason.

    Args:
        given: AI21's, which may be `stop` for an answer that calls tools.
        asked: What was asked for.
        calls: The tool calls of the answer, if it has any.
    """
    reason = _FINISHED.get(given or "", "stop")
    if reason == "stop" and calls:
        return "function_call" if asked.legacy_functions else "tool_calls"
    return reason


def held_to(schema: JSONObject, text: str) -> str:
    """Return the JSON in a text, if it fits a schema.

    Raises:
        StructuredOutputError: It does not.
        Refused: The schema is none.
    """
    try:
        value = json.loads(text)
    except ValueError:
        # LangChain's output parsers, which a server of plain models does without.
        from ai21_chains._structured import read_json

        try:
            # Amid prose or in a code fence.
            value = read_json(text)
        except (ValueError, RecursionError):
            raise StructuredOutputError("The answer is not JSON", llm_output=text) from None
        text = dump(value).decode()
    if problem := first_problem(value, schema):
        raise StructuredOutputError(
            f"The answer does not fit the schema: {problem}", llm_output=text
        )
    return text


def tokens(usage: object) -> Usage | None:
    """Return an answer's token counts, or None if they are missing or are no counts."""
    counted = usage_metadata(usage)
    return counted and {
        "prompt_tokens": counted["input_tokens"],
        "completion_tokens": counted["output_tokens"],
        "total_tokens": counted["total_tokens"],
    }


def total(usages: Iterable[Usage | None]) -> Usage | None:
    """Add token counts up; None if there are none."""
    known = [usage for usage in usages if usage]
    return (
        {
            "prompt_tokens": sum(usage["prompt_tokens"] for usage in known),
            "completion_tokens": sum(usage["completion_tokens"] for usage in known),
            "total_tokens": sum(usage["total_tokens"] for usage in known),
        }
        if known
        else None
    )


def _in_order(completion: Completion) -> list[Choice]:
    return sorted(completion["choices"], key=lambda choice: choice.get("index") or 0)


# --- Text completions and models -------------------------------------------------------------


def text_completion(
    completions: Sequence[Completion], asked: AskedText, *, created: int
) -> JSONObject:
    """Return OpenAI's completion object for the answers to all prompts.

    Args:
        completions: An answer of AI21's for each prompt.
        asked: What was asked for.
        created: When it was, in seconds since 1970.
    """
    choices = []
    for number, completion in enumerate(completions):
        before = asked.prompts[number] if asked.echo else ""
        for at, choice in enumerate(_in_order(completion)):
            text = before + (choice["message"].get("content") or "")
            reason = text_finish(choice.get("finish_reason"))
            choices.append(text_choice(number * asked.n + at, text, reason))
    usage = total(tokens(completion.get("usage")) for completion in completions)
    return {
        "id": identity(completions[0], "cmpl"),
        "object": "text_completion",
        "created": created,
        "model": asked.model,
        "choices": choices,
        **({"usage": usage} if usage else {}),
    }


def text_finish(given: str | None) -> str:
    """Return OpenAI's finish reason of a text."""
    return _FINISHED.get(given or "", "stop")


def text_choice(index: int, text: str, reason: str | None) -> JSONObject:
    """Return a text, or a piece of one, which has no finish reason."""
    return {"index": index, "text": text, "logprobs": None, "finish_reason": reason}


def model_object(name: str, *, created: int) -> JSONObject:
    """Return OpenAI's model object (`GET /v1/models/{id}`).

    Args:
        name: What clients call the model.
        created: Seconds since 1970. AI21 tells none; that of the server's start will do.
    """
    return {"id": name, "object": "model", "created": created, "owned_by": "ai21"}


def model_list(names: Iterable[str], *, created: int) -> JSONObject:
    """Return OpenAI's list of models (`GET /v1/models`); see `model_object`."""
    return {"object": "list", "data": [model_object(name, created=created) for name in names]}
