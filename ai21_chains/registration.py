"""AI21 as a provider by name, for `init_chat_model` and `create_agent`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from langchain_core.language_models import BaseChatModel

from ai21_chains.errors import AI21Error, MissingExtraError

_MODULE, _TABLE = "langchain.chat_models.base", "_BUILTIN_PROVIDERS"


def register_with_langchain() -> None:
    """Make LangChain know AI21's models by name.

    LangChain keeps its providers in a table of its own and has no way for other packages to join
    it, so this writes into that table, which is private: call it once, at the program's start.
    Calling it again does nothing. Where a model instance is taken, as `create_agent` does, passing
    `ChatAI21(...)` needs none of this.

    Raises:
        MissingExtraError: The package `langchain` is not installed.
        AI21Error: This version of LangChain keeps its providers elsewhere.

    Example:
        >>> from ai21_chains import register_with_langchain
        >>> register_with_langchain()
        >>> from langchain.chat_models import init_chat_model
        >>> init_chat_model("ai21:jamba-large", temperature=0).model
        'jamba-large'
    """
    try:
        module = import_module(_MODULE)
    except ImportError as error:
        raise MissingExtraError(
            "register_with_langchain needs LangChain: pip install langchain"
        ) from error
    table = getattr(module, _TABLE, None)
    if not isinstance(table, dict):
        raise AI21Error(
            f"This version of LangChain has no {_MODULE}.{_TABLE}, where AI21 would be registered. "
            "Pass a model instance instead of a name: ChatAI21(model=…)"
        )
    table.setdefault("ai21", ("ai21_chains", "ChatAI21", _create))


def _create(cls: type[BaseChatModel], **options: Any) -> BaseChatModel:
    return cls(**options)
