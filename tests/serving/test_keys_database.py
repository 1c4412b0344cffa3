"""The database of the keys: its address, its tables, and several processes at once."""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr

import ai21_chains.serving
from ai21_chains.errors import AI21Error, ConfigurationError, MissingExtraError
from ai21_chains.serving._keys_database import HEAD, VERSION_TABLE, connect, metadata
from ai21_chains.serving._keys_ledger import Ledger, Spend
from ai21_chains.serving._refusals import Refused
from ai21_chains.serving.keys import KeyStore, default_database_url

MIGRATIONS = Path(ai21_chains.serving.__file__).parent / "migrations"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.db"


@pytest.fixture
def address(file: Path) -> str:
    return f"sqlite:///{file}"


async def test_the_migrations_lead_to_the_tables_of_the_code(file: Path, address: str) -> None:
    async with KeyStore(address, master_key=None):
        pass

    engine = sa.create_engine(address)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == HEAD
    engine.dispose()


def test_the_newest_migration_is_the_one_that_the_code_expects() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))

    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


async def test_several_processes_may_begin_at_once(address: str) -> None:
    stores = [KeyStore(address, master_key=None) for _ in range(4)]

    await asyncio.gather(*(store.open() for store in stores))
    await stores[0].create("alice")
    assert [len(await store.list()) for store in stores] == [1] * 4
    await asyncio.gather(*(store.close() for store in stores))


async def test_what_a_database_holds_is_there_again(address: str) -> None:
    async with KeyStore(address, master_key=None) as store:
        key, _ = await store.create("alice")
    async with KeyStore(address, master_key=None) as store:
        assert await store.list() == [key]


async def test_what_is_used_is_written_from_time_to_time(address: str) -> None:
    day = date(2026, 11, 22)
    async with KeyStore(address, master_key=None):
        pass
    engines = [connect(address) for _ in range(2)]
    writer, reader = (Ledger(engine, interval=0.001) for engine in engines)
    writer.open()
    writer.add("master", day, "jamba-mini", 10, 5, Decimal("0.01"))
    while not await reader.on(day):
        await asyncio.sleep(0.001)

    assert await reader.on(day) == [
        Spend("master", "master", "jamba-mini", 1, 10, 5, Decimal("0.01"))
    ]
    await writer.close()
    for engine in engines:
        await engine.dispose()


async def test_readers_do_not_wait_for_the_writer(file: Path, address: str) -> None:
    async with KeyStore(address, master_key=None) as store:
        writer = sqlite3.connect(file, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        assert await store.list() == []
        writer.close()


async def test_a_database_in_memory_serves_many_at_once() -> None:
    async with KeyStore("sqlite://", master_key=None) as store:
        await asyncio.gather(*(store.create(f"key-{number}") for number in range(8)))

        assert len(await store.list()) == 8


async def test_the_file_and_its_folder_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "new" / "er" / "keys.db"
    async with KeyStore(f"sqlite:///{file}", master_key=None):
        made = [*file.parent.iterdir(), file.parent]

    assert [path.stat().st_mode & 0o077 for path in made] == [0] * len(made)


async def test_a_database_of_a_newer_version_is_left_alone(file: Path, address: str) -> None:
    async with KeyStore(address, master_key=None):
        pass
    with sqlite3.connect(file) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = 'future'")
    connection.close()

    with pytest.raises(AI21Error, match=r"newer version .*future.*pip install -U ai21-chains"):
        await KeyStore(address, master_key=None).open()


@pytest.mark.parametrize("place", ["", "/file/keys.db"], ids=["folder", "in-a-file"])
async def test_a_file_that_cannot_be_made_is_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(AI21Error, match="Cannot open the database sqlite"):
        await KeyStore(f"sqlite:///{tmp_path}{place}", master_key=None).open()


async def test_a_file_that_is_no_database_is_one_line(file: Path, address: str) -> None:
    file.write_text("Dear diary, " * 100)

    with pytest.raises(AI21Error, match="file is not a database"):
        await KeyStore(address, master_key=None).open()


async def test_a_server_that_is_not_there_is_one_line_without_its_password() -> None:
    store = KeyStore("postgresql://somebody:secret@127.0.0.1:1/nothing", master_key=None)

    with pytest.raises(AI21Error, match=r"somebody:\*\*\*@127\.0\.0\.1:1") as raised:
        await store.open()
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("mysql://me:secret@host/keys", "'mysql' is not supported"),
        ("postgresql+asyncpg://me:secret@host/keys", "'postgresql\\+asyncpg' is not supported"),
        ("secret", "no database URL"),
        ("postgresql://me:secret@host:port/keys", "no database URL"),
    ],
)
def test_another_database_is_refused_without_its_password(address: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as raised:
        KeyStore(address, master_key=None)

    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "module", "extra"),
    [("postgresql://host/keys", "psycopg", "postgres"), ("sqlite://", "aiosqlite", "serve")],
)
def test_a_driver_that_is_not_installed_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, address: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(MissingExtraError, match=rf"ai21-chains\[{extra}\]"):
        KeyStore(address, master_key=None)


@pytest.mark.parametrize(
    ("platform", "folder"),
    [
        ("linux", "xdg"),
        ("win32", "appdata"),
        ("darwin", "home/Library/Application Support"),
    ],
)
def test_by_default_the_database_is_the_users_wherever_the_server_starts(
    monkeypatch: pytest.MonkeyPatch, platform: str, folder: str
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/xdg")
    monkeypatch.setenv("LOCALAPPDATA", "/appdata")
    monkeypatch.setenv("HOME", "/home")
    monkeypatch.setattr(sys, "platform", platform)

    assert default_database_url() == f"sqlite+aiosqlite:////{folder}/ai21-chains/keys.db"


async def spend_all(address: str, token: str) -> int:
    """Send requests, four at a time, until each is refused; return how many were admitted."""
    async with KeyStore(address, master_key=SecretStr("sk-master")) as store:
        caller = await store.caller(token)

        async def client() -> int:
            for done in range(1000):
                try:
                    await store.admit(caller, "jamba-mini", 1)
                except Refused:
                    return done
                used = {"prompt_tokens": 1, "completion_tokens": 1}
                await store.charge(caller, "jamba-mini", **used, cost_usd=Decimal("0.01"))
            return 1000

        return sum(await asyncio.gather(*(client() for _ in range(4))))


OTHER_PROCESS = f"""
import asyncio, sys
from decimal import Decimal
from pydantic import SecretStr
from ai21_chains.serving._refusals import Refused
from ai21_chains.serving._refusals import Refused
from ai21_chains.serving.keys import KeyStore

{inspect.getsource(spend_all)}

print("ready", flush=True)
print(asyncio.run(spend_all(*sys.argv[1:])))
"""


async def test_two_processes_overspend_by_no_more_than_what_was_in_flight(address: str) -> None:
    async with KeyStore(address, master_key=None) as store:
        _, token = await store.create("alice", budget_usd=Decimal("0.50"))
        command = [sys.executable, "-c", OTHER_PROCESS, address, token]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            other.stdout.readline()
            admitted = await spend_all(address, token)
            admitted += int(await asyncio.to_thread(other.stdout.read))
        (key,) = await store.list()

    assert 50 <= admitted <= 50 + 8
    assert key.spent_usd == admitted * Decimal("0.01")
