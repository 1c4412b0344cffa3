"""OpenAI's own client against the server on loopback: what it sends, reads and raises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from ai21_chains import Emulator
from ai21_chains.emulator import Fault
from ai21_chains.serving import ChainConfig, Deployment, ServerConfig, create_app
from tests.cases import each
from tests.serving.apps import serving

HI: Any = [{"role": "user", "content": "Say hello."}]
EMULATOR = Emulator()
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Say what the weather is like.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    config = ServerConfig(
        deployments=(Deployment(name="my-model", model="ai21/jamba-mini", max_retries=0),),
        chains=(ChainConfig(name="qa", kind="grounded_qa"),),
        emulator=EMULATOR,
    )
    with serving(create_app(config)) as address:
        yield address


@pytest.fixture(params=["", "/v1"], ids=["bare", "v1"])
def client(url: str, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        api_key="sk-1234",
        base_url=url + request.param,
        max_retries=0,
        http_client=openai.DefaultHttpxClient(verify=False),  # without certificates to load
        _strict_response_validation=True,
    ) as made:
        yield made


def test_a_conversation(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="my-model", messages=HI)
    assert "emulator" in (answer.choices[0].message.content or "")
    assert answer._request_id
    assert answer.usage is not None


def test_a_stream(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="my-model", messages=HI, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert "emulator" in text
    assert chunks[-1].usage is not None
    assert chunks[-1].choices == []


def test_a_tool_is_called_and_answered(client: openai.OpenAI) -> None:
    asked: Any = [{"role": "user", "content": "What is the weather like in 'Paris'?"}]
    message = (
        client.chat.completions.create(
            model="my-model", messages=asked, tools=[TOOL], tool_choice="required"
        )
        .choices[0]
        .message
    )
    assert message.tool_calls
    call = message.tool_calls[0]
    assert call.type == "function"
    assert call.function.name == "get_weather"
    history = [*asked, message, {"role": "tool", "tool_call_id": call.id, "content": "Sunny."}]
    answer = client.chat.completions.create(model="my-model", messages=history, tools=[TOOL])
    assert answer.choices[0].message.content


def test_a_tool_call_is_streamed(client: openai.OpenAI) -> None:
    asked: Any = [{"role": "user", "content": "What is the weather like in 'Paris'?"}]
    with client.chat.completions.stream(
        model="my-model", messages=asked, tools=[TOOL], tool_choice="required"
    ) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].finish_reason == "tool_calls"
    assert final.choices[0].message.tool_calls


class Event(BaseModel):
    name: str
    date: str


def test_an_answer_is_parsed(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        model="my-model",
        messages=[{"role": "user", "content": "The fair is on Friday."}],
        response_format=Event,
    )
    assert isinstance(answer.choices[0].message.parsed, Event)


def test_texts_and_models(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="my-model", prompt=["one", "two"])
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert [model.id for model in client.models.list()] == ["my-model", "chain/qa"]
    assert client.models.retrieve("my-model").owned_by == "ai21"


def test_documents_are_answered_from_with_citations(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="chain/qa",
        messages=[{"role": "user", "content": "When does the museum open?"}],
        extra_body={"documents": [{"content": "The museum opens at ten."}]},
    )
    message = answer.choices[0].message
    assert message.annotations
    assert message.citations[0]["quote"] == "The museum opens at ten."  # type: ignore[attr-defined]


@each(
    ("asked", "kind"),
    [
        ({"model": "other"}, openai.NotFoundError),
        ({"temperature": 9}, openai.BadRequestError),
        ({"extra_body": {"api_base": "http://h"}}, openai.BadRequestError),
    ],
    ids=["model", "temperature", "api_base"],
)
def test_the_clients_faults_are_its_own_errors(
    client: openai.OpenAI, asked: Any, kind: type[openai.APIStatusError]
) -> None:
    given: Any = {"model": "my-model", "messages": HI, **asked}
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**given)
    assert caught.value.type == "invalid_request_error"
    assert caught.value.param


@each(
    ("fault", "kind"),
    [
        (Fault(status=429, headers={"retry-after": "3"}), openai.RateLimitError),
        (Fault(status=500), openai.InternalServerError),
        (Fault(status=401), openai.InternalServerError),
        (Fault(status=422), openai.BadRequestError),
    ],
    ids=["429", "500", "401", "422"],
)
def test_ai21s_failures_are_the_clients_errors(
    client: openai.OpenAI, fault: Fault, kind: type[openai.APIStatusError]
) -> None:
    EMULATOR.faults.append(fault)
    with pytest.raises(kind) as caught:
        client.chat.completions.create(model="my-model", messages=HI)
    assert caught.value.response.headers.get("retry-after") == (fault.headers or {}).get(
        "retry-after"
    )


def test_a_body_that_is_too_long_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(
            model="my-model", messages=[{"role": "user", "content": "x" * 20_000_000}]
        )
    assert caught.value.status_code == 413


async def test_the_async_client(url: str) -> None:
    async with openai.AsyncOpenAI(api_key="sk-1234", base_url=url) as client:
        answer = await client.chat.completions.create(model="my-model", messages=HI)
        assert answer.choices[0].message.content
        stream = await client.chat.completions.create(model="my-model", messages=HI, stream=True)
        text = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(text) == answer.choices[0].message.content
        parsed = await client.chat.completions.parse(
            model="my-model", messages=HI, response_format=Event
        )
        assert parsed.choices[0].message.parsed is not None
