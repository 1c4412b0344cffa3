"""Every example runs as a newcomer would run it: without a key, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(path for path in EXAMPLES.glob("*.py") if path.name != "common.py")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_example_runs_without_a_key(script: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, timeout=60
    )

    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.strip()


def test_every_example_is_in_the_index_and_short() -> None:
    index = (EXAMPLES / "README.md").read_text()

    for script in SCRIPTS:
        assert f"[{script.name}]({script.name})" in index
        assert len(script.read_text().splitlines()) <= 50
