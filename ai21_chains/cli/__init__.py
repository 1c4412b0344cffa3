"""The command line: every chain without a line of Python.

Results go to stdout, everything else to stderr. Exit codes: 0 fine, 1 the work failed, 2 wrong
usage, 130 ended by Ctrl-C. A question that the documents do not answer is fine.

A command is a module of its name here, with a Typer object `app`, and a line in `_COMMANDS`. Only
the module of the command that runs is imported.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ai21_chains._version import __version__

_COMMANDS = {
    "ask": "Answer a question from documents, with quotes that were looked up in them.",
    "chat": "Talk about documents: questions, and answers with their quotes, until /quit.",
    "summarize": "Summarize documents, with key points whose quotes were looked up in them.",
    "extract": "Read the fields of a schema out of documents, each with the quotes that prove it.",
    "evaluate": "Measure the grounded answers to questions whose answers are known.",
    "serve": "Serve models and chains over OpenAI's API.",
    "mcp": "Offer answers from documents, checks and summaries as tools to MCP clients.",
    "models": "List AI21's models, limits and prices; with a key, those that AI21 itself lists.",
    "batch": "Submit a batch of chat requests to AI21, and get its results.",
    "keys": "Make, list and revoke the keys of a server's clients.",
    "emulate": "Serve an emulation of AI21's API, for tests and demonstrations.",
}
"""What each command does, in the order of `--help`."""

_UsageError: Any = typer.BadParameter.__base__


class _Commands(TyperGroup):
    """The commands, imported when they run; wrong usage is one line, as every other error."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        names: Any = dict.fromkeys(_COMMANDS)
        self.commands.update(names)  # for the list, and for "Did you mean …?"

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _COMMANDS:
            return None
        command = typer.main.get_command(import_module(f"{__name__}.{cmd_name}").app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def main(self, *args: Any, **options: Any) -> Any:
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            # What their encoding lacks is escaped: it must not end the program.
            getattr(stream, "reconfigure", dict)(errors="backslashreplace")
        try:
            code = super().main(*args, **{**options, "standalone_mode": False})
        except _UsageError as error:
            path = error.ctx.command_path if error.ctx else "ai21-chains"
            problem = error.format_message()
            end = "" if problem.endswith((".", "?")) else "."
            typer.echo(f"Error: {problem}{end} Try '{path} --help'.", err=True)
            code = 2
        sys.exit(code)


app = typer.Typer(
    cls=_Commands,
    help="AI21's models in LangChain, and answers from documents with citations that are checked.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"ai21-chains {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)
