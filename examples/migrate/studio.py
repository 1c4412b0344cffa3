"""What these pages share: AI21 where there is a key, else the embedded emulator in its place."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ai21_chains import Emulator


@contextmanager
def studio() -> Iterator[None]:
    """Make `AI21_API_KEY` and `AI21_API_HOST` point somewhere that answers."""
    if os.environ.get("AI21_API_KEY"):
        yield
        return
    with Emulator().serve() as server:
        os.environ.update(AI21_API_KEY="no key needed", AI21_API_HOST=server.base_url)
        try:
            yield
        finally:
            del os.environ["AI21_API_KEY"], os.environ["AI21_API_HOST"]
