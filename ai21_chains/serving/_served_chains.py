"""The chains that a configuration asks for."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Set
from contextlib import aclosing
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable

from ai21_chains._json_schema import model_from_json_schema
from ai21_chains._wire import ChatRequest, Completion
from ai21_chains.chains.classification import create_classification_chain
from ai21_chains.chains.contextual_answers import create_contextual_answers_chain
from ai21_chains.chains.conversational_qa import create_conversational_qa_chain
from ai21_chains.chains.extraction import create_extraction_chain
from ai21_chains.chains.grounded_qa import create_grounded_qa_chain
from ai21_chains.chains.grounding_check import create_grounding_check_chain
from ai21_chains.chains.summarize import create_summarize_chain
from ai21_chains.chat_models import ChatAI21
from ai21_chains.client import ChatClient
from ai21_chains.documents import load_documents, split_documents
from ai21_chains.errors import AI21Error, ConfigurationError
from ai21_chains.retrievers import BM25Retriever
from ai21_chains.serving import _asking
from ai21_chains.serving.config import ChainConfig, ServerConfig

__all__ = ["chat_model_for", "served_chains"]

_FACTORIES: Mapping[str, Callable[..., Runnable[Any, Any]]] = {
    "grounded_qa": create_grounded_qa_chain,
    "conversational_qa": create_conversational_qa_chain,
    "contextual_answers": create_contextual_answers_chain,
    "extraction": create_extraction_chain,
    "grounding_check": create_grounding_check_chain,
    "summarize": create_summarize_chain,
    "classification": create_classification_chain,
}

_NOT_OPTIONS = {"model", "retriever", "condense", "output"}
"""Arguments of factories that are none of a configuration's business, or have a place of their own:
clients could tell a plain dict from a `GroundedAnswer` by nothing but missing fields."""


def served_chains(config: ServerConfig) -> dict[str, Runnable[Any, Any]]:
    """Make the chains of a configuration.

    A chain with `documents` answers from what BM25 finds in that folder, which is read and indexed
    here, once. `options` are the arguments of the chain's factory; the `schema` of an extraction is
    a JSON Schema.

    Args:
        config: The configuration.

    Returns:
        The chains by name.

    Raises:
        ConfigurationError: A chain cannot be made as it is configured; one line names it.
        DocumentError: A document cannot be read.
        MissingExtraError: A folder needs an extra that is not installed.

    Example:
        >>> from ai21_chains import Emulator
        >>> from ai21_chains.serving import ChainConfig, Deployment, ServerConfig
        >>> config = ServerConfig(
        ...     deployments=[Deployment(name="mini", model="jamba-mini")],
        ...     chains=[ChainConfig(name="check", kind="grounding_check")],
        ...     emulator=Emulator(),
        ... )
        >>> asked = {"answer": "It opens at ten.", "documents": ["The museum opens at ten."]}
        >>> served_chains(config)["check"].invoke(asked).support
        1.0
    """
    return {chain.name: _made(chain, config) for chain in config.chains}


def chat_model_for(config: ServerConfig, model_name: str = "", **options: Any) -> ChatAI21:
    """Return a model that reaches AI21 as the server does, and reads as it is told: without chance.

    While the server answers a request it takes all deployments of its name, and their fallbacks,
    as a plain model does, and what it uses is on the account of that request. Called otherwise it
    takes the first deployment.

    Args:
        config: The configuration.
        model_name: What the server calls the model; "" for its first one.
        **options: Further options of `ChatAI21`.

    Raises:
        ConfigurationError: There is no such model.
    """
    named = (one for one in config.deployments if model_name in ("", one.name))
    deployment = next(named, None)
    if deployment is None:
        known = ", ".join(config.models) or "none"
        raise ConfigurationError(f"no model is called {model_name!r}; there are {known}")
    return _ServedModel(
        served_as=deployment.name,
        model=deployment.model,
        api_key=config.api_key(deployment),
        base_url=deployment.base_url,
        timeout=deployment.timeout,
        max_retries=deployment.max_retries,
        http_client=config.http_client,
        http_async_client=config.http_async_client,
        **{"temperature": 0, **options},
    )


class _ServedModel(ChatAI21):
    """A model by the name that the server has for it."""

    served_as: str

    def _call(
        self, messages: list[BaseMessage], stop: list[str] | None, options: Mapping[str, Any]
    ) -> Any:
        call = super()._call(messages, stop, options)
        return call._replace(client=_ServedClient(self.served_as, call.client))


@dataclass(frozen=True)
class _ServedClient:
    """Sends chat requests the way of the server's own, for the request that it answers."""

    name: str
    direct: ChatClient

    def complete(self, body: ChatRequest) -> Completion:
        """Send a request and return the whole answer."""
        return self.direct.complete(body)

    async def acomplete(self, body: ChatRequest) -> Completion:
        """Async form of `complete`."""
        visit = _asking.current.get()
        if visit is None:
            return await self.direct.acomplete(body)
        return await _asking.complete(visit, self.name, body)

    def stream(self, body: ChatRequest) -> Generator[Completion, None, None]:
        """Send a request and yield the events of the answer as they arrive."""
        return self.direct.stream(body)

    async def astream(self, body: ChatRequest) -> AsyncGenerator[Completion, None]:
        """Async form of `stream`."""
        visit = _asking.current.get()
        asked = (
            self.direct.astream(body) if visit is None else _asking.stream(visit, self.name, body)
        )
        async with aclosing(asked) as events:
            async for event in events:
                yield event


def _made(chain: ChainConfig, config: ServerConfig) -> Runnable[Any, Any]:
    try:
        factory = _FACTORIES[chain.kind]
        options = _options(chain, factory)
        if chain.documents is not None:
            options["retriever"] = _retriever(chain.documents, factory)
        return factory(chat_model_for(config, chain.model), **options)
    except AI21Error as error:
        error.args = (f"chain {chain.name!r}: {error}", *error.args[1:])
        raise


def _options(chain: ChainConfig, factory: Callable[..., Any]) -> dict[str, Any]:
    known = inspect.signature(factory).parameters
    allowed = known.keys() - _NOT_OPTIONS
    _refuse_unknown(chain.options, allowed)
    needed = {name for name, one in known.items() if one.default is one.empty}
    if lacking := sorted(needed & allowed - chain.options.keys()):
        raise ConfigurationError(f"options: {lacking[0]} is missing")
    if "retriever" in needed and chain.documents is None:
        raise ConfigurationError("documents is missing: a folder to answer from")
    options = dict(chain.options)
    if "schema" in options:
        options["schema"] = _schema(options["schema"], chain.name)
    return options


def _refuse_unknown(given: Iterable[str], allowed: Set[str]) -> None:
    for name in given:
        if name not in allowed:
            near = get_close_matches(name, allowed, n=1)
            known_ones = ", ".join(sorted(allowed)) or "none"
            hint = f"did you mean {near[0]}?" if near else f"there are {known_ones}"
            raise ConfigurationError(f"options: {name} is unknown; {hint}")


def _schema(given: Any, name: str) -> Any:
    if not isinstance(given, Mapping):
        raise ConfigurationError("options: schema must be a JSON Schema")
    try:
        return model_from_json_schema(given, name)
    except Exception as error:  # pydantic has many words for a schema that makes no model
        raise ConfigurationError(f"options: schema: {' '.join(str(error).split())}") from None


def _retriever(folder: Path, factory: Callable[..., Any]) -> BM25Retriever:
    if "retriever" not in inspect.signature(factory).parameters:
        raise ConfigurationError("documents: such a chain gets them with each request")
    documents = split_documents(load_documents(folder))
    return _Searched.from_documents(documents, name=BM25Retriever.__name__)


class _Searched(BM25Retriever):
    """Searches in a thread: clients decide how long a query is, and others need not wait for it."""

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        found = await asyncio.to_thread(self.search, query, k)
        return [document for document, _ in found]
