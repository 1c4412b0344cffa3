"""What `AI21LLM` can be asked with, and what its results are made of. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation, LLMResult
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ai21_chains._messages import PROVIDER, generations
from ai21_chains._options import (
    Choices,
    MaxTokens,
    Model,
    Stop,
    Temperature,
    TopP,
    TransportOptions,
)
from ai21_chains._wire import Completion, JSONObject


class Penalty(BaseModel):
    """Makes Jurassic-2 repeat itself less (AI21 API reference, Complete, penalties).

    Only what is set is sent; AI21's default for each kind of token is True.

    Example:
        >>> Penalty(scale=0.5, apply_to_numbers=False).model_dump(exclude_unset=True)
        {'scale': 0.5, 'apply_to_numbers': False}
    """

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )

    scale: float = Field(ge=0, allow_inf_nan=False)
    """How much: up to 500 as `frequency_penalty`, 5 as `presence_penalty`, 1 as `count_penalty`."""

    apply_to_whitespaces: bool = True
    """Whether tokens of white space count."""

    apply_to_punctuations: bool = True
    """Whether punctuation counts."""

    apply_to_numbers: bool = True
    """Whether numbers count."""

    apply_to_stopwords: bool = True
    """Whether stop words count."""

    apply_to_emojis: bool = True
    """Whether emojis count."""


def _up_to(limit: float) -> AfterValidator:
    def check(penalty: Penalty) -> Penalty:
        if penalty.scale > limit:
            raise ValueError(f"Input should have a scale of {limit} at most")
        return penalty

    return AfterValidator(check)


FrequencyPenalty = Annotated[Penalty, _up_to(500)]
PresencePenalty = Annotated[Penalty, _up_to(5)]
CountPenalty = Annotated[Penalty, _up_to(1)]
WholeNumber = Annotated[int, Field(ge=0)]
TopTokens = Annotated[int, Field(ge=0, le=64)]


class CompletionOptions(TransportOptions, total=False):
    """What can be set for a single call; each has the meaning that it has in the constructor."""

    model: Model
    temperature: Temperature | None
    top_p: TopP | None
    max_tokens: MaxTokens | None
    stop: Stop | None
    n: Choices | None
    model_kwargs: dict[str, Any]
    min_tokens: WholeNumber | None
    top_k_return: TopTokens | None
    logit_bias: dict[str, float] | None
    frequency_penalty: FrequencyPenalty | None
    presence_penalty: PresencePenalty | None
    count_penalty: CountPenalty | None
    custom_model: str | None
    epoch: WholeNumber | None


JURASSIC = (
    "min_tokens",
    "top_k_return",
    "logit_bias",
    "frequency_penalty",
    "presence_penalty",
    "count_penalty",
    "custom_model",
    "epoch",
)
"""Options that only Jurassic-2 knows; on the wire they are written in camel case."""


def on_the_wire(own: Mapping[str, Any]) -> JSONObject:
    """Return Jurassic-2's own options as fields of a request.

    Args:
        own: Options of those named in `JURASSIC` that are set.
    """
    return {to_camel(name): _dumped(value) for name, value in own.items()}


def _dumped(value: Any) -> Any:
    if isinstance(value, Penalty):
        return value.model_dump(by_alias=True, exclude_unset=True)
    return value


# --- Results ---------------------------------------------------------------------------------

_USAGE = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "total_tokens": "total_tokens",
}
"""What LangChain's callbacks for completion models call it, and for messages."""


def result(model: str, answers: Sequence[Completion]) -> LLMResult:
    """Return the texts of the answers to several prompts, and the sum of their tokens.

    Args:
        model: The model that was asked.
        answers: The answers, in the order of the prompts.
    """
    texts = [_texts(answer, model) for answer in answers]
    first = [generations[0].generation_info or {} for generations in texts]
    used = [known["usage_metadata"] for known in first if "usage_metadata" in known]
    output: dict[str, Any] = {"model_name": model, "model_provider": PROVIDER}
    if used:
        output["token_usage"] = {
            name: sum(usage[key] for usage in used) for name, key in _USAGE.items()
        }
    return LLMResult(generations=texts, llm_output=output)


def info(generation: ChatGeneration) -> dict[str, Any]:
    """Return what is known of a text: model, id, finish reason and usage.

    Args:
        generation: The text as a message.
    """
    message = cast(AIMessage, generation.message)
    usage = {"usage_metadata": message.usage_metadata} if message.usage_metadata else {}
    return {**message.response_metadata, **usage}


def _texts(answer: Completion, model: str) -> list[Any]:
    choices = sorted(answer["choices"], key=lambda choice: choice.get("index") or 0)
    made = []
    for choice, generation in zip(choices, generations(answer, model), strict=True):
        known = info(generation)
        if logprobs := choice.get("logprobs"):
            known["logprobs"] = logprobs
        made.append(Generation(text=generation.text, generation_info=known))
    return made
