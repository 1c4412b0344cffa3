"""`ai21-chains chat`."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from ai21_chains import Emulator
from ai21_chains.cli import app
from ai21_chains.emulator import Fault, extractive
from ai21_chains.errors import AuthenticationError
from tests.cases import each

NOTICE = "No AI21_API_KEY: the embedded emulator answers, extractively, without a language model.\n"
PROGRAM = [sys.executable, "-m", "ai21_chains"]
TEXT = "Tea is steeped for 3 minutes. Coffee is brewed for 25 seconds."
STEEPED = "Tea is steeped for 3 minutes."
BREWED = "Coffee is brewed for 25 seconds."
Run = Callable[..., CompletedProcess[str]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Interrupted(Terminal):
    def readline(self, size: int | None = -1, /) -> str:
        raise KeyboardInterrupt


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def talk(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    def talk(path: Path, said: io.TextIOBase | None, **environment: str) -> CompletedProcess[str]:
        monkeypatch.setattr(sys, "stdin", said)
        return run("chat", path, **environment)

    return talk


def shown(quote: str, path: Path) -> str:
    return f"{quote} [1]\n\n[1] {path}\n“{quote}”\n\n"


def test_questions_can_be_piped_into_the_program(talk: Run, notes: Path) -> None:
    questions = b"How long is tea steeped?\n\n  How long is coffee brewed?"
    done = talk(notes, io.TextIOWrapper(io.BytesIO(questions)))

    assert done.stdout == shown(STEEPED, notes) + shown(BREWED, notes)
    assert (done.returncode, done.stderr) == (0, NOTICE)


def test_a_terminal_is_prompted_until_ctrl_d(notes: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*PROGRAM, "chat", str(notes)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE) as program:
        os.close(theirs)
        assert program.stderr is not None
        seen = ""
        for prompts, typed in enumerate([b"How long is tea steeped?\n", b"\x04"], start=1):
            while seen.count("> ") < prompts:
                seen += os.read(ours, 4096).decode()
            os.write(ours, typed)
        said = program.stderr.read().decode()
    os.close(ours)

    assert f"{STEEPED} [1]\r\n" in seen
    assert (program.returncode, said) == (0, NOTICE + "\n")


ENDS = {
    "quit": Terminal("/quit\nHow long is tea steeped?\n"),
    "end of file": Terminal(),
    "Ctrl-C": Interrupted(),
}


@each("said", ENDS.values(), ids=ENDS)
def test_a_conversation_in_a_terminal_can_be_ended(talk: Run, notes: Path, said: Terminal) -> None:
    done = talk(notes, said)

    assert (done.returncode, done.stdout) == (0, "> ")
    assert done.stderr.strip() == NOTICE.strip()


def test_without_a_standard_input_there_are_no_questions(talk: Run, notes: Path) -> None:
    done = talk(notes, None)

    assert (done.returncode, done.stdout) == (0, "")


def test_a_question_goes_with_the_turns_before_it_and_all_of_a_few_documents(
    talk: Run, notes: Path
) -> None:
    with Emulator().serve() as server:
        said = io.StringIO("How long is tea steeped?\nAnd how long is coffee brewed?\n")
        done = talk(notes, said, AI21_API_KEY="k", AI21_API_HOST=server.base_url)
        first, second = (request.json for request in server.emulator.requests)

    assert (done.returncode, done.stderr) == (0, "")
    turns = [(message["role"], message["content"]) for message in second["messages"][1:3]]
    assert turns == [("user", "How long is tea steeped?"), ("assistant", f"{STEEPED} [1]")]
    assert first["documents"] == second["documents"]
    assert [document["content"] for document in first["documents"]] == [TEXT]


def test_in_many_documents_the_rewritten_question_is_searched_for(
    talk: Run, tmp_path: Path
) -> None:
    def brain(request: dict[str, object]) -> object:
        rewrite = "documents" not in request
        return "How long is coffee brewed?" if rewrite else extractive(request)

    path = tmp_path / "many.txt"
    path.write_text(f"{TEXT}\n\n" + "Water is boiled in a kettle.\n\n" * 800)
    with Emulator(brain=brain).serve() as server:
        said = io.StringIO("How long is tea steeped?\nAnd coffee?\n")
        done = talk(path, said, AI21_API_KEY="k", AI21_API_HOST=server.base_url)

    assert done.stdout == shown(STEEPED, path) + shown(BREWED, path)
    assert done.stderr == "(Searched for: How long is coffee brewed?)\n"
    assert done.returncode == 0


@each(("stdin", "code"), [(io.StringIO, 1), (Terminal, 0)])
def test_a_conversation_goes_on_after_an_error(
    talk: Run, notes: Path, stdin: type[io.StringIO], code: int
) -> None:
    with Emulator(faults=[Fault(status=401, times=1)]).serve() as server:
        said = stdin("How long is coffee brewed?\nHow long is tea steeped?\n/quit\n")
        done = talk(notes, said, AI21_API_KEY="k", AI21_API_HOST=server.base_url)
        last = server.emulator.requests[-1].json

    assert shown(STEEPED, notes) in done.stdout
    assert (done.stderr[:11], done.stderr.count("\n")) == ("Error: 401 ", 1)
    assert [message["role"] for message in last["messages"]] == ["system", "user"]
    assert done.returncode == code


def test_debug_lets_the_error_of_a_turn_through(
    notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("How long is tea steeped?\n"))
    with Emulator(faults=[Fault(status=401)]).serve() as server:
        monkeypatch.setenv("AI21_API_KEY", "k")
        monkeypatch.setenv("AI21_API_HOST", server.base_url)
        with pytest.raises(AuthenticationError):
            app(["chat", str(notes), "--debug"])
