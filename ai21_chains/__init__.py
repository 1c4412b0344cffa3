"""AI21's models as LangChain runnables, and answers from documents with citations that are checked.

Names are loaded when they are first used: `import ai21_chains` alone imports nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ai21_chains._version import __version__

if TYPE_CHECKING:
    from ai21_chains._cost import cost
    from ai21_chains.answers import GroundedAnswer
    from ai21_chains.chains.classification import create_classification_chain
    from ai21_chains.chains.contextual_answers import create_contextual_answers_chain
    from ai21_chains.chains.conversational_qa import create_conversational_qa_chain
    from ai21_chains.chains.extraction import create_extraction_chain
    from ai21_chains.chains.grounded_qa import create_grounded_qa_chain
    from ai21_chains.chains.grounding_check import create_grounding_check_chain
    from ai21_chains.chains.summarize import create_summarize_chain
    from ai21_chains.chat_models import ChatAI21
    from ai21_chains.citations import Citation, RejectedQuote, verify_quote
    from ai21_chains.documents import load_documents
    from ai21_chains.emulator import Emulator
    from ai21_chains.errors import AI21Error
    from ai21_chains.evaluation import evaluate_grounded_qa
    from ai21_chains.llms import AI21LLM
    from ai21_chains.maestro import ChatMaestro
    from ai21_chains.registration import register_with_langchain
    from ai21_chains.retrievers import BM25Retriever
    from ai21_chains.serving.app import create_app
    from ai21_chains.serving.langserve import add_ai21_routes

__all__ = [
    "AI21LLM",
    "AI21Error",
    "BM25Retriever",
    "ChatAI21",
    "ChatMaestro",
    "Citation",
    "Emulator",
    "GroundedAnswer",
    "RejectedQuote",
    "__version__",
    "add_ai21_routes",
    "cost",
    "create_app",
    "create_classification_chain",
    "create_contextual_answers_chain",
    "create_conversational_qa_chain",
    "create_extraction_chain",
    "create_grounded_qa_chain",
    "create_grounding_check_chain",
    "create_summarize_chain",
    "evaluate_grounded_qa",
    "load_documents",
    "register_with_langchain",
    "verify_quote",
]

_HOMES = {
    "AI21Error": "errors",
    "AI21LLM": "llms",
    "BM25Retriever": "retrievers",
    "ChatAI21": "chat_models",
    "ChatMaestro": "maestro",
    "Citation": "citations",
    "Emulator": "emulator",
    "GroundedAnswer": "answers",
    "RejectedQuote": "citations",
    "add_ai21_routes": "serving.langserve",
    "cost": "_cost",
    "create_app": "serving.app",
    "create_classification_chain": "chains.classification",
    "create_contextual_answers_chain": "chains.contextual_answers",
    "create_conversational_qa_chain": "chains.conversational_qa",
    "create_extraction_chain": "chains.extraction",
    "create_grounded_qa_chain": "chains.grounded_qa",
    "create_grounding_check_chain": "chains.grounding_check",
    "create_summarize_chain": "chains.summarize",
    "evaluate_grounded_qa": "evaluation",
    "load_documents": "documents",
    "register_with_langchain": "registration",
    "verify_quote": "citations",
}
"""Where each public name lives."""


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
