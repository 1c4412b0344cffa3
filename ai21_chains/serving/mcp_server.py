"""The chains as tools for any MCP client: answers, checks and summaries with verified quotes.

Written for both major versions of the official package, which name their server differently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from pydantic import Field, ValidationError

from ai21_chains.answers import GroundedAnswer
from ai21_chains.chains._input import problems, read_document
from ai21_chains.chains.grounded_qa import create_grounded_qa_chain
from ai21_chains.chains.grounding_check import GroundingReport, create_grounding_check_chain
from ai21_chains.chains.summarize import Summary, create_summarize_chain
from ai21_chains.errors import AI21Error, ConfigurationError, MissingExtraError

__all__ = ["create_mcp_server"]

_INSTRUCTIONS = "Tools that answer from documents. Every quote in a result stands in its document."

# (module, server, module of its errors): mcp 2, then mcp 1.
_SERVERS = (
    ("mcp.server.mcpserver", "MCPServer", "mcp.server.mcpserver.exceptions"),
    ("mcp.server.fastmcp", "FastMCP", "mcp.server.fastmcp.exceptions"),
)


class DocumentAnswer(GroundedAnswer):
    """An answer from documents, without the documents themselves."""

    documents: list[Document] = Field(default_factory=list, exclude=True)


class AnswerCheck(GroundingReport):
    """A check of an answer, without the documents themselves."""

    documents: list[Document] = Field(default_factory=list, exclude=True)


def create_mcp_server(model: BaseChatModel, documents: Sequence[Document | str] = ()) -> Any:
    """Make an MCP server with the tools `ask_documents`, `check_grounding` and `summarize`.

    Results are structured: the fields of `GroundedAnswer`, `GroundingReport` and `Summary`, whose
    quotes have their document, page and offsets. The documents themselves are left out. A failure
    is an MCP tool error of one line. Clients cannot name files other than the documents' own.

    Args:
        model: Any chat model.
        documents: What the tools work on when a call brings no documents of its own: a list of
            `Document`, dicts of the same form, or texts.

    Returns:
        The official package's server: `FastMCP` of mcp 1, or `MCPServer` of mcp 2. `run()` serves
        over stdin and stdout.

    Raises:
        ConfigurationError: An argument is of the wrong type; it is named.
        MissingExtraError: `ai21-chains[mcp]` is not installed.

    Example:
        >>> import asyncio
        >>> from ai21_chains import ChatAI21
        >>> from ai21_chains.serving.mcp_server import create_mcp_server
        >>> server = create_mcp_server(ChatAI21(api_key="any"))
        >>> [tool.name for tool in asyncio.run(server.list_tools())]
        ['ask_documents', 'check_grounding', 'summarize']
    """
    tools = _Tools(_model(model), _documents(documents))
    base, tool_error = _official()

    async def call_tool(self: Any, name: str, *arguments: Any, **options: Any) -> Any:
        try:
            return await base.call_tool(self, name, *arguments, **options)
        except tool_error as error:
            raise tool_error(f"{name}: {_reason(error)}") from error

    server = type("Server", (base,), {"call_tool": call_tool})(
        "ai21-chains", instructions=_INSTRUCTIONS, log_level="ERROR"
    )
    read_only = import_module("mcp.types").ToolAnnotations.model_validate({"readOnlyHint": True})
    for tool in (tools.ask_documents, tools.check_grounding, tools.summarize):
        server.add_tool(tool, annotations=read_only, structured_output=True)
    return server


def _model(given: Any) -> BaseChatModel:
    # A chat model with options or fallbacks is a runnable of another class.
    if not isinstance(given, Runnable):
        raise ConfigurationError(f"model must be a chat model, got {type(given).__name__}")
    return cast(BaseChatModel, given)


def _documents(given: Any) -> list[Document]:
    if isinstance(given, str | Mapping | Document) or not isinstance(given, Iterable):
        raise ConfigurationError(
            f"documents must be a list of Document or texts, got {type(given).__name__}"
        )
    read = []
    for number, document in enumerate(given):
        try:
            read.append(read_document(document))
        except ValueError as error:
            raise ConfigurationError(f"documents[{number}]: {error}") from None
    return read


def _official() -> tuple[Any, Any]:
    for module, name, errors in _SERVERS:
        try:
            return getattr(import_module(module), name), import_module(errors).ToolError
        except ModuleNotFoundError:
            continue
    raise MissingExtraError('The MCP server needs mcp: pip install "ai21-chains[mcp]"')


def _reason(error: Exception) -> str:
    """Say in one line why a tool failed."""
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        return "; ".join(problems(cause))
    return " ".join(str(cause if isinstance(cause, AI21Error | OSError) else error).split())


@dataclass(frozen=True)
class _Tools:
    model: BaseChatModel
    documents: Sequence[Document]

    async def ask_documents(
        self, question: str, documents: list[str] | None = None
    ) -> DocumentAnswer:
        """Answer a question from documents, with quotes that were looked up in them.

        Args:
            question: What you want to know.
            documents: Texts to answer from; left out, the server's own documents.
        """
        chain = create_grounded_qa_chain(self.model)
        asked = {"question": question, "documents": self._chosen(documents)}
        return DocumentAnswer.model_validate(dict(await chain.ainvoke(asked)))

    async def check_grounding(self, answer: str, documents: list[str] | None = None) -> AnswerCheck:
        """Say which sentences of an answer documents prove, with the quotes that prove them.

        Args:
            answer: The answer, whoever wrote it.
            documents: Texts that should prove it; left out, the server's own documents.
        """
        chain = create_grounding_check_chain(self.model)
        given = {"answer": answer, "documents": self._chosen(documents)}
        return AnswerCheck.model_validate(dict(await chain.ainvoke(given)))

    async def summarize(self, path: str | None = None, text: str | None = None) -> Summary:
        """Summarize a text or the server's documents; key points have quotes.

        Args:
            path: One of the server's documents; with neither path nor text, all of them.
            text: A text to summarize.
        """
        if path is not None and text is not None:
            raise ConfigurationError("give either path or text, not both")
        documents = (
            self._chosen(None if text is None else [text]) if path is None else self._named(path)
        )
        return await create_summarize_chain(self.model).ainvoke(documents)

    def _chosen(self, texts: list[str] | None) -> Sequence[Document]:
        documents = self.documents if texts is None else [Document(text) for text in texts]
        if not documents:
            raise ConfigurationError(
                "there are no documents: send some, or start the server with their paths"
            )
        return documents

    def _named(self, path: str) -> Sequence[Document]:
        """Return the pages of a document; no other file is ever read."""
        sources = [str(document.metadata.get("source") or "") for document in self.documents]
        wanted = {path} & {*sources} or {s for s in sources if Path(s).name == Path(path).name}
        if len(wanted) != 1:
            known = ", ".join(dict.fromkeys(filter(None, sources))) or "none"
            raise ConfigurationError(f"no document is called {path!r}; there are: {known}")
        pairs = zip(self.documents, sources, strict=True)
        return [document for document, source in pairs if source in wanted]
