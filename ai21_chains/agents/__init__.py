"""Agents that answer from documents: tools to search and read them, and a check of the answer.

`GroundedAnswerMiddleware` needs LangChain's agents (`pip install langchain`), which are imported
when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ai21_chains.agents.document_tools import create_document_tools
    from ai21_chains.agents.grounded_answers import GroundedAnswerMiddleware

__all__ = ["GroundedAnswerMiddleware", "create_document_tools"]

_HOMES = {
    "GroundedAnswerMiddleware": "grounded_answers",
    "create_document_tools": "document_tools",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
