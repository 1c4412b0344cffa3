"""Optional packages: imported when they are needed, and named with their extra when missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from ai21_chains.errors import MissingExtraError


def import_extra(module: str, purpose: str, extra: str) -> ModuleType:
    """Import a package that only one of our extras brings.

    Args:
        module: What is imported.
        purpose: What needs it, for the error.
        extra: The extra that brings it.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f'{purpose} needs {module}: pip install "ai21-chains[{extra}]"'
        ) from error
