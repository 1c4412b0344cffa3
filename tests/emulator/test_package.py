"""The package as a whole: its names, its independence, its table, its command."""

import ast
import doctest
import importlib
import sys
from pathlib import Path
from threading import Event

import pytest

import ai21_chains.emulator as package
from ai21_chains.emulator import Emulator, Fault, coverage_table
from ai21_chains.emulator.__main__ import main, run
from tests.cases import each

FOLDER = Path(package.__file__).parent
MODULES = sorted(path.stem for path in FOLDER.glob("*.py"))


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module


def test_the_public_names_are_sorted_and_there():
    assert package.__all__ == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


@each("module", MODULES)
def test_a_module_imports_the_standard_library_and_its_neighbours_only(module):
    outside = {name.partition(".")[0] for name in imports(FOLDER / f"{module}.py")}

    assert outside <= sys.stdlib_module_names | ({"httpx"} if module == "doors" else set())


@each("module", [name for name in MODULES if name != "__main__"])
def test_the_examples_in_the_docstrings_hold(module):
    imported = importlib.import_module(f"ai21_chains.emulator.{module}")

    assert doctest.testmod(imported).failed == 0


def test_the_table_of_what_is_emulated_is_made_from_the_code():
    table = coverage_table()

    assert table.startswith("| Part | Name | Meaning |\n| --- | --- | --- |\n")
    for line in (
        "| endpoint | `POST /chat/completions` | Chat with a Jamba model",
        "| endpoint | `GET /models` | List the models",
        "| model | `jamba-mini-2-2026-01` |",
        "| `top_p` | Optional, may be null. A number, above 0, at most 1. |",
        "| field of POST /chat/completions | `response_format` | Optional, may be null. `type` =",
        '| model | `jamba-1.5-mini` | Accepted with `Emulator(era="2024")`. |',
        "| rule | `streams_have_one_choice` |",
        "| fault | `cut_after` | Break the connection off after this many bytes. |",
    ):
        assert line in table
    assert all(row.count("|") == 4 for row in table.splitlines())


def test_every_fault_is_in_the_table():
    assert all(f"| fault | `{name}` |" in coverage_table() for name in Fault.__dataclass_fields__)


def stopped():
    event = Event()
    event.set()
    return event


@each(
    "start",
    [
        lambda: main(["--port", "0"], stop=stopped()),
        lambda: main(["--port", "0", "--era", "2024"], stop=stopped()),
        lambda: run(port=0, stop=stopped()),
    ],
)
def test_the_command_says_how_to_use_the_server(capsys, start):
    start()

    shown = capsys.readouterr().out
    assert "AI21_API_HOST=http://127.0.0.1:" in shown
    assert "/studio/v1 AI21_API_KEY=anything" in shown
    assert "no language model" in shown


class Interrupted(Event):
    def wait(self, timeout=None):
        raise KeyboardInterrupt


def test_ctrl_c_ends_the_server_quietly(capsys):
    run(port=0, stop=Interrupted())

    assert capsys.readouterr().out.endswith("The emulator has ended.\n")


def test_the_command_prints_the_table(capsys):
    main(["--coverage"])

    assert capsys.readouterr().out == coverage_table() + "\n"


def test_a_port_that_is_taken_is_an_error():
    with Emulator().serve() as server:
        port = int(server.base_url.split(":")[2].split("/")[0])
        with pytest.raises(OSError, match="in use"):
            Emulator().serve(port=port).__enter__()
