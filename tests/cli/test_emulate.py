"""`ai21-chains emulate`."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

DOCUMENTS = Path(__file__).parents[2] / "examples" / "documents"
QUESTION = "How long does descaling take?"
PROGRAM = [sys.executable, "-m", "ai21_chains"]
Run = Callable[..., CompletedProcess[str]]


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
