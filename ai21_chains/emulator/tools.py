"""Which tool to call, and with which arguments, decided by the words of the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .brains import ToolCall
from .forms import fill, name_words
from .prompts import Prompt
from .text import stem, words

# Words that tools' names have in common; they say nothing about what a tool is for.
_COMMON = frozenset(map(stem, ("get", "tool", "function", "use", "run", "call", "make")))

Tool = Mapping[str, Any]


def choose_call(request: Mapping[str, Any], prompt: Prompt) -> ToolCall | None:
    """Return the tool call that the request asks for, or None when it asks for none.

    Args:
        request: The JSON of a chat request.
        prompt: The same request, read.
    """
    tools = _open_tools(request, prompt)
    choice = request.get("tool_choice")
    named = _named(choice, tools)
    forced = named is not None or _forces(choice) or prompt.must_call
    # After a tool's result the model speaks, unless it is made to call.
    if not tools or choice == "none" or (prompt.results and not forced):
        return None
    best = max(tools, key=lambda tool: (tool is named, _affinity(tool, prompt.question)))
    if not forced and _affinity(best, prompt.question) < 1:
        return None
    parameters = best["function"].get("parameters") or {}
    text = "\n".join((*prompt.results, prompt.question))
    return ToolCall(_name(best), fill({"type": "object", **parameters}, text))


def _open_tools(request: Mapping[str, Any], prompt: Prompt) -> list[Tool]:
    """Return the tools that may be called: after a result, those that were not called yet."""
    called = _called(request) if prompt.results else set()
    return [tool for tool in request.get("tools") or () if _name(tool) not in called]


def _name(tool: Tool) -> str:
    return str(tool["function"]["name"])


def _named(choice: Any, tools: Sequence[Tool]) -> Tool | None:
    if isinstance(choice, Mapping):
        choice = (choice.get("function") or choice).get("name")
    return next((tool for tool in tools if _name(tool) == choice), None)


def _forces(choice: Any) -> bool:
    return choice in ("required", "any") or isinstance(choice, Mapping)


def _called(request: Mapping[str, Any]) -> set[str]:
    """Return the names of the tools called since the last user message."""
    names: set[str] = set()
    for message in reversed(request["messages"]):
        if message["role"] == "user":
            break
        names.update(call["function"]["name"] for call in message.get("tool_calls") or ())
    return names


def _affinity(tool: Tool, text: str) -> float:
    """Judge how much a text asks for a tool; 1 and above means that it does."""
    function = tool["function"]
    name = _name(tool)
    if name.lower() in text.lower():
        return 10.0 + len(name) / 100
    said = set(words(text))
    of_name = {stem(word) for word in name_words(name)} - _COMMON
    fields = (function.get("parameters") or {}).get("properties") or {}
    of_fields = {stem(word) for field in fields for word in name_words(field)} - _COMMON
    of_description = set(words(function.get("description") or "")) - _COMMON
    return len(said & of_name) + 0.5 * len(said & of_description) + 0.5 * len(said & of_fields)
