"""`ai21-chains ask`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

from ai21_chains import Emulator, GroundedAnswer
from ai21_chains.documents import read_text

DOCUMENTS = Path(__file__).parents[2] / "examples" / "documents"
QUESTION = "How long does descaling take?"
NOTICE = "No AI21_API_KEY: the embedded emulator answers, extractively, without a language model.\n"
Run = Callable[..., CompletedProcess[str]]


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


def test_a_document_cannot_give_orders_to_the_terminal(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Descaling takes 25 minutes \x1b]0;owned\x07 at least.")

    done = run("ask", QUESTION, path)

    assert "25 minutes" in done.stdout
    assert "\x1b" not in done.stdout
