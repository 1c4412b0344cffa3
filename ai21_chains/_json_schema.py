"""A JSON Schema as a pydantic model, for whoever has no Python at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Optional, Union, get_args

from langchain_core.utils.json_schema import dereference_refs
from pydantic import BaseModel, Field, WithJsonSchema, create_model

_PLAIN = {"string": str, "integer": int, "number": float, "boolean": bool, "null": None}
_NUMBER = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
}
_LIMITS = {
    "number": _NUMBER,
    "integer": _NUMBER,
    "string": {"minLength": "min_length", "maxLength": "max_length", "pattern": "pattern"},
    "array": {"minItems": "min_length", "maxItems": "max_length"},
}
"""Keywords of JSON Schema that limit a value of a type, by pydantic's names."""


def model_from_json_schema(schema: Mapping[str, Any], name: str) -> type[BaseModel]:
    """Return a pydantic model for a JSON Schema of an object.

    Args:
        schema: The schema. References in it are resolved; keywords that pydantic has nothing for
            are shown to the language model, and not checked.
        name: What the model is called, if the schema has no title.

    Raises:
        ValueError: The schema has no properties, or a type that there is not.
        KeyError: A reference leads nowhere.

    Example:
        >>> schema = {"properties": {"age": {"type": "integer", "minimum": 0}}, "required": ["age"]}
        >>> Cat = model_from_json_schema(schema, "Cat")
        >>> Cat.model_validate({"age": 3}).model_dump(by_alias=True)
        {'age': 3}
    """
    # No key is left out: references inside what is referred to are resolved, too.
    schema = dereference_refs(dict(schema), skip_keys=[])
    if not isinstance(schema.get("properties") or None, dict):
        raise ValueError('no JSON Schema of an object with "properties"')
    return _model(schema, name)


def _model(given: Mapping[str, Any], name: str) -> type[BaseModel]:
    """Return a model whose fields go by their aliases: JSON's names need not be Python's."""
    fields: Any = {f"field_{i}": field for i, field in enumerate(_fields(given))}
    return create_model(given.get("title", name), __doc__=given.get("description"), **fields)


def _fields(given: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield type and settings of each field; to the language model it is described as given."""
    for name, described in given["properties"].items():
        described = {"title": name, **(described if isinstance(described, Mapping) else {})}
        kind = _kind(described, name)
        match described:
            case {"type": [one, "null"] | ["null", one]}:
                described["type"] = one
        if name in given.get("required", ()) and type(None) not in get_args(kind):
            settings = Field(alias=name)
        else:
            kind = Optional[kind]  # noqa: UP045 - `|` would refuse what is no class
            settings = Field(alias=name, default=described.get("default"))
        yield Annotated[kind, WithJsonSchema(described)], settings


def _kind(given: Any, name: str) -> Any:
    """Return the Python type of what a schema describes."""
    if not isinstance(given, Mapping):
        return Any
    if "const" in given or "enum" in given:
        return Literal[tuple(given.get("enum", [given.get("const")]))]
    if several := _alternatives(given):
        return Union[tuple(_kind(one, name) for one in several)]  # noqa: UP007 - likewise
    kind = _one_kind(given, name)
    limits = _limits(given)
    return Annotated[kind, Field(**limits)] if limits else kind


def _alternatives(given: Mapping[str, Any]) -> Sequence[Any]:
    if isinstance(given.get("type"), list):
        return [{**given, "type": one} for one in given["type"]]
    return given.get("anyOf") or given.get("oneOf") or ()


def _limits(given: Mapping[str, Any]) -> dict[str, Any]:
    names = _LIMITS.get(given.get("type", ""), {})
    return {names[key]: value for key, value in given.items() if key in names}


def _one_kind(given: Mapping[str, Any], name: str) -> Any:
    kind = given.get("type", "object" if "properties" in given else None)
    if kind == "array":
        return list.__class_getitem__(_kind(given.get("items"), name))
    if kind == "object":
        return _model(given, name) if given.get("properties") else dict[str, Any]
    if kind is not None and kind not in _PLAIN:
        raise ValueError(f"{name} has the unknown type {kind!r}")
    return Any if kind is None else _PLAIN[kind]
