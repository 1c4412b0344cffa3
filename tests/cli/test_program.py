"""What holds for all commands: errors, pipes, terminals and extras."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from ai21_chains import AI21Error, Emulator
from ai21_chains.__main__ import main
from ai21_chains.cli import _COMMANDS, app
from tests.cases import each

DOCUMENTS = Path(__file__).parents[2] / "examples" / "documents"
QUESTION = "How long does descaling take?"
NOTICE = "No AI21_API_KEY: the embedded emulator answers, extractively, without a language model.\n"
PROGRAM = [sys.executable, "-m", "ai21_chains"]
Run = Callable[..., CompletedProcess[str]]


FAILURES: dict[str, tuple[Sequence[str], int, str]] = {
    "missing path": (["ask", "x", "nowhere.txt"], 1, "nowhere.txt"),
    "empty file": (["ask", "x", "empty.txt"], 1, "empty"),
    "broken PDF": (["ask", "x", "broken.pdf"], 1, "broken.pdf"),
    "binary": (["ask", "x", "junk.bin"], 1, "junk.bin"),
    "huge file": (["ask", "x", "huge.txt"], 1, "60,000,000"),
    "empty question": (["ask", " ", "good.txt"], 2, "The question is empty"),
    "missing argument": (["ask", "x"], 2, "Missing argument 'PATH'"),
    "no such command": (["bogus"], 2, "No such command 'bogus'"),
    "no such option": (["ask", "x", "good.txt", "--jsn"], 2, "--jsn"),
    "no words": (["summarize", "good.txt", "--words", "0"], 2, "--words"),
    "nothing to summarize": (["summarize", "empty.txt"], 1, "empty"),
    "no set": (["evaluate", "."], 1, "no NAME_questions.jsonl"),
    "no folder": (["evaluate", "nowhere"], 1, "nowhere"),
    "no question": (["evaluate", ".", "--limit", "0"], 2, "--limit"),
    "misspelt command": (["sumarize"], 2, "Did you mean 'summarize'? Try 'ai21-chains --help'."),
    "nothing to talk about": (["chat", "nowhere.txt"], 1, "nowhere.txt"),
    "no schema": (["extract", "good.txt"], 2, "Missing option '--schema'"),
    "unknown way to ask": (["evaluate", ".", "--documents", "some"], 2, "--documents"),
    "port out of range": (["emulate", "--port", "99999"], 2, "--port"),
}


@each(("arguments", "code", "message"), FAILURES.values(), ids=FAILURES)
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


def test_a_reader_that_has_enough_is_no_failure() -> None:
    command = [*PROGRAM, "ask", QUESTION, str(DOCUMENTS / "staff_handbook.md")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        said = program.stderr.read().decode()

    assert (program.returncode, said) == (0, NOTICE)


def test_an_encoding_that_lacks_characters_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    with pytest.raises(SystemExit) as ended:
        app(["ask", QUESTION, str(DOCUMENTS), "--json"])
    sys.stdout.flush()

    assert not ended.value.code
    assert json.loads(written.getvalue())["citations"][0]["title"].startswith(
        "Tarnwell Barista 3 –"
    )


EXTRA = 'The command line needs an extra: pip install "ai21-chains[cli]"'


def test_without_typer_the_extra_cli_is_named() -> None:
    code = (
        "import sys; sys.modules['typer'] = None; sys.argv[1:] = ['ask', 'x', '.']\n"
        "from ai21_chains.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (1, f"{EXTRA}\n")


def test_without_rich_the_extra_cli_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import_module("ai21_chains.cli.ask")  # so that all that is imported anew is put back
    for name in [*sys.modules]:
        if name.startswith("ai21_chains.cli"):
            monkeypatch.delitem(sys.modules, name)
        elif name.partition(".")[0] == "rich":
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setattr(sys, "argv", ["ai21-chains", "ask", "x", "."])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == EXTRA  # which Python writes to stderr, with the exit code 1


def test_without_the_extra_pdf_its_name_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    done = run("ask", "x", DOCUMENTS)

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert 'pip install "ai21-chains[pdf]"' in done.stderr


@each(("command", "purpose"), _COMMANDS.items(), ids=_COMMANDS)
def test_the_help_of_a_command_begins_as_the_list_of_commands_says(
    run: Run, command: str, purpose: str
) -> None:
    listed, described = run("--help"), run(command, "-h")

    assert (listed.returncode, described.returncode) == (0, 0)
    assert f"{command} {purpose}" in " ".join(listed.stdout.split())
    assert f" {purpose} " in " ".join(described.stdout.split())
    assert described.stdout.startswith(f"Usage: ai21-chains {command} ")


def test_without_a_command_there_is_help_but_it_is_wrong_usage(run: Run) -> None:
    done = run()

    assert (done.returncode, done.stdout) == (2, run("--help").stdout)


def test_ctrl_c_ends_the_program_with_its_usual_code(run: Run) -> None:
    ended = threading.Event()

    def brain(request: dict[str, object]) -> str:
        interrupted = threading.main_thread().ident
        assert interrupted is not None
        signal.pthread_kill(interrupted, signal.SIGINT)
        ended.wait(10)  # the program is not to have the answer first
        return ""

    with Emulator(brain=brain).serve() as server:
        done = run("ask", QUESTION, DOCUMENTS, AI21_API_KEY="k", AI21_API_HOST=server.base_url)
        ended.set()

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
