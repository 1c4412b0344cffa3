"""What `create_mcp_server` refuses; what its tools do is tested with the agents."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document

from ai21_chains import ChatAI21
from ai21_chains.errors import ConfigurationError
from ai21_chains.serving import create_mcp_server

MODEL = ChatAI21(api_key="any")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("jamba-mini",), "model must be a chat model, got str"),
        ((MODEL, "text"), "documents must be a list of Document or texts, got str"),
        ((MODEL, Document("text")), "documents must be a list of Document or texts, got Document"),
        ((MODEL, None), "documents must be a list of Document or texts, got NoneType"),
        ((MODEL, ["text", 5]), "documents[1]: a document must be a Document, a string or a dict"),
        ((MODEL, [{"text": ""}]), "documents[0]: a document needs text under 'page_content'"),
    ],
    ids=["model", "text", "document", "none", "number", "dict"],
)
def test_an_argument_of_the_wrong_type_is_named(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        create_mcp_server(*arguments)
    assert str(raised.value) == said
