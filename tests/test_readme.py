"""The README keeps its word: each block runs, in order, against an emulator."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ai21_chains.emulator import Emulator

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


def test_python_blocks_run_in_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("AI21_API_KEY", "test-key")
    names: dict[str, object] = {"__name__": "readme"}

    with Emulator().serve() as server:
        monkeypatch.setenv("AI21_API_HOST", server.base_url)
        for block in blocks("python"):
            exec(block, names)

    printed = capsys.readouterr().out
    assert "{'city': 'Haifa'} customer='Carmel Ltd' seats=12" in printed
    assert "[1] examples/documents/coffee_machine_manual.pdf, page 4: Descaling takes" in printed
    assert "It is a port.\n2\n" in printed


def test_comments_in_the_blocks_tell_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    (errors,) = [block for block in blocks("python") if "temperatur=" in block]
    exec(f"from ai21_chains import ChatAI21\n{errors}")

    promised = re.search(r"print\(error\)  # (.*)", errors)
    assert promised is not None
    assert capsys.readouterr().out.strip() == promised[1]


def test_the_first_two_shell_blocks_are_one_line_each() -> None:
    ask, test = blocks("bash")[:2]

    assert ask.count("\n") == test.count("\n") == 1
    assert ask.startswith("pip install")
    assert "pytest" in test


def test_the_first_command_prints_what_the_readme_shows() -> None:
    command = re.search(r"ai21-chains (ask .*)", blocks("bash")[0])
    assert command is not None
    question, *paths = re.findall(r'"(.*)" (.*)$', command[1])[0]
    done = subprocess.run(
        [sys.executable, "-m", "ai21_chains", "ask", question, *paths],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )

    assert done.returncode == 0
    assert f"{done.stderr}{done.stdout}" == blocks("text")[0]
