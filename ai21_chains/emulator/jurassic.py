"""Jurassic-2, which AI21 served until November 2024 (its API reference of then: Complete, Chat)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .exchange import Request, Response
from .routes import FORBIDDEN, Routes, json_answer, refusal
from .validation import Check, ListOf, Number, Object, OneOf, boolean, faults_of, mapping, string

if TYPE_CHECKING:
    from .core import Emulator

MODELS = (
    "j2-light",
    "j2-mid",
    "j2-ultra",
    "j2-large",
    "j2-grande",
    "j2-jumbo",
    "j2-large-instruct",
    "j2-grande-instruct",
    "j2-jumbo-instruct",
)
CHAT_MODELS = ("j2-ultra", "j2-mid")
CONTEXT_TOKENS = 8192
DEFAULT_COMPLETION_TOKENS = 16
DEFAULT_CHAT_TOKENS = 300

_TOKEN = re.compile(r"\n|[^\S\n]*\S{1,6}|[^\S\n]+")

PENALTY = Object(
    {"scale": Number()},
    {
        "applyToWhitespaces": boolean,
        "applyToPunctuations": boolean,
        "applyToNumbers": boolean,
        "applyToStopwords": boolean,
        "applyToEmojis": boolean,
    },
)
PARAMETERS: Mapping[str, Check] = {
    "numResults": Number(whole=True, ge=1, le=16),
    "maxTokens": Number(whole=True, ge=0),
    "minTokens": Number(whole=True, ge=0),
    "temperature": Number(ge=0),
    "topP": Number(ge=0, le=1),
    "minP": Number(ge=0, le=1),
    "stopSequences": ListOf(string),
    "topKReturn": Number(whole=True, ge=0, le=64),
    "logitBias": mapping,
    "frequencyPenalty": PENALTY,
    "presencePenalty": PENALTY,
    "countPenalty": PENALTY,
    "epoch": Number(whole=True, ge=0),
}
COMPLETE_REQUEST = Object({"prompt": string}, PARAMETERS)
CHAT_MESSAGE = Object({"role": OneOf(("user", "assistant")), "text": string}, {})
CHAT_REQUEST = Object({"messages": ListOf(CHAT_MESSAGE), "system": string}, PARAMETERS)


def complete(emulator: Emulator, request: Request, model: str, custom: str = "") -> Response:
    """Complete a prompt with a Jurassic-2 model; the brain gets it as a user's message."""
    if model not in MODELS:
        return refusal(404, "Not Found")
    if refused := _refused(emulator, request, COMPLETE_REQUEST):
        return refused
    body = request.json
    prompt = _tokens(body["prompt"])
    limit = _limit(body, DEFAULT_COMPLETION_TOKENS)
    if len(prompt) + limit > CONTEXT_TOKENS:
        text = f"Prompt has too many tokens: {len(prompt)} and maxTokens {limit}"
        return refusal(422, f"{text} are more than {CONTEXT_TOKENS}")
    said = _said(emulator, model, [{"role": "user", "content": body["prompt"]}], body, limit)
    answer = {
        "id": str(emulator.new_id()),
        "prompt": {"text": body["prompt"], "tokens": prompt},
        "completions": [
            {
                "data": {"text": text, "tokens": _tokens(text, body.get("topKReturn") or 0)},
                "finishReason": reason,
            }
            for text, reason in said
        ],
    }
    return json_answer(answer)


def chat(emulator: Emulator, request: Request, model: str) -> Response:
    """Chat with Jurassic-2."""
    if model not in CHAT_MODELS:
        return refusal(404, "Not Found")
    if refused := _refused(emulator, request, CHAT_REQUEST):
        return refused
    body = request.json
    messages = [
        {"role": "system", "content": body["system"]},
        *({"role": turn["role"], "content": turn["text"]} for turn in body["messages"]),
    ]
    said = _said(emulator, model, messages, body, _limit(body, DEFAULT_CHAT_TOKENS))
    outputs = [
        {
            "text": text,
            "role": "assistant",
            "finishReason": {"length": None, "sequence": None} | end,
        }
        for text, end in said
    ]
    return json_answer({"id": str(emulator.new_id()), "outputs": outputs})


def _refused(emulator: Emulator, request: Request, schema: Object) -> Response | None:
    if not emulator.knows(request):
        return FORBIDDEN
    faults = faults_of(request.body, schema)
    return refusal(422, faults) if faults else None


def _limit(body: Mapping[str, Any], default: int) -> int:
    asked = body.get("maxTokens")
    return default if asked is None else int(asked)


def _said(
    emulator: Emulator,
    model: str,
    messages: Sequence[Mapping[str, Any]],
    body: Mapping[str, Any],
    limit: int,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what the brain says for each result, cut where it ends, and why it ends there."""
    for _ in range(body.get("numResults") or 1):
        reply = emulator.ask({"model": model, "messages": list(messages)})
        text, end = _stopped(reply.content or "", body.get("stopSequences") or ())
        tokens = _TOKEN.findall(text)
        if len(tokens) > limit:
            text, end = "".join(tokens[:limit]), {"reason": "length", "length": limit}
        yield text, end


def _stopped(text: str, stops: Sequence[str]) -> tuple[str, dict[str, Any]]:
    found = [(text.index(stop), stop) for stop in stops if stop and stop in text]
    if not found:
        return text, {"reason": "endoftext"}
    at, stop = min(found)
    return text[:at], {"reason": "stop", "sequence": stop}


def _tokens(text: str, alternatives: int = 0) -> list[dict[str, Any]]:
    """Take a text apart into tokens, with figures that have the form of probabilities only."""
    tokens = []
    for match in _TOKEN.finditer(text):
        shown = match[0].replace(" ", "▁").replace("\n", "<|newline|>")
        figure = -len(match[0]) / 4
        token = {"token": shown, "logprob": figure}
        tokens.append(
            {
                "generatedToken": {**token, "raw_logprob": figure},
                "topTokens": [token] if alternatives else None,
                "textRange": {"start": match.start(), "end": match.end()},
            }
        )
    return tokens


ROUTES: Routes = {
    "/{model}/complete": {"POST": complete},
    "/{model}/{custom}/complete": {"POST": complete},
    "/{model}/chat": {"POST": chat},
}
BODIES = {
    "POST /{model}/complete": COMPLETE_REQUEST,
    "POST /{model}/chat": CHAT_REQUEST,
}
