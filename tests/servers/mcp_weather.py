"""A stranger's MCP server."""

from mcp.server.fastmcp import FastMCP
from mcp.server.fastmcp.exceptions import ToolError
from pydantic import BaseModel

server = FastMCP("weather", log_level="ERROR")


class Forecast(BaseModel):
    city: str
    degrees: int


@server.tool()
def get_weather(city: str) -> str:
    """Look up the weather in a city."""
    if city == "Atlantis":
        raise ToolError("no such city")
    return f"Sunny in {city}."


@server.tool()
def get_forecast(city: str, days: int = 1) -> Forecast:
    """Say how warm it will be."""
    return Forecast(city=city, degrees=20 + days)
