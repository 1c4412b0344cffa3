"""The command line."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from ai21_chains import AI21Error, Emulator, GroundedAnswer
from ai21_chains.chains.summarize import Summary
from ai21_chains.cli import app
from ai21_chains.documents import read_text
from ai21_chains.emulator import Fault, Reply
from ai21_chains.evaluation import EvaluationReport

DOCUMENTS = Path(__file__).parent.parent / "examples" / "documents"
QUESTION = "How long does descaling take?"
NOTICE = "No AI21_API_KEY: the embedded emulator answers, extractively, without a language model.\n"
PROGRAM = [sys.executable, "-m", "ai21_chains"]


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


class Done(NamedTuple):
    returncode: object
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process: a new one takes a second to start."""

    def run(*arguments: str | Path, **environment: str) -> Done:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            app([*map(str, arguments)], prog_name="ai21-chains")
        return Done(ended.value.code or 0, *capsys.readouterr())

    return run


def test_an_answer_is_followed_by_its_citations(run: Run) -> None:
    done = run("ask", QUESTION, DOCUMENTS)

    quote = "Descaling takes 25 minutes and cannot be interrupted."
    assert done.stdout == (
        f"{quote} [1]\n\n[1] {DOCUMENTS / 'coffee_machine_manual.pdf'}, page 4\n“{quote}”\n"
    )
    assert (done.returncode, done.stderr) == (0, NOTICE)


def test_json_is_all_there_is_on_stdout_and_points_into_the_files(run: Run) -> None:
    done = run("ask", QUESTION, DOCUMENTS, "--json")
    answer = GroundedAnswer.model_validate_json(done.stdout)

    (citation,) = answer.citations
    assert citation.source is not None
    text = read_text(citation.source)
    assert text[citation.source_start : citation.source_end] == citation.quote
    assert (done.returncode, done.stderr) == (0, NOTICE)


def test_in_a_text_file_the_offsets_count_in_the_file_itself(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_bytes("# Notes\r\n\r\nDescaling takes\r\n25 minutes, “at least” 🔥.\r\n".encode())
    answer = GroundedAnswer.model_validate_json(run("ask", QUESTION, path, "--json").stdout)

    text = path.read_bytes().decode()
    assert answer.citations
    assert all(text[c.start : c.end] == c.quote for c in answer.citations)


def test_a_question_without_an_answer_is_no_failure(run: Run) -> None:
    done = run("ask", "Who won the chess olympiad in Zanzibar?", DOCUMENTS, "--json")
    answer = GroundedAnswer.model_validate_json(done.stdout)

    assert (done.returncode, answer.answerable, answer.citations) == (0, False, [])


# --- Summaries -----------------------------------------------------------------------------------


def test_a_summary_is_followed_by_its_key_points_and_their_quotes(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Descaling takes\n25 minutes.")
    done = run("summarize", path)

    assert done.stdout == (
        "Descaling takes 25 minutes. [1]\n\nKey points:\n- Descaling takes 25 minutes. [1]\n\n"
        f"[1] {path}\n“Descaling takes\n25 minutes.”\n"
    )
    assert (done.returncode, done.stderr) == (0, NOTICE)


def test_a_summary_as_json_is_all_there_is_on_stdout(run: Run) -> None:
    done = run("summarize", DOCUMENTS, "--json", "--words", "80")
    summary = Summary.model_validate_json(done.stdout)

    assert summary.status == "complete"
    assert summary.key_points
    assert (done.returncode, done.stderr) == (0, NOTICE)


SHORTCOMINGS = {
    "cut off": (Reply('{"answer": "Desc', finish_reason="length"), "Desc\n\nThe summary is not"),
    "empty": (Reply(""), "\nThe model gave no summary.\n"),
    "invented": (
        Reply('{"citations": ["It takes 99 minutes."], "answer": "Long."}'),
        "Long.\n\nNot verified, so not cited: “It takes 99 minutes.” ",
    ),
}


@pytest.mark.parametrize(("said", "shown"), SHORTCOMINGS.values(), ids=SHORTCOMINGS)
def test_a_summary_says_what_is_wrong_with_it(run: Run, said: Reply, shown: str) -> None:
    with Emulator(brain=lambda request: said).serve() as server:
        done = run("summarize", DOCUMENTS, AI21_API_KEY="k", AI21_API_HOST=server.base_url)

    assert done.stdout.startswith(shown)
    assert (done.returncode, done.stderr) == (0, "")


# --- Evaluation ----------------------------------------------------------------------------------


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
    def answer(status: int, times: int | None) -> Done:
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


# --- Failures ------------------------------------------------------------------------------------

FAILURES: dict[str, tuple[Sequence[str], int, str]] = {
    "missing path": (["ask", "x", "nowhere.txt"], 1, "nowhere.txt"),
    "empty file": (["ask", "x", "empty.txt"], 1, "empty"),
    "broken PDF": (["ask", "x", "broken.pdf"], 1, "broken.pdf"),
    "binary": (["ask", "x", "junk.bin"], 1, "junk.bin"),
    "huge file": (["ask", "x", "huge.txt"], 1, "60,000,000"),
    "empty question": (["ask", " ", "good.txt"], 2, "The question is empty"),
    "missing argument": (["ask", "x"], 2, "Missing argument 'paths'"),
    "no such command": (["bogus"], 2, "No such command 'bogus'"),
    "no such option": (["ask", "x", "good.txt", "--jsn"], 2, "--jsn"),
    "no words": (["summarize", "good.txt", "--words", "0"], 2, "--words"),
    "nothing to summarize": (["summarize", "empty.txt"], 1, "empty"),
    "no set": (["evaluate", "."], 1, "no NAME_questions.jsonl"),
    "no folder": (["evaluate", "nowhere"], 1, "nowhere"),
    "no question": (["evaluate", ".", "--limit", "0"], 2, "--limit"),
    "unknown way to ask": (["evaluate", ".", "--documents", "some"], 2, "--documents"),
    "port out of range": (["emulate", "--port", "99999"], 2, "--port"),
}


@pytest.mark.parametrize(("arguments", "code", "message"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_one_line(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: Sequence[str],
    code: int,
    message: str,
) -> None:
    (tmp_path / "good.txt").write_text("Text.")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 no more")
    (tmp_path / "junk.bin").write_bytes(bytes(range(256)))
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(60_000_000)
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)

    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_debug_lets_the_error_through() -> None:
    with pytest.raises(AI21Error):
        app(["ask", "x", "nowhere.txt", "--debug"])


def test_with_a_key_the_request_goes_to_the_server_with_that_key(run: Run) -> None:
    with Emulator(api_keys=["good"]).serve() as server:
        environment = {"AI21_API_HOST": server.base_url}
        good = run("ask", QUESTION, DOCUMENTS, AI21_API_KEY="good", **environment)
        bad = run("ask", QUESTION, DOCUMENTS, AI21_API_KEY="bad", **environment)
        odd = run(
            "ask", QUESTION, DOCUMENTS, "--model", "gpt-9", AI21_API_KEY="good", **environment
        )
        keys = [r.headers["authorization"] for r in server.emulator.requests]

    assert (good.returncode, good.stderr) == (0, "")
    assert (bad.returncode, bad.stderr[:11]) == (1, "Error: 401 ")
    assert (odd.returncode, odd.stderr[:11]) == (1, "Error: 422 ")
    assert keys == ["Bearer good", "Bearer bad", "Bearer good"]


def test_a_reader_that_has_enough_is_no_failure() -> None:
    command = [*PROGRAM, "ask", QUESTION, str(DOCUMENTS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        said = program.stderr.read().decode()

    assert (program.returncode, said) == (0, NOTICE)


def test_an_encoding_that_lacks_characters_is_no_failure() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    command = [*PROGRAM, "ask", QUESTION, str(DOCUMENTS), "--json"]
    done = subprocess.run(command, capture_output=True, env=environment, check=True)

    assert json.loads(done.stdout)["citations"][0]["title"].startswith("Tarnwell Barista 3 –")


def test_a_document_cannot_give_orders_to_the_terminal(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Descaling takes 25 minutes \x1b]0;owned\x07 at least.")

    done = run("ask", QUESTION, path)

    assert "25 minutes" in done.stdout
    assert "\x1b" not in done.stdout


def test_the_emulator_serves_until_ctrl_c_or_sigterm(run: Run) -> None:
    command = [*PROGRAM, "emulate", "--port", "0"]
    pipe = subprocess.PIPE
    signals = (signal.SIGINT, signal.SIGTERM)
    programs = [subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) for _ in signals]
    for program, number in zip(programs, signals, strict=True):
        with program:
            assert program.stdout is not None
            assert program.stderr is not None
            address = program.stdout.readline().split()[3]
            done = run("ask", QUESTION, DOCUMENTS, AI21_API_KEY="k", AI21_API_HOST=address)
            program.send_signal(number)
            said = program.stderr.read()

        assert (done.returncode, program.returncode, said) == (0, 0, "")


def test_a_port_in_use_is_one_line(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("emulate", "--port", port)

    assert done.returncode == 1
    assert done.stderr == (
        f"Error: Cannot listen on port {port} of 127.0.0.1 (Address already in use); choose "
        "another with --port\n"
    )


def test_without_the_extra_cli_its_name_is_said() -> None:
    code = "import sys; sys.modules['typer'] = None; from ai21_chains.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == 'The command line needs an extra: pip install "ai21-chains[cli]"\n'


def test_without_the_extra_pdf_its_name_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    done = run("ask", "x", DOCUMENTS)

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert 'pip install "ai21-chains[pdf]"' in done.stderr
