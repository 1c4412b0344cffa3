"""`ChatAI21`: AI21's chat models as a LangChain chat model.

The class is thin: what a request looks like is decided in `_request`, how it travels in `client`,
and what an answer means in `_messages`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import Any, Literal, NamedTuple, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import BaseModel, Field, model_validator

from ai21_chains import _content_blocks as _content_blocks  # registers the translator
from ai21_chains import _options, _request
from ai21_chains._catalog import CONTEXT_TOKENS, OUTPUT_TOKENS, known_model
from ai21_chains._component import AI21Component, client_for
from ai21_chains._jurassic import chat_client
from ai21_chains._messages import PROVIDER, ChunkReader, generations
from ai21_chains._options import TRANSPORT, CallOptions, without
from ai21_chains._request import build, format_tool_choice, format_tools, refuse_choices
from ai21_chains._structured import StructuredOutputParser
from ai21_chains._tokens import count_request
from ai21_chains._wire import ChatRequest, Completion
from ai21_chains.client import ChatClient
from ai21_chains.errors import ConfigurationError


class _Call(NamedTuple):
    client: ChatClient
    body: ChatRequest


class ChatAI21(AI21Component, BaseChatModel):
    """AI21's chat models (Jamba), over `POST /chat/completions`.

    Every argument of the constructor but `streaming` and those of LangChain's own can also be given
    for a single call: `model.invoke("Hi", temperature=0)`. Only what is set is sent.

    Example:
        >>> from ai21_chains import ChatAI21
        >>> model = ChatAI21(model="jamba-mini", temperature=0.2)
        >>> model.invoke("Say hello.").content  # doctest: +SKIP
        'Hello! How can I help you today?'

    The ranges and defaults are those of AI21's API reference (Chat Completions).

    Raises:
        ConfigurationError: An argument is misspelt, of the wrong type or out of range. It is raised
            by the constructor and by calls, before anything is sent.
        APIError: Raised by calls, when no usable answer came back.
    """

    model: _options.Model = "jamba-mini"
    """Model id, such as `jamba-large` or a pinned `jamba-mini-2-2026-01`."""

    temperature: _options.Temperature | None = None
    """Randomness, from 0 to 2. AI21's default is 0.4."""

    top_p: _options.TopP | None = None
    """Share of the probability mass to choose from, above 0 and up to 1. AI21's default is 1."""

    max_tokens: _options.MaxTokens | None = None
    """Upper limit of the answer in tokens. AI21's default, and its limit, is 4096."""

    stop: _options.Stop | None = None
    """Texts that end the answer; they are not part of it."""

    n: _options.Choices | None = None
    """Number of answers, from 1 to 16; above 1 not with streaming, nor with temperature 0."""

    seed: int | None = None
    """Seed for servers that take one. AI21 Studio ignores it."""

    user: str | None = None
    """An id of the end user, for servers that take one. AI21 Studio ignores it."""

    documents: _options.Documents | None = None
    """Documents to ground the answer in: `Document`s, strings, or AI21's own dicts."""

    response_format: Any = None
    """`{"type": "json_object"}` for JSON, a JSON schema in OpenAI's form, or a pydantic class."""

    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request's body."""

    streaming: bool = False
    """Whether `invoke` streams, too."""

    model_config = AI21Component.model_config
    _call_options = CallOptions

    @model_validator(mode="after")
    def _check_profile_keys(self) -> ChatAI21:
        # This takes the place of a check in the base class that costs more than all the rest of the
        # constructor, and that our own profile does not need.
        if self.profile == self._resolve_model_profile():
            # Not given but found, it is to be found again for a copy with another model.
            self.model_fields_set.discard("profile")
            return self
        return cast(ChatAI21, cast(Any, super())._check_profile_keys())

    # --- What LangChain asks about the model -------------------------------------------------

    @property
    def _llm_type(self) -> str:
        return "ai21-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = ("model", "base_url", "temperature", "top_p", "max_tokens", "stop", "n", "seed")
        named = {name: getattr(self, name) for name in names}
        if self.host is not None:
            named["base_url"], named["host"] = None, self.host.as_dict()
        return {k: v for k, v in {**named, **self.model_kwargs}.items() if v is not None}

    def _get_invocation_params(
        self, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        return super()._get_invocation_params(stop=stop, **without(kwargs, TRANSPORT))

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        # Computed once and kept, it would not follow a setting that was changed since.
        self.__dict__.pop("_serialized", None)
        decisive = without(kwargs, TRANSPORT - {"base_url", "host"})
        return super()._get_llm_string(stop=stop, **decisive)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        def setting(name: str) -> Any:
            return kwargs.get(name) if kwargs.get(name) is not None else getattr(self, name)

        params = LangSmithParams(
            ls_provider=PROVIDER, ls_model_name=setting("model"), ls_model_type="chat"
        )
        if (temperature := setting("temperature")) is not None:
            params["ls_temperature"] = temperature
        if (max_tokens := setting("max_tokens")) is not None:
            params["ls_max_tokens"] = max_tokens
        if stops := stop or setting("stop"):
            params["ls_stop"] = [stops] if isinstance(stops, str) else stops
        return params

    def _resolve_model_profile(self) -> ModelProfile | None:
        is_jamba = self.model.startswith("jamba")
        known = known_model(self.model)
        if known is None and not is_jamba:
            return None
        return ModelProfile(
            name=known.name if known else self.model,
            max_input_tokens=known.context_tokens if known else CONTEXT_TOKENS,
            max_output_tokens=known.output_tokens if known else OUTPUT_TOKENS,
            text_inputs=True,
            text_outputs=True,
            tool_calling=is_jamba,
            tool_choice=is_jamba,
            # AI21 enforces no JSON schema: agents are better off with a tool.
            structured_output=False,
            temperature=True,
        )

    # --- Tokens ------------------------------------------------------------------------------

    def get_num_tokens_from_messages(
        self,
        messages: list[BaseMessage],
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool] | None = None,
    ) -> int:
        """Estimate the number of tokens in a conversation with its tools, without a network."""
        return count_request(messages, tools or (), self.get_num_tokens)

    # --- Calls -------------------------------------------------------------------------------

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._call(messages, stop, kwargs)
        return self._result(call.body, call.client.complete(call.body))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._call(messages, stop, kwargs)
        return self._result(call.body, await call.client.acomplete(call.body))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = self._call(messages, stop, kwargs)
        refuse_choices(call.body)
        reader = ChunkReader(call.body["model"])
        with closing(call.client.stream(call.body)) as events:
            for event in events:
                chunk = reader.read(event)
                if chunk is not None:
                    if run_manager:
                        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
        yield self._last(call.body, reader)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = self._call(messages, stop, kwargs)
        refuse_choices(call.body)
        reader = ChunkReader(call.body["model"])
        async with aclosing(call.client.astream(call.body)) as events:
            async for event in events:
                chunk = reader.read(event)
                if chunk is not None:
                    if run_manager:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
        yield self._last(call.body, reader)

    def _call(
        self, messages: list[BaseMessage], stop: list[str] | None, options: Mapping[str, Any]
    ) -> _Call:
        given = options if stop is None else {**options, "stop": stop}
        asked = cast(CallOptions, self._asked(given))
        return _Call(chat_client(client_for(asked), asked["model"]), build(messages, asked))

    def _result(self, body: ChatRequest, completion: Completion) -> ChatResult:
        made = generations(completion, body["model"])
        usage = cast(AIMessage, made[0].message).usage_metadata
        if usage:
            self._tokens.learn(body, usage["input_tokens"])
        return ChatResult(generations=made)

    def _last(self, body: ChatRequest, reader: ChunkReader) -> ChatGenerationChunk:
        if reader.usage:
            self._tokens.learn(body, reader.usage["input_tokens"])
        return reader.last()

    # --- Tools and schemas -------------------------------------------------------------------

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: dict[str, Any] | str | bool | None = None,
        parallel_tool_calls: bool | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let the model call tools.

        Args:
            tools: Tools of any kind that LangChain knows: functions, `BaseTool`s, pydantic classes,
                `TypedDict`s, and dicts in the form of OpenAI, Anthropic or JSON schema.
            tool_choice: None or "auto" to let the model choose, "any", "required" or True for at
                least one call, a tool's name for that tool, "none" for no call. AI21's API has no
                such setting: it is sent for servers that do, and the model is told in words.
            parallel_tool_calls: Whether there may be several calls at once, for servers that know.
            strict: Passed on in each tool's definition, for servers that know.
            **kwargs: Further options of the call, such as `temperature` or `response_format`.

        Raises:
            ConfigurationError: Something is no tool, or `tool_choice` names none.

        Example:
            >>> def get_weather(city: str) -> str:
            ...     '''Look up the weather in a city.'''
            ...     return "sunny"
            >>> model = ChatAI21(api_key="…").bind_tools([get_weather])
        """
        formatted = format_tools(tools, strict)
        if formatted:
            format_tool_choice(tool_choice, formatted)  # refuses a tool that does not exist
            chosen = {"tool_choice": tool_choice, "parallel_tool_calls": parallel_tool_calls}
            kwargs |= {k: v for k, v in chosen.items() if v is not None}
            kwargs["tools"] = formatted
        return self.bind(**kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Literal["function_calling", "json_mode", "json_schema"] = "function_calling",
        include_raw: bool = False,
        strict: bool | None = None,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Make the model answer in the form of a schema.

        Args:
            schema: A pydantic class (the result is an object of it), or a `TypedDict`, a JSON
                schema with a `title`, or a function in OpenAI's form (the result is a dict). It may
                be left out with `json_mode`.
            method: "function_calling" has the model call a tool; "json_mode" asks for any JSON
                object, so the prompt must say which; "json_schema" asks for JSON and puts the
                schema into the system message, as AI21's API does not take one.
            include_raw: Return `{"raw", "parsed", "parsing_error"}` instead of raising.
            strict: Passed on in the tool's definition, for servers that know it.
            tools: With "json_schema": tools that the model may call first. The result is None for
                an answer that calls one.
            **kwargs: Further options of the call.

        Raises:
            ConfigurationError: The method is unknown, or does not go with the other arguments.
            StructuredOutputError: Raised by calls, when the answer is cut off, is a refusal, or
                does not fit the schema.
        """
        _check_method(method, schema, strict, tools)
        json_schema = _request.json_schema(schema, "schema") if schema is not None else {}
        parser = StructuredOutputParser(
            target=schema if isinstance(schema, type) else None,
            required=tuple(json_schema.get("required", ())),
            may_call_tools=bool(tools),
        )
        shown = {"kwargs": {"method": method, "strict": strict}, "schema": json_schema}
        kwargs |= {"ls_structured_output_format": shown}
        if method == "function_calling":
            tool = format_tools([cast(Any, schema)], strict)[0]
            parser.tool_name = tool["function"]["name"]
            model = self.bind_tools(
                [tool], tool_choice=parser.tool_name, parallel_tool_calls=False, **kwargs
            )
        elif method == "json_mode":
            model = self.bind(response_format={"type": "json_object"}, **kwargs)
        else:
            wanted = {"type": "json_schema", "json_schema": {"schema": json_schema}}
            model = self.bind_tools(tools or (), response_format=wanted, **kwargs)
        return parser.beside(model) if include_raw else model | parser


def _check_method(method: str, schema: object, strict: bool | None, tools: object) -> None:
    problem = ""
    if method not in ("function_calling", "json_mode", "json_schema"):
        problem = f"there is no method {method!r}"
    elif schema is None and method != "json_mode":
        problem = f"{method} needs a schema"
    elif strict is not None and method == "json_mode":
        problem = "strict does not go with json_mode"
    elif tools and method != "json_schema":
        problem = "tools needs method='json_schema'"
    if problem:
        raise ConfigurationError(f"with_structured_output: {problem}")
