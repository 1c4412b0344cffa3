"""AI21's events as OpenAI's: chunks of chat and of text completions, as bytes ready to be sent.

A piece of plain text, which is what nearly every event is, costs three joined strings: all around
it is made once. Finish reasons are held back to the end, so that what is found out there (a broken
schema, the citations of a grounded answer) comes before the client takes the answer for complete.
"""

from __future__ import annotations

from json.encoder import encode_basestring
from typing import TYPE_CHECKING

from ai21_chains._wire import AssistantMessage, Completion, JSONObject, ToolCallDelta, Usage
from ai21_chains._wire_parts import ToolCallReader
from ai21_chains.errors import StructuredOutputError
from ai21_chains.serving import _openai_answers as answers
from ai21_chains.serving._openai import Asked, AskedText
from ai21_chains.serving._openai_errors import error_reply

if TYPE_CHECKING:
    from ai21_chains.answers import GroundedAnswer

DONE = b"data: [DONE]\n\n"
"""The event that ends a stream which did not fail."""


def failure(error: BaseException) -> bytes:
    """Return the last event of a stream that failed; no `[DONE]` follows it."""
    return _event(error_reply(error).body)


def _event(value: JSONObject) -> bytes:
    return b"data: " + answers.dump(value) + b"\n\n"


class ChunkWriter:
    r"""Writes the stream of one chat completion.

    Attributes:
        usage: The tokens of the answer, once they are known.

    Example:
        >>> from ai21_chains.serving._openai import read_chat
        >>> asked = read_chat(b'{"model": "m", "messages": [{"role": "user", "content": "Hi"}]}')
        >>> writer = ChunkWriter(asked, created=0)
        >>> writer.feed_text("Hello").endswith(b'"finish_reason":null}]}\n\n')
        True
        >>> writer.close().endswith(b'data: [DONE]\n\n')
        True
    """

    def __init__(self, asked: Asked, *, created: int) -> None:
        """Start before the first event.

        Args:
            asked: What was asked for.
            created: When it was, in seconds since 1970.
        """
        self.usage: Usage | None = None
        self._asked = asked
        self._created = created
        self._id = ""
        self._started: dict[int, ToolCallReader] = {}
        self._called: set[int] = set()
        self._reasons: dict[int, str | None] = {}
        self._texts: dict[int, str] = {}
        self._before: dict[int, str] = {}
        self._after = ""

    def feed(self, event: Completion) -> bytes:
        """Return the chunks for an event of AI21's; there may be none."""
        if len(event["choices"]) == 1 and not event.get("usage"):
            choice = event["choices"][0]
            delta = choice["delta"]
            before = self._before.get(choice.get("index") or 0)
            text = delta.get("content")
            if before and text and len(delta) == 1 and not choice.get("finish_reason"):
                return f"{before}{encode_basestring(text)}{self._after}".encode("utf-8", "replace")
        return self._feed(event)

    def feed_text(self, text: str) -> bytes:
        """Return the chunks for a piece of text that a chain gave."""
        return self.feed({"choices": [{"index": 0, "delta": {"content": text}}]})

    def close(self, answer: GroundedAnswer | None = None) -> bytes:
        """Return what follows the last event: the finish reasons, the usage and `[DONE]`.

        Args:
            answer: The answer as a whole, if it is one from documents; the last chunk has its
                citations.

        Raises:
            StructuredOutputError: The answer does not fit the schema that it was held to.
        """
        parts = [] if self._started else [self.feed_text("")]
        last: JSONObject = {}
        if answer is not None:
            self.usage = answers.tokens_of(answer) or self.usage
            self._reasons[0] = "length" if answer.status == "truncated" else "stop"
            last = answers.grounding(answer)
        for index in self._started:
            reason = answers.finish(self._reasons.get(index), self._asked, index in self._called)
            if self._asked.schema is not None and reason == "stop":
                self._check(self._asked.schema, self._texts[index])
            parts.append(self._chunk(index, last, reason))
        if self._asked.include_usage and self.usage:
            parts.append(_event({**self._head(), "choices": [], "usage": self.usage}))
        return b"".join([*parts, DONE])

    def _check(self, schema: JSONObject, text: str) -> None:
        if answers.held_to(schema, text) != text:
            # What is around the JSON could have been taken away, were it not sent.
            raise StructuredOutputError("The answer is more than JSON", llm_output=text)

    def _feed(self, event: Completion) -> bytes:
        self._id = self._id or answers.identity(event, "chatcmpl")
        self.usage = answers.tokens(event.get("usage")) or self.usage
        parts = []
        for choice in event["choices"]:
            index = choice.get("index") or 0
            is_first = index not in self._started
            if is_first:
                self._start(index)
            if delta := self._delta(index, choice["delta"], is_first):
                parts.append(self._chunk(index, delta, None))
            self._reasons[index] = choice.get("finish_reason") or self._reasons.get(index)
        return b"".join(parts)

    def _start(self, index: int) -> None:
        self._started[index] = ToolCallReader()
        self._texts[index] = ""
        if self._asked.schema is None:
            empty = self._chunk(index, {"content": ""}, None).decode()
            # No name in it can have these quotation marks: JSON escapes them.
            before, _, self._after = empty.partition('"content":""')
            self._before[index] = f'{before}"content":'

    def _delta(self, index: int, given: AssistantMessage, is_first: bool) -> JSONObject:
        text = given.get("content")
        delta: JSONObject = self._calls(index, given)
        if reasoning := given.get("reasoning_content"):
            delta["reasoning_content"] = reasoning
        if text:
            delta["content"] = text
            if self._asked.schema is not None:
                self._texts[index] += text
        if is_first:
            # Where tools may be called there may be no text: the client's `content` stays null.
            empty = None if "tools" in self._asked.request else ""
            delta = {"role": "assistant", "content": empty, **delta}
        return delta

    def _calls(self, index: int, given: AssistantMessage) -> JSONObject:
        calls = [self._call(index, call) for call in given.get("tool_calls") or ()]
        if not calls:
            return {}
        if not self._asked.legacy_functions:
            return {"tool_calls": calls}
        # There is one function call at most.
        return {"function_call": calls[0]["function"]} if calls[0]["index"] == 0 else {}

    def _call(self, index: int, given: ToolCallDelta) -> JSONObject:
        self._called.add(index)
        piece = self._started[index].read(given)
        function = {"arguments": piece["args"] or ""}
        if piece["name"]:
            function = {"name": piece["name"], **function}
        if piece["id"]:
            named = {"id": piece["id"], "type": "function"}
            return {"index": piece["index"], **named, "function": function}
        return {"index": piece["index"], "function": function}

    def _chunk(self, index: int, delta: JSONObject, reason: str | None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        # OpenAI promises the key in every chunk, once usage was asked for.
        usage = {"usage": None} if self._asked.include_usage else {}
        return _event({**self._head(), "choices": [choice], **usage})

    def _head(self) -> JSONObject:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._asked.model,
        }


class TextChunkWriter:
    """Writes the stream of one text completion, which may be that of several prompts."""

    def __init__(self, asked: AskedText, *, created: int) -> None:
        """Start before the first event.

        Args:
            asked: What was asked for.
            created: When it was, in seconds since 1970.
        """
        self._asked = asked
        self._created = created
        self._id = ""
        self._reasons: dict[int, str | None] = {}
        self._usages: dict[int, Usage] = {}

    @property
    def usage(self) -> Usage | None:
        """The tokens of all answers, as far as they are known."""
        return answers.total(self._usages.values())

    def feed(self, event: Completion, prompt: int = 0) -> bytes:
        """Return the chunks for an event of AI21's; there may be none.

        Args:
            event: The event.
            prompt: The number of the prompt that it answers, from 0.
        """
        self._id = self._id or answers.identity(event, "cmpl")
        if usage := answers.tokens(event.get("usage")):
            self._usages[prompt] = usage
        parts = []
        for choice in event["choices"]:
            index = prompt * self._asked.n + (choice.get("index") or 0)
            text = choice["delta"].get("content") or ""
            if index not in self._reasons and self._asked.echo:
                text = self._asked.prompts[prompt] + text
            if text:
                parts.append(self._chunk(answers.text_choice(index, text, None)))
            self._reasons[index] = choice.get("finish_reason") or self._reasons.get(index)
        return b"".join(parts)

    def close(self) -> bytes:
        """Return what follows the last event: the finish reasons, the usage and `[DONE]`."""
        parts = [
            self._chunk(answers.text_choice(index, "", answers.text_finish(reason)))
            for index, reason in self._reasons.items()
        ]
        if self._asked.include_usage and self.usage:
            parts.append(_event({**self._head(), "choices": [], "usage": self.usage}))
        return b"".join([*parts, DONE])

    def _chunk(self, choice: JSONObject) -> bytes:
        return _event({**self._head(), "choices": [choice]})

    def _head(self) -> JSONObject:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._asked.model,
        }
