"""`ChatMaestro`: what is sent, how a run is watched, and what becomes of its end."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumpd, dumps, load
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tracers import BaseTracer
from pydantic import BaseModel
from typing_extensions import TypedDict

from ai21_chains._maestro import impatient, to_message
from ai21_chains.client import AI21Client, Timeout
from ai21_chains.emulator import Emulator, Fault, Reply, scripted
from ai21_chains.errors import (
    AI21Error,
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    ConfigurationError,
    InternalServerError,
    NotFoundError,
    ResponseFormatError,
    RunFailedError,
    StructuredOutputError,
    UnprocessableEntityError,
)
from ai21_chains.maestro import ChatMaestro, FileSearch, HTTPTool, MCPTool, Requirement, WebSearch
from tests.cases import each
from tests.servers import calls
from tests.servers import scripted as servers

SECRET = "Bearer very-secret"
RUN_ID = "dba286ef-5067-4c6e-b215-5483500da8df"
SOURCES = {
    "file_search": [
        {
            "text": "25 days of leave.",
            "file_id": "f1",
            "file_name": "hr.pdf",
            "score": 0.87,
            "order": 3,
        },
        {"text": None, "file_id": "f2", "file_name": "x.pdf", "score": 0.5, "order": 0},
    ],
    "web_search": [{"text": "Leave is paid.", "url": "https://hr.example.com/leave", "score": 0.8}],
    "tool_calls": None,
}
COMPLETED = {
    "id": RUN_ID,
    "status": "completed",
    "result": "There are 25 days.",
    "data_sources": SOURCES,
    "requirements_result": {"score": 1.0, "finish_reason": "x", "requirements": []},
    "error": None,
}


def maestro(emulator: Emulator, **settings: Any) -> ChatMaestro:
    transport = emulator.transport()
    return ChatMaestro(
        **{
            "api_key": "test-key",
            "http_client": httpx.Client(transport=transport),
            "http_async_client": httpx.AsyncClient(transport=transport),
            "poll_interval_sec": 0.001,
            "max_retries": 0,
            **settings,
        }
    )


def says(text: str, **settings: Any) -> Emulator:
    return Emulator(brain=lambda request: text, **settings)


def lines(emulator: Emulator) -> list[str]:
    """Method and path of each request."""
    return [f"{one.method} {one.path.removeprefix('/studio/v1')}" for one in emulator.requests]


def resumed(model: ChatMaestro, run_id: str, **options: Any) -> AIMessage:
    return model.resume(run_id, **options)


def aresumed(model: ChatMaestro, run_id: str, **options: Any) -> AIMessage:
    return asyncio.run(model.aresume(run_id, **options))


RESUMED = (resumed, aresumed)


# --- What is sent ----------------------------------------------------------------------------


def sent(messages: object, settings: dict[str, Any], **options: Any) -> Any:
    emulator = says("{}")
    maestro(emulator, **settings).invoke(messages, **options)
    return emulator.requests[0].json


def test_only_what_is_set_is_sent():
    assert sent("Hi", {}) == {"input": [{"role": "user", "content": "Hi"}]}


def test_messages_keep_their_roles():
    messages = [
        SystemMessage("Be brief."),
        HumanMessage("Hi"),
        AIMessage("Yes?"),
        ("developer", "Be kind."),
        HumanMessage([{"type": "text", "text": "How"}, {"type": "text", "text": " much?"}]),
    ]

    assert sent(messages, {"system_prompt": "You are a clerk."}) == {
        "system_prompt": "You are a clerk.\n\nBe brief.\n\nBe kind.",
        "input": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": "How much?"},
        ],
    }


OPTIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"models": ["jamba-mini", "gpt-4o"]}, {"models": ["jamba-mini", "gpt-4o"]}),
    ({"models": "ai21/jamba-mini"}, {"models": ["jamba-mini"]}),
    ({"model": "jamba-large"}, {"models": ["jamba-large"]}),
    ({"model_name": "jamba-large"}, {"models": ["jamba-large"]}),
    ({"system_prompt": "Be kind."}, {"system_prompt": "Be kind."}),
    ({"budget": "high"}, {"budget": "high"}),
    ({"include": ["data_sources"]}, {"include": ["data_sources"]}),
    ({"response_language": "hebrew"}, {"response_language": "hebrew"}),
    ({"max_tokens": 100}, {"max_tokens": 100}),
    ({"model_kwargs": {"verbose": True}}, {"verbose": True}),
    ({"output_type": {"type": "array"}}, {"output_type": {"type": "array"}}),
    (
        {"requirements": ["Be brief."]},
        {
            "requirements": [
                {"name": "requirement 1", "description": "Be brief.", "is_mandatory": False}
            ],
            "include": ["requirements_result"],
        },
    ),
    (
        {"tools": [FileSearch(labels=["a"]), {"type": "web_search"}], "include": []},
        {"tools": [{"type": "file_search", "labels": ["a"]}, {"type": "web_search"}]},
    ),
    (
        {"tools": [WebSearch()], "requirements": [Requirement(name="a", description="b")]},
        {
            "tools": [{"type": "web_search"}],
            "requirements": [{"name": "a", "description": "b", "is_mandatory": False}],
            "include": ["data_sources", "requirements_result"],
        },
    ),
]
options = each(("given", "wire"), OPTIONS)


@options
def test_an_option_of_the_constructor_is_sent(given, wire):
    assert sent("Hi", given) == {"input": [{"role": "user", "content": "Hi"}], **wire}


@options
def test_an_option_of_a_call_is_sent(given, wire):
    assert sent("Hi", {}, **given) == {"input": [{"role": "user", "content": "Hi"}], **wire}


def test_an_option_of_a_call_counts_more():
    settings = {"budget": "low", "tools": [WebSearch()], "requirements": ["x"]}
    settings["output_type"] = {"type": "object"}
    nothing: dict[str, Any] = {**dict.fromkeys(settings), "tools": []}

    assert set(sent("Hi", settings, **nothing)) == {"input"}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"models": []}, "should have at least 1 item"),
    ({"models": 3}, "models should be a valid list"),
    ({"models": [""]}, "models should name a model"),
    ({"budget": "huge"}, "budget should be 'low', 'medium' or 'high', got 'huge'"),
    ({"include": ["usage"]}, "include should be 'data_sources' or 'requirements_result'"),
    ({"response_language": "klingon"}, "response_language should be 'arabic', 'dutch'"),
    ({"requirements": "Be brief."}, "requirements should be a list"),
    ({"requirements": ["x"] * 11}, "requirements has 11 items; Maestro takes 10"),
    ({"tools": [print]}, "tools should hold FileSearch"),
    ({"output_type": 3}, "output_type is no JSON schema"),
    ({"max_tokens": -1}, "max_tokens should be greater than or equal to 0"),
    ({"poll_interval_sec": 0}, "poll_interval_sec should be greater than 0"),
    ({"poll_interval_sec": True}, "poll_interval_sec should be a number, not true"),
    ({"poll_timeout_sec": float("inf")}, "poll_timeout_sec should be a finite number"),
    ({"agent_id": ""}, "agent_id .*at least 1 character"),
    ({"stop": [""]}, "stop should hold no empty string"),
    ({"budgt": "low"}, "unknown argument 'budgt'. Did you mean 'budget'?"),
]


@each(
    ("given", "words"),
    [pytest.param(*one, id=f"{at}-{next(iter(one[0]))}") for at, one in enumerate(REFUSED)],
)
def test_what_is_out_of_range_is_refused_before_anything_is_sent(given, words):
    emulator = Emulator()

    with pytest.raises(ConfigurationError, match=f"^ChatMaestro: .*{words}"):
        ChatMaestro(**given)
    with pytest.raises(ConfigurationError, match=f"^ChatMaestro: .*{words}"):
        maestro(emulator).invoke("Hi", **given)
    assert emulator.requests == []


def test_none_is_no_setting():
    optional = [name for name, one in ChatMaestro.model_fields.items() if one.default is None]

    assert {"models", "agent_id", "requirements"} <= set(optional)
    assert ChatMaestro(**dict.fromkeys(optional)).models is None


CALL = {"name": "f", "args": {}, "id": "a"}


@each(
    ("messages", "words"),
    [
        pytest.param([], "messages is empty", id="none"),
        pytest.param([SystemMessage("x")], "instructions only", id="system"),
        pytest.param(
            [HumanMessage("x"), ToolMessage("y", tool_call_id="a")], "tools itself", id="tool"
        ),
        pytest.param([HumanMessage("x"), AIMessage("", tool_calls=[CALL])], "itself", id="call"),
        pytest.param([HumanMessage([{"type": "image", "url": "x"}])], "text only", id="image"),
    ],
)
def test_messages_that_maestro_cannot_read_are_refused(messages, words):
    emulator = Emulator()

    with pytest.raises(ConfigurationError, match=words):
        maestro(emulator).invoke(messages)
    assert emulator.requests == []


@each("name", ["input", "budget", "stream"])
def test_model_kwargs_hold_no_fields_of_ours(name):
    with pytest.raises(ConfigurationError, match=f"model_kwargs holds '{name}'"):
        maestro(Emulator(), model_kwargs={name: True}).invoke("Hi")


def test_a_setting_is_checked_when_it_is_changed():
    model = maestro(Emulator())
    model.budget = "high"

    with pytest.raises(ConfigurationError, match="budget should be"):
        model.budget = "huge"
    assert model.budget == "high"


# --- Watching a run --------------------------------------------------------------------------


@each("call", calls.CALLED)
@each("looks", [0, 1, 3])
def test_a_run_is_looked_at_until_it_has_ended(call, looks):
    emulator = says("Hello", pending_looks=looks)
    message = call(maestro(emulator))

    assert message.content == "Hello"
    assert lines(emulator) == ["POST /maestro/runs"] + [f"GET /maestro/runs/{message.id}"] * (
        looks + 1
    )


@each("call", calls.CALLED)
def test_a_run_that_has_ended_at_once_is_not_looked_at(call):
    emulator = Emulator(faults=[Fault(body=COMPLETED)])

    assert call(maestro(emulator)).content == "There are 25 days."
    assert len(emulator.requests) == 1


RUNNING = {"id": RUN_ID, "status": "in_progress"}


@each("call", calls.CALLED)
def test_giving_up_says_which_run_goes_on(call):
    emulator = says("Hello", pending_looks=1000, new_id=lambda: UUID(RUN_ID))
    with pytest.raises(APITimeoutError) as caught:
        call(maestro(emulator), poll_timeout_sec=0.01)

    error = caught.value
    assert error.run_id == RUN_ID
    assert str(error) == (
        f"Maestro run {error.run_id} is in_progress after 0.01 s, and goes on. Look at the run "
        f"again with ChatMaestro.resume('{error.run_id}'), and raise poll_timeout_sec"
    )
    assert not error.is_retryable  # a retry would start a second run
    assert pickle.loads(pickle.dumps(error)).run_id == error.run_id


@each("resume", RESUMED)
def test_a_run_can_be_resumed(resume):
    emulator = says("Hello", pending_looks=3)
    model = maestro(emulator)
    with pytest.raises(APITimeoutError) as caught:
        model.invoke("Hi", poll_timeout_sec=0.001, poll_interval_sec=0.001)
    again = pickle.loads(pickle.dumps(caught.value))

    assert resume(maestro(emulator), again.run_id).content == "Hello"
    assert [one.method for one in emulator.requests].count("POST") == 1


@each("resume", RESUMED)
def test_a_run_that_there_is_not_cannot_be_resumed(resume):
    with pytest.raises(NotFoundError, match="404"):
        resume(maestro(Emulator()), RUN_ID)


@each("resume", RESUMED)
@each("run_id", ["", "..", "."])
def test_what_is_no_id_is_refused(resume, run_id):
    emulator = Emulator()

    with pytest.raises(ConfigurationError, match="is no id"):
        resume(maestro(emulator), run_id)
    assert emulator.requests == []


@each("resume", RESUMED)
def test_an_id_stays_in_its_place(resume):
    emulator = Emulator(faults=[Fault(body=COMPLETED)])
    resume(maestro(emulator), "../../models?x")

    assert emulator.requests[0].path == "/studio/v1/maestro/runs/../../models?x"  # one part, quoted


@each("call", calls.CALLED)
def test_a_look_that_fails_is_tried_again(call):
    faults = [Fault(status=503, headers={"Retry-After": "0"}, times=2, path="/" + RUN_ID)]
    emulator = says("Hello", faults=[Fault(body=RUNNING), *faults, Fault(body=COMPLETED)])

    assert call(maestro(emulator, max_retries=2)).content == "There are 25 days."
    assert len(emulator.requests) == 4


@each("call", calls.CALLED)
def test_a_look_that_keeps_failing_names_the_run(call):
    emulator = Emulator(faults=[Fault(body=RUNNING), Fault(status=500, times=None)])
    with pytest.raises(InternalServerError, match=f"resume..{RUN_ID}") as caught:
        call(maestro(emulator))

    assert caught.value.run_id == RUN_ID
    assert not caught.value.is_retryable


@each("call", calls.CALLED)
@each("break_off", [servers.CUT, servers.RESET])
def test_a_run_is_not_started_twice_when_it_may_have_been(call, break_off):
    with servers.scripted([break_off]) as server:
        model = ChatMaestro(base_url=server.url, api_key="k", max_retries=3)
        with pytest.raises(APIConnectionError, match="The server may have done it"):
            call(model)

    assert len(server.requests) == 1


@each("call", calls.CALLED)
def test_a_run_is_started_again_when_it_surely_was_not(call):
    busy = Fault(status=429, headers={"Retry-After": "0"})
    emulator = says("Hello", faults=[busy])

    assert call(maestro(emulator, max_retries=1)).content == "Hello"
    assert [one.method for one in emulator.requests] == ["POST", "POST", "GET"]


async def test_a_cancelled_call_stops_looking_at_once():
    emulator = says("Hello", pending_looks=1000)
    task = asyncio.create_task(maestro(emulator, poll_interval_sec=30).ainvoke("Hi"))
    while not emulator.requests:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 1)

    assert lines(emulator) == ["POST /maestro/runs"]


def test_the_log_has_the_runs_id(caplog):
    with caplog.at_level(logging.INFO, "ai21_chains"):
        message = maestro(says("Hello")).invoke("Hi")

    assert f"Maestro run {message.id} has started" in caplog.messages


@each(
    ("timeout", "patience"),
    [(None, 30.0), (5, 5), (100, 30.0), (Timeout(7), Timeout(7))],
)
def test_one_look_does_not_take_all_the_time(timeout, patience):
    assert impatient(AI21Client(timeout=timeout)).timeout == patience


def test_a_client_of_the_users_keeps_its_own_timeout():
    with httpx.Client() as http:
        assert impatient(AI21Client(http_client=http)).timeout is None


# --- The end of a run ------------------------------------------------------------------------


@each("call", calls.CALLED)
def test_a_failed_run_says_why(call):
    brain = scripted(Reply("The budget\nis spent.", finish_reason="failed"))
    with pytest.raises(RunFailedError) as caught:
        call(maestro(Emulator(brain=brain, pending_looks=1)))

    error = caught.value
    assert str(error) == (
        f"Maestro run {error.run_id} failed: The budget is spent. Invoke the model again to start "
        "another run"
    )
    assert error.body["status"] == "failed"
    assert error.detail == "The budget\nis spent."
    assert not error.is_retryable
    assert pickle.loads(pickle.dumps(error)).run_id == error.run_id


@each("error", [None, {}, {"message": None}, "x"])
def test_a_failed_run_may_not_say_why(error):
    emulator = Emulator(faults=[Fault(body={**RUNNING, "status": "failed", "error": error})])

    with pytest.raises(RunFailedError, match="failed: the server does not say why"):
        maestro(emulator).invoke("Hi")


@each("call", calls.CALLED)
def test_a_run_that_waits_for_an_action_is_an_error(call):
    brain = scripted(Reply(finish_reason="requires_action"))

    with pytest.raises(RunFailedError, match=r"waits for an action \(requires_action\)") as caught:
        call(maestro(Emulator(brain=brain)))
    assert caught.value.run_id in str(caught.value)


def test_a_status_that_is_new_is_waited_out():
    queued = {**RUNNING, "status": "queued"}
    emulator = Emulator(faults=[Fault(body=queued), Fault(body=COMPLETED)])

    assert maestro(emulator).invoke("Hi").content == "There are 25 days."


@each("body", [[], {}, {"status": "completed"}, {"id": "x"}])
def test_what_is_no_run_is_an_error(body):
    with pytest.raises(ResponseFormatError, match="no Maestro run"):
        maestro(Emulator(faults=[Fault(body=body)])).invoke("Hi")


@each("call", calls.CALLED)
def test_errors_of_the_server_are_told(call):
    with pytest.raises(UnprocessableEntityError, match="not supported"):
        call(maestro(Emulator(), models="jamba-99"))
    with pytest.raises(AuthenticationError, match="401"):
        call(maestro(Emulator(api_keys=["other"])))


# --- The message -----------------------------------------------------------------------------


def ended(**fields: Any) -> Emulator:
    return Emulator(faults=[Fault(body={**COMPLETED, **fields})])


@each("call", calls.CALLED)
def test_a_message_has_all_that_is_known_of_the_run(call):
    message = call(maestro(ended(), models="jamba-large"))

    assert message.content == "There are 25 days."
    assert message.id == RUN_ID
    assert message.response_metadata == {
        "model_provider": "ai21",
        "model_name": "jamba-large",
        "id": RUN_ID,
        "status": "completed",
        "data_sources": SOURCES,
        "requirements_result": COMPLETED["requirements_result"],
    }
    assert message.usage_metadata is None


@each("call", calls.CALLED)
def test_sources_are_citations(call):
    message = call(maestro(ended()))

    (block,) = message.content_blocks
    assert block["text"] == "There are 25 days."
    assert block["annotations"] == message.additional_kwargs["citations"]
    shown = [{k: v for k, v in one.items() if k != "id"} for one in block["annotations"]]
    assert shown == [
        {
            "type": "citation",
            "title": "hr.pdf",
            "cited_text": "25 days of leave.",
            "extras": {"document_id": "f1", "source": "hr.pdf", "order": 3, "score": 0.87},
        },
        {
            "type": "citation",
            "title": "x.pdf",
            "extras": {"document_id": "f2", "source": "x.pdf", "order": 0, "score": 0.5},
        },
        {
            "type": "citation",
            "url": "https://hr.example.com/leave",
            "cited_text": "Leave is paid.",
            "extras": {"source": "https://hr.example.com/leave", "score": 0.8},
        },
    ]


@each(
    "sources",
    [None, [], "x", {}, {"file_search": None}, {"file_search": ["x"], "web_search": []}],
)
def test_odd_sources_do_not_lose_the_answer(sources):
    message = maestro(ended(data_sources=sources)).invoke("Hi")

    assert message.content == "There are 25 days."
    assert message.additional_kwargs == {}


@each(
    ("result", "text"),
    [
        pytest.param("Hi", "Hi", id="text"),
        pytest.param(None, "", id="null"),
        pytest.param({"é": 1}, '{"é": 1}', id="object"),
        pytest.param([1, 2], "[1, 2]", id="list"),
        pytest.param(0, "0", id="zero"),
        pytest.param(False, "false", id="false"),
    ],
)
def test_a_result_is_the_messages_text(result, text):
    assert to_message({**COMPLETED, "result": result}, "m").content == text


def test_usage_is_read_where_there_is_some():
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    message = to_message({**COMPLETED, "usage": usage}, "m")

    assert message.usage_metadata == {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}


@each("call", calls.CALLED)
def test_stop_cuts_a_text(call):
    model = maestro(says("One. Two. Three."), stop="Three")

    assert call(model).content == "One. Two. "
    assert call(model, stop=["Two", "One"]).content == ""
    assert call(model, stop=[]).content == "One. Two. Three."


def test_scores_of_requirements_are_told():
    model = maestro(says("Paris."), requirements=["Say 'Paris'.", "Say 'Bonn'."])
    result = model.invoke("Hi").response_metadata["requirements_result"]

    assert result["score"] == 0.5
    assert [one["score"] for one in result["requirements"]] == [1.0, 0.0]


# --- Streams and callbacks -------------------------------------------------------------------


class Notes(BaseCallbackHandler):
    def __init__(self) -> None:
        self.events: list[str] = []
        self.params: dict[str, Any] = {}

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.events.append("start")
        self.params = kwargs["invocation_params"]

    def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
        self.events.append(token)

    def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
        self.events.append("end")

    def on_llm_error(self, *args: Any, **kwargs: Any) -> None:
        self.events.append("error")


async def test_a_stream_has_one_chunk():
    model = maestro(ended())
    (chunk,) = model.stream("Hi")
    (other,) = [one async for one in maestro(ended()).astream("Hi")]

    assert isinstance(chunk, AIMessageChunk)
    assert chunk.chunk_position == "last"
    assert chunk.response_metadata == maestro(ended()).invoke("Hi").response_metadata
    assert chunk.content_blocks[0]["annotations"]
    assert other.response_metadata == chunk.response_metadata


@each(
    ("way", "events"),
    [
        (calls.invoke, ["start", "end"]),
        (calls.ainvoke, ["start", "end"]),
        (calls.streamed, ["start", "Hello", "end"]),
        (calls.astreamed, ["start", "Hello", "end"]),
    ],
)
def test_callbacks_are_called_once(way, events):
    notes = Notes()
    way(maestro(says("Hello")), "Hi", config={"callbacks": [notes]})

    assert notes.events == events


def test_callbacks_hear_of_failures():
    notes = Notes()
    with pytest.raises(AI21Error):
        maestro(Emulator(faults=[Fault(status=500)])).invoke("Hi", {"callbacks": [notes]})

    assert notes.events == ["start", "error"]


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
async def test_events_of_version_three_have_the_text():
    notes = Notes()
    config: Any = {"callbacks": [notes]}
    events = maestro(says("Hello")).stream_events("Hi", config, version="v3")
    assert events.output.text == "Hello"

    stream = await maestro(says("Hello")).astream_events("Hi", config, version="v3")
    assert (await stream.output).text == "Hello"
    assert notes.events.count("Hello") == 2


# --- Schemas ---------------------------------------------------------------------------------


class City(BaseModel):
    """A city."""

    name: str
    people: int


class CityDict(TypedDict):
    """A city."""

    name: str
    people: int


BONN = '{"name": "Bonn", "people": 330000}'
SCHEMAS = [
    pytest.param(City, City(name="Bonn", people=330000), id="pydantic"),
    pytest.param(CityDict, {"name": "Bonn", "people": 330000}, id="typeddict"),
    pytest.param(City.model_json_schema(), {"name": "Bonn", "people": 330000}, id="json-schema"),
]
Ask = Callable[[Any], Awaitable[Any]]


async def _invoked(chain: Any) -> Any:
    return chain.invoke("Which city?")


async def _ainvoked(chain: Any) -> Any:
    return await chain.ainvoke("Which city?")


async def _streamed(chain: Any) -> Any:
    return list(chain.stream("Which city?"))[-1]


async def _astreamed(chain: Any) -> Any:
    return [one async for one in chain.astream("Which city?")][-1]


@each("ask", [_invoked, _ainvoked, _streamed, _astreamed])
@each(("schema", "value"), SCHEMAS)
async def test_an_answer_has_the_form_of_a_schema(ask, schema, value):
    emulator = says(BONN)

    assert await ask(maestro(emulator).with_structured_output(schema)) == value
    wire = emulator.requests[0].json["output_type"]
    assert list(wire["properties"]) == wire["required"] == ["name", "people"]


@each("ask", [_invoked, _ainvoked, _streamed, _astreamed])
@each(
    ("said", "words"),
    [
        pytest.param('{"name": "Bonn"}', "people: Field required", id="incomplete"),
        pytest.param("[]", "is not a JSON object", id="list"),
        pytest.param('"I cannot."', "is not JSON", id="refusal"),
    ],
)
async def test_an_answer_of_another_form_is_an_error(ask, said, words):
    model = maestro(says(said))

    with pytest.raises(StructuredOutputError, match=words):
        await ask(model.with_structured_output(City))
    kept = await model.with_structured_output(City, include_raw=True).ainvoke("Which?")
    assert kept["parsed"] is None
    assert isinstance(kept["parsing_error"], StructuredOutputError)


def test_the_raw_message_is_kept():
    kept = maestro(says(BONN)).with_structured_output(City, include_raw=True).invoke("Which?")

    assert kept["parsed"] == City(name="Bonn", people=330000)
    assert kept["raw"].content == BONN
    assert kept["parsing_error"] is None


def test_a_run_whose_result_does_not_fit_fails():
    with pytest.raises(RunFailedError, match="does not fit output_type"):
        maestro(says("Bonn")).with_structured_output(City).invoke("Which?")


def test_any_object_will_do():
    emulator = says('{"a": 1}')
    chain = maestro(emulator).with_structured_output(method="json_mode")

    assert chain.invoke("Hi") == {"a": 1}
    assert emulator.requests[0].json["output_type"] == {"type": "object"}


@each(
    ("arguments", "words"),
    [
        ({"schema": City, "method": "magic"}, "there is no method 'magic'"),
        ({}, "json_schema needs a schema"),
        ({"schema": 3}, "schema is no JSON schema"),
    ],
)
def test_what_is_no_schema_is_refused(arguments, words):
    with pytest.raises(ConfigurationError, match=words):
        maestro(Emulator()).with_structured_output(**arguments)


@each("given", [City, CityDict, City.model_json_schema()])
def test_output_type_is_a_schema_in_any_form(given):
    assert sent("Hi", {"output_type": given})["output_type"]["required"] == ["name", "people"]


# --- Agents and tools ------------------------------------------------------------------------


@each("call", calls.CALLED)
def test_an_agent_is_run_with_its_own_settings(call):
    emulator = says("Hello")
    message = call(maestro(emulator, agent_id="a1"), response_language="french")

    assert lines(emulator) == ["POST /assistants/a1/run", f"GET /maestro/runs/{message.id}"]
    assert emulator.requests[0].json == {
        "input": [{"role": "user", "content": "Hi"}],
        "include": ["data_sources", "requirements_result"],
        "response_language": "french",
    }
    assert message.content == "Hello"


@each(
    "given",
    [{"models": "m"}, {"tools": [WebSearch()]}, {"requirements": ["x"]}, {"budget": "low"}],
)
def test_an_agent_takes_no_settings_of_its_own_from_us(given):
    with pytest.raises(ConfigurationError, match=f"{next(iter(given))} does not go with agent_id"):
        maestro(Emulator(), agent_id="a").invoke("Hi", **given)


def test_tools_of_maestros_can_be_bound():
    emulator = says("Hello")
    maestro(emulator).bind_tools([WebSearch()], tool_choice="auto").invoke("Hi")

    assert emulator.requests[0].json["tools"] == [{"type": "web_search"}]


def test_no_tools_can_be_bound():
    emulator = says("{}")
    maestro(emulator).bind_tools([], response_format=City).invoke("Hi")

    assert set(emulator.requests[0].json) == {"input", "output_type"}


@each(
    ("arguments", "words"),
    [
        ({"tools": [print]}, "ChatMaestro: tools should hold FileSearch"),
        ({"tools": [], "tool_choice": "any"}, "tool_choice is 'any'; Maestro chooses its tools"),
    ],
)
def test_functions_of_the_callers_cannot_be_bound(arguments, words):
    with pytest.raises(ConfigurationError, match=words):
        maestro(Emulator()).bind_tools(**arguments)


def test_an_agent_of_langchains_answers_in_a_form():
    agents = pytest.importorskip("langchain.agents")
    agent = agents.create_agent(maestro(says(BONN)), response_format=City)

    state = agent.invoke({"messages": [HumanMessage("Which city?")]})
    assert state["structured_response"] == City(name="Bonn", people=330000)


# --- Copies, dumps and secrets ---------------------------------------------------------------

WITH_ALL: dict[str, Any] = {
    "models": ["jamba-large"],
    "requirements": [Requirement(name="a", description="b", is_mandatory=True)],
    "tools": [
        FileSearch(labels=["x"]),
        MCPTool(server_url="https://m.example.com", headers={"Authorization": SECRET}),
        HTTPTool(name="f", description="g", parameters={}, url="https://h.example.com"),
    ],
    "budget": "high",
    "output_type": City,
    "poll_timeout_sec": 10,
}

COPIES = [
    pytest.param(copy.copy, id="copy"),
    pytest.param(copy.deepcopy, id="deepcopy"),
    pytest.param(lambda model: model.model_copy(), id="model_copy"),
    pytest.param(lambda model: model.model_copy(update={"max_retries": 0}), id="updated"),
    pytest.param(lambda model: pickle.loads(pickle.dumps(model)), id="pickle"),
]


@each("duplicate", COPIES)
def test_a_copy_asks_the_same(duplicate):
    with servers.scripted(servers.answer(COMPLETED)) as server:
        model = ChatMaestro(base_url=server.url, api_key="k", **WITH_ALL)
        for one in (model, duplicate(model)):
            one.invoke("Hi")

    assert server.bodies[0] == server.bodies[1]
    assert server.bodies[0]["tools"][1]["headers"] == {"Authorization": SECRET}


def test_a_copy_can_have_other_settings():
    emulator = says("Hello")
    model = maestro(emulator, models="jamba-mini").model_copy(update={"models": ["jamba-large"]})

    assert model.invoke("Hi").response_metadata["model_name"] == "jamba-large"


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_a_dump_can_be_loaded():
    model = ChatMaestro(api_key="k", **WITH_ALL)
    again = load(
        json.loads(dumps(model)),
        allowed_objects=[ChatMaestro],
        valid_namespaces=["ai21_chains"],
        secrets_map={"AI21_API_KEY": "k-loaded"},
    )

    assert dumpd(again) == dumpd(model)
    assert again.api_key.get_secret_value() == "k-loaded"
    assert again.tools[1] == MCPTool(server_url="https://m.example.com")
    assert again.requirements == model.requirements


class Runs(BaseTracer):
    def __init__(self) -> None:
        super().__init__()
        self.seen = ""

    def _persist_run(self, run: Any) -> None:
        self.seen += repr(run.dict())


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")
@each("form", [lambda tool: tool, lambda tool: tool.to_wire()])
def test_headers_of_tools_are_in_no_dump_and_no_trace(form):
    emulator, notes, tracer = says("Hello"), Notes(), Runs()
    tools = [form(tool) for tool in WITH_ALL["tools"]]
    model = maestro(emulator, tools=tools)
    bound = maestro(emulator).bind(tools=tools)
    config: Any = {"callbacks": [notes, tracer]}
    model.invoke("Hi", config)
    bound.invoke("Hi", config)
    maestro(emulator).invoke("Hi", config, tools=tools)
    shown = [repr(model), repr(bound), dumps(model), dumps(bound), tracer.seen]
    shown += [repr(notes.params), model._get_llm_string(tools=tools)]

    assert tracer.seen
    assert [text for text in shown if SECRET in text] == []
    sent = [request.json["tools"][1] for request in emulator.requests if request.method == "POST"]
    assert [one["headers"] for one in sent] == [{"Authorization": SECRET}] * 3


def test_a_trace_says_what_was_asked():
    notes = Notes()
    maestro(says("Hello"), requirements=["x"]).invoke(
        "Hi", {"callbacks": [notes]}, budget="low", tools=[WebSearch()], timeout=9
    )

    assert notes.params["budget"] == "low"
    assert notes.params["tools"] == [{"type": "web_search"}]
    assert notes.params["requirements"][0]["description"] == "x"
    assert "timeout" not in notes.params


@each(
    ("options", "name"),
    [
        ({}, "maestro"),
        ({"model": "a"}, "a"),
        ({"models": ["b", "c"]}, "b"),
        ({"models": "d"}, "d"),
    ],
)
def test_traces_and_messages_name_the_same_model(options, name):
    model = maestro(ended(), stop="x")

    assert model._get_ls_params(**options) == {
        "ls_provider": "ai21",
        "ls_model_name": name,
        "ls_model_type": "chat",
        "ls_stop": ["x"],
    }
    assert model.invoke("Hi", **options).response_metadata["model_name"] == name


def test_a_cache_answers_what_was_asked_before():
    emulator = says("Hello")
    model = maestro(emulator, cache=InMemoryCache())
    for budget in ("low", "low", "high"):
        assert model.invoke("Hi", budget=budget).content == "Hello"

    assert [one.method for one in emulator.requests].count("POST") == 2


def test_there_is_an_error_without_a_key():
    with pytest.raises(ConfigurationError, match="AI21_API_KEY"):
        ChatMaestro().invoke("Hi")
