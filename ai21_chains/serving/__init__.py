"""Serving: OpenAI's API over models and chains, chains in LangServe's wire format, MCP tools.

What is used needs its extra: `serve`, `langserve` or `mcp`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ai21_chains.serving._chain_routes import chain_routes
    from ai21_chains.serving.app import create_app
    from ai21_chains.serving.config import ChainConfig, Deployment, ServerConfig, load_config
    from ai21_chains.serving.langserve import add_ai21_routes
    from ai21_chains.serving.mcp_server import create_mcp_server

__all__ = [
    "ChainConfig",
    "Deployment",
    "ServerConfig",
    "add_ai21_routes",
    "chain_routes",
    "create_app",
    "create_mcp_server",
    "load_config",
]

_HOMES = {
    "ChainConfig": "config",
    "Deployment": "config",
    "ServerConfig": "config",
    "add_ai21_routes": "langserve",
    "chain_routes": "_chain_routes",
    "create_app": "app",
    "create_mcp_server": "mcp_server",
    "load_config": "config",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
