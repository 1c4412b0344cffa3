"""What can be said of a host's arguments before anything is sent."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ai21_chains._host import Host
from ai21_chains.errors import ConfigurationError


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
