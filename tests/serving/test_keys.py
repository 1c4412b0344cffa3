"""Keys: who is let in, what they may use, and what they have spent.

`AI21_CHAINS_TEST_POSTGRES` is the address of a PostgreSQL database to run these on as well.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import create_async_engine

from ai21_chains.errors import AI21Error, ConfigurationError
from ai21_chains.serving._refusals import Refused
from ai21_chains.serving.keys import Caller, KeyStore, Spend

POSTGRES = os.environ.get("AI21_CHAINS_TEST_POSTGRES")
MASTER = SecretStr("sk-master")
NOWHERE = "postgresql://somebody:secret@127.0.0.1:1/nothing"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOON.timestamp()

    def __call__(self) -> float:
        return self.now

    def set(self, *day: int) -> None:
        self.now = datetime(*day, tzinfo=UTC).timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A SQLite file with the tables: to make them costs more than most tests here."""
    file = tmp_path_factory.mktemp("empty") / "keys.db"

    async def make() -> None:
        async with KeyStore(f"sqlite:///{file}", master_key=None):
            pass

    asyncio.run(make())
    return file.read_bytes()


@pytest.fixture(params=["sqlite", *(["postgres"] if POSTGRES else [])])
async def address(
    request: pytest.FixtureRequest, tmp_path: Path, empty_database: bytes
) -> AsyncIterator[str]:
    """The address of a database without keys."""
    if request.param == "sqlite":
        (tmp_path / "keys.db").write_bytes(empty_database)
        yield f"sqlite:///{tmp_path}/keys.db"
        return
    schema = f"test_{secrets.token_hex(6)}"
    engine = create_async_engine(sa.make_url(POSTGRES).set(drivername="postgresql+psycopg"))
    async with engine.begin() as connection:
        await connection.execute(sa.schema.CreateSchema(schema))
    yield f"{POSTGRES}?options=-csearch_path%3D{schema}"
    async with engine.begin() as connection:
        await connection.execute(sa.schema.DropSchema(schema, cascade=True))
    await engine.dispose()


@pytest.fixture
async def store(address: str, clock: Clock) -> AsyncIterator[KeyStore]:
    async with KeyStore(address, master_key=MASTER, clock=clock) as store:
        yield store


@pytest.fixture
async def other(store: KeyStore, address: str, clock: Clock) -> AsyncIterator[KeyStore]:
    """What another process has open."""
    async with KeyStore(address, master_key=MASTER, clock=clock) as other:
        yield other


async def _charge(
    store: KeyStore, caller: Caller, dollars: str | None = "0.01", model: str = "jamba-mini"
) -> None:
    await store.charge(
        caller,
        model,
        prompt_tokens=10,
        completion_tokens=5,
        cost_usd=None if dollars is None else Decimal(dollars),
    )


async def _refusal(store: KeyStore, caller: Caller, **request: Any) -> Refused:
    with pytest.raises(Refused) as raised:
        await store.admit(caller, **{"model": "jamba-mini", "tokens": 10, **request})
    return raised.value


async def _locked_out(store: KeyStore, token: str | None) -> Refused:
    with pytest.raises(Refused) as raised:
        await store.caller(token)
    assert (raised.value.status, raised.value.code) == (401, "invalid_api_key")
    return raised.value


# --- Who is calling ----------------------------------------------------------------------------


async def test_a_key_lets_its_holder_in(store: KeyStore) -> None:
    key, token = await store.create(" alice ", models=["b", "a", "a"], rpm=5, tpm=100)

    assert await store.caller(token) == key
    assert (key.name, key.models, key.rpm, key.tpm) == ("alice", frozenset("ab"), 5, 100)
    assert token.startswith(key.prefix)


async def test_only_the_hash_of_a_key_is_kept(store: KeyStore, address: str) -> None:
    _, token = await store.create("alice")
    engine = create_async_engine(
        sa.make_url(address.replace("sqlite:", "sqlite+aiosqlite:").replace("sql:", "sql+psycopg:"))
    )
    async with engine.connect() as connection:
        row = (await connection.exec_driver_sql("SELECT * FROM ai21_chains_keys")).mappings().one()
    await engine.dispose()

    assert row["hash"] == sha256(token.encode()).hexdigest()
    assert token not in map(str, row.values())


async def test_two_keys_are_never_the_same(store: KeyStore) -> None:
    made = [await store.create("alice") for _ in range(3)]

    assert len({key.id for key, _ in made}) == len({token for _, token in made}) == 3
    assert all(len(token) == 46 for _, token in made)


async def test_the_master_key_needs_no_database() -> None:
    store = KeyStore("sqlite:////nowhere/keys.db", master_key=MASTER)

    caller = await store.caller("sk-master")
    await store.admit(caller, "any", 10**9)
    await _charge(store, caller)
    assert caller == Caller("master", "master")


@pytest.mark.parametrize("token", [None, "", "anything"])
async def test_without_a_master_key_everybody_is_let_in(token: str | None) -> None:
    caller = await KeyStore("sqlite://", master_key=None).caller(token)

    assert (caller.id, caller.models, caller.rpm) == ("open", None, None)


def test_a_blank_master_key_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="master_key is empty"):
        KeyStore("sqlite://", master_key=SecretStr(" "))


@pytest.mark.parametrize("token", ["sk-unknown", "sk-master ", "sk-mästér", "\ud800", "x" * 10_000])
async def test_an_unknown_token_is_refused(store: KeyStore, token: str) -> None:
    refused = await _locked_out(store, token)

    assert token not in str(refused)


@pytest.mark.parametrize("token", [None, ""])
async def test_no_token_is_refused_with_the_header_to_send(
    store: KeyStore, token: str | None
) -> None:
    assert "Authorization: Bearer" in str(await _locked_out(store, token))


async def test_a_revoked_key_is_refused_within_five_seconds_everywhere(
    store: KeyStore, other: KeyStore, clock: Clock
) -> None:
    key, token = await store.create("alice")
    await other.caller(token)
    await store.revoke(key.id)

    assert "revoked" in str(await _locked_out(store, token))
    clock.now += 4.9
    await other.caller(token)
    clock.now += 0.1
    assert "revoked" in str(await _locked_out(other, token))


async def test_a_key_expires_to_the_second(store: KeyStore, clock: Clock) -> None:
    _, token = await store.create("alice", expires_in=timedelta(seconds=3))
    clock.now += 2.9
    await store.caller(token)
    clock.now += 0.1

    assert "expired on 2026-11-22" in str(await _locked_out(store, token))


async def test_when_the_database_is_away_nobody_learns_where_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = KeyStore(NOWHERE, master_key=MASTER)
    with pytest.raises(Refused) as raised:
        await store.caller("sk-something")

    assert (raised.value.status, raised.value.retry_after) == (503, 1)
    assert "127.0.0.1" not in str(raised.value)
    assert "127.0.0.1" in caplog.text
    assert "secret" not in caplog.text
    await store.close()


# --- What they may use -------------------------------------------------------------------------


async def test_a_model_that_is_not_on_the_keys_list_is_refused(store: KeyStore) -> None:
    key, _ = await store.create("alice", models=["jamba-mini", "chain/qa"])
    await store.admit(key, "chain/qa", 1)
    refused = await _refusal(store, key, model="jamba-large")

    assert (refused.status, refused.code, refused.param) == (403, "model_not_allowed", "model")
    assert "chain/qa, jamba-mini" in str(refused)


async def test_a_key_is_limited_to_its_requests_a_minute(store: KeyStore, clock: Clock) -> None:
    key, _ = await store.create("alice", rpm=2)
    for _ in range(2):
        await store.admit(key, "jamba-mini", 1)
        clock.now += 10
    refused = await _refusal(store, key)

    assert (refused.status, refused.code, refused.type) == (429, "rate_limit_exceeded", "requests")
    assert refused.retry_after == 40
    assert str(refused) == (
        "The API key 'alice' is limited to 2 requests a minute; try again in 40 s."
    )


async def test_a_key_is_limited_to_its_tokens_a_minute(store: KeyStore) -> None:
    key, _ = await store.create("alice", rpm=9, tpm=100)
    await store.admit(key, "jamba-mini", 60)
    refused = await _refusal(store, key, tokens=41)

    assert (refused.type, refused.retry_after) == ("tokens", 60)


async def test_a_request_larger_than_the_limit_is_not_to_be_tried_again(store: KeyStore) -> None:
    key, _ = await store.create("alice", tpm=100)
    refused = await _refusal(store, key, tokens=101)

    assert refused.retry_after is None
    assert str(refused).endswith("limited to 100 tokens a minute; this one counts as 101.")


# --- Budgets -----------------------------------------------------------------------------------


async def test_a_budget_that_is_spent_admits_nothing(store: KeyStore, other: KeyStore) -> None:
    key, _ = await store.create("alice", budget_usd=Decimal("0.02"))
    for used in (store, other):
        await used.admit(key, "jamba-mini", 1)
        await _charge(used, key)

    for used in (store, other):
        refused = await _refusal(used, key)
        assert (refused.status, refused.code) == (429, "insufficient_quota")
        assert str(refused) == "The API key 'alice' has spent its budget of 0.02 USD."


@pytest.mark.parametrize(
    ("period", "still", "anew"),
    [
        ("day", (2026, 11, 30, 23, 59, 59), (2026, 12, 1)),
        ("month", (2026, 11, 30, 23, 59, 59), (2026, 12, 1)),
    ],
)
async def test_a_budget_begins_anew_with_its_period(
    store: KeyStore, clock: Clock, period: Any, still: tuple[int, ...], anew: tuple[int, ...]
) -> None:
    clock.set(2026, 11, 30)
    key, _ = await store.create("alice", budget_usd=Decimal("0.01"), budget_period=period)
    await _charge(store, key)
    clock.set(*still)

    assert f"0.01 USD for this {period}." in str(await _refusal(store, key))
    clock.set(*anew)
    await store.admit(key, "jamba-mini", 1)


async def test_a_budget_without_a_period_is_for_good(store: KeyStore, clock: Clock) -> None:
    key, _ = await store.create("alice", budget_usd=Decimal("0.01"))
    await _charge(store, key)
    clock.set(2036, 1, 1)

    assert (await _refusal(store, key)).code == "insufficient_quota"


async def test_a_budget_does_not_admit_what_has_no_known_price(store: KeyStore) -> None:
    key, _ = await store.create("alice", budget_usd=Decimal(1))
    refused = await _refusal(store, key, cost_usd=None)

    assert (refused.status, refused.code) == (403, "model_not_allowed")
    assert "price of the model 'jamba-mini' is not known" in str(refused)


async def test_requests_at_the_same_time_do_not_spend_the_same_dollars(store: KeyStore) -> None:
    key, _ = await store.create("alice", budget_usd=Decimal(1))
    assert await store.admit(key, "jamba-mini", 1, cost_usd=Decimal("0.6")) == 1
    refused = await _refusal(store, key, cost_usd=Decimal("0.6"))

    assert (refused.status, refused.code) == (429, "insufficient_quota")
    assert "has not enough left of its budget of 1 USD for this request" in str(refused)
    assert await store.admit(key, "jamba-mini", 1, cost_usd=Decimal("0.4")) == Decimal("0.4")
    assert str(await _refusal(store, key)).endswith("those that are under way.")
    for cost in ("0.6", "0.4"):
        store.release(key, Decimal(cost))
    assert await store.admit(key, "jamba-mini", 1, cost_usd=Decimal(1)) == 1


async def test_two_processes_overspend_by_no_more_than_what_was_in_flight(
    store: KeyStore, other: KeyStore
) -> None:
    key, _ = await store.create("alice", budget_usd=Decimal("0.20"))

    async def client(used: KeyStore) -> int:
        for done in range(50):
            try:
                await used.admit(key, "jamba-mini", 1)
            except Refused:
                return done
            await _charge(used, key)
        return 50

    clients = [client(used) for used in (store, other) for _ in range(4)]
    admitted = sum(await asyncio.gather(*clients))

    assert 20 <= admitted <= 20 + len(clients)
    (listed,) = await other.list()
    assert listed.spent_usd == admitted * Decimal("0.01")


async def test_a_charge_that_is_cancelled_is_made_once(store: KeyStore, other: KeyStore) -> None:
    key, _ = await store.create("alice", budget_usd=Decimal(1))
    for steps in range(8):
        charging = asyncio.create_task(_charge(store, key))
        for _ in range(steps):
            await asyncio.sleep(0)
        charging.cancel()
        await asyncio.gather(charging, return_exceptions=True)
    await store.today()

    (spend,) = await other.today()
    assert 7 <= spend.requests <= 8  # one was cancelled before it began


# --- Spend -------------------------------------------------------------------------------------


async def test_the_days_spend_is_told_by_key_and_model(store: KeyStore, clock: Clock) -> None:
    alice, _ = await store.create("alice")
    master = await store.caller("sk-master")
    await _charge(store, alice, "0.000002")
    await _charge(store, alice, "0.0000002")
    await _charge(store, alice, "2", model="jamba-large")
    await _charge(store, master, None, model="self-hosted")

    assert await store.today() == [
        Spend(alice.id, "alice", "jamba-large", 1, 10, 5, Decimal(2)),
        Spend(alice.id, "alice", "jamba-mini", 2, 20, 10, Decimal("0.0000022")),
        Spend("master", "master", "self-hosted", 1, 10, 5, Decimal(0), unpriced=1),
    ]
    clock.set(2026, 11, 23)
    assert await store.today() == []


async def test_spend_is_written_when_the_store_is_closed(
    store: KeyStore, address: str, clock: Clock
) -> None:
    key, _ = await store.create("alice")
    async with KeyStore(address, master_key=MASTER, clock=clock) as closing:
        for _ in range(3):
            await _charge(closing, key)
        assert await store.today() == []

    (spend,) = await store.today()
    assert (spend.requests, spend.cost_usd) == (3, Decimal("0.03"))


async def test_what_a_failing_database_does_not_take_is_kept(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def rename(before: str, after: str) -> None:
        with sqlite3.connect(tmp_path / "keys.db") as connection:
            connection.execute(f"ALTER TABLE {before} RENAME TO {after}")
        connection.close()

    async with KeyStore(f"sqlite:///{tmp_path}/keys.db", master_key=MASTER, clock=clock) as store:
        key, _ = await store.create("alice", budget_usd=Decimal(1))
        await _charge(store, key)
        rename("ai21_chains_usage", "away")
        await _charge(store, key)
        assert "1 rows of usage are kept" in caplog.text
        refused = await _refusal(store, key)
        rename("away", "ai21_chains_usage")

        assert (refused.status, refused.code) == (503, "database_unavailable")
        (spend,) = await store.today()
        assert spend.requests == 2


async def test_a_store_that_cannot_write_at_its_end_says_so(tmp_path: Path) -> None:
    store = KeyStore(f"sqlite:///{tmp_path}/keys.db", master_key=MASTER)
    await store.open()
    await _charge(store, await store.caller("sk-master"))
    with sqlite3.connect(tmp_path / "keys.db") as connection:
        connection.execute("DROP TABLE ai21_chains_usage")
    connection.close()

    with pytest.raises(AI21Error, match=r"Cannot write to the database .*no such table"):
        await store.close()


# --- Administration ----------------------------------------------------------------------------


async def test_keys_are_listed_oldest_first_with_what_was_spent(
    store: KeyStore, clock: Clock
) -> None:
    alice, _ = await store.create(
        "alice", budget_usd=Decimal(25), budget_period="month", expires_in=timedelta(days=30)
    )
    clock.now += 1
    bob, _ = await store.create("bob", models=["jamba-mini"])
    await _charge(store, alice)
    await _charge(store, bob)
    await store.revoke(bob.id)

    listed = await store.list()
    assert [(key.name, key.spent_usd) for key in listed] == [
        ("alice", Decimal("0.01")),
        ("bob", Decimal("0.01")),
    ]
    assert listed[0].created == NOON
    assert listed[0].expires == NOON + timedelta(days=30)
    assert listed[1].revoked == NOON + timedelta(seconds=1)
    assert (listed[0].budget_usd, listed[0].budget_period) == (Decimal(25), "month")


async def test_a_key_can_be_revoked_once(store: KeyStore) -> None:
    key, _ = await store.create("alice")
    await store.revoke(key.id)

    with pytest.raises(ConfigurationError, match=f"no key with the id '{key.id}' to revoke"):
        await store.revoke(key.id)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"name": " "}, "name: a key needs a name"),
        ({"name": "a\x1b[2J"}, "name: a key needs a name"),
        ({"models": "jamba-mini"}, "models should be a list"),
        ({"models": []}, "models: name at least one"),
        ({"models": ["a", " "]}, "models: the name of a model is empty"),
        ({"budget_usd": Decimal(0)}, "budget_usd should be a Decimal above 0"),
        ({"budget_usd": Decimal("nan")}, "budget_usd should be a Decimal above 0"),
        ({"budget_usd": Decimal("1e10")}, "budget_usd should be a Decimal above 0"),
        ({"budget_usd": Decimal("1e-10")}, "budget_usd should be a Decimal above 0"),
        ({"budget_usd": 0.5}, "budget_usd should be a Decimal"),
        ({"budget_usd": Decimal(1), "budget_period": "year"}, "budget_period should be"),
        ({"budget_period": "day"}, "budget_period: there is no budget_usd"),
        ({"rpm": 0}, "rpm should be from 1"),
        ({"tpm": 2**31}, "tpm should be from 1"),
        ({"expires_in": timedelta(0)}, "expires_in should be above 0"),
        ({"expires_in": timedelta(days=99_999)}, "expires_in should be above 0"),
    ],
)
async def test_what_makes_no_sense_for_a_key_is_refused(
    arguments: dict[str, Any], problem: str
) -> None:
    store = KeyStore("sqlite://", master_key=None)

    with pytest.raises(ConfigurationError, match=problem):
        await store.create(**{"name": "alice", **arguments})
