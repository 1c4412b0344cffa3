"""Whether a value fits a schema: OpenAI's strict mode, and schemas that are out to do harm."""

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai21_chains._wire import JSONObject
from ai21_chains.serving._openai_description import openapi_components
from ai21_chains.serving._openai_schema import first_problem
from ai21_chains.serving._refusals import Refused
from tests.cases import each

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "age": {"type": ["integer", "null"], "minimum": 0, "exclusiveMaximum": 150},
        "role": {"enum": ["author", "editor"]},
        "friends": {"type": "array", "items": {"$ref": "#"}, "maxItems": 2},
        "home": {"anyOf": [{"$ref": "#/$defs/place"}, {"type": "null"}]},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"place": {"type": "object", "required": ["zip"]}},
}


@each(
    "value",
    [
        {"name": "Ann"},
        {"name": "Ann", "age": None, "role": "editor", "home": None},
        {"name": "Ann", "age": 3.0, "home": {"zip": 1}},
        {"name": "Ann", "friends": [{"name": "Bo", "friends": []}]},
    ],
)
def test_what_fits_has_no_problem(value: Any) -> None:
    assert first_problem(value, PERSON) == ""


@each(
    ("value", "problem"),
    [
        ([], "the answer is no object"),
        ({}, "name is missing"),
        ({"name": ""}, "name does not keep minLength 1"),
        ({"name": 1}, "name is no string"),
        ({"name": "A", "age": -1}, "age does not keep minimum 0"),
        ({"name": "A", "age": 150}, "age does not keep exclusiveMaximum 150"),
        ({"name": "A", "age": 1.5}, "age is no integer or null"),
        ({"name": "A", "age": True}, "age is no integer or null"),
        ({"name": "A", "role": "reader"}, "role is none of the values it may have"),
        ({"name": "A", "friends": [{"name": "B"}, {}]}, "friends[1].name is missing"),
        ({"name": "A", "friends": [{"name": "B"}] * 3}, "friends does not keep maxItems 2"),
        ({"name": "A", "home": {}}, "home fits none of the forms it may have"),
        ({"name": "A", "other": 1}, "other is not allowed"),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(value: Any, problem: str) -> None:
    assert first_problem(value, PERSON) == problem


@each(
    ("value", "schema", "fits"),
    [
        (1, {"const": 1}, True),
        (True, {"const": 1}, False),
        (2, {"allOf": [{"minimum": 1}, {"maximum": 1}]}, False),
        (2, {"oneOf": [{"type": "string"}, {"type": "number"}]}, True),
        ({"a": "x"}, {"additionalProperties": {"type": "integer"}}, False),
        ("x", {"pattern": "^y$"}, True),
        ({"a/b": 1}, {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"required": ["a/b"]}}}, True),
        (1, {}, True),
    ],
)
def test_each_keyword_means_what_json_schema_says(
    value: Any, schema: JSONObject, fits: bool
) -> None:
    assert (first_problem(value, schema) == "") is fits


def _doubling(depth: int) -> JSONObject:
    steps = {f"s{n}": {"anyOf": [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(depth)}
    return {"$ref": "#/$defs/s0", "$defs": {**steps, f"s{depth}": {"type": "null"}}}


@each(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/nowhere"},
        {"$ref": 7},
        {"type": "decimal"},
        {"type": 7},
        {"minimum": "0"},
        {"anyOf": 7},
        {"required": 7},
        {"properties": []},
        {"allOf": [7]},
        _doubling(40),
    ],
    ids=[
        "loop",
        "nowhere",
        "reference",
        "word",
        "type",
        "minimum",
        "anyOf",
        "required",
        "properties",
        "allOf",
        "doubling",
    ],
)
def test_what_is_no_schema_is_the_clients_fault(schema: JSONObject) -> None:
    begun = time.thread_time()

    with pytest.raises(Refused) as caught:
        first_problem({"a": 1} if "minimum" not in schema else 1, schema)

    assert (caught.value.status, caught.value.param) == (400, "response_format")
    assert time.thread_time() - begun < 2


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "items", "properties", "anyOf", "$ref", "required", "enum"]),
            inner | st.sampled_from(["object", "#", "array", "string"]),
        )
    ),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(JSON, st.dictionaries(st.sampled_from(["type", "items", "anyOf", "allOf"]), JSON))
def test_any_schema_is_checked_or_refused(value: Any, schema: JSONObject) -> None:
    with suppress(Refused):
        assert isinstance(first_problem(value, schema), str)


# --- The description of the server's API -----------------------------------------------------


def test_every_reference_of_the_description_leads_somewhere() -> None:
    components = openapi_components()
    text = json.dumps(components)

    names = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}

    assert names <= components["schemas"].keys()


@each(
    ("body", "fits"),
    [
        ({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}, True),
        ({"model": "m", "messages": []}, False),
        ({"model": "m", "messages": [{"role": "robot", "content": "Hi"}]}, False),
        ({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "n": 17}, False),
        ({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "store": True}, True),
    ],
    ids=["plain", "empty", "role", "n", "extra"],
)
def test_the_description_of_a_body_is_what_is_taken(body: JSONObject, fits: bool) -> None:
    root = {
        "components": openapi_components(),
        "$ref": "#/components/schemas/ChatCompletionRequest",
    }

    assert (first_problem(body, root) == "") is fits
