"""The table of what is emulated, generated from the routes, the checks and the faults."""

from __future__ import annotations

from collections.abc import Iterator

from .core import ROUTES
from .faults import fault_rows
from .validation import CHAT_REQUEST, MODELS, RULES


def coverage_table() -> str:
    """Return a Markdown table of what is emulated, made from the code's own data."""
    rows = [("Part", "Name", "Meaning"), ("---", "---", "---"), *_rows()]
    return "\n".join(f"| {part} | `{name}` | {meaning} |" for part, name, meaning in rows).replace(
        "| `Name` |", "| Name |"
    ).replace("| `---` |", "| --- |")


def _rows() -> Iterator[tuple[str, str, str]]:
    for path, methods in ROUTES.items():
        for method, handler in methods.items():
            yield "endpoint", f"{method} {path}", _first_line(handler)
    for model in MODELS:
        yield "model", model, "accepted"
    for name, check in CHAT_REQUEST.required.items():
        yield "field", name, f"required. {_first_line(check)}"
    for name, check in CHAT_REQUEST.optional.items():
        yield "field", name, f"optional, may be null. {_first_line(check)}"
    for rule in RULES:
        yield "rule", rule.__name__, _first_line(rule)
    for name, meaning in fault_rows():
        yield "fault", name, meaning


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").partition("\n")[0]
