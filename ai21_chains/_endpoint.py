"""A request to any endpoint but chat: JSON, a query, or files in; JSON or bytes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any, TypeAlias
from urllib.parse import quote

from typing_extensions import TypedDict

from ai21_chains import _protocol
from ai21_chains._call import Call, Settings
from ai21_chains.errors import ConfigurationError

File: TypeAlias = tuple[str, bytes | IO[bytes], str]
"""A file to upload: its name; its bytes, or a file opened for reading; its media type."""


class RequestOptions(TypedDict, total=False):
    """What a request carries besides its method and path, and what is to be done with it."""

    json: object
    """The body, as JSON."""
    params: Mapping[str, object]
    """The query. A list repeats the name; None leaves it out."""
    fields: Mapping[str, object]
    """Fields of a multipart body. A list repeats the field; None leaves it out."""
    files: Mapping[str, File]
    """Files of a multipart body."""
    idempotent: bool
    """Whether doing it twice does no harm. Default: True, but for POST and PATCH. What is not is
    tried again only where the server surely has not done it: there was no connection, or it
    answered 429, or 503 with Retry-After."""
    as_bytes: bool
    """Whether the answer is wanted as bytes rather than as decoded JSON."""


def path(*parts: str) -> str:
    """Return the path of an endpoint; each part is quoted, so that it stays one.

    Args:
        *parts: The parts between the slashes, such as an id that came from a server.

    Raises:
        ConfigurationError: A part is empty or has a meaning of its own in paths.

    Example:
        >>> path("library", "files", "a/b")
        '/library/files/a%2Fb'
    """
    for part in parts:
        if part in ("", ".", ".."):
            raise ConfigurationError(f"{part!r} is no id")
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def endpoint_call(
    base_url: str, method: str, path: str, options: RequestOptions, settings: Settings
) -> Call[Any]:
    """Make a request ready.

    Args:
        base_url: Address of the API.
        method: The HTTP method, in capitals.
        path: The path below `base_url`, from the slash on.
        options: What the request carries.
        settings: Key, headers, timeout and retries.

    Raises:
        ConfigurationError: The request cannot be sent.
    """
    as_bytes = options.get("as_bytes", False)
    if options.get("files"):
        # Its content type has the boundary, which only the body's maker knows.
        headers = settings["headers"].items()
        kept = {name: text for name, text in headers if name.lower() != "content-type"}
        settings = {**settings, "headers": kept}
    return Call(
        method,
        base_url.rstrip("/") + path,
        _sent(options),
        _as_it_is if as_bytes else _protocol.read_json,
        settings=settings,
        accept="*/*" if as_bytes else "application/json",
        idempotent=options.get("idempotent", method not in ("POST", "PATCH")),
        # Of the older endpoints the model is a part of the path.
        model=path.split("/")[1],
    )


def _sent(options: RequestOptions) -> dict[str, Any]:
    """Return what httpx makes the query and the body from."""
    sent: dict[str, Any] = {}
    if "json" in options:
        sent["content"] = _protocol.encode(options["json"])
    if params := _given(options.get("params")):
        sent["params"] = params
    if fields := _given(options.get("fields")):
        sent["data"] = fields
    if files := options.get("files"):
        for name, (_, content, _) in files.items():
            # Each try reads it from its beginning.
            if not isinstance(content, bytes) and not content.seekable():
                raise ConfigurationError(
                    f"{name} can be read only once: pass its bytes, or a file that can be rewound"
                )
        sent["files"] = files
    return sent


def _given(values: Mapping[str, object] | None) -> dict[str, object]:
    return {name: value for name, value in (values or {}).items() if value is not None}


def _as_it_is(body: bytes, where: str) -> bytes:
    return body
