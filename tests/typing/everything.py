"""Users' code that calls the rest of the public names, checked by mypy and pyright; never run."""

from collections.abc import Iterator
from decimal import Decimal

from fastapi import FastAPI
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool
from pydantic import BaseModel

from ai21_chains import (
    AI21LLM,
    BM25Retriever,
    ChatAI21,
    ChatMaestro,
    GroundedAnswer,
    add_ai21_routes,
    cost,
    create_app,
    create_classification_chain,
    create_contextual_answers_chain,
    create_conversational_qa_chain,
    create_extraction_chain,
    create_grounded_qa_chain,
    create_grounding_check_chain,
    create_summarize_chain,
    evaluate_grounded_qa,
)
from ai21_chains.agents import GroundedAnswerMiddleware, create_document_tools
from ai21_chains.batches import batch_invoke
from ai21_chains.evaluation import load_evaluation_set
from ai21_chains.hosts import Bedrock, SelfHosted
from ai21_chains.library import AI21FileLibrary, AI21LibraryRetriever
from ai21_chains.retrievers import fuse_retrievers
from ai21_chains.serving import Deployment, ServerConfig, load_config
from ai21_chains.tracing import OpenTelemetryCallbackHandler


class Contract(BaseModel):
    party: str
    months: int


def models() -> None:
    text: str = AI21LLM(model="jamba-mini", max_tokens=20).invoke("Hi")
    texts: list[str] = AI21LLM(model="j2-mid", n=2).batch(["Hi", "Ho"])
    pieces: Iterator[str] = AI21LLM().stream("Hi")
    piped: str = (PromptTemplate.from_template("{x}") | AI21LLM() | StrOutputParser()).invoke(
        {"x": "Hi"}
    )
    maestro = ChatMaestro(requirements=["Short."], poll_timeout_sec=60)
    answer: AIMessage = maestro.invoke("Hi")
    dollars: Decimal = cost(answer, "jamba-large")
    hosted = [
        ChatAI21(host=Bedrock(region="us-east-1")),
        ChatAI21(host=SelfHosted(base_url="http://gpu")),
    ]
    print(text, texts, pieces, piped, dollars, hosted)


def files(model: ChatAI21) -> None:
    library = AI21FileLibrary()
    retriever: BaseRetriever = AI21LibraryRetriever(library=library, k=3)
    for row in batch_invoke(model, ["Hi", "Ho"]):
        print(row)
    print(library.upload("house.md"), retriever.invoke("Hi"))


def chains(model: ChatAI21, documents: list[Document]) -> None:
    retriever = BM25Retriever.from_documents(documents, k=4)
    asked = {"question": "How?", "documents": documents}
    answer: GroundedAnswer = create_conversational_qa_chain(model, retriever=retriever).invoke(
        "How?"
    )
    text: str = create_contextual_answers_chain(model).invoke({"context": "x", "question": "y"})
    found = create_extraction_chain(model, Contract).invoke(documents)
    check = create_grounding_check_chain(model).invoke({"answer": "x", "documents": documents})
    summary = create_summarize_chain(model).invoke(documents)
    label = create_classification_chain(model, {"yes": "It does", "no": "It does not"}).invoke("x")
    fused = fuse_retrievers([retriever, retriever])
    kept = create_grounded_qa_chain(model, retriever=fused, on_unverified="keep", top_k=5)
    print(answer.answer, text, found, check, summary.text, label, kept.invoke(asked).status)


def agents(model: ChatAI21, documents: list[Document]) -> None:
    tools: list[BaseTool] = create_document_tools(documents)
    agent = create_agent(model, tools, middleware=[GroundedAnswerMiddleware()])
    handler: BaseCallbackHandler = OpenTelemetryCallbackHandler(capture_content=False)
    print(agent.invoke({"messages": [HumanMessage("Hi")]}, {"callbacks": [handler]}))


def served(model: ChatAI21) -> None:
    config: ServerConfig = load_config("config.yaml")
    place = Deployment(name="mini", model="ai21/jamba-mini")
    add_ai21_routes(FastAPI(), create_grounded_qa_chain(model), path="/qa")
    print(create_app(config), create_app(ServerConfig(deployments=(place,))))


def evaluated(model: ChatAI21) -> None:
    given = load_evaluation_set("folder", "name")
    report = evaluate_grounded_qa(
        create_grounded_qa_chain(model), given.questions, given.documents, limit=10
    )
    markdown: str = report.to_markdown()
    print(markdown)
