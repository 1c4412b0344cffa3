"""`POST /chat/completions`: chat with a Jamba model (AI21 API reference, chat completions)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from .completions import completion, count_prompt_tokens, events
from .exchange import Request, Response
from .routes import FORBIDDEN, Routes, json_answer, refusal
from .validation import (
    ByKind,
    Constant,
    Error,
    ListOf,
    Number,
    Object,
    OneOf,
    boolean,
    mapping,
    pairs,
    string,
    text_or_texts,
    unreadable,
)

if TYPE_CHECKING:
    from .core import Emulator

MODELS = {
    "2024": ("jamba-instruct-preview", "jamba-instruct", "jamba-1.5-mini", "jamba-1.5-large"),
    "2026": (
        "jamba-mini",
        "jamba-large",
        "jamba-large-1.7",
        "jamba-large-1.7-2025-07",
        "jamba-mini-2",
        "jamba-mini-2-2026-01",
    ),
}
"""The models of each era."""

CONTEXT_TOKENS = 256_000

UNSUPPORTED_MODEL = (
    "The provided model is not supported. See "
    "https://docs.ai21.com/docs/jamba-foundation-models#api-versioning "
    "for a list of supported models"
)

FUNCTION_CALL = Object({"name": string, "arguments": string}, {})
TOOL_CALL = Object({"id": string, "function": FUNCTION_CALL}, {"type": Constant("function")})
MESSAGE = ByKind(
    {
        "user": ("UserMessage", Object({"content": string}, {})),
        "assistant": (
            "AssistantMessage",
            Object(
                {},
                {"content": string, "tool_calls": ListOf(TOOL_CALL), "reasoning_content": string},
            ),
        ),
        "tool": ("ToolMessage", Object({"content": string, "tool_call_id": string}, {})),
        "system": ("SystemMessage", Object({"content": string}, {})),
    }
)
PARAMETERS = Object(
    {"properties": mapping}, {"type": Constant("object"), "required": ListOf(string)}
)
FUNCTION = Object({"name": string}, {"description": string, "parameters": PARAMETERS})
TOOL = Object({"function": FUNCTION}, {"type": Constant("function")})
DOCUMENT = Object({"content": string}, {"id": string, "metadata": pairs})
RESPONSE_FORMAT = Object({}, {"type": OneOf(("text", "json_object"))})
CHAT_REQUEST = Object(
    {"model": string, "messages": ListOf(MESSAGE)},
    {
        "tools": ListOf(TOOL),
        "n": Number(whole=True, ge=1, le=16),
        "max_tokens": Number(whole=True, ge=0),
        "temperature": Number(ge=0, le=2),
        "top_p": Number(gt=0, le=1),
        "stop": text_or_texts,
        "stream": boolean,
        "documents": ListOf(DOCUMENT),
        "response_format": RESPONSE_FORMAT,
    },
)


def several_choices_need_chance(body: Mapping[str, Any]) -> str | None:
    """`n` above 1 needs a temperature above 0."""
    if (body.get("n") or 1) > 1 and body.get("temperature") == 0:
        return "n must be 1 when temperature is 0"
    return None


def streams_have_one_choice(body: Mapping[str, Any]) -> str | None:
    """`n` must be 1 in a stream."""
    if (body.get("n") or 1) > 1 and body.get("stream"):
        return "n must be 1 when stream is true"
    return None


# AI21 documents these rules, not the texts: the wording is the emulator's.
RULES = (several_choices_need_chance, streams_have_one_choice)


def check_chat_request(body: Any, models: Collection[str]) -> str | list[Error] | None:
    """Return what is wrong with a chat request, as the `detail` of a 422 answer, or None.

    The model is looked at before anything else.

    Args:
        body: The parsed JSON of the request.
        models: The models that are served.
    """
    model = body.get("model") if isinstance(body, dict) else None
    if isinstance(model, str) and model not in models:
        return UNSUPPORTED_MODEL
    if errors := list(CHAT_REQUEST(body, ("body",))):
        return errors
    broken = (rule(body) for rule in RULES)
    return next((text for text in broken if text), None)


def chat(emulator: Emulator, request: Request) -> Response:
    """Chat with a Jamba model: text, tools, documents, JSON mode, streams."""
    if not emulator.knows(request):
        return FORBIDDEN
    if faults := unreadable(request.body):
        return refusal(422, faults)
    return converse(emulator, request.json)


def converse(emulator: Emulator, body: Any) -> Response:
    """Answer a chat request, wherever it came from.

    Args:
        emulator: Whose brain is asked.
        body: The parsed JSON of the request.

    Raises:
        EmulatorError: The brain has no answer.
    """
    if detail := check_chat_request(body, MODELS[emulator.era]):
        return refusal(422, detail)
    prompt_tokens = count_prompt_tokens(body)
    if prompt_tokens > CONTEXT_TOKENS:
        text = f"Prompt has too many tokens: {prompt_tokens}, the limit is {CONTEXT_TOKENS}"
        return refusal(422, text)
    replies = [emulator.ask(body) for _ in range(body.get("n") or 1)]
    if body.get("stream"):
        chunks = tuple(events(replies[0], prompt_tokens, emulator.new_id))
        return Response(200, (("content-type", "text/event-stream; charset=utf-8"),), chunks)
    return json_answer(completion(replies, prompt_tokens, emulator.new_id))


ROUTES: Routes = {"/chat/completions": {"POST": chat}}
BODIES = {"POST /chat/completions": CHAT_REQUEST}
