"""Who is measured, and how each is asked. Nothing is imported before its contestant is made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

PROMPT = "When does the harbour open, and what is different on Sundays?"
MODEL = "jamba-mini"
KEY = "no-real-key"


class Contestant:
    """A way to ask a chat model at one address. Asked from one thread or one event loop."""

    def __init__(self, url: str) -> None:
        """Make the client or model; `url` is the address in front of `/chat/completions`."""

    def ask(self) -> str:
        """Return the text of one answer."""
        raise NotImplementedError

    async def aask(self) -> str:
        """Async form of `ask`."""
        raise NotImplementedError

    def stream(self) -> list[str]:
        """Return the pieces of one streamed answer."""
        raise NotImplementedError

    async def astream(self) -> list[str]:
        """Async form of `stream`."""
        raise NotImplementedError

    async def ask_at_once(self, count: int) -> list[str]:
        """Ask many times at once."""
        return await asyncio.gather(*(self.aask() for _ in range(count)))

    async def aclose(self) -> None:
        """Close what is open in this event loop."""


class RawHTTPX(Contestant):
    """What a script would write: httpx, and `json` for what comes back."""

    def __init__(self, url: str) -> None:
        """Make a blocking client now, and an async one in its event loop."""
        import httpx

        self._url = f"{url}/chat/completions"
        self._settings: dict[str, Any] = {
            "headers": {"Authorization": f"Bearer {KEY}"},
            "limits": httpx.Limits(max_connections=None, max_keepalive_connections=None),
            "timeout": None,
        }
        self._body = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]}
        self._httpx = httpx
        self._sync: httpx.Client | None = None
        self._async: httpx.AsyncClient | None = None

    def ask(self) -> str:
        """Post and decode."""
        answer = self._client().post(self._url, json=self._body).raise_for_status().json()
        return str(answer["choices"][0]["message"]["content"])

    async def aask(self) -> str:
        """Post and decode."""
        sent = await self._aclient().post(self._url, json=self._body)
        return str(sent.raise_for_status().json()["choices"][0]["message"]["content"])

    def stream(self) -> list[str]:
        """Collect the words."""
        return list(self.words())

    async def astream(self) -> list[str]:
        """Collect the words."""
        return [word async for word in self.awords()]

    def words(self) -> Iterator[str]:
        """Post, cut into lines, decode each event."""
        rest = b""
        body = {**self._body, "stream": True}
        with self._client().stream("POST", self._url, json=body) as response:
            for data in response.iter_bytes():
                *lines, rest = (rest + data).split(b"\n")
                yield from _words(lines)

    async def awords(self) -> AsyncIterator[str]:
        """Post, cut into lines, decode each event."""
        rest = b""
        body = {**self._body, "stream": True}
        async with self._aclient().stream("POST", self._url, json=body) as response:
            async for data in response.aiter_bytes():
                *lines, rest = (rest + data).split(b"\n")
                for word in _words(lines):
                    yield word

    async def aclose(self) -> None:
        """Close the async client."""
        if self._async:
            await self._async.aclose()

    def _client(self) -> Any:
        if self._sync is None:
            self._sync = self._httpx.Client(**self._settings)
        return self._sync

    def _aclient(self) -> Any:
        if self._async is None:
            self._async = self._httpx.AsyncClient(**self._settings)
        return self._async


def _words(lines: list[bytes]) -> list[str]:
    found = [line[5:] for line in lines if line.startswith(b"data:") and line != b"data: [DONE]"]
    deltas = [json.loads(data)["choices"][0]["delta"] for data in found]
    return [delta["content"] for delta in deltas if delta.get("content")]


class LangChainContestant(Contestant):
    """Any LangChain chat model."""

    def __init__(self, url: str) -> None:
        """Make the model."""
        self.model = self.make(url)

    def make(self, url: str) -> Any:
        """Return the model."""
        raise NotImplementedError

    def ask(self) -> str:
        """Call `invoke`."""
        return str(self.model.invoke(PROMPT).content)

    async def aask(self) -> str:
        """Call `ainvoke`."""
        return str((await self.model.ainvoke(PROMPT)).content)

    def stream(self) -> list[str]:
        """Call `stream`."""
        return [chunk.content for chunk in self.model.stream(PROMPT)]

    async def astream(self) -> list[str]:
        """Call `astream`."""
        return [chunk.content async for chunk in self.model.astream(PROMPT)]


class BareLangChain(LangChainContestant):
    """`langchain_core` with a model that does nothing."""

    def make(self, url: str) -> Any:
        """Return the model that has its answers ready."""
        from bare_model import BareModel

        return BareModel()


class Relay(LangChainContestant):
    """The smallest LangChain model on raw httpx: both floors in one process."""

    def make(self, url: str) -> Any:
        """Return the model."""
        from bare_model import RelayModel

        self._raw = RawHTTPX(url)
        return RelayModel().relay(self._raw)

    async def aclose(self) -> None:
        """Close the async client."""
        await self._raw.aclose()


class Ours(LangChainContestant):
    """This project's `ChatAI21`."""

    def make(self, url: str) -> Any:
        """Return the model."""
        from ai21_chains import ChatAI21

        return ChatAI21(model=MODEL, api_key=KEY, base_url=url)


class LangChainOpenAI(LangChainContestant):
    """`ChatOpenAI` of langchain-openai, pointed at AI21's address."""

    def make(self, url: str) -> Any:
        """Return the model."""
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(model=MODEL, api_key=KEY, base_url=url, stream_usage=True)


class LangChainAI21(LangChainContestant):
    """`ChatAI21` of langchain-ai21, AI21's own package."""

    def make(self, url: str) -> Any:
        """Return the model."""
        from langchain_ai21 import ChatAI21

        return ChatAI21(model=MODEL, api_key=KEY, api_host=url)


class LiteLLM(Contestant):
    """`completion` of litellm: no LangChain in it."""

    def __init__(self, url: str) -> None:
        """Import the library."""
        import litellm

        self._litellm = litellm
        self._options: dict[str, Any] = {
            "model": "ai21/jamba-1.5-mini",
            "messages": [{"role": "user", "content": PROMPT}],
            "api_base": url,
            "api_key": KEY,
        }

    def ask(self) -> str:
        """Call `completion`."""
        return str(self._litellm.completion(**self._options).choices[0].message.content)

    async def aask(self) -> str:
        """Call `acompletion`."""
        answer = await self._litellm.acompletion(**self._options)
        return str(answer.choices[0].message.content)

    def stream(self) -> list[str]:
        """Call `completion` with `stream`."""
        chunks = self._litellm.completion(**self._options, stream=True)
        return [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]

    async def astream(self) -> list[str]:
        """Call `acompletion` with `stream`."""
        chunks = await self._litellm.acompletion(**self._options, stream=True)
        return [chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices]


CONTESTANTS: dict[str, Callable[[str], Contestant]] = {
    "httpx": RawHTTPX,
    "langchain-core": BareLangChain,
    "both in one": Relay,
    "ai21-chains": Ours,
    "langchain-openai": LangChainOpenAI,
    "langchain-ai21": LangChainAI21,
    "litellm": LiteLLM,
}

ONE_LOOP = frozenset({"langchain-openai"})
"""Who cannot be used in a second event loop: its async connections are kept for the process."""

IMPORTS = {
    "floor": "import httpx; from langchain_core.language_models import BaseChatModel",
    "ai21-chains": "from ai21_chains import ChatAI21",
    "langchain-openai": "from langchain_openai import ChatOpenAI",
    "langchain-ai21": "from langchain_ai21 import ChatAI21",
    "litellm": "import litellm",
}
"""What each has to import before its first use."""
