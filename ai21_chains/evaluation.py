"""Measure a grounded QA chain on questions whose answers, evidence and documents are known.

The figures are deterministic: what was answered, cited, abstained from and retrieved is compared
with what should have been. A judge model is optional, and its figures stand apart. The chain's word
is not taken for anything that can be checked here: each citation is looked up again.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from datetime import UTC, datetime
from glob import escape
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, TypeAlias, TypeVar

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, convert_to_messages
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ContextThreadPoolExecutor
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ai21_chains._metrics import (
    Estimate,
    Overlap,
    Part,
    abstention_parts,
    answer_parts,
    estimate_quantile,
    estimate_ratios,
    means,
    overlap_parts,
    ranking_parts,
    sentence_spans,
    touched,
)
from ai21_chains._version import __version__
from ai21_chains.answers import GroundedAnswer, sentences, unsupported_numbers
from ai21_chains.citations import Citation, RejectedQuote
from ai21_chains.errors import ConfigurationError, DocumentError, StructuredOutputError

__all__ = [
    "Evaluation",
]

DocumentsFor: TypeAlias = Literal["relevant", "all", "chain"] | Runnable[str, list[Document]]
"""What a question is asked with: its relevant documents, all of them, none (the chain has a
retriever of its own), or what this retriever finds for it."""

Judge: TypeAlias = Runnable[LanguageModelInput, BaseMessage]

_FIGURES = {
    "Answers": {
        "answer_exact": "Exact match, all questions",
        "answer_f1": "Token F1, all questions",
        "has_answer_exact": "Exact match, questions with an answer",
        "has_answer_f1": "Token F1, questions with an answer",
        "has_answer_recall": "Token recall, questions with an answer",
        "no_answer_exact": "Exact match (= F1), questions without an answer",
    },
    "Abstention": {
        "right_choice": "Rightly answered or rightly abstained",
        "abstention_precision": "Precision of abstaining",
        "abstention_recall": "Recall of abstaining",
        "abstention_f1": "F1 of abstaining",
    },
    "Citations": {
        "verified_quotes": "Quotes that were verified",
        "character_precision": "Evidence by characters, precision",
        "character_recall": "Evidence by characters, recall",
        "character_f1": "Evidence by characters, F1",
        "sentence_precision": "Evidence by sentences, precision",
        "sentence_recall": "Evidence by sentences, recall",
        "sentence_f1": "Evidence by sentences, F1",
        "document_precision": "Cited documents, precision",
        "document_recall": "Cited documents, recall",
        "document_f1": "Cited documents, F1",
        "support": "Sentences of the answer with a verified quote",
        "number_support": "Numbers of the answer in a verified quote",
    },
    "Retrieval": {
        "ndcg_at_10": "nDCG@10",
        "recall_at_5": "Recall@5",
        "recall_at_10": "Recall@10",
        "reciprocal_rank": "MRR",
    },
    "Cost": {
        "latency_p50": "Seconds to the answer, median",
        "latency_p95": "Seconds to the answer, 95th percentile",
        "input_tokens": "Input tokens, mean",
        "output_tokens": "Output tokens, mean",
    },
    "Judged": {
        "judged_sentences": "Sentences that their quotes entail",
        "judged_answers": "Answers whose every sentence is entailed",
    },
}
"""The figures in the order of the report, and what they are called there."""
