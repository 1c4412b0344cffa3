"""LangChain's own agent middleware with our model: what each asks of it, it gets."""

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    HumanInTheLoopMiddleware,
    LLMToolEmulator,
    LLMToolSelectorMiddleware,
    ModelCallLimitMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
    TodoListMiddleware,
    ToolCallLimitMiddleware,
)
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from ai21_chains import ChatAI21, Emulator
from ai21_chains.emulator import Fault, Reply, ToolCall
from ai21_chains.errors import AuthenticationError, ContextLengthExceededError, InternalServerError

Made: TypeAlias = Callable[..., tuple[ChatAI21, Emulator]]


def get_weather(city: str) -> str:
    """Look up the weather in a city."""
    return f"Sunny in {city}."


def get_time() -> str:
    """Tell the time."""
    return "12:00"


HAIFA = Reply(tool_calls=[ToolCall("get_weather", {"city": "Haifa"})])
ASKED = {"messages": [("user", "How is the weather?")]}


def long_talk(turns: int) -> list[Any]:
    pairs = (
        (HumanMessage(f"Question {n}? {'x ' * 200}"), AIMessage(f"Answer {n}."))
        for n in range(turns)
    )
    return [message for pair in pairs for message in pair]


def test_a_long_conversation_is_summarised_by_a_fraction_of_the_window(made: Made) -> None:
    model, emulator = made("They talked a lot.", "Fine.", profile={"max_input_tokens": 2_000})
    summarise = SummarizationMiddleware(model, trigger=("fraction", 0.5), keep=("messages", 2))
    agent = create_agent(model, middleware=[summarise])

    messages = agent.invoke({"messages": [*long_talk(10), ("user", "And?")]})["messages"]

    assert "They talked a lot." in messages[0].text
    assert len(messages) == 4
    assert len(emulator.requests) == 2


def test_the_profile_is_that_of_the_model_when_nothing_is_said(made: Made) -> None:
    model, emulator = made("Fine.")
    summarise = SummarizationMiddleware(model, trigger=("fraction", 0.8))

    create_agent(model, middleware=[summarise]).invoke({"messages": long_talk(10)})

    assert len(emulator.requests) == 1


def test_usage_that_the_api_reports_triggers_a_summary(made: Made) -> None:
    model, emulator = made("First.", "They talked.", "Second.")
    summarise = SummarizationMiddleware(model, trigger=("tokens", 30), keep=("messages", 1))
    agent = create_agent(model, middleware=[summarise], checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}

    agent.invoke({"messages": [("user", "word " * 40)]}, thread)
    agent.invoke({"messages": [("user", "And?")]}, thread)

    assert len(emulator.requests) == 3


def test_a_prompt_that_is_too_long_raises_what_summarising_looks_for(made: Made) -> None:
    refusal = b'{"detail": "Prompt has too many tokens: 300000, the limit is 256000"}'
    model, _ = made("Fine.", faults=[Fault(status=422, body=refusal)])

    with pytest.raises(ContextLengthExceededError):
        create_agent(model).invoke(ASKED)


def test_old_tool_results_are_cleared_by_the_model_s_own_count(made: Made) -> None:
    model, emulator = made("Fine.")
    clear = ContextEditingMiddleware(
        edits=[ClearToolUsesEdit(trigger=100, keep=1)], token_count_method="model"
    )
    history: list[Any] = []
    for number in range(4):
        call = {"name": "get_weather", "args": {"city": "x"}, "id": f"id-{number}"}
        history += [
            AIMessage("", tool_calls=[call]),
            ToolMessage("sunny " * 100, tool_call_id=f"id-{number}"),
        ]

    create_agent(model, [get_weather], middleware=[clear]).invoke(
        {"messages": [("user", "Go."), *history]}
    )

    sent = [one for one in emulator.requests[0].json["messages"] if one["role"] == "tool"]
    assert [one["content"] == "[cleared]" for one in sent] == [True, True, True, False]


def test_what_may_pass_is_tried_again(made: Made) -> None:
    model, emulator = made("Fine.", faults=[Fault(status=500, times=2)], max_retries=0)
    retry = ModelRetryMiddleware(max_retries=2, initial_delay=0.0, jitter=False)

    answer = create_agent(model, middleware=[retry]).invoke(ASKED)["messages"][-1]

    assert answer.content == "Fine."
    assert len(emulator.requests) == 3


def test_what_will_not_pass_is_not_tried_again(made: Made) -> None:
    model, emulator = made("Fine.", faults=[Fault(status=401)], max_retries=0)
    retry = ModelRetryMiddleware(max_retries=2, initial_delay=0.0, on_failure="error")

    with pytest.raises(AuthenticationError):
        create_agent(model, middleware=[retry]).invoke(ASKED)

    assert len(emulator.requests) == 1


def test_an_error_that_becomes_a_message_holds_no_key(made: Made) -> None:
    echo = b'{"detail": "no such key: test-key"}'
    model, _ = made(faults=[Fault(status=500, body=echo)], max_retries=0)
    retry = ModelRetryMiddleware(max_retries=0, on_failure="continue")

    answer = create_agent(model, middleware=[retry]).invoke(ASKED)["messages"][-1]

    assert "500" in answer.text
    assert "test-key" not in answer.text


def test_another_provider_takes_over_from_ours(made: Made) -> None:
    model, _ = made(faults=[Fault(status=500)], max_retries=0)
    other = GenericFakeChatModel(messages=iter([AIMessage("From elsewhere.")]))
    agent = create_agent(model, middleware=[ModelFallbackMiddleware(other)])

    assert agent.invoke(ASKED)["messages"][-1].content == "From elsewhere."


def test_ours_takes_over_from_another_provider(made: Made) -> None:
    class Failing(GenericFakeChatModel):
        def _generate(self, *args: Any, **options: Any) -> Any:
            raise InternalServerError("down", status_code=500)

    model, _ = made("From AI21.")
    agent = create_agent(Failing(messages=iter(())), middleware=[ModelFallbackMiddleware(model)])

    assert agent.invoke(ASKED)["messages"][-1].content == "From AI21."


def test_the_tools_are_chosen_by_the_model(made: Made) -> None:
    chosen = Reply(tool_calls=[ToolCall("ToolSelectionResponse", {"tools": ["get_weather"]})])
    model, emulator = made(chosen, "Sunny.")
    select = LLMToolSelectorMiddleware(model=model, max_tools=1)

    create_agent(model, [get_weather, get_time], middleware=[select]).invoke(ASKED)

    sent = [tool["function"]["name"] for tool in emulator.requests[1].json["tools"]]
    assert sent == ["get_weather"]


def test_a_tool_is_played_by_the_model(made: Made) -> None:
    model, _ = made(HAIFA, "Rain in Haifa.", "It rains.")
    play = LLMToolEmulator(model=model)

    messages = create_agent(model, [get_weather], middleware=[play]).invoke(ASKED)["messages"]

    assert [message.content for message in messages[2:]] == ["Rain in Haifa.", "It rains."]


def test_personal_data_never_reaches_the_api(made: Made) -> None:
    model, emulator = made("Noted.")
    redact = PIIMiddleware("email", strategy="redact")

    create_agent(model, middleware=[redact]).invoke({"messages": [("user", "I am a@b.example")]})

    assert emulator.requests[0].json["messages"][0]["content"] == "I am [REDACTED_EMAIL]"


def test_a_person_approves_a_call_before_it_is_made(made: Made) -> None:
    model, _ = made(HAIFA, "It is sunny.")
    approve = HumanInTheLoopMiddleware(interrupt_on={"get_weather": True})
    agent = create_agent(model, [get_weather], middleware=[approve], checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}

    held = agent.invoke(ASKED, thread)
    done = agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), thread)

    assert held["__interrupt__"]
    assert [message.type for message in done["messages"]] == ["human", "ai", "tool", "ai"]


def test_a_call_that_a_person_refuses_is_not_made(made: Made) -> None:
    model, emulator = made(HAIFA, "Then not.")
    approve = HumanInTheLoopMiddleware(interrupt_on={"get_weather": True})
    agent = create_agent(model, [get_weather], middleware=[approve], checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}
    agent.invoke(ASKED, thread)

    decision = {"type": "reject", "message": "Not that."}
    done = agent.invoke(Command(resume={"decisions": [decision]}), thread)

    assert "Not that." in done["messages"][2].content
    assert emulator.requests[1].json["messages"][-1]["content"] == done["messages"][2].content


def test_the_calls_of_the_model_are_limited(made: Made) -> None:
    model, emulator = made(*[HAIFA] * 5)
    limit = ModelCallLimitMiddleware(run_limit=2, exit_behavior="end")

    create_agent(model, [get_weather], middleware=[limit]).invoke(ASKED)

    assert len(emulator.requests) == 2


def test_the_calls_of_a_tool_are_limited(made: Made) -> None:
    model, _ = made(HAIFA, HAIFA, "Enough.")
    limit = ToolCallLimitMiddleware(tool_name="get_weather", run_limit=1)

    messages = create_agent(model, [get_weather], middleware=[limit]).invoke(ASKED)["messages"]

    results = [message for message in messages if isinstance(message, ToolMessage)]
    assert [message.status for message in results] == ["success", "error"]


def test_the_model_keeps_a_list_of_what_is_to_do(made: Made) -> None:
    todo = {"todos": [{"content": "Look outside", "status": "pending"}]}
    model, _ = made(Reply(tool_calls=[ToolCall("write_todos", todo)]), "Written.")

    done = create_agent(model, middleware=[TodoListMiddleware()]).invoke(ASKED)

    assert done["todos"] == todo["todos"]
