import asyncio
import threading
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.utils import AddableDict
from pydantic import BaseModel

from ai21_chains.chains._steps import Ask, AskAll, Chain, Steps
from tests.cases import each


class Texts(BaseModel):
    texts: list[str] = []


def chain_over(model: Any, count: int) -> Chain[Texts]:
    def steps(value: Any) -> Steps:
        asked = [Ask(model, [HumanMessage(f"{value} {number}")]) for number in range(count)]
        messages = yield AskAll(asked)
        yield AddableDict(texts=[message.text for message in messages])

    return Chain("Several", steps, BaseModel, Texts)


async def test_several_questions_are_answered_in_their_order() -> None:
    model = RunnableLambda(lambda messages: AIMessage(messages[0].content.upper()))
    chain = chain_over(model, 3)
    expected = ["Q 0", "Q 1", "Q 2"]

    assert chain.invoke("q").texts == expected
    assert (await chain.ainvoke("q")).texts == expected
    assert next(iter(chain.stream("q")))["texts"] == expected
    assert [piece["texts"] async for piece in chain.astream("q")] == [expected]


def test_no_questions_have_no_answers() -> None:
    assert chain_over(RunnableLambda(lambda messages: AIMessage("")), 0).invoke("q").texts == []


def test_questions_are_asked_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=10)

    def wait(messages: Any) -> AIMessage:
        together.wait()
        return AIMessage("done")

    assert chain_over(RunnableLambda(wait), 3).invoke("q").texts == ["done"] * 3


@each("most", [1, 2])
async def test_no_more_are_under_way_than_max_concurrency(most: int) -> None:
    running = peak = 0

    async def count(messages: Any) -> AIMessage:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.01)
        running -= 1
        return AIMessage("done")

    def refuse(messages: Any) -> AIMessage:
        raise AssertionError("the sync form is not used")

    await chain_over(RunnableLambda(refuse, count), 5).ainvoke("q", {"max_concurrency": most})

    assert peak == most
