"""The table of what is emulated, generated from the routes, the checks and the faults."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

from .chat import MODELS
from .core import FAMILIES
from .faults import fault_rows
from .validation import Object, describe


def coverage_table() -> str:
    """Return a Markdown table of what is emulated, made from the code's own data."""
    head = ["| Part | Name | Meaning |", "| --- | --- | --- |"]
    return "\n".join([*head, *(f"| {part} | `{name}` | {text} |" for part, name, text in _rows())])


def _rows() -> Iterator[tuple[str, str, str]]:
    families = [family for era in sorted(FAMILIES, reverse=True) for family in FAMILIES[era]]
    for family in dict.fromkeys(families):
        yield from _endpoints(family)
        for endpoint, body in getattr(family, "BODIES", {}).items():
            yield from _fields(endpoint, body)
    for model in MODELS["2026"]:
        yield "model", model, "Accepted; any other id is answered with AI21's 422."
    for model in MODELS["2024"]:
        yield "model", model, 'Accepted with `Emulator(era="2024")`.'
    for family in dict.fromkeys(families):
        for rule in getattr(family, "RULES", ()):
            yield "rule", rule.__name__, rule.__doc__ or ""
    for name, meaning in fault_rows():
        yield "fault", name, meaning


def _endpoints(family: ModuleType) -> Iterator[tuple[str, str, str]]:
    old = "" if family in FAMILIES["2026"] else ' With `Emulator(era="2024")`.'
    for path, methods in family.ROUTES.items():
        for method, handler in methods.items():
            line = (handler.__doc__ or "").partition("\n")[0]
            yield "endpoint", f"{method} {path}", line + old


def _fields(endpoint: str, body: Object) -> Iterator[tuple[str, str, str]]:
    for name, check in body.required.items():
        yield f"field of {endpoint}", name, f"Required. {describe(check)}."
    for name, check in body.optional.items():
        yield f"field of {endpoint}", name, f"Optional, may be null. {describe(check)}."
