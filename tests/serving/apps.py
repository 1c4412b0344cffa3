"""What the tests of served chains share: the chains, and a server on loopback."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import httpx
import uvicorn
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableLambda
from pydantic import BaseModel

from ai21_chains import ChatAI21, Emulator
from ai21_chains.chains.classification import create_classification_chain
from ai21_chains.chains.contextual_answers import create_contextual_answers_chain
from ai21_chains.chains.conversational_qa import create_conversational_qa_chain
from ai21_chains.chains.extraction import create_extraction_chain
from ai21_chains.chains.grounded_qa import create_grounded_qa_chain
from ai21_chains.chains.grounding_check import create_grounding_check_chain
from ai21_chains.chains.summarize import create_summarize_chain

DOCUMENTS = ["The museum opens at ten.", "Dogs must stay outside."]
ASKED = {"question": "When does it open?", "documents": DOCUMENTS}


class Museum(BaseModel):
    opening: str


def model_on(emulator: Emulator, **settings: Any) -> ChatAI21:
    transport = emulator.transport()
    return ChatAI21(
        api_key="test-key",
        http_client=httpx.Client(transport=transport),
        http_async_client=httpx.AsyncClient(transport=transport),
        **{"max_retries": 0, **settings},
    )


def ready_made(model: ChatAI21) -> dict[str, Runnable[Any, Any]]:
    search = RunnableLambda(lambda query: DOCUMENTS)
    return {
        "grounded_qa": create_grounded_qa_chain(model),
        "conversational_qa": create_conversational_qa_chain(model, retriever=search),
        "contextual_answers": create_contextual_answers_chain(model),
        "grounding_check": create_grounding_check_chain(model),
        "summarize": create_summarize_chain(model),
        "extraction": create_extraction_chain(model, Museum),
        "classification": create_classification_chain(model, ["opening hours", "dogs"]),
    }


INPUTS: dict[str, Any] = {
    "grounded_qa": ASKED,
    "conversational_qa": {
        "question": "When does it open?",
        "chat_history": [HumanMessage("Is there a museum?"), AIMessage("Yes.")],
    },
    "contextual_answers": {"question": "When does it open?", "context": DOCUMENTS},
    "grounding_check": {"answer": "It opens at ten. Cats are welcome.", "documents": DOCUMENTS},
    "summarize": {"documents": DOCUMENTS},
    "extraction": {"documents": DOCUMENTS},
    "classification": {"document": "The museum opens at ten."},
}


@contextmanager
def serving(app: Any, lifespan: Literal["on", "off"] = "off") -> Iterator[str]:
    """Serve an application on loopback, from a thread of its own, and yield its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, lifespan=lifespan, ws="none", log_config=None, timeout_keep_alive=30)
    )
    thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[listener]),))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
