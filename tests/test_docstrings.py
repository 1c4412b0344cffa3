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


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name))

    assert failed == 0
