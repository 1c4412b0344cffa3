"""`ai21-chains`, or `python -m ai21_chains`: the command line."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line (extra `cli`)."""
    try:
        from ai21_chains.cli import app

        app(prog_name="ai21-chains")  # imports the command's module
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"rich", "typer"}:
            raise
        sys.exit('The command line needs an extra: pip install "ai21-chains[cli]"')


if __name__ == "__main__":
    main()
