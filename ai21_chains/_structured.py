"""Reads a schema's value out of a model's answer: from a tool call, or from JSON in the text."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, BaseMessageChunk
from langchain_core.output_parsers import BaseTransformOutputParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableGenerator, RunnableMap
from langchain_core.runnables.utils import AddableDict
from langchain_core.utils.json import parse_partial_json
from langchain_core.utils.pydantic import is_basemodel_subclass

from ai21_chains._protocol import quote
from ai21_chains.errors import StructuredOutputError

Whole = str | BaseMessage


class StructuredOutputParser(BaseTransformOutputParser[Any]):
    """Parses an answer into a pydantic object or a dict.

    In a stream of dicts each one has more in it than the one before; a pydantic class gives an
    object whenever what has arrived is valid. Whole answers and ended streams are held to the
    schema alike: pydantic classes are validated, of other schemas the required keys.

    Attributes:
        target: A pydantic class, or None if the result is to be a dict.
        required: Keys that a dict must have.
        tool_name: The tool whose arguments are the result; None to read JSON from the text.
        may_call_tools: Whether an answer that calls tools instead is fine: the result is then None.
    """

    target: Any = None
    required: tuple[str, ...] = ()
    tool_name: str | None = None
    may_call_tools: bool = False

    @property
    def _type(self) -> str:
        return "ai21_structured_output"

    def beside(self, model: Runnable[Any, Any]) -> Runnable[Any, dict[str, Any]]:
        """Return a runnable that gives `{"raw", "parsed", "parsing_error"}` and does not raise.

        In a stream the pieces of `raw` come first, and the other two together at its end: LangChain
        adds up what is given more than once.
        """
        parsing = RunnableGenerator(self._beside, self._abeside, name=self.get_name())
        return RunnableMap(raw=model) | parsing

    def _beside(self, parts: Iterator[dict[str, Any]]) -> Iterator[AddableDict]:
        whole = None
        for part in parts:
            whole = _joined(whole, part["raw"])
            yield AddableDict(part)
        yield self._outcome(whole)

    async def _abeside(self, parts: AsyncIterator[dict[str, Any]]) -> AsyncIterator[AddableDict]:
        whole = None
        async for part in parts:
            whole = _joined(whole, part["raw"])
            yield AddableDict(part)
        yield self._outcome(whole)

    def _outcome(self, whole: Any) -> AddableDict:
        try:
            return AddableDict(parsed=self.parse_result([_generation(whole)]), parsing_error=None)
        except StructuredOutputError as error:
            return AddableDict(parsed=None, parsing_error=error)

    def parse(self, text: str) -> Any:
        """Parse a text; see `parse_result`."""
        return self.parse_result([Generation(text=text)])

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Parse an answer.

        Args:
            result: The generation with the answer.
            partial: Whether more is to come. Nothing is raised then.

        Raises:
            StructuredOutputError: The answer was cut off, is a refusal, or does not fit.
        """
        message = getattr(result[0], "message", None) or AIMessage(result[0].text)
        if partial:
            try:
                return self._validated(self._value(message, partial=True), message)
            except StructuredOutputError:
                return None
        if message.response_metadata.get("finish_reason") == "length":
            raise self._problem("was cut off at max_tokens", message)
        if self.may_call_tools and message.tool_calls:
            return None
        value = self._validated(self._value(message), message)
        if isinstance(value, Mapping):
            missing = [key for key in self.required if key not in value]
            if missing:
                raise self._problem(f"lacks {', '.join(missing)}", message)
        return value

    def _value(self, message: AIMessage, *, partial: bool = False) -> Any:
        if self.tool_name is None:
            try:
                return read_json(message.text, partial=partial)
            except (ValueError, RecursionError):
                raise self._problem("is not JSON", message) from None
        for call in message.tool_calls:
            if call["name"] == self.tool_name:
                return call["args"]
        for broken in message.invalid_tool_calls:
            error = f": {broken['error']}" if broken["error"] else ""
            raise self._problem(f"holds a broken tool call{error}", message)
        raise self._problem(f"does not call {self.tool_name}", message)

    def _validated(self, value: Any, message: AIMessage) -> Any:
        if not isinstance(value, Mapping):
            raise self._problem("is not a JSON object", message)
        if not (isinstance(self.target, type) and is_basemodel_subclass(self.target)):
            return value
        schema = cast(Any, self.target)
        validate = getattr(schema, "model_validate", None) or schema.parse_obj
        try:
            return validate(value)
        except Exception as error:  # validators are the caller's code and may raise anything
            problem = f"does not fit {schema.__name__}: {_first_problem(error)}"
            raise self._problem(problem, message) from error

    def _problem(self, what: str, message: AIMessage) -> StructuredOutputError:
        calls = [call["args"] for call in (*message.tool_calls, *message.invalid_tool_calls)]
        words = str(message.text) or (str(calls[0]) if calls else "")
        said = f" The model said: {quote(words)}" if words else " The model said nothing"
        return StructuredOutputError(f"The answer {what}.{said}", llm_output=words)

    def _transform(self, input: Iterator[Whole]) -> Iterator[Any]:
        whole = last = None
        for chunk in input:
            whole = _joined(whole, chunk)
            value = self.parse_result([_generation(whole)], partial=True)
            if value is not None and value != last:
                yield (last := value)
        yield from self._final(whole, last)

    async def _atransform(self, input: AsyncIterator[Whole]) -> AsyncIterator[Any]:
        whole = last = None
        async for chunk in input:
            whole = _joined(whole, chunk)
            value = self.parse_result([_generation(whole)], partial=True)
            if value is not None and value != last:
                yield (last := value)
        for value in self._final(whole, last):
            yield value

    def _final(self, whole: Whole | None, last: Any) -> Iterator[Any]:
        if whole is not None:
            value = self.parse_result([_generation(whole)])
            if value != last:
                yield value


def _first_problem(error: Exception) -> str:
    errors = getattr(error, "errors", None)
    problems: list[Any] = errors() if callable(errors) else []
    if not problems:
        return quote(str(error)) or type(error).__name__
    place = ".".join(map(str, problems[0]["loc"]))
    return quote(f"{place}: {problems[0]['msg']}" if place else problems[0]["msg"])


_ALONE = re.compile(r"\s*(?:```\w*\s*)?(?=[{[])")
_AMID_PROSE = re.compile(r'(?=\{\s*(?:["}]|\Z)|\[\s*(?:[\[{"\]]|\Z))')
"""Where JSON begins in prose, which has brackets of its own: [1], [see below], {placeholders}."""


def read_json(text: str, *, partial: bool = False) -> Any:
    """Read the first JSON value of a text, whatever prose or code fence is around it."""
    start = _ALONE.match(text) or _AMID_PROSE.search(text) or re.search(r"(?=[{[])", text)
    if start is None:
        raise ValueError("there is no JSON")
    text = text[start.end() :]
    try:
        return json.JSONDecoder(strict=False).raw_decode(text)[0]
    except ValueError:
        if not partial:
            raise
        return parse_partial_json(text)


def _joined(whole: Any, chunk: Whole) -> Any:
    joinable = isinstance(chunk, str | BaseMessageChunk)
    return whole + chunk if whole is not None and joinable else chunk


def _generation(whole: Whole) -> Generation:
    return Generation(text=whole) if isinstance(whole, str) else ChatGeneration(message=whole)
