"""The table of what is emulated, generated from the routes, the checks and the faults."""

from __future__ import annotations

from collections.abc import Iterator

from .core import ROUTES
from .faults import fault_rows
from .validation import CHAT_REQUEST, MODELS, RULES, describe


def coverage_table() -> str:
    """Return a Markdown table of what is emulated, made from the code's own data."""
    head = ["| Part | Name | Meaning |", "| --- | --- | --- |"]
    return "\n".join([*head, *(f"| {part} | `{name}` | {text} |" for part, name, text in _rows())])


def _rows() -> Iterator[tuple[str, str, str]]:
    for path, methods in ROUTES.items():
        for method, handler in methods.items():
            yield "endpoint", f"{method} {path}", (handler.__doc__ or "").partition("\n")[0]
    for model in MODELS:
        yield "model", model, "Accepted; any other id is answered with AI21's 422."
    for name, check in CHAT_REQUEST.required.items():
        yield "field", name, f"Required. {describe(check)}."
    for name, check in CHAT_REQUEST.optional.items():
        yield "field", name, f"Optional, may be null. {describe(check)}."
    for rule in RULES:
        yield "rule", rule.__name__, rule.__doc__ or ""
    for name, meaning in fault_rows():
        yield "fault", name, meaning
