"""Parts of AI21's answers that servers disagree on: text, ids, token counts, pieces of tool calls.

Loads nothing of LangChain: the gateway forwards answers without it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ai21_chains import _wire

if TYPE_CHECKING:
    from langchain_core.messages.ai import UsageMetadata
    from langchain_core.messages.tool import ToolCallChunk

_MOST_TOKENS = 1_000_000_000
"""What is more is no count of one request's tokens, and in sum may not fit into a database."""


def as_text(value: object) -> str:
    """Return what should be a string as one: as it is, as JSON, or as Python says it."""
    if value is None or isinstance(value, str):
        return value or ""
    # What has no JSON form even so: a circle, or keys that are not strings.
    with suppress(TypeError, ValueError, RecursionError):
        if isinstance(value, dict | list | tuple | bool | int | float):
            return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def identity(part: Mapping[str, Any]) -> str | None:
    """Return the id of an answer or a call."""
    # Some servers number what others name.
    found = part.get("id")
    return None if found in (None, "") else str(found)


def usage_metadata(usage: object) -> UsageMetadata | None:
    """Convert AI21's token counts, or return None if they are missing or are no counts."""
    if not isinstance(usage, dict):
        return None
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    given, made, total = (_count(usage.get(name)) for name in names)
    if given is None and made is None:
        return None
    both = (given or 0) + (made or 0)
    return {
        "input_tokens": given or 0,
        "output_tokens": made or 0,
        "total_tokens": total or both,
    }


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None


class ToolCallReader:
    """Says which tool call each piece of a stream belongs to; an id and a name are given once."""

    def __init__(self) -> None:
        self._positions: dict[int, int] = {}
        self._call_ids: list[str] = []
        self._named: set[int] = set()

    def read(self, delta: _wire.ToolCallDelta) -> ToolCallChunk:
        """Return a piece of a tool call; its id and its name are in one piece of each call."""
        function = delta.get("function") or {}
        name = function.get("name") or None
        position = self._position(delta, name)
        is_new = position == len(self._call_ids)
        if is_new:
            self._positions[delta.get("index") or 0] = position
            self._call_ids.append(identity(delta) or f"call_{uuid4().hex}")
        if position in self._named:
            name = None
        elif name:
            self._named.add(position)
        return {
            "type": "tool_call_chunk",
            "name": name,
            "args": as_text(function.get("arguments")),
            "id": self._call_ids[position] if is_new else None,
            "index": position,
        }

    def _position(self, delta: _wire.ToolCallDelta, name: str | None) -> int:
        """Return which of the calls a piece belongs to, counted from 0."""
        new = len(self._call_ids)
        position = self._positions.get(delta.get("index") or 0, new)
        call_id = identity(delta)
        # Some servers number every call 0: another id and a name are another call all the same. An
        # id alone is none; some servers make one up for each delta.
        renamed = position < new and call_id and name and call_id != self._call_ids[position]
        return new if renamed else position
