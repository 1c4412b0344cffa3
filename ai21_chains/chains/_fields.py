"""The fields of a pydantic model as a form for a model, and what came back merged into values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticUserError

from ai21_chains.answers import unsupported_numbers
from ai21_chains.chains._forms import distinct
from ai21_chains.chains._input import problems
from ai21_chains.citations import Citation
from ai21_chains.errors import ConfigurationError

_DATE = re.compile(r"\d{4}-\d{2}(?:-\d{2}(?:T[\d:.+Z-]+)?)?")
_NOTHING: tuple[Any, ...] = (None, "", [], {})

Schema = TypeVar("Schema", bound=BaseModel)


class Form(NamedTuple):
    """What a model is to fill in.

    Attributes:
        json: The JSON schema of its reply.
        lists: For each field whether it is a list.
    """

    json: str
    lists: dict[str, bool]


def form_for(schema: Any) -> Form:
    """Return the form for a pydantic model: each field, or item of a field, with its quotes."""
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        raise ConfigurationError("Extraction: schema must be a pydantic model class")
    try:
        described = schema.model_json_schema()
    except PydanticUserError as error:
        reason = " ".join(error.message.split())
        raise ConfigurationError(f"Extraction: schema has no JSON form ({reason})") from None
    fields: dict[str, Any] = {}
    lists: dict[str, bool] = {}
    for name, given in described.get("properties", {}).items():
        items = _items(given)
        lists[name] = items is not None
        about = ". ".join(filter(None, [given.get("title", name), given.get("description")]))
        entry = _entry(given if items is None else items, about, nullable=items is None)
        fields[name] = entry if items is None else {"type": "array", "items": entry}
    if not fields:
        raise ConfigurationError("Extraction: schema has no fields")
    about_it = ("title", "description", "$defs")
    form = {key: described[key] for key in about_it if key in described}
    form |= {"type": "object", "properties": fields, "required": list(fields)}
    return Form(json.dumps(form, ensure_ascii=False), lists)


def _items(given: Mapping[str, Any]) -> Mapping[str, Any] | None:
    kinds = [given, *given.get("anyOf", ())]
    return next((k["items"] for k in kinds if k.get("type") == "array" and "items" in k), None)


def _entry(value: Mapping[str, Any], about: str, *, nullable: bool) -> dict[str, Any]:
    # A default would tempt a model to find it.
    value = {key: value[key] for key in value if key not in ("default", "title")}
    null = {"type": "null"}
    if nullable and null not in value.get("anyOf", ()):
        value = {"anyOf": [value, null]}
    quote = {
        "doc": {"type": "integer", "default": 0},
        "quote": {"type": "string", "description": about},
    }
    quotes = {"type": "object", "properties": quote, "required": ["doc", "quote"]}
    entry = {"value": {**value, "description": about}, "quotes": {"type": "array", "items": quotes}}
    return {"type": "object", "properties": entry, "required": ["value", "quotes"]}


def read_values(entry: object, several: bool) -> Iterator[tuple[Any, object]]:
    """Yield each value of a field with what is quoted for it, in whatever shape it comes."""
    if isinstance(entry, list) and several:
        for item in entry:
            yield from read_values(item, False)
        return
    value, quotes = _value_and_quotes(entry)
    for one in value if several and isinstance(value, list) else [value]:
        if one not in _NOTHING:
            yield one, quotes


def _value_and_quotes(entry: object) -> tuple[Any, object]:
    if isinstance(entry, Mapping) and "value" in entry and {*entry} <= {"value", "quotes"}:
        return entry["value"], entry.get("quotes")
    return entry, None


class Finding(NamedTuple):
    """A value, and the verified quotes that prove it."""

    value: Any
    citations: list[Citation]


@dataclass
class Findings:
    """What was found for a field, in the order of the documents.

    Attributes:
        several: Whether the field is a list; all its values count then, else the first.
        proved: The values with verified quotes, each once.
        others: The values without, each once.
    """

    several: bool
    proved: list[Finding] = field(default_factory=list)
    others: list[Any] = field(default_factory=list)

    def add(self, value: Any, citations: list[Citation]) -> None:
        """Take a value; one that is known gets further evidence."""
        same = (one for one in self.proved if _key(one.value) == _key(value))
        if not citations:
            self.others += [] if _key(value) in map(_key, self.others) else [value]
        elif (known := next(same, None)) is not None:
            known.citations[:] = distinct([*known.citations, *citations])
        else:
            self.proved.append(Finding(value, citations))

    @property
    def verified(self) -> Any:
        """The value, or all values of a list; None if no quote proves any."""
        return self._merged([one.value for one in self.proved])

    @property
    def unverified(self) -> Any:
        """The value without a verified quote, or all of a list; None if there is none."""
        return self._merged(self.others)

    @property
    def evidence(self) -> list[Citation]:
        """The quotes that prove what counts."""
        counting = self.proved if self.several else self.proved[:1]
        return distinct(citation for one in counting for citation in one.citations)

    @property
    def conflicts(self) -> list[Finding]:
        """The values that do not count since the field has another one."""
        return [] if self.several else self.proved[1:]

    @property
    def unsupported_numbers(self) -> list[str]:
        """Numbers in what counts that stand in none of its quotes; dates are written otherwise."""
        return unsupported_numbers("; ".join(_texts(self.verified)), self.evidence)

    def _merged(self, values: list[Any]) -> Any:
        if not values:
            return None
        return list(values) if self.several else values[0]


def by_field(found: Mapping[str, Findings], attribute: str) -> dict[str, Any]:
    """Return what the fields have under an attribute, where they have something."""
    values = {name: getattr(one, attribute) for name, one in found.items()}
    return {name: value for name, value in values.items() if value not in (None, [])}


def validated(
    schema: type[Schema], values: Mapping[str, Any], wrong: Iterable[str] = ()
) -> tuple[Schema | None, list[str]]:
    """Return the object that values make, without those that are wrong, and what is wrong."""
    kept = {name: value for name, value in values.items() if name not in wrong}
    try:
        return schema.model_validate_json(json.dumps(kept)), []
    except ValidationError as error:
        found = error
    except Exception as error:  # a validator of the schema's may raise anything
        return None, [" ".join(f"{schema.__name__}: {type(error).__name__}: {error}".split())]
    places = [str(one["loc"][0]) if one["loc"] else "" for one in found.errors()]
    # That a field is missing which was left out as wrong is no news.
    said = zip(problems(found), places, strict=True)
    lines = [line for line, place in said if place not in wrong]
    if kept.keys().isdisjoint(places):
        return None, lines
    value, further = validated(schema, kept, {*places, *wrong})
    return value, list(dict.fromkeys(lines + further))


def _key(value: Any) -> str:
    """Return what two values have in common that differ in spelling only."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return " ".join(text.casefold().split())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(part)
    elif value is not None and not isinstance(value, bool):
        yield _DATE.sub("", str(value))
