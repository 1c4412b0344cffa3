"""Chains on LangServe, with what it leaves open closed.

LangServe is archived. What it cannot do (tell an overloaded model from a broken server while it
streams, end an `invoke` that nobody waits for) `chain_routes` does, and `RemoteRunnable` calls
either.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, cast

from langchain_core.runnables import Runnable, RunnableBinding
from langchain_core.tracers import RunLogPatch
from pydantic import BaseModel, GetJsonSchemaHandler, ValidationError, create_model
from pydantic_core import CoreSchema
from starlette.exceptions import HTTPException

from ai21_chains._extras import import_extra
from ai21_chains.answers import GroundedAnswer, place
from ai21_chains.errors import AI21Error
from ai21_chains.serving._langserve_wire import Unprocessable, dump_line, noted, problems

if TYPE_CHECKING:
    from fastapi import APIRouter, FastAPI

__all__ = ["add_ai21_routes"]

_ENDPOINTS = ("invoke", "batch", "stream", "input_schema", "output_schema")
_PLAYGROUND = ("playground", "stream_log")
"""The page calls the second; it sends prompts and what the chain did on its way."""


def add_ai21_routes(
    app: FastAPI | APIRouter,
    runnable: Runnable[Any, Any],
    *,
    path: str = "",
    playground: bool = False,
    dependencies: Sequence[Any] = (),
    **options: Any,
) -> None:
    """Serve a chain with LangServe: `langserve.add_routes` with safe defaults.

    Served are `invoke`, `batch`, `stream`, `input_schema` and `output_schema` below `path`, and
    nothing of the `config` that clients send is used: no configurable fields, no feedback, no links
    to traces. Input that does not fit is answered 422 also in a batch, and an error of AI21's with
    its own status (429 with `Retry-After`, 502, 504), except in a stream, where LangServe says 500.

    Args:
        app: A FastAPI application or router.
        runnable: The chain.
        path: Where it is served, such as "/qa". Each chain of an application has its own.
        playground: Whether `path/playground/` serves LangServe's page to try the chain on. It shows
            intermediate results, so keep it from strangers. Its form asks for documents as text,
            though the routes take all that the chain takes, and a grounded answer is shown as text
            with its quotes below.
        dependencies: FastAPI's dependencies of all these routes, such as one that asks for a key.
        **options: Further arguments of `langserve.add_routes`, or others than the defaults above.

    Raises:
        MissingExtraError: LangServe is not installed.

    Example:
        >>> from ai21_chains import ChatAI21, create_grounded_qa_chain
        >>> from ai21_chains.serving import add_ai21_routes
        >>> from fastapi import FastAPI
        >>> app = FastAPI()
        >>> add_ai21_routes(app, create_grounded_qa_chain(ChatAI21()), path="/qa")
        >>> "/qa/invoke" in app.openapi()["paths"]
        True
    """
    langserve, fastapi, events = (
        import_extra(name, "add_ai21_routes", "langserve")
        for name in ("langserve", "fastapi", "sse_starlette.sse")
    )
    # Its own event belongs to the first event loop that streams, and fails in the second.
    events.AppStatus.should_exit_event = _NoExit()
    form = cast(type[BaseModel], runnable.get_input_schema())
    if playground:
        kind = _AsText if runnable.OutputType is GroundedAnswer else RunnableBinding
        runnable = kind(bound=runnable, custom_input_type=_as_page_form(form))
    serializer = langserve.serialization.WellKnownLCSerializer()
    serializer.dumps = dump_line
    defaults = {
        "enabled_endpoints": _ENDPOINTS + (_PLAYGROUND if playground else ()),
        "config_keys": (),
        "enable_feedback_endpoint": False,
        "enable_public_trace_link_endpoint": False,
        "serializer": serializer,
    }
    translated = [fastapi.Depends(_translating(form.__name__)), *dependencies]
    langserve.add_routes(app, runnable, path=path, dependencies=translated, **defaults | options)


class _NoExit:
    """Tells streams never to stop: they end with their chain, also while the server shuts down."""

    def set(self) -> None:
        """Do nothing."""

    async def wait(self) -> None:
        """Wait for ever."""
        await asyncio.Event().wait()


def _translating(form: str) -> Callable[[], AsyncIterator[None]]:
    """Return a dependency that gives an error the status of its cause; LangServe says 500 to all.

    Args:
        form: Name of the chain's input type. LangServe checks the inputs of a batch too late.
    """

    async def translated() -> AsyncIterator[None]:
        try:
            yield
        except (AI21Error, ValidationError) as error:
            cause: Exception = error
            if isinstance(error, ValidationError):
                if error.title != form:
                    raise
                cause = Unprocessable(problems(error, ("body",)))
            said = noted(cause)
            raise HTTPException(said.status, cast(str, said.detail), said.headers) from error

    return translated


class _AsText(RunnableBinding[Any, Any]):
    """A grounded QA chain whose log, which LangServe's page shows piece by piece, can be read."""

    async def astream_log(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        log = cast(AsyncGenerator[RunLogPatch], super().astream_log(*args, **kwargs))
        async with aclosing(log):
            async for patch in log:
                yield RunLogPatch(*map(_readable, patch.ops))


def _readable(change: dict[str, Any]) -> dict[str, Any]:
    if change["path"] != "/streamed_output/-":
        return change
    piece = change["value"]
    quotes = [f"\n\n[{one.id}] “{one.quote}” ({place(one)})" for one in piece.get("citations", ())]
    return {**change, "value": piece.get("answer", "") + "".join(quotes)}


class _PageForm(BaseModel):
    shown: ClassVar[dict[str, Any]]

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return dict(cls.shown)


def _as_page_form(form: type[BaseModel]) -> type[BaseModel]:
    """Return an input type that takes the same, and is described as a page can ask for it."""
    described = form.model_json_schema()
    fields = {name: _simple(of) for name, of in described.get("properties", {}).items()}
    page_form: Any = create_model(form.__name__, __base__=(_PageForm, form))
    page_form.shown = {key: described[key] for key in described if key != "$defs"} | {
        "properties": {name: of for name, of in fields.items() if of}
    }
    return cast(type[BaseModel], page_form)


def _simple(value: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the form of a value that is easiest to type in, or None if none is easy."""
    for form in value.get("anyOf", [value]):
        kind = form.get("type")
        if kind in ("string", "number", "integer", "boolean"):
            return {"title": value.get("title", ""), **form}
        if kind == "array" and (items := _simple(form.get("items", {}))):
            return {"title": value.get("title", ""), "type": "array", "items": items}
    return None
