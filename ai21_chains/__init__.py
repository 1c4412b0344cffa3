"""AI21's models as LangChain runnables, and answers from documents with citations that are checked.

Names are loaded when they are first used: `import ai21_chains` alone imports nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ai21_chains._version import __version__

if TYPE_CHECKING:
    from ai21_chains.chat_models import ChatAI21
    from ai21_chains.errors import AI21Error

__all__ = ["AI21Error", "ChatAI21", "__version__"]

_HOMES = {"AI21Error": "errors", "ChatAI21": "chat_models"}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
