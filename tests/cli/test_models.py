"""`ai21-chains models`."""

from __future__ import annotations

import json
from collections.abc import Callable
from subprocess import CompletedProcess

from ai21_chains import Emulator
from ai21_chains._catalog import LIVE, MODELS
from tests.cases import each
from tests.servers.scripted import answer, scripted

Run = Callable[..., CompletedProcess[str]]


def test_without_a_key_the_catalogue_is_listed(run: Run) -> None:
    head, *lines = run("models").stdout.splitlines()

    assert head.split() == ["MODEL", "NAME", "CONTEXT", "OUTPUT", "IN", "$/M", "OUT", "$/M"]
    assert [line.split()[0] for line in lines] == list(LIVE)
    assert lines[0].split() == ["jamba-mini", "Jamba", "Mini", "256,000", "4,096", "0.20", "0.40"]


def test_all_adds_the_retired_models_with_their_end_and_successor(run: Run) -> None:
    lines = run("models", "--all").stdout.splitlines()

    assert len(lines) == 1 + len(MODELS)
    assert any(line.startswith("j2-ultra") for line in lines)
    (line,) = [line for line in lines if line.startswith("jamba-1.5-large")]
    assert line.split()[-2:] == ["2025-05-06", "jamba-large"]


def test_the_list_as_json_has_exact_prices(run: Run) -> None:
    lines = json.loads(run("models", "--all", "--json").stdout)
    found = {line["id"]: line for line in lines}

    assert list(found) == list(MODELS)
    assert found["jamba-large"]["output_usd"] == "8.00"
    assert found["j2-mid"]["retired"] == "2024-11-11"


def test_with_a_key_the_models_are_those_that_the_server_lists(run: Run) -> None:
    emulator = Emulator(api_keys=["good"])
    with emulator.serve() as server:
        done = run("models", "--json", AI21_API_KEY="good", AI21_API_HOST=server.base_url)
    lines = json.loads(done.stdout)

    assert {line["id"] for line in lines} == set(LIVE)
    assert {line["context_tokens"] for line in lines} == {256_000}
    assert emulator.requests[-1].path.endswith("/models")


def test_a_key_that_the_server_lists_nothing_for_gets_the_catalogue(run: Run) -> None:
    with Emulator(api_keys=["good"]).serve() as server:
        done = run("models", AI21_API_KEY="bad", AI21_API_HOST=server.base_url)

    assert len(done.stdout.splitlines()) == 1 + len(LIVE)
    assert "lists no models for this key" in done.stderr


def test_an_address_that_is_none_is_wrong_usage(run: Run) -> None:
    done = run("models", AI21_API_KEY="good", AI21_API_HOST="nowhere")

    assert done.returncode == 2
    assert "base_url should be an address such as" in done.stderr


def test_offline_nobody_is_asked(run: Run) -> None:
    done = run("models", "--offline", AI21_API_KEY="k", AI21_API_HOST="http://127.0.0.1:1")

    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1 + len(LIVE)


def test_a_price_that_the_server_does_not_say_is_left_out(run: Run) -> None:
    model = {"id": "jamba-next", "context_length": 9, "max_completion_tokens": 4, "pricing": None}
    with scripted(answer({"data": [model]})) as server:
        done = run("models", AI21_API_KEY="k", AI21_API_HOST=server.url)

    assert done.stdout.splitlines()[1].split() == ["jamba-next", "jamba-next", "9", "4"]


@each(
    "body",
    [{"models": []}, ["jamba"], {"data": [{"id": "jamba"}]}, None],
    ids=["no-data", "a-list", "a-model-without-limits", "null"],
)
def test_what_is_no_list_of_models_is_one_line(run: Run, body: object) -> None:
    with scripted(answer(body)) as server:
        done = run("models", AI21_API_KEY="k", AI21_API_HOST=server.url)

    assert (done.returncode, done.stdout) == (1, "")
    assert "does not answer with a list of models" in done.stderr
    assert done.stderr.count("\n") == 1
