"""`ai21-chains extract`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from ai21_chains import Emulator
from ai21_chains.chains.extraction import ExtractionResult
from tests.cases import each

NOTICE = "No AI21_API_KEY: the embedded emulator answers, extractively, without a language model.\n"
TEXT = "The lease begins in May.\nIt is for 3\nyears. Dogs and cats are allowed. Rent: 900 euros."
SCHEMA: Mapping[str, Any] = {
    "title": "Lease",
    "type": "object",
    "$defs": {"Pets": {"type": "array", "items": {"type": "string"}}},
    "properties": {
        "begins in": {"type": "string", "description": "The month in which it begins"},
        "years": {"type": "integer", "minimum": 1},
        "pets": {"$ref": "#/$defs/Pets"},
        "rent": {"type": ["number", "null"]},
        "deposit": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "heating": {"enum": ["gas", "oil"]},
        "address": {"properties": {"street": {"type": "string"}}, "required": ["street"]},
    },
    "required": ["begins in", "rent"],
}
REPLY = {
    "begins in": {"value": "May", "quotes": [{"doc": 0, "quote": "The lease begins in May."}]},
    "years": {"value": 4, "quotes": [{"doc": 0, "quote": "It is for 3 years."}]},
    "pets": [
        {"value": "dogs", "quotes": [{"doc": 0, "quote": "Dogs and cats are allowed."}]},
        {"value": "cats", "quotes": [{"doc": 0, "quote": "Dogs and cats are allowed."}]},
    ],
    "rent": {"value": 900, "quotes": [{"doc": 0, "quote": "Rent: 950 euros."}]},
    "deposit": {"value": None, "quotes": []},
    "address": {"value": None, "quotes": []},
}
Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def extract(run: Run, tmp_path: Path) -> Run:
    """Extract from the text what a model is made to find."""

    def extract(schema: object, *options: str, reply: object = REPLY) -> CompletedProcess[str]:
        (tmp_path / "lease.txt").write_text(TEXT)
        with Emulator(brain=lambda request: json.dumps(reply)).serve() as server:
            arguments = [tmp_path / "lease.txt", "--schema", schema, *options]
            environment = {"AI21_API_KEY": "k", "AI21_API_HOST": server.base_url}
            return run("extract", *arguments, **environment)

    return extract


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    path = tmp_path / "lease.json"
    path.write_text(json.dumps(SCHEMA))
    return path


def test_each_field_has_its_value_and_the_quotes_follow(extract: Run, schema: Path) -> None:
    done = extract(schema)
    path = schema.parent / "lease.txt"

    assert done.stdout.startswith(
        "begins in: May [1]\n"
        "years: 4 [2]\n"
        "years, not in its quotes: 4\n"
        'pets: ["dogs", "cats"] [3]\n'
        "rent, without a quote that proves it: 900\n"
        "deposit: not found\n"
        "heating: not found\n"
        "address: not found\n"
        f"\n[1] {path}\n“The lease begins in May.”\n"
        f"\n[2] {path}\n“It is for 3\nyears.”\n"
        f"\n[3] {path}\n“Dogs and cats are allowed.”\n"
        "\nNot verified, so not cited: “Rent: 950 euros.” "
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_json_is_the_result_by_the_names_of_the_schema(extract: Run, schema: Path) -> None:
    done = extract(schema, "--json")
    result: ExtractionResult[Any] = ExtractionResult.model_validate_json(done.stdout)

    found = {"begins in": "May", "years": 4, "pets": ["dogs", "cats"]}
    nothing = dict.fromkeys(["rent", "deposit", "heating", "address"])
    assert result.value == found | nothing
    assert result.verified == found
    assert (done.returncode, done.stderr) == (0, "")


def test_values_that_break_the_schema_are_problems(extract: Run, schema: Path) -> None:
    quotes = [{"doc": 0, "quote": "It is for 3 years."}]
    wrong = {"years": {"value": 0, "quotes": quotes}, "heating": {"value": "sun", "quotes": quotes}}
    done = extract(schema, reply=REPLY | wrong)

    assert "\nProblem: years: Input should be greater than or equal to 1" in done.stdout
    assert "\nProblem: heating: Input should be 'gas' or 'oil'" in done.stdout


def test_a_further_value_is_shown_with_its_quote(run: Run, schema: Path) -> None:
    text = "The lease begins in {}."

    def brain(request: dict[str, Any]) -> str:
        month = "June" if "June" in json.dumps(request) else "May"
        quote = {"doc": 0, "quote": text.format(month)}
        return json.dumps({"begins in": {"value": month, "quotes": [quote]}})

    paths = [schema.parent / f"{month}.txt" for month in ("May", "June")]
    for path in paths:
        path.write_text(text.format(path.stem) + " So it is." * 25_000)
    with Emulator(brain=brain).serve() as server:
        environment = {"AI21_API_KEY": "k", "AI21_API_HOST": server.base_url}
        done = run("extract", *paths, "--schema", schema, **environment)

    assert done.stdout.startswith("begins in: May [1]\nbegins in, elsewhere: June [2]\n")


def test_without_a_key_the_emulator_answers(run: Run, schema: Path) -> None:
    (schema.parent / "lease.txt").write_text(TEXT)
    done = run("extract", schema.parent / "lease.txt", "--schema", schema)

    assert "begins in: The lease begins in May. [1]\n" in done.stdout
    assert (done.returncode, done.stderr) == (0, NOTICE)


# --- Schemas -------------------------------------------------------------------------------------

MODEL = """
from lease_parts import Month
from pydantic import BaseModel

class Lease(BaseModel):
    begins: Month
"""


def test_a_schema_may_be_yaml(extract: Run, tmp_path: Path) -> None:
    path = tmp_path / "lease.yaml"
    path.write_text("properties:\n  begins in:\n    type: [string, 'null']\n")

    assert extract(path).stdout.startswith("begins in: May [1]\n")


@pytest.mark.parametrize("named", ["lease_model.py:Lease", "lease_model:Lease"])
def test_a_schema_may_be_a_pydantic_model(
    extract: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    (tmp_path / "lease_parts.py").write_text("Month = str")
    (tmp_path / "lease_model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")  # taken back after the test, with what the command adds

    done = extract(named, reply={"begins": REPLY["begins in"]})

    assert done.stdout.startswith("begins: May [1]\n")


WRONG = {
    "no file": ("nowhere.json", None, "No such file or directory"),
    "no module": ("nowhere:Lease", None, "No module named 'nowhere'"),
    "no class": ("json:loads", None, "loads is no pydantic model class"),
    "no such name": ("json:lodas", None, "lodas"),
    "broken code": ("broken.py:Lease", "1/0", "division by zero"),
    "broken JSON": ("broken.json", "{", "line 1 column 2"),
    "broken YAML": ("broken.yaml", "a: [", "line 1, column 5"),
    "no object": ("list.json", '{"type": "array"}', 'an object with "properties"'),
    "no mapping": ("list.json", "[]", 'an object with "properties"'),
    "no fields": ("empty.json", '{"properties": {}}', 'an object with "properties"'),
    "odd type": ("odd.json", '{"properties": {"a": {"type": "txt"}}}', "unknown type 'txt'"),
    "no target": ("ref.json", '{"properties": {"a": {"$ref": "#/nope"}}}', "'#/nope' not found"),
}


@each(("named", "content", "reason"), WRONG.values(), ids=WRONG)
def test_a_schema_that_is_of_no_use_is_one_line(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: str,
    content: str | None,
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    if content is not None:
        Path(named.partition(":")[0]).write_text(content)
    done = run("extract", ".", "--schema", named)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Error: --schema {named}: ")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
