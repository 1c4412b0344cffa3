"""Version 3 of LangChain's and LangGraph's streaming, with our model and with agents."""

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream

from ai21_chains import ChatAI21, Emulator
from ai21_chains.emulator import Fault, Reply, ToolCall
from ai21_chains.errors import InternalServerError, StreamInterruptedError
from tests.cases import each

pytestmark = pytest.mark.filterwarnings(
    "ignore::langchain_core._api.beta_decorator.LangChainBetaWarning",
    "ignore::langchain_core._api.LangChainBetaWarning",
)

Made: TypeAlias = Callable[..., tuple[ChatAI21, Emulator]]
ASKED: dict[str, Any] = {"messages": [("user", "How is the weather?")]}


def get_weather(city: str) -> str:
    """Look up the weather in a city."""
    return f"Sunny in {city}."


def get_time() -> str:
    """Tell the time."""
    return "12:00"


HAIFA = Reply("I look.", tool_calls=[ToolCall("get_weather", {"city": "Haifa"}, id="c1")])
BOTH = Reply(
    "I look.",
    tool_calls=[
        ToolCall("get_weather", {"city": "חיפה 🏖"}, id="c1"),
        ToolCall("get_time", {}, id="c2"),
    ],
)
ANSWERS = {
    "text": Reply("It is sunny today."),
    "reasoning": Reply("4", reasoning_content="2 + 2"),
    "text and call": HAIFA,
    "parallel calls": BOTH,
    "call without arguments": Reply(tool_calls=[ToolCall("get_time", {}, id="c1")]),
    "nothing": Reply(""),
}


# --- The model -------------------------------------------------------------------------------


@each("version", ["v0", "v1"])
@each("reply", ANSWERS.values(), ids=ANSWERS)
def test_the_events_keep_the_protocol(made: Made, reply: Reply, version: str) -> None:
    model, _ = made(reply, output_version=version)

    assert_valid_event_stream(list(model.stream_events("Hi", version="v3")))


@each("reply", ANSWERS.values(), ids=ANSWERS)
async def test_the_async_events_keep_it_too(made: Made, reply: Reply) -> None:
    model, _ = made(reply)

    stream = await model.astream_events("Hi", version="v3")

    assert_valid_event_stream([event async for event in stream])


def test_its_projections_are_the_parts_of_the_answer(made: Made) -> None:
    model, _ = made(BOTH)

    stream = model.bind_tools([get_weather, get_time]).stream_events("Hi", version="v3")

    assert "".join(stream.text) == "I look."
    assert [(call["name"], call["args"]) for call in stream.output.tool_calls] == [
        ("get_weather", {"city": "חיפה 🏖"}),
        ("get_time", {}),
    ]
    assert stream.output.usage_metadata["total_tokens"] > 0
    assert stream.output.response_metadata["finish_reason"] == "tool_calls"
    assert stream.output.response_metadata["model_name"] == "jamba-mini"


@each("reply", ANSWERS.values(), ids=ANSWERS)
def test_it_comes_to_the_same_as_an_ordinary_stream(made: Made, reply: Reply) -> None:
    model, _ = made(reply, reply)
    streamed = model.stream_events("Hi", version="v3").output
    first, *chunks = model.stream("Hi")
    summed = sum(chunks, first)

    assert isinstance(summed, AIMessageChunk)
    assert (streamed.text, streamed.tool_calls) == (summed.text, summed.tool_calls)
    assert streamed.usage_metadata == summed.usage_metadata


def test_what_came_out_goes_back_in(made: Made) -> None:
    model, emulator = made(BOTH, "Fine.")
    output = model.stream_events("Hi", version="v3").output
    told = [ToolMessage(call["name"], tool_call_id=call["id"]) for call in output.tool_calls]

    model.invoke([HumanMessage("Hi"), output, *told])

    _, assistant, *_ = emulator.requests[1].json["messages"]
    assert assistant["content"] == "I look."
    assert [call["id"] for call in assistant["tool_calls"]] == ["c1", "c2"]


def test_a_request_that_fails_raises_what_it_always_does(made: Made) -> None:
    model, _ = made(faults=[Fault(status=500)], max_retries=0)

    with pytest.raises(InternalServerError):
        list(model.stream_events("Hi", version="v3"))


def test_a_stream_that_breaks_off_raises(made: Made) -> None:
    model, _ = made("One two three four five six.", faults=[Fault(cut_after=700)], max_retries=0)

    with pytest.raises(StreamInterruptedError):
        list(model.stream_events("Hi", version="v3"))


# --- Agents ----------------------------------------------------------------------------------


def test_an_agent_streams_each_message_of_its_model(made: Made) -> None:
    model, _ = made(HAIFA, "It is sunny.")
    agent = create_agent(model, [get_weather])

    run = agent.stream_events(ASKED, version="v3")
    said = ["".join(message.text) for message in run.messages]

    assert said == ["I look.", "It is sunny."]


def test_an_agent_s_run_ends_with_its_state(made: Made) -> None:
    model, emulator = made(BOTH, "It is sunny.")
    agent = create_agent(model, [get_weather, get_time])

    messages = agent.stream_events(ASKED, version="v3").output["messages"]

    assert [message.type for message in messages] == ["human", "ai", "tool", "tool", "ai"]
    assert [one.content for one in messages[2:4]] == ["Sunny in חיפה 🏖.", "12:00"]
    assert isinstance(messages[-1], AIMessage)
    assert messages[-1].text == "It is sunny."
    sent = emulator.requests[1].json["messages"][1]
    assert (sent["content"], len(sent["tool_calls"])) == ("I look.", 2)


async def test_an_async_agent_streams_too(made: Made) -> None:
    model, _ = made(HAIFA, "It is sunny.")
    agent = create_agent(model, [get_weather])

    run = await agent.astream_events(ASKED, version="v3")
    said = [await message.text async for message in run.messages]

    assert said == ["I look.", "It is sunny."]


@each("mode", ["values", "updates", "messages", "debug"])
async def test_version_2_of_a_graph_s_chunks_works(made: Made, mode: Any) -> None:
    model, _ = made(HAIFA, "It is sunny.")
    agent = create_agent(model, [get_weather])

    chunks = [chunk async for chunk in agent.astream(ASKED, stream_mode=mode, version="v2")]

    assert {chunk["type"] for chunk in chunks} == {mode}
