"""Documents and a question in; an answer out whose quotes were checked against the documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AnyMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    convert_to_messages,
)
from langchain_core.runnables.utils import AddableDict
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ai21_chains.answers import GroundedAnswer
from ai21_chains.chains._grounding import ABSTENTION, INSTRUCTIONS, for_prompt, for_request
from ai21_chains.chains._reply import Reply
from ai21_chains.chains._steps import Ask, Chain, Model, Retrieve, Retriever, Steps
from ai21_chains.citations import PreparedDocuments
from ai21_chains.errors import ConfigurationError

__all__ = ["GroundedQAInput", "create_grounded_qa_chain"]


def _read_document(value: Any) -> Document:
    # A served chain is sent documents as JSON. Document's constructor answers a dict without text
    # with a TypeError, which no server takes for the client's fault.
    if isinstance(value, str):
        return Document(page_content=value)
    if isinstance(value, Document):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("a document must be a Document, a string or a dict")
    text = value.get("page_content", value.get("content"))
    if not isinstance(text, str):
        raise ValueError("a document needs text under 'page_content'")
    metadata = value.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        raise ValueError("a document's metadata must be a dict")
    identity = value.get("id")
    return Document(
        page_content=text,
        metadata=dict(metadata),
        id=None if identity is None else str(identity),
    )


def _read_message(value: Any) -> BaseMessage:
    try:
        return convert_to_messages([value])[0]
    except (TypeError, KeyError, NotImplementedError) as error:
        # None of these would be taken for the client's fault either.
        raise ValueError(f"a message must have a role and a content ({error})") from None


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
    chat_history: list[Annotated[AnyMessage, BeforeValidator(_read_message)]] = Field(
        default_factory=list
    )


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
    chain = _GroundedQA(model, retriever, documents_in, require_citation, abstain_message)
    return Chain("GroundedQA", chain.steps, GroundedQAInput, GroundedAnswer)


@dataclass(frozen=True)
class _GroundedQA:
    model: Model
    retriever: Retriever | None
    documents_in: Literal["request", "prompt"]
    require_citation: bool
    abstain_message: str

    def steps(self, value: Any) -> Steps:
        asked = _read_input(value)
        query = None
        documents: Sequence[Any] | None = asked.documents
        if documents is None:
            if self.retriever is None:
                raise ConfigurationError(_nothing_to_answer_from(value))
            query = asked.question
            documents = yield Retrieve(self.retriever, query)
        documents = _without_repetition(map(_read_document, documents or ()))
        yield AddableDict(search_query=query, documents=documents)
        if not documents:
            nothing = GroundedAnswer(answer=self.abstain_message, status="no_documents")
            yield AddableDict(nothing.model_dump(exclude={"documents", "search_query"}))
            return
        reply = Reply(
            PreparedDocuments(documents),
            require_citation=self.require_citation,
            abstention=self.abstain_message,
        )
        message = yield self._ask(asked, documents, reply)
        yield from reply.close(message)
        yield AddableDict(usage=getattr(message, "usage_metadata", None))

    def _ask(self, asked: GroundedQAInput, documents: Sequence[Document], reply: Reply) -> Ask:
        model, question = self.model, asked.question
        if self.documents_in == "prompt":
            # Documents first, the question last: long contexts are read better in this order.
            question = f"{for_prompt(documents)}\n\nQuestion: {question}"
        else:
            model = model.bind(
                documents=for_request(documents), response_format={"type": "json_object"}
            )
        messages = [SystemMessage(INSTRUCTIONS), *asked.chat_history, HumanMessage(question)]
        return Ask(model, messages, reply.read)


def _takes_documents(model: object) -> bool:
    # A model with options or retries is wrapped; of one with fallbacks all must take documents.
    if (models := getattr(model, "runnables", None)) is not None:
        return all(map(_takes_documents, models))
    if (inner := getattr(model, "bound", None)) is not None:
        return _takes_documents(inner)
    return "documents" in getattr(type(model), "model_fields", {})


def _read_input(value: Any) -> GroundedQAInput:
    if isinstance(value, GroundedQAInput):
        asked = value
    else:
        given = {"question": value} if isinstance(value, str) else value
        _refuse_misspelt(given)
        try:
            asked = GroundedQAInput.model_validate(given)
        except ValidationError as error:
            raise ConfigurationError(_explained(error)) from None
    if not asked.question.strip():
        raise ConfigurationError("GroundedQA: question is empty")
    return asked


def _refuse_misspelt(given: Any) -> None:
    # Other keys are let through: a dict often comes from a pipeline that carries more.
    for key in given if isinstance(given, Mapping) else ():
        near = get_close_matches(str(key).lower(), _KEYS, n=1, cutoff=0.8)
        if near and key not in _KEYS and near[0] not in given:
            raise ConfigurationError(f"GroundedQA: {key} is unknown; did you mean {near[0]}?")


_KEYS = ("question", "input", "documents", "chat_history")


def _explained(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    name, *inside = first["loc"] or ("input",)
    place = f"{name}[{inside[0]}]" if inside and isinstance(inside[0], int) else name
    return " ".join(f"GroundedQA: {place}: {first['msg'].removeprefix('Value error, ')}".split())


def _nothing_to_answer_from(value: Any) -> str:
    others = [str(key) for key in value if key not in _KEYS] if isinstance(value, Mapping) else []
    unread = f" ({', '.join(others)} in the input is not read)" if others else ""
    return (
        "GroundedQA: there is nothing to answer from: give documents with the question, or the "
        f"chain a retriever{unread}"
    )


def _without_repetition(documents: Iterable[Document]) -> list[Document]:
    seen: set[tuple[str, str]] = set()
    kept = []
    for document in documents:
        key = (document.page_content, str(document.metadata.get("source")))
        if key not in seen and document.page_content.strip():
            seen.add(key)
            kept.append(document)
    return kept
