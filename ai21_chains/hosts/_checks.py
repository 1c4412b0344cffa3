"""What can be said of a host's arguments before anything is sent."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import wraps
from typing import Any, TypeVar, dataclass_transform
from urllib.parse import urlsplit

from ai21_chains._host import Host
from ai21_chains.errors import ConfigurationError

_Host = TypeVar("_Host", bound=Host)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def settings(kind: type[_Host]) -> type[_Host]:
    """Make a class a frozen dataclass that names what is missing, misspelt or not given by name.

    Args:
        kind: A kind of host.
    """
    made = dataclass(frozen=True, kw_only=True)(kind)
    take = made.__init__

    @wraps(take)
    def __init__(self: _Host, *unnamed: Any, **given: Any) -> None:
        _check_names(type(self), unnamed, given)
        take(self, **given)

    made.__init__ = __init__  # type: ignore[assignment, method-assign]
    return made


def _check_names(kind: type[Host], unnamed: tuple[Any, ...], given: Mapping[str, Any]) -> None:
    known = {one.name: one.default is MISSING for one in fields(kind)}  # type: ignore[arg-type]
    unknown = [name for name in given if name not in known]
    missing = [name for name, wanted in known.items() if wanted and name not in given]
    if unnamed:
        problem = f"give the arguments by name; it takes {', '.join(known)}"
    elif unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        advice = f"Did you mean {near[0]!r}?" if near else f"It takes {', '.join(known)}"
        problem = f"unknown argument {unknown[0]!r}. {advice}"
    elif missing:
        problem = f"{missing[0]} is missing"
    else:
        return
    raise ConfigurationError(f"{kind.__name__}: {problem}")


def check(owner: Host, name: str, pattern: str, example: str) -> None:
    """Refuse an argument that cannot be a part of an address.

    Args:
        owner: The host.
        name: The argument; None is no value.
        pattern: What all of it has to match.
        example: How it may look.

    Raises:
        ConfigurationError: It does not match.
    """
    value = getattr(owner, name)
    if value is not None and not (isinstance(value, str) and re.fullmatch(pattern, value)):
        raise ConfigurationError(
            f"{type(owner).__name__}: {name} should look like {example!r}, got {value!r:.60}"
        )


def keep_address(owner: Host, name: str, example: str) -> None:
    """Refuse what is no address of a server, and keep it without its last slash.

    Args:
        owner: The host.
        name: The argument that holds the address.
        example: How it may look.

    Raises:
        ConfigurationError: It is none, or holds credentials.
    """
    url = getattr(owner, name)
    try:
        parts = urlsplit(url.strip() if isinstance(url, str) else "")
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or parts.query or parts.fragment:
        # What it is instead is not shown: it may hold a password.
        raise ConfigurationError(
            f"{type(owner).__name__}: {name} should be an address such as {example!r}, without "
            "credentials, query and fragment"
        )
    kept = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    object.__setattr__(owner, name, kept)
