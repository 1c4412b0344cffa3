"""A model for agents whose emulator says what it is told to."""

from collections.abc import Callable
from typing import Any, TypeAlias

import httpx
import pytest

from ai21_chains import ChatAI21, Emulator
from ai21_chains.emulator import Brain, Reply, scripted

Made: TypeAlias = Callable[..., tuple[ChatAI21, Emulator]]


@pytest.fixture
def made() -> Made:
    def make(
        *replies: Reply | str, brain: Brain | None = None, faults: Any = (), **options: Any
    ) -> tuple[ChatAI21, Emulator]:
        emulator = Emulator(brain=brain or scripted(*replies), faults=faults)
        transport = emulator.transport()
        model = ChatAI21(
            api_key="test-key",
            http_client=httpx.Client(transport=transport),
            http_async_client=httpx.AsyncClient(transport=transport),
            **options,
        )
        return model, emulator

    return make
