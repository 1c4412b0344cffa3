"""Documents and a question in; an answer out whose quotes were checked against the documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    SystemMessage,
)
from langchain_core.runnables.utils import AddableDict
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ai21_chains.answers import GroundedAnswer
from ai21_chains.chains._grounding import (
    ABSTENTION,
    INSTRUCTIONS,
    Reply,
    for_prompt,
    for_request,
)
from ai21_chains.chains._steps import Ask, Chain, Model, Retrieve, Retriever, Steps
from ai21_chains.citations import PreparedDocuments
from ai21_chains.errors import ConfigurationError

__all__ = ["GroundedQAInput", "create_grounded_qa_chain"]


def _read_document(value: Any) -> Any:
    # A served chain is sent documents as JSON. Document's constructor answers a dict without text
    # with a TypeError, which no server takes for the client's fault.
    if isinstance(value, Mapping):
        text = value.get("page_content", value.get("content"))
        if not isinstance(text, str):
            raise ValueError("a document needs text under 'page_content'")
        return Document(page_content=text, metadata=value.get("metadata") or {}, id=value.get("id"))
    return value


class GroundedQAInput(BaseModel):
    """What a grounded QA chain is asked.

    Attributes:
        question: The question.
        documents: What to answer from. Left out, the chain's retriever finds it.
        chat_history: Earlier turns of the conversation.
    """

    model_config = ConfigDict(populate_by_name=True)

    question: str = Field(validation_alias=AliasChoices("question", "input"), min_length=1)
    documents: list[Annotated[Document | str, BeforeValidator(_read_document)]] | None = None
    chat_history: list[AnyMessage] = Field(default_factory=list)


def create_grounded_qa_chain(
    model: BaseChatModel | Model,
    *,
    retriever: Retriever | None = None,
    documents_in: Literal["auto", "request", "prompt"] = "auto",
    require_citation: bool = True,
    abstain_message: str = ABSTENTION,
) -> Chain[GroundedAnswer]:
    """Make a chain that answers questions from documents and proves what it says.

    The model must copy its evidence out of the documents. Each quote is looked up there, character
    by character; only what is found is cited, and where it stands is taken from the document, not
    from the model. Documents without an answer are a status, not prose.

    `invoke` takes a question, or a dict with `question` (or `input`), `documents` and
    `chat_history`, and returns a `GroundedAnswer`. `stream` yields dicts to be added up: the
    documents, pieces of the answer, and at the end everything else.

    Args:
        model: Any chat model. `ChatAI21` gets the documents in the request, where Jamba was
            trained to find them; others find them in the prompt.
        retriever: Finds documents for a question that comes without.
        documents_in: Where the model finds the documents: "request" (the `documents` parameter),
            "prompt", or "auto" for the request if the model has that parameter.
        require_citation: Whether an answer without a single verified quote counts as none.
        abstain_message: The answer's text when the documents have no answer.

    Raises:
        ConfigurationError: Raised by calls, when the question is empty, the input has another form,
            or there are neither documents nor a retriever.
        AI21Error: Raised by calls with `ChatAI21`, as by the model itself.

    Example:
        >>> from ai21_chains import ChatAI21, create_grounded_qa_chain
        >>> from ai21_chains.emulator import Emulator
        >>> import httpx
        >>> http = httpx.Client(transport=Emulator().transport())
        >>> chain = create_grounded_qa_chain(ChatAI21(api_key="any", http_client=http))
        >>> documents = ["The museum opens at ten.", "Dogs must stay outside."]
        >>> answer = chain.invoke({"question": "When does it open?", "documents": documents})
        >>> answer.citations[0].quote
        'The museum opens at ten.'
    """
    if documents_in == "auto":
        documents_in = "request" if _takes_documents(model) else "prompt"

    def steps(value: Any) -> Steps:
        asked = _read_input(value)
        if asked.documents is None and retriever is not None:
            yield AddableDict(search_query=asked.question)
            documents = yield Retrieve(retriever, asked.question)
        elif asked.documents is None:
            raise ConfigurationError(
                "There is nothing to answer from: give documents with the question, or the chain "
                "a retriever"
            )
        else:
            documents = [_as_document(document) for document in asked.documents]
        documents = _without_repetition(documents)
        yield AddableDict(documents=documents)
        if not documents:
            yield AddableDict(answer=abstain_message, answerable=False, status="no_documents")
            return
        reply = Reply(
            PreparedDocuments(documents),
            require_citation=require_citation,
            abstention=abstain_message,
        )
        message = yield _ask(model, documents_in, asked, documents, reply)
        yield from reply.close(message)
        if isinstance(message, AIMessage) and message.usage_metadata:
            yield AddableDict(usage=message.usage_metadata)

    return Chain("GroundedQA", steps, GroundedQAInput, GroundedAnswer)


def _ask(
    model: Model,
    documents_in: Literal["request", "prompt"],
    asked: GroundedQAInput,
    documents: Sequence[Document],
    reply: Reply,
) -> Ask:
    instructions, question = INSTRUCTIONS, asked.question
    if documents_in == "prompt":
        # Documents first, the question last: long contexts are read better in this order.
        question = f"{for_prompt(documents)}\n\nQuestion: {question}"
    else:
        model = model.bind(
            documents=for_request(documents), response_format={"type": "json_object"}
        )
    messages = [SystemMessage(instructions), *asked.chat_history, HumanMessage(question)]
    return Ask(model, messages, reply.read)


def _takes_documents(model: object) -> bool:
    # A model with options bound to it is wrapped; what counts is inside.
    inner = getattr(model, "bound", model)
    return "documents" in getattr(type(inner), "model_fields", {})


def _read_input(value: Any) -> GroundedQAInput:
    if isinstance(value, GroundedQAInput):
        return value
    try:
        asked = GroundedQAInput.model_validate(
            {"question": value} if isinstance(value, str) else value
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = first["loc"][0] if first["loc"] else "input"
        raise ConfigurationError(f"GroundedQA: {name}: {first['msg']}") from None
    if not asked.question.strip():
        raise ConfigurationError("GroundedQA: question is empty")
    return asked


def _as_document(document: Document | str) -> Document:
    return Document(page_content=document) if isinstance(document, str) else document


def _without_repetition(documents: Sequence[Document]) -> list[Document]:
    seen: set[tuple[str, str]] = set()
    kept = []
    for document in documents:
        key = (document.page_content, str(document.metadata.get("source")))
        if key not in seen and document.page_content.strip():
            seen.add(key)
            kept.append(document)
    return kept
