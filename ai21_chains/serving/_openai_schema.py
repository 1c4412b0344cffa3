"""Whether a JSON value fits a JSON schema, as far as OpenAI's strict mode has keywords.

OpenAI's guide to structured outputs lists them. `pattern` and `format` are left out: a client's
regular expression may take for ever.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from ai21_chains.serving._refusals import Refused

_MOST_STEPS = 20_000
"""A schema can be written so that a check of it never ends; a real one takes far fewer."""

_TYPES: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}

_LIMITS: tuple[tuple[str, str, Callable[[Any], Any], Callable[[Any, Any], bool]], ...] = (
    ("minimum", "number", lambda number: number, operator.ge),
    ("maximum", "number", lambda number: number, operator.le),
    ("exclusiveMinimum", "number", lambda number: number, operator.gt),
    ("exclusiveMaximum", "number", lambda number: number, operator.lt),
    ("minLength", "string", len, operator.ge),
    ("maxLength", "string", len, operator.le),
    ("minItems", "array", len, operator.ge),
    ("maxItems", "array", len, operator.le),
)


def first_problem(value: Any, schema: Mapping[str, Any]) -> str:
    """Say where a value does not fit a schema, or return an empty string.

    Args:
        value: A decoded JSON value.
        schema: The schema; `$ref` points into it.

    Raises:
        Refused: The schema is none, or too intricate to be checked.

    Example:
        >>> first_problem({"age": "7"}, {"properties": {"age": {"type": "integer"}}})
        'age is no integer'
    """
    try:
        return next(_Check(schema).problems(value, schema, ""), "")
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        raise Refused(
            f"response_format holds no JSON schema that can be checked ({type(error).__name__})",
            status=400,
            code="invalid_json_schema",
            param="response_format",
        ) from error


class _Check:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._steps = 0

    def problems(self, value: Any, schema: Any, at: str) -> Iterator[str]:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise OverflowError
        if isinstance(schema, bool):
            if not schema:
                yield f"{at or 'the answer'} is not allowed"
            return
        yield from self._own(value, schema, at or "the answer")
        if isinstance(value, dict):
            yield from self._members(value, schema, at)
        if isinstance(value, list):
            for number, item in enumerate(value):
                yield from self.problems(item, schema.get("items", True), f"{at}[{number}]")
        yield from self._elsewhere(value, schema, at)

    def _elsewhere(self, value: Any, schema: Mapping[str, Any], at: str) -> Iterator[str]:
        parts = list(schema.get("allOf", ()))
        if "$ref" in schema:
            parts.append(self._target(schema["$ref"]))
        for part in parts:
            yield from self.problems(value, part, at)
        for word in ("anyOf", "oneOf"):
            if word in schema and not any(map(partial(self._fits, value), schema[word])):
                yield f"{at or 'the answer'} fits none of the forms it may have"

    def _fits(self, value: Any, schema: Any) -> bool:
        return next(self.problems(value, schema, ""), None) is None

    def _own(self, value: Any, schema: Mapping[str, Any], name: str) -> Iterator[str]:
        kinds = schema.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if kinds and not any(_is(value, kind) for kind in kinds):
            yield f"{name} is no {' or '.join(kinds)}"
        if "enum" in schema and not any(_same(value, other) for other in schema["enum"]):
            yield f"{name} is none of the values it may have"
        if "const" in schema and not _same(value, schema["const"]):
            yield f"{name} is not the value it must have"
        yield from _beyond(value, schema, name)

    def _members(
        self, value: Mapping[str, Any], schema: Mapping[str, Any], at: str
    ) -> Iterator[str]:
        known = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{_below(at, name)} is missing"
        for name, member in value.items():
            inner = known.get(name, schema.get("additionalProperties", True))
            yield from self.problems(member, inner, _below(at, name))

    def _target(self, reference: str) -> Any:
        target: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            target = target[step.replace("~1", "/").replace("~0", "~")]
        return target


def _beyond(value: Any, schema: Mapping[str, Any], name: str) -> Iterator[str]:
    for word, kind, measured, holds in _LIMITS:
        if word in schema and _is(value, kind) and not holds(measured(value), schema[word]):
            yield f"{name} does not keep {word} {schema[word]}"


def _below(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _same(value: Any, other: Any) -> bool:
    return value == other and isinstance(value, bool) == isinstance(other, bool)
