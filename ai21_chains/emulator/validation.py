"""Checks of a request's body, and the server's words for what is wrong with it.

AI21's server is FastAPI with pydantic 1: what breaks the schema is answered with a list of
`{"loc", "msg", "type"}`. A schema is data, so that the table of what is emulated can be generated
from it; each family of endpoints has its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import isfunction
from typing import Any

Error = dict[str, Any]
Location = tuple[str | int, ...]
Check = Callable[[Any, Location], Iterator[Error]]


def error(loc: Location, msg: str, kind: str, /, **ctx: Any) -> Error:
    """Return one entry of a list-style 422 body.

    Args:
        loc: Where the fault is, from "body" on.
        msg: The text in pydantic 1's words.
        kind: The type in pydantic 1's words.
        **ctx: Values the text speaks of; the key is left out when there are none.
    """
    entry: Error = {"loc": list(loc), "msg": msg, "type": kind}
    return {**entry, "ctx": ctx} if ctx else entry


def string(value: Any, loc: Location) -> Iterator[Error]:
    """A string; content in parts is refused."""
    if not isinstance(value, str):
        yield error(loc, "str type expected", "type_error.str")


def boolean(value: Any, loc: Location) -> Iterator[Error]:
    """True or false."""
    if not isinstance(value, bool):
        yield error(loc, "value could not be parsed to a boolean", "type_error.bool")


def mapping(value: Any, loc: Location) -> Iterator[Error]:
    """An object."""
    if not isinstance(value, dict):
        yield error(loc, "value is not a valid dict", "type_error.dict")


def pairs(value: Any, loc: Location) -> Iterator[Error]:
    """An object, or a list of `{"key", "value"}` as AI21's older pages show it."""
    if not isinstance(value, dict | list):
        yield error(loc, "value is not a valid dict", "type_error.dict")


def text_or_texts(value: Any, loc: Location) -> Iterator[Error]:
    """A string or a list of strings."""
    if isinstance(value, str):
        return
    # Of a union that does not match, pydantic 1 names what is wrong with each alternative.
    if faults := list(ListOf(string)(value, loc)):
        yield error(loc, "str type expected", "type_error.str")
        yield from faults


def describe(check: Check) -> str:
    """Return what a check wants, in words.

    Args:
        check: One of the checks of this module.
    """
    return (check.__doc__ or "").rstrip(".") if isfunction(check) else str(check)


@dataclass(frozen=True)
class Number:
    """A check for a number in a range.

    Attributes:
        whole: Whether it must be an integer.
        ge: The smallest value allowed.
        gt: The value that must be exceeded.
        le: The largest value allowed.
    """

    whole: bool = False
    ge: float | None = None
    gt: float | None = None
    le: float | None = None

    def __str__(self) -> str:
        """Describe the check for the table of what is emulated."""
        words = {"at least": self.ge, "above": self.gt, "at most": self.le}
        limits = [f"{word} {limit}" for word, limit in words.items() if limit is not None]
        return ", ".join(["An integer" if self.whole else "A number", *limits])

    def __call__(self, value: Any, loc: Location) -> Iterator[Error]:
        """Want a number within the limits."""
        kind, name = (int, "integer") if self.whole else (int | float, "float")
        if isinstance(value, bool) or not isinstance(value, kind):
            yield error(loc, f"value is not a valid {name}", f"type_error.{name}")
        elif self.ge is not None and value < self.ge:
            yield self._limit(loc, "greater than or equal to", "ge", self.ge)
        elif self.gt is not None and value <= self.gt:
            yield self._limit(loc, "greater than", "gt", self.gt)
        elif self.le is not None and value > self.le:
            yield self._limit(loc, "less than or equal to", "le", self.le)

    def _limit(self, loc: Location, words: str, code: str, limit: float) -> Error:
        text = f"ensure this value is {words} {limit}"
        return error(loc, text, f"value_error.number.not_{code}", limit_value=limit)


@dataclass(frozen=True)
class Constant:
    """A check for one literal string."""

    wanted: str

    def __str__(self) -> str:
        """Describe the check for the table of what is emulated."""
        return f'"{self.wanted}"'

    def __call__(self, value: Any, loc: Location) -> Iterator[Error]:
        """Want exactly this string."""
        if value != self.wanted:
            text = f"unexpected value; permitted: {self.wanted!r}"
            yield error(loc, text, "value_error.const", given=value, permitted=[self.wanted])


@dataclass(frozen=True)
class OneOf:
    """A check for a member of an enumeration."""

    members: tuple[str, ...]

    def __str__(self) -> str:
        """Describe the check for the table of what is emulated."""
        return " or ".join(f'"{member}"' for member in self.members)

    def __call__(self, value: Any, loc: Location) -> Iterator[Error]:
        """Want one of these strings."""
        if value not in self.members:
            permitted = ", ".join(map(repr, self.members))
            text = f"value is not a valid enumeration member; permitted: {permitted}"
            yield error(loc, text, "type_error.enum", enum_values=list(self.members))


@dataclass(frozen=True)
class ListOf:
    """A check for a list whose items pass another check."""

    item: Check

    def __str__(self) -> str:
        """Describe the check for the table of what is emulated."""
        return f"A list; each item: {describe(self.item)}"

    def __call__(self, value: Any, loc: Location) -> Iterator[Error]:
        """Want a list of such items."""
        if not isinstance(value, list):
            yield error(loc, "value is not a valid list", "type_error.list")
            return
        for index, item in enumerate(value):
            yield from self.item(item, (*loc, index))


@dataclass(frozen=True)
class Object:
    """A check for an object: its fields one by one; unknown fields are ignored, as AI21 does.

    Attributes:
        required: Fields that must be there and must not be null.
        optional: Fields that may be missing or null.
    """

    required: Mapping[str, Check]
    optional: Mapping[str, Check]

    def __str__(self) -> str:
        """Describe the check for the table of what is emulated."""
        fields = {**self.required, **self.optional}
        return ", ".join(
            f"`{name}`"
            + (f" = {check}" if isinstance(check, Constant | OneOf) else "")
            + (" (optional)" if name in self.optional else "")
            for name, check in fields.items()
        )

    def __call__(self, value: Any, loc: Location) -> Iterator[Error]:
        """Want an object with these fields."""
        if not isinstance(value, dict):
            yield error(loc, "value is not a valid dict", "type_error.dict")
            return
        for name, check in self.required.items():
            if name not in value:
                yield error((*loc, name), "field required", "value_error.missing")
            elif value[name] is None:
                text = "none is not an allowed value"
                yield error((*loc, name), text, "type_error.none.not_allowed")
            else:
                yield from check(value[name], (*loc, name))
        for name, check in self.optional.items():
            if value.get(name) is not None:
                yield from check(value[name], (*loc, name))


@dataclass(frozen=True)
class ByKind:
    """A check for an object of which one field says which others it has.

    Attributes:
        kinds: For each kind, the server's name of it and the check of its fields.
        field: The field that says the kind.
    """

    kinds: Mapping[str, tuple[str, Object]]
    field: str = "role"

    def __str__(self) -> str:
        """Describe the check for the table of what is emulated."""
        return "; ".join(f"{kind}: {check}" for kind, (_, check) in self.kinds.items())

    def __call__(self, value: Any, loc: Location) -> Iterator[Error]:
        """Want an object of a known kind."""
        base = "value_error.discriminated_union"
        field = self.field
        if not isinstance(value, dict) or field not in value:
            text = f"Discriminator {field!r} is missing in value"
            yield error(loc, text, f"{base}.missing_discriminator", discriminator_key=field)
            return
        kind = value[field]
        if not isinstance(kind, str) or kind not in self.kinds:
            allowed = ", ".join(map(repr, self.kinds))
            text = f"No match for discriminator {field!r} and value {kind!r}"
            text += f" (allowed values: {allowed})"
            context = {"discriminator_key": field, "discriminator_value": kind}
            code = f"{base}.invalid_discriminator"
            yield error(loc, text, code, **context, allowed_values=allowed)
            return
        name, check = self.kinds[kind]
        yield from check(value, (*loc, name))


def faults_of(body: bytes, schema: Check) -> list[Error]:
    """Return what is wrong with the body of a request, as the `detail` of a 422 answer.

    Args:
        body: The body as it was sent.
        schema: The check of its JSON.
    """
    return unreadable(body) or list(schema(json.loads(body), ("body",)))


def unreadable(body: bytes) -> list[Error]:
    """Return why the body of a request is no JSON, in the words of FastAPI with pydantic 1.

    Args:
        body: The body as it was sent.
    """
    if not body:
        return [error(("body",), "field required", "value_error.missing")]
    try:
        json.loads(body)
    except json.JSONDecodeError as problem:
        place = {"pos": problem.pos, "lineno": problem.lineno, "colno": problem.colno}
        context = {"msg": problem.msg, "doc": problem.doc, **place}
        return [error(("body", problem.pos), str(problem), "value_error.jsondecode", **context)]
    except UnicodeDecodeError:
        return [error(("body",), "value is not a valid dict", "type_error.dict")]
    return []
