"""Interpreters to measure in: this one, and a fresh virtual environment for each peer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

PEERS = {
    "langchain-openai": ["langchain-openai", f"langchain-core=={version('langchain-core')}"],
    "langchain-ai21": ["langchain-ai21==1.2.0"],  # needs langchain-core below 0.4
    "litellm": ["litellm"],
}
"""What is installed for each peer, each into an environment of its own."""

_SHOWN = ("httpx", "httpx2", "langchain-core", "openai", "pydantic")

_VERSIONS = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def child_environment(pycache: Path) -> dict[str, str]:
    """Return environment variables for what is measured.

    Bytecode is cached whatever this process was told; nothing is traced, and no proxy is used.
    """
    left_out = ("PYTHON", "LANGCHAIN_", "LANGSMITH_", "AI21_", "OPENAI_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(left_out) and not name.lower().endswith("_proxy")
    }
    return {**kept, "PYTHONPYCACHEPREFIX": str(pycache), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def peer_python(name: str, cache: Path, peers: Mapping[str, Sequence[str]] = PEERS) -> str:
    """Return the interpreter of a peer's virtual environment, which is made if it is missing."""
    folder = cache / name
    python = folder / "bin" / "python"
    wanted = "\n".join([sys.version, *peers[name]])
    done = folder / "installed.txt"
    if not done.exists() or done.read_text() != wanted:
        print(f"Making an environment for {name} in {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *peers[name]], check=True, stdout=sys.stderr)
        done.write_text(wanted)
    return str(python)


def versions(python: str, *names: str) -> str:
    """Return the versions of a contestant's packages as JSON."""
    command = [python, "-c", _VERSIONS, *names, *_SHOWN]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def cache_folder() -> Path:
    """Return where the environments of peers are kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    home = Path(base) if base else Path.home() / ".cache"
    return home / "ai21-chains-benchmarks"
