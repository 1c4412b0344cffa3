"""The questions of an evaluation, their documents, and the files that both are read from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any, TypeVar

from langchain_core.documents import Document
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ai21_chains.errors import ConfigurationError, DocumentError


class Evidence(BaseModel):
    """A passage that holds the answer to a question, or a part of it.

    Attributes:
        doc_id: Id of the document.
        start: Where it begins in the document's text, in characters.
        end: Where it ends, exclusive.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    doc_id: str
    start: int
    end: int


class EvaluationQuestion(BaseModel):
    """A question whose answer is known.

    Attributes:
        id: Unique in its set.
        question: The question.
        answers: Answers that are right, each on its own.
        answerable: Whether the documents answer it.
        doc_ids: The relevant documents.
        evidence: All passages that prove the answer.
        history: Earlier turns of the conversation, each with `role` and `content`.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    id: str = Field(min_length=1)
    question: str = Field(min_length=1)
    answerable: bool
    answers: list[str] = Field(default_factory=list)
    doc_ids: list[str] = Field(default_factory=list)
    evidence: list[Evidence] = Field(default_factory=list)
    history: list[dict[str, Any]] = Field(default_factory=list)


class _SetDocument(BaseModel):
    model_config = ConfigDict(strict=True)

    id: str = Field(min_length=1)
    text: str
    title: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class EvaluationSet:
    """Questions and the documents that they are about.

    Attributes:
        name: The set's name.
        documents: The documents; `Document.id` is what questions refer to.
        questions: The questions, in the order of their file.
    """

    name: str
    documents: list[Document]
    questions: list[EvaluationQuestion]


def evaluation_sets(folder: str | Path) -> list[str]:
    """Return the names of the sets in a folder, sorted: NAME of each `NAME_questions.jsonl`."""
    paths = Path(folder).glob("*_questions.jsonl")
    return sorted(path.name.removesuffix("_questions.jsonl") for path in paths)


def load_evaluation_set(folder: str | Path, name: str | None = None) -> EvaluationSet:
    """Read a set of questions and documents from JSON Lines files.

    `NAME_docs*.jsonl` has a document on each line: `id`, `text` and, if known, `title` and `url`.
    `NAME_questions.jsonl` has the fields of `EvaluationQuestion`. Other keys are ignored.

    Args:
        folder: Where the files are.
        name: The set's name; needed when the folder holds several.

    Raises:
        ConfigurationError: The folder holds several sets, and none was named.
        DocumentError: There is no such set, or a line of it is broken; the message is one line
            with the file, the line's number and the key.

    Example:
        >>> import json, pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> document = {"id": "m", "text": "The museum opens at ten."}
        >>> _ = (folder / "tiny_docs.jsonl").write_text(json.dumps(document))
        >>> question = {"id": "1", "question": "When does it open?", "answerable": True}
        >>> _ = (folder / "tiny_questions.jsonl").write_text(json.dumps(question))
        >>> load_evaluation_set(folder).questions[0].question
        'When does it open?'
    """
    folder = Path(folder)
    name = _chosen_set(folder, name)
    documents: dict[str, Document] = {}
    for path in sorted(folder.glob(f"{escape(name)}_docs*.jsonl")):
        for place, read in _lines(path, _SetDocument):
            if read.id in documents:
                raise DocumentError(f"{place}: id: {read.id!r} was there before")
            about = {"doc_id": read.id, "title": read.title, "source": read.url}
            metadata = {key: value for key, value in about.items() if value is not None}
            documents[read.id] = Document(read.text, id=read.id, metadata=metadata)
    if not documents:
        raise DocumentError(f"{folder}: there are no documents in {name}_docs.jsonl")
    texts = {key: document.page_content for key, document in documents.items()}
    questions: dict[str, EvaluationQuestion] = {}
    for place, question in _lines(folder / f"{name}_questions.jsonl", EvaluationQuestion):
        if wrong := problem(question, texts, questions):
            raise DocumentError(f"{place}: {wrong}")
        questions[question.id] = question
    return EvaluationSet(name, list(documents.values()), list(questions.values()))


def _chosen_set(folder: Path, name: str | None) -> str:
    names = evaluation_sets(folder)
    if name is None and len(names) > 1:
        raise ConfigurationError(f"{folder} holds several sets: name one of {', '.join(names)}")
    if not names or (name is not None and name not in names):
        there = f" (there are: {', '.join(names)})" if names else ""
        raise DocumentError(f"{folder}: no {name or 'NAME'}_questions.jsonl{there}")
    return name or names[0]


Read = TypeVar("Read", bound=BaseModel)


def _lines(path: Path, kind: type[Read]) -> Iterator[tuple[str, Read]]:
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise DocumentError(f"{path}: the file cannot be read ({error.strerror})") from error
    # Split as bytes: str.splitlines would cut at line separators inside a JSON string.
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            place = f"{path}, line {number}"
            try:
                yield place, kind.model_validate_json(line)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                key = ".".join(map(str, first["loc"]))
                raise DocumentError(": ".join(filter(None, [place, key, first["msg"]]))) from None


def problem(
    question: EvaluationQuestion, texts: Mapping[str, str], before: Mapping[str, object]
) -> str | None:
    """Say what of a question cannot be, if anything: the key and why."""
    if question.id in before:
        return f"id: {question.id!r} was there before"
    for key in question.doc_ids:
        if key not in texts:
            return f"doc_ids: there is no document {key!r}"
    for number, span in enumerate(question.evidence):
        if span.doc_id not in texts:
            return f"evidence.{number}.doc_id: there is no document {span.doc_id!r}"
        if not 0 <= span.start < span.end <= len(texts[span.doc_id]):
            return (
                f"evidence.{number}: {span.start} to {span.end} is no stretch of "
                f"{span.doc_id!r}, which has {len(texts[span.doc_id])} characters"
            )
    return None
