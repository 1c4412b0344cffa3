"""What `--schema` names as a pydantic model: a JSON Schema in a file, or a class in Python code."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from ai21_chains._json_schema import model_from_json_schema
from ai21_chains.errors import ConfigurationError


def read_schema(named: str) -> type[BaseModel]:
    """Return the pydantic model for what `--schema` names.

    Args:
        named: A file with a JSON Schema (JSON, or YAML by its suffix), `FILE.py:CLASS` or
            `MODULE:CLASS`, whose code is run.

    Raises:
        ConfigurationError: There is no schema of use there.
    """
    place, _, name = named.rpartition(":")
    in_code = bool(place) and name.isidentifier() and not Path(named).exists()
    try:
        found = _class(place, name) if in_code else _described(Path(named))
    except Exception as error:  # what a file, or the code in it, may raise is up to its author
        reason = error.strerror if isinstance(error, OSError) else None
        raise ConfigurationError(f"--schema {named}: {reason or error}") from error
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        raise ConfigurationError(f"--schema {named}: {name} is no pydantic model class")
    return found


def _class(place: str, name: str) -> Any:
    if place.endswith(".py"):
        return getattr(_module(Path(place)), name)
    sys.path.insert(0, "")  # where the user is, as with `python -m`
    return getattr(import_module(place), name)


def _module(path: Path) -> ModuleType:
    spec = spec_from_file_location(f"_schema_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    sys.path.insert(0, str(path.parent))  # as with `python FILE.py`
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # pydantic looks up there what annotations name
    spec.loader.exec_module(module)
    return module


def _described(path: Path) -> type[BaseModel]:
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix in (".yaml", ".yml"):
        given = import_module("yaml").safe_load(text)  # LangChain's core depends on it
    else:
        given = json.loads(text)
    return model_from_json_schema(given if isinstance(given, dict) else {}, path.stem)
