"""Documents sent to a model, and what a chain where a model is expected can and cannot do."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from ai21_chains import ChatAI21, Emulator, create_grounded_qa_chain
from ai21_chains.emulator import Fault, Reply
from ai21_chains.serving import ChainConfig, Deployment
from tests.servers.scripted import HOLD, ROLE, event, scripted, stream
from tests.serving.apps import serving
from tests.serving.test_app import (
    CHAT,
    LOCKED,
    MASTER,
    chunks,
    client,
    emulated,
    error,
    get,
    in_front_of,
    leaving,
    post,
)

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
QA = (ChainConfig(name="qa", kind="grounded_qa"),)


def question(*before: Any, **more: Any) -> dict[str, Any]:
    asked = {"role": "user", "content": "When does the museum open?"}
    documents = ["Dogs must stay outside.", {"content": "The museum opens at ten.", "id": "1"}]
    return {"model": "m", "messages": [*before, asked], "documents": documents, **more}


def said(text: str, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": text}


# --- Documents sent to a plain model ---------------------------------------------------------


async def test_a_model_that_is_given_documents_answers_with_verified_citations() -> None:
    answer = (await post(emulated(Emulator()), question())).json()
    message = answer["choices"][0]["message"]

    assert answer["model"] == "m"
    assert message["content"] == "The museum opens at ten. [1]"
    assert message["citations"][0]["quote"] == "The museum opens at ten."
    assert message["annotations"][0]["url_citation"]["url"] == "urn:document:2"
    assert message["grounding"]["status"] == "answered"
    assert answer["usage"]["total_tokens"] > 0


async def test_a_stream_ends_with_the_citations() -> None:
    asked = question(stream=True, stream_options={"include_usage": True})
    *events, usage, done = chunks(await post(emulated(Emulator()), asked))
    deltas = [one["choices"][0]["delta"] for one in events]

    assert {one["model"] for one in events} == {"m"}
    assert "".join(delta.get("content") or "" for delta in deltas) == "The museum opens at ten. [1]"
    assert deltas[-1]["citations"][0]["document_index"] == 1
    assert (usage["usage"]["prompt_tokens"] > 0, done) == (True, "[DONE]")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_what_it_takes_is_on_the_account_of_that_model(streamed: bool) -> None:
    app = emulated(Emulator(), **LOCKED)
    async with client(app, headers=MASTER) as http:
        await http.post(CHAT, json=question(stream=streamed))
        (spend,) = await app.keys.today()
        figures = (await http.get("/metrics")).text
    await app.close()

    assert (spend.key_name, spend.model, spend.requests) == ("master", "m", 1)
    assert spend.cost_usd > 0
    counted = f'ai21_chains_tokens_total{{kind="prompt",model="m"}} {spend.prompt_tokens:.1f}'
    assert counted in figures


async def test_settings_instructions_and_turns_before_reach_the_model() -> None:
    emulator = Emulator()
    history = [said("Be brief.", "system"), said("Hello"), said("Hello.", "assistant")]
    await post(emulated(emulator), question(*history, temperature=0.5, seed=7, max_tokens=300))
    sent = json.loads(emulator.requests[0].body)

    assert (sent["temperature"], sent["seed"], sent["max_tokens"]) == (0.5, 7, 300)
    assert "Be brief." in sent["messages"][0]["content"]
    assert [one["content"] for one in sent["messages"][1:3]] == ["Hello", "Hello."]
    assert len(sent["documents"]) == 2


BEYOND: dict[str, dict[str, Any]] = {
    "tools": question(tools=[TOOL]),
    "functions": question(functions=[TOOL["function"]]),
    "several answers": question(n=2, temperature=1),
    "json": question(response_format={"type": "json_object"}),
    "stop": question(stop="ten"),
    "results of tools": question(
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "content": "Nothing", "tool_call_id": "1"},
    ),
    "no question": {**question(), "messages": [said("Hi"), said("Hello", "assistant")]},
    "blank": {**question(), "messages": [said(" ")]},
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", list(BEYOND))
async def test_what_no_chain_can_do_goes_to_ai21_with_the_documents(
    name: str, streamed: bool
) -> None:
    emulator = Emulator(brain=lambda request: "{}")
    response = await post(emulated(emulator), {**BEYOND[name], "stream": streamed})
    sent = json.loads(emulator.requests[0].body)

    assert response.status_code == 200
    assert "citations" not in response.text
    assert [one["content"] for one in sent["documents"]][1] == "The museum opens at ten."
    assert sent["messages"][0]["content"] == BEYOND[name]["messages"][0].get("content", "")


def test_a_chain_of_a_clients_own_is_answered_by_the_model_alone() -> None:
    with serving(emulated(Emulator())) as url:
        chain = create_grounded_qa_chain(ChatAI21(model="m", api_key="any", base_url=f"{url}/v1"))
        asked = {"question": "When does it open?", "documents": ["The museum opens at ten."]}
        assert chain.invoke(asked).citations[0].quote == "The museum opens at ten."


# --- What a chain cannot do ------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("param", "more"),
    [
        ("tools", {"tools": [TOOL]}),
        ("functions", {"functions": [TOOL["function"]]}),
        ("n", {"n": 2}),
        ("response_format", {"response_format": {"type": "json_object"}}),
    ],
    ids=["tools", "functions", "n", "response_format"],
)
async def test_a_chain_refuses_what_it_cannot_do(
    param: str, more: dict[str, Any], streamed: bool
) -> None:
    emulator = Emulator()
    asked = question(model="chain/qa", stream=streamed, **more)
    response = await post(emulated(emulator, chains=QA), asked)

    assert (response.status_code, error(response)["param"]) == (400, param)
    assert emulator.requests == []


@pytest.mark.parametrize("more", [{"n": 1}, {"response_format": {"type": "text"}}, {"tools": []}])
async def test_a_chain_takes_what_asks_for_nothing(more: dict[str, Any]) -> None:
    response = await post(emulated(Emulator(), chains=QA), question(model="chain/qa", **more))
    assert response.status_code == 200


async def test_what_a_chain_decides_itself_is_dropped_or_refused_as_configured() -> None:
    asked = question(model="chain/qa", temperature=1, stop="x")
    taken = await post(emulated(Emulator(), chains=QA), asked)
    refused = await post(emulated(Emulator(), chains=QA, drop_params=False), asked)

    assert taken.headers["x-ai21-chains-dropped-params"] == "stop, temperature"
    assert (refused.status_code, error(refused)["param"]) == (400, "stop")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_summary_that_was_cut_off_says_so(streamed: bool) -> None:
    cut = Emulator(
        brain=lambda request: Reply('{"citations": [], "answer": "It op', finish_reason="length")
    )
    app = emulated(cut, chains=(ChainConfig(name="short", kind="summarize"),))
    asked = {"model": "chain/short", "messages": [said("The museum opens at ten.")]}
    assert '"finish_reason":"length"' in (await post(app, {**asked, "stream": streamed})).text


# --- The way of a chain's requests -----------------------------------------------------------

TWO = tuple(Deployment(name="m", model="jamba-mini", api_key=f"key-{one}") for one in "ab")
PATHS = {
    "model": (CHAT, question()),
    "chain": (CHAT, question(model="chain/qa")),
    "langserve": (
        "/chains/qa/invoke",
        {"input": {"question": "When is it open?", "documents": ["The museum opens at ten."]}},
    ),
}


@pytest.mark.parametrize("name", list(PATHS))
async def test_the_requests_of_chains_are_balanced(name: str) -> None:
    emulator = Emulator()
    app = emulated(emulator, deployments=TWO, chains=QA)
    for _ in range(4):
        assert (await post(app, PATHS[name][1], PATHS[name][0])).status_code == 200

    keys = [one.headers["authorization"] for one in emulator.requests]
    assert sorted(keys) == ["Bearer key-a"] * 2 + ["Bearer key-b"] * 2


@pytest.mark.parametrize("name", list(PATHS))
async def test_the_requests_of_chains_fall_back(name: str) -> None:
    other = Deployment(name="other", model="jamba-large", api_key="key-c")
    emulator = Emulator(faults=[Fault(status=401), Fault(status=401)])
    app = emulated(
        emulator, deployments=(*TWO, other), chains=QA, fallbacks={"m": ["other"]}, **LOCKED
    )
    async with client(app, headers=MASTER) as http:
        response = await http.post(PATHS[name][0], json=PATHS[name][1])
    (spend,) = await app.keys.today()
    await app.close()

    assert response.status_code == 200
    assert json.loads(emulator.requests[-1].body)["model"] == "jamba-large"
    # It costs what the model costs that has answered: jamba-large is $2 and $8 per million.
    assert spend.cost_usd * 1_000_000 == spend.prompt_tokens * 2 + spend.completion_tokens * 8


@pytest.mark.parametrize("model", ["m", "chain/qa"])
async def test_who_hangs_up_in_the_stream_of_a_chain_is_charged_for_it(model: str) -> None:
    begun = '{"citations": [{"document": 1, "quote": "The museum opens at ten."}], "answer": "Ten'
    with scripted(stream(ROLE, event(begun), HOLD)) as server:
        app = in_front_of(server, chains=QA)
        async with leaving(app, question(model=model, stream=True)) as (leave, sent):
            while len(sent) < 2:
                await asyncio.sleep(0.005)
            leave()
        assert await asyncio.to_thread(server.left.wait, 5)
        figures = (await get(app, "/metrics")).text
    assert f'ai21_chains_tokens_total{{kind="completion",model="{model}"}} 2.0' in figures
