"""Steps about much text are decided in a thread, those about little text are not."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.utils import AddableDict
from pydantic import BaseModel

from ai21_chains.chains._steps import Ask, Chain, Retrieve, Steps

MUCH = ["word " * 30_000]


class Result(BaseModel):
    threads: list[int] = []


def chain(found: list[Document]) -> Chain[Result]:
    """A chain that tells in which threads its steps were decided, and its reply was read."""

    def read(text: str) -> list[AddableDict]:
        return [here()]

    def steps(value: Any) -> Steps:
        yield here()
        yield Ask(FakeListChatModel(responses=["Yes."]), [], read)
        yield Retrieve(RunnableLambda(lambda query: found), "query")
        yield here()

    return Chain("Threads", steps, Result, Result)


def here() -> AddableDict:
    return AddableDict(threads=[threading.get_ident()])


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_steps_about_much_text_leave_the_event_loop_alone(streamed: bool) -> None:
    async def threads(value: Any, *found: Document) -> list[bool]:
        made = chain([*found])
        if not streamed:
            return [one != loop for one in (await made.ainvoke(value)).threads]
        pieces = [piece async for piece in made.astream(value)]
        return [one != loop for piece in pieces for one in piece["threads"]]

    loop = threading.get_ident()
    little = await threads({"documents": ["word"]})
    assert not any(little)
    assert all(await threads({"documents": MUCH}))
    assert all(await threads({"documents": [Document(MUCH[0])]}))
    assert all(await threads({"documents": ["word"] * 20_000}))
    late = await threads({"documents": []}, Document(MUCH[0]))
    assert (late[0], late[-1]) == (False, True)
