"""Maestro's runs: their forms through every door, their ends, and AI21's own SDK against them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from ai21_chains.emulator import Emulator, Fault, Reply, scripted
from tests.cases import each
from tests.emulator.doors import through_each_door

RUNS = "/maestro/runs"
ID = uuid.UUID("dba286ef-5067-4c6e-b215-5483500da8df")
NOTHING = {"result": None, "data_sources": None, "requirements_result": None, "error": None}
SOURCES = {"file_search": None, "web_search": None, "tool_calls": None}


def says(text: str, **settings: Any) -> Emulator:
    return Emulator(brain=lambda request: text, new_id=lambda: ID, **settings)


# --- Forms -----------------------------------------------------------------------------------


@through_each_door
def test_a_run_is_in_progress_and_then_completed(door):
    send = door(says("Hello", pending_looks=1))
    started = send({"input": "Hi"}, path=RUNS)

    assert started.status == 200
    assert started.headers["content-type"] == "application/json"
    assert started.json == {"id": str(ID), "status": "in_progress", **NOTHING}
    seen = [send(path=f"{RUNS}/{ID}", method="GET").json for _ in range(3)]
    done = {"id": str(ID), "status": "completed", **NOTHING, "result": "Hello"}
    assert seen == [started.json, done, done]


def run(emulator: Emulator, path: str = RUNS, status: int = 200, **body: Any) -> Any:
    """Start a run, and return it as it ends, or why it was refused."""
    with httpx.Client(
        transport=emulator.transport(),
        base_url="http://x/studio/v1",
        headers={"Authorization": "Bearer k"},
    ) as http:
        started = http.post(path, json=body)
        assert started.status_code == status
        if status != 200:
            return started.json()["detail"]
        return http.get(f"{RUNS}/{started.json()['id']}").json()


def test_only_what_is_included_is_told():
    asked = {"input": "Hi", "requirements": [{"name": "a", "description": "b"}]}

    assert run(says("Hello"), **asked)["requirements_result"] is None
    assert run(says("Hello"), **asked, include=["data_sources"])["data_sources"] == SOURCES
    assert run(says("Hello"), **asked, include=["requirements_result"])["requirements_result"] == {
        "score": 1.0,
        "finish_reason": "requirements_met",
        "requirements": [
            {"name": "a", "description": "b", "is_mandatory": False, "score": 1.0, "reason": None}
        ],
    }


@each(("mandatory", "score"), [(False, 0.75), (True, 0.0)], ids=["soft", "hard"])
def test_a_requirement_looks_for_its_quoted_words(mandatory, score):
    wanted = [
        {"name": "a", "description": "Name 'Paris' and 'Bonn'.", "is_mandatory": mandatory},
        {"name": "b", "description": "Be brief."},
    ]
    ended = run(says("Paris!"), input="Hi", requirements=wanted, include=["requirements_result"])

    result = ended["requirements_result"]
    assert (result["score"], result["finish_reason"]) == (score, "requirements_not_met")
    assert [one["score"] for one in result["requirements"]] == [0.5, 1.0]
    assert result["requirements"][0]["reason"] == "The answer lacks Bonn."


def test_an_output_type_makes_the_result_json():
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}

    ended = run(Emulator(), input="In which city? 'Bonn'", output_type=schema)
    assert list(ended["result"]) == ["city"]
    ended = run(says("Bonn"), input="Hi", output_type=schema)
    assert (ended["status"], ended["result"]) == ("failed", None)
    assert ended["error"] == {"message": "The result does not fit output_type."}


@each(
    ("reply", "status", "error"),
    [
        (Reply("Spent.", finish_reason="failed"), "failed", {"message": "Spent."}),
        (Reply(finish_reason="failed"), "failed", {"message": "The run failed."}),
        (Reply(finish_reason="requires_action"), "requires_action", None),
    ],
    ids=["failed", "failed-silently", "requires_action"],
)
def test_the_brain_decides_how_a_run_ends(reply, status, error):
    ended = run(Emulator(brain=scripted(reply), new_id=lambda: ID), input="Hi")

    assert ended == {"id": str(ID), "status": status, **NOTHING, "error": error}


def test_the_brain_is_asked_as_in_a_chat():
    asked = []

    def brain(request):
        asked.append(request)
        return "Hello"

    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    wanted = [{"name": "a", "description": "Be brief."}]
    run(
        Emulator(brain=brain),
        input=turns,
        system_prompt="Be kind.",
        requirements=wanted,
        models=["jamba-large"],
    )

    system = {"role": "system", "content": "Be kind.\n\nRequirement: Be brief."}
    assert asked == [{"model": "jamba-large", "messages": [system, *turns]}]


def test_an_agent_is_run_like_maestro():
    ended = run(
        says("Hello"),
        path="/assistants/a7/run",
        input=[{"role": "user", "content": "Hi"}],
        include=["requirements_result", "data_sources"],
    )

    assert (ended["status"], ended["result"]) == ("completed", "Hello")
    assert (ended["data_sources"], ended["requirements_result"]) == (SOURCES, None)


def test_file_search_finds_in_the_library():
    emulator = Emulator()
    with httpx.Client(
        transport=emulator.transport(),
        base_url="http://x/studio/v1",
        headers={"Authorization": "Bearer k"},
    ) as http:
        ids = [
            http.post("/library/files", files={"file": file}, data={"labels": [label]}).json()["id"]
            for file, label in (
                (("leave.txt", b"There are 25 days of leave in a year.", "text/plain"), "hr"),
                (("sick.txt", b"There are 30 days of sick leave.", "text/plain"), "old"),
            )
        ]
    asked = {"input": "How many days of leave are there?", "include": ["data_sources"]}
    ended = run(emulator, **asked, tools=[{"type": "file_search", "labels": ["hr"]}])

    (source,) = ended["data_sources"]["file_search"]
    assert 0 < source.pop("score") < 1
    text = "There are 25 days of leave in a year."
    assert source == {"text": text, "file_id": ids[0], "file_name": "leave.txt", "order": 0}
    assert "25 days" in ended["result"]
    nothing = run(Emulator(), **asked, tools=[{"type": "file_search"}])
    assert nothing["data_sources"]["file_search"] == []


# --- Refusals --------------------------------------------------------------------------------


@through_each_door
@each(
    ("path", "method"),
    [(RUNS, "POST"), (f"{RUNS}/x", "GET"), ("/assistants/x/run", "POST")],
    ids=["create", "get", "agent"],
)
def test_a_key_is_needed(door, path, method):
    answer = door(Emulator())({"input": "Hi"}, path=path, method=method, key=None)

    assert (answer.status, answer.json["detail"]) == (401, "Forbidden: Bad or missing Apikey/JWT.")


@through_each_door
def test_a_run_that_there_is_not_is_not_found(door):
    answer = door(Emulator())(path=f"{RUNS}/{ID}", method="GET")

    assert (answer.status, answer.json) == (404, {"detail": "Not Found"})


@each(
    ("fields", "loc"),
    [
        ({"input": None}, ["input"]),
        ({"input": 3}, ["input"]),
        ({"input": [{"role": "system", "content": "x"}]}, ["input", 0, "role"]),
        ({"input": [{"role": "user"}]}, ["input", 0, "content"]),
        ({"requirements": [{"name": "x"}]}, ["requirements", 0, "description"]),
        ({"tools": [{"type": "magic"}]}, ["tools", 0]),
        ({"tools": [{"url": "x"}]}, ["tools", 0]),
        (
            {"tools": [{"type": "http", "function": {}}]},
            ["tools", 0, "HttpTool", "function", "name"],
        ),
        ({"tools": [{"type": "mcp", "headers": "x"}]}, ["tools", 0, "McpTool", "headers"]),
        ({"budget": "huge"}, ["budget"]),
        ({"include": ["usage"]}, ["include", 0]),
        ({"output_type": "text"}, ["output_type"]),
        ({"response_language": "klingon"}, ["response_language"]),
    ],
)
def test_what_breaks_the_schema_is_refused(fields, loc):
    detail = run(Emulator(), status=422, **{"input": "Hi", **fields})

    assert detail[0]["loc"] == ["body", *loc]


def test_an_agent_takes_turns_only():
    detail = run(Emulator(), "/assistants/a/run", status=422, input="Hi")

    assert detail[0]["loc"] == ["body", "input"]


@each(
    ("fields", "words"),
    [
        ({"requirements": [{"name": "x", "description": "y"}] * 11}, "more than 10 items"),
        ({"tools": [{"type": "web_search"}] * 2}, "more than one web_search"),
        ({"tools": [{"type": "file_search"}] * 2}, "more than one file_search"),
        ({"models": ["jamba-99"]}, "The provided model is not supported"),
    ],
    ids=["requirements", "web_search", "file_search", "models"],
)
def test_what_breaks_a_rule_is_refused(fields, words):
    assert words in run(Emulator(), status=422, input="Hi", **fields)


def test_nulls_are_as_good_as_nothing():
    names = ("system_prompt", "requirements", "tools", "models", "budget", "include")

    assert run(says("Hello"), input="Hi", **dict.fromkeys(names))["result"] == "Hello"


def test_the_older_server_knows_no_runs():
    assert run(Emulator(era="2024"), status=404, input="Hi") == "Not Found"


# --- AI21's own SDK --------------------------------------------------------------------------

SDK_ASKS: dict[str, Any] = {
    "input": [{"role": "user", "content": "Where?"}],
    "models": ["jamba-large"],
    "tools": [{"type": "file_search", "labels": ["x"]}, {"type": "web_search", "urls": ["a.com"]}],
    "requirements": [{"name": "a", "description": "Name 'Paris'.", "is_mandatory": True}],
    "budget": "low",
    "include": ["data_sources", "requirements_result"],
    "response_language": "english",
    "system_prompt": "Be kind.",
}
sdk_warnings = pytest.mark.filterwarnings(  # how the SDK hands its JSON to httpx
    "ignore:Use 'content=<...>' to upload raw bytes/text content.:DeprecationWarning"
)
POLLS = {"poll_interval_sec": 0.001, "poll_timeout_sec": 5}
COMPLETED = {
    "id": str(ID),
    "status": "completed",
    "result": "Hi",
    "data_sources": {
        "file_search": [{"text": None, "file_id": "f", "file_name": "n", "score": 0.9, "order": 1}],
        "web_search": None,
        "tool_calls": [
            {
                "tool_name": "t",
                "tool_type": "mcp",
                "server_label": None,
                "parameters": {},
                "response": {},
                "status": "success",
            }
        ],
    },
    "requirements_result": None,
    "error": None,
}


@pytest.fixture(params=["sync", "async"])
def sdk(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Return a function that calls a method of the SDK's Maestro, unchanged, on an emulator."""
    ai21 = pytest.importorskip("ai21")

    def ask(emulator: Emulator, method: str, *args: Any, **kwargs: Any) -> Any:
        with emulator.serve() as server, httpx.Client(verify=False) as http:
            client = ai21.AI21Client(api_key="k", api_host=server.base_url, http_client=http)
            return getattr(client.beta.maestro.runs, method)(*args, **kwargs)

    def aask(emulator: Emulator, method: str, *args: Any, **kwargs: Any) -> Any:
        async def asked(where: str) -> Any:
            async with httpx.AsyncClient(verify=False) as http:
                client = ai21.AsyncAI21Client(api_key="k", api_host=where, http_client=http)
                return await getattr(client.beta.maestro.runs, method)(*args, **kwargs)

        with emulator.serve() as server:
            return asyncio.run(asked(server.base_url))

    return ask if request.param == "sync" else aask


@sdk_warnings
def test_the_sdk_creates_and_polls(sdk):
    emulator = says("Paris.", pending_looks=2)
    run = sdk(emulator, "create_and_poll", **SDK_ASKS, **POLLS)

    assert (run.id, run.status, run.result) == (str(ID), "completed", "Paris.")
    assert run.data_sources == {**SOURCES, "file_search": []}
    assert run.requirements_result["score"] == 1.0
    assert run.requirements_result["requirements"][0]["is_mandatory"] is True
    assert [one.method for one in emulator.requests] == ["POST", "GET", "GET", "GET"]


@sdk_warnings
def test_the_sdk_creates_and_retrieves(sdk):
    emulator = says("Paris.")
    created = sdk(emulator, "create", input="Where?")

    assert (created.status, created.result) == ("in_progress", None)
    assert sdk(emulator, "retrieve", created.id).result == "Paris."


@sdk_warnings
def test_the_sdk_reads_data_sources(sdk):
    run = sdk(Emulator(faults=[Fault(body=COMPLETED)]), "retrieve", str(ID))

    assert run.data_sources == COMPLETED["data_sources"]


@sdk_warnings
def test_the_sdk_sees_a_run_fail(sdk):
    brain = scripted(Reply("Spent.", finish_reason="failed"))
    run = sdk(Emulator(brain=brain), "create_and_poll", input="Hi", **POLLS)

    assert (run.status, run.error["message"]) == ("failed", "Spent.")


@sdk_warnings
def test_the_sdk_gives_up(sdk):
    with pytest.raises(TimeoutError, match="while polling"):
        sdk(
            says("x", pending_looks=1000),
            "create_and_poll",
            input="Hi",
            poll_interval_sec=0.001,
            poll_timeout_sec=0.01,
        )


@sdk_warnings
def test_the_sdk_knows_the_errors(sdk):
    errors = pytest.importorskip("ai21.errors")
    with pytest.raises(errors.Unauthorized):
        sdk(Emulator(api_keys=["other"]), "create", input="Hi")
    with pytest.raises(errors.UnprocessableEntity, match="not supported"):
        sdk(Emulator(), "create", input="Hi", models=["jamba-99"])
