"""The database of keys and spend: where it is, its tables, and how they are brought up to date."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from ai21_chains.errors import AI21Error, ConfigurationError, MissingExtraError

try:
    import sqlalchemy as sa
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
except ImportError:  # greenlet too: SQLAlchemy has it as an extra
    raise MissingExtraError('Keys need an extra: pip install "ai21-chains[serve]"') from None

DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
"""What a database's address may begin with, and the driver that is meant."""

EXTRAS = {"sqlite+aiosqlite": "serve", "postgresql+psycopg": "postgres"}
"""The extra that has the driver."""

HEAD = "0001"
"""The newest migration. A database that has it is used without importing Alembic (12 MB)."""

VERSION_TABLE = "ai21_chains_migrations"
"""Where Alembic notes which one a database has: other programs may have tables in it, too."""

_MIGRATIONS = Path(__file__).parent / "migrations"

_LOCKS = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "SELECT pg_advisory_xact_lock(7211042100)",
}
"""What lets one process at a time migrate, until its transaction ends."""

_PATIENCE = 30.0
"""Seconds to wait for another process to leave SQLite's lock."""

metadata = sa.MetaData()

keys = sa.Table(
    "ai21_chains_keys",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("prefix", sa.String(16), nullable=False),
    sa.Column("models", sa.JSON(none_as_null=True)),
    sa.Column("budget_nanos", sa.BigInteger),
    sa.Column("budget_period", sa.String(8)),
    sa.Column("rpm", sa.Integer),
    sa.Column("tpm", sa.Integer),
    sa.Column("created", sa.DateTime(timezone=True), nullable=False),
    sa.Column("expires", sa.DateTime(timezone=True)),
    sa.Column("revoked", sa.DateTime(timezone=True)),
)
"""Keys. `hash` is the SHA-256 of the whole key, `prefix` its first characters, to know it by."""

usage = sa.Table(
    "ai21_chains_usage",
    metadata,
    sa.Column("key_id", sa.String(16), primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
    sa.Column("completion_tokens", sa.BigInteger, nullable=False),
    sa.Column("cost_nanos", sa.BigInteger, nullable=False),
    sa.Column("unpriced", sa.BigInteger, nullable=False),
    sa.Index("ai21_chains_usage_by_day", "day"),
)
"""What was used, by day (UTC). `unpriced` counts the requests that `cost_nanos` leaves out."""


def default_database_url() -> str:
    """Return the address of the database that is used when none is given.

    It is a file of the user's, wherever the server is started: `ai21-chains/keys.db` under
    `$XDG_DATA_HOME` (else `~/.local/share`), `~/Library/Application Support` or `%LOCALAPPDATA%`.
    """
    return f"sqlite+aiosqlite:///{_data_home() / 'ai21-chains' / 'keys.db'}"


def _data_home() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


def connect(address: str) -> AsyncEngine:
    """Return a database that is not connected to yet.

    Raises:
        ConfigurationError: The address is none of SQLite or PostgreSQL.
        MissingExtraError: The driver is not installed.
    """
    url = _url(address)
    try:
        engine = create_async_engine(url, **_options(url))
    except ImportError:
        extra = EXTRAS[url.drivername]
        raise MissingExtraError(
            f'{url.drivername} needs an extra: pip install "ai21-chains[{extra}]"'
        ) from None
    if _is_sqlite(url):
        sa.event.listen(engine.sync_engine, "connect", _sqlite_settings)
    return engine


def _url(address: str) -> sa.URL:
    try:
        url = sa.make_url(address)
    except (ArgumentError, ValueError):  # its words have the address, which may have a password
        raise ConfigurationError("database: the address is no database URL") from None
    driver = DRIVERS.get(url.drivername)
    if driver is None:
        raise ConfigurationError(
            f"database: {url.drivername!r} is not supported; the address should begin with "
            "sqlite:/// or postgresql://"
        )
    return url.set(drivername=driver)


def _options(url: sa.URL) -> dict[str, Any]:
    if not _is_sqlite(url):
        return {"pool_pre_ping": True}  # a database that was restarted is no error
    options: dict[str, Any] = {"connect_args": {"timeout": _PATIENCE}}
    if _is_in_memory(url):  # a second connection would be to another database
        options |= {"poolclass": sa.AsyncAdaptedQueuePool, "pool_size": 1, "max_overflow": 0}
    return options


def _is_sqlite(url: sa.URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _is_in_memory(url: sa.URL) -> bool:
    return not url.database or url.database == ":memory:"


def _sqlite_settings(connection: sa.engine.interfaces.DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    # With a write-ahead log this loses nothing when a process dies, and is 20 times as fast.
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


async def migrate(engine: AsyncEngine) -> None:
    """Create the tables or bring them up to date; several processes may do so at once.

    Raises:
        AI21Error: The database cannot be reached, or is of a newer version.
    """
    if _is_sqlite(engine.url) and not _is_in_memory(engine.url):
        with _errors("open", engine):
            _make_file(Path(str(engine.url.database)))
    async with reading(engine) as connection:
        current = await connection.run_sync(_revision)
    if current == HEAD:
        return
    import_module("alembic.command")  # which takes a second, before others have to wait
    async with writing(engine) as connection:
        await connection.exec_driver_sql(_LOCKS[engine.dialect.name])
        await connection.run_sync(_upgrade)
    if _is_sqlite(engine.url):
        await _write_ahead(engine)


def _make_file(file: Path) -> None:
    file.parent.mkdir(0o700, parents=True, exist_ok=True)
    os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()


def _upgrade(connection: sa.Connection) -> None:
    if _revision(connection) == HEAD:  # another process was faster
        return
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise AI21Error(
            f"The database is of a newer version ({error}): pip install -U ai21-chains"
        ) from error


async def _write_ahead(engine: AsyncEngine) -> None:
    # Readers and the writer do not wait for each other then; the file remembers it. While other
    # processes are busy it cannot be set, and where it cannot be at all the old way works too.
    with suppress(SQLAlchemyError):
        async with engine.connect() as connection:
            await connection.exec_driver_sql("PRAGMA journal_mode=WAL")


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Give a connection to read with.

    Raises:
        AI21Error: The database fails.
    """
    with _errors("read", engine):
        async with engine.connect() as connection:
            yield connection


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Give a connection whose changes are committed at the end.

    Raises:
        AI21Error: The database fails; nothing was changed.
    """
    with _errors("write to", engine):
        async with engine.begin() as connection:
            yield connection


@contextmanager
def _errors(doing: str, engine: AsyncEngine) -> Iterator[None]:
    """Raise an `AI21Error` of one line, without a password, where the database fails."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        words = " ".join(str(getattr(error, "orig", None) or error).split())
        where = engine.url.render_as_string(hide_password=True)
        raise AI21Error(f"Cannot {doing} the database {where}: {words}") from error
