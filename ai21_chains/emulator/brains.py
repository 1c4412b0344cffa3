"""Brains decide what the emulated model says; a brain is a function from a request to a reply.

`scripted` says what a test tells it to say; the default, `extractive`, has its own module.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any


class EmulatorError(Exception):
    """A brain has no answer to give; clients see HTTP 400 with the text."""

    status = 400


class BrainError(EmulatorError):
    """A brain has failed; clients see HTTP 500 with the text."""

    status = 500


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool, as the model asks for it.

    Attributes:
        name: The tool's name.
        arguments: A mapping, or the text exactly as it is to be sent (which may be broken JSON).
        id: The call's id; None lets the emulator make one in AI21's form.
    """

    name: str
    arguments: Mapping[str, Any] | str
    id: str | None = None

    @property
    def arguments_text(self) -> str:
        """The arguments as the JSON text that goes over the wire."""
        if isinstance(self.arguments, str):
            return self.arguments
        return json.dumps(self.arguments, ensure_ascii=False)


@dataclass(frozen=True)
class Reply:
    """What the model says (AI21 API reference, chat completions, assistant message).

    Attributes:
        content: The text; None is sent as null.
        tool_calls: The tools the model wants called.
        finish_reason: Sent as it is; None means "stop", "length" or "tool_calls", as it turns out.
        reasoning_content: The text of the model's reasoning; left out of the answer when None.
    """

    content: str | None = None
    tool_calls: Sequence[ToolCall] = ()
    finish_reason: str | None = None
    reasoning_content: str | None = None


Brain = Callable[[dict[str, Any]], Reply | str]
"""A function that gets the request's JSON and returns a `Reply`, or simply the text."""


def scripted(*replies: Reply | str) -> Brain:
    """Return a brain that gives these replies in order, one for each choice asked for.

    Args:
        *replies: What to say first, second and so on.

    Returns:
        A brain that raises `EmulatorError` once the replies have run out.
    """
    turns = count()

    def brain(request: dict[str, Any]) -> Reply | str:
        # next() on a count is atomic, so concurrent requests never get the same reply.
        turn = next(turns)
        if turn >= len(replies):
            raise EmulatorError(
                f"the scripted brain has no reply left: {len(replies)} given, "
                f"this is request number {turn + 1}"
            )
        return replies[turn]

    return brain
