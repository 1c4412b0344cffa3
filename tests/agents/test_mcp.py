"""MCP both ways: an agent with a server's tools, and the chains as tools of our own server."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_mcp_adapters.tools import load_mcp_tools
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.shared.memory import create_connected_server_and_client_session
from mcp.types import CallToolResult

from ai21_chains import ChatAI21, Emulator, load_documents
from ai21_chains.emulator import Fault, Reply, ToolCall
from ai21_chains.errors import MissingExtraError
from ai21_chains.serving.mcp_server import create_mcp_server
from tests.cases import each
from tests.servers.mcp_weather import server as weather_server

Made: TypeAlias = Callable[..., tuple[ChatAI21, Emulator]]

ROOT = Path(__file__).parents[2]
DOCUMENTS = ROOT / "examples" / "documents"
MUSEUM = ["The museum opens at ten.", "Dogs must stay outside."]


async def call(client: ClientSession, tool: str, **arguments: Any) -> Any:
    """Return a result's content, or the text of the tool's error."""
    result: CallToolResult = await client.call_tool(tool, arguments)
    return result.content[0].text if result.isError else result.structuredContent


async def test_an_agent_uses_the_tools_of_an_mcp_server(made: Made) -> None:
    calls = [
        ToolCall("get_weather", {"city": "Haifa"}),
        ToolCall("get_forecast", {"city": "Haifa", "days": 3}),
        ToolCall("get_weather", {"city": "Atlantis"}),
    ]
    model, emulator = made(Reply(tool_calls=calls), "Sunny, then 23 degrees.")
    async with create_connected_server_and_client_session(weather_server) as session:
        agent = create_agent(model, await load_mcp_tools(session))
        messages = (await agent.ainvoke({"messages": [("user", "Weather?")]}))["messages"]

    weather, forecast, failed = [one for one in messages if isinstance(one, ToolMessage)]
    assert weather.text == "Sunny in Haifa."
    assert forecast.artifact["structured_content"] == {"city": "Haifa", "degrees": 23}
    assert (failed.status, "no such city" in failed.text) == ("error", True)
    assert messages[-1].text == "Sunny, then 23 degrees."
    sent = emulator.requests[1].json["messages"]
    assert next(one["content"] for one in sent if one["role"] == "tool") == "Sunny in Haifa."
    names = [tool["function"]["name"] for tool in emulator.requests[0].json["tools"]]
    assert names == ["get_weather", "get_forecast"]


async def test_the_command_serves_an_mcp_client_and_writes_nothing_but_protocol(
    tmp_path: Path,
) -> None:
    broken: list[object] = []

    async def listen(message: object) -> None:
        if isinstance(message, Exception):  # what is no JSON-RPC
            broken.append(message)

    arguments = ["-m", "ai21_chains", "mcp", str(DOCUMENTS)]
    server = StdioServerParameters(command=sys.executable, args=arguments)
    with (tmp_path / "stderr.txt").open("w+") as said:
        async with (
            stdio_client(server, errlog=said) as (read, write),
            ClientSession(read, write, message_handler=listen) as client,
        ):
            await client.initialize()
            tools = (await client.list_tools()).tools
            answer = await call(client, "ask_documents", question="How long does descaling take?")
            failed = await call(client, "summarize", path="elsewhere.txt")
        said.seek(0)

        assert [tool.name for tool in tools] == ["ask_documents", "check_grounding", "summarize"]
        assert answer["status"] == "answered"
        citation = answer["citations"][0]
        page = next(d for d in load_documents(citation["source"]) if d.metadata["page"] == 4)
        assert page.page_content[citation["start"] : citation["end"]] == citation["quote"]
        assert failed.startswith("summarize: no document is called 'elsewhere.txt'; there are: ")
        assert broken == []
        assert said.read().startswith("No AI21_API_KEY: the embedded emulator answers")


async def test_results_are_structured_and_leave_the_documents_out(model: ChatAI21) -> None:
    server = create_mcp_server(model, load_documents(DOCUMENTS / "staff_handbook.md"))
    async with create_connected_server_and_client_session(server) as client:
        answer = await call(client, "ask_documents", question="When open?", documents=MUSEUM)
        report = await call(client, "check_grounding", answer="It opens at ten.", documents=MUSEUM)
        of_own = await call(client, "check_grounding", answer="It opens at ten.")
        summary = await call(client, "summarize", text=MUSEUM[0])
        tools = (await client.list_tools()).tools

    assert answer["citations"][0]["quote"] == MUSEUM[0]
    assert report["sentences"][0]["citations"][0]["quote"] == MUSEUM[0]
    assert of_own["sentences"][0]["citations"][0]["source"].endswith("staff_handbook.md")
    assert summary["key_points"][0]["citations"][0]["quote"] == MUSEUM[0]
    assert "documents" not in {*answer, *report}
    assert all(tool.annotations and tool.annotations.readOnlyHint for tool in tools)
    assert {tool.outputSchema["title"] for tool in tools if tool.outputSchema} == {
        "DocumentAnswer",
        "AnswerCheck",
        "Summary",
    }


async def test_a_document_is_named_by_its_path_or_file_name(model: ChatAI21) -> None:
    path = DOCUMENTS / "staff_handbook.md"
    server = create_mcp_server(model, load_documents(DOCUMENTS))
    async with create_connected_server_and_client_session(server) as client:
        by_name, by_path = [
            await call(client, "summarize", path=name) for name in (path.name, str(path))
        ]
        everything = await call(client, "summarize")

    assert by_name == by_path
    (source,) = {c["source"] for point in by_name["key_points"] for c in point["citations"]}
    assert source == str(path)
    assert everything != by_name


FAILURES: dict[str, tuple[str, dict[str, Any], str]] = {
    "nothing asked": (
        "ask_documents",
        {"question": " ", "documents": ["Text."]},
        "ask_documents: GroundedQA: question is empty",
    ),
    "no question": ("ask_documents", {}, "ask_documents: question: Field required"),
    "no documents": ("ask_documents", {"question": "x"}, "ask_documents: there are no documents"),
    "wrong type": ("check_grounding", {"answer": 1}, "check_grounding: answer: Input should be"),
    "any other file": ("summarize", {"path": "/etc/hosts"}, "summarize: no document is called"),
    "two things": ("summarize", {"path": "a", "text": "b"}, "summarize: give either path or text"),
    "no such tool": ("translate", {}, "translate: Unknown tool"),
    "refused": ("summarize", {"text": "Text."}, "summarize: 401 Unauthorized from"),
}


@each(("tool", "arguments", "message"), FAILURES.values(), ids=FAILURES)
async def test_a_failure_is_a_tool_error_of_one_line(
    made: Made, tool: str, arguments: dict[str, Any], message: str
) -> None:
    model, _ = made(faults=[Fault(status=401)])
    async with create_connected_server_and_client_session(create_mcp_server(model)) as client:
        said = await call(client, tool, **arguments)

    assert isinstance(said, str)
    assert said.startswith(message)
    assert "\n" not in said


def test_without_the_extra_its_name_is_said(
    model: ChatAI21, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("mcp.server.mcpserver", "mcp.server.fastmcp"):
        monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(MissingExtraError, match=r'pip install "ai21-chains\[mcp\]"'):
        create_mcp_server(model)
