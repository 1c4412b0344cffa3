"""The public API as a user types it. Never run: mypy and pyright read it."""

from collections.abc import AsyncIterator, Iterator

import httpx
from langchain_core.documents import Document
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable
from langchain_core.tools import tool
from pydantic import BaseModel, SecretStr

from ai21_chains import (
    AI21Error,
    ChatAI21,
    Citation,
    Emulator,
    GroundedAnswer,
    RejectedQuote,
    __version__,
    create_grounded_qa_chain,
    load_documents,
    register_with_langchain,
    verify_quote,
)
from ai21_chains.emulator import Fault, Reply, scripted
from ai21_chains.errors import APIStatusError, RateLimitError


class Joke(BaseModel):
    setup: str
    punchline: str


@tool
def get_weather(city: str) -> str:
    """Look up the weather."""
    return city


def rotating_key() -> str:
    return "key"


async def rotating_key_async() -> str:
    return "key"


def models() -> list[ChatAI21]:
    return [
        ChatAI21(),
        ChatAI21(model="jamba-large", api_key="key", temperature=0.2, max_tokens=100),
        ChatAI21(api_key=SecretStr("key"), stop="END", timeout=10, max_retries=0),
        ChatAI21(api_key=rotating_key, stop=["a", "b"], timeout=httpx.Timeout(5.0, connect=1.0)),
        ChatAI21(api_key=rotating_key_async, documents=["a", Document("b"), {"content": "c"}]),
        ChatAI21(n=2, seed=1, user="u", top_p=0.5, model_kwargs={"x": 1}, streaming=True),
        ChatAI21(response_format={"type": "json_object"}, default_headers={"X-Team": "a"}),
        ChatAI21(http_client=httpx.Client(), http_async_client=httpx.AsyncClient(), proxy=None),
    ]


def calls(model: ChatAI21) -> None:
    message: AIMessage = model.invoke("Hi", temperature=0)
    chunks: Iterator[AIMessageChunk] = model.stream([HumanMessage("Hi")])
    answers: list[AIMessage] = model.batch(["Hi", "Ho"])
    bound: Runnable[LanguageModelInput, AIMessage] = model.bind_tools([get_weather])
    structured = model.with_structured_output(Joke, method="json_schema", include_raw=False)
    joke: dict[str, object] | BaseModel = structured.invoke("Tell me a joke")
    prompt = ChatPromptTemplate.from_messages([("human", "{question}")])
    text: str = (prompt | model | StrOutputParser()).invoke({"question": "Hi"})
    count: int = model.get_num_tokens_from_messages([HumanMessage("Hi")], tools=[get_weather])
    print(message, chunks, answers, bound.invoke("Hi"), joke, text, count, __version__)


async def async_calls(model: ChatAI21) -> None:
    message: AIMessage = await model.ainvoke("Hi")
    chunks: AsyncIterator[AIMessageChunk] = model.astream("Hi")
    async for chunk in chunks:
        print(chunk.content, message.usage_metadata)


def grounded(model: ChatAI21) -> None:
    documents: list[Document] = load_documents(["handbook.md", "manual.pdf"])
    chain = create_grounded_qa_chain(model, require_citation=True)
    answer: GroundedAnswer = chain.invoke({"question": "How?", "documents": documents})
    for citation in answer.citations:
        where: tuple[int, int, str] = (citation.start, citation.end, citation.quote)
        print(where, citation.page)
    result: Citation | RejectedQuote = verify_quote("a quote", documents, claimed=0)
    if isinstance(result, RejectedQuote):
        print(result.reason, result.message)
    note: AIMessage = answer.to_message()
    markdown: str = answer.to_markdown()
    print(note, markdown)


def errors(model: ChatAI21) -> None:
    try:
        model.invoke("Hi")
    except RateLimitError as error:
        wait: float | None = error.retry_after
        print(wait)
    except APIStatusError as error:
        status: int | None = error.status_code
        response: httpx.Response | None = error.response
        print(status, response)
    except AI21Error as error:
        print(error)


def emulated() -> None:
    emulator = Emulator(brain=scripted("a", Reply("b")), faults=[Fault(status=429, times=2)])
    print(httpx.Client(transport=emulator.transport()), emulator.app())
    with emulator.serve() as server:
        url: str = server.base_url
        print(url)


def registered() -> None:
    register_with_langchain()
