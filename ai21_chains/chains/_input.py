"""What the chains are called with: documents in the forms that people have, and clear refusals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, TypeAlias, TypeVar

from langchain_core.documents import Document
from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, ValidationError

from ai21_chains.errors import ConfigurationError

Input = TypeVar("Input", bound=BaseModel)


def read_document(value: Any) -> Document:
    """Return a document from what callers and servers send: a string, a dict or a `Document`."""
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


AnyDocument: TypeAlias = Annotated[Document | str, BeforeValidator(read_document)]
AnyDocuments: TypeAlias = Annotated[list[AnyDocument], Field(fail_fast=True)]
"""Of a million wrong ones in a request to a server the first is told, and time spent on no more."""


def read_input(chain: str, input_type: type[Input], given: Any) -> Input:
    """Return the input of a chain in its type.

    Args:
        chain: The chain's name, for the error.
        input_type: The class of its input.
        given: What the chain was called with.

    Raises:
        ConfigurationError: It does not fit; one line says why.
    """
    if isinstance(given, input_type):
        return given
    known = [*_names(input_type)]
    # Other keys are let through: a dict often comes from a pipeline that carries more.
    for key in given if isinstance(given, Mapping) else ():
        near = get_close_matches(str(key).lower(), known, n=1, cutoff=0.8)
        if near and key not in known and near[0] not in given:
            raise ConfigurationError(f"{chain}: {key} is unknown; did you mean {near[0]}?")
    try:
        return input_type.model_validate(given)
    except ValidationError as error:
        raise ConfigurationError(f"{chain}: {problems(error)[0]}") from None


def problems(error: ValidationError) -> list[str]:
    """Say in one line each what a validation found: `documents[1]: a document must be …`."""
    return [
        " ".join(f"{_place(found['loc'])}: {found['msg'].removeprefix('Value error, ')}".split())
        for found in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def _place(path: Sequence[int | str]) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return place.removeprefix(".") or "input"


def _names(input_type: type[BaseModel]) -> Iterator[str]:
    for name, field in input_type.model_fields.items():
        yield name
        if isinstance(field.validation_alias, AliasChoices):
            yield from map(str, field.validation_alias.choices)
