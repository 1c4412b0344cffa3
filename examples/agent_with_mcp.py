"""An agent whose tools come from an MCP server: here our own, `ai21-chains mcp PATH`."""

import asyncio
import os
import sys
from pathlib import Path

from common import chat_model
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_mcp_adapters.tools import load_mcp_tools
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

DOCUMENTS = Path(__file__).parent / "documents"
SERVER = StdioServerParameters(
    command=sys.executable,
    args=["-m", "ai21_chains", "mcp", str(DOCUMENTS)],
    env=dict(os.environ),  # a server gets no key by itself
)


async def main() -> None:
    with Path(os.devnull).open("w") as log:  # what the server says on stderr
        async with stdio_client(SERVER, errlog=log) as streams, ClientSession(*streams) as session:
            await session.initialize()
            agent = create_agent(chat_model(), await load_mcp_tools(session))
            question = "Please ask the question: How long does descaling take?"
            state = await agent.ainvoke({"messages": [("user", question)]})

    for message in state["messages"]:
        if isinstance(message, ToolMessage) and message.artifact:
            result = message.artifact["structured_content"]
            print(f"{message.name}: {result['answer']}")
            for citation in result["citations"]:
                print(f"[{citation['id']}] {citation['title']}: {citation['quote']!r}")


if __name__ == "__main__":
    asyncio.run(main())
