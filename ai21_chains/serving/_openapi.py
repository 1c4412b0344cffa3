"""The description of the server (OpenAPI 3.1): its endpoints, and what goes in and out."""

from __future__ import annotations

import json
from typing import Any

from ai21_chains._version import __version__
from ai21_chains.serving._openai_description import openapi_components
from ai21_chains.serving._service import CHAIN
from ai21_chains.serving.config import ServerConfig

_JSON = "application/json"


def description(config: ServerConfig) -> bytes:
    """Return the description as JSON.

    Args:
        config: What is served.
    """
    components = openapi_components()
    chains = [CHAIN + one.name for one in config.chains]
    for body, names in (("ChatCompletionRequest", chains), ("CompletionRequest", [])):
        model = {"type": "string", "enum": [*config.models, *names]}
        components["schemas"][body]["properties"]["model"] = model
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "ai21-chains", "version": __version__},
        "security": [{"key": []}, {}],
        "paths": _paths(),
        "components": components,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _paths() -> dict[str, Any]:
    model = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    chat = {_JSON: _ref("ChatCompletion"), "text/event-stream": _events("ChatCompletionChunk")}
    text = {_JSON: _ref("Completion"), "text/event-stream": _events("Completion")}
    openai = {
        "/chat/completions": {
            "post": _operation("Answer a conversation", chat, "ChatCompletionRequest")
        },
        "/completions": {"post": _operation("Continue a text", text, "CompletionRequest")},
        "/models": {"get": _operation("List the models", {_JSON: _ref("ModelList")})},
        "/models/{name}": {
            "get": _operation("Describe a model", {_JSON: _ref("Model")}),
            "parameters": [model],
        },
    }
    anything = {_JSON: {"schema": {"type": "object"}}}
    open_to_all = {
        "/health": {"get": _operation("Say how the server does", anything)},
        "/health/liveliness": {"get": _operation("Say that the server lives", anything)},
        "/ready": {"get": _operation("Say whether AI21 can be reached too", anything)},
        "/health/readiness": {"get": _operation("Say whether to send requests", anything)},
    }
    return {
        **{prefix + path: item for prefix in ("/v1", "") for path, item in openai.items()},
        **open_to_all,
        "/metrics": {
            "get": _operation("Figures for Prometheus", {"text/plain": {"schema": {}}}),
        },
    }


def _operation(summary: str, answer: dict[str, Any], body: str | None = None) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {
            "200": {"description": "The answer", "content": answer},
            "default": {"description": "What went wrong", "content": {_JSON: _ref("Error")}},
        },
    }
    if body:
        operation["requestBody"] = {"required": True, "content": {_JSON: _ref(body)}}
    return operation


def _events(name: str) -> dict[str, Any]:
    """Return the schema of an event: before OpenAPI 3.2 there is none of a stream."""
    told = {"anyOf": [_ref(name)["schema"], _ref("Error")["schema"]]}
    chunk = {"type": "string", "contentMediaType": _JSON, "contentSchema": told}
    data = {"anyOf": [{"const": "[DONE]"}, chunk]}
    return {"schema": {"type": "object", "properties": {"data": data}, "required": ["data"]}}


def _ref(name: str) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{name}"}}
