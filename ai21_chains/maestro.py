"""`ChatMaestro`: AI21's Maestro as a LangChain chat model.

A call starts a run and looks at it until it has ended. The class is thin: what is asked, when to
look again and what a run's end means is decided in `_maestro`, and done by `_work`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import BaseModel, Field

from ai21_chains import _content_blocks as _content_blocks  # registers the translator
from ai21_chains import _options
from ai21_chains._component import AI21Component, client_for
from ai21_chains._maestro import (
    UNNAMED,
    Budget,
    Identity,
    Include,
    MaestroOptions,
    Models,
    OutputType,
    Seconds,
    finish,
    impatient,
    start,
)
from ai21_chains._maestro_tools import (
    FileSearch,
    HTTPTool,
    Language,
    MCPTool,
    Requirement,
    Requirements,
    Tools,
    WebSearch,
)
from ai21_chains._messages import PROVIDER
from ai21_chains._options import TRANSPORT, without
from ai21_chains._request import json_schema
from ai21_chains._structured import StructuredOutputParser
from ai21_chains._work import arun, run
from ai21_chains.errors import ConfigurationError

__all__ = ["ChatMaestro", "FileSearch", "HTTPTool", "MCPTool", "Requirement", "WebSearch"]


class ChatMaestro(AI21Component, BaseChatModel):
    """AI21's Maestro, which plans, uses tools of AI21's, and checks its answer.

    A call starts a run (`POST /maestro/runs`) and looks at it (`GET /maestro/runs/{id}`) until it
    has ended. Every argument of the constructor but `streaming` and those of LangChain's own can
    also be given for a single call. Only what is set is sent. A stream has one chunk: the whole
    answer.

    Starting a run is not repeated when the server may have got the request; looking at it is. When
    waiting is given up, by `poll_timeout_sec` or because of the network, the error has the `run_id`
    and the run goes on: `resume(run_id)` gets its answer. A cancelled async call stops at once.

    Example:
        >>> from ai21_chains.maestro import ChatMaestro, FileSearch
        >>> model = ChatMaestro(
        ...     models="jamba-large",
        ...     requirements=["At most 50 words.", "Write for a child."],
        ...     tools=[FileSearch(labels=["handbook"])],
        ... )
        >>> message = model.invoke("How many days of leave are there?")  # doctest: +SKIP
        >>> message.response_metadata["requirements_result"]["score"]  # doctest: +SKIP
        1.0

    In the message, `additional_kwargs["citations"]` and the text's annotations in `content_blocks`
    have the passages that were found, `response_metadata` the run's `id` and `status`, its
    `data_sources` and `requirements_result`. AI21 reports no usage for runs.

    Raises:
        ConfigurationError: An argument is misspelt, of the wrong type or out of range. It is raised
            by the constructor and by calls, before anything is sent.
        RunFailedError: Raised by calls, when a run fails or waits for an action.
        APITimeoutError: Raised by calls, when a run takes longer than `poll_timeout_sec`.
        APIError: Raised by calls, when no usable answer came back.
    """

    models: Models = None
    """Model ids; AI21 advises to name one. Also accepted as `model`. Default: AI21 chooses."""

    agent_id: Identity | None = None
    """An agent made in AI21 Studio, which has its own models, tools, requirements and budget. Its
    runs are started by `POST /assistants/{id}/run`, which is in AI21's OpenAPI file; that they are
    looked at like all others is an assumption."""

    system_prompt: str | None = None
    """Instructions. System messages of a conversation are added to them."""

    requirements: Requirements | None = None
    """Up to 10 requirements on the answer: texts, `Requirement`s, or dicts in AI21's form."""

    tools: Tools | None = None
    """`FileSearch`, `WebSearch` (one of each at most), `HTTPTool`, `MCPTool`, or dicts in AI21's
    form. AI21 calls them, not this library."""

    budget: Budget | None = None
    """How much work may go into it: "low", AI21's default, "medium" or "high"."""

    include: Include | None = None
    """What to tell of the run: "data_sources", "requirements_result". Default: what there can be,
    sources if there are tools, and scores if there are requirements."""

    output_type: OutputType = None
    """A JSON schema, pydantic class or `TypedDict` for the answer, which is then JSON."""

    response_language: Language | None = None
    """The answer's language, in English: "french". Default: as Maestro sees fit."""

    stop: _options.Stop | None = None
    """Texts that end the answer. Maestro knows none: a text is cut when it has arrived."""

    max_tokens: _options.MaxTokens | None = None
    """Upper limit of the answer in tokens, for servers that take one. AI21 documents none."""

    poll_interval_sec: Seconds = 1.0
    """Seconds before the first look at a run. Each wait is half as long again as the one before it,
    up to 10 s."""

    poll_timeout_sec: Seconds = 300.0
    """Seconds to wait for a run's end."""

    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request's body."""

    streaming: bool = False
    """Taken for LangChain's sake: there is one chunk."""

    model_config = AI21Component.model_config
    _call_options = MaestroOptions

    if not TYPE_CHECKING:

        def bind(self, **kwargs: Any) -> Any:
            """Set options. Headers of tools are hidden from whoever prints the result."""
            return super().bind(**_checked(kwargs))

    # --- What LangChain asks about the model -------------------------------------------------

    @property
    def _llm_type(self) -> str:
        return "ai21-maestro"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = MaestroOptions.__annotations__.keys() - TRANSPORT - {"stream"} | {"base_url"}
        named = {name: getattr(self, name) for name in sorted(names)}
        return _shown({name: value for name, value in named.items() if value not in (None, {})})

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """Say what is dumped in another form: tools without headers, and requirements, as dicts."""
        parts = {"tools": self.tools, "requirements": self.requirements}
        return {**super().lc_attributes, **_shown({k: v for k, v in parts.items() if v})}

    def _get_invocation_params(
        self, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        return super()._get_invocation_params(stop=stop, **_traced(TRANSPORT, kwargs))

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        # Computed once and kept, it would not follow a setting that was changed since.
        self.__dict__.pop("_serialized", None)
        return super()._get_llm_string(stop=stop, **_traced(TRANSPORT - {"base_url"}, kwargs))

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        models = kwargs.get("model") or kwargs.get("models") or self.models or [UNNAMED]
        name = models[0] if isinstance(models, list) else str(models)
        params = LangSmithParams(ls_provider=PROVIDER, ls_model_name=name, ls_model_type="chat")
        if stops := stop or self.stop:
            params["ls_stop"] = [stops] if isinstance(stops, str) else stops
        return params

    def _resolve_model_profile(self) -> ModelProfile:
        return ModelProfile(
            text_inputs=True,
            text_outputs=True,
            tool_calling=False,
            tool_choice=False,
            structured_output=True,
            temperature=False,
        )

    # --- Calls -------------------------------------------------------------------------------

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        asked = self._for_call(kwargs if stop is None else {**kwargs, "stop": stop})
        client = client_for(asked)
        begun = run(client, start(messages, asked))
        return _result(run(impatient(client), finish(str(begun["id"]), asked, begun)))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        asked = self._for_call(kwargs if stop is None else {**kwargs, "stop": stop})
        client = client_for(asked)
        begun = await arun(client, start(messages, asked))
        return _result(await arun(impatient(client), finish(str(begun["id"]), asked, begun)))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        chunk = _whole(self._generate(messages, stop, **kwargs))
        if run_manager:
            run_manager.on_llm_new_token(chunk.text, chunk=chunk)
        yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        chunk = _whole(await self._agenerate(messages, stop, **kwargs))
        if run_manager:
            await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
        yield chunk

    def resume(self, run_id: str, **options: Any) -> AIMessage:
        """Wait for the end of a run that was started before, and return its answer.

        Args:
            run_id: The run's id, as errors and messages have it. The run itself is not changed.
            **options: Options of the call, such as `poll_timeout_sec`.

        Raises:
            APIError: As with `invoke`: the run has failed, or takes longer still.

        Example:
            >>> from ai21_chains.errors import APITimeoutError
            >>> model = ChatMaestro(budget="high")
            >>> try:  # doctest: +SKIP
            ...     message = model.invoke("Compare the three offers.")
            ... except APITimeoutError as late:
            ...     message = model.resume(late.run_id, poll_timeout_sec=1800)
        """
        asked = self._for_call(options)
        return run(impatient(client_for(asked)), finish(run_id, asked))

    async def aresume(self, run_id: str, **options: Any) -> AIMessage:
        """Async form of `resume`."""
        asked = self._for_call(options)
        return await arun(impatient(client_for(asked)), finish(run_id, asked))

    def _for_call(self, given: Mapping[str, Any]) -> MaestroOptions:
        return cast(MaestroOptions, self._asked(given))

    # --- Tools and schemas -------------------------------------------------------------------

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool | BaseModel],
        *,
        tool_choice: dict[str, Any] | str | bool | None = None,
        response_format: Any = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let Maestro use tools. It runs them itself: there are no functions of the caller's.

        Args:
            tools: As the constructor's `tools`.
            tool_choice: None or "auto": Maestro chooses.
            response_format: A schema for the answer, as the constructor's `output_type`.
            **kwargs: Further options of the call.

        Raises:
            ConfigurationError: Something is no tool of Maestro's, or a choice is made for it.
        """
        if tool_choice not in (None, False, "auto"):
            raise ConfigurationError(f"tool_choice is {tool_choice!r}; Maestro chooses its tools")
        given = {"tools": list(tools) or None, "output_type": response_format}
        return self.bind(**{k: v for k, v in given.items() if v is not None}, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Literal["function_calling", "json_mode", "json_schema"] = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Make Maestro answer in the form of a schema, which is sent as `output_type`.

        Args:
            schema: A pydantic class (the result is an object of it), or a `TypedDict`, a JSON
                schema with a `title`, or a function in OpenAI's form (the result is a dict). It may
                be left out with "json_mode".
            method: For LangChain's sake: Maestro has this one way. With "json_mode" and no schema
                the answer is any JSON object.
            include_raw: Return `{"raw", "parsed", "parsing_error"}` instead of raising.
            strict: For LangChain's sake: Maestro is always held to the schema.
            **kwargs: Further options of the call.

        Raises:
            ConfigurationError: The method is unknown, or there is no schema.
            StructuredOutputError: Raised by calls, when the answer does not fit the schema.
        """
        if method not in ("function_calling", "json_mode", "json_schema"):
            raise ConfigurationError(f"with_structured_output: there is no method {method!r}")
        if schema is None and method != "json_mode":
            raise ConfigurationError(f"with_structured_output: {method} needs a schema")
        wanted = {"type": "object"} if schema is None else json_schema(schema, "schema")
        parser = StructuredOutputParser(
            target=schema if isinstance(schema, type) else None,
            required=tuple(wanted.get("required", ())),
        )
        shown = {"kwargs": {"method": method, "strict": strict}, "schema": wanted}
        model = self.bind(output_type=wanted, ls_structured_output_format=shown, **kwargs)
        return parser.beside(model) if include_raw else model | parser


def _result(message: AIMessage) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=message)])


def _whole(result: ChatResult) -> ChatGenerationChunk:
    message = result.generations[0].message
    said = message.model_dump(include={"content", "additional_kwargs", "response_metadata", "id"})
    usage = cast(AIMessage, message).usage_metadata
    chunk = AIMessageChunk(**said, usage_metadata=usage, chunk_position="last")
    return ChatGenerationChunk(message=chunk)


def _checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with their tools as objects, which show no headers."""
    if not options.get("tools"):
        return dict(options)
    named = {"tools": options["tools"]}
    return {**options, **_options.check_call(named, ChatMaestro.__name__, MaestroOptions)}


def _shown(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with their tools and requirements as dicts that hold no headers."""
    return {
        name: [one if isinstance(one, str) else one.shown() for one in value]
        if name in ("tools", "requirements") and value
        else value
        for name, value in options.items()
    }


def _traced(hidden: frozenset[str], options: Mapping[str, Any]) -> dict[str, Any]:
    kept = without(_checked(options), hidden)
    tools = kept.get("tools")
    return {**kept, **(_shown({"tools": tools}) if tools else {})}
