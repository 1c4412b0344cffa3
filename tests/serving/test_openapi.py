"""The server's description of itself, held against the server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
from jsonschema import Draft202012Validator
from pydantic_core import from_json

from ai21_chains import Emulator
from ai21_chains.serving import Deployment, ServerConfig, create_app
from ai21_chains.serving._openapi import description
from tests.cases import each

CONFIG = ServerConfig(
    deployments=(Deployment(name="m", model="jamba-mini"),),
    emulator=Emulator(brain=lambda request: "Hello there."),
)
DESCRIBED: dict[str, Any] = from_json(description(CONFIG))
OPERATIONS = [
    (method.upper(), path)
    for path, item in DESCRIBED["paths"].items()
    for method in item
    if method != "parameters"
]


def valid(value: object, schema: dict[str, Any]) -> None:
    Draft202012Validator({**schema, "components": DESCRIBED["components"]}).validate(value)


async def ask(method: str, path: str, body: object = None) -> httpx.Response:
    transport = httpx.ASGITransport(app=create_app(CONFIG))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        return await http.request(method, path.replace("{name}", "m"), json=body)


BODIES: dict[str, Any] = {
    "ChatCompletionRequest": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
    "CompletionRequest": {"model": "m", "prompt": "Hi"},
}


def body_of(method: str, path: str) -> Any:
    operation = DESCRIBED["paths"][path][method.lower()]
    if "requestBody" not in operation:
        return None
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    valid(body := BODIES[schema["$ref"].rpartition("/")[2]], schema)
    return body


def content_of(method: str, path: str, status: str = "200") -> dict[str, Any]:
    answers: dict[str, Any] = DESCRIBED["paths"][path][method.lower()]["responses"]
    return answers[status]["content"]


@each(("method", "path"), OPERATIONS)
async def test_what_is_described_is_answered_as_described(method: str, path: str) -> None:
    response = await ask(method, path, body_of(method, path))
    assert response.status_code == 200
    kind = response.headers["content-type"].partition(";")[0]
    if kind == "application/json":
        valid(response.json(), content_of(method, path)[kind]["schema"])
    else:
        assert kind in content_of(method, path)


@each(("method", "path"), [one for one in OPERATIONS if one[0] == "POST"])
async def test_events_are_as_described(method: str, path: str) -> None:
    response = await ask(method, path, {**body_of(method, path), "stream": True})
    schema = content_of(method, path)["text/event-stream"]["schema"]
    events = re.findall(r"(?m)^data: (.*)$", response.text)
    assert len(events) > 2
    for data in events:
        valid({"data": data}, schema)
    chunk = schema["properties"]["data"]["anyOf"][1]["contentSchema"]
    for data in events[:-1]:
        valid(from_json(data), chunk)


@each(("method", "path"), OPERATIONS)
async def test_other_methods_are_refused_in_the_form_that_is_described(
    method: str, path: str
) -> None:
    response = await ask("DELETE", path)
    assert response.status_code == 405
    valid(response.json(), content_of(method, path, "default")["application/json"]["schema"])


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (one for key, one in value.items() if key == "$ref")
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_schema_is_one_and_is_there() -> None:
    schemas = DESCRIBED["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    named = {reference.removeprefix("#/components/schemas/") for reference in references(DESCRIBED)}
    assert named <= schemas.keys()


async def test_numbers_are_integers_where_json_schema_has_them() -> None:
    path = "/v1/completions"
    numbers = {"max_tokens": 20.0, "n": 1.0, "seed": 7.0}
    schema = DESCRIBED["components"]["schemas"]["CompletionRequest"]
    valid(body := {**body_of("POST", path), **numbers}, schema)
    assert (await ask("POST", path, body)).status_code == 200
    assert (await ask("POST", path, {**body, "seed": 7.5})).status_code == 400
