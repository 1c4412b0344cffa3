"""Jurassic-2's wire behind the interface of chat: each request and answer turned into the other.

AI21 served Jurassic-2 until 2024-11-11 at `POST /{model}/complete` and `POST /{model}/chat`; the
hosts and gateways that still do speak the same protocol (AI21 API reference of 2024, Complete and
Jurassic-2 Chat). Neither streams, and neither knows tools, documents or response formats.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from typing import Any, Literal

from ai21_chains._protocol import as_event
from ai21_chains._wire import ChatRequest, Choice, Completion, JSONObject, Usage
from ai21_chains.client import AI21Client, ChatClient, path
from ai21_chains.errors import ConfigurationError, ResponseFormatError

CUSTOM_MODEL = "customModel"
"""Field of a request with the name of a fine-tuned model, which goes into the path."""

_NAMES = {
    "n": "numResults",
    "max_tokens": "maxTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "stop": "stopSequences",
}
"""What chat calls it, and what Jurassic-2 does."""

_OUTSIDE_THE_BODY = frozenset({"model", "messages", "stream", CUSTOM_MODEL})

Endpoint = Literal["complete", "chat"]


def is_jurassic(model: str) -> bool:
    """Whether a model speaks this protocol rather than that of Jamba."""
    return model.startswith(("j1-", "j2-"))


def chat_client(client: AI21Client, model: str) -> ChatClient:
    """Return what speaks with a chat model in its own protocol."""
    return JurassicClient(client, "chat") if is_jurassic(model) else client


@dataclass(frozen=True)
class JurassicClient:
    """Jurassic-2 behind the interface of `AI21Client`.

    Attributes:
        client: Sends the requests.
        endpoint: "chat", or "complete" for the text of a single message.
    """

    client: AI21Client
    endpoint: Endpoint

    def complete(self, body: ChatRequest) -> Completion:
        """Send a request and return the whole answer.

        Raises:
            ConfigurationError: The request asks for what Jurassic-2 cannot do; nothing was sent.
            APIError: No usable answer came back.
        """
        where, sent = self._request(body)
        # Like chat: asking twice costs, but does no harm.
        answer = self.client.request("POST", where, json=sent, idempotent=True)
        return self._read(answer, where)

    async def acomplete(self, body: ChatRequest) -> Completion:
        """Async form of `complete`."""
        where, sent = self._request(body)
        answer = await self.client.arequest("POST", where, json=sent, idempotent=True)
        return self._read(answer, where)

    def stream(self, body: ChatRequest) -> Generator[Completion, None, None]:
        """Yield the answer as a single event."""
        yield as_event(self.complete(body))

    async def astream(self, body: ChatRequest) -> AsyncGenerator[Completion, None]:
        """Async form of `stream`."""
        yield as_event(await self.acomplete(body))

    def _request(self, body: ChatRequest) -> tuple[str, JSONObject]:
        custom = body.get(CUSTOM_MODEL)
        where = path(body["model"], *([str(custom)] if custom else []), self.endpoint)
        said = _dialogue(body) if self.endpoint == "chat" else _prompt(body)
        return where, said | _parameters(body)

    def _read(self, answer: Any, where: str) -> Completion:
        try:
            return _read_chat(answer) if self.endpoint == "chat" else _read_complete(answer)
        except (KeyError, TypeError, AttributeError, IndexError):
            raise ResponseFormatError(
                f"POST {self.client.base_url}{where} answered with something that is not "
                "Jurassic-2's format. Check base_url, and any proxy in between"
            ) from None


# --- Requests --------------------------------------------------------------------------------


def _prompt(body: ChatRequest) -> JSONObject:
    return {"prompt": body["messages"][0]["content"]}


def _dialogue(body: ChatRequest) -> JSONObject:
    messages: list[JSONObject] = []
    instructions: list[str] = []
    for message in body["messages"]:
        role, text = message["role"], message["content"]
        if role == "tool" or message.get("tool_calls"):
            raise ConfigurationError(f"{body['model']} knows no tools: leave their messages out")
        if role == "system":
            instructions.append(text)
        else:
            messages.append({"role": role, "text": text})
    return {"messages": messages, "system": "\n\n".join(instructions)}


def _parameters(body: ChatRequest) -> JSONObject:
    parameters: JSONObject = {}
    for name, value in body.items():
        if name in _OUTSIDE_THE_BODY:
            continue
        if name in ChatRequest.__annotations__ and name not in _NAMES:
            raise ConfigurationError(f"{body['model']} knows no {name}: Jamba models do")
        parameters[_NAMES.get(name, name)] = value
    if isinstance(stop := parameters.get("stopSequences"), str):
        parameters["stopSequences"] = [stop]
    return parameters


# --- Answers ---------------------------------------------------------------------------------


def _read_chat(answer: Any) -> Completion:
    return _completion(answer, [(output, output["text"]) for output in answer["outputs"]])


def _read_complete(answer: Any) -> Completion:
    results = answer["completions"]
    completion = _completion(answer, [(result, result["data"]["text"]) for result in results])
    for choice, result in zip(completion["choices"], results, strict=True):
        tokens = result["data"].get("tokens") or []
        if any(token.get("topTokens") for token in tokens):
            choice["logprobs"] = {"tokens": tokens}
    completion["usage"] = _usage(answer)
    return completion


def _completion(answer: Any, results: list[tuple[Any, Any]]) -> Completion:
    choices: list[Choice] = []
    for number, (result, text) in enumerate(results):
        if not isinstance(text, str):
            raise TypeError
        reason = (result.get("finishReason") or {}).get("reason")
        message: Any = {"role": "assistant", "content": text}
        choices.append({"index": number, "message": message, "finish_reason": reason})
    if not choices:
        raise IndexError
    return {"id": answer.get("id") or "", "choices": choices}


def _usage(answer: Any) -> Usage | None:
    """Count the tokens that the answer lists: it has no figures of its own."""
    prompt = (answer.get("prompt") or {}).get("tokens")
    made = [result["data"].get("tokens") for result in answer["completions"]]
    if prompt is None or None in made:
        return None
    given, produced = len(prompt), sum(map(len, made))
    return {
        "prompt_tokens": given,
        "completion_tokens": produced,
        "total_tokens": given + produced,
    }
