"""OpenAI's objects as JSON schemas, for the server's OpenAPI description."""

from __future__ import annotations

from pydantic.json_schema import models_json_schema

from ai21_chains._wire import JSONObject
from ai21_chains.citations import Citation
from ai21_chains.serving._openai import FORBIDDEN
from ai21_chains.serving._openai_bodies import ChatCompletionRequest, CompletionRequest

_REF = "#/components/schemas/{model}"

_STRING: JSONObject = {"type": "string"}
_TEXT: JSONObject = {"type": ["string", "null"]}
_INTEGER: JSONObject = {"type": "integer"}


def openapi_components() -> JSONObject:
    """Return the components of an OpenAPI 3.1 description: `{"schemas": {…}}`.

    The bodies are `ChatCompletionRequest` and `CompletionRequest`, the answers `ChatCompletion`,
    `ChatCompletionChunk`, `Completion`, `Model`, `ModelList` and `Error`.
    """
    _, described = models_json_schema(
        [(ChatCompletionRequest, "validation"), (CompletionRequest, "validation")],
        ref_template=_REF,
    )
    schemas = described["$defs"]
    schemas["Citation"] = Citation.model_json_schema(mode="serialization", ref_template=_REF)
    for body in ("ChatCompletionRequest", "CompletionRequest"):
        schemas[body]["propertyNames"] = {"not": {"enum": sorted(FORBIDDEN)}}
    return {"schemas": {**schemas, **_answers()}}


def _ref(name: str) -> JSONObject:
    return {"$ref": _REF.format(model=name)}


def _object(required: JSONObject, **optional: JSONObject) -> JSONObject:
    properties = {**required, **optional}
    return {"type": "object", "properties": properties, "required": list(required)}


def _list(items: JSONObject) -> JSONObject:
    return {"type": "array", "items": items}


def _word(*words: str | None) -> JSONObject:
    return {"enum": list(words)}


def _answers() -> JSONObject:
    return {
        "ChatCompletion": _completion("chat.completion", _choice()),
        "ChatCompletionChunk": _completion("chat.completion.chunk", _piece()),
        "Completion": _completion("text_completion", _text()),
        "Error": _error(),
        "Message": _message(),
        "Model": _object(
            {"id": _STRING, "object": _word("model"), "created": _INTEGER, "owned_by": _STRING}
        ),
        "ModelList": _object({"object": _word("list"), "data": _list(_ref("Model"))}),
        "Usage": _usage(),
    }


def _completion(kind: str, choice: JSONObject) -> JSONObject:
    return _object(
        {
            "id": _STRING,
            "object": _word(kind),
            "created": _INTEGER,
            "model": _STRING,
            "choices": _list(choice),
        },
        usage={"anyOf": [_ref("Usage"), {"type": "null"}]},
    )


_REASONS = ("stop", "length", "tool_calls", "content_filter", "function_call")


def _choice() -> JSONObject:
    return _object(
        {
            "index": _INTEGER,
            "message": _ref("Message"),
            "logprobs": {"type": "null"},
            "finish_reason": _word(*_REASONS),
        }
    )


def _piece() -> JSONObject:
    return _object(
        {
            "index": _INTEGER,
            "delta": {"type": "object"},
            "logprobs": {"type": "null"},
            "finish_reason": _word(*_REASONS, None),
        }
    )


def _text() -> JSONObject:
    reasons = _word("stop", "length", "content_filter", None)
    return _object(
        {
            "index": _INTEGER,
            "text": _STRING,
            "logprobs": {"type": "null"},
            "finish_reason": reasons,
        }
    )


def _message() -> JSONObject:
    called = _object({"name": _STRING, "arguments": _STRING})
    cited = {"url": _STRING, "title": _STRING, "start_index": _INTEGER, "end_index": _INTEGER}
    return _object(
        {"role": _word("assistant"), "content": _TEXT, "refusal": _TEXT},
        tool_calls=_list(_object({"id": _STRING, "type": _word("function"), "function": called})),
        function_call=called,
        reasoning_content=_STRING,
        annotations=_list(_object({"type": _word("url_citation"), "url_citation": _object(cited)})),
        citations=_list(_ref("Citation")),
        grounding={"type": "object"},
    )


def _usage() -> JSONObject:
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return _object(dict.fromkeys(names, _INTEGER))


def _error() -> JSONObject:
    inner = _object({"message": _STRING, "type": _STRING, "param": _TEXT, "code": _TEXT})
    return _object({"error": inner})
