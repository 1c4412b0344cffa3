"""`AI21LLM`: AI21's models as a LangChain completion model, text in and text out.

A prompt becomes a request with one message, and from there on all is as with `ChatAI21`; Jurassic-2
is asked in its own protocol (`_jurassic`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, closing
from typing import Any, NamedTuple, Self, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseLLM, LanguageModelInput
from langchain_core.outputs import GenerationChunk, LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ContextThreadPoolExecutor, get_config_list
from pydantic import Field

from ai21_chains import _options
from ai21_chains._completions import (
    JURASSIC,
    CompletionOptions,
    CountPenalty,
    FrequencyPenalty,
    Penalty,
    PresencePenalty,
    TopTokens,
    WholeNumber,
    info,
    on_the_wire,
    result,
)
from ai21_chains._component import AI21Component, client_for
from ai21_chains._jurassic import JurassicClient, is_jurassic
from ai21_chains._messages import ChunkReader
from ai21_chains._options import CallOptions
from ai21_chains._request import compose, refuse_choices
from ai21_chains._wire import ChatRequest, Completion
from ai21_chains.client import ChatClient, merge_headers
from ai21_chains.errors import ConfigurationError

__all__ = ["AI21LLM", "Penalty"]

MOST_AT_ONCE = 64
"""Prompts of one sync call that are under way at the same time."""


_RUN = frozenset({"tags", "metadata", "run_name", "run_id"})
"""Arguments of LangChain's own beside the options of a call."""


class _Call(NamedTuple):
    client: ChatClient
    body: ChatRequest

    def answer(self) -> Completion:
        return self.client.complete(self.body)


class AI21LLM(AI21Component, BaseLLM):
    """AI21's models as text in, text out.

    A Jamba model gets the prompt as the one message of a chat; a Jurassic-2 model gets it at
    `POST /{model}/complete`. AI21 itself serves Jurassic-2 no longer: it is for hosts and gateways
    that do, and for `Emulator(era="2024")`.

    Every argument of the constructor but those of LangChain's own can also be given for a single
    call. Only what is set is sent.

    Example:
        >>> from ai21_chains.llms import AI21LLM
        >>> llm = AI21LLM(model="jamba-mini", max_tokens=50)
        >>> llm.invoke("Name a city by the sea:")  # doctest: +SKIP
        'Haifa'

    Each prompt's first generation says in `generation_info` why the text ended
    (`finish_reason`) and how many tokens its request took (`usage_metadata`); `llm_output` has
    the sum (`token_usage`).

    The ranges are those of AI21's API reference (Chat Completions, and Complete as of 2024).

    Raises:
        ConfigurationError: An argument is misspelt, of the wrong type or out of range, or the model
            does not know it. It is raised before anything is sent.
        APIError: Raised by calls, when no usable answer came back.
    """

    model: _options.Model = "jamba-mini"
    """Model id, such as `jamba-large` or `j2-ultra`."""

    temperature: _options.Temperature | None = None
    """Randomness, from 0 to 2. AI21's default is 0.4 with Jamba, 0.7 with Jurassic-2."""

    top_p: _options.TopP | None = None
    """Share of the probability mass to choose from, above 0 and up to 1. AI21's default is 1."""

    max_tokens: _options.MaxTokens | None = None
    """Upper limit of the text in tokens. AI21's default is 4096 with Jamba, 16 with Jurassic-2."""

    stop: _options.Stop | None = None
    """Texts that end the answer; they are not part of it."""

    n: _options.Choices | None = None
    """Number of texts for each prompt, from 1 to 16 (Jurassic-2's `numResults`)."""

    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request's body, as they are written on the wire."""

    min_tokens: WholeNumber | None = None
    """Jurassic-2: lower limit of the text in tokens; until then nothing ends it."""

    top_k_return: TopTokens | None = None
    """Jurassic-2: how many likely tokens to list at each place, from 0 to 64. They are in
    `generation_info["logprobs"]`."""

    logit_bias: dict[str, float] | None = None
    """Jurassic-2: what is added to the log-probability of a token, by its text."""

    frequency_penalty: FrequencyPenalty | None = None
    """Jurassic-2: against tokens that are frequent in the prompt and the text."""

    presence_penalty: PresencePenalty | None = None
    """Jurassic-2: against tokens that are in the prompt or the text."""

    count_penalty: CountPenalty | None = None
    """Jurassic-2: against tokens by how often they are in the prompt and the text."""

    custom_model: str | None = None
    """Jurassic-2: name of a model fine-tuned from `model`."""

    epoch: WholeNumber | None = None
    """Jurassic-2: which checkpoint of a fine-tuned model."""

    model_config = AI21Component.model_config
    _call_options = CompletionOptions

    # --- What LangChain asks about the model -------------------------------------------------

    @property
    def _llm_type(self) -> str:
        return "ai21"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = CompletionOptions.__annotations__.keys() - _options.TRANSPORT | {"base_url"}
        named = {name: getattr(self, name) for name in sorted(names)}
        if self.host is not None:
            named["base_url"], named["host"] = None, self.host.as_dict()
        return {name: value for name, value in named.items() if value not in (None, {})}

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """Say what is dumped in another form: a penalty as a dict."""
        penalties = {name: getattr(self, name) for name in JURASSIC if name.endswith("_penalty")}
        dumped = {
            name: penalty.model_dump(exclude_unset=True)
            for name, penalty in penalties.items()
            if penalty is not None
        }
        return {**super().lc_attributes, **dumped}

    # --- Options of a call -------------------------------------------------------------------
    # LangChain's cache does not look at them, and its traces would show a key that is one of them.
    # So they become settings of a copy, which is then asked without options.

    def _with(self, options: Mapping[str, Any]) -> Self:
        if not options:
            return self
        settings = self._check_options(options)
        if extra := settings.pop("extra_headers", None):
            settings["default_headers"] = merge_headers(self.default_headers, extra)
        return self.model_copy(update=settings)

    def generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Complete prompts, all at once, and return their texts in order.

        Args:
            prompts: The prompts.
            stop: Texts that end the answers.
            callbacks: LangChain's callbacks.
            **kwargs: Options of the call, and LangChain's `tags`, `metadata`, `run_name`, `run_id`.

        Raises:
            AI21Error: One of the prompts failed. `batch` with `return_exceptions` keeps the others.
        """
        run, options = _divided(kwargs)
        return BaseLLM.generate(self._with(options), prompts, stop, callbacks, **run)

    async def agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Async form of `generate`."""
        run, options = _divided(kwargs)
        return await BaseLLM.agenerate(self._with(options), prompts, stop, callbacks, **run)

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[str]:
        """Yield a text as it is made; with Jurassic-2 all of it at once."""
        # The last chunk has no text, only what is known of the whole.
        yield from filter(None, BaseLLM.stream(self._with(kwargs), input, config, stop=stop))

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[str]:
        """Async form of `stream`."""
        async for text in BaseLLM.astream(self._with(kwargs), input, config, stop=stop):
            if text:
                yield text

    # LangChain would put the inputs of a batch into one call, which fails as a whole.

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[str]:
        """Complete each input by itself, side by side: where one fails, the others do not."""
        configs = get_config_list(config, len(inputs))
        if configs and configs[0].get("max_concurrency") is None:
            configs[0]["max_concurrency"] = MOST_AT_ONCE
        return super(BaseLLM, self).batch(
            inputs, configs, return_exceptions=return_exceptions, **kwargs
        )

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[str]:
        """Async form of `batch`."""
        return await super(BaseLLM, self).abatch(
            inputs, config, return_exceptions=return_exceptions, **kwargs
        )

    # --- Calls -------------------------------------------------------------------------------

    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        calls = [self._call(prompt, stop) for prompt in prompts]
        if len(calls) < 2:
            return result(self.model, [call.answer() for call in calls])
        with ContextThreadPoolExecutor(min(len(calls), MOST_AT_ONCE)) as threads:
            return result(self.model, list(threads.map(_Call.answer, calls)))

    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        calls = [self._call(prompt, stop) for prompt in prompts]
        asked = [asyncio.ensure_future(call.client.acomplete(call.body)) for call in calls]
        try:
            return result(self.model, await asyncio.gather(*asked))
        finally:
            # Nobody would get what the others are still being asked for.
            for one in asked:
                one.cancel()

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        call = self._call(prompt, stop)
        refuse_choices(call.body)
        reader = ChunkReader(self.model)
        with closing(call.client.stream(call.body)) as events:
            for event in events:
                said = reader.read(event)
                if said is not None:
                    chunk = GenerationChunk(text=said.text)
                    if run_manager:
                        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
        yield GenerationChunk(text="", generation_info=info(reader.last()))

    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        call = self._call(prompt, stop)
        refuse_choices(call.body)
        reader = ChunkReader(self.model)
        async with aclosing(call.client.astream(call.body)) as events:
            async for event in events:
                said = reader.read(event)
                if said is not None:
                    chunk = GenerationChunk(text=said.text)
                    if run_manager:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
        yield GenerationChunk(text="", generation_info=info(reader.last()))

    def _call(self, prompt: str, stop: list[str] | None) -> _Call:
        asked = self._asked({} if stop is None else {"stop": stop})
        own = {name: asked[name] for name in JURASSIC if asked[name] is not None}
        studio = client_for(asked)
        client: ChatClient = studio
        if is_jurassic(self.model):
            client = JurassicClient(studio, "complete")
            asked["model_kwargs"] = {**asked["model_kwargs"], **on_the_wire(own)}
        elif own:
            raise ConfigurationError(
                f"AI21LLM: {next(iter(own))} is a setting of Jurassic-2, which {self.model} is not"
            )
        body = compose([{"role": "user", "content": prompt}], cast(CallOptions, asked), ())
        return _Call(client, body)


def _divided(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    run = {name: value for name, value in arguments.items() if name in _RUN}
    return run, {name: value for name, value in arguments.items() if name not in _RUN}
