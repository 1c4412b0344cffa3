"""Chains on LangServe: what is open, what is closed, and what no longer fails."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from langchain_core.runnables import ConfigurableField, Runnable, RunnableLambda
from pydantic import BaseModel, Field
from sse_starlette.sse import AppStatus

from ai21_chains import Emulator, create_grounded_qa_chain
from ai21_chains.chains.extraction import create_extraction_chain
from ai21_chains.emulator import Fault, scripted
from ai21_chains.errors import MissingExtraError
from ai21_chains.serving.langserve import add_ai21_routes
from tests.cases import each
from tests.serving.apps import ASKED, DOCUMENTS, model_on, ready_made

pytestmark = [
    pytest.mark.filterwarnings(
        # LangServe asks instances of pydantic models for their fields,
        "ignore:Accessing the 'model_fields' attribute:pydantic.warnings.PydanticDeprecatedSince211"
    ),
    pytest.mark.filterwarnings(
        # and its page for what LangChain no longer wants to give.
        "ignore:astream_log is deprecated:"
        "langchain_core._api.deprecation.LangChainDeprecationWarning"
    ),
]


def client(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


def app_with(chain: Runnable[Any, Any], **options: Any) -> FastAPI:
    app = FastAPI()
    add_ai21_routes(app, chain, path="/qa", **options)
    return app


def qa(*faults: Fault) -> Runnable[Any, Any]:
    return create_grounded_qa_chain(model_on(Emulator(faults=faults)))


@pytest.fixture(scope="module")
def plain() -> FastAPI:
    return app_with(qa())


@pytest.fixture(scope="module")
def paged() -> FastAPI:
    return app_with(qa(), playground=True)


OPEN = ["batch", "input_schema", "invoke", "output_schema", "stream"]


@each(
    ("options", "there"),
    [
        ({}, OPEN),
        ({"playground": True}, sorted([*OPEN, "stream_log"])),
        ({"enabled_endpoints": ["invoke"]}, ["invoke"]),
    ],
    ids=["by default", "playground", "as wanted"],
)
def test_only_what_is_wanted_is_served(options: dict[str, Any], there: Sequence[str]) -> None:
    paths = app_with(qa(), **options).openapi()["paths"]

    assert sorted(path.removeprefix("/qa/") for path in paths) == there


async def test_several_chains_have_each_their_own_schemas() -> None:
    app = FastAPI()
    chains = ready_made(model_on(Emulator()))
    for name, chain in chains.items():
        add_ai21_routes(app, chain, path=f"/{name}")
    http = client(app)

    for name, chain in chains.items():
        asked, answered = [
            (await http.get(f"/{name}/{kind}_schema")).json() for kind in ("input", "output")
        ]
        assert asked == chain.get_input_jsonschema()
        assert answered == chain.get_output_jsonschema()


async def test_two_extractions_with_different_schemas_do_not_disturb_each_other() -> None:
    class Museum(BaseModel):
        opening: str

    class Dogs(BaseModel):
        dogs: str

    app = FastAPI()
    for schema in (Museum, Dogs):
        chain = create_extraction_chain(model_on(Emulator()), schema)
        add_ai21_routes(app, chain, path=f"/{schema.__name__}")
    answers = [
        (await client(app).post(f"/{name}/invoke", json={"input": {"documents": DOCUMENTS}})).json()
        for name in ("Museum", "Dogs")
    ]

    assert [answer["output"]["value"] for answer in answers] == [
        {"opening": "The museum opens at ten."},
        {"dogs": "Dogs must stay outside."},
    ]


async def test_messages_may_come_as_roles(plain: FastAPI) -> None:
    asked = {**ASKED, "chat_history": [{"role": "user", "content": "Hi"}, ["ai", "Hello"]]}
    response = await client(plain).post("/qa/invoke", json={"input": asked})

    assert response.json()["output"]["status"] == "answered"


BAD = {
    "question": ("invoke", {"input": {"documents": []}}),
    "in a stream": ("stream", {"input": {"documents": []}}),
    "in a row": ("batch", {"inputs": [ASKED, {"documents": []}]}),
    "no documents": ("invoke", {"input": {"question": "Why?"}}),
    "no documents in a row": ("batch", {"inputs": [{"question": "Why?"}]}),
    "a message": ("invoke", {"input": {**ASKED, "chat_history": [{"content": "Hi"}]}}),
}


@each("name", BAD)
async def test_bad_input_is_answered_422(plain: FastAPI, name: str) -> None:
    call, body = BAD[name]
    response = await client(plain).post(f"/qa/{call}", json=body)

    assert response.status_code == 422
    assert response.json()["detail"][0]["msg"]


@each(
    ("fault", "status"),
    [(Fault(status=429, headers={"Retry-After": "7"}), 429), (Fault(status=401), 502)],
    ids=["429", "401"],
)
@each("call", ["invoke", "batch"])
async def test_a_failure_keeps_the_status_of_its_cause(
    fault: Fault, status: int, call: str
) -> None:
    body = {"inputs": [ASKED]} if call == "batch" else {"input": ASKED}
    response = await client(app_with(qa(fault))).post(f"/qa/{call}", json=body)

    assert response.status_code == status
    assert response.headers.get("retry-after") == ("7" if status == 429 else None)
    assert response.json()["detail"].startswith("AI21 ")


async def test_a_failure_of_the_chains_own_says_nothing() -> None:
    class Result(BaseModel):
        number: int

    chain = RunnableLambda(lambda value: Result.model_validate({}), name="Wrong")
    response = await client(app_with(chain)).post("/qa/invoke", json={"input": 1})

    assert response.status_code == 500
    assert response.text == "Internal Server Error"


async def test_clients_configure_nothing() -> None:
    emulator = Emulator(brain=scripted("Hi"))
    model = model_on(emulator).configurable_fields(temperature=ConfigurableField(id="temperature"))
    http = client(app_with(model))
    body = {"input": "Hi", "config": {"tags": ["mine"]}}
    plain = await http.post("/qa/invoke", json=body)
    body["config"] = {"configurable": {"temperature": 1.5}}
    refused = await http.post("/qa/invoke", json=body)

    assert plain.status_code == 200
    assert refused.status_code == 422
    assert len(emulator.requests) == 1


def test_streams_work_in_more_than_one_event_loop(plain: FastAPI) -> None:
    http = client(plain)
    texts = [
        asyncio.run(http.post("/qa/stream", json={"input": ASKED})).text
        for _ in range(2)  # type: ignore[arg-type]
    ]

    assert [text.count("event: end") for text in texts] == [1, 1]


async def test_a_stream_ends_with_its_chain_also_while_the_server_shuts_down() -> None:
    async def run(value):  # without types: LangServe makes schemas of them
        yield "one"
        assert AppStatus.should_exit_event is not None
        AppStatus.should_exit_event.set()
        await asyncio.sleep(0.01)
        yield "two"

    http = client(app_with(RunnableLambda(run, name="Slow")))
    text = (await http.post("/qa/stream", json={"input": 1})).text

    assert text.endswith('data: "two"\n\nevent: end\n\n'.replace("\n", "\r\n"))


async def test_values_are_written_as_in_their_schema() -> None:
    class Price(BaseModel):
        amount: Decimal = Field(alias="the amount")

    chain = RunnableLambda(lambda value: {"price": Price.model_validate(value)}, name="Price")
    http = client(app_with(chain.with_types(output_type=dict)))
    answer = (await http.post("/qa/invoke", json={"input": {"the amount": "9.50"}})).json()

    assert answer["output"] == {"price": {"the amount": "9.50"}}


async def test_dependencies_stand_before_every_route() -> None:
    def no_entry() -> None:
        raise HTTPException(401, "No key")

    app = app_with(qa(), dependencies=[Depends(no_entry)], playground=True)
    http = client(app)

    assert (await http.post("/qa/invoke", json={"input": ASKED})).status_code == 401
    assert (await http.get("/qa/playground/")).status_code == 401


async def test_a_router_with_a_prefix_will_do() -> None:
    router = APIRouter(prefix="/api")
    add_ai21_routes(router, qa(), path="/qa", playground=True)
    app = FastAPI()
    app.include_router(router)
    http = client(app)

    assert (await http.post("/api/qa/invoke", json={"input": ASKED})).status_code == 200
    page = (await http.get("/api/qa/playground/")).text
    for asset in re.findall(r'(?:src|href)="(/[^"]*)"', page):
        assert (await http.get(asset)).status_code == 200


# --- The page --------------------------------------------------------------------------------


async def test_the_page_asks_for_a_question_and_for_documents_as_text(paged: FastAPI) -> None:
    page = await client(paged).get("/qa/playground/")
    found = re.search(r"window\.INPUT_SCHEMA = (\{.*\});", page.text)
    assert found
    schema = json.loads(found[1])

    assert page.status_code == 200
    assert schema["required"] == ["question"]
    assert {name: of["type"] for name, of in schema["properties"].items()} == {
        "question": "string",
        "documents": "array",
    }
    assert schema["properties"]["documents"]["items"]["type"] == "string"
    assert "$ref" not in found[1]


async def test_with_the_page_the_routes_still_take_all_that_the_chain_takes(paged: FastAPI) -> None:
    documents = [{"page_content": "The museum opens at ten.", "metadata": {"page": 3}}]
    history = [{"type": "human", "content": "Hi"}]
    asked = {"question": "When does it open?", "documents": documents, "chat_history": history}
    http = client(paged)
    answer = (await http.post("/qa/invoke", json={"input": asked})).json()
    refused = await http.post("/qa/batch", json={"inputs": [{}]})

    assert answer["output"]["citations"][0]["page"] == 3
    assert refused.status_code == 422


async def test_the_page_gets_what_it_shows_from_the_log_of_the_run(paged: FastAPI) -> None:
    http = client(paged)
    response = await http.post("/qa/stream_log", json={"input": ASKED})

    assert response.status_code == 200
    assert "The museum opens at ten." in response.text


async def test_the_page_shows_an_answer_as_text_with_its_quotes(paged: FastAPI) -> None:
    http = client(paged)
    log = (await http.post("/qa/stream_log", json={"input": ASKED})).text
    datas = [json.loads(line[6:]) for line in log.splitlines() if line.startswith("data: ")]
    changes = [change for data in datas for change in data["ops"]]
    shown = [one["value"] for one in changes if one["path"] == "/streamed_output/-"]

    assert len(shown) > 3
    assert "".join(shown) == (
        "The museum opens at ten. [1]\n\n[1] “The museum opens at ten.” (document 1)"
    )


async def test_without_being_asked_for_there_is_no_page(plain: FastAPI) -> None:
    assert (await client(plain).get("/qa/playground/")).status_code == 404


# --- Without LangServe -----------------------------------------------------------------------


@pytest.mark.parametrize("package", ["langserve", "fastapi", "sse_starlette.sse"])
def test_without_langserve_the_error_names_the_extra(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MissingExtraError, match=r'pip install "ai21-chains\[langserve\]"'):
        add_ai21_routes(FastAPI(), qa())
