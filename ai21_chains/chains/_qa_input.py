"""What a chain that answers from documents is asked, in the forms that users have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from operator import itemgetter
from typing import Annotated, Any, Literal, TypeAlias, TypedDict, TypeVar, get_args

from langchain_core.documents import Document
from langchain_core.messages import AnyMessage, BaseMessage, convert_to_messages
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from ai21_chains.chains._grounding import Order
from ai21_chains.chains._input import AnyDocuments, read_input
from ai21_chains.errors import ConfigurationError

DocumentsIn: TypeAlias = Literal["auto", "request", "prompt"]
OnUnverified: TypeAlias = Literal["drop", "keep", "raise", "repair"]
Output: TypeAlias = Literal["model", "dict"]


class Options(TypedDict, total=False):
    """What the chains that answer from documents have in common; see the factories."""

    top_k: int | None
    documents_in: DocumentsIn
    max_context_tokens: int | None
    order: Order
    require_citation: bool
    on_unverified: OnUnverified
    abstain_message: str
    prompt: str | None


_CHOICES = {
    "documents_in": DocumentsIn,
    "order": Order,
    "on_unverified": OnUnverified,
    "output": Output,
}


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that are none of those that there are.

    Raises:
        ConfigurationError: One is wrong; it is named.
    """
    for name, choices in _CHOICES.items():
        if options[name] not in get_args(choices):
            known = ", ".join(f'"{choice}"' for choice in get_args(choices))
            raise ConfigurationError(f"{name} must be one of {known}; got {options[name]!r}")
    top_k, prompt = options["top_k"], options["prompt"]
    if top_k is not None and (type(top_k) is not int or top_k < 1):
        raise ConfigurationError(f"top_k must be a whole number from 1 on, got {top_k!r}")
    if not isinstance(prompt, str | None):
        raise ConfigurationError(
            f"prompt must be a text that adds to the instructions, got {type(prompt).__name__}"
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
    documents: AnyDocuments | None = None
    chat_history: list[Annotated[AnyMessage, BeforeValidator(_read_message)]] = Field(
        default_factory=list, fail_fast=True
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


def joined(documents: Iterable[Document]) -> list[Document]:
    """Join chunks of one source that overlap or touch, so that no quote is cut in two.

    A text that is joined stands where the best of its chunks stood. Only chunks with the same
    metadata are joined (the same page, for one), and only where their texts agree.
    """
    sources: dict[str, list[_Ranked]] = {}
    for rank, document in enumerate(documents):
        sources.setdefault(_origin(document) or str(rank), []).append((rank, document))
    return [document for _, document in sorted(chain(*map(_runs, sources.values())), key=_rank)]


_Ranked: TypeAlias = tuple[int, Document]
_rank = itemgetter(0)


def _origin(document: Document) -> str | None:
    """Return what chunks of one text have in common, if it is known where this one stands."""
    about = dict(document.metadata)
    start = about.pop("start_index", None)
    if type(start) is not int or start < 0 or not (about.get("source") or document.id):
        return None
    # A vector store gives each chunk an id of its own: the source says more.
    return repr((None if about.get("source") else document.id, about))


def _runs(chunks: list[_Ranked]) -> list[_Ranked]:
    runs: list[_Ranked] = []
    for rank, chunk in sorted(chunks, key=lambda ranked: ranked[1].metadata.get("start_index", 0)):
        last = runs[-1] if runs else None
        text = _continued(last[1], chunk) if last else None
        if last and text is not None:
            whole = Document(text, metadata=last[1].metadata, id=chunk.id)
            runs[-1] = (min(last[0], rank), whole)
        else:
            runs.append((rank, chunk))
    return runs


def _continued(before: Document, after: Document) -> str | None:
    """Return the text of two chunks that overlap or touch, or None if they do not."""
    offset = after.metadata["start_index"] - before.metadata["start_index"]
    common, text = before.page_content[offset:], after.page_content
    touching = offset <= len(before.page_content)
    if touching and (text.startswith(common) or common.startswith(text)):
        return before.page_content + text[len(common) :]
    return None
