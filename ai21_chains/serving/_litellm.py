"""LiteLLM's `config.yaml`, as people have it, read into the settings of a `ServerConfig`.

What it means here is what it means there (docs.litellm.ai, "Proxy config"), but for two things: a
host is never derived from a model's name, and what is not honoured is said, by name, in a warning.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from ai21_chains._catalog import LIVE, RETIRED
from ai21_chains._extras import import_extra
from ai21_chains.client import default_address
from ai21_chains.errors import ConfigurationError

_Section: TypeAlias = Mapping[str, Any]

_PARAMS = {
    "model": "model",
    "api_key": "api_key",
    "api_base": "base_url",
    "base_url": "base_url",
    "rpm": "rpm",
    "tpm": "tpm",
    "max_retries": "max_retries",
    "num_retries": "max_retries",
    "timeout": "timeout",
    "weight": "weight",
}
"""LiteLLM's names in `litellm_params`, and those of `Deployment`."""

_SECTIONS: dict[str, dict[str, str]] = {
    "litellm_settings": {
        "drop_params": "drop_params",
        "num_retries": "num_retries",
        "request_timeout": "request_timeout",
        "allowed_fails": "allowed_fails",
        "cooldown_time": "cooldown_seconds",
        "fallbacks": "fallbacks",
    },
    "router_settings": {
        "num_retries": "num_retries",
        "timeout": "request_timeout",
        "allowed_fails": "allowed_fails",
        "cooldown_time": "cooldown_seconds",
        "fallbacks": "fallbacks",
        "redis_url": "redis_url",
        "routing_strategy": "routing_strategy",
    },
    "general_settings": {
        "master_key": "master_key",
        "database_url": "database_url",
        "global_max_parallel_requests": "max_concurrency",
    },
    "server": {
        name: name
        for name in (
            "cors_origins",
            "database_url",
            "drain_seconds",
            "drop_params",
            "emulated",
            "master_key",
            "max_body_bytes",
            "max_concurrency",
            "redis_url",
        )
    },
}
"""The sections of a file; the name of each setting there, and ours. Later sections override."""

_STRATEGIES = frozenset({"simple-shuffle", "least-busy"})
"""LiteLLM's strategies that come down to ours: the least busy, then by weight."""

_FROM_ENVIRONMENT = "os.environ/"
_PREFIX = re.compile(r"(?:ai21|ai21_chat)/")


def read(path: Path) -> dict[str, Any]:
    """Read a file into the arguments of `ServerConfig`.

    Args:
        path: A YAML file.

    Raises:
        ConfigurationError: The file cannot be read, or says what cannot be.
        MissingExtraError: PyYAML is not installed.
    """
    return settings(_document(path), str(path))


def settings(document: object, where: str) -> dict[str, Any]:
    """Turn the file's content into the arguments of `ServerConfig`.

    Args:
        document: The content.
        where: The file's name, for messages.

    Raises:
        ConfigurationError: The content says what cannot be.
    """
    if not isinstance(document, Mapping):
        raise ConfigurationError(f"{where}: a mapping with model_list was expected")
    from ai21_chains.emulator import Emulator

    unknown = [key for key in document if key not in {"model_list", "chains", *_SECTIONS}]
    found = _read_sections(document, where, unknown)
    if found.pop("routing_strategy", "least-busy") not in _STRATEGIES:
        unknown.append("router_settings.routing_strategy")
    emulated = bool(found.pop("emulated", False))
    defaults = {"max_retries": found.pop("num_retries", None), "emulated": emulated}
    deployments = list(_deployments(document, where, defaults, unknown))
    if "fallbacks" in found:
        found["fallbacks"] = _fallbacks(found["fallbacks"], where)
    return {
        **{name: value for name, value in found.items() if value is not None},
        "deployments": deployments,
        "chains": [_chain(one, where) for one in _list(document, "chains", where)],
        "emulator": Emulator(keep_requests=0) if emulated else None,
        "warnings": tuple(_warnings(unknown, deployments)),
    }


def _read_sections(document: _Section, where: str, unknown: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, names in _SECTIONS.items():
        section = _mapping(document, name, where)
        unknown += [f"{name}.{key}" for key in section if key not in names]
        for key in section.keys() & names.keys():
            found[names[key]] = _value(section[key], f"{where}: {name}.{key}")
    return found


def _document(path: Path) -> object:
    yaml = import_extra("yaml", "Reading a configuration file", "serve")
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or 'it cannot be read'}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: it is not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigurationError(f"{path}{line}: it is not YAML: {error.problem}") from None
    except yaml.YAMLError:
        raise ConfigurationError(f"{path}: it is not YAML") from None


def _deployments(
    document: _Section, where: str, defaults: _Section, unknown: list[str]
) -> Iterator[dict[str, Any]]:
    for number, entry in enumerate(_list(document, "model_list", where)):
        place = f"{where}: model_list[{number}]"
        if not isinstance(entry, Mapping) or not isinstance(entry.get("model_name"), str):
            raise ConfigurationError(f"{place}: model_name and litellm_params were expected")
        place += f" ({entry['model_name']})"
        params = _mapping(entry, "litellm_params", place)
        unknown += [f"model_list.{key}" for key in entry if key not in _ENTRY]
        unknown += [f"litellm_params.{key}" for key in params if key not in _PARAMS]
        given = _renamed(params, {"api_key"} if defaults["emulated"] else set(), place)
        yield from _expanded(entry["model_name"], _completed(given, defaults, place), place)


_ENTRY = frozenset({"model_name", "litellm_params"})


def _renamed(params: _Section, left_out: set[str], place: str) -> dict[str, Any]:
    """Return the parameters that are known, by our names, with their values looked up."""
    return {
        _PARAMS[key]: _value(value, f"{place}: {key}")
        for key, value in params.items()
        if key in _PARAMS.keys() - left_out
    }


def _completed(given: dict[str, Any], defaults: _Section, place: str) -> dict[str, Any]:
    given = {name: value for name, value in given.items() if value is not None}
    given["model"] = _ai21s(given.get("model"), place)
    given.setdefault("base_url", default_address())
    if defaults["max_retries"] is not None:
        given.setdefault("max_retries", defaults["max_retries"])
    if not defaults["emulated"] and not given.get("api_key"):
        given["api_key"] = os.environ.get("AI21_API_KEY", "").strip()
        if not given["api_key"]:
            raise ConfigurationError(
                f"{place}: there is no api_key, and AI21_API_KEY is not set. Without a key, "
                "`server: {emulated: true}` lets the embedded emulator answer"
            )
    return given


def _ai21s(model: object, place: str) -> str:
    """Return the model's name without its prefix.

    Raises:
        ConfigurationError: It is another provider's.
    """
    if not isinstance(model, str) or not model.strip():
        raise ConfigurationError(f"{place}: litellm_params.model was expected")
    name = _PREFIX.sub("", model.strip(), count=1)
    if name == model.strip() and not (name in LIVE or name in RETIRED or name.startswith("jamba")):
        raise ConfigurationError(
            f"{place}: {model!r} is not a model of AI21's; only those are served, written ai21/NAME"
        )
    return name


def _expanded(name: str, given: dict[str, Any], place: str) -> Iterator[dict[str, Any]]:
    """Yield the entry, or, for a `*`, one for each model that AI21 serves."""
    if given["model"] != "*":
        yield {**given, "name": name}
        return
    if not name.endswith("*"):
        raise ConfigurationError(f"{place}: model ai21/* needs a model_name that ends in *")
    for model in LIVE:
        yield {**given, "name": name[:-1] + model, "model": model}


def _fallbacks(given: object, where: str) -> dict[str, list[str]]:
    # LiteLLM writes them as a list of mappings with one entry each.
    parts: list[Any] = given if isinstance(given, list) else [given]
    if not all(isinstance(part, Mapping) for part in parts):
        raise ConfigurationError(f"{where}: fallbacks: a list like [{{a: [b, c]}}] was expected")
    merged = {str(name): others for part in parts for name, others in part.items()}
    return {
        name: [others] if isinstance(others, str) else others for name, others in merged.items()
    }


def _chain(entry: object, where: str) -> dict[str, Any]:
    if isinstance(entry, str):
        return {"name": entry, "kind": entry}
    if not isinstance(entry, Mapping):
        raise ConfigurationError(
            f"{where}: chains: names, or mappings with name and kind, expected"
        )
    chain = {"name": entry.get("kind"), "kind": entry.get("name"), **entry}
    if "documents" in chain:
        # A folder is found from where the file is, wherever the server is started.
        chain["documents"] = Path(where).parent / str(chain["documents"])
    return chain


def _warnings(unknown: list[str], deployments: list[dict[str, Any]]) -> Iterator[str]:
    if unknown:
        yield "not honoured: " + ", ".join(dict.fromkeys(unknown))
    for one in deployments:
        retired = RETIRED.get(one["model"])
        if retired and ".ai21.com/" in one["base_url"]:
            yield (
                f"{one['name']}: AI21 stopped serving {one['model']} on {retired.on}; "
                f"its successor is {retired.successor}"
            )


def _value(value: object, place: str) -> object:
    """Return a value, looked up where it is written `os.environ/NAME`."""
    if not (isinstance(value, str) and value.startswith(_FROM_ENVIRONMENT)):
        return value
    name = value.removeprefix(_FROM_ENVIRONMENT)
    found = os.environ.get(name, "").strip()
    if not found:
        raise ConfigurationError(f"{place}: the environment variable {name} is not set")
    return found


def _mapping(section: _Section, name: str, where: str) -> _Section:
    value = section.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{where}: {name}: a mapping was expected")
    return value


def _list(section: _Section, name: str, where: str) -> list[Any]:
    value = section.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ConfigurationError(f"{where}: {name}: a list was expected")
    return value
