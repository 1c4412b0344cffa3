"""What a family of endpoints is made of: a table of routes, and the answers they have in common."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .exchange import Response

Handler = Callable[..., Response]
"""Answers a request. Called with the emulator, the request, and the parameters of the path by name.

The first line of its docstring stands in the table of what is emulated."""

Routes = Mapping[str, Mapping[str, Handler]]
"""For each path below the prefix, such as `/library/files/{file_id}`, its methods and handlers."""


def find(routes: Routes, path: str) -> tuple[Mapping[str, Handler], dict[str, str]] | None:
    """Return the methods of a path and the values of its parameters, or None if there is none.

    Args:
        routes: The table.
        path: The path below the prefix.

    Example:
        >>> find({"/files/{file_id}": {}}, "/files/7")
        ({}, {'file_id': '7'})
    """
    if path in routes:
        return routes[path], {}
    parts = path.split("/")
    for template, methods in routes.items():
        names = template.split("/")
        if len(names) == len(parts) and all(map(_fits, names, parts)):
            values = {n[1:-1]: p for n, p in zip(names, parts, strict=True) if n.startswith("{")}
            return methods, values
    return None


def _fits(name: str, part: str) -> bool:
    return bool(part) if name.startswith("{") else name == part


def json_answer(body: Any, status: int = 200, *headers: tuple[str, str]) -> Response:
    """Return an answer with a JSON body, written as AI21 writes it: compact.

    Args:
        body: What is to be written, or the bytes of JSON.
        status: The HTTP status.
        *headers: Further headers.
    """
    if not isinstance(body, bytes):
        body = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    length = ("content-length", str(len(body)))
    return Response(status, (length, ("content-type", "application/json"), *headers), (body,))


def refusal(status: int, detail: Any, *headers: tuple[str, str]) -> Response:
    """Return an error in AI21's form.

    Args:
        status: The HTTP status.
        detail: A sentence, or the list that `validation.faults_of` returns.
        *headers: Further headers.
    """
    return json_answer({"detail": detail}, status, *headers)


FORBIDDEN = refusal(401, "Forbidden: Bad or missing Apikey/JWT.")
"""What chat and most other endpoints answer without a key that they know."""

UNAUTHENTICATED = refusal(400, "Bad request: bad or missing authentication.")
"""What the library answers without a key that it knows."""
