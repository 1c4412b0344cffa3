"""A chain asked as if it were a model: with the messages of an OpenAI client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Container, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import reduce
from typing import Any, cast

from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import BaseModel

from ai21_chains.answers import GroundedAnswer
from ai21_chains.chains.summarize import Summary
from ai21_chains.serving._refusals import Refused

__all__ = ["ChainAnswer", "answer_chat", "stream_chat"]

_TEXTS = ("question", "answer", "document", "text", "documents")
"""Where the last message goes: the first of these fields that a chain has."""

_SHOWN = ("answer", "text")
"""The field of a result that is the text to show, and streams. Other results are shown as JSON."""


@dataclass(frozen=True)
class ChainAnswer:
    """What a chain answered.

    Attributes:
        text: The answer as text; JSON, if the chain's result is not one.
        result: The chain's result.
        usage: Tokens of all calls to the model, where it reports them.
        finish_reason: OpenAI's: "stop", or "length" when a reply of the model's was cut off.
    """

    text: str
    result: Any
    usage: UsageMetadata | None
    finish_reason: str


async def answer_chat(chain: Runnable[Any, Any], request: Mapping[str, Any]) -> ChainAnswer:
    """Ask a chain.

    The last user turn is what is asked, or what is to be checked, summarized, read or labelled. The
    turns before are the conversation, for a chain that has one. Instructions are not read: a chain
    has its own. `documents` in the request are what it answers from.

    Args:
        chain: A ready-made chain.
        request: The body of OpenAI's request: `messages` and, as AI21 has it, `documents`.

    Raises:
        Refused: The request does not fit the chain. Nothing was sent.
        AI21Error: As the chain itself raises.
    """
    counted = _Counted(chain)
    return counted.answer(await chain.ainvoke(chain_input(chain, request), counted.config))


async def stream_chat(
    chain: Runnable[Any, Any], request: Mapping[str, Any]
) -> AsyncGenerator[str | ChainAnswer]:
    """Ask a chain and yield pieces of text as they come, and the whole answer as the last item.

    Args:
        chain: A ready-made chain.
        request: See `answer_chat`.

    Raises:
        Refused: The request does not fit the chain. Nothing was sent.
        AI21Error: As the chain itself raises.
    """
    total: Any = None
    shown = ""
    counted = _Counted(chain)
    asked = chain_input(chain, request)
    pieces = cast(AsyncGenerator[Any], chain.astream(asked, counted.config))
    async with aclosing(pieces):
        async for piece in pieces:
            total = piece if total is None else total + piece
            if delta := _delta(piece):
                shown += delta
                yield delta
    answer = counted.answer(_result(chain, total))
    if rest := answer.text.removeprefix(shown):
        yield rest
    yield answer


def chain_input(chain: Runnable[Any, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to call a chain with.

    Raises:
        Refused: The request does not fit the chain.
    """
    before, text = _asked(request)
    fields = cast(type[BaseModel], chain.get_input_schema()).model_fields
    given = _sources(request, fields)
    asked = next(name for name in _TEXTS if name in fields)
    given.setdefault(asked, [text] if asked == "documents" else text)
    if "chat_history" in fields:
        given["chat_history"] = before
    if any(field.is_required() and name not in given for name, field in fields.items()):
        raise _refused("documents", "this chain needs some: send them beside the messages")
    return given


def _asked(request: Mapping[str, Any]) -> tuple[list[tuple[str, str]], str]:
    """Return the turns before the last one, and what the last one says."""
    *before, (role, text) = _turns(request.get("messages")) or [("", "")]
    if role != "user" or not text.strip():
        raise _refused("messages", "the last one must be a user's, with text in it")
    return before, text


def _sources(request: Mapping[str, Any], fields: Container[str]) -> dict[str, Any]:
    """Return the documents of a request under the name that a chain has for them."""
    if not (documents := _documents(request)):
        return {}
    for name in ("documents", "context"):
        if name in fields:
            return {name: documents}
    raise _refused("documents", "this chain reads the last message and nothing else")


def _refused(param: str, problem: str) -> Refused:
    return Refused(f"{param}: {problem}", status=400, param=param)


def _turns(messages: object) -> list[tuple[str, str]]:
    """Return who said what; instructions and what belongs to tools are left out."""
    turns = []
    for number, message in enumerate(messages if isinstance(messages, Sequence) else ()):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise _refused("messages", f"[{number}] must be an object with a role and a content")
        if message["role"] in ("user", "assistant"):
            text = _text(message.get("content") or "", number)
            turns += [(message["role"], text)] if text else []
    return turns


def _text(content: object, number: int) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, Mapping) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise _refused("messages", f"[{number}] may have text only")
    return "".join(cast(list[str], texts))


def _documents(request: Mapping[str, Any]) -> list[Any]:
    documents = request.get("documents") or []
    if not isinstance(documents, list):
        raise _refused("documents", "there must be a list of them")
    for number, document in enumerate(documents):
        text = document
        if isinstance(document, Mapping):
            text = document.get("content", document.get("page_content"))
        if not isinstance(text, str):
            raise _refused("documents", f"[{number}] must be a text, or have one under content")
    return documents


def _delta(piece: Any) -> str:
    if isinstance(piece, str):
        return piece
    return "".join(piece.get(name, "") for name in _SHOWN) if isinstance(piece, Mapping) else ""


def _result(chain: Runnable[Any, Any], total: Any) -> Any:
    """Return what `invoke` would have returned for the sum of the pieces."""
    kind: Any = chain.OutputType
    if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(total, Mapping):
        return kind.model_validate(total)
    return total


class _Counted:
    """A run of a chain, with the tokens that it took.

    Most results say so themselves. A result that is text cannot; then the calls are listened to.
    """

    def __init__(self, chain: Runnable[Any, Any]) -> None:
        self._heard = UsageMetadataCallbackHandler()
        self._heard.run_inline = True  # else each token goes through a thread
        self.config = RunnableConfig(callbacks=[self._heard] if chain.OutputType is str else None)

    def answer(self, result: Any) -> ChainAnswer:
        """Return what the chain answered."""
        if isinstance(result, str):
            heard = self._heard.usage_metadata.values()
            return ChainAnswer(result, result, reduce(add_usage, heard, None), "stop")
        text = next((getattr(result, name) for name in _SHOWN if hasattr(result, name)), None)
        if text is None:
            text = result.model_dump_json(exclude={"usage"}, by_alias=True)
        finish_reason = "length" if _is_cut(result) else "stop"
        return ChainAnswer(text, result, getattr(result, "usage", None), finish_reason)


def _is_cut(result: Any) -> bool:
    match result:
        case GroundedAnswer(status="truncated") | Summary(status="partly"):
            return True
        case _:
            return False
