"""Measure a grounded QA chain on questions whose answers, evidence and documents are known.

The figures are deterministic: what was answered, cited, abstained from and retrieved is compared
with what should have been. A judge model is optional, and its figures stand apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from hashlib import sha256
from typing import Any

from langchain_core.documents import Document
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import ContextThreadPoolExecutor

from ai21_chains.errors import ConfigurationError
from ai21_chains.evaluation import _metrics
from ai21_chains.evaluation._report import EvaluationReport, ItemResult, Progress
from ai21_chains.evaluation._run import DocumentsFor, EvaluationRun, Judge
from ai21_chains.evaluation._sets import (
    EvaluationQuestion,
    EvaluationSet,
    Evidence,
    evaluation_sets,
    load_evaluation_set,
    problem,
)

__all__ = [
    "DocumentsFor",
    "EvaluationQuestion",
    "EvaluationReport",
    "EvaluationSet",
    "Evidence",
    "ItemResult",
    "Judge",
    "Progress",
    "evaluate_grounded_qa",
    "evaluation_sets",
    "load_evaluation_set",
]


def evaluate_grounded_qa(
    chain: Runnable[Any, Any],
    questions: Sequence[EvaluationQuestion],
    documents: Sequence[Document],
    *,
    documents_for: DocumentsFor = "relevant",
    judge: Judge | None = None,
    limit: int | None = None,
    seed: int = 0,
    max_concurrency: int = 8,
    on_progress: Callable[[Progress], None] | None = None,
    name: str = "evaluation",
    model: str | None = None,
) -> EvaluationReport:
    """Ask a grounded QA chain questions whose answers are known, and measure what it says.

    Calls run on threads. A call that raises is a result, not the end: its question scores 0 in
    every figure that it belongs to. Whatever ends the run early (Ctrl-C, or an exception that
    `on_progress` raises) leaves the calls that have not begun unmade and waits for the others.

    Args:
        chain: Takes `question`, `documents` and, for conversations, `chat_history`, and returns
            a `GroundedAnswer` or its fields; such as `create_grounded_qa_chain` makes.
        questions: The questions.
        documents: What they are about. `Document.id` is what the questions refer to.
        documents_for: What a question is asked with: "relevant", its own documents; "all"; "chain",
            none, as the chain has a retriever; or a retriever, which is measured as well. Chunks
            are known by `doc_id` or `source` in their metadata.
        judge: A chat model that says whether the quotes of each sentence entail it.
        limit: How many questions to ask, at least 1; None for all. Which ones depends on their ids
            and on `seed`, not on their order; a smaller sample is part of a larger one.
        seed: Of the sample and of the intervals.
        max_concurrency: How many questions are asked at once, at least 1.
        on_progress: Called in the caller's thread after each question, in the order they end.
        name: The set's name, for the report.
        model: What the report calls the model. By default the ids that the chain's models give.

    Raises:
        ConfigurationError: An argument is out of range, an id is missing or there twice, or a
            question refers to a document that is not given.

    Example:
        >>> from ai21_chains import ChatAI21, Emulator, create_grounded_qa_chain
        >>> import httpx
        >>> http = httpx.Client(transport=Emulator().transport())
        >>> chain = create_grounded_qa_chain(ChatAI21(api_key="any", http_client=http))
        >>> documents = [Document("The museum opens at ten.", id="museum")]
        >>> evidence = [Evidence(doc_id="museum", start=0, end=24)]
        >>> question = EvaluationQuestion(
        ...     id="1", question="When does the museum open?", answerable=True,
        ...     answers=["at ten"], doc_ids=["museum"], evidence=evidence,
        ... )
        >>> report = evaluate_grounded_qa(chain, [question], documents)
        >>> report.figures["sentence_recall"].value
        1.0
    """
    if max_concurrency < 1:
        raise ConfigurationError(f"max_concurrency must be at least 1, not {max_concurrency}")
    asked = _sample(questions, limit, seed)
    run = EvaluationRun(chain, documents, documents_for, judge)
    _check(asked, run.texts)
    items = _ask_all(run, asked, max_concurrency, on_progress or (lambda progress: None))
    # In the order of the ids: neither draws nor intervals depend on the order of the files.
    ordered = [items[key] for key in sorted(items)]
    seconds = [item.seconds for item in ordered if item.seconds is not None]
    return EvaluationReport(
        name=name,
        model=model or run.models.text,
        judge=run.judges.text if judge is not None else None,
        documents_for=run.given,
        seed=seed,
        available=len(questions),
        figures=_metrics.figures([item.parts for item in ordered], seconds, seed=seed),
        items=[items[question.id] for question in asked],
    )


def _ask_all(
    run: EvaluationRun,
    questions: Sequence[EvaluationQuestion],
    max_concurrency: int,
    on_progress: Callable[[Progress], None],
) -> dict[str, ItemResult]:
    items: dict[str, ItemResult] = {}
    failed = 0
    executor = ContextThreadPoolExecutor(max_workers=max_concurrency)
    try:
        for future in as_completed([executor.submit(run.ask, question) for question in questions]):
            item = future.result()
            items[item.id] = item
            failed += item.error is not None
            on_progress(Progress(len(items), len(questions), failed, item))
    finally:
        executor.shutdown(cancel_futures=True)
    return items


def _sample(
    questions: Sequence[EvaluationQuestion], limit: int | None, seed: int
) -> list[EvaluationQuestion]:
    if limit is not None and limit < 1:
        raise ConfigurationError(f"limit must be at least 1, not {limit}")
    ids = {question.id for question in questions}
    if not ids or len(ids) < len(questions):
        raise ConfigurationError("questions: at least one, and each with an id of its own")
    chosen = set(sorted(ids, key=lambda key: sha256(f"{seed}:{key}".encode()).digest())[:limit])
    return [question for question in questions if question.id in chosen]


def _check(questions: Sequence[EvaluationQuestion], texts: Mapping[str, str]) -> None:
    for question in questions:
        if wrong := problem(question, texts, {}):
            raise ConfigurationError(f"question {question.id!r}: {wrong}")
