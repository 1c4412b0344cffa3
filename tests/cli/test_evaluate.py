"""`ai21-chains evaluate`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from ai21_chains import Emulator
from ai21_chains.emulator import Fault
from ai21_chains.evaluation import EvaluationReport

NOTICE = "No AI21_API_KEY: the embedded emulator answers, extractively, without a language model.\n"
Run = Callable[..., CompletedProcess[str]]


SET = {
    "tiny_docs.jsonl": [
        {"id": "mill", "text": "The mill was built in 1562. It has two wheels."},
        {"id": "port", "text": "Ships pay 12 guilders a day. The port closes at night."},
    ],
    "tiny_questions.jsonl": [
        {
            "id": "built",
            "question": "When was the mill built?",
            "answerable": True,
            "answers": ["1562"],
            "doc_ids": ["mill"],
            "evidence": [{"doc_id": "mill", "start": 0, "end": 27}],
        },
        {
            "id": "roof",
            "question": "Who thatched the roof?",
            "answerable": False,
            "doc_ids": ["mill"],
        },
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, rows in SET.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_an_evaluation_is_a_report_in_markdown(run: Run, folder: Path) -> None:
    done = run("evaluate", folder)

    assert done.stdout.startswith("# Grounded QA: tiny\n")
    assert "- Model: emulator, extractive (no language model)\n" in done.stdout
    assert "- Questions: 2 of 2, seed 0\n- Asked with: the relevant documents\n" in done.stdout
    assert "| Rightly answered or rightly abstained | 100.0% |" in done.stdout
    assert (done.returncode, done.stderr) == (0, NOTICE)


def test_an_evaluation_does_as_it_is_told(run: Run, folder: Path) -> None:
    items = folder / "items.out"
    options = ["--set", "tiny", "--documents", "all", "--limit", "1", "--seed", "3"]
    more = ["--concurrency", "1", "--items", items, "--json"]
    done = run("evaluate", folder, *options, *more)
    report = EvaluationReport.model_validate_json(done.stdout)

    assert (report.available, len(report.items), report.seed) == (2, 1, 3)
    assert report.documents_for == "all documents"
    assert [json.loads(line)["id"] for line in items.read_text().splitlines()] == [
        item.id for item in report.items
    ]


def test_an_evaluation_on_a_server_names_its_model(run: Run, folder: Path) -> None:
    with Emulator().serve() as server:
        environment = {"AI21_API_KEY": "k", "AI21_API_HOST": server.base_url}
        done = run("evaluate", folder, "--model", "jamba-large", **environment)

    assert "- Model: jamba-large\n" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")


def test_an_evaluation_fails_when_every_call_does(run: Run, folder: Path) -> None:
    def answer(status: int, times: int | None) -> CompletedProcess[str]:
        with Emulator(faults=[Fault(status=status, times=times)]).serve() as server:
            environment = {"AI21_API_KEY": "k", "AI21_API_HOST": server.base_url}
            return run("evaluate", folder, **environment)

    one, all_of_them = answer(401, 1), answer(401, None)

    assert (one.returncode, one.stderr) == (0, "")
    assert "## Failed calls" in one.stdout
    assert "- Failed calls, which count as 0: 2\n" in all_of_them.stdout
    assert (all_of_them.returncode, all_of_them.stderr.count("\n")) == (1, 1)
    assert all_of_them.stderr.startswith("Error: Every call failed, the first with Auth")


def test_a_terminal_shows_how_far_an_evaluation_has_come(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Emulator(faults=[Fault(status=401, times=1)]).serve() as server:
        environment = {"AI21_API_KEY": "k", "AI21_API_HOST": server.base_url}
        done = run("evaluate", folder, "--json", **environment)

    assert "Asking, 1 failed" in done.stderr
    assert json.loads(done.stdout)["name"] == "tiny"
