"""A JSON Schema as a pydantic model."""

from typing import Any

import pytest
from pydantic import ValidationError

from ai21_chains._json_schema import model_from_json_schema

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


@pytest.mark.parametrize(
    "wrong",
    [
        {"age": 3},
        {"its name": "", "age": 3},
        {"its name": "Tom", "age": -1},
        {"its name": "Tom", "age": 3, "mood": "odd"},
        {"its name": "Tom", "age": 3, "kittens": [{"born": "late"}]},
    ],
    ids=["missing", "short", "small", "unknown", "inside"],
)
def test_other_values_do_not(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model_from_json_schema(CAT, "Animal").model_validate(wrong)


@pytest.mark.parametrize(
    "schema", [{}, {"properties": {}}, {"properties": 3}], ids=["empty", "no fields", "no object"]
)
def test_a_schema_without_fields_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no JSON Schema of an object"):
        model_from_json_schema(schema, "Animal")
