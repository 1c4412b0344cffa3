"""`ai21-chains keys`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.cases import each

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def keys(run: Run, tmp_path: Path) -> Run:
    """Run `ai21-chains keys` on a database of the test's own."""

    def keys(*arguments: str) -> CompletedProcess[str]:
        return run(
            "keys", *arguments, AI21_CHAINS_DATABASE_URL=f"sqlite:///{tmp_path}/made/keys.db"
        )

    return keys


def test_a_new_key_is_all_that_goes_to_stdout(keys: Run) -> None:
    done = keys("create", "alice")

    assert done.returncode == 0
    assert done.stdout.startswith("sk-")
    assert len(done.stdout.split()) == 1
    assert "for alice; it cannot be shown again" in done.stderr


def test_what_a_key_may_do_is_listed(keys: Run) -> None:
    options = "--models jamba-mini,chain/qa --budget 2.50 --per month --rpm 60 --tpm 5000"
    keys("create", "alice", *options.split(), "--expires", "30d")
    keys("create", "bob")
    head, alice, bob = keys("list").stdout.splitlines()

    assert head.split()[:4] == ["ID", "NAME", "KEY", "MODELS"]
    assert "chain/qa,jamba-mini" in alice
    assert {"2.5/month", "60", "5000", "0.0000"} <= set(alice.split())
    assert bob.split()[1] == "bob"
    assert bob.split()[3] == "all"


def test_the_list_as_json_has_no_key_in_it(keys: Run) -> None:
    token = keys("create", "alice", "--budget", "$5", "--expires", "12h").stdout.strip()
    done = keys("list", "--json")
    (key,) = json.loads(done.stdout)

    assert (key["name"], key["budget_usd"], key["models"]) == ("alice", "5", None)
    assert token.startswith(key["prefix"])
    assert token not in done.stdout


def test_a_new_key_as_json_has_its_settings(keys: Run) -> None:
    made = json.loads(keys("create", "alice", "--rpm", "3", "--json").stdout)

    assert (made["name"], made["rpm"], made["key"][:3]) == ("alice", 3, "sk-")


def test_a_key_is_revoked_by_its_id(keys: Run) -> None:
    made = json.loads(keys("create", "alice", "--json").stdout)
    done = keys("revoke", made["id"])

    assert (done.returncode, done.stderr) == (0, f"Key {made['id']} is revoked.\n")
    assert "revoked 20" in keys("list").stdout


def test_an_empty_list_says_how_to_make_a_key(keys: Run) -> None:
    done = keys("list")

    assert (done.returncode, done.stdout) == (0, "")
    assert "keys create NAME" in done.stderr
    assert json.loads(keys("list", "--json").stdout) == []


@each(
    ("arguments", "code", "message"),
    [
        ("revoke nothing", 2, "no key with the id 'nothing'"),
        ("create alice --budget much", 2, "--budget: 'much' is no amount of USD"),
        ("create alice --budget -1", 2, "budget_usd should be a Decimal above 0"),
        ("create alice --budget 1 --per year", 2, "--per"),
        ("create alice --per day", 2, "no budget_usd"),
        ("create alice --expires soon", 2, "--expires: 'soon' is no time"),
        ("create alice --expires 0d", 2, "expires_in should be above 0"),
        ("create alice --rpm 0", 2, "--rpm"),
        ("create alice --models ,", 2, "the name of a model is empty"),
        ("create", 2, "Missing argument 'NAME'"),
        ("list --database mysql://host/keys", 2, "'mysql' is not supported"),
        ("list --database sqlite:////dev/null/keys.db", 1, "Cannot open the database"),
    ],
)
def test_a_failure_is_one_line(keys: Run, arguments: str, code: int, message: str) -> None:
    done = keys(*arguments.split())

    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_database_can_be_that_of_a_configuration(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "model_list:\n"
        "  - model_name: mini\n"
        "    litellm_params: {model: ai21/jamba-mini, api_key: k}\n"
        f"general_settings: {{database_url: 'sqlite:///{tmp_path}/configured.db'}}\n"
    )

    assert run("keys", "create", "alice", "--config", config).returncode == 0
    assert (tmp_path / "configured.db").exists()


def test_without_the_extra_its_name_is_said(keys: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("keys", "_keys_database", "_keys_ledger"):
        monkeypatch.delitem(sys.modules, f"ai21_chains.serving.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    done = keys("list")

    assert (done.returncode, done.stderr) == (
        2,
        'Error: Keys need an extra: pip install "ai21-chains[serve]"\n',
    )
