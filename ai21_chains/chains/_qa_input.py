"""What a chain that answers from documents is asked, in the forms that users have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeAlias, TypedDict, TypeVar

from langchain_core.documents import Document
from langchain_core.messages import AnyMessage, BaseMessage, convert_to_messages
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ai21_chains.chains._grounding import Order
from ai21_chains.errors import ConfigurationError

DocumentsIn: TypeAlias = Literal["auto", "request", "prompt"]
OnUnverified: TypeAlias = Literal["drop", "raise", "repair"]


class Options(TypedDict, total=False):
    """What the chains that answer from documents have in common; see the factories."""

    documents_in: DocumentsIn
    max_context_tokens: int | None
    order: Order
    require_citation: bool
    on_unverified: OnUnverified
    abstain_message: str


def read_document(value: Any) -> Document:
    """Return a document from a document, a text or a dict."""
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
    documents: list[Annotated[Document | str, BeforeValidator(read_document)]] | None = None
    chat_history: list[Annotated[AnyMessage, BeforeValidator(_read_message)]] = Field(
        default_factory=list
    )


Input = TypeVar("Input", bound=GroundedQAInput)

_KEYS = ("question", "input", "documents", "chat_history")


def read_input(value: Any, input_type: type[Input], name: str) -> Input:
    """Return the input of a chain from a string, a dict or the input itself.

    Args:
        value: What the chain was called with.
        input_type: The class of its input.
        name: The chain's name, for the error.
    """
    if isinstance(value, input_type):
        asked = value
    else:
        given = {"question": value} if isinstance(value, str) else value
        _refuse_misspelt(given, name)
        try:
            asked = input_type.model_validate(given)
        except ValidationError as error:
            raise ConfigurationError(_explained(error, name)) from None
    if not asked.question.strip():
        raise ConfigurationError(f"{name}: question is empty")
    return asked


def _refuse_misspelt(given: Any, name: str) -> None:
    # Other keys are let through: a dict often comes from a pipeline that carries more.
    for key in given if isinstance(given, Mapping) else ():
        near = get_close_matches(str(key).lower(), _KEYS, n=1, cutoff=0.8)
        if near and key not in _KEYS and near[0] not in given:
            raise ConfigurationError(f"{name}: {key} is unknown; did you mean {near[0]}?")


def _explained(error: ValidationError, name: str) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    field, *inside = first["loc"] or ("input",)
    place = f"{field}[{inside[0]}]" if inside and isinstance(inside[0], int) else field
    return " ".join(f"{name}: {place}: {first['msg'].removeprefix('Value error, ')}".split())


def nothing_to_answer_from(value: Any, name: str) -> ConfigurationError:
    """Return the error for an input without documents, where no retriever is there to find any."""
    others = [str(key) for key in value if key not in _KEYS] if isinstance(value, Mapping) else []
    unread = f" ({', '.join(others)} in the input is not read)" if others else ""
    return ConfigurationError(
        f"{name}: there is nothing to answer from: give documents with the question, or the "
        f"chain a retriever{unread}"
    )


def without_repetition(documents: Iterable[Document]) -> list[Document]:
    """Return the documents that have text, each once."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for document in documents:
        key = (document.page_content, str(document.metadata.get("source")))
        if key not in seen and document.page_content.strip():
            seen.add(key)
            kept.append(document)
    return kept
