"""`ai21-chains batch`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from ai21_chains import Emulator
from tests.cases import each

Run = Callable[..., CompletedProcess[str]]

ROW = {"method": "POST", "url": "/v1/chat/completions"}
BODY = {"model": "jamba-mini", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    lines = [{**ROW, "custom_id": "a", "body": BODY}]
    lines.append({**ROW, "custom_id": "b", "body": {"model": "jamba-mini"}})
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture
def online() -> Iterator[dict[str, str]]:
    with Emulator(brain=lambda _: "Hällo\x1b[31m").serve() as server:
        yield {"AI21_API_KEY": "k", "AI21_API_HOST": server.base_url}


def test_a_batch_is_submitted_looked_at_and_read(run: Run, rows: Path, online: dict) -> None:
    submitted = run("batch", "submit", rows, **online)
    batch_id = submitted.stdout.strip()
    assert (submitted.returncode, len(batch_id)) == (0, 36)
    assert f"2 rows. Get their answers with: ai21-chains batch results {batch_id}" in (
        submitted.stderr
    )

    shown = json.loads(run("batch", "status", batch_id).stdout)
    assert (shown["status"], shown["request_counts"]["failed"]) == ("COMPLETED", 1)

    done = run("batch", "results", batch_id)
    assert [json.loads(line)["custom_id"] for line in done.stdout.splitlines()] == ["b", "a"]
    assert done.stderr == f"Batch {batch_id}: COMPLETED, 2 of 2 rows done, 1 failed\n"
    assert "\x1b" not in done.stdout


@each(
    ("arguments", "code", "words"),
    [
        (["submit", "none.jsonl"], 1, "none.jsonl cannot be read: No such file"),
        (["status", "none"], 1, "Batch not found"),
        (["results", "none"], 1, "Batch not found"),
        (["results", ".."], 2, "is no id"),
        ([], 2, ""),
    ],
    ids=["file", "status", "results", "id", "nothing"],
)
def test_what_fails_is_one_line(
    run: Run, online: dict, arguments: list[str], code: int, words: str
) -> None:
    done = run("batch", *arguments, **online)

    assert done.returncode == code
    assert words in done.stderr
    if words:
        assert done.stderr.count("\n") == 1


def test_a_file_that_is_no_batch_is_not_sent(run: Run, rows: Path, online: dict) -> None:
    rows.write_text("{}")

    done = run("batch", "submit", rows, **online)

    assert (done.returncode, done.stdout) == (2, "")
    assert "Line 1 of the batch is no request" in done.stderr


def test_without_a_key_it_is_said_what_is_missing(run: Run, rows: Path) -> None:
    done = run("batch", "submit", rows)

    assert done.returncode == 2
    assert "AI21_API_KEY" in done.stderr
