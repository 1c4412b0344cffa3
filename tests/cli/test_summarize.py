"""`ai21-chains summarize`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

from ai21_chains import Emulator
from ai21_chains.chains.summarize import Summary
from ai21_chains.emulator import Reply
from tests.cases import each

DOCUMENTS = Path(__file__).parents[2] / "examples" / "documents"
NOTICE = "No AI21_API_KEY: the embedded emulator answers, extractively, without a language model.\n"
Run = Callable[..., CompletedProcess[str]]


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


@each(("said", "shown"), SHORTCOMINGS.values(), ids=SHORTCOMINGS)
def test_a_summary_says_what_is_wrong_with_it(run: Run, said: Reply, shown: str) -> None:
    with Emulator(brain=lambda request: said).serve() as server:
        done = run("summarize", DOCUMENTS, AI21_API_KEY="k", AI21_API_HOST=server.base_url)

    assert done.stdout.startswith(shown)
    assert (done.returncode, done.stderr) == (0, "")
