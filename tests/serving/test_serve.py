"""`ai21-chains serve` as a program: its lines, its signals, its end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from ai21_chains import Emulator
from ai21_chains.errors import ConfigurationError
from ai21_chains.serving import Deployment, ServerConfig, create_app, load_config
from ai21_chains.serving.run import (
    Options,
    Server,
    check_exposure,
    hold_signals,
    is_loopback,
)
from tests.servers.scripted import ROLE, ScriptedServer, event, says, scripted, stream

ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@dataclass
class Program:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    lines: list[str]
    url: str = ""

    def read_until(self, pattern: str) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            if re.search(pattern, line):
                return line
        raise AssertionError("\n".join(self.lines))

    def signal(self, number: int) -> None:
        self.process.send_signal(number)


@contextmanager
def program(*arguments: str, **environment: str) -> Iterator[Program]:
    names = ("PATH", "PYTHONPYCACHEPREFIX", "PYTHONPATH", "VIRTUAL_ENV", "HOME")
    inherited = {name: os.environ[name] for name in names if name in os.environ}
    with subprocess.Popen(
        [sys.executable, "-m", "ai21_chains", "serve", "--port", "0", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**inherited, **environment},
    ) as process:
        running = Program(process, [])
        try:
            found = re.search(r"http://\S+", running.read_until("serves on"))
            assert found
            running.url = found[0]
            yield running
        finally:
            process.kill()


def write(path: Path, server: ScriptedServer, name: str = "m", **settings: Any) -> Path:
    extra = "".join(f"  {key}: {value}\n" for key, value in settings.items())
    path.write_text(
        f"model_list:\n- model_name: {name}\n  litellm_params:\n    model: ai21/jamba-mini\n"
        f"    api_key: api-key\n    api_base: {server.url}\n"
        + (f"server:\n{extra}" if extra else "")
    )
    return path


async def test_sigterm_loses_no_request_that_was_accepted(tmp_path: Path) -> None:
    slowly = stream(ROLE, event("Hel"), 0.4, event("lo", "stop"))

    def script(request: Any) -> Any:
        return slowly if request.body.get("stream") else says("Hello")(request)

    with scripted(script) as server:
        config = write(tmp_path / "config.yaml", server, drain_seconds=0.3)
        with program("--config", str(config)) as running:
            statuses: list[int | str] = []
            async with httpx.AsyncClient(base_url=running.url, timeout=20) as http:
                assert (await http.get("/health/readiness")).status_code == 200

                async def ask_again_and_again() -> None:
                    while True:
                        try:
                            answer = await http.post("/v1/chat/completions", json=ASKED)
                        except httpx.ConnectError:
                            return
                        statuses.append(answer.status_code)

                streaming = asyncio.create_task(
                    http.post("/v1/chat/completions", json={**ASKED, "stream": True})
                )
                load = [asyncio.create_task(ask_again_and_again()) for _ in range(4)]
                while len(statuses) < 4:
                    await asyncio.sleep(0.01)
                running.signal(signal.SIGTERM)
                await asyncio.sleep(0.1)
                assert (await http.get("/health/readiness")).status_code == 503
                await asyncio.gather(*load)
                assert "[DONE]" in (await streaming).text
            assert set(statuses) == {200}
            assert await asyncio.to_thread(running.process.wait, 10) == 0


async def test_sighup_reads_the_configuration_again(tmp_path: Path) -> None:
    with scripted(says("Hello")) as server:
        config = write(tmp_path / "config.yaml", server)
        with program("--config", str(config), "--host", "127.0.0.1") as running:
            async with httpx.AsyncClient(base_url=running.url, timeout=20) as http:
                assert (await http.post("/chat/completions", json=ASKED)).status_code == 200
                config.write_text("model_list: [")
                running.signal(signal.SIGHUP)
                line = await asyncio.to_thread(running.read_until, "kept as it was")
                assert "line 1" in line
                assert (await http.post("/chat/completions", json=ASKED)).status_code == 200
                write(config, server, "other")
                running.signal(signal.SIGHUP)
                await asyncio.to_thread(running.read_until, "read again: other")
                assert (await http.post("/chat/completions", json=ASKED)).status_code == 404
            running.signal(signal.SIGINT)
            assert await asyncio.to_thread(running.process.wait, 10) == 0


def test_a_second_sigterm_does_not_shorten_the_drain_but_ctrl_c_does() -> None:
    gateway = create_app(ServerConfig(emulator=Emulator()))
    server = Server(uvicorn.Config(gateway), gateway, Options(), parent=None)
    for _ in range(2):
        server.handle_exit(signal.SIGTERM, None)
    assert gateway.draining
    assert not server.should_exit
    server.handle_exit(signal.SIGINT, None)
    assert server.should_exit
    assert server.force_exit


def test_all_signals_wait_while_workers_have_the_handlers_of_their_parent() -> None:
    handled = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    hold_signals(True)
    try:
        assert handled <= signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        hold_signals(False)
    assert not handled & signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_several_workers_answer_and_add_up_their_figures() -> None:
    with program("--workers", "2") as running:
        assert any("EMULATED" in line for line in [*running.lines, running.read_until("EMULATED")])
        with httpx.Client(base_url=running.url, timeout=20) as http:
            for _ in range(4):
                http.get("/v1/models", headers={"connection": "close"})
            figures = http.get("/metrics").text
        assert re.search(r'route="/v1/models",status="200"} 4\.0', figures)
        running.signal(signal.SIGTERM)
        assert running.process.wait(20) == 0


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "ai21_chains", "serve", "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert ended.returncode == 1
    assert re.fullmatch(rf"Error: Cannot listen on port {port} of .*\n", ended.stderr)


def test_a_server_without_chains_loads_no_messages_of_langchain() -> None:
    # With what they load in turn they take 8 MB, and a quarter of a second of the start.
    code = (
        "import sys, ai21_chains.serving.app as _; print('langchain_core.messages' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


# --- Who may reach it ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("gateway.example", False),
        ("", False),
    ],
)
def test_loopback_is_known(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback


def test_an_open_server_listens_on_loopback_only() -> None:
    config = ServerConfig(deployments=(Deployment(name="m", model="jamba-mini"),))
    check_exposure(config, "127.0.0.1")
    with pytest.raises(ConfigurationError, match=r"0\.0\.0\.0 lets everybody in"):
        check_exposure(config, "0.0.0.0")
    check_exposure(config.model_copy(update={"master_key": "sk-m"}), "0.0.0.0")


def test_the_configuration_without_a_file_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AI21_CHAINS_MASTER_KEY", raising=False)
    monkeypatch.delenv("LITELLM_MASTER_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="AI21_CHAINS_MASTER_KEY"):
        check_exposure(load_config(), "0.0.0.0")
