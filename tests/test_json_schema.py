"""A JSON Schema as a pydantic model."""

from typing import Any

import pytest
from pydantic import ValidationError

from ai21_chains._json_schema import model_from_json_schema
from tests.cases import each

CAT = {
    "title": "Cat",
    "description": "A cat.",
    "properties": {
        "its name": {"type": "string", "minLength": 1},
        "age": {"type": ["integer", "null"], "minimum": 0},
        "code": {"type": ["string", "integer"], "minLength": 2, "maximum": 9},
        "mood": {"enum": ["good", "bad"]},
        "kittens": {"type": "array", "items": {"$ref": "#/$defs/Kitten"}},
        "owner": {"type": "object", "properties": {"name": {"type": "string"}}},
        "notes": {"type": "object"},
    },
    "required": ["its name", "age"],
    "$defs": {"Kitten": {"type": "object", "properties": {"born": {"type": "integer"}}}},
}


def test_values_of_the_schema_go_through_it_and_back() -> None:
    given = {
        "its name": "Tom",
        "age": None,
        "code": 7,
        "mood": "good",
        "kittens": [{"born": 2020}],
        "owner": {"name": "Ann"},
        "notes": {"any": 1},
    }
    cat = model_from_json_schema(CAT, "Animal").model_validate(given)

    assert cat.model_dump(by_alias=True) == given
    assert (type(cat).__name__, type(cat).__doc__) == ("Cat", "A cat.")


@each(
    "wrong",
    [
        {"age": 3},
        {"its name": "", "age": 3},
        {"its name": "Tom", "age": -1},
        {"its name": "Tom", "age": 3, "mood": "odd"},
        {"its name": "Tom", "age": 3, "kittens": [{"born": "late"}]},
    ],
)
def test_other_values_do_not(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model_from_json_schema(CAT, "Animal").model_validate(wrong)


@each("schema", [{}, {"properties": {}}, {"properties": 3}])
def test_a_schema_without_fields_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no JSON Schema of an object"):
        model_from_json_schema(schema, "Animal")


def test_a_field_may_be_anything_but_not_of_a_type_that_there_is_not() -> None:
    anything = {
        "properties": {"one": True, "two": {}, "three": {"type": "array"}},
        "required": ["one"],
    }
    given = {"one": [1], "two": {"a": None}, "three": [1, "x"]}
    assert (
        model_from_json_schema(anything, "A").model_validate(given).model_dump(by_alias=True)
        == given
    )

    for kind in ("date", ["string", "date"]):
        with pytest.raises(ValueError, match="when has the unknown type 'date'"):
            model_from_json_schema({"properties": {"when": {"type": kind}}}, "A")
