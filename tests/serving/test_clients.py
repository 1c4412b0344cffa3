"""What people have already: LiteLLM's configuration, curl, and LangChain's `ChatOpenAI`.

OpenAI's own client is in `test_openai_clients`, LangChain's suite in
`test_standard_through_gateway`. Here a file as on LiteLLM's page on AI21 is all that is given.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from openai import DefaultAsyncHttpxClient, DefaultHttpxClient

from ai21_chains.serving import create_app, load_config
from tests.servers.scripted import ScriptedServer, says, scripted
from tests.serving.apps import serving

CONFIG = """\
model_list:
  - model_name: my-model
    litellm_params:
      model: ai21/jamba-mini  # the prefix says whose model it is
      api_key: api-key                 # the key for it
"""

PYTHON = """\
import openai
client = openai.OpenAI(
    api_key="sk-1234",
    base_url="http://0.0.0.0:4000"
)

response = client.chat.completions.create(
    model="my-model",
    messages = [
        {
            "role": "user",
            "content": "which model are you"
        }
    ],
)

print(response.choices[0].message.content)
"""

CURL = """\
curl --location 'http://0.0.0.0:4000/chat/completions' \\
    --header 'Authorization: Bearer sk-1234' \\
    --header 'Content-Type: application/json' \\
    --data '{
    "model": "my-model",
    "messages": [
        {
        "role": "user",
        "content": "which model are you"
        }
    ],
}'
"""
"""With the comma after the last item that the page has, too."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedServer]:
    with scripted(says("I am Jamba.")) as server:
        yield server


@pytest.fixture(scope="module")
def url(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("litellm") / "config.yaml"
    path.write_text(CONFIG)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AI21_API_BASE", upstream.url)
        config = load_config(path)
    assert config.warnings == ()
    with serving(create_app(config)) as address:
        yield address


def here(text: str, url: str) -> str:
    return text.replace(":4000", ":" + url.rpartition(":")[2])


def test_openais_client_as_on_the_page(
    url: str, upstream: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    # The suite may connect to no other address; curl below takes the one on the page.
    exec(here(PYTHON, url).replace("0.0.0.0", "127.0.0.1"), names)
    names["client"].close()
    assert capsys.readouterr().out == "I am Jamba.\n"
    assert upstream.requests[-1].key == "api-key"
    assert upstream.requests[-1].target == "/studio/v1/chat/completions"
    assert upstream.bodies[-1]["model"] == "jamba-mini"


def test_curl_as_on_the_page(url: str) -> None:
    assert shutil.which("curl"), "this test needs curl"
    ended = subprocess.run(
        here(CURL, url), shell=True, capture_output=True, text=True, timeout=30, check=True
    )
    answer = json.loads(ended.stdout)
    assert answer["model"] == "my-model"
    assert answer["choices"][0]["message"]["content"] == "I am Jamba."


@pytest.fixture
def model(url: str) -> Iterator[dict[str, Any]]:
    # ChatOpenAI's own clients outlive their event loop.
    with DefaultHttpxClient(verify=False) as http:
        yield {"model": "my-model", "api_key": "sk-1234", "base_url": url, "http_client": http}


def test_langchains_chat_openai(model: dict[str, Any]) -> None:
    chat = ChatOpenAI(**model, max_retries=0, stream_usage=True)
    assert chat.invoke("Which model are you?").content == "I am Jamba."
    *_, last = chunks = list(chat.stream("Which model are you?"))
    assert "".join(chunk.text for chunk in chunks) == "I am Jamba."
    usage = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert [one["total_tokens"] for one in usage] == [5]
    assert last.chunk_position == "last"


async def test_langchains_chat_openai_sends_ai21s_documents(
    model: dict[str, Any], upstream: ScriptedServer
) -> None:
    documents = [{"content": "The museum opens at ten.", "metadata": {"source": "a.txt"}}]
    async with DefaultAsyncHttpxClient(verify=False) as http:
        chat = ChatOpenAI(
            **model, http_async_client=http, max_retries=0, extra_body={"documents": documents}
        )
        await chat.ainvoke("When does it open?")
    assert upstream.bodies[-1]["documents"] == documents
