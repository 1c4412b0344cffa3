"""What the examples share: a model that works with a key and without one."""

import os

import httpx

from ai21_chains import ChatAI21, Emulator


def chat_model(*, brain="extractive", **settings) -> ChatAI21:
    """Return a model on AI21, or on the embedded emulator when there is no AI21_API_KEY."""
    if os.environ.get("AI21_API_KEY"):
        return ChatAI21(**settings)
    transport = Emulator(brain=brain).transport()
    return ChatAI21(
        api_key="no key needed",
        http_client=httpx.Client(transport=transport),
        http_async_client=httpx.AsyncClient(transport=transport),
        **settings,
    )
