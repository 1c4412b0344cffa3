"""The examples in docstrings run, and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import ai21_chains

MODULES = [
    found.name
    for found in pkgutil.walk_packages(ai21_chains.__path__, "ai21_chains.")
    if not found.name.endswith("__main__")
]


def _part(name: str) -> str:
    """The package that a module is part of: one test for each."""
    return name.split(".")[1] if name.count(".") > 1 else "ai21_chains"


@pytest.mark.parametrize("part", sorted({_part(name) for name in MODULES}))
def test_examples_in_docstrings_run(part: str) -> None:
    for name in MODULES:
        if _part(name) == part:
            failed, _ = doctest.testmod(importlib.import_module(name))
            assert failed == 0, name
