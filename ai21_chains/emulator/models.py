"""`GET /models`: what is served, with limits and prices (AI21 API reference, models)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .chat import CONTEXT_TOKENS, MODELS
from .completions import MAX_OUTPUT_TOKENS
from .exchange import Request, Response
from .routes import Routes, json_answer

if TYPE_CHECKING:
    from .core import Emulator


def models(emulator: Emulator, request: Request) -> Response:
    """List the models; without a key the list is empty."""
    return json_answer({"data": list(_rows(emulator.era)) if emulator.knows(request) else []})


def _rows(era: str) -> Iterator[dict[str, Any]]:
    for model in MODELS[era]:
        large = "large" in model
        prices = ("0.000002", "0.000008") if large else ("0.0000002", "0.0000004")
        yield {
            "id": model,
            "name": model.replace("-", " ").title(),
            "updated": "2025-07-01" if large else "2026-01-08",
            "context_length": CONTEXT_TOKENS,
            "quantization": "FP8",
            "max_completion_tokens": MAX_OUTPUT_TOKENS,
            "pricing": {"prompt": prices[0], "completion": prices[1]},
        }


ROUTES: Routes = {"/models": {"GET": models}}
