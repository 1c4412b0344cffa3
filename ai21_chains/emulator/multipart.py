"""Forms with files, as uploads send them (`multipart/form-data`, RFC 7578)."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.message import Message
from email.parser import HeaderParser


@dataclass(frozen=True)
class Upload:
    """A file in a form.

    Attributes:
        name: The file's name.
        kind: Its media type, or "".
        content: Its bytes.
    """

    name: str
    kind: str
    content: bytes


@dataclass(frozen=True)
class Form:
    """A form that was sent.

    Attributes:
        fields: For each field its values.
        files: For each field the file that it holds.
    """

    fields: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, Upload] = field(default_factory=dict)


def read_form(content_type: str, body: bytes) -> Form:
    """Read a form; what is no form is an empty one.

    Args:
        content_type: The header of that name, with the boundary.
        body: The body of the request.
    """
    kind = Message()
    kind["content-type"] = content_type
    boundary = kind.get_boundary()
    form = Form()
    if kind.get_content_type() != "multipart/form-data" or not boundary:
        return form
    # What stands before the first boundary and behind the last one is no part.
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.encode())[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        headers = HeaderParser().parsestr(head.decode("utf-8", "replace"), headersonly=True)
        name = str(headers.get_param("name", "", "content-disposition"))
        if (filename := headers.get_filename()) is not None:
            form.files[name] = Upload(filename, headers.get("content-type", ""), content)
        else:
            form.fields.setdefault(name, []).append(content.decode("utf-8", "replace"))
    return form
