"""The default brain: a deterministic program, not a language model."""

from __future__ import annotations

import json
from typing import Any

from .answers import asks_for_citations, grounded_json, grounded_text, quote
from .brains import Reply
from .forms import Evidence, fill, quoted, topic
from .prompts import Prompt, read_prompt
from .ranking import rank
from .tools import choose_call


def extractive(request: dict[str, Any]) -> Reply:
    """Answer a chat request by rules: a deterministic program, with no language model inside.

    In this order: call a tool that the text asks for; repeat a tool's result; fill in JSON; answer
    from the documents with their own sentences, or say that they have no answer; say hello.

    Args:
        request: The JSON of a valid chat request.
    """
    prompt = read_prompt(request)
    call = choose_call(request, prompt)
    if call is not None:
        return Reply(tool_calls=(call,))
    if prompt.results:
        return Reply(f"The tool's answer is: {' '.join(' '.join(prompt.results).split())}")
    if (request.get("response_format") or {}).get("type") == "json_object":
        return Reply(json.dumps(_json_answer(prompt), ensure_ascii=False))
    if prompt.documents:
        return Reply(grounded_text(prompt))
    if prompt.wants_rewriting:
        return Reply(prompt.question)
    return Reply(
        "Hello! This is the AI21 emulator, a program without a language model. "
        f"Your message had {len(prompt.question.split())} words."
    )


def _json_answer(prompt: Prompt) -> Any:
    if asks_for_citations(prompt):
        return grounded_json(prompt)
    schema = prompt.schema
    if schema is not None:
        return fill(schema, prompt.question, _evidence(prompt) if prompt.documents else None)
    if prompt.documents:
        return grounded_json(prompt)
    keys = quoted(prompt.question) or ["answer"]
    return {key: f"{key.capitalize()}: {topic(prompt.question)}" for key in keys}


def _evidence(prompt: Prompt) -> Evidence:
    """Return a function that finds words in the documents for a field of a form."""
    contents = [document.content for document in prompt.documents]
    titles = [document.title for document in prompt.documents]

    def find(wanted: str) -> str | None:
        passages = rank(f"{wanted} {prompt.question}", contents, titles)
        return quote(prompt.documents, passages[0]) if passages else None

    return find
