"""The command line, run in this process: a new one takes a second to start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from ai21_chains.cli import app


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., CompletedProcess[str]]:
    """A function that runs the command line with these arguments and this environment."""

    def run(*arguments: str | Path, **environment: str) -> CompletedProcess[str]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            app([*map(str, arguments)], prog_name="ai21-chains")
        return CompletedProcess(arguments, int(ended.value.code or 0), *capsys.readouterr())

    return run
