"""What an answer costs. Exported as `ai21_chains.cost`, whose name a module cannot have as well."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ai21_chains._catalog import MODELS, known_model
from ai21_chains.errors import ConfigurationError

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

__all__ = ["cost"]

_COUNTS = (("input_tokens", "output_tokens"), ("prompt_tokens", "completion_tokens"))
"""What LangChain calls the two numbers of tokens, and what AI21 and OpenAI call them."""


def cost(answer: AIMessage | Mapping[str, Any], model: str | None = None) -> Decimal:
    """Return what an answer costs by AI21's price list, in USD, exactly.

    The prices are those that AI21 Studio asks for a million tokens (https://www.ai21.com/pricing,
    as of 2026-09-29). Other hosts have their own.

    Args:
        answer: A message or the sum of a stream's chunks, or its usage alone: LangChain's
            (`usage_metadata`, `GroundedAnswer.usage`) or AI21's (`usage` of an answer on the wire).
        model: Model id. Needed for a bare usage; a message knows its own (`model_name` in
            `response_metadata`), and this one takes its place.

    Returns:
        US dollars, not rounded.

    Raises:
        ConfigurationError: The answer has no usage, the model is not named, or its price is not
            known: no answer is free for want of a price.

    Example:
        >>> from langchain_core.messages import AIMessage
        >>> from ai21_chains._cost import cost
        >>> usage = {"input_tokens": 1000, "output_tokens": 500, "total_tokens": 1500}
        >>> cost(usage, model="jamba-large")
        Decimal('0.006')
        >>> metadata = {"model_name": "jamba-mini"}
        >>> cost(AIMessage("Hello", usage_metadata=usage, response_metadata=metadata))
        Decimal('0.0004')
    """
    usage: Any = answer
    if not isinstance(answer, Mapping):
        usage = getattr(answer, "usage_metadata", None)
        model = model or getattr(answer, "response_metadata", {}).get("model_name")
    if not model:
        raise ConfigurationError("cost: the usage does not say of which model it is; pass model=…")
    known = known_model(model)
    if known is None:
        raise ConfigurationError(
            f"cost: the price of model {model!r} is not known; known are {', '.join(MODELS)}"
        )
    return known.price.of(*_tokens(usage))


def _tokens(usage: object) -> tuple[int, int]:
    if isinstance(usage, Mapping):
        for names in _COUNTS:
            read, written = map(usage.get, names)
            if type(read) is int and type(written) is int and min(read, written) >= 0:
                return read, written
    raise ConfigurationError(
        "cost: the answer has no usage; it takes a message with usage_metadata, or a usage with "
        "input_tokens and output_tokens"
    )
