"""Runs as LangSmith keeps them: what a local tracer is told, and that no secret is in it."""

import json
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from langchain.agents import create_agent
from langchain_core.load import dumps
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tracers import BaseTracer, LangChainTracer
from langchain_core.tracers.schemas import Run
from langsmith import Client
from pydantic import BaseModel

from ai21_chains import ChatAI21, Emulator, create_grounded_qa_chain
from ai21_chains.emulator import Fault, Reply, ToolCall, extractive
from ai21_chains.errors import AuthenticationError
from ai21_chains.llms import AI21LLM
from tests.cases import each
from tests.servers import calls
from tests.servers.calls import Call
from tests.servers.scripted import answer, says, scripted

Made: TypeAlias = Callable[..., tuple[ChatAI21, Emulator]]
KEY, HEADER, PASSWORD = "sk-key-of-mine-0123", "header-of-mine", "password-of-mine"
SECRETS = (KEY, HEADER, PASSWORD)


class Tracer(BaseTracer):
    """Keeps the runs that a tracing service would be sent."""

    def __init__(self) -> None:
        super().__init__(_schema_format="original+chat")  # as LangSmith's tracer does
        self.runs: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.runs.append(run)

    @property
    def config(self) -> dict[str, Any]:
        return {"callbacks": [self]}

    @property
    def only(self) -> Run:
        (run,) = self.runs
        return run

    def text(self) -> str:
        return "".join(run.model_dump_json(fallback=repr) for run in self.runs)


@pytest.fixture
def tracer() -> Tracer:
    return Tracer()


in_each_way = each("call", calls.CALLED)


def get_weather(city: str) -> str:
    """Look up the weather in a city."""
    return f"Sunny in {city}."


def metadata(run: Run) -> dict[str, Any]:
    return (run.extra or {})["metadata"]


def said(run: Run) -> dict[str, Any]:
    """What the run's model answered, as a dumped message."""
    return (run.outputs or {})["generations"][0][0]["message"]["kwargs"]


# --- A model's run ---------------------------------------------------------------------------


@in_each_way
def test_a_run_has_what_langsmith_reads(made: Made, call: Call) -> None:
    tracer = Tracer()
    model, _ = made("Hello.", temperature=0.5, max_tokens=9, stop=["#"])
    config = {**tracer.config, "tags": ["mine"], "metadata": {"team": "blue"}, "run_name": "hi"}

    call(model, "Hi", config=config)

    run = tracer.only
    assert (run.name, run.run_type, run.error) == ("hi", "chat_model", None)
    assert run.tags == ["mine"]
    assert run.inputs["messages"][0][0]["kwargs"]["content"] == "Hi"
    known = metadata(run)
    assert {name: known[name] for name in known if name.startswith("ls_")} == {
        "ls_provider": "ai21",
        "ls_model_name": "jamba-mini",
        "ls_model_type": "chat",
        "ls_temperature": 0.5,
        "ls_max_tokens": 9,
        "ls_stop": ["#"],
        "ls_integration": "langchain_chat_model",
    }
    assert known["team"] == "blue"
    assert known["lc_versions"]["ai21-chains"]


@in_each_way
def test_its_answer_has_usage_and_metadata_once(made: Made, call: Call) -> None:
    tracer = Tracer()
    model, _ = made("Hello there, you.")

    answered = call(model, "Hi", config=tracer.config)

    message = said(tracer.only)
    assert message["content"] == "Hello there, you."
    assert message["usage_metadata"] == answered.usage_metadata
    assert message["response_metadata"] == {
        "model_provider": metadata(tracer.only)["ls_provider"],
        "model_name": "jamba-mini",
        "finish_reason": "stop",
        "id": answered.response_metadata["id"],
    }


def test_options_of_the_call_are_those_of_the_run(made: Made, tracer: Tracer) -> None:
    model, _ = made("Hello.", temperature=0.5, stop=["#"])

    model.invoke("Hi", tracer.config, temperature=0.0, model="jamba-large", stop=["!"])

    known = metadata(tracer.only)
    assert known["ls_temperature"] == 0.0
    assert known["ls_model_name"] == "jamba-large"
    assert known["ls_stop"] == ["!"]


def test_the_tools_that_were_offered_are_in_the_run(made: Made, tracer: Tracer) -> None:
    model, _ = made(Reply(tool_calls=[ToolCall("get_weather", {"city": "Haifa"})]))

    model.bind_tools([get_weather]).invoke("Hi", tracer.config)

    params = (tracer.only.extra or {})["invocation_params"]
    assert params["tools"][0]["function"]["name"] == "get_weather"
    assert said(tracer.only)["tool_calls"][0]["args"] == {"city": "Haifa"}


class City(BaseModel):
    """A city."""

    name: str


def test_the_schema_that_was_asked_for_is_in_the_run(made: Made, tracer: Tracer) -> None:
    model, _ = made(Reply(tool_calls=[ToolCall("City", {"name": "Haifa"})]))

    model.with_structured_output(City).invoke("Which?", tracer.config)

    (run,) = tracer.only.child_runs[:1]
    options = (run.extra or {})["options"]
    wanted = options["ls_structured_output_format"]
    assert wanted["kwargs"] == {"method": "function_calling", "strict": None}
    assert wanted["schema"]["title"] == "City"


def test_a_completion_has_a_run_as_well(http: Any, tracer: Tracer) -> None:
    AI21LLM(max_tokens=5, **http).invoke("Once upon", tracer.config)

    assert metadata(tracer.only)["ls_provider"] == "ai21"
    assert metadata(tracer.only)["ls_model_type"] == "llm"
    info = (tracer.only.outputs or {})["generations"][0][0]["generation_info"]
    assert info["usage_metadata"]["total_tokens"] > 0


@in_each_way
def test_a_failure_is_in_the_run(made: Made, call: Call) -> None:
    tracer = Tracer()
    model, _ = made(faults=[Fault(status=401)], max_retries=0)

    with pytest.raises(AuthenticationError):
        call(model, "Hi", config=tracer.config)

    assert "AuthenticationError" in (tracer.only.error or "")
    assert "401" in (tracer.only.error or "")


# --- Runs of several steps -------------------------------------------------------------------


def test_an_agent_s_run_is_a_tree(made: Made, tracer: Tracer) -> None:
    model, _ = made(Reply(tool_calls=[ToolCall("get_weather", {"city": "Haifa"})]), "Sunny.")

    create_agent(model, [get_weather]).invoke({"messages": [("user", "Hi")]}, tracer.config)

    kinds = [
        (step.name, [(run.run_type, run.name) for run in step.child_runs])
        for step in tracer.only.child_runs
    ]
    assert kinds == [
        ("model", [("chat_model", "ChatAI21")]),
        ("tools", [("tool", "get_weather")]),
        ("model", [("chat_model", "ChatAI21")]),
    ]


def test_a_chain_s_run_holds_its_question_and_its_answer(made: Made, tracer: Tracer) -> None:
    chain = create_grounded_qa_chain(made(brain=extractive)[0])

    chain.invoke({"question": "Who is it?", "documents": ["It is Ada."]}, tracer.config)

    assert tracer.only.inputs["question"] == "Who is it?"
    assert "Ada" in str(tracer.only.outputs)


# --- Secrets ---------------------------------------------------------------------------------

SECRET_OPTIONS = {
    "api_key": KEY,
    "extra_headers": {"X-One": HEADER},
    "default_headers": {"X-Two": HEADER},
}
PROXY = f"http://user:{PASSWORD}@127.0.0.1:9"


@in_each_way
def test_what_is_bound_is_sent_and_shown_to_nobody(call: Call) -> None:
    tracer = Tracer()
    with scripted(says()) as server:
        model = ChatAI21(base_url=server.url)
        bound = model.bind(**SECRET_OPTIONS)
        call(ChatPromptTemplate.from_messages(["{x}"]) | bound, {"x": "Hi"}, config=tracer.config)
        (request,) = server.requests

    assert request.key == KEY
    assert request.header("x-one") == [HEADER]
    assert not request.header("x-two") or request.header("x-two") == [HEADER]
    shown = tracer.text() + repr(bound) + str(bound.kwargs) + dumps(bound) + repr(bound | model)
    assert not [secret for secret in SECRETS if secret in shown]


@each(
    "ways",
    [
        lambda model: model.bind_tools([get_weather], **SECRET_OPTIONS),
        lambda model: model.with_structured_output(City, **SECRET_OPTIONS),
        lambda model: model.bind(proxy=PROXY),
        lambda model: AI21LLM().bind(**SECRET_OPTIONS),
    ],
    ids=["tools", "structured", "proxy", "completion"],
)
def test_every_way_to_bind_hides_them(ways: Callable[[ChatAI21], Any]) -> None:
    bound = ways(ChatAI21())

    shown = repr(bound) + dumps(bound)
    assert not [secret for secret in SECRETS if secret in shown]


def test_an_agent_s_settings_are_not_in_its_runs(tracer: Tracer) -> None:
    with scripted(says()) as server:
        model = ChatAI21(base_url=server.url, api_key=KEY, default_headers={"X": HEADER})
        create_agent(model).invoke({"messages": [("user", "Hi")]}, tracer.config)
        assert server.requests[0].header("x") == [HEADER]

    assert not [secret for secret in SECRETS if secret in tracer.text()]


def test_langsmith_s_own_client_sends_no_secret() -> None:
    nothing_else = {"batch_ingest_config": {"use_multipart_endpoint": False}}
    with scripted(says()) as server, scripted(answer(nothing_else)) as smith:
        address = smith.url.removesuffix("/studio/v1")
        client = Client(api_url=address, api_key="k", auto_batch_tracing=False)
        tracer = LangChainTracer(client=client, project_name="p")
        ChatAI21(base_url=server.url).bind(**SECRET_OPTIONS).invoke("Hi", {"callbacks": [tracer]})
        tracer.wait_for_futures()
        client.cleanup()

        sent = [json.loads(request.content) for request in smith.requests if request.content]
    assert [run["run_type"] for run in sent] == ["llm", "llm"]
    assert sent[-1]["extra"]["metadata"]["usage_metadata"]["total_tokens"] == 5
    assert not [secret for secret in SECRETS if secret in json.dumps(sent)]
