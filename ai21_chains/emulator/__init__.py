"""AI21's HTTP API, emulated: for tests of programs that call it, and for demos without a key.

The emulator speaks AI21's wire protocol, its error texts included, through an httpx transport, an
ASGI application or a server on loopback. What the model says is decided by a *brain*; there is no
language model inside. It imports nothing from the rest of `ai21_chains`.
"""

from .brains import Brain, EmulatorError, Reply, ToolCall, scripted
from .core import Emulator
from .coverage import coverage_table
from .exchange import Headers, Request, Response
from .extractive import extractive
from .faults import Fault

__all__ = [
    "Brain",
    "Emulator",
    "EmulatorError",
    "Fault",
    "Headers",
    "Reply",
    "Request",
    "Response",
    "ToolCall",
    "coverage_table",
    "extractive",
    "scripted",
]
