"""The page for people, as a server sends it; `tests/browser` looks at it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import Mount

import ai21_chains.serving
from ai21_chains import Emulator
from ai21_chains.serving import ChainConfig, Deployment, ServerConfig, create_app
from ai21_chains.serving.app import Gateway
from ai21_chains.serving.config import ChainKind
from ai21_chains.serving.keys import KeyStore

FOLDER = Path(ai21_chains.serving.__file__).parent / "page"
ADDRESSES = {
    "/": "index.html",
    "/page/page.css": "page.css",
    "/page/page.js": "page.js",
    "/page/icon.svg": "icon.svg",
}


def gateway(**settings: Any) -> Gateway:
    given: dict[str, Any] = {
        "deployments": [Deployment(name=name, model="jamba-mini") for name in ("mini", "other")],
        "chains": [ChainConfig(name="qa", kind="grounded_qa")],
        "emulator": Emulator(brain=lambda request: "Hello."),
        **settings,
    }
    return create_app(ServerConfig(**given))


@asynccontextmanager
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        yield http
    if isinstance(app, Gateway):
        await app.close()


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_file_is_sent_once_and_then_known_by_its_tag(address: str) -> None:
    async with client(gateway(master_key=SecretStr("sk-master"), database_url="sqlite://")) as http:
        first = await http.get(address)
        again = await http.get(address, headers={"if-none-match": f"W/{first.headers['etag']}"})
        other = await http.get(address, headers={"if-none-match": '"other"'})

    assert first.content == (FOLDER / ADDRESSES[address]).read_bytes()
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert other.status_code == 200


async def test_a_page_may_load_from_its_server_and_run_nothing_that_stands_in_it() -> None:
    async with client(gateway()) as http:
        page = await http.get("/")

    policy = dict(
        rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; ")
    )
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert set(policy.values()) == {"'none'", "'self'"}
    assert page.headers["x-content-type-options"] == "nosniff"


def test_the_page_knows_all_kinds_of_chains() -> None:
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    for kind in get_args(ChainKind):
        assert f"\n  {kind}: [" in script


def test_the_files_name_no_other_host_and_write_no_html() -> None:
    assert sorted(ADDRESSES.values()) == sorted(file.name for file in FOLDER.iterdir())
    texts = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.iterdir()}
    found = re.findall(r"(?:https?:)?//[a-z][\w.-]+\.[a-z]+[^\s\"']*", "".join(texts.values()))
    assert found == ["http://www.w3.org/2000/svg"]  # a name, which nobody asks for
    script = re.sub(r"^\s*//.*", "", texts["page.js"], flags=re.M)
    assert not re.search(r"HTML|\beval\b|document\.write|setAttribute", script)
    assert not re.search(r"\son\w+=|style=|<style|<script(?! src)", texts["index.html"])


async def test_it_works_below_a_path() -> None:
    async with client(Starlette(routes=[Mount("/ai", gateway())])) as http:
        page = (await http.get("/ai/")).text
        addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
        answers = [await http.get(f"/ai/{address}") for address in addresses]

    assert len(answers) == 5
    assert {answer.status_code for answer in answers} == {200}


async def test_what_is_served_and_was_used_is_told() -> None:
    async with client(gateway()) as http:
        before = (await http.get("/page/status")).json()
        asked = {"model": "mini", "messages": [{"role": "user", "content": "Hi"}]}
        await http.post("/v1/chat/completions", json=asked)
        (row,) = (await http.get("/page/status")).json()["usage"]

    assert before == {
        "models": ["mini", "other"],
        "chains": [{"name": "qa", "kind": "grounded_qa", "documents": False}],
        "usage": [],
    }
    assert (row["key_name"], row["model"], row["requests"]) == ("open", "mini", 1)
    assert row["prompt_tokens"] > 0
    assert re.fullmatch(r"0\.0*[1-9]\d*", row["cost_usd"])


async def test_a_key_sees_what_it_may_use_and_the_master_key_what_was_used(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/keys.db"
    async with KeyStore(database, master_key=SecretStr("sk-master")) as store:
        _, token = await store.create("alice", models=["mini"])
    app = gateway(master_key=SecretStr("sk-master"), database_url=database)
    async with client(app) as http:
        answers = [
            await http.get(
                "/page/status", headers={"authorization": f"Bearer {key}"} if key else {}
            )
            for key in (None, token, "sk-master")
        ]
    nobody, alice, master = answers

    assert nobody.status_code == 401
    assert nobody.json()["error"]["code"] == "invalid_api_key"
    assert alice.json() == {"models": ["mini"], "chains": [], "usage": []}
    assert len(master.json()["models"]) == 2
    assert master.json()["usage"] == []
    assert master.headers["cache-control"] == "no-store"


async def test_a_key_sees_what_it_has_used_itself() -> None:
    app = gateway(master_key=SecretStr("sk-master"), database_url="sqlite://")
    await app.open()
    asked = {"model": "mini", "messages": [{"role": "user", "content": "Hi"}]}
    # Two may have the same name.
    tokens = [(await app.keys.create("alice"))[1] for _ in range(2)]  # type: ignore[attr-defined]
    seen = []
    async with client(app) as http:
        for times, token in enumerate([*tokens, "sk-master"], start=1):
            headers = {"authorization": f"Bearer {token}"}
            for _ in range(times):
                await http.post("/v1/chat/completions", json=asked, headers=headers)
            status = (await http.get("/page/status", headers=headers)).json()
            seen.append([(one["key_name"], one["requests"]) for one in status["usage"]])

    assert seen[:2] == [[("alice", 1)], [("alice", 2)]]
    assert seen[2] == [("master", 3), ("alice", 2), ("alice", 1)]
