"""OpenTelemetry spans: the semantic conventions' names, nesting, failures, and what stays out."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ai21_chains import ChatAI21, Emulator
from ai21_chains.emulator import Fault, Reply, ToolCall
from ai21_chains.errors import InternalServerError, MissingExtraError
from ai21_chains.llms import AI21LLM
from ai21_chains.tracing import OpenTelemetryCallbackHandler
from tests.cases import each
from tests.servers import calls
from tests.servers.calls import Call
from tests.servers.scripted import DONE, ROLE, STOP, event, scripted, stream

Made: TypeAlias = Callable[..., tuple[ChatAI21, Emulator]]
HAIFA = Reply(tool_calls=[ToolCall("get_weather", {"city": "Haifa"}, id="call-1")])
ASKED = {"messages": [("user", "How is the weather in Haifa?")]}


class Spans:
    """A handler whose spans stay here."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.handler = self.made()

    def made(self, **options: Any) -> OpenTelemetryCallbackHandler:
        return OpenTelemetryCallbackHandler(tracer_provider=self.provider, **options)

    @property
    def config(self) -> dict[str, Any]:
        return {"callbacks": [self.handler]}

    @property
    def ended(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    @property
    def only(self) -> dict[str, Any]:
        (span,) = self.ended
        return dict(span.attributes or {})

    def tree(self) -> list[tuple[str, str | None]]:
        """Each span's name and that of its parent, in the order of their starts."""
        names = {span.context.span_id: span.name for span in self.ended}
        begun = sorted(self.ended, key=lambda span: span.start_time or 0)
        return [(one.name, one.parent and names.get(one.parent.span_id)) for one in begun]


@pytest.fixture
def spans() -> Iterator[Spans]:
    made = Spans()
    yield made
    made.provider.shutdown()


in_each_way = each("call", calls.CALLED)


@tool
def get_weather(city: str) -> str:
    """Look up the weather in a city."""
    return f"Sunny in {city}."


# --- A model's span --------------------------------------------------------------------------


@in_each_way
def test_a_call_has_the_names_of_the_semantic_conventions(made: Made, call: Call) -> None:
    spans = Spans()
    model, _ = made("Hello there.", temperature=0.5, max_tokens=9, stop=["#"], top_p=0.9, seed=3)

    answer = call(model, "Hi", config=spans.config)

    attributes = spans.only
    assert spans.tree() == [("chat jamba-mini", None)]
    assert spans.ended[0].kind is trace.SpanKind.CLIENT
    waited = attributes.pop("gen_ai.response.time_to_first_chunk", None)
    assert (waited is None) == ("stream" not in call.__name__)
    assert attributes.pop("gen_ai.request.stream", False) == ("stream" in call.__name__)
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "ai21",
        "gen_ai.request.model": "jamba-mini",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.stop_sequences": ("#",),
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.seed": 3,
        "gen_ai.response.id": answer.response_metadata["id"],
        "gen_ai.response.model": "jamba-mini",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": answer.usage_metadata["input_tokens"],
        "gen_ai.usage.output_tokens": answer.usage_metadata["output_tokens"],
        "server.address": "api.ai21.com",
        "server.port": 443,
    }


def test_options_of_the_call_are_those_that_are_shown(made: Made, spans: Spans) -> None:
    model, _ = made("{}", temperature=0.5)
    asked = {"model": "jamba-large", "response_format": {"type": "json_object"}}

    model.bind(temperature=0.0, **asked).invoke("JSON!", spans.config)

    assert spans.only["gen_ai.request.model"] == "jamba-large"
    assert spans.only["gen_ai.request.temperature"] == 0.0
    assert spans.only["gen_ai.output.type"] == "json"


def test_several_answers_have_a_finish_reason_each(made: Made, spans: Spans) -> None:
    model, _ = made("One.", "Two.", n=2, temperature=1)

    model.generate([[HumanMessage("Hi")]], callbacks=[spans.handler])

    assert spans.only["gen_ai.request.choice.count"] == 2
    assert spans.only["gen_ai.response.finish_reasons"] == ("stop", "stop")


def test_the_time_to_the_first_chunk_is_that_of_the_stream(spans: Spans) -> None:
    pause = 0.03
    script = stream(ROLE, pause, event("Hel"), event("lo"), STOP, DONE)
    with scripted(script) as server:
        model = ChatAI21(base_url=server.url, api_key="k")
        list(model.stream("Hi", spans.config))

    (span,) = spans.ended
    lasted = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
    waited = spans.only["gen_ai.response.time_to_first_chunk"]
    assert pause <= waited <= lasted
    assert spans.only["server.address"] == "127.0.0.1"
    assert spans.only["server.port"] == server.port


@pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")
def test_a_v3_stream_is_one_too(made: Made, spans: Spans) -> None:
    model, _ = made("Hello there.")

    list(model.stream_events("Hi", spans.config, version="v3"))

    assert spans.only["gen_ai.request.stream"] is True
    assert spans.only["gen_ai.usage.output_tokens"] > 0


def test_a_completion_model_has_a_span_as_well(http: Any, spans: Spans) -> None:
    AI21LLM(max_tokens=5, **http).invoke("Once upon", spans.config)

    assert spans.tree() == [("text_completion jamba-mini", None)]
    assert spans.only["gen_ai.provider.name"] == "ai21"
    assert spans.only["gen_ai.response.finish_reasons"]
    assert spans.only["gen_ai.usage.input_tokens"] > 0


def test_models_of_others_have_spans_as_well(spans: Spans) -> None:
    GenericFakeChatModel(messages=iter([AIMessage("Hi")])).invoke("Hi", spans.config)

    assert spans.only["gen_ai.operation.name"] == "chat"
    assert spans.only["gen_ai.provider.name"] == "genericfakechatmodel"


# --- Nesting ---------------------------------------------------------------------------------

AGENT = [
    ("invoke_agent weatherman", None),
    ("chat jamba-mini", "invoke_agent weatherman"),
    ("execute_tool get_weather", "invoke_agent weatherman"),
    ("chat jamba-mini", "invoke_agent weatherman"),
]


def test_an_agent_s_models_and_tools_are_its_children(made: Made, spans: Spans) -> None:
    model, _ = made(HAIFA, "It is sunny.")
    agent = create_agent(model, [get_weather], name="weatherman")

    agent.invoke(ASKED, {**spans.config, "configurable": {"thread_id": "t-1"}})

    assert spans.tree() == AGENT
    by_name = {span.name: span.attributes or {} for span in spans.ended}
    assert by_name["invoke_agent weatherman"] == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "weatherman",
        "gen_ai.conversation.id": "t-1",
    }
    assert by_name["execute_tool get_weather"] == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "get_weather",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "Look up the weather in a city.",
        "gen_ai.tool.call.id": "call-1",
    }
    assert by_name["chat jamba-mini"]["gen_ai.conversation.id"] == "t-1"


@each("mode", ["ainvoke", "astream", "astream_events"])
async def test_async_agents_nest_likewise(made: Made, mode: str) -> None:
    spans = Spans()
    model, _ = made(HAIFA, "It is sunny.")
    agent = create_agent(model, [get_weather], name="weatherman")

    if mode == "ainvoke":
        await agent.ainvoke(ASKED, spans.config)
    else:
        assert [event async for event in getattr(agent, mode)(ASKED, spans.config)]

    assert spans.tree() == AGENT


def test_an_agent_inside_another_is_a_child_of_its_tool(made: Made, spans: Spans) -> None:
    inner, _ = made("Sunny.")
    outer, _ = made(Reply(tool_calls=[ToolCall("ask_expert", {})]), "The expert says: sunny.")
    expert = create_agent(inner, name="expert")

    @tool
    def ask_expert() -> str:
        """Ask the expert."""
        return expert.invoke(ASKED)["messages"][-1].text

    create_agent(outer, [ask_expert], name="boss").invoke(ASKED, spans.config)

    assert spans.tree() == [
        ("invoke_agent boss", None),
        ("chat jamba-mini", "invoke_agent boss"),
        ("execute_tool ask_expert", "invoke_agent boss"),
        ("invoke_agent expert", "execute_tool ask_expert"),
        ("chat jamba-mini", "invoke_agent expert"),
        ("chat jamba-mini", "invoke_agent boss"),
    ]


def test_the_steps_of_a_chain_are_children_of_the_whole(made: Made, spans: Spans) -> None:
    model, _ = made("Hello.")
    prompt = ChatPromptTemplate.from_messages([("user", "{x}")])
    chain = (prompt | RunnableLambda(lambda said: said) | model).with_config(run_name="greet")

    chain.invoke({"x": "Hi"}, spans.config)

    assert spans.tree() == [
        ("invoke_workflow greet", None),
        ("chat jamba-mini", "invoke_workflow greet"),
    ]


class Shelf(BaseRetriever):
    broken: bool = False

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        if self.broken:
            raise ValueError(f"cannot find {query}")
        return [Document("It is sunny in Haifa.", id="d1")]


def test_a_retriever_has_a_span(spans: Spans) -> None:
    spans.handler = spans.made(capture_content=True)

    Shelf().invoke("weather?", spans.config)

    assert spans.tree() == [("retrieval Shelf", None)]
    assert spans.only["gen_ai.operation.name"] == "retrieval"
    assert spans.only["gen_ai.retrieval.query.text"] == "weather?"
    assert json.loads(spans.only["gen_ai.retrieval.documents"])[0]["id"] == "d1"


def test_the_outermost_span_is_a_child_of_the_current_one(made: Made, spans: Spans) -> None:
    model, _ = made("Hello.", "Hello.")
    tracer = spans.provider.get_tracer("program")

    with tracer.start_as_current_span("request"):
        model.invoke("Hi", spans.config)
        asyncio.run(model.ainvoke("Hi", spans.config))

    assert spans.tree() == [
        ("request", None),
        ("chat jamba-mini", "request"),
        ("chat jamba-mini", "request"),
    ]


async def test_runs_at_the_same_time_do_not_mix(made: Made, spans: Spans) -> None:
    model, _ = made(brain=lambda request: request["messages"][-1]["content"])
    prompt = ChatPromptTemplate.from_messages([("user", "{x}")])
    spans.handler = spans.made(capture_content=True)

    async def ask(number: int) -> None:
        chain = (prompt | model).with_config(run_name=f"chain-{number}")
        await chain.ainvoke({"x": f"I am chain-{number}"}, spans.config)

    await asyncio.gather(*(ask(number) for number in range(20)))

    names = {span.context.span_id: span.name for span in spans.ended}
    asked = [span for span in spans.ended if span.name.startswith("chat")]
    assert len(asked) == 20
    for span in asked:
        attributes = span.attributes or {}
        chain = names[span.parent.span_id].removeprefix("invoke_workflow ")
        assert f"I am {chain}" in str(attributes["gen_ai.input.messages"])
        assert f"I am {chain}" in str(attributes["gen_ai.output.messages"])


def test_a_batch_in_threads_does_not_mix_either(made: Made, spans: Spans) -> None:
    model, _ = made(brain=lambda request: request["messages"][-1]["content"])
    chain = RunnableLambda(lambda said: f"{said}!") | model

    chain.batch([f"q{number}" for number in range(10)], spans.config)

    assert len(spans.ended) == 20
    assert {parent for name, parent in spans.tree() if name == "chat jamba-mini"} == {
        "invoke_workflow RunnableSequence"
    }


# --- Failures --------------------------------------------------------------------------------


@in_each_way
def test_a_failed_call_says_why(made: Made, call: Call) -> None:
    spans = Spans()
    model, _ = made(faults=[Fault(status=500)], max_retries=0)

    with pytest.raises(InternalServerError):
        call(model, "Hi", config=spans.config)

    (span,) = spans.ended
    assert span.status.status_code is trace.StatusCode.ERROR
    assert "500" in (span.status.description or "")
    assert spans.only["error.type"] == "ai21_chains.errors.InternalServerError"


@each("captured", [False, True])
def test_the_words_of_a_tool_s_error_are_content(made: Made, captured: bool) -> None:
    spans = Spans()
    spans.handler = spans.made(capture_content=captured)
    model, _ = made(HAIFA)

    @tool("get_weather")
    def broken(city: str) -> str:
        """Look up the weather in a city."""
        raise ValueError(f"no weather in {city}")

    with pytest.raises(ValueError, match="no weather in Haifa"):
        create_agent(model, [broken], name="weatherman").invoke(ASKED, spans.config)

    failed = [span for span in spans.ended if not span.status.is_ok]
    assert [span.name for span in failed] == ["execute_tool get_weather", "invoke_agent weatherman"]
    for span in failed:
        assert (span.attributes or {})["error.type"] == "builtins.ValueError"
        assert ("no weather in Haifa" in (span.status.description or "")) == captured


def test_a_retriever_that_fails_says_so(spans: Spans) -> None:
    with pytest.raises(ValueError, match="cannot find"):
        Shelf(broken=True).invoke("weather?", spans.config)

    assert spans.only["error.type"] == "builtins.ValueError"
    assert spans.ended[0].status.description is None


def test_waiting_for_a_person_is_no_failure(made: Made, spans: Spans) -> None:
    model, _ = made(HAIFA)

    @tool("get_weather")
    def ask_first(city: str) -> str:
        """Look up the weather in a city."""
        return interrupt("May I?")

    agent = create_agent(model, [ask_first], name="weatherman", checkpointer=InMemorySaver())
    held = agent.invoke(ASKED, {**spans.config, "configurable": {"thread_id": "1"}})

    assert held["__interrupt__"]
    assert spans.tree() == AGENT[:3]
    assert not [span for span in spans.ended if "error.type" in (span.attributes or {})]


def test_leaving_a_stream_is_no_failure(made: Made, spans: Spans) -> None:
    model, _ = made("One two three four five.")

    chunks = model.stream("Hi", spans.config)
    next(chunks)
    chunks.close()

    assert "error.type" not in spans.only


# --- What is said ----------------------------------------------------------------------------


def test_what_is_said_stays_out(made: Made, spans: Spans) -> None:
    model, _ = made(HAIFA, "It is sunny.")

    create_agent(model, [get_weather], system_prompt="Be brief.").invoke(ASKED, spans.config)

    written = json.dumps([dict(span.attributes or {}) for span in spans.ended])
    for said in ("How is", "Haifa", "unny", "Be brief."):
        assert said not in written


def test_what_is_said_can_be_captured(made: Made, spans: Spans) -> None:
    model, _ = made(HAIFA, "It is sunny.")
    spans.handler = spans.made(capture_content=True)

    create_agent(model, [get_weather], system_prompt="Be brief.").invoke(ASKED, spans.config)

    _, called, second, _ = [span.attributes or {} for span in spans.ended]
    parts = [
        {"role": one["role"], **one["parts"][0]}
        for one in json.loads(str(second["gen_ai.input.messages"]))
    ]
    arguments = {"city": "Haifa"}
    named = {"id": "call-1", "name": "get_weather", "arguments": arguments}
    assert parts == [
        {"role": "system", "type": "text", "content": "Be brief."},
        {"role": "user", "type": "text", "content": "How is the weather in Haifa?"},
        {"role": "assistant", "type": "tool_call", **named},
        {
            "role": "tool",
            "type": "tool_call_response",
            "id": "call-1",
            "response": "Sunny in Haifa.",
        },
    ]
    assert json.loads(str(second["gen_ai.output.messages"])) == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "It is sunny."}],
            "finish_reason": "stop",
        }
    ]
    assert json.loads(str(second["gen_ai.tool.definitions"]))[0]["name"] == "get_weather"
    assert json.loads(str(called["gen_ai.tool.call.arguments"])) == arguments
    assert called["gen_ai.tool.call.result"] == "Sunny in Haifa."


@in_each_way
def test_no_secret_is_ever_written(made: Made, call: Call) -> None:
    spans = Spans()
    model, _ = made("Hello.", default_headers={"X-Own": "header-of-mine"})
    spans.handler = spans.made(capture_content=True)
    bound = model.bind(api_key="key-of-mine", extra_headers={"X-Other": "header-of-mine"})

    call(bound, "Hi", config=spans.config)

    written = json.dumps(spans.only)
    for secret in ("test-key", "key-of-mine", "header-of-mine"):
        assert secret not in written


# --- The handler -----------------------------------------------------------------------------


def test_without_a_provider_spans_go_where_opentelemetry_says(made: Made) -> None:
    model, _ = made("Hello.")

    # Nothing is set up here, so they go nowhere, and nothing breaks.
    assert model.invoke("Hi", {"callbacks": [OpenTelemetryCallbackHandler()]}).content == "Hello."


def test_a_handler_may_be_part_of_a_model(made: Made, spans: Spans) -> None:
    model, _ = made("Hello.", callbacks=[spans.handler])

    (ChatPromptTemplate.from_messages(["{x}"]) | model).invoke({"x": "Hi"})

    assert spans.tree() == [("chat jamba-mini", None)]


def test_nothing_is_kept_of_runs_that_have_ended(made: Made, spans: Spans) -> None:
    model, _ = made(HAIFA, "It is sunny.")

    create_agent(model, [get_weather]).invoke(ASKED, spans.config)

    assert spans.handler._runs == {}


def test_a_missing_opentelemetry_is_an_error_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)

    with pytest.raises(MissingExtraError, match=r'pip install "ai21-chains\[otel\]"'):
        OpenTelemetryCallbackHandler()
