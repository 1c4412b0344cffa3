"""What a chain that answers from documents is asked, in the forms that users have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypedDict, TypeVar

from langchain_core.documents import Document
from langchain_core.messages import AnyMessage, BaseMessage, convert_to_messages
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from ai21_chains.chains._grounding import Order
from ai21_chains.chains._input import AnyDocument, read_input
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
    documents: list[AnyDocument] | None = None
    chat_history: list[Annotated[AnyMessage, BeforeValidator(_read_message)]] = Field(
        default_factory=list
    )


Input = TypeVar("Input", bound=GroundedQAInput)

_KEYS = ("question", "input", "documents", "chat_history")


def read_question(value: Any, input_type: type[Input], name: str) -> Input:
    """Return the input of a chain from a string, a dict or the input itself.

    Args:
        value: What the chain was called with.
        input_type: The class of its input.
        name: The chain's name, for the error.
    """
    given = {"question": value} if isinstance(value, str) else value
    asked = read_input(name, input_type, given)
    if not asked.question.strip():
        raise ConfigurationError(f"{name}: question is empty")
    return asked


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
