"""What a run can be given: each builder on the wire, its ranges, and the secrets it keeps."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from ai21_chains._maestro_tools import as_requirements, as_tools
from ai21_chains.errors import ConfigurationError
from ai21_chains.maestro import (
    ChatMaestro,
    FileSearch,
    HTTPTool,
    MCPTool,
    Requirement,
    WebSearch,
)
from tests.cases import each

SECRET = "Bearer very-secret"
PARAMETERS = {"properties": {"id": {"type": "string", "description": "Its number."}}}
SCHEMA = {"type": "object", "required": [], "additionalProperties": False, **PARAMETERS}
HTTP = {
    "name": "get_order",
    "description": "Looks an order up.",
    "parameters": PARAMETERS,
    "url": "https://shop.example.com/orders",
}

WIRES = [
    pytest.param(FileSearch(), {"type": "file_search"}, id="file_search-bare"),
    pytest.param(
        FileSearch(
            labels=["a"],
            labels_filter_mode="OR",
            file_ids=["f1"],
            path="hr/",
            retrieval_strategy="add_neighbors",
            max_neighbors=0,
            retrieval_similarity_threshold=0.8,
            hybrid_search_alpha=0,
            use_two_step_embedders=False,
            response_language="french",
        ),
        {
            "type": "file_search",
            "labels": ["a"],
            "labels_filter_mode": "OR",
            "file_ids": ["f1"],
            "path": "hr/",
            "retrieval_strategy": "add_neighbors",
            "max_neighbors": 0,
            "retrieval_similarity_threshold": 0.8,
            "hybrid_search_alpha": 0,
            "use_two_step_embedders": False,
            "response_language": "french",
        },
        id="file_search",
    ),
    pytest.param(
        WebSearch(urls=["ai21.com"], rephrase_query=True),
        {"type": "web_search", "urls": ["ai21.com"], "rephrase_query": True},
        id="web_search",
    ),
    pytest.param(
        MCPTool(server_url="https://m.example.com", headers={"A": SECRET}, allowed_tools=["x"]),
        {
            "type": "mcp",
            "server_url": "https://m.example.com",
            "headers": {"A": SECRET},
            "allowed_tools": ["x"],
        },
        id="mcp",
    ),
    pytest.param(MCPTool(mcp_id="m1"), {"type": "mcp", "mcp_id": "m1"}, id="mcp-kept"),
    pytest.param(
        HTTPTool(**HTTP, headers={"A": SECRET}),
        {
            "type": "http",
            "function": {
                "name": "get_order",
                "description": "Looks an order up.",
                "parameters": SCHEMA,
            },
            "endpoint": {"url": "https://shop.example.com/orders", "headers": {"A": SECRET}},
        },
        id="http",
    ),
]


@each(("tool", "wire"), WIRES)
def test_a_tool_has_this_form_on_the_wire(tool, wire):
    assert json.loads(json.dumps(tool.to_wire())) == wire


@each(("tool", "wire"), WIRES)
def test_the_wires_form_is_read(tool, wire):
    assert [one.to_wire() for one in as_tools([wire])] == [wire]


@each(("tool", "wire"), WIRES)
def test_a_tool_without_its_headers_can_be_kept_and_read_again(tool, wire):
    (again,) = as_tools([tool.shown()])

    assert again.shown() == tool.shown()
    assert type(again) is type(tool)


@each(("tool", "wire"), WIRES)
def test_copies_are_the_same(tool, wire):
    for copied in (copy.deepcopy(tool), pickle.loads(pickle.dumps(tool)), tool.model_copy()):
        assert copied.to_wire() == wire


@each(("tool", "wire"), WIRES[-3:])
def test_headers_are_shown_nowhere(tool, wire):
    shown = (repr(tool), str(tool), str(tool.shown()), tool.model_dump_json(), str(dict(tool)))

    assert not any(SECRET in text for text in shown)


REFUSED: list[tuple[str, Any, str]] = [
    ("text", "file_search", "should be a list"),
    ("dict", {"type": "file_search"}, "should be a list"),
    ("function", [print], "should hold FileSearch, WebSearch, HTTPTool or MCPTool"),
    ("openai", [{"type": "function"}], "Functions of your own go to ChatAI21.bind_tools"),
    ("no-type", [{}], "should hold FileSearch"),
    ("two-files", [FileSearch(), FileSearch()], "should have one file_search at most"),
    ("two-webs", [WebSearch(), {"type": "web_search"}], "should have one web_search at most"),
    ("unknown", [{"type": "web_search", "url": "x"}], "WebSearch: unknown argument 'url'; it has"),
    ("urls", [{"type": "web_search", "urls": "x"}], "WebSearch: urls should be a valid list"),
    ("neighbors", [{"type": "file_search", "max_neighbors": -1}], "max_neighbors should be greate"),
    ("alpha", [{"type": "file_search", "hybrid_search_alpha": 2}], "should be less than or equal"),
    ("mode", [{"type": "file_search", "labels_filter_mode": "X"}], "should be 'AND' or 'OR'"),
    ("nowhere", [{"type": "mcp"}], "MCPTool: needs server_url or mcp_id"),
    ("url", [{"type": "mcp", "server_url": "example.com"}], "server_url should match"),
    ("headers", [{"type": "mcp", "mcp_id": "m", "headers": SECRET}], "MCPTool: headers should be"),
    ("http", [{"type": "http", "function": {"name": "x"}}], "HTTPTool: description required"),
    ("schema", [HTTP | {"type": "http", "parameters": {"properties": 1}}], "schema of an object"),
]


@each(("tools", "words"), [pytest.param(tools, words, id=name) for name, tools, words in REFUSED])
def test_what_is_no_tool_of_maestros_is_refused(tools, words):
    with pytest.raises(ConfigurationError, match=f"^ChatMaestro: tools .*{words}") as caught:
        ChatMaestro(tools=tools)
    assert SECRET not in str(caught.value)


def test_a_builder_refuses_what_it_does_not_know():
    with pytest.raises(ConfigurationError, match="FileSearch: unknown argument 'label'; it has"):
        FileSearch(label="x")  # type: ignore[call-arg]


# --- Requirements ----------------------------------------------------------------------------


def test_requirements_are_texts_objects_or_dicts():
    given = ["Be brief.", Requirement(name="tone", description="Be kind.", is_mandatory=True)]

    assert [one.to_wire() for one in as_requirements([*given, given[1].to_wire()])] == [
        {"name": "requirement 1", "description": "Be brief.", "is_mandatory": False},
        {"name": "tone", "description": "Be kind.", "is_mandatory": True},
        {"name": "tone", "description": "Be kind.", "is_mandatory": True},
    ]


@each(
    ("requirements", "words"),
    [
        pytest.param("Be brief.", "should be a list", id="one-text"),
        pytest.param([""], "Requirement: description should have at least 1", id="empty"),
        pytest.param(["x"] * 11, "has 11 items; Maestro takes 10", id="eleven"),
        pytest.param(["w " * 129], "has 129 words; Maestro takes 128 at most", id="long"),
        pytest.param([{"name": "x"}], "Requirement: description required", id="incomplete"),
        pytest.param([3], "should hold texts, Requirements or dicts", id="number"),
    ],
)
def test_what_is_no_requirement_is_refused(requirements, words):
    with pytest.raises(ConfigurationError, match=words):
        as_requirements(requirements)


def test_the_most_there_can_be_is_accepted():
    assert len(as_requirements(["w " * 128] * 10)) == 10
